"""The benchmark ``known-keys``: changes of keys that a large ledger knows, spread at random.

Decisions of our own systems (two in three opt out, the others opt in again) are ingested as the
sink worker does; then citizens' movements at İYS are observed, in pages of the size in which a
daily file enters. Rows are read ahead as there. The figure is the slower of the two. The way
through Kafka, and İYS, are left out.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.results import RunReport, progress
from benchmarks.sink.fixture import BRANDS, SinkFixture, sink_fixture
from izin.consent import ConsentKey
from izin.iys.wire_format import IysMovement, Stream
from izin.ledger import brands, reads
from izin.ledger.history import HistoryEntry
from izin.ledger.record import Brand, event_of, observation_of
from izin.ledger.unit_of_work import unit_of_work
from izin.local import Postgres
from izin.runtime.process import keep_memory_of_batches, tune_gc_for_batches
from izin.runtime.settings import KafkaSettings
from izin.sinks.inbound.daily.loop import AT_ONCE
from izin.sinks.inbound.movements import ObservedMovement, observe

_SEED = 20
_Page = tuple[Brand, list[ObservedMovement]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKeys:
    """How many rows a second were changed, and what that cost this process."""

    keys: int
    decisions: int
    decided_a_second: float
    decided_cpu_us: float
    entries: int
    observed_a_second: float
    observed_cpu_us: float
    server: str
    """The settings of PostgreSQL that count."""


def known_keys(
    keys: Annotated[int, typer.Option(min=1000, help="Settled keys in the ledger.")] = 5_000_000,
    changed: Annotated[int, typer.Option(min=100, help="Decisions on known keys.")] = 240_000,
    seen: Annotated[int, typer.Option(min=100, help="Entries at İYS on known keys.")] = 120_000,
) -> RunReport:
    """Measure decisions on known keys, and observations of them, on a large ledger."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("filling the ledger"),
        Postgres(Path(folder)) as postgres,
    ):
        tune_gc_for_batches()  # as the worker does
        keep_memory_of_batches()
        found = asyncio.run(measure_known_keys(postgres.url, keys=keys, changed=changed, seen=seen))
    table = Table(
        title=f"Known keys of {found.keys:,}, spread at random",
        caption=f"PostgreSQL with {found.server}",
    )
    for column in ("what", "decided", "observed"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row("rows", f"{found.decisions:,}", f"{found.entries:,}")
    table.add_row("rows/s", f"{found.decided_a_second:,.0f}", f"{found.observed_a_second:,.0f}")
    table.add_row(
        "CPU of the process, µs a row",
        f"{found.decided_cpu_us:,.0f}",
        f"{found.observed_cpu_us:,.0f}",
    )
    return RunReport(
        tables=[table],
        data={"known_keys": asdict(found)},
        figures={"known-keys": min(found.decided_a_second, found.observed_a_second)},
    )


async def measure_known_keys(url: str, *, keys: int, changed: int, seen: int) -> KnownKeys:
    """Change keys of a ledger of ``keys`` keys at ``url``, each once."""
    random = Random(_SEED)  # which keys are measured
    async with sink_fixture(url, KafkaSettings(), keys=keys) as fixture:
        chosen = fixture.spread_keys(changed + seen, random)
        of_decisions, of_entries = chosen[:changed], chosen[changed:]
        opt_outs = changed * 2 // 3
        changes = [
            (key, "RET" if place < opt_outs else "ONAY") for place, key in enumerate(of_decisions)
        ]
        random.shuffle(changes)
        values = fixture.decisions_on(changes)
        began, used = time.perf_counter(), time.process_time()
        await fixture.ingest(values)
        decided, decided_cpu = time.perf_counter() - began, time.process_time() - used
        async with fixture.ledger.transaction() as connection:
            known = await brands.of_codes(connection, BRANDS)
        memory = await reads.memory(fixture.ledger)
        pages = _pages(of_entries, known)
        began, used = time.perf_counter(), time.process_time()
        await _observe(fixture, pages)
        observed, observed_cpu = time.perf_counter() - began, time.process_time() - used
    return KnownKeys(
        keys=keys,
        decisions=changed,
        decided_a_second=changed / decided,
        decided_cpu_us=decided_cpu / changed * 1e6,
        entries=seen,
        observed_a_second=seen / observed,
        observed_cpu_us=observed_cpu / seen * 1e6,
        server=f"shared_buffers {memory.shared_buffers >> 20} MB, "
        f"max_wal_size {memory.max_wal_size >> 20} MB, {memory.consents >> 20} MB of consents",
    )


async def _observe(fixture: SinkFixture, pages: Sequence[_Page]) -> None:
    """Observe ``pages``, one after the other."""
    for brand, entries in pages:
        now = datetime.now(UTC)
        async with unit_of_work(fixture.ledger, fixture.topic_messages, now) as changes:
            await observe(changes, brand, entries)


def _pages(keys: Sequence[str], known: dict[int, Brand]) -> list[_Page]:
    """Return citizens' movements on ``keys``, brand by brand: every second one opts out."""
    pages = []
    for code in BRANDS:
        its = [ConsentKey.parse(key) for key in keys if key.startswith(f"{code}/")]
        entries = [_entry(key, known[code], place) for place, key in enumerate(its)]
        pages += [
            (known[code], entries[start : start + AT_ONCE])
            for start in range(0, len(entries), AT_ONCE)
        ]
    return pages


def _entry(key: ConsentKey, brand: Brand, place: int) -> ObservedMovement:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1, seconds=place % 3600)
    entry = IysMovement(
        recipient=key.recipient,
        type=str(key.channel),
        recipient_type=str(key.recipient_type),
        status="RET" if place % 2 else "ONAY",
        source="IYS_WEB",
        consent_date=at,
        creation_date=at,
        transaction_id=hashlib.sha256(str(key).encode()).hexdigest(),
    )
    event = event_of(entry, brand, Stream.IYS, path="pull", at=at)
    fact = HistoryEntry(
        kind="observation",
        customer_id=brand.customer_id,
        key=str(key),
        event_id=event.event_id,
        status=event.status,
        source=f"pull/{Stream.IYS}/{event.event_id}",
        occurred_at=at,
        data={"by": "pull", "creation_date": at, "source": event.source},
        may_repeat=True,
    )
    return ObservedMovement(key, observation_of(event, key), fact, is_ours=False)
