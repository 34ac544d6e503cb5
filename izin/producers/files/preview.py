"""What an import would make of the beginning of a file: guessed columns, rows as read, reasons.

Nothing is published, and nothing is written. Recipients are masked.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from izin.consent.enums import Status
from izin.consent.violations import Violation
from izin.producers.files.choices import ColumnChoices
from izin.producers.files.columns import (
    ColumnMeaning,
    Columns,
    ColumnsError,
    column_meanings,
    resolve,
)
from izin.producers.files.importing.judgement import RowJudge, fault_of
from izin.producers.files.table_formats import open_table, without_added
from izin.producers.files.tables import FileRow, Table
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import AcceptedRecord, MappedRecord, RefusedRecord, passes, read
from izin.producers.publishing.event_ids import FileIds
from izin.projections.brand_directory import BrandDirectory
from izin.runtime.masking import mask, mask_text

EXAMINED, SHOWN = 1000, 10
"""How many rows are read, and how many of them are shown."""
_ORIGIN = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedRow:
    """One consent of a row, as an import would read it."""

    line: int
    brand_code: int | None
    type: str
    recipient: str
    """Masked."""
    recipient_type: str
    status: str
    source: str | None
    consent_date: datetime | None
    """In UTC; None: none is stated, or it cannot be read."""
    is_published: bool
    reasons: tuple[Violation, ...]
    """Why it is refused, or why İYS would not register it as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What an import would make of the beginning of a file."""

    path: Path
    encoding: str
    delimiter: str
    """Nothing for a workbook."""
    header_line: int
    """Lines or rows above it are titles."""
    hidden_sheets: tuple[str, ...]
    """Hidden sheets of a workbook that have rows, and are left out."""
    columns: tuple[ColumnMeaning, ...]
    problem: str | None
    """What is wrong with the columns and how to correct it: no row can be read before."""
    rows: tuple[PreviewedRow, ...]
    """The consents of the first rows."""
    examined: int
    """How many rows were read for the counts."""
    published: int
    """How many consents of them would be published."""
    refused: int
    codes: Mapping[str, int]
    """How often each code was found."""


def preview_file(
    path: Path,
    directory: BrandDirectory,
    *,
    columns: ColumnChoices,
    dates: DateRules,
    now: datetime,
) -> ImportPreview:
    """Return what an import at ``now`` would make of the first ``EXAMINED`` rows of the file at
    ``path``, with the consents of the first ``SHOWN`` of them.

    Raises:
        SourceError: the file as a whole cannot be used, or a choice names nothing.
    """
    table = open_table(path, columns)
    columns = without_added(columns, table.headers)
    meanings = tuple(map(_masked, column_meanings(table.headers, columns)))
    try:
        known = resolve(table.headers, columns)
    except ColumnsError as error:
        return _preview(table, meanings, (), (), problem=str(error))
    with closing(table.rows()) as first:
        rows = [one for one in islice(first, EXAMINED) if not known.is_header(one.fields)]
    judge = RowJudge(
        directory=directory,
        dates=dates,
        origin=_ORIGIN,
        ids=FileIds(table.file.digest),
        digest=table.file.digest,
        received_at=now,
        review=passes,
    )
    found = [list(_previewed(one, known, judge)) for one in rows]
    return _preview(table, meanings, found, found[:SHOWN])


def _masked(column: ColumnMeaning) -> ColumnMeaning:
    """Return ``column`` without the recipient that is its name where a file has no header."""
    return column._replace(name=mask_text(column.name))


def _preview(
    table: Table,
    columns: tuple[ColumnMeaning, ...],
    found: Sequence[Sequence[PreviewedRow]],
    shown: Sequence[Sequence[PreviewedRow]],
    problem: str | None = None,
) -> ImportPreview:
    consents = [one for row in found for one in row]
    return ImportPreview(
        path=table.file.path,
        encoding=table.file.encoding,
        delimiter=table.delimiter,
        header_line=table.header_line,
        hidden_sheets=table.hidden,
        columns=columns,
        problem=problem,
        rows=tuple(one for row in shown for one in row),
        examined=len(found),
        published=sum(one.is_published for one in consents),
        refused=sum(not one.is_published for one in consents),
        codes=Counter(reason.code for one in consents for reason in one.reasons),
    )


def _previewed(row: FileRow, columns: Columns, judge: RowJudge) -> Iterator[PreviewedRow]:
    fault = fault_of(row, columns)
    if fault is not None:
        yield _row(row.line, read({}, judge.dates), RefusedRecord(violations=(fault,)))
        return
    for part in columns.parts(row.fields):
        record = judge.read(part)
        if not (part.lacks_recipient and record.status == Status.RET):
            yield _row(row.line, record, judge.judge(row, part, record))


def _row(line: int, record: MappedRecord, judged: AcceptedRecord | RefusedRecord) -> PreviewedRow:
    recipient = record.recipient
    if isinstance(judged, AcceptedRecord):
        recipient = judged.key.recipient
    return PreviewedRow(
        line=line,
        brand_code=record.brand_code,
        type=record.type,
        recipient=mask(recipient) if recipient else "",
        recipient_type=record.recipient_type,
        status=record.status,
        source=record.source,
        consent_date=record.consent_date,
        is_published=isinstance(judged, AcceptedRecord),
        reasons=judged.violations,
    )
