"""The comparison of the order stage: its contenders, datasets and trials.

Trials take turns, so that interference affects every contender. Latency is measured last, once a
contender.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks.order.broker import QUIET, PublishedDataset, delete_dataset, publish
from benchmarks.order.contenders.registry import Contender
from benchmarks.order.dataset import Dataset, DatasetShape
from benchmarks.order.summary import ContenderSummary, summarize
from benchmarks.order.timer import TrialError, TrialResult
from benchmarks.order.trials import TrialPlan, run_live, run_trial
from benchmarks.order.verify_output import OutputDigest, find_mismatch
from benchmarks.worker.probe import LatencySummary
from izin.local import LocalError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

FULL, SHORT, LIVE = "full", "short", "live"
_CAUGHT_UP_AFTER = 5000
"""Events of the dataset that is read before probes come."""


class OrderComparison:
    """Runs the trials of contenders over the same events."""

    def __init__(self, console: Console, *, name: str, folder: Path, limit: timedelta) -> None:
        self.absent: dict[str, str] = {}
        """Contenders that could not be installed, and why."""
        self.failed: dict[str, str] = {}
        """Contenders that did not finish, or wrote something else, and how."""
        self.datasets: dict[str, PublishedDataset] = {}
        self._console = console
        self._name = name
        self._folder = folder
        self._limit = limit
        self._commands: dict[Contender, tuple[str, ...]] = {}
        self._outputs: dict[str, dict[str, OutputDigest]] = {}

    def prepare(self, contenders: Sequence[Contender]) -> None:
        """Install the contenders; one that cannot be installed is left out."""
        for contender in contenders:
            try:
                self._commands[contender] = contender.prepare(self._console.print)
            except LocalError as error:
                self.absent[contender.name] = str(error)
                self._console.print(f"[yellow]skipped[/] {contender.name}: {escape(str(error))}")

    def publish(self, full: DatasetShape, short: DatasetShape, bootstrap_servers: str) -> None:
        """Publish the datasets that the contenders read."""
        live = replace(short, events=min(_CAUGHT_UP_AFTER, short.events))
        shapes = {FULL: full, SHORT: short, LIVE: live}
        used = {_dataset_of(contender) for contender in self._commands}
        for name in {LIVE, *used} if used else ():
            settings = KafkaSettings(
                bootstrap_servers=bootstrap_servers,
                registry_url=None,
                topic_prefix=f"{self._name}-{name}-",
                partitions=full.partitions,
                client_log_level=QUIET,
            )
            with self._console.status(f"publishing {shapes[name].events:,} events"):
                self.datasets[name] = publish(Dataset(shapes[name], Codec()), settings)

    def delete_datasets(self) -> None:
        """Delete every topic of the comparison."""
        for dataset in self.datasets.values():
            delete_dataset(dataset)

    def run(self, trials: int) -> Sequence[ContenderSummary]:
        """Run all trials and return the summaries of the contenders that finished."""
        results: dict[Contender, list[TrialResult]] = {one: [] for one in self._commands}
        for number in range(1, trials + 1):
            for contender in self._commands:
                is_enough = contender.runs_once and number > 1
                if contender.name not in self.failed and not is_enough:
                    self._trial(contender, number, results[contender])
        readable = {one: self._live(one) for one in results if one.name not in self.failed}
        return [
            summarize(
                one.name,
                one.setup,
                self.datasets[_dataset_of(one)].events,
                finished,
                readable=readable.get(one),
            )
            for one, finished in results.items()
            if finished
        ]

    def _plan(self, contender: Contender, dataset: str, name: str) -> TrialPlan:
        return TrialPlan(
            contender=contender,
            command=self._commands[contender],
            dataset=self.datasets[dataset],
            name=f"{contender.slug}-{name}",
            folder=self._folder,
            limit=self._limit,
        )

    def _live(self, contender: Contender) -> LatencySummary | None:
        try:
            with self._console.status(f"published until readable: {contender.name}"):
                found = run_live(self._plan(contender, LIVE, LIVE))
        except TrialError as error:
            self._fail(contender, error)
            return None
        self._console.print(
            f"readable  {contender.name}: p50 {found.p50:,.0f} ms, p99 {found.p99:,.0f} ms"
        )
        return found

    def _fail(self, contender: Contender, error: TrialError) -> None:
        self.failed[contender.name] = str(error)
        self._console.print(f"[red]failed[/] {contender.name}: {escape(str(error))}")

    def _trial(self, contender: Contender, number: int, finished: list[TrialResult]) -> None:
        plan = self._plan(contender, _dataset_of(contender), str(number))
        try:
            with self._console.status(f"trial {number}: {contender.name}"):
                result = run_trial(plan, verify=number == 1 and not contender.writes_more)
            self.verify(contender, result)
        except TrialError as error:
            self._fail(contender, error)
        else:
            finished.append(result)
            self._console.print(
                f"trial {number}  {contender.name}: {result.events_per_second:,.0f} events/s, "
                f"{result.cpu_us:.1f} µs CPU, {result.peak_mb:,.0f} MB"
            )

    def verify(self, contender: Contender, result: TrialResult) -> None:
        """Compare the output with that of the others; raises TrialError if it differs."""
        if result.output is None:
            return
        dataset = _dataset_of(contender)
        others = self._outputs.setdefault(dataset, {})
        expected = self.datasets[dataset].expected.rows.total()
        mismatch = find_mismatch(result.output, expected=expected, others=others)
        if mismatch is not None:
            raise TrialError(mismatch)
        others[contender.name] = result.output


def _dataset_of(contender: Contender) -> str:
    return SHORT if contender.is_slow else FULL
