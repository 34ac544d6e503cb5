"""Imports of files: how one runs, what it counted, and what the first rows of a file would be.

A file is read, checked and published by :mod:`izin.producers.files`, for a command and for the
console. Which brands its rows may name is the caller's to say: whoever sees one customer names none
of another's.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from izin.consent import Channel, Violation, read_recipient
from izin.kafka.access import KafkaAccess
from izin.kafka.tables.active_opt_outs import ActiveOptOuts
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.ledger import brands
from izin.ledger.db import Ledger
from izin.ledger.history import customer_key, record_act
from izin.producers.files import (
    ColumnChoices,
    ColumnsError,
    FileRow,
    FindOptOuts,
    Import,
    ImportReport,
    Table,
    import_file,
    open_table,
)
from izin.producers.files.corrections import ReportedRow, headers_of, reported_rows
from izin.producers.files.preview import ImportPreview, preview_table
from izin.producers.files.rows import RowJudge, columns_of, fault_of
from izin.producers.mapping.cells import cell_text, notation_text
from izin.producers.mapping.choices import ChannelField, names_status
from izin.producers.mapping.columns import Columns, column_meanings
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import AcceptedRecord, MappedRecord
from izin.producers.publishing.event_ids import FileIds
from izin.producers.publishing.publisher import BULK_LINGER, KafkaPublisher
from izin.runtime.masking import mask_text
from izin.runtime.plan import OnProgress
from izin.schemas.codec import Codec

Begin = Callable[[str], OnProgress]
"""Begins a step of an import, by its name, and returns what is called with its progress."""
NO_MEANING = frozenset({"H115", "H116", "H117", "H119"})
"""The codes of a status, recipient type, channel or source that is none."""
_READ, _SHOWN, _MOST_WORDS, _LONGEST_WORD = 500, 10, 40, 40
"""Rows that are read for words without a meaning, those that are shown, and such words."""
_MOST_CELLS, _MOST_ROWS = 900, 25
"""Of a page of a report."""
_IF_ANY = (
    *("reversals", "past_term", "not_registrable", "without_recipient", "silent"),
    *("repeated_headers", "refused_reversals"),
)
"""What is left out of the counts where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSession:
    """A connection to Kafka that imports files."""

    kafka: KafkaAccess
    codec: Codec
    directory: BrandDirectory
    publisher: KafkaPublisher
    clock: Callable[[], datetime]

    def opt_outs(self, codes: Collection[int], begin: Begin) -> ActiveOptOuts:
        """Return the opt-outs that stand for keys of the brands of these ``codes``, and show their
        reading as a step.

        Raises:
            BrokerError: the topic cannot be read.
        """
        found = ActiveOptOuts(self.kafka, self.codec, codes)
        found.load(begin("opt-outs read"))
        return found

    def run(
        self, path: Path, how: Import, begin: Begin, *, opt_outs: FindOptOuts | None
    ) -> ImportReport:
        """Import the file at ``path``, and show the rows of each pass as a step.

        Without ``opt_outs`` it is read once, and no opt-in counts as a reversal.

        Raises:
            SourceError: the file as a whole cannot be used.
            ImportInterruptedError: Kafka became unreachable.
        """
        steps: dict[str, OnProgress] = {}

        def show(step: str, rows: int, expected: int) -> None:
            what = "checked" if how.dry_run else step
            if what not in steps:
                steps[what] = begin(f"{path.name}, rows {what}")
            steps[what](rows, expected)

        try:
            return import_file(
                path,
                self.publisher,
                self.directory,
                clock=self.clock,
                how=how,
                progress=show,
                opt_outs=opt_outs,
            )
        except ColumnsError as error:
            error.args = (f"{path.name}, {error}",)
            raise


@contextmanager
def importing(
    kafka: KafkaAccess, codec: Codec, directory: BrandDirectory, *, clock: Callable[[], datetime]
) -> Iterator[ImportSession]:
    """Provide a session with the brands of ``directory``."""
    with KafkaPublisher(kafka, codec, clock=clock, linger=BULK_LINGER) as publisher:
        yield ImportSession(
            kafka=kafka, codec=codec, directory=directory, publisher=publisher, clock=clock
        )


