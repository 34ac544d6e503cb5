"""The benchmark ``evidence``: the archive of one recipient of a large ledger, and its verification.

The ledger has a million decisions on other keys, anchored every few thousand rows as a sink worker
does under load. The recipient's 200 entries are spread over all of them, so that each has other
rows before the next anchor: the worst case but for the number of windows.
"""

import asyncio
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.results import RunReport, progress
from benchmarks.sink.fixture import BRANDS, SinkFixture, sink_fixture
from izin.evidence.collection import EvidenceRequest, collect, record
from izin.evidence.verification import verify
from izin.ledger.history import HistoryEntry, append, verify as chains
from izin.local import Postgres
from izin.runtime.settings import KafkaSettings
from izin.sinks.monitor.anchors import MOST_ROWS

_RECIPIENT = "+905559999999"
_KEY = f"{BRANDS[0]}/MESAJ/BIREYSEL/{_RECIPIENT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceTimes:
    """How long the archive of a recipient took."""

    rows: int
    """Of the whole history."""
    entries: int
    """Of the recipient."""
    segments: int
    bytes: int
    seconds: float
    """Collected, packed and recorded."""
    verified: float
    """The seconds of its verification."""
    is_proven: bool


def evidence(
    rows: Annotated[int, typer.Option(min=100, help="Rows of other keys.")] = 1_000_000,
    entries: Annotated[int, typer.Option(min=1, help="Of the recipient.")] = 200,
) -> RunReport:
    """Collect and verify the evidence of a recipient of a large ledger."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("filling the ledger"),
        Postgres(Path(folder)) as postgres,
    ):
        times = asyncio.run(measure_evidence(postgres.url, rows=rows, entries=entries))
    table = Table(title=f"evidence of {times.entries} of {times.rows:,} entries")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_row("seconds until it is written", f"{times.seconds:.2f}")
    table.add_row("seconds of its verification", f"{times.verified:.2f}")
    table.add_row("segments of chains", f"{times.segments:,}")
    table.add_row("bytes", f"{times.bytes:,}")
    failures = [] if times.is_proven else ["the archive is not proven by the anchors"]
    return RunReport(
        tables=[table],
        data={"evidence": asdict(times)},
        figures={"evidence": times.seconds if times.is_proven else None},
        failures=failures,
    )


async def measure_evidence(url: str, *, rows: int, entries: int) -> EvidenceTimes:
    """Collect the evidence of a recipient of a ledger at ``url`` with so many other rows."""
    async with sink_fixture(url, KafkaSettings(), keys=0) as fixture:
        await _fill(fixture, rows, entries)
        ledger = fixture.ledger
        async with ledger.session() as connection:
            await connection.execute("VACUUM ANALYZE history")
        now = datetime.now(UTC)
        request = EvidenceRequest(
            recipient=_RECIPIENT,
            brand_code=BRANDS[0],
            channel=None,
            at=now,
            by="benchmark",
            reason="benchmark",
        )
        began = time.perf_counter()
        found = await collect(ledger, fixture.topic_messages, request, now=now)
        archive = found.packed()
        await record(ledger, request, found, sha256="0" * 64, now=now)
        took = time.perf_counter() - began
        published = await chains.anchors_after(ledger, 0)
        began = time.perf_counter()
        anchors = {(one.shard, one.place): one.link.hex() for one in published}
        proof = verify(archive, anchors)
        verified = time.perf_counter() - began
        (count,) = await ledger.fetch("SELECT count(*) AS rows FROM history")
    return EvidenceTimes(
        rows=count["rows"],
        entries=len(found.rows),
        segments=len(found.segments),
        bytes=len(archive),
        seconds=took,
        verified=verified,
        is_proven=proof.is_proven,
    )


async def _fill(fixture: SinkFixture, rows: int, entries: int) -> None:
    """Write the history of others, with one of the recipient's entries in each part of it."""
    part = max(rows // entries, 2)
    since = 0
    for number in range(entries):
        await fixture.ingest(fixture.decisions(part // 2))
        now = datetime.now(UTC)
        async with fixture.ledger.transaction() as connection:
            await append.append(connection, [_entry(number, now)], now=now)
        await fixture.ingest(fixture.decisions(part - part // 2))
        since += part
        if since >= MOST_ROWS:
            since = 0
            async with fixture.ledger.transaction() as connection:
                await chains.anchor(connection, now=datetime.now(UTC))


def _entry(number: int, now: datetime) -> HistoryEntry:
    return HistoryEntry(
        kind="observation",
        customer_id="acme",
        key=_KEY,
        event_id=f"event-{number}",
        status="RET" if number % 2 else "ONAY",
        source=f"pull/IYS/event-{number}",
        occurred_at=now,
        data={
            "by": "pull",
            "stream": "IYS",
            "creation_date": now,
            "consent_date": now,
            "source": "IYS_WEB",
            "transaction_id": "a" * 64,
            "ours": False,
        },
    )
