"""One trial of a contender: run over the published dataset and timed.

The clock starts when a tenth of the expected output can be read (so start-up, joining the group and
a JIT's first steps do not count) and stops when the row of the last record of every partition can
be read with ``read_committed``. Speed and CPU are those of the nine tenths between. CPU is that of
the contender's processes alone, user and system, as ``/proc`` counts it; the broker and this
process are not in it. Processes are ended by their ids, also after a failure.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from benchmarks import ROOT
from benchmarks.order.broker import OutputWatcher, PublishedDataset, create_output, delete_output
from benchmarks.order.contenders.registry import Contender
from benchmarks.order.contenders.task import Task
from benchmarks.order.timer import TrialResult, time_trial
from benchmarks.order.verify_output import digest_rows, read_rows
from izin.local.child import Child, Command

_STOP_WITHIN = timedelta(seconds=5)


def run_trial(  # noqa: PLR0913 - what a trial is made of
    contender: Contender,
    command: Sequence[str],
    dataset: PublishedDataset,
    *,
    name: str,
    folder: Path,
    limit: timedelta,
    verify: bool,
) -> TrialResult:
    """Run ``contender`` over ``dataset`` on fresh topics and time it; raises TrialError.

    With ``verify`` its output is read back once the clock has stopped.
    """
    settings = dataset.settings
    app = f"{settings.topic_prefix}{name}"
    output = contender.output(settings, app)
    delete_output(settings, app, output)
    create_output(settings, output)
    task = Task(
        bootstrap_servers=settings.bootstrap_servers,
        prefix=settings.topic_prefix,
        events=settings.topics.events.name,
        output=output,
        app=app,
        folder=str(folder / name),
        partitions=str(settings.partitions),
    )
    Path(task.folder).mkdir(parents=True, exist_ok=True)
    children = [
        Child(
            Command(
                name=contender.name,
                argv=(*command, *task),
                folder=ROOT,
                log=folder / f"{name}-{number}.log",
                stop_within=_STOP_WITHIN,
            )
        )
        for number in range(contender.processes)
    ]
    expected = contender.expected(dataset.expected)
    watcher = OutputWatcher(settings, output, expected=expected, last=dataset.expected.last)
    try:
        for child in children:
            child.start()
        result = time_trial(
            children, watcher.poll, events=dataset.events, limit=limit, what="output"
        )
        if verify:
            _stop(children)
            digest = digest_rows(read_rows(settings, output, watcher.ends))
            result = replace(result, output=digest)
        return result
    finally:
        _stop(children)
        watcher.close()
        delete_output(settings, app, output)


def _stop(children: Sequence[Child]) -> None:
    for child in children:
        child.stop()
