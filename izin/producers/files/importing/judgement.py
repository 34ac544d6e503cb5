"""One consent of a row as the law finds it: to be published, or refused with every reason why."""

from dataclasses import dataclass
from datetime import datetime

from izin.consent.violations import Violation
from izin.producers.files.delimited import FileRow
from izin.producers.files.row_parts import Columns, RowPart
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    MappedRecord,
    RefusedRecord,
    Review,
    read,
    reviewed,
    validate,
)
from izin.producers.mapping.violations import violation
from izin.producers.publishing.event_ids import FileIds
from izin.projections.brand_directory import BrandDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class RowJudge:
    """What is the same for all rows of an import."""

    directory: BrandDirectory
    dates: DateRules
    origin: str
    ids: FileIds
    digest: str
    """SHA-256 of the file."""
    received_at: datetime
    review: Review

    def read(self, part: RowPart) -> MappedRecord:
        """Return what ``part`` says."""
        return read(part.values, self.dates)

    def judge(
        self, row: FileRow, part: RowPart, record: MappedRecord
    ) -> AcceptedRecord | RefusedRecord:
        """Return what becomes of ``record``, which a ``part`` of ``row`` says."""
        origin = EventOrigin(
            event_id=self.ids.of(row.line, part.name),
            origin=self.origin,
            received_at=self.received_at,
            import_id=self.digest,
            row=row.line,
        )
        found = reviewed(validate(record, self.directory, origin), self.review)
        brand = self.directory.find(record.brand_code or 0)
        if brand is None or not brand.is_stopped or isinstance(found, RefusedRecord):
            return found
        why = violation("brand_code", "IZIN-BRAND-STOPPED", brand=brand.brand_code)
        return RefusedRecord(violations=(why,))


def fault_of(row: FileRow, columns: Columns) -> Violation | None:
    """Return why the fields of ``row`` cannot be assigned to ``columns``; None: they can."""
    width = len(columns.headers)
    if row.fault is None and len(row.fields) == width:
        return None
    what = row.fault or f"has {len(row.fields)} fields where the header has {width}"
    return violation("", "IZIN-ROW", what=what, width=width)


def fits(row: FileRow, columns: Columns) -> bool:
    """Whether the fields of ``row`` can be assigned to ``columns``, and are not their names."""
    return fault_of(row, columns) is None and not columns.is_header(row.fields)
