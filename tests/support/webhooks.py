"""Webhooks under test: subscribers in a ledger, records in topics, and processes that deliver."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, LiteralString

from pydantic import SecretStr

from benchmarks.webhooks.receiver import WebhookReceiver
from izin.ledger.db import Ledger
from izin.ledger.record import Brand, TopicMessages
from izin.ledger.registry import customers
from izin.ledger.webhooks import registry
from izin.local import free_port
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.settings import KafkaSettings, LedgerSettings, WebhookSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.webhooks import resends
from izin.webhooks.events import EventReader
from izin.webhooks.partitions import cursors_at_end
from izin.webhooks.posting import new_secret
from izin.webhooks.process import serve
from tests.support import published
from tests.support.builders import BRAND, CUSTOMER, NOON, a_phone, usual
from tests.support.registration import register_brand

LIMIT = 30.0


def a_consent(number: int = 1, **overrides: object) -> dict[str, Any]:
    """Return the record of an opt-out of a recipient."""
    return {
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": a_phone(number),
        "status": "RET",
        "previous_status": "ONAY",
        "effective_at": NOON,
        "origin_rank": 0,
        "event_id": f"event-{number}",
        "origin": "web",
        "source": "HS_WEB",
        "consent_date": NOON,
        "registrable": True,
        "latest_onay_at": NOON - timedelta(days=1),
        "latest_ret_at": NOON,
        "law_version": 2,
        **overrides,
    }


def a_permission(number: int = 1, **overrides: object) -> dict[str, Any]:
    """Return the record of a permission that was granted."""
    return {
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": a_phone(number),
        "may_send": True,
        "reason": "registered",
        "desired": "ONAY",
        "registered": "ONAY",
        "registered_at": NOON,
        "consent_date": NOON,
        "since": NOON,
        "previous_may_send": False,
        "retailers": None,
        **overrides,
    }


def a_subscriber(**overrides: object) -> registry.WebhookSubscriber:
    """Return a subscriber that has never failed."""
    return registry.WebhookSubscriber(
        **usual(
            overrides,
            id=1,
            name="crm",
            url="https://crm.example.com/hook",
            filter=registry.EventFilter(customer_id=CUSTOMER),
            parallel=8,
            secrets=(new_secret(),),
            former_until=None,
            version=1,
            created_at=NOON,
            paused_at=None,
            paused_for=None,
            failing_since=None,
            alerts=0,
            last_failure=None,
            last_failure_at=None,
            caught_up_at=NOON,
        )
    )


def key_of(record: Mapping[str, Any]) -> str:
    """Return the canonical key of a record."""
    parts = (record[name] for name in ("brand_code", "type", "recipient_type", "recipient"))
    return "/".join(map(str, parts))


class TopicWriter(published.TopicWriter):
    """Writes records as the order stage and the sinks do, but for transactions."""

    def opt_outs(self, *values: dict[str, Any]) -> None:
        """Write opt-outs."""
        self.write(self.topics.opt_outs, ((key_of(one), one) for one in values))

    def permissions(self, *values: dict[str, Any]) -> None:
        """Write permissions."""
        self.write(self.topics.permissions, ((key_of(one), one) for one in values))


def a_consent_in_force(who: int = 1, **overrides: object) -> dict[str, Any]:
    """Return the row of a recipient who may be messaged, as ``a_permission`` says."""
    record = a_permission(who)
    return {
        "key": key_of(record),
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "channel": record["type"],
        "recipient_type": record["recipient_type"],
        "recipient": record["recipient"],
        "desired_status": "ONAY",
        "desired_at": NOON,
        "desired_event_id": f"event-{who}",
        "desired_origin": "web",
        "registrable": True,
        "attested": False,
        "latest_onay_at": NOON,
        "registered": "ONAY",
        "registered_at": NOON,
        "registered_consent_date": NOON,
        "state": "accepted",
        "action": "nothing",
        "attempts": 0,
        "onay_open": False,
        "ret_open": False,
        "may_send": True,
        "permission_reason": "registered",
        "permission_since": NOON,
        "updated_at": NOON,
        **overrides,
    }


def an_opt_out(who: int = 1, **overrides: object) -> dict[str, Any]:
    """Return the row of a recipient who opted out, as ``a_consent`` says."""
    return a_consent_in_force(
        who,
        **usual(
            overrides,
            desired_status="RET",
            registered="RET",
            latest_onay_at=NOON - timedelta(days=1),
            latest_ret_at=NOON,
            may_send=False,
            permission_reason="opted-out",
        ),
    )


async def store_rows(ledger: Ledger, *rows: Mapping[str, Any]) -> None:
    """Store rows of ``consents``, instead of those of their keys."""
    for row in rows:
        values = {"row": json.dumps(row, default=str), "key": row["key"]}
        async with ledger.transaction() as connection:
            await connection.execute("DELETE FROM consents WHERE key = %(key)s", values)
            await connection.execute(
                "INSERT INTO consents SELECT (jsonb_populate_record(NULL::consents, %(row)s)).*",
                values,
            )


async def add_customer(ledger: Ledger) -> None:
    """Register the customer of the tests, and its brand, by which it gets what is its own."""
    await customers.add(ledger, CUSTOMER, "Acme", by="ada", now=datetime.now(UTC))
    await add_brand(ledger)


async def add_brand(ledger: Ledger) -> None:
    """Register the brand of the tests, which is the customer's."""
    brand = Brand(brand_code=BRAND, iys_code=1, customer_id=CUSTOMER, name="Acme")
    await register_brand(ledger, TopicMessages(Codec(), Topics()), brand, now=datetime.now(UTC))


