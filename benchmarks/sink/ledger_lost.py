"""The benchmark ``ledger-lost``: a ledger that has lost all of its rows stands again.

Every key has one decision, as in ``ledger-rebuild``. The tables of rows and of messages for Kafka
are emptied. Measured is the time until the history is folded and compared, every row is restored
with its permission in the outbox, and all rows are compared again: from then on the digest is that
of the rows that were lost, and a sink worker may start. Its first work, to publish the permissions,
is measured beside it, on a broker of its own.
"""

import asyncio
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table

from benchmarks.order.broker import QUIET
from benchmarks.results import RunReport, progress
from benchmarks.sink.fixture import SinkFixture
from benchmarks.sink.ledger_rebuild import calls, filled, rebuild_of
from izin.kafka.clients import ensure_topics
from izin.ledger.db import Ledger, Notifications
from izin.local import Kafka, Postgres
from izin.replay.ledger.rebuild import Repaired, compare
from izin.runtime.plan import Plan, Selection
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.sinks.publish.publisher import OutboxReader, OutboxRelay

_QUEUED = "SELECT count(*) AS records, count(DISTINCT key) AS keys FROM outbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostLedger:
    """How long each part took, in seconds, and what stands then."""

    keys: int
    workers: int
    folded: float
    """The history folded into the shadow, and compared with a table without rows."""
    restored: float
    """Rows and outbox written."""
    compared: float
    """All rows compared again."""
    is_equal: bool
    """Whether the rows are those that were lost."""
    queued: int
    """Records of permissions in the outbox, one a key."""
    calls: int
    """Calls to İYS and deliveries."""
    published: float | None = None
    """Seconds until Kafka has all permissions, beyond the rest."""

    @property
    def seconds(self) -> float:
        """Until the ledger stands again."""
        return self.folded + self.restored + self.compared

    @property
    def failures(self) -> list[str]:
        """What is not as it should be."""
        found = []
        if not self.is_equal:
            found.append("the restored rows are not those that were lost")
        if self.queued != self.keys:
            found.append(f"{self.queued} permissions are queued, of {self.keys} keys")
        if self.calls:
            found.append(f"{self.calls} calls or deliveries were made")
        return found


def ledger_lost(
    keys: Annotated[int, typer.Option(min=100, help="Keys of the ledger.")] = 1_000_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that fold.")] = 2,
) -> RunReport:
    """Lose all rows of a ledger, and restore them from its history."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("filling the ledger") as status,
        Postgres(Path(folder)) as postgres,
    ):
        plan = Path(folder) / "plan.json"
        found = asyncio.run(
            measure_lost(postgres.url, KafkaSettings(), plan, keys=keys, workers=workers)
        )
        status.update("publishing")
        with Kafka(Path(folder), heap="1g", java_options=()) as broker:
            settings = KafkaSettings(
                bootstrap_servers=broker.bootstrap_servers, partitions=8, client_log_level=QUIET
            )
            ensure_topics(settings)
            published = asyncio.run(measure_publishing(postgres.url, settings))
        found = replace(found, published=published)
    return RunReport(
        tables=[_table(found)],
        data={"lost": asdict(found) | {"seconds": found.seconds}},
        figures={"ledger-lost": None if found.failures else found.seconds},
        failures=found.failures,
    )


def _table(found: LostLedger) -> Table:
    table = Table(title=f"{found.keys:,} lost rows restored, with {found.workers} processes")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_row("history folded and compared, seconds", f"{found.folded:.1f}")
    table.add_row("rows restored and permissions queued, seconds", f"{found.restored:.1f}")
    table.add_row("all rows compared again, seconds", f"{found.compared:.1f}")
    table.add_row("until the ledger stands again, seconds", f"{found.seconds:.1f}")
    table.add_row("then: permissions published, seconds", f"{found.published or 0:.1f}")
    table.add_row("rows equal to those that were lost", "yes" if found.is_equal else "no")
    table.add_row("permissions queued", f"{found.queued:,}")
    table.add_row("calls and deliveries", f"{found.calls:,}")
    return table


async def measure_lost(
    url: str, settings: KafkaSettings, plan_file: Path, *, keys: int, workers: int
) -> LostLedger:
    """Restore the rows of a ledger at ``url`` that had ``keys`` keys, of one decision each."""
    async with filled(url, settings, keys=keys) as fixture:
        before = await calls(fixture)
        rebuild = rebuild_of(fixture, url, workers)
        lost = await rebuild.plan(plan_file, Selection(), by="benchmark")
        async with fixture.ledger.session() as connection:
            await connection.execute("TRUNCATE consents, outbox")
        instants = [time.perf_counter()]
        await rebuild.plan(plan_file, Selection(), by="benchmark")
        instants.append(time.perf_counter())
        plan, restored_at = Plan.read(plan_file), instants[-1]

        def note(_: Repaired) -> None:
            nonlocal restored_at
            restored_at = time.perf_counter()

        watched = replace(rebuild, on_repair=note)
        await watched.execute(plan, fixture.topic_messages, by="benchmark")
        instants += [restored_at, time.perf_counter()]
        after = await compare(fixture.ledger, plan)
        return LostLedger(
            keys=keys,
            workers=workers,
            folded=instants[1] - instants[0],
            restored=instants[2] - instants[1],
            compared=instants[3] - instants[2],
            is_equal=after.current == lost.current and after.current_keys == keys,
            queued=await _queued(fixture),
            calls=await calls(fixture) - before,
        )


async def _queued(fixture: SinkFixture) -> int:
    """Return how many records the outbox has; raises RuntimeError where a key has two."""
    (row,) = await fixture.ledger.fetch(_QUEUED)
    if row["records"] != row["keys"]:
        raise RuntimeError(f"{row['records']} records of {row['keys']} keys are queued")
    return int(row["records"])


async def measure_publishing(url: str, settings: KafkaSettings) -> float:
    """Publish what the outbox of the ledger at ``url`` has; return the seconds."""
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=2) as ledger:
        relay = OutboxRelay(
            ledger=ledger,
            settings=settings,
            notifications=Notifications(),
            clock=lambda: datetime.now(UTC),
            wait=timedelta(seconds=1),
        )
        client, reader = await relay.open(), OutboxReader()
        began = time.perf_counter()
        while await relay.deliver(client, reader):
            pass
        return time.perf_counter() - began
