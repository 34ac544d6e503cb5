"""``python -m tests.chaos.console``: hostile requests to the console; ``make chaos STAGE=console``.

The process runs on loopback over a ledger of forty customers with a hundred brands, and a broker.
On raw sockets it gets methods, paths, queries, cookies, forms and files of which a fifth and more
are spoilt, by strangers and by sessions of each role that are cut to one customer.

``CHAOS_ARGS="--requests 900"`` shortens it; ``--seed`` and the number of a request, which each
fault names, make that request again: ``tests.chaos.console.making.hostile_request``.

It ends with the lines ``console-requests``, ``console-5xx``, ``console-foreign`` (answers that show
something of another customer, and tables in which something of theirs was changed) and
``console-memory-mib``, the most that the process had. Exit codes: 0 all hold; 1 one does not, or
the process ended or answers wrongly; 2 wrong usage.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import SecretStr

from benchmarks.results import RunReport
from izin.ledger.console import accounts, sessions
from izin.ledger.console.accounts import AccountRole
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import IysSettings, LedgerSettings
from izin.web.app import SESSION_COOKIE, csrf_of
from tests.chaos.command import Show, counted, listed, run_stage, start
from tests.chaos.console.making import SignedIn, Target, hostile_request
from tests.chaos.pipeline import CampaignServers, running_servers, until
from tests.chaos.requests.writer import statuses_of
from tests.integration.sinks.sink_harness import Clock, sinks_over
from tests.support.builders import CUSTOMER
from tests.support.console.crawl import foreign_rows, parties, text_of
from tests.support.customers.cuts import traces
from tests.support.customers.installation import fill_days, fill_ledger
from tests.support.order.verdict import Worker
from tests.support.secret_keys import key_setting
from tests.support.simulator import PASSWORD, USERNAME

_UP_WITHIN = 60.0
_AT_ONCE = 8
_ANSWERED_WITHIN = 30.0
_SERVER_FAULT = 500
_LASTS = sessions.SessionTerms(idle=timedelta(days=1), longest=timedelta(days=1))
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(slots=True, kw_only=True)
class ConsoleVerdict:
    """What came of the requests."""

    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    """By kind and status."""
    faults: list[str] = field(default_factory=list)
    """Answers of 5xx."""
    foreign: list[str] = field(default_factory=list)
    """Answers with something of another customer, and what was changed of theirs."""
    failed: list[str] = field(default_factory=list)
    memory: float = 0.0
    """The most that the process had, in MiB."""

    def note(self, name: str, kind: str, read: bytes, named: tuple[str, ...]) -> None:
        """Note the answer ``read`` to a request of this name and kind, which named ``named``."""
        self.sent += 1
        found = [*statuses_of(read)]
        self.statuses.update(f"{kind} {one}" for one in found or ["-"])
        shown = f"{name} ({kind})"
        self.faults += [f"{shown}: {one}: {read[-300:]!r}" for one in found if one >= _SERVER_FAULT]
        page = read.decode("utf-8", "replace")
        if others := traces(text_of(page), named, counts=False):
            self.foreign.append(f"{shown} shows {others[:5]}")


@dataclass(slots=True, kw_only=True)
class ConsoleCampaign:
    """A console of an installation, and who sends what is hostile."""

    servers: CampaignServers
    seed: int = 1
    requests: int = 20_000
    on_progress: Show = lambda _: None

    async def run(self) -> ConsoleVerdict:
        """Send all requests; return what came of them."""
        verdict = ConsoleVerdict()
        settings = LedgerSettings(database_url=SecretStr(self.servers.database_url))
        await migrate(self.servers.database_url)
        async with Ledger(settings, owner=1) as ledger, self._console(ledger) as (target, worker):
            before = await foreign_rows(ledger)
            await self._send(target, verdict)
            if worker.process.poll() is not None:
                verdict.failed.append(f"the console ended with {worker.process.returncode}")
                return verdict
            verdict.failed += await _wrong(target)
            verdict.memory = _peak(worker.process.pid)
            after = await foreign_rows(ledger)
            verdict.foreign += [
                f"{table}: rows of others were changed"
                for table, digest in after.items()
                if before[table] != digest
            ]
        if b"Traceback" in (self.servers.folder / "console.log").read_bytes():
            verdict.failed.append("console.log has tracebacks")
        return verdict

    @asynccontextmanager
    async def _console(self, ledger: Ledger) -> AsyncIterator[tuple[Target, Worker]]:
        """Run the console over an installation; yield what a client knows of it."""
        servers = self.servers
        iys = IysSettings(
            base_url=servers.simulator.address, username=USERNAME, password=SecretStr(PASSWORD)
        )
        async with sinks_over(ledger, servers.simulator, iys, Clock(), servers.settings) as harness:
            await fill_days(harness, await fill_ledger(harness))
        ours, theirs = await parties(ledger)
        port = free_port()
        environment = {
            "DATABASE_URL": servers.database_url,
            "IZIN_CONSOLE_PORT": str(port),
            "IZIN_CONSOLE_OPERATIONS_PORT": str(free_port()),
            "IZIN_CONSOLE_URL": f"http://127.0.0.1:{port}",
            "IZIN_CONSOLE_IDLE": "P1D",
            "IZIN_CONSOLE_SESSION": "P1D",
            "IZIN_SUPPRESSION_SECRETS": f'["{"s" * 32}"]',
            "IZIN_SECRET_KEYS": key_setting(1),
            "IZIN_CONSOLE_UPLOADS": str(servers.folder.resolve() / "uploads"),
            "IZIN_LOG_LEVEL": "warning",
            "IZIN_KAFKA_LOG_LEVEL": "2",
        }
        log = servers.folder / "console.log"
        with Worker(
            "console", servers.settings, log, module="izin.web", environment=environment
        ) as worker:
            url = f"http://127.0.0.1:{port}/health/ready"
            await until(lambda: answers(url), _UP_WITHIN, what="a console that is ready")
            signed_in = [await _session(ledger, role) for role in AccountRole]
            target = Target(port=port, sessions=signed_in, ours=ours, theirs=theirs)
            yield target, worker

    async def _send(self, target: Target, verdict: ConsoleVerdict) -> None:
        numbers = iter(range(self.requests))

        async def sender() -> None:
            for number in numbers:
                made = hostile_request(self.seed, number, target)
                read = await _exchange(target.port, made.content)
                verdict.note(f"request {number}", made.kind, read, made.named)
                if number % 500 == 0:
                    self.on_progress(f"{number:,} of {self.requests:,} requests")

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(sender())


def _peak(pid: int) -> float:
    """Return the most memory that a process had, in MiB."""
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text("utf-8"))
    return int(found[1]) / 1024 if found else math.inf


async def _exchange(port: int, content: bytes) -> bytes:
    """Return all that the console sends for a request; of events the beginning."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    read = bytearray()
    try:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_ANSWERED_WITHIN):
                writer.write(content)
                while piece := await reader.read(1 << 16):
                    read += piece
                    if b"text/event-stream" in read[:2000]:
                        break
    finally:
        writer.transport.abort()
    return bytes(read)


