"""What cannot be used becomes a dead letter, for it may be an opt-out: a movement at İYS that
nobody can read, and a record of a topic that the ledger cannot take.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from izin.consent import Violation
from izin.iys.wire_format import UnreadableItem
from izin.schemas.records import AvroRecord, dead_letter_to_avro

REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "IZIN-UNREADABLE-MOVEMENT": (
            "İYS shows a movement that cannot be read",
            "İYS'nin gösterdiği hareket okunamadı; kişiyi İYS'nin sayfalarından kontrol edin.",
        ),
        "IZIN-UNREADABLE-DECISION": (
            "the bytes are no decision",
            "Karar kaydı okunamadı; işletmeciye bildirin.",
        ),
        "IZIN-REFUSED-DECISION": (
            "the ledger cannot take the decision",
            "Karar deftere yazılamadı; işletmeciye bildirin.",
        ),
        "IZIN-UNREADABLE-RECEIPT": (
            "the bytes are no receipt of the gate",
            "Gönderim sorgusu makbuzu okunamadı; işletmeciye bildirin.",
        ),
        "IZIN-REFUSED-RECEIPT": (
            "the ledger cannot take the receipt of the gate",
            "Gönderim sorgusu makbuzu deftere yazılamadı; işletmeciye bildirin.",
        ),
    }
)
"""Each code of the sinks with its English and its Turkish reason."""
_CODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "decision": ("IZIN-UNREADABLE-DECISION", "IZIN-REFUSED-DECISION"),
        "receipt": ("IZIN-UNREADABLE-RECEIPT", "IZIN-REFUSED-RECEIPT"),
    }
)
"""The codes of what nobody can read, and of what the ledger refuses, by what the topic has."""
NO_OFFSET = -1
"""In place of partition and offset, for it was no record of a topic."""

POISON = "poison"
"""The reason of a dead letter that is readable, and still cannot be processed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedRecord:
    """A record of a topic that the ledger cannot take, as it is."""

    topic: str
    partition: int
    offset: int
    appended_at: datetime
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    reason: str
    """``undecodable``, ``unknown-schema`` or ``poison``."""
    error: str
    """The type of the error; a message may contain the recipient."""
    source: str
    """Customer and origin of its event, as far as they can be read."""
    is_ret: bool
    """Whether it is an opt-out (RET), as far as it can be read."""
    of: str = "decision"
    """What the topic has: a decision, or a receipt of the gate."""


def quarantined(record: QuarantinedRecord) -> AvroRecord:
    """Return ``record`` as an Avro DeadLetter."""
    unreadable, refused = _CODES[record.of]
    code = refused if record.reason == POISON else unreadable
    return dead_letter_to_avro(
        reason=record.reason,
        violations=[_violation(code, record.error)],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.appended_at,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def dead_letter(item: UnreadableItem, source: str, now: datetime) -> AvroRecord:
    """Return ``item``, which İYS showed at ``source`` (path, stream and brand), as an Avro
    DeadLetter.
    """
    return dead_letter_to_avro(
        reason="undecodable",
        violations=[_violation("IZIN-UNREADABLE-MOVEMENT", item.error)],
        topic=source,
        partition=NO_OFFSET,
        offset=NO_OFFSET,
        timestamp=now,
        key=None,
        value=item.raw,
    )


def _violation(code: str, detail: str) -> Violation:
    reason, reason_tr = REASONS[code]
    return Violation(field="value", code=code, reason=f"{reason}: {detail}", reason_tr=reason_tr)
