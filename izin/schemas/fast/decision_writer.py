"""Encode a Decision around its Consent and its ConsentEvent, which are encoded already.

They are its last two fields, and Avro writes a record inside a record as its bytes alone. So the
row written to ``desired-consents`` is copied in, and the event as it came where admission changed
nothing of it: three quarters of the encoding are saved. The general path is ``Codec.encode``.
"""

from collections.abc import Sequence

from izin.consent.enums import DecisionKind, Reason
from izin.consent.violations import Violation
from izin.schemas import contracts
from izin.schemas.fast.writer import long_bytes, writer_of
from izin.schemas.records import violation_to_avro

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
"""The fields of a Decision, in the order in which they are written and found here."""


class DecisionWriter:
    """Encodes decisions behind ``header``, the frame of a Decision."""

    def __init__(self, header: bytes) -> None:
        fields = contracts.current()["Decision"].schema["fields"]
        if tuple(field["name"] for field in fields) != FIELDS:
            raise ValueError(f"the contract of Decision must have the fields {FIELDS}")
        write = {field["name"]: writer_of(field["type"]) for field in fields}
        self._beginnings = {
            (kind, reason, opted_out): header
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

    def encode(  # noqa: PLR0913  # the decision and its event's coordinates, by keyword
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
        """Return the framed Decision about the event at these coordinates.

        ``effective_at``, ``consent`` and ``event`` are an instant, a Consent and a ConsentEvent as
        Avro writes each of them within a record: without a frame.
        """
        place = topic, partition
        return b"".join(
            (
                self._beginnings[kind, reason, opted_out],
                effective_at,
                self._violations([violation_to_avro(one) for one in violations])
                if violations
                else b"\x00",
                self._places.get(place) or self._encode_place(place),
                long_bytes(offset),
                consent,
                event,
            )
        )

    def _encode_place(self, place: tuple[str, int]) -> bytes:
        topic, partition = place
        return self._places.setdefault(place, self._topic(topic) + self._partition(partition))