async def _session(ledger: Ledger, role: AccountRole) -> SignedIn:
    """Return a session of an account of this role, cut to our customer."""
    now = Clock()()
    await accounts.save(ledger, role, role, [CUSTOMER], by="test", now=now)
    token = await sessions.begin(ledger, role, _LASTS, now=now)
    return SignedIn(role=role, token=token, csrf=csrf_of(token))


async def _wrong(target: Target) -> list[str]:
    """Return how the console answers somebody lawful, if not rightly."""
    cookies = {SESSION_COOKIE: target.sessions[0].token}
    async with httpx.AsyncClient(
        base_url=target.origin, trust_env=False, cookies=cookies
    ) as client:
        found = {path: (await client.get(path)).status_code for path in ("/", "/account")}
    return [f"afterwards, {path}: {status}" for path, status in found.items() if status != 200]


def main(
    requests: Annotated[int, typer.Option(min=1, help="Hostile ones.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same requests for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data and logs, and the result.")] = Path(
        ".izin/chaos-console"
    ),
) -> None:
    """Send hostile requests to the console, and judge all answers."""

    def campaign(show: Show) -> ConsoleVerdict:
        with running_servers(folder, partitions=4, heap="1g", java_options=()) as servers:
            made = ConsoleCampaign(servers=servers, seed=seed, requests=requests, on_progress=show)
            return asyncio.run(made.run())

    raise run_stage(
        "console",
        folder,
        campaign,
        lambda found, seconds: report(found, seed=seed, seconds=seconds),
    )


def report(found: ConsoleVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    by_status: Mapping[str, int] = Counter(found.statuses)
    return RunReport(
        tables=[
            f"seed {seed}: {found.sent} hostile, {seconds:.0f} s",
            f"  {counted(by_status)}",
            *listed(found.faults),
            *listed(found.foreign),
        ],
        data={
            "seed": seed,
            "seconds": round(seconds),
            "statuses": dict(found.statuses),
            "5xx": found.faults,
            "foreign": found.foreign,
        },
        figures={
            "console-requests": found.sent,
            "console-5xx": len(found.faults),
            "console-foreign": len(found.foreign),
            "console-memory-mib": found.memory,
        },
        failures=found.failed,
    )


if __name__ == "__main__":
    start("console", main)
