"""The tasks of the console that check and import files, one at a time.

A file is read in a thread, and a workbook by a process of its own: the event loop goes on. A task
that ends with the process is not lost: the journal of the import says how far it is, and the same
file has the same events, so that the next one goes on there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from izin.consent import IzinError, SourceError
from izin.kafka.clients import access_of
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.ledger.db import Ledger
from izin.producers.files import Import, ImportReport, ReversalRules
from izin.producers.files.corrections import put_back, write_corrections
from izin.producers.files.importer import journal_of
from izin.producers.files.report import ImportRunningError, reversals_beside
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.runtime.plan import OnProgress
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings
from izin.views.imports import (
    FileSample,
    ReportSummary,
    brands_to_import,
    counts_of,
    importing,
    record_import,
    sample_file,
    summary_of,
)
from izin.web.imports.store import (
    ImportCorrection,
    ImportCounts,
    ImportEdits,
    ImportFault,
    ImportStage,
    StoredImport,
)

_RUNNING = "Another process of the console imports this file."
_NO_KAFKA = "Kafka cannot be reached. Nothing is lost: continue once it is back."
_STOPPED = "It was stopped by a fault that the log of the console has. Nothing is lost."
_ACTS = {
    ImportStage.IMPORTING: "import file",
    ImportStage.CORRECTING: "import corrected rows",
}
"""What the history calls the tasks that publish."""
_STEPS = {
    "opt-outs read": "Opt-outs that stand are read",
    "rows checked": "Rows are checked",
    "rows opt-outs": "Opt-outs (RET) are published first",
    "rows published": "Rows are published",
}
"""What the steps of an import are called in its page."""
_READ_AT_ONCE = 2
"""A workbook may take a gigabyte while it is read."""
_MOST_SAMPLES = 20
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ImportRuns:
    """The tasks of this process."""

    _tasks: dict[str, "ImportTask"] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _reading: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, _READ_AT_ONCE))
    _samples: dict[str, tuple[object, asyncio.Task[FileSample]]] = field(default_factory=dict)

    def find(self, number: str) -> "ImportTask | None":
        """Return the task of the import with this id; None: there is none now."""
        return self._tasks.get(number)

    async def sample(self, ledger: Ledger, stored: StoredImport, *, now: datetime) -> FileSample:
        """Return the first rows of a file as its mapping has them read; the file is not read again
        while that stays.

        Raises:
            SourceError: the file as a whole cannot be used, or a choice names nothing.
        """
        directory = await brands_to_import(ledger, stored.state.customer)
        known = (stored.state.mapping.text, frozenset(directory))
        kept, task = self._samples.pop(stored.id, (None, None))
        if task is None or kept != known or (task.done() and task.exception() is not None):
            read = partial(sample_file, stored.file, stored.state.how, directory, now=now)
            task = asyncio.create_task(self._read(read))
        self._samples[stored.id] = known, task
        while len(self._samples) > _MOST_SAMPLES:
            del self._samples[next(iter(self._samples))]
        return await asyncio.shield(task)

    async def _read(self, read: Callable[[], FileSample]) -> FileSample:
        async with self._reading:
            return await asyncio.to_thread(read)

    def forget(self, number: str) -> None:
        """Forget the first rows of a file that is deleted."""
        self._samples.pop(number, None)

    def start(self, task: "ImportTask") -> None:
        """Begin a task, or go on with what was stopped; nothing where one is at the file."""
        number = task.stored.id
        if number not in self._tasks:
            self._tasks[number] = task
            task.work = asyncio.create_task(task.run(self._turn))
            task.work.add_done_callback(lambda _: self._tasks.pop(number, None))


@dataclass(slots=True, kw_only=True)
class ImportTask:
    """What checks, imports or corrects one file, and how far it is."""

    stored: StoredImport
    stage: ImportStage
    ledger: Ledger
    kafka: KafkaSettings
    by: str
    clock: Callable[[], datetime]
    work: asyncio.Task[None] | None = None
    step: str = ""
    """Empty: it waits for another."""
    done: int = 0
    total: int = 0

    async def run(self, turn: asyncio.Lock) -> None:
        """Do it once it is its turn, and store what became of it."""
        async with turn:
            await self._run()

    def _begin(self, step: str) -> OnProgress:
        def show(done: int, total: int, /) -> None:
            self.step, self.done, self.total = _STEPS[step.rpartition(", ")[2]], done, total

        show(0, 0)
        return show

    async def _run(self) -> None:
        now, state = self.clock(), self.stored.state
        stored = self.stored.save(stage=self.stage, by=self.by, changed_at=now, fault=None)
        try:
            if what := _ACTS.get(self.stage):
                after = {"file": state.digest, "rows": len(state.edits.rows) or None}
                await record_import(self.ledger, what, state.customer, after, by=self.by, now=now)
            directory = await brands_to_import(self.ledger, state.customer)
            work = {
                ImportStage.CHECKING: self._check,
                ImportStage.IMPORTING: self._import,
                ImportStage.CORRECTING: self._correct,
            }[self.stage]
            await in_daemon_thread(partial(work, stored, directory), name="import")
        except ImportRunningError:
            self._failed(stored, ImportFault(wording=_RUNNING))
        except SourceError as error:
            values = {name: str(value) for name, value in error.values.items()}
            self._failed(stored, ImportFault(wording=error.wording, values=values))
        except BrokerError as error:
            _log.warning("import interrupted", error=str(error))
            self._failed(stored, ImportFault(wording=_NO_KAFKA))
        except (IzinError, OSError) as error:
            _log.error("import stopped", error=str(error))
            self._failed(stored, ImportFault(wording=_STOPPED))

    def _failed(self, stored: StoredImport, fault: ImportFault) -> None:
        # Before anything is published the mapping may be at fault, and is corrected.
        stage = ImportStage.UPLOADED if self.stage is ImportStage.CHECKING else self.stage
        stored.save(stage=stage, fault=fault, changed_at=self.clock())

    def _check(self, stored: StoredImport, directory: BrandDirectory) -> None:
        how = replace(stored.state.how, report_path=stored.folder / "check.csv", dry_run=True)
        done = self._read(stored.file, how, directory)
        found = _counts(done, summary_of(stored.folder / "check.csv"))
        stored.save(stage=ImportStage.CHECKED, found=found, changed_at=self.clock())

    def _import(self, stored: StoredImport, directory: BrandDirectory) -> None:
        how = replace(stored.state.how, report_path=stored.report, resumable=True)
        done = self._read(stored.file, how, directory)
        left = summary_of(stored.report)
        stored.save(
            stage=ImportStage.IMPORTED,
            found=_counts(done, left),
            left=left,
            changed_at=self.clock(),
        )

    def _correct(self, stored: StoredImport, directory: BrandDirectory) -> None:
        state, edits = stored.state, stored.state.edits
        corrections, again = stored.folder / "corrections.csv", stored.folder / "again.csv"
        write_corrections(corrections, stored.report, edits.rows)
        how = replace(
            state.how,
            columns=replace(state.how.columns, header_row=None),
            report_path=again,
            resumable=True,
            corrects=stored.report,
            reversals=ReversalRules(event_ids=frozenset(edits.given_back), by=self.by),
        )
        done = self._read(corrections, how, directory)
        put_back(stored.report, again, edits.rows)
        now = self.clock()
        found = ImportCorrection(
            at=now, by=self.by, rows=done.rows, published=done.published, refused=done.refused
        )
        stored.save(
            stage=ImportStage.IMPORTED,
            edits=ImportEdits(),
            left=summary_of(stored.report),
            corrections=(*state.corrections, found),
            changed_at=now,
        )
        for path in (corrections, again, reversals_beside(again), journal_of(again)):
            path.unlink(missing_ok=True)

    def _read(self, path: Path, how: Import, directory: BrandDirectory) -> ImportReport:
        access = access_of(self.kafka)
        with importing(access, access.codec(), directory, clock=self.clock) as session:
            return session.run(
                path,
                how,
                self._begin,
                opt_outs=lambda codes: session.opt_outs(codes, self._begin),
            )


def _counts(done: ImportReport, report: ReportSummary) -> ImportCounts:
    return ImportCounts(counts=counts_of(done), report=report, hidden_sheets=done.hidden_sheets)
