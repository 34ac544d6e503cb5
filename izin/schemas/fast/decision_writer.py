"""Encode a Decision around its Consent and its ConsentEvent, which are encoded already.

They are its last two fields, and Avro writes a record inside a record as its bytes alone. So the
row written to ``desired-consents`` is copied in, and the event as it came where admission changed
nothing of it: three quarters of the encoding are saved. The general path is ``Codec.encode``.
"""

from collections.abc import Sequence
from typing import Final

from izin.consent import DecisionKind, Reason, Violation
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


_NONE: Final = b"\x00"


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
        self._last_topic, self._last_partition, self._place = "", -1, b""
        """Where the last event came from, and so mostly the next one."""

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
        if partition != self._last_partition or topic != self._last_topic:
            self._last_topic, self._last_partition = topic, partition
            self._place = self._topic(topic) + self._partition(partition)
        return b"%b%b%b%b%b%b%b" % (
            self._beginnings[kind, reason, opted_out],
            effective_at,
            self._violations([violation_to_avro(one) for one in violations])
            if violations
            else _NONE,
            self._place,
            long_bytes(offset),
            consent,
            event,
        )
