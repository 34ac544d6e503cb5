"""The benchmark ``intake``: single posts to the intake, and to a bare endpoint that reads JSON, in
turn; webhooks that are mapped; and how soon a post is answered where they come at a fixed rate.

Kafka has acknowledged each post (``acks=all``), so the broker has its part of the machine.
"""

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import copy
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.gate.contenders import AnsweringProcess, AnswerRate, ask, child, running
from benchmarks.gate.published import publish_brand
from benchmarks.intake.load import SEGMENT
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation
from izin.local import free_port
from izin.producers.sources.folder import RECIPES
from izin.runtime.settings import KafkaSettings

_BARE, _INTAKE, _MAPPED = "bare Starlette", "intake", "mapped webhooks"
_SECRET = "a secret of the benchmark"  # noqa: S105  # of no account
_PARTITIONS = 12
_RECIPIENTS = 20_000


def intake(  # options
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each trial.")] = 5,
    trials: Annotated[int, typer.Option(min=1, help="Of each, in turn; the median counts.")] = 5,
    connections: Annotated[int, typer.Option(min=1, help="Clients that post at once.")] = 64,
    rate: Annotated[float, typer.Option(min=1, help="Posts a second, for the latency.")] = 1000,
    timed: Annotated[float, typer.Option(min=0.5, help="Seconds at this rate.")] = 20,
) -> RunReport:
    """Measure how many posts the intake answers, and how soon."""
    found: dict[str, list[AnswerRate]] = {_BARE: [], _INTAKE: [], _MAPPED: []}
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status("starting") as status,
        installation(Path(name), partitions=_PARTITIONS) as settings,
    ):
        key = publish_brand(settings)
        bare, ours = _bare(Path(name)), _intake(settings, Path(name))
        post = partial(
            ask, keys=_RECIPIENTS, connections=connections, load="benchmarks.intake.load"
        )
        what = {
            _BARE: (bare, f"consents {key}"),
            _INTAKE: (ours, f"consents {key}"),
            _MAPPED: (ours, f"{SEGMENT} {_SECRET}"),
        }
        with running(bare, ours):
            for number in range(trials):
                status.update(f"trial {number + 1} of {trials}")
                for label, (process, given) in what.items():
                    found[label].append(post(process, given, seconds=seconds))
            status.update(f"{rate:,.0f} posts a second")
            timing = post(ours, f"consents {key}", seconds=timed, rate=rate)
    table = Table(title=f"Single posts, median of {trials}")
    table.add_column("what")
    for heading in ("posts/s", "p50, ms", "p99, ms", "CPU µs a post"):
        table.add_column(heading, justify="right")
    rates = {label: median(one.per_second for one in some) for label, some in found.items()}
    for label, some in (*found.items(), (f"intake at {rate:,.0f}/s", [timing])):
        table.add_row(
            label,
            f"{median(one.per_second for one in some):,.0f}",
            f"{median(one.latency.p50 for one in some):.2f}",
            f"{median(one.latency.p99 for one in some):.2f}",
            f"{median(one.cpu_us for one in some):.0f}",
        )
    return RunReport(
        tables=[table],
        data={label: [asdict(one) for one in some] for label, some in found.items()},
        figures={
            "intake-posts": 1e6 / median(one.cpu_us for one in found[_INTAKE]),
            "intake-rate": 100 * rates[_INTAKE] / rates[_BARE],
            "intake-latency": timing.latency.p99,
            "intake-mapped": 100 * rates[_MAPPED] / rates[_INTAKE],
        },
    )


def _bare(folder: Path) -> AnsweringProcess:
    port = free_port()
    argv = (sys.executable, "-m", "benchmarks.intake.bare_server", str(port))
    return AnsweringProcess(name=_BARE, process=child("bare", argv, folder, port), port=port)


def _intake(settings: KafkaSettings, folder: Path) -> AnsweringProcess:
    port, sources = free_port(), folder / "sources"
    sources.mkdir()
    copy(RECIPES / "segment.toml", sources)
    (sources / "segment.secret").write_text(_SECRET, encoding="utf-8")
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": settings.partitions,
        "IZIN_KAFKA_LOG_LEVEL": settings.client_log_level,
        "IZIN_INTAKE_PORT": port,
        "IZIN_INTAKE_OPERATIONS_PORT": free_port(),
        "IZIN_INTAKE_SOURCES": sources,
    }
    given = (f"{name}={value}" for name, value in environment.items())
    argv = ("env", "-u", "SCHEMA_REGISTRY_URL", *given, sys.executable, "-m", "izin.producers")
    return AnsweringProcess(name=_INTAKE, process=child("intake", argv, folder, port), port=port)
