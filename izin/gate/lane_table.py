"""The opt-outs (RET) of an input lane, found in what is mostly something else.

Most records are no opt-outs, so it is first looked whether the word can be in one at all. The rest
is decoded and admitted by the law, as the order stage does. What it refuses closes nothing, nor
does what cannot be decoded: that becomes a dead letter there, and is counted here.
"""

from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Message

from izin.consent import ConsentEvent, ConsentKey, RefusedEvent, Status, admit
from izin.gate.undecided import UndecidedOptOuts
from izin.kafka.follower import take_each
from izin.kafka.tables.packed_permissions import digest_of
from izin.runtime.logs import get_logger
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.fast.reader import append_instant
from izin.schemas.partitioning import partition_of

_RET: Final = b"ret"
_LOWER: Final = bytes(range(256)).lower()
_LEFT_OUT: Final = b"\0" + bytes(range(128, 256))
"""What the law cleans a status of: NUL, and bytes that are no text."""

_log = get_logger(__name__)

Unreadable = Callable[[str, Message, Exception], None]
"""Called with a topic, a record of it that cannot be read, and why."""


def may_be_opt_out(value: bytes) -> bool:
    """Whether the status RET may be in an encoded event, however it is spelt; rarely wrong."""
    return _RET in value.translate(_LOWER, _LEFT_OUT)


class LaneTable:
    """Takes the records of an input topic of so many ``partitions``, and marks opt-outs."""

    def __init__(
        self,
        *,
        topic: str,
        partitions: int,
        codec: Codec,
        undecided: UndecidedOptOuts,
        unreadable: Unreadable,
    ) -> None:
        self._topic = topic
        self._partitions = partitions
        self._codec = codec
        self._undecided = undecided
        self._unreadable = unreadable

    def take(self, records: Sequence[Message]) -> int:
        """Take records until the schema of one cannot be fetched."""
        return take_each(records, self._take)

    def _take(self, record: Message) -> None:
        value = record.value()
        if value is not None and may_be_opt_out(value):
            key = self._opt_out(record, value)
            if key is not None:
                self._mark(record, key.encode())

    def _opt_out(self, record: Message, value: bytes) -> ConsentKey | None:
        """Return the key that an opt-out closes; None: it is none. Raises OurError where its schema
        cannot be fetched now.
        """
        try:
            event = self._event(value)
        except UndecodableError as error:
            self._unreadable(self._topic, record, error)
            return None
        try:
            admitted = admit(event, appended_at=append_instant(record.timestamp()[1]))
        except Exception as error:  # noqa: BLE001  # one record must not keep the others waiting
            self._unreadable(self._topic, record, error)
            return None
        if isinstance(admitted, RefusedEvent) or admitted.status is not Status.RET:
            return None
        return admitted.key

    def _event(self, value: bytes) -> ConsentEvent:
        """Decode an event, without bytes that are no text where it has such."""
        try:
            return self._codec.decode_event(value)
        except UndecodableError:
            return self._codec.decode_damaged_event(value)[0]

    def _mark(self, record: Message, key: bytes) -> None:
        lane = self._topic, record.partition() or 0
        home = partition_of(key, self._partitions)
        self._undecided.add(lane, record.offset() or 0, digest_of(key), home)
