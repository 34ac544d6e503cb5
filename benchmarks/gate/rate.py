"""The benchmark ``gate``: questions about single recipients, answered by the gate and by a bare
endpoint over a dict, in turn; and how soon the gate answers where they come at a fixed rate.

Server and client have a core each, and the broker has nothing to do.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.gate.contenders import (
    BARE,
    GATE,
    AnswerRate,
    ask,
    bare_server,
    gate_server,
    running,
)
from benchmarks.gate.published import permissions, publish, publish_brand
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation

_PARTITIONS = 12


def gate(  # noqa: PLR0913, PLR0917  # options
    keys: Annotated[int, typer.Option(min=100, help="Keys that both know.")] = 100_000,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each trial.")] = 5,
    trials: Annotated[int, typer.Option(min=1, help="Of each, in turn; the median counts.")] = 5,
    connections: Annotated[int, typer.Option(min=1, help="Clients that ask at once.")] = 28,
    rate: Annotated[float, typer.Option(min=1, help="Questions a second, for the latency.")] = 1000,
    timed: Annotated[float, typer.Option(min=0.5, help="Seconds at this rate.")] = 30,
) -> RunReport:
    """Measure how many questions the gate answers, and how soon."""
    found: list[AnswerRate] = []
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status("starting") as status,
        installation(Path(name), partitions=_PARTITIONS) as settings,
    ):
        publish(settings, settings.topics.permissions, permissions(keys))
        key = publish_brand(settings)
        contenders = bare_server(Path(name), keys), gate_server(settings, Path(name))
        with running(*contenders):
            for number in range(trials):
                status.update(f"trial {number + 1} of {trials}")
                found += [
                    ask(one, key, keys=keys, seconds=seconds, connections=connections)
                    for one in contenders
                ]
            status.update(f"{rate:,.0f} questions a second")
            timing = ask(
                contenders[-1],
                key,
                keys=keys,
                seconds=timed,
                rate=rate,
                connections=2 * connections,
            )
    bare, ours = (_median(found, name) for name in (BARE, GATE))
    table = Table(title=f"Questions about one recipient of {keys:,}, median of {trials}")
    table.add_column("contender")
    for heading in ("questions/s", "p50, ms", "p99, ms", "CPU µs a question"):
        table.add_column(heading, justify="right")
    for one in (bare, ours, timing):
        name = f"gate at {rate:,.0f}/s" if one is timing else one.name
        times = (f"{value:.2f}" for value in (one.latency.p50, one.latency.p99))
        table.add_row(name, f"{one.per_second:,.0f}", *times, f"{one.cpu_us:.0f}")
    return RunReport(
        tables=[table],
        data={"keys": keys, "contenders": [asdict(one) for one in (*found, timing)]},
        figures={
            "gate-rate": ours.per_second / bare.per_second * 100,
            "gate-latency": timing.latency.p99,
        },
    )


def _median(found: Sequence[AnswerRate], name: str) -> AnswerRate:
    some = sorted((one for one in found if one.name == name), key=lambda one: one.per_second)
    return some[len(some) // 2]
