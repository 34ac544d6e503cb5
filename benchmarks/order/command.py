"""``python -m izin.bench order``: the order stage against its peers, on one broker in one run.

Every runner reads the same events and writes the latest statement of each key; ours runs a second
time with everything on. Slow runners take a shorter course, and the table says so. Laps go round
the field, so that what disturbs the machine disturbs them all.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.cpu_timing import machine
from benchmarks.order.contenders.registry import NAIVE_FAUST, RUNNERS, STREAMS_EXACTLY_ONCE
from benchmarks.order.dataset import Course, Shape
from benchmarks.order.summary import as_json, standing, table
from benchmarks.order.timer import LapError
from benchmarks.order.trials import publish, run_lap, withdraw
from benchmarks.order.verify_output import fault
from benchmarks.results import keep
from izin.local import Kafka, LocalError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.order.contenders.registry import Runner
    from benchmarks.order.summary import Standing
    from benchmarks.order.timer import Run
    from benchmarks.order.trials import Published
    from benchmarks.order.verify_output import Outcome

AGAINST = (STREAMS_EXACTLY_ONCE, NAIVE_FAUST)
"""To whose speed the others are compared."""

FULL, SHORT = "full", "short"

_WIDTH = 120
_ALMOST_NOTHING = 2
"""Of what librdkafka says; a runner that ends breaks connections."""


def order(  # noqa: PLR0913, PLR0917 - an option is an argument
    events: Annotated[int, typer.Option(min=1000, help="Events of the full course.")] = 1_000_000,
    slow_events: Annotated[
        int, typer.Option(min=1000, help="Events of the short course, for slow runners.")
    ] = 100_000,
    recipients: Annotated[int, typer.Option(min=1, help="Recipients, by Zipf's law.")] = 200_000,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of every topic.")] = 4,
    laps: Annotated[int, typer.Option(min=1, help="Laps of each runner.")] = 3,
    limit: Annotated[int, typer.Option(min=5, help="Seconds a lap may take.")] = 600,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only this one; may be repeated.")
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="A broker to use instead of one of our own.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/order.json"
    ),
) -> None:
    """Race the order stage against Kafka Streams, Quix Streams, Faust and bare librdkafka."""
    console = Console()
    console.width = max(console.width, _WIDTH)
    field = _field(only)
    where = machine()
    shape = Shape(events=events, recipients=recipients, partitions=partitions)
    short = Shape(events=min(slow_events, events), recipients=recipients, partitions=partitions)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="izin-bench-")))
        race = Race(
            console,
            # A broker given may hold what another race is running over.
            name=f"bench-{uuid4().hex[:8]}",
            folder=folder,
            limit=timedelta(seconds=limit),
        )
        race.prepare(field)
        if bootstrap_servers is None:
            broker = stack.enter_context(
                Kafka(folder, heap="1g", java_options=(), on_progress=console.print)
            )
            bootstrap_servers = broker.bootstrap_servers
        race.publish(shape, short, bootstrap_servers)
        stack.callback(race.withdraw)
        standings = race.run(laps)
    title = f"The order stage, {events:,} events, {laps} laps\n{where}"
    if standings:
        console.print(table(standings, AGAINST, title=title))
    for one in standings:
        console.print(f"  {one.name}: {one.how}", highlight=False)
    told = {
        "machine": where,
        "partitions": partitions,
        "recipients": recipients,
        "runners": as_json(standings, AGAINST),
        "absent": race.absent,
        "failed": race.failed,
    }
    keep(results, console, told)
    if race.failed:
        raise typer.Exit(1)


def _field(only: Sequence[str] | None) -> Sequence[Runner]:
    """Return the runners asked for; raises BadParameter for a name nobody bears."""
    if not only:
        return RUNNERS
    known = {runner.short: runner for runner in RUNNERS}
    for name in only:
        if name not in known:
            raise typer.BadParameter(f"{name} is none of {', '.join(known)}", param_hint="--only")
    return [runner for runner in RUNNERS if runner.short in only]


class Race:
    """The field, its courses and its laps."""

    def __init__(self, console: Console, *, name: str, folder: Path, limit: timedelta) -> None:
        self.absent: dict[str, str] = {}
        """Who could not be had, and why."""
        self.failed: dict[str, str] = {}
        """Who did not come through, and how."""
        self.courses: dict[str, Published] = {}
        self._console = console
        self._name = name
        self._folder = folder
        self._limit = limit
        self._commands: dict[Runner, tuple[str, ...]] = {}
        self._outcomes: dict[str, dict[str, Outcome]] = {}

    def prepare(self, field: Sequence[Runner]) -> None:
        """Bring what the runners need; who cannot be had is left out with a word."""
        for runner in field:
            try:
                self._commands[runner] = runner.prepare(self._console.print)
            except LocalError as error:
                self.absent[runner.name] = str(error)
                self._console.print(f"[yellow]skipped[/] {runner.name}: {escape(str(error))}")

    def publish(self, full: Shape, short: Shape, bootstrap_servers: str) -> None:
        """Publish the courses that somebody will run."""
        shapes = {FULL: full, SHORT: short}
        for name in {_course_of(runner) for runner in self._commands}:
            settings = KafkaSettings(
                bootstrap_servers=bootstrap_servers,
                registry_url=None,
                topic_prefix=f"{self._name}-{name}-",
                partitions=full.partitions,
                client_log_level=_ALMOST_NOTHING,
            )
            with self._console.status(f"publishing {shapes[name].events:,} events"):
                self.courses[name] = publish(Course(shapes[name], Codec()), settings)

    def withdraw(self) -> None:
        """Delete every topic of the race."""
        for course in self.courses.values():
            withdraw(course)

    def run(self, laps: int) -> Sequence[Standing]:
        """Run all laps and return the standings of those who came through."""
        runs: dict[Runner, list[Run]] = {runner: [] for runner in self._commands}
        for number in range(1, laps + 1):
            for runner, command in self._commands.items():
                if runner.name not in self.failed:
                    self._lap(runner, command, number, runs[runner])
        return [
            standing(runner.name, runner.how, self.courses[_course_of(runner)].events, taken)
            for runner, taken in runs.items()
            if taken
        ]

    def _lap(self, runner: Runner, command: tuple[str, ...], number: int, taken: list[Run]) -> None:
        lap = f"{runner.short}-{number}"
        try:
            with self._console.status(f"lap {number}: {runner.name}"):
                run = run_lap(
                    runner,
                    command,
                    self.courses[_course_of(runner)],
                    lap=lap,
                    folder=self._folder,
                    limit=self._limit,
                    check=number == 1 and not runner.writes_more,
                )
            self.check(runner, run)
        except LapError as error:
            self.failed[runner.name] = str(error)
            self._console.print(
                f"[red]failed[/] {runner.name}: {escape(str(error))}", highlight=False
            )
        else:
            taken.append(run)
            self._console.print(
                f"lap {number}  {runner.name}: {run.events_per_second:,.0f} events/s, "
                f"{run.cpu_us:.1f} µs CPU, {run.peak_mb:,.0f} MB",
                highlight=False,
            )

    def check(self, runner: Runner, run: Run) -> None:
        """Note what ``run`` wrote; raises LapError if it is not what it must be."""
        if run.outcome is None:
            return
        course = _course_of(runner)
        others = self._outcomes.setdefault(course, {})
        foreseen = sum(self.courses[course].foreseen.rows.values())
        wrong = fault(run.outcome, foreseen=foreseen, others=others)
        if wrong is not None:
            raise LapError(wrong)
        others[runner.name] = run.outcome


def _course_of(runner: Runner) -> str:
    return SHORT if runner.is_slow else FULL
