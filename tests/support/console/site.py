"""The console as a process, over a ledger that ``data`` has filled, and how to sign in to it."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from pydantic import SecretStr

from izin.ledger.console import accounts, sessions
from izin.ledger.db import Ledger
from izin.local import Child, Command, free_port
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from izin.web.passwords import Passwords
from tests.integration.sinks.sink_harness import Clock, sinks_over
from tests.support.console import data
from tests.support.secret_keys import key_setting
from tests.support.simulator import PASSWORD, USERNAME, running_simulator

T = TypeVar("T")
_LIVING = """INSERT INTO processes VALUES ('71', 1), ('72', 1) ON CONFLICT DO NOTHING;
    INSERT INTO webhook_processes VALUES ('72') ON CONFLICT DO NOTHING;
    UPDATE stream_cursors SET last_attempt_at = now(), last_pulled_at = now();
    SELECT pg_advisory_lock(29541, owner) FROM unnest(ARRAY[71, 72]) AS one (owner)"""
"""A sink worker and a process that delivers webhooks live, as long as the session does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A console that answers."""

    url: str
    database_url: str
    pid: int
    log: Path

    def link(self, account: str = data.ADMIN) -> str:
        """Return the address of a link that signs an account in, once."""

        async def made() -> str:
            async with _ledger(self.database_url) as ledger:
                return await sessions.make_link(ledger, account, by="test", now=datetime.now(UTC))

        return f"{self.url}/sign-in/link/{_ended(made())}"


def filled(database_url: str, kafka: KafkaSettings, folder: Path) -> None:
    """Fill a migrated, empty ledger; the simulator that it takes logs into ``folder``."""
    with running_simulator(folder) as iys:
        iys.configure(
            requestsPerSecond=0,
            tokenLimit=0,
            statusLimit=1000,
            resultDelay=300,
            hiddenWindow=0,
            pushHttpsRequired=False,
        )
        settings = IysSettings(
            base_url=iys.address,
            username=USERNAME,
            password=SecretStr(PASSWORD),
            timeout=timedelta(seconds=5),
            requests_per_second=500,
        )

        clock = Clock()
        clock.ahead = data.BEGINS

        async def fill() -> None:
            async with (
                _ledger(database_url) as ledger,
                sinks_over(ledger, iys, settings, clock, kafka) as harness,
            ):
                await data.fill(harness)
                stored = await Passwords().hash(data.PASSWORD)
                await accounts.set_password(ledger, data.ADMIN, stored, now=datetime.now(UTC))

        _ended(fill())


@contextmanager
def console(database_url: str, kafka: KafkaSettings, folder: Path) -> Iterator[Site]:
    """Run the console in a process of its own, which logs into ``folder``."""
    port, operations_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    ours = {
        "DATABASE_URL": database_url,
        "IZIN_CONSOLE_OPERATIONS_PORT": str(operations_port),
        "IZIN_CONSOLE_PORT": str(port),
        "IZIN_CONSOLE_UPLOADS": str(folder / "uploads"),
        "IZIN_CONSOLE_URL": url,
        "IZIN_KAFKA_LOG_LEVEL": "2",
        "IZIN_LOG_LEVEL": "warning",
        "IZIN_PARTITIONS": str(kafka.partitions),
        "IZIN_SECRET_KEYS": key_setting(1),
        "IZIN_SUPPRESSION_SECRETS": json.dumps(["fake" * 8]),
        "IZIN_TOPIC_PREFIX": kafka.topic_prefix,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
    }
    child = Child(
        Command(
            name="console",
            argv=(sys.executable, "-m", "izin.web"),
            log=folder / "console.log",
            environment={**os.environ, **ours},
            ready=f"http://127.0.0.1:{operations_port}/health/ready",
        )
    )
    workers = psycopg.connect(database_url, autocommit=True)
    workers.execute(_LIVING)
    child.start()
    try:
        child.wait_ready()
        assert child.pid is not None
        yield Site(url=url, database_url=database_url, pid=child.pid, log=child.command.log)
    finally:
        child.stop()
        workers.close()


def _ended(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, which runs in a thread: the browser has a loop in this one."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


def _ledger(url: str) -> Ledger:
    owner = secrets.randbelow(2**31 - 1) + 1
    return Ledger(LedgerSettings(database_url=SecretStr(url)), owner=owner)
