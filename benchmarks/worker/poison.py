"""The benchmark ``poison``: the cost of undecodable records to the others.

Two lanes with the same events, one of them with undecodable records among them, are drained in turn
by a worker of a group of its own each trial.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.order.broker import publish
from benchmarks.order.dataset import Dataset, DatasetRecord, DatasetShape
from benchmarks.order.summary import ContenderSummary, as_json, ratio, render, summarize
from benchmarks.order.timer import TrialError, TrialResult
from benchmarks.order.verify_output import read_rows
from benchmarks.results import RunReport, progress
from benchmarks.worker.drain import drain
from benchmarks.worker.installation import (
    BrokerOption,
    PartitionsOption,
    RecipientsOption,
    installation,
    recreate_topics,
)
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

CLEAN, POISONED = "clean", "poisoned"


def _truncated(value: bytes) -> bytes:
    return value[: len(value) // 2]


def _of_unknown_schema(value: bytes) -> bytes:
    return value[:2] + bytes(8) + value[10:]


def _unframed(value: bytes) -> bytes:
    return b"{" + value


def _overlong(value: bytes) -> bytes:
    return value + b"\0"


POISONS: tuple[Callable[[bytes], bytes], ...] = (
    *(_truncated, _of_unknown_schema, _unframed, _overlong),
)


class PoisonedDataset(Dataset):
    """A dataset in which a share of the records cannot be decoded."""

    def __init__(self, shape: DatasetShape, codec: Codec, *, share: float) -> None:
        super().__init__(shape, codec)
        self._share = share
        self.poisoned = 0

    def records(self) -> Iterator[DatasetRecord]:
        """Yield the records of the dataset, some of them poisoned."""
        random, poisons = Random(self.shape.seed), cycle(POISONS)
        for record in super().records():
            if random.random() < self._share:
                self.poisoned += 1
                yield record._replace(value=next(poisons)(record.value))
            else:
                yield record


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonCost:
    """The cost of undecodable records, as medians of all trials."""

    summaries: Sequence[ContenderSummary]
    """Of the clean lane, and of the poisoned one."""
    poisoned: int
    dead_letters: int

    @property
    def slower(self) -> float:
        """The share of the speed that is lost; below 0 if that lane was faster by chance."""
        clean, poisoned = self.summaries
        return 1 - ratio(poisoned, clean).speed


def poison(  # noqa: PLR0913, PLR0917 - an option is an argument
    events: Annotated[int, typer.Option(min=1000, help="Events of either lane.")] = 500_000,
    share: Annotated[float, typer.Option(min=0, max=0.1, help="The share of poison.")] = 0.001,
    recipients: RecipientsOption = 200_000,
    partitions: PartitionsOption = 4,
    trials: Annotated[int, typer.Option(min=1, help="Trials of either lane.")] = 5,
    limit: Annotated[int, typer.Option(min=5, help="Seconds that a trial may take.")] = 300,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure what undecodable records cost the records around them, in trials that take turns."""
    shape = DatasetShape(events=events, recipients=recipients, partitions=partitions, truncated=0)
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("starting") as status,
        installation(
            Path(folder), partitions=partitions, bootstrap_servers=bootstrap_servers
        ) as clean,
        installation(
            Path(folder), partitions=partitions, bootstrap_servers=clean.bootstrap_servers
        ) as poisoned,
    ):
        found = measure(
            {CLEAN: clean, POISONED: poisoned},
            shape,
            Path(folder),
            share=share,
            trials=trials,
            limit=timedelta(seconds=limit),
            on_progress=status.update,
        )
    title = f"Poison, {share:.1%} of {events:,} events, {trials} trials"
    return RunReport(
        tables=[
            render(found.summaries, [CLEAN], title=title),
            f"{found.poisoned:,} poisoned records, {found.dead_letters:,} dead letters",
        ],
        data={
            "events": events,
            "share": share,
            "poisoned": found.poisoned,
            "dead_letters": found.dead_letters,
            "slower": round(found.slower, 4),
            "contenders": as_json(found.summaries, [CLEAN]),
        },
        figures=figures(found),
    )


def figures(found: PoisonCost) -> Mapping[str, float]:
    """Return the share of the speed that is lost, in percent."""
    return {"poison-cost": found.slower * 100}


def measure(  # noqa: PLR0913 - what a comparison is made of
    lanes: Mapping[str, KafkaSettings],
    shape: DatasetShape,
    folder: Path,
    *,
    share: float,
    trials: int,
    limit: timedelta,
    on_progress: Callable[[str], None] = lambda _: None,
) -> PoisonCost:
    """Compare the lanes ``CLEAN`` and ``POISONED``.

    Raises TrialError, also where the dead letters of a trial are not the poisoned records.
    """
    on_progress("publishing")
    codec = Codec()
    dataset = PoisonedDataset(shape, codec, share=share)
    publish(Dataset(shape, codec), lanes[CLEAN])
    publish(dataset, lanes[POISONED])
    expected = {CLEAN: 0, POISONED: dataset.poisoned}
    results: dict[str, list[TrialResult]] = {CLEAN: [], POISONED: []}
    for trial in range(1, trials + 1):
        for name, finished in results.items():
            settings = lanes[name]
            on_progress(f"trial {trial}: {name}")
            finished.append(drain(settings, folder, events=shape.events, limit=limit))
            count = _dead_letters(settings)
            if count != expected[name]:
                raise TrialError(f"{count} dead letters of {expected[name]} poisoned records")
            recreate_topics(settings)
    return PoisonCost(
        summaries=[summarize(name, "", shape.events, one) for name, one in results.items()],
        poisoned=dataset.poisoned,
        dead_letters=expected[POISONED],
    )


def _dead_letters(settings: KafkaSettings) -> int:
    topic = settings.topics.dead_letters.name
    return sum(1 for _ in read_rows(settings, topic, clients.committed_ends(settings, topic)))
