"""The benchmark ``erasure``: many keys of a large ledger are erased, up to their last row.

Requested as by ``izin privacy erase``, decided by the order stage, the decisions ingested, the rows
removed, and the history erased by a clock that is many years ahead. One process and PostgreSQL; the
way through Kafka is left out. The history of each key has the decision on its opt-out, the request
and what was delivered.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.results import RunReport, progress
from benchmarks.sink.fixture import SinkFixture, sink_fixture
from izin.ledger.privacy import erasure
from izin.local import Postgres
from izin.runtime.settings import KafkaSettings
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.partitioning import partition_of
from izin.streams.fetched_record import FetchedRecord
from izin.streams.order import OrderStage
from izin.streams.ownership import OutputRecord
from izin.streams.state.state import MemoryState

_PARTITIONS = 48
_SETTLED = """UPDATE consents SET registered = 'RET', state = 'accepted', action = 'nothing'
    WHERE desired_status = 'RET' AND (%(keys)s::text[] IS NULL OR key = ANY(%(keys)s))
    RETURNING key"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureSteps:
    """How long each step took, in seconds."""

    keys: int
    erased: int
    entries: int
    """The rows of the history that were erased."""
    requested: float
    decided: float
    ingested: float
    removed: float
    history: float

    @property
    def seconds(self) -> float:
        """All of them together."""
        return self.requested + self.decided + self.ingested + self.removed + self.history


def erasures(
    keys: Annotated[int, typer.Option(min=0, help="Settled keys in the ledger.")] = 1_000_000,
    erased: Annotated[int, typer.Option(min=4, help="Keys to erase.")] = 10_000,
) -> RunReport:
    """Erase some of the keys of a large ledger."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("filling the ledger"),
        Postgres(Path(folder)) as postgres,
    ):
        steps = asyncio.run(measure_erasure(postgres.url, keys=keys, erased=erased))
    table = Table(title=f"{steps.erased:,} of {steps.keys:,} keys erased")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for name, seconds in (
        ("requested, with their acts", steps.requested),
        ("decided by the order stage", steps.decided),
        ("decisions ingested", steps.ingested),
        ("rows removed", steps.removed),
        (f"{steps.entries:,} rows of history erased", steps.history),
        ("together", steps.seconds),
    ):
        table.add_row(name, f"{seconds:.1f}")
    return RunReport(tables=[table], data={"steps": asdict(steps)}, figures=figures(steps))


def figures(steps: ErasureSteps) -> dict[str, float]:
    """Return the figure that has a bar."""
    return {"erasure": steps.seconds}


async def measure_erasure(url: str, *, keys: int, erased: int) -> ErasureSteps:
    """Erase ``erased`` keys of a ledger at ``url`` with ``keys`` keys."""
    async with sink_fixture(url, KafkaSettings(), keys=keys) as fixture:
        opted_out = await _opt_out(fixture, erased)
        now = datetime.now(UTC)
        took = [time.perf_counter()]
        requests = await erasure.request(
            fixture.ledger, fixture.topic_messages, opted_out, by="benchmark", now=now
        )
        count = len(requests)
        if count != len(opted_out):
            raise RuntimeError(f"{count} of {len(opted_out)} keys could be erased")
        took.append(time.perf_counter())
        decisions = decisions_on(fixture, await take_outbox(fixture))
        took.append(time.perf_counter())
        await fixture.ingest(decisions)
        took.append(time.perf_counter())
        now = datetime.now(UTC)
        removed = await erasure.remove(fixture.ledger, fixture.topic_messages, now=now)
        took.append(time.perf_counter())
        later = now + timedelta(days=366 * 11)
        entries = await erasure.erase_history(fixture.ledger, now=later)
        took.append(time.perf_counter())
        if removed != count:
            raise RuntimeError(f"{removed} of {count} keys were removed")
    requested, decided, ingested, gone, forgotten = (
        after - before for before, after in pairwise(took)
    )
    return ErasureSteps(
        keys=keys,
        erased=count,
        entries=entries,
        requested=requested,
        decided=decided,
        ingested=ingested,
        removed=gone,
        history=forgotten,
    )


async def _opt_out(fixture: SinkFixture, count: int) -> list[str]:
    """Have so many settled keys opt out, and İYS hold that; return them."""
    changes = fixture.changes(count * 2)  # opt-outs, then opt-ins of the same keys
    await fixture.ingest(changes[: len(changes) // 2])
    settled = await settle_opt_outs(fixture)
    await take_outbox(fixture)
    async with fixture.ledger.transaction() as connection:
        await connection.execute("ANALYZE")
    return settled


async def settle_opt_outs(fixture: SinkFixture, keys: Sequence[str] | None = None) -> list[str]:
    """Have İYS hold the opt-outs of ``keys``, or all; return their keys."""
    async with fixture.ledger.transaction() as connection:
        # In one step, which the database refuses: no calls to İYS are made here.
        await connection.execute("ALTER TABLE consents DISABLE TRIGGER consents_lawful")
        given = None if keys is None else list(keys)
        rows = await (await connection.execute(_SETTLED, {"keys": given})).fetchall()
        await connection.execute("ALTER TABLE consents ENABLE TRIGGER consents_lawful")
    return [row["key"] for row in rows]


async def take_outbox(fixture: SinkFixture) -> Sequence[dict[str, Any]]:
    """Remove and return the messages that wait for Kafka, each with its topic, key and value."""
    return await fixture.ledger.fetch("DELETE FROM outbox RETURNING key, value, topic")


def decisions_on(fixture: SinkFixture, messages: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return the decisions of the order stage on the events in ``messages``."""
    topic = fixture.topic_messages.topics.decisions.name
    return [
        one.value or b""
        for one in decide(fixture, messages, partitions=_PARTITIONS)
        if one.topic == topic
    ]


def decide(
    fixture: SinkFixture, messages: Sequence[Mapping[str, Any]], *, partitions: int
) -> list[OutputRecord]:
    """Return what the order stage writes for the events in ``messages``, each of another key."""
    stage = OrderStage(
        topics=fixture.topic_messages.topics,
        partitions=partitions,
        codec=fixture.codec,
        suppressions=SuppressionKeys(["a fake secret of thirty-two characters"]),
    )
    found: list[OutputRecord] = []
    appended_at = int(time.time() * 1000)
    for offset, message in enumerate(messages, start=fixture.offset):
        key = message["key"].encode()
        partition = partition_of(key, partitions)
        record = FetchedRecord(
            topic=message["topic"],
            partition=partition,
            offset=offset,
            timestamp=appended_at,
            key=key,
            value=message["value"],
            headers=(),
        )
        found += stage.fold(partition, [record], MemoryState()).writes
    return found
