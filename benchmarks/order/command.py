"""The benchmark ``order``: the order stage against other stream processors, on one broker.

Every contender reads the same events and writes the latest row of each key; izin runs a second time
with everything on. Slow contenders get a shorter dataset, as the table shows.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from benchmarks.order.comparison import OrderComparison
from benchmarks.order.contenders.registry import (
    CONTENDERS,
    FLINK_HEAP,
    IZIN,
    IZIN_SAME_WORK,
    NAIVE_FAUST,
    QUIX,
    STREAMS_EXACTLY_ONCE,
    Contender,
)
from benchmarks.order.dataset import DatasetShape
from benchmarks.order.summary import ContenderSummary, as_json, ratio, render
from benchmarks.results import RunReport, progress
from izin.local import Kafka

AGAINST = (FLINK_HEAP, STREAMS_EXACTLY_ONCE, NAIVE_FAUST)
"""The contenders to whose figures the others' are compared in the table."""


def order(  # noqa: PLR0913, PLR0917 - an option is an argument
    events: Annotated[int, typer.Option(min=1000, help="Events of the full dataset.")] = 1_000_000,
    slow_events: Annotated[
        int, typer.Option(min=1000, help="Events of the short dataset, for slow contenders.")
    ] = 100_000,
    recipients: Annotated[int, typer.Option(min=1, help="Recipients, by Zipf's law.")] = 200_000,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of every topic.")] = 4,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each contender.")] = 3,
    limit: Annotated[int, typer.Option(min=5, help="Seconds that a trial may take.")] = 180,
    contender: Annotated[
        list[str] | None, typer.Option(help="Only this contender; may be repeated.")
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="A broker to use instead of one of our own.")
    ] = None,
) -> RunReport:
    """Compare the order stage with Flink, Kafka Streams, Quix Streams, Faust and librdkafka."""
    console = progress()
    contenders = _chosen(contender)
    full = DatasetShape(events=events, recipients=recipients, partitions=partitions)
    short = DatasetShape(
        events=min(slow_events, events), recipients=recipients, partitions=partitions
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="izin-bench-")))
        comparison = OrderComparison(
            console,
            # An existing broker may have the topics of another comparison that is running.
            name=f"bench-{uuid4().hex[:8]}",
            folder=folder,
            limit=timedelta(seconds=limit),
        )
        comparison.prepare(contenders)
        if bootstrap_servers is None:
            broker = Kafka(folder, heap="1g", java_options=(), on_progress=console.print)
            bootstrap_servers = stack.enter_context(broker).bootstrap_servers
        comparison.publish(full, short, bootstrap_servers)
        stack.callback(comparison.delete_datasets)
        found = comparison.run(trials)
    title = f"The order stage, {events:,} events, {trials} trials"
    return RunReport(
        tables=[
            *([render(found, AGAINST, title=title)] if found else []),
            *(f"  {one.name}: {one.setup}" for one in found),
        ],
        data={
            "partitions": partitions,
            "recipients": recipients,
            "contenders": as_json(found, AGAINST),
            "absent": comparison.absent,
            "failed": comparison.failed,
        },
        figures=figures(found),
        failures=[f"{name}: {reason}" for name, reason in comparison.failed.items()],
    )


def figures(found: Sequence[ContenderSummary]) -> Mapping[str, float | None]:
    """Return the figures of the contenders that finished."""
    by_name = {one.name: one for one in found}

    def of(name: str, value: Callable[[ContenderSummary], float]) -> float | None:
        return value(by_name[name]) if name in by_name else None

    def to(name: str, other: str) -> tuple[float | None, float | None]:
        if name not in by_name or other not in by_name:
            return None, None
        one = ratio(by_name[name], by_name[other])
        return one.speed, one.cpu

    speed, cpu = to(IZIN_SAME_WORK, STREAMS_EXACTLY_ONCE)
    flink_speed, flink_cpu = to(IZIN_SAME_WORK, FLINK_HEAP)
    return {
        "order-speed-flink": flink_speed,
        "order-cpu-flink": flink_cpu,
        "order-everything-flink": to(IZIN, FLINK_HEAP)[0],
        "order-speed-kafka-streams": speed,
        "order-cpu-kafka-streams": cpu,
        "order-speed-faust": to(IZIN_SAME_WORK, NAIVE_FAUST)[0],
        "order-speed-quix": to(IZIN_SAME_WORK, QUIX)[0],
        "order-events": of(IZIN, lambda one: one.speed.median),
        "order-cpu": of(IZIN, lambda one: one.cpu.median),
    }


def _chosen(slugs: Sequence[str] | None) -> Sequence[Contender]:
    """Return the contenders with these slugs, or all; raises BadParameter for an unknown one."""
    if not slugs:
        return CONTENDERS
    known = {one.slug: one for one in CONTENDERS}
    for slug in slugs:
        if slug not in known:
            raise typer.BadParameter(
                f"{slug} is none of {', '.join(known)}", param_hint="--contender"
            )
    return [one for one in CONTENDERS if one.slug in slugs]
