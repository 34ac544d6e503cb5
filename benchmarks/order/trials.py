"""One trial of a contender: run over the published dataset and timed.

The clock starts when a tenth of the expected output can be read (so start-up, joining the group and
a JIT's first steps do not count) and stops when the rows of the last records of every partition can
be read with ``read_committed``. Speed and CPU are those of the nine tenths between. CPU is that of
the contender's processes alone, user and system, as ``/proc`` counts it; the broker and this
process are not in it. Processes are ended by their ids, also after a failure.

Speed without latency is half a figure: in a run of its own, over a short dataset, a contender that
has caught up gets a few hundred events a second, and each is timed from the publisher's call until
its row can be read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from random import Random

from benchmarks import ROOT
from benchmarks.order.broker import OutputWatcher, PublishedDataset, create_output, delete_output
from benchmarks.order.contenders.registry import Contender
from benchmarks.order.contenders.task import Task
from benchmarks.order.timer import TrialError, TrialResult, time_trial
from benchmarks.order.verify_output import digest_rows, read_rows
from benchmarks.worker.probe import LatencySummary, Probe
from izin.local.processes import Child, Command
from izin.schemas.codec import Codec

_STOP_WITHIN = timedelta(seconds=5)
_PROBES = 2000
_EVERY = 0.002
"""Seconds between probes: some 500 a second."""
_READABLE_WITHIN = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlan:
    """A run of a contender: who, how it is started, over what, and where it may write."""

    contender: Contender
    command: Sequence[str]
    dataset: PublishedDataset
    name: str
    folder: Path
    limit: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """The processes of a run, and what they write."""

    children: Sequence[Child]
    output: str
    watcher: OutputWatcher

    def time(self, plan: TrialPlan) -> TrialResult:
        """Time them over the dataset; raises TrialError."""
        return time_trial(
            self.children,
            self.watcher.poll,
            events=plan.dataset.events,
            limit=plan.limit,
            what="output",
        )


def run_trial(plan: TrialPlan, *, verify: bool) -> TrialResult:
    """Run a contender over a dataset on fresh topics and time it; raises TrialError.

    With ``verify`` its output is read back once the clock has stopped.
    """
    with _running(plan) as run:
        result = run.time(plan)
        if verify:
            _stop(run.children)
            rows = read_rows(plan.dataset.settings, run.output, run.watcher.ends)
            result = replace(result, output=digest_rows(rows))
        return result


def run_live(plan: TrialPlan) -> LatencySummary:
    """Return how long it takes from a publisher's call until a row of the contender can be read,
    once it has caught up; raises TrialError.
    """
    settings = plan.dataset.settings
    with _running(plan) as run:
        run.time(plan)
        with Probe(settings, Codec(), outputs=[run.output], within=_READABLE_WITHIN) as probe:
            try:
                took = probe.run(
                    settings.topics.events.name,
                    every=_EVERY,
                    random=Random(plan.name),
                    should_continue=lambda sent: sent < _PROBES,
                )
            except TimeoutError as error:
                raise TrialError(str(error)) from error
        return LatencySummary.of(plan.contender.name, took[run.output])


@contextmanager
def _running(plan: TrialPlan) -> Iterator[_Running]:
    """Yield the processes of a contender, started on topics of their own."""
    contender, settings = plan.contender, plan.dataset.settings
    app = f"{settings.topic_prefix}{plan.name}"
    output = contender.output(settings, app)
    delete_output(settings, app, output)
    create_output(settings, output)
    task = Task(
        bootstrap_servers=settings.bootstrap_servers,
        prefix=settings.topic_prefix,
        events=settings.topics.events.name,
        output=output,
        app=app,
        folder=str(plan.folder / plan.name),
        partitions=str(settings.partitions),
    )
    Path(task.folder).mkdir(parents=True, exist_ok=True)
    children = [
        Child(
            Command(
                name=contender.name,
                argv=(*plan.command, *task),
                folder=ROOT,
                log=plan.folder / f"{plan.name}-{number}.log",
                stop_within=_STOP_WITHIN,
            )
        )
        for number in range(contender.processes)
    ]
    expected = plan.dataset.expected
    watcher = OutputWatcher(
        settings, output, expected=contender.expected(expected), last=expected.last
    )
    try:
        for child in children:
            child.start()
        yield _Running(children=children, output=output, watcher=watcher)
    finally:
        _stop(children)
        watcher.close()
        delete_output(settings, app, output)


def _stop(children: Sequence[Child]) -> None:
    for child in children:
        child.stop()