async def add_subscriber(
    ledger: Ledger,
    settings: KafkaSettings,
    url: str,
    *,
    name: str = "crm",
    parallel: int = 8,
    secret: str | None = None,
    **chosen: frozenset[Any],
) -> registry.WebhookSubscriber:
    """Add a subscriber of the customer of the tests, which gets what comes from now on."""
    new = registry.NewSubscriber(
        name=name,
        url=url,
        filter=registry.EventFilter(customer_id=CUSTOMER, **chosen),
        parallel=parallel,
        secret=secret or new_secret(),
    )
    cursors = await asyncio.to_thread(cursors_at_end, settings)
    return await registry.add(ledger, new, cursors, by="ada", now=datetime.now(UTC))


def quick(**overrides: object) -> WebhookSettings:
    """Return settings with short pauses, which allow this machine."""
    return WebhookSettings(
        **usual(
            overrides,
            port=free_port(),
            operations_port=free_port(),
            allowed=("127.0.0.0/8",),
            first_pause=timedelta(seconds=0.05),
            longest_pause=timedelta(seconds=0.5),
            timeout=timedelta(seconds=2),
        )
    )


@asynccontextmanager
async def delivering(
    kafka: KafkaSettings, database_url: str, settings: WebhookSettings | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Deliver in this process until the context ends."""
    stopping = asyncio.Event()
    ledger = LedgerSettings(database_url=SecretStr(database_url), pool_size=4)
    settings = settings or quick()
    listeners = HttpListeners(settings, server="webhooks", variables="IZIN_WEBHOOK")
    task = asyncio.create_task(serve(kafka, ledger, settings, Codec(), listeners, stopping))
    try:
        yield task
    finally:
        stopping.set()
        with closing(listeners):
            await task


async def until(what: Callable[[], Any], limit: float = LIMIT) -> None:
    """Wait until ``what()`` holds, or what it awaits."""
    async with asyncio.timeout(limit):
        while True:
            held = what()
            if await held if asyncio.iscoroutine(held) else held:
                return
            await asyncio.sleep(0.02)


@dataclass(slots=True, kw_only=True)
class Hooks:
    """What a test of webhooks has."""

    ledger: Ledger
    settings: KafkaSettings
    topics: TopicWriter
    receiver: WebhookReceiver
    database_url: str

    async def subscribe(self, **overrides: Any) -> registry.WebhookSubscriber:  # noqa: ANN401  # as add_subscriber
        """Add a subscriber that is this receiver."""
        url = overrides.pop("url", None) or self.receiver.url()
        return await add_subscriber(self.ledger, self.settings, url, **overrides)

    def delivering(self, **settings: object) -> AbstractAsyncContextManager[asyncio.Task[None]]:
        """Deliver in this process until the context ends."""
        return delivering(self.settings, self.database_url, quick(**settings))

    def processes(self, log: Path, **environment: str) -> "WebhookProcesses":
        """Return processes that deliver, none of which runs yet."""
        return WebhookProcesses(self.settings, self.database_url, log, environment)

    async def deliveries(self) -> list[dict[str, Any]]:
        """Return what was acknowledged."""
        return await self.ledger.fetch("SELECT * FROM deliveries ORDER BY batch, place")

    async def cursors(self) -> list[dict[str, Any]]:
        """Return the cursors."""
        return await self.ledger.fetch(
            "SELECT * FROM delivery_cursors ORDER BY topic, partition, lane"
        )

    async def count(self, **limits: Any) -> resends.CountedResend:  # noqa: ANN401  # as Resend
        """Return what a resend of the subscriber would send."""
        order = resends.Resend(
            ordered_at=datetime.now(UTC),
            filter=registry.EventFilter(customer_id=CUSTOMER),
            **limits,
        )
        return await resends.planned(self.ledger, self.settings, Codec(), "crm", order)

    async def resend(self, **limits: Any) -> resends.CountedResend:  # noqa: ANN401  # as Resend
        """Order a resend; return what it was said to send."""
        plan = await self.count(**limits)
        await resends.begin(self.ledger, [plan], by="ada", now=datetime.now(UTC))
        return plan

    async def until_open(self, lane: str) -> None:
        """Wait until something of a lane is read, and neither taken nor given up."""

        async def is_open() -> bool:
            found = await self.cursors()
            return any(one["lane"] == lane and one["open_offsets"] for one in found)

        await until(is_open)

    async def until_resent(self) -> None:
        """Wait until no resend is under way."""
        await until(lambda: self._has("resends WHERE finished_at IS NULL", is_wanted=False))

    async def attempts(self) -> list[dict[str, Any]]:
        """Return the failed attempts."""
        return await self.ledger.fetch("SELECT * FROM delivery_attempts ORDER BY id")

    async def until_failing(self) -> None:
        """Wait until the ledger has that a subscriber refused something."""
        await until(lambda: self._has("subscribers WHERE failing_since IS NOT NULL"))

    async def until_calm(self) -> registry.WebhookSubscriber:
        """Return the subscriber once nothing of it fails any more."""
        await until(
            lambda: self._has("subscribers WHERE failing_since IS NOT NULL", is_wanted=False)
        )
        return await registry.of_name(self.ledger, "crm")

    async def until_paused(self) -> registry.WebhookSubscriber:
        """Return the subscriber once it is paused."""
        await until(lambda: self._has("subscribers WHERE paused_at IS NOT NULL"))
        return await registry.of_name(self.ledger, "crm")

    async def _has(self, rows: LiteralString, *, is_wanted: bool = True) -> bool:
        """Return whether there are such rows, or none where none are wanted."""
        return bool(await self.ledger.fetch(f"SELECT FROM {rows}")) is is_wanted

    async def until_acknowledged(self, count: int) -> None:
        """Wait until so many records are acknowledged, over all subscribers, and no more."""
        query: LiteralString = (
            "SELECT count(DISTINCT (subscriber_id, webhook_id)) AS n FROM deliveries"
        )
        end = monotonic() + LIMIT
        while (found := int((await self.ledger.fetch(query))[0]["n"])) < count:
            assert monotonic() < end, f"not all of {count} were acknowledged: {found}"
            await asyncio.sleep(0.05)
        assert found == count


@dataclass(slots=True)
class WebhookProcesses:
    """Processes that deliver, to be killed and frozen."""

    kafka: KafkaSettings
    database_url: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start one more."""
        ours = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": self.kafka.topic_prefix,
            "IZIN_PARTITIONS": str(self.kafka.partitions),
            "IZIN_KAFKA_LOG_LEVEL": "2",
            "DATABASE_URL": self.database_url,
            "IZIN_WEBHOOK_PORT": str(free_port()),
            "IZIN_WEBHOOK_OPERATIONS_PORT": str(free_port()),
            "IZIN_WEBHOOK_ALLOWED": '["127.0.0.0/8"]',
            "IZIN_WEBHOOK_FIRST_PAUSE": "PT0.05S",
            "IZIN_WEBHOOK_LONGEST_PAUSE": "PT0.5S",
            "IZIN_WEBHOOK_TIMEOUT": "PT2S",
            "IZIN_LOG_LEVEL": "warning",
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "izin.webhooks"],
                env={**os.environ, **ours, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        return process

    def end(self) -> None:
        """End all."""
        for one in self.running:
            with suppress(ProcessLookupError):
                one.send_signal(signal.SIGCONT)
            one.terminate()
        for one in self.running:
            try:
                one.wait(timeout=15)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait(timeout=15)


@contextmanager
def receiving() -> Iterator[str]:
    """Run a receiver in a process of its own; yield its URL."""
    argv = [sys.executable, "-m", "benchmarks.webhooks.receiver"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/hook"
    finally:
        process.stdin.close()
        process.wait(timeout=15)
        process.stdout.close()


def random_secret() -> str:
    """Return a secret of no subscriber."""
    return new_secret(secrets.token_bytes)


def event_reader(
    codec: Codec, topics: Topics, customers: Mapping[int, str] | None = None
) -> EventReader:
    """Return what makes events of records, where these are the customers of the brands."""
    known = {BRAND: CUSTOMER} if customers is None else customers

    async def registered() -> Mapping[int, str]:
        return known

    reader = EventReader(codec, topics, registered)
    reader.customers = known
    return reader