def counts_of(done: ImportReport) -> Mapping[str, int]:
    """Return what an import has counted, by the names of the fields of ``done``; what there is none
    of is left out, but rows, published and refused.
    """
    names = ("rows", "published", *_IF_ANY[:-1], "refused", _IF_ANY[-1])
    counts = {name: getattr(done, name) for name in names}
    return {name: count for name, count in counts.items() if count or name not in _IF_ANY}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedReason:
    """Why rows of a file are reported."""

    code: str
    rows: int
    reason_tr: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSummary:
    """The rows of a report."""

    outcomes: Mapping[str, int]
    """How many there are, by the name of their outcome (``RowOutcome``)."""
    reasons: tuple[ReportedReason, ...]
    """The most frequent first."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(self.outcomes.values())


def summary_of(report: Path) -> ReportSummary:
    """Return what the report (CSV) of an import has; nothing where there is none."""
    outcomes, codes = Counter[str](), Counter[str]()
    texts: dict[str, tuple[str, str]] = {}
    for row in reported_rows(report):
        outcomes[row.outcome.name] += 1
        codes.update(row.codes)
        if len(row.codes) == len(row.reasons) == len(row.reasons_tr):
            texts |= zip(row.codes, zip(row.reasons_tr, row.reasons, strict=True), strict=True)
    nothing = ("", "")
    return ReportSummary(
        outcomes=outcomes,
        reasons=tuple(
            ReportedReason(code=code, rows=rows, reason_tr=tr, reason=en)
            for code, rows in codes.most_common()
            for tr, en in [texts.get(code, nothing)]
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """Some rows of a report, to be corrected."""

    columns: tuple[tuple[int, str], ...]
    """Those that hold something, by place, with their names."""
    rows: tuple[ReportedRow, ...]
    is_last: bool

    @property
    def recipients(self) -> frozenset[str]:
        """The recipients that the rows name, normalised."""
        found = (
            read_recipient(cell, channel)
            for row in self.rows
            for cell in row.shown
            for channel in Channel
        )
        return frozenset(one for one in found if isinstance(one, str))


def read_report_page(report: Path, choices: ColumnChoices, number: int) -> ReportPage:
    """Return a page of a report (CSV), counted from 1, of a file whose columns are those of
    ``choices``. It has fewer rows where there are many columns.
    """
    names = headers_of(report)
    columns = tuple(
        (place, column.name)
        for place, column in enumerate(column_meanings(names, choices))
        if column.held is not None
    )
    size = max(min(_MOST_CELLS // len(columns), _MOST_ROWS), 1)
    first = (number - 1) * size
    rows = tuple(islice(reported_rows(report), first, first + size + 1))
    return ReportPage(columns=columns, rows=rows[:size], is_last=len(rows) <= size)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """One consent of a row as it would be read."""

    line: int
    record: MappedRecord | None
    """None: its cells cannot be separated."""
    recipient: str
    violations: tuple[Violation, ...]
    is_refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSample:
    """The columns of a file, and its first rows as an import would read them."""

    preview: ImportPreview
    names: tuple[str, ...]
    """Of the columns, as they stand there."""
    rows: tuple[SampleRow, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    """Fields with words that have no meaning there."""


def sample_file(path: Path, how: Import, directory: BrandDirectory, *, now: datetime) -> FileSample:
    """Return what the file at ``path`` has, as an import would read it ``now``.

    Raises:
        SourceError: the file as a whole cannot be used, or a choice names nothing.
    """
    table = open_table(path, how.columns)
    preview = preview_table(table, how.columns)
    names = tuple(map(notation_text, table.headers))
    if preview.problem is not None:
        return FileSample(preview=preview, names=names, words=_statuses(table, preview))
    columns = columns_of(table.headers, how.columns, directory)
    judge = RowJudge(
        directory=directory,
        dates=how.dates,
        origin=how.origin,
        ids=FileIds(table.file.digest),
        digest=table.file.digest,
        received_at=now,
        review=how.review,
    )
    found, words = list[SampleRow](), dict[tuple[str, str], None]()
    with closing(table.rows()) as rows:
        for row in islice(rows, _READ):
            for name, sample in _sampled(row, columns, judge):
                found.append(sample)
                words.update(dict.fromkeys(_unknown(row, columns, name, sample)))
    return FileSample(
        preview=preview,
        names=names,
        rows=tuple(found[:_SHOWN]),
        words=tuple(words)[:_MOST_WORDS],
    )


def _statuses(table: Table, preview: ImportPreview) -> tuple[tuple[str, str], ...]:
    """Return the words of the columns that were mapped to a status, whose names say nothing."""
    places = [
        place
        for place, one in enumerate(preview.columns)
        if (one.held.held if isinstance(one.held, ChannelField) else one.held) is Field.STATUS
        and not names_status(one.name)
    ]
    with closing(table.rows()) as rows:
        words = {
            (str(Field.STATUS), cell_text(row.fields[place]))
            for row in islice(rows, _READ)
            for place in places
            if row.fault is None and place < len(row.fields)
        }
    return tuple(sorted(one for one in words if _is_word(one[1])))[:_MOST_WORDS]


def _is_word(text: str) -> bool:
    """Whether a text is a word, and surely no recipient."""
    return 0 < len(text) <= _LONGEST_WORD and mask_text(text) == text


def _sampled(row: FileRow, columns: Columns, judge: RowJudge) -> Iterator[tuple[str, SampleRow]]:
    """Yield each consent of ``row`` with its name."""
    if fault := fault_of(row, columns):
        yield (
            "",
            SampleRow(
                line=row.line, record=None, recipient="", violations=(fault,), is_refused=True
            ),
        )
        return
    for part in columns.parts(row.fields):
        record = judge.read(part)
        judged = judge.judge(row, part, record)
        key = judged.key if isinstance(judged, AcceptedRecord) else None
        yield (
            part.name,
            SampleRow(
                line=row.line,
                record=record,
                recipient=record.recipient if key is None else key.recipient,
                violations=judged.violations,
                is_refused=key is None,
            ),
        )


def _unknown(
    row: FileRow, columns: Columns, name: str, sample: SampleRow
) -> Iterator[tuple[str, str]]:
    """Yield the fields of a consent whose words have no meaning, each with its word; none that
    could be a recipient.
    """
    for one in sample.violations:
        place = columns.column_of(one.field, row.fields, name)[1]
        if one.code in NO_MEANING and place is not None:
            word = cell_text(row.fields[place])
            if _is_word(word):
                yield one.field, word


async def brands_to_import(ledger: Ledger, customer: str) -> BrandDirectory:
    """Return the brands that a file of ``customer`` may name: its own."""
    return BrandDirectory((await brands.brands_of(ledger, customer, ())).values())


async def record_import(  # noqa: PLR0913  # who imports what of whom
    ledger: Ledger, what: str, customer: str, after: Mapping[str, object], *, by: str, now: datetime
) -> None:
    """Write to the history that somebody begins to import a file of ``customer``."""
    async with ledger.transaction() as connection:
        await record_act(
            connection,
            what,
            customer_key(customer),
            by=by,
            now=now,
            before={},
            after=after,
            customer_id=customer,
        )
