"""A movement that İYS shows and nobody can read: a dead letter, for it may be an opt-out."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType

from izin.consent.violations import Violation
from izin.iys.wire_format.json_reader import UnreadableItem
from izin.schemas.records import violation_to_avro

REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "IZIN-UNREADABLE-MOVEMENT": (
            "İYS shows a movement that cannot be read",
            "İYS'nin gösterdiği hareket okunamadı; kişiyi İYS'nin sayfalarından kontrol edin.",
        ),
    }
)
"""Each code of the sinks with its English and its Turkish reason."""
NO_OFFSET = -1
"""In place of partition and offset, for it was no record of a topic."""


def dead_letter(item: UnreadableItem, source: str, now: datetime) -> dict[str, object]:
    """Return ``item``, which İYS showed at ``source`` (path, stream and brand), as an Avro
    DeadLetter.
    """
    code = "IZIN-UNREADABLE-MOVEMENT"
    reason, reason_tr = REASONS[code]
    violation = Violation(
        field="value", code=code, reason=f"{reason}: {item.error}", reason_tr=reason_tr
    )
    return {
        "reason": "undecodable",
        "violations": [violation_to_avro(violation)],
        "topic": source,
        "partition": NO_OFFSET,
        "offset": NO_OFFSET,
        "timestamp": now,
        "key": None,
        "value": item.raw,
        "value_size": len(item.raw),
        "value_sha256": sha256(item.raw).hexdigest(),
        "headers": [],
    }
