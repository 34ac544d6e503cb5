"""The reports of one day (mutabakat), as İYS's JSON (reference 2.12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from izin.iys.wire_format.consents import Stream
from izin.iys.wire_format.json_reader import JsonReader, readers


class ProcessStatus(StrEnum):
    """How far İYS is with the hash of a day's file."""

    QUEUED = "queued"
    IN_PROGRESS = "inprogress"
    COMPLETED = "completed"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCount:
    """How many movements of a day İYS counts, for one channel and one of its streams."""

    type: str
    source: str
    """One of :class:`Stream`, as İYS wrote it."""
    approvals: int
    """First ONAY, or ONAY after RET."""
    rejections: int
    """RET after ONAY."""
    pending: int
    total: int

    @classmethod
    def read_all(cls, reader: JsonReader) -> tuple[DayCount, ...]:
        """Return the counts in a response."""
        return tuple(
            cls(
                type=of_type.text("type"),
                source=one.text_or_none("source") or str(Stream.HS),
                approvals=one.integer_or_none("approval") or 0,
                rejections=one.integer_or_none("rejection") or 0,
                pending=one.integer_or_none("pending") or 0,
                total=one.integer_or_none("total") or 0,
            )
            for of_type in readers(reader.raw("changeStats") or [])
            for one in readers(of_type.raw("consents") or [])
        )

    def to_json(self) -> Mapping[str, object]:
        """Return the count as the ledger stores it."""
        return {
            "type": self.type,
            "source": self.source,
            "approvals": self.approvals,
            "rejections": self.rejections,
            "pending": self.pending,
            "total": self.total,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAgreement:
    """İYS's hash of a day's file, and whether agreement with it was declared."""

    process_status: str
    """One of :class:`ProcessStatus`, as İYS wrote it."""
    hash_value: str | None
    """Hex digits in lower case; None until it is completed."""
    hash_method: str | None
    is_agreed: bool

    @classmethod
    def read(cls, reader: JsonReader) -> DayAgreement:
        """Return the agreement in a response."""
        value = reader.text_or_none("hashValue")
        return cls(
            process_status=reader.text("processStatus").lower(),
            hash_value=None if value is None else value.lower(),
            hash_method=reader.text_or_none("hashMethod"),
            is_agreed=bool(reader.boolean_or_none("agreementStatus")),
        )
