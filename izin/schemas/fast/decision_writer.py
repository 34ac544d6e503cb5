"""A Decision around the bytes that are there already.

Its last two fields are a whole Consent and a whole ConsentEvent. Avro writes a record inside a
record as its bytes alone, so the row written to ``desired-consents`` and, where admission changed nothing,
the event as it came, are put in as they are: three quarters of the encoding is saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from izin.consent.words import DecisionKind, Reason
from izin.schemas import contracts
from izin.schemas.fast.writer import long_bytes, writer_of
from izin.schemas.records import violation_to_avro

if TYPE_CHECKING:
    from collections.abc import Sequence

    from izin.consent.model import Violation
    from izin.schemas.codec import Codec

FIELDS: tuple[str, ...] = (
    "kind",
    "reason",
    "opted_out",
    "effective_at",
    "violations",
    "topic",
    "partition",
    "offset",
    "consent",
    "event",
)
"""The contract for which decisions are written and cut field by field."""


class DecisionWriter:
    """Encodes decisions with ``codec``'s framing."""

    def __init__(self, codec: Codec) -> None:
        fields = contracts.current()["Decision"].schema["fields"]
        if tuple(field["name"] for field in fields) != FIELDS:
            raise ValueError(f"the contract of Decision must have the fields {FIELDS}")
        write = {field["name"]: writer_of(field["type"]) for field in fields}
        self._begun = {
            (kind, reason, opted_out): codec.header("Decision")
            + write["kind"](kind)
            + write["reason"](reason)
            + write["opted_out"](opted_out)
            for kind in DecisionKind
            for reason in Reason
            for opted_out in (False, True)
        }
        self._violations = write["violations"]
        self._topic, self._partition = write["topic"], write["partition"]
        self._places: dict[tuple[str, int], bytes] = {}

    def encode(  # noqa: PLR0913  # the decision and where it was made, by keyword
        self,
        *,
        kind: DecisionKind,
        reason: Reason,
        opted_out: bool,
        effective_at: bytes,
        topic: str,
        partition: int,
        offset: int,
        consent: bytes,
        event: bytes,
        violations: Sequence[Violation] = (),
    ) -> bytes:
        """Return the decision of the record at these coordinates, framed.

        ``effective_at`` is an instant, ``consent`` its Consent and ``event`` its ConsentEvent, each
        as Avro writes it within a record.
        """
        place = topic, partition
        return b"".join(
            (
                self._begun[kind, reason, opted_out],
                effective_at,
                self._violations([violation_to_avro(one) for one in violations])
                if violations
                else b"\x00",
                self._places.get(place) or self._note(place),
                long_bytes(offset),
                consent,
                event,
            )
        )

    def _note(self, place: tuple[str, int]) -> bytes:
        topic, partition = place
        return self._places.setdefault(place, self._topic(topic) + self._partition(partition))
