"""``python -m izin.bench poison``: what records that nobody can read cost the others.

Two lanes with the same events, one of them with poison strewn in, are drained in turn by a worker
of a group of its own each lap. The bar: one in a thousand costs at most 3 % of the speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from benchmarks.cpu_timing import machine
from benchmarks.order.dataset import Course, Item, Shape
from benchmarks.order.summary import Standing, as_json, standing, table
from benchmarks.order.timer import LapError
from benchmarks.order.trials import publish
from benchmarks.order.verify_output import read_back
from benchmarks.results import keep
from benchmarks.worker.drain import drained
from benchmarks.worker.installation import empty, installation
from izin.runtime import kafka
from izin.schemas.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.order.timer import Run
    from izin.runtime.settings import KafkaSettings

CLEAN, POISONED = "clean", "poisoned"


def _cut(value: bytes) -> bytes:
    return value[: len(value) // 2]


def _of_no_schema(value: bytes) -> bytes:
    return value[:2] + bytes(8) + value[10:]


def _unframed(value: bytes) -> bytes:
    return b"{" + value


def _overlong(value: bytes) -> bytes:
    return value + b"\0"


POISONS: tuple[Callable[[bytes], bytes], ...] = (_cut, _of_no_schema, _unframed, _overlong)


class PoisonedCourse(Course):
    """A course with poison in the place of one record in so many."""

    def __init__(self, shape: Shape, codec: Codec, *, share: float) -> None:
        super().__init__(shape, codec)
        self._share = share
        self.poisoned = 0

    def records(self) -> Iterator[Item]:
        """Make the records of the course, some of them poisoned."""
        random, poisons = Random(self.shape.seed), cycle(POISONS)
        for item in super().records():
            if random.random() < self._share:
                self.poisoned += 1
                yield item._replace(value=next(poisons)(item.value))
            else:
                yield item


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What poison costs, in the medians of all laps."""

    standings: Sequence[Standing]
    poisoned: int
    dead_letters: int
    slower: float
    """The share of the speed that is lost; below 0 where chance was kinder to the poisoned."""


def poison(  # noqa: PLR0913, PLR0917 - an option is an argument
    events: Annotated[int, typer.Option(min=1000, help="Events of either lane.")] = 500_000,
    share: Annotated[float, typer.Option(min=0, max=0.1, help="The share of poison.")] = 0.001,
    recipients: Annotated[int, typer.Option(min=1, help="Recipients, by Zipf's law.")] = 200_000,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of every topic.")] = 4,
    laps: Annotated[int, typer.Option(min=1, help="Laps of either lane.")] = 5,
    limit: Annotated[int, typer.Option(min=5, help="Seconds a lap may take.")] = 300,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="A broker to use instead of one of our own.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/poison.json"
    ),
) -> None:
    """Measure what poison costs the records around it, in laps that take turns."""
    console, where = Console(), machine()
    shape = Shape(events=events, recipients=recipients, partitions=partitions, cut=0)
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        console.status("starting") as told,
        installation(Path(folder), partitions=partitions, given=bootstrap_servers) as clean,
        installation(
            Path(folder), partitions=partitions, given=clean.bootstrap_servers
        ) as poisoned,
    ):
        found = cost(
            {CLEAN: clean, POISONED: poisoned},
            shape,
            Path(folder),
            share=share,
            laps=laps,
            limit=timedelta(seconds=limit),
            progress=told.update,
        )
    title = f"Poison, {share:.1%} of {events:,} events, {laps} laps\n{where}"
    console.print(table(found.standings, [CLEAN], title=title))
    console.print(
        f"{found.poisoned:,} poisoned records, {found.dead_letters:,} dead letters; "
        f"{found.slower:.1%} of the speed is lost",
        highlight=False,
    )
    keep(
        results,
        console,
        {
            "machine": where,
            "events": events,
            "share": share,
            "poisoned": found.poisoned,
            "dead_letters": found.dead_letters,
            "slower": round(found.slower, 4),
            "runners": as_json(found.standings, [CLEAN]),
        },
    )


def cost(  # noqa: PLR0913 - what a race is made of
    lanes: Mapping[str, KafkaSettings],
    shape: Shape,
    folder: Path,
    *,
    share: float,
    laps: int,
    limit: timedelta,
    progress: Callable[[str], None] = lambda _: None,
) -> Cost:
    """Race the lanes ``CLEAN`` and ``POISONED``; raises LapError, also where a lap's dead letters
    are not the poisoned records.
    """
    progress("publishing")
    codec = Codec()
    course = PoisonedCourse(shape, codec, share=share)
    publish(Course(shape, codec), lanes[CLEAN])
    publish(course, lanes[POISONED])
    expected = {CLEAN: 0, POISONED: course.poisoned}
    runs: dict[str, list[Run]] = {name: [] for name in lanes}
    for lap in range(1, laps + 1):
        for name, settings in lanes.items():
            progress(f"lap {lap}: {name}")
            runs[name].append(
                drained(settings, folder, events=shape.events, app=f"lap-{lap}", limit=limit)
            )
            buried = _dead_letters(settings)
            if buried != expected[name]:
                raise LapError(f"{buried} dead letters of {expected[name]} poisoned records")
            empty(settings)
    speeds = {name: median(one.events_per_second for one in taken) for name, taken in runs.items()}
    return Cost(
        standings=[standing(name, "", shape.events, taken) for name, taken in runs.items()],
        poisoned=course.poisoned,
        dead_letters=expected[POISONED],
        slower=1 - speeds[POISONED] / speeds[CLEAN],
    )


def _dead_letters(settings: KafkaSettings) -> int:
    topic = settings.topics.dead_letters.name
    return sum(1 for _ in read_back(settings, topic, kafka.committed_ends(settings, topic)))
