"""The benchmark ``passes``: the same events again, into empty topics and over existing state.

A first pass decides the events, a second one decides them again into new topics, and a third one,
in a new group, over the state of the second. All must end with the
same last row of every key.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.order.broker import publish
from benchmarks.order.dataset import Dataset, DatasetShape
from benchmarks.order.timer import TrialResult
from benchmarks.order.verify_output import OutputDigest, digest_rows, read_rows
from benchmarks.results import RunReport
from benchmarks.worker.drain import drain
from benchmarks.worker.installation import (
    BrokerOption,
    PartitionsOption,
    RecipientsOption,
    measuring,
    recreate_positions,
    recreate_topics,
)
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

FIRST, EMPTY, EXISTING = "the first pass", "into empty topics", "over existing state"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPass:
    """One pass over the events: its speed, and the rows of ``desired-consents`` after it."""

    name: str
    result: TrialResult
    output: OutputDigest


def replay(
    events: Annotated[int, typer.Option(min=1000, help="Events of the dataset.")] = 5_000_000,
    recipients: RecipientsOption = 200_000,
    partitions: PartitionsOption = 4,
    limit: Annotated[int, typer.Option(min=5, help="Seconds that a pass may take.")] = 1200,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure how fast events are decided again, and check that the result is the same."""
    shape = DatasetShape(events=events, recipients=recipients, partitions=partitions)
    with measuring(partitions, bootstrap_servers) as (settings, folder, show):
        limit_ = timedelta(seconds=limit)
        found = measure(settings, shape, folder, limit=limit_, on_progress=show)
    same = len({one.output.digest for one in found}) == 1
    return RunReport(
        tables=[
            _table(found, f"The same {events:,} events again"),
            "one state, byte for byte" if same else "[red]the states differ[/]",
        ],
        data={
            "events": events,
            "recipients": recipients,
            "partitions": partitions,
            "same": same,
            "passes": [asdict(one) for one in found],
        },
        figures=figures(found),
    )


def figures(found: Sequence[ReplayPass]) -> Mapping[str, float]:
    """Return the speed of the slowest pass, and how many different states they end with."""
    return {
        "replay-events": min(one.result.events_per_second for one in found),
        "replay-states": len({one.output.digest for one in found}),
    }


def measure(
    settings: KafkaSettings,
    shape: DatasetShape,
    folder: Path,
    *,
    limit: timedelta,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Sequence[ReplayPass]:
    """Return the three passes over the dataset of ``shape``; raises TrialError."""
    on_progress("publishing")
    publish(Dataset(shape, Codec()), settings)
    passes = []
    for name in (FIRST, EMPTY, EXISTING):
        on_progress(name)
        if name == EMPTY:
            recreate_topics(settings)
        elif name == EXISTING:
            recreate_positions(settings)
        result = drain(settings, folder, events=shape.events, limit=limit)
        on_progress(f"{name}: reading back")
        passes.append(ReplayPass(name=name, result=result, output=_output(settings)))
    return passes


def _output(settings: KafkaSettings) -> OutputDigest:
    consents = settings.topics.desired_consents.name
    return digest_rows(read_rows(settings, consents, clients.committed_ends(settings, consents)))


def _table(found: Sequence[ReplayPass], title: str) -> Table:
    table = Table(title=title)
    table.add_column("pass")
    for heading in ("events/s", "CPU µs/event", "peak MB", "rows", "digest"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(
            one.name,
            f"{one.result.events_per_second:,.0f}",
            f"{one.result.cpu_us:.1f}",
            f"{one.result.peak_mb:,.0f}",
            f"{one.output.rows:,}",
            one.output.digest[:12],
        )
    return table
