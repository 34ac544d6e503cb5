"""Encode a Decision around its Consent and its ConsentEvent, which are encoded already.

They are its last two fields, and Avro writes a record inside a record as its bytes alone. So the
row written to ``desired-consents`` is copied in, and the event as it came where admission changed
nothing of it: three quarters of the encoding are saved. The general path is ``Codec.encode``.

CloudEvents headers are made from templates, as the bytes of a record (``record_format``): what the
records of a name and a source share is made once. The general paths are ``records.headers`` and
``records.derived_id``.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from izin.consent import DecisionKind, Reason, Violation
from izin.schemas import contracts
from izin.schemas.fast.cache import put
from izin.schemas.fast.record_format import header_bytes
from izin.schemas.fast.writer import EPOCH, long_bytes, writer_of
from izin.schemas.records import CONTENT_TYPE, ID, SOURCE, TIME, TYPE, VERSION, violation_to_avro

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
_DAY: Final = 86_400
_MINUTES: Final = [f"{minute // 60:02}:{minute % 60:02}:".encode() for minute in range(24 * 60)]
_SECONDS: Final = [f"{second:02}+00:00".encode() for second in range(60)]
_COUNT: Final = 6
_TIME_START: Final = header_bytes(TIME, bytes(25))[:-25]
"""An instant takes 25 bytes."""
_START: Final = long_bytes(_COUNT) + header_bytes(*VERSION) + long_bytes(len(ID)) + ID.encode()
_END: Final = header_bytes(*CONTENT_TYPE)


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
            self._violations([violation_to_avro(violation) for violation in violations])
            if violations
            else _NONE,
            self._place,
            long_bytes(offset),
            consent,
            event,
        )


class HeaderWriter:
    """Makes the headers of records of the name ``record``, whose ids end in ``part``."""

    def __init__(self, record: str, part: str = "") -> None:
        self._type = header_bytes(TYPE, f"izin.{record}")
        self._sources: dict[str, bytes] = {}
        self._part = part.encode()
        self._days: dict[int, bytes] = {}
        self._topic, self._partition, self._between = "", -1, b""
        """Where the last event came from, and so mostly the next one."""

    def derived_id(self, event_id: bytes, topic: str, partition: int, offset: int) -> bytes:
        """Return what ``records.derived_id`` returns without a part."""
        if partition != self._partition or topic != self._topic:
            self._topic, self._partition = topic, partition
            self._between = f"/{topic}/{partition}/".encode()
        return b"%b%b%b" % (event_id, self._between, str(offset).encode())

    def shared(self, source: str, at: int) -> bytes:
        """Return what all records of an event have in common; ``at`` is in whole seconds since
        1970.
        """
        # Not divmod, which compiled code would have to call.
        day, rest = at // _DAY, at % _DAY
        return b"%b%b%b%b%b%b" % (
            self._sources.get(source) or put(self._sources, source, header_bytes(SOURCE, source)),
            _TIME_START,
            self._days.get(day) or self._date(day),
            _MINUTES[rest // 60],
            _SECONDS[rest % 60],
            _END,
        )

    def headers(self, record_id: bytes, shared: bytes) -> bytes:
        """Return the headers of the record that is made of the one with ``record_id``."""
        size = long_bytes(len(record_id) + len(self._part))
        return b"%b%b%b%b%b%b" % (_START, size, record_id, self._part, self._type, shared)

    def _date(self, day: int) -> bytes:
        text = (EPOCH + timedelta(days=day)).date().isoformat()
        return put(self._days, day, f"{text}T".encode())
