"""Read ``desired-consents`` back into a state, from its position to the end of what is committed.

A row that is not readable, or that a newer law decided, stops the worker: nothing is guessed.

Reading a state of millions keeps a thread busy while the worker's other partitions must go on: so
threads switch often meanwhile, and few rows are applied at once.
"""

import sys
import threading
from collections.abc import Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from izin.consent.errors import SourceError
from izin.consent.model import LAW_VERSION
from izin.runtime import kafka
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.streams.errors import StateError
from izin.streams.fast_path.row_reader import RowReader
from izin.streams.state.packing import Facts
from izin.streams.state.state import PartitionState

_TIMEOUT = 20.0
_ROWS_AT_ONCE = 1000
_AHEAD_KB = 4096
_SWITCH_INTERVAL = 0.0005
_WAIT = 0.05
"""How long librdkafka waits for a full batch, even at the end of the topic."""

_log = get_logger(__name__)


class FrequentSwitching:
    """Makes threads switch every ``interval`` seconds while anybody reads."""

    def __init__(self, interval: float = _SWITCH_INTERVAL) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._readers = 0
        self._before = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(self._interval)
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                sys.setswitchinterval(self._before)


_frequent_switching = FrequentSwitching()


class Changelog:
    """The partition ``number`` of ``desired-consents``, as it is read back."""

    def __init__(self, number: int, settings: KafkaSettings, group: str, codec: Codec) -> None:
        self._number = number
        self._settings = settings
        self._group = group
        self._rows = RowReader(codec)

    def read(self, state: PartitionState, topic: str, end: int) -> None:
        """Bring ``state`` up to the offset ``end``; raises KafkaException and StateError."""
        reader = kafka.consumer(
            self._settings,
            f"{self._group}-state",
            **{
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                # Only an empty fetch shows the end, and the broker holds it back for so long.
                "fetch.wait.max.ms": 10,
                # Many partitions are read at once, and each would fetch 64 MB ahead.
                "queued.max.messages.kbytes": _AHEAD_KB,
                # Else it would fetch no further for a second once it is so far ahead.
                "fetch.queue.backoff.ms": 5,
            },
        )
        try:
            with _frequent_switching:
                start = state.position or OFFSET_BEGINNING
                reader.assign([TopicPartition(topic, self._number, start)])
                idle = 0.0
                while state.position < end:
                    messages = reader.consume(_ROWS_AT_ONCE, _WAIT)
                    idle = 0.0 if messages else idle + _WAIT
                    if idle >= _TIMEOUT:
                        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
                    self._apply(state, topic, reader, messages)
        finally:
            reader.close()

    def _apply(
        self, state: PartitionState, topic: str, reader: Consumer, messages: Sequence[Message]
    ) -> None:
        """Apply the rows of ``messages``; start over if the state's position is gone."""
        rows: dict[bytes, bytes | None] = {}
        position = state.position
        for message in messages:
            error = message.error()
            if error is None:
                offset = message.offset() or 0
                facts = self._row(message.value(), offset)
                rows[message.key() or b""] = facts and state.packing.pack_facts(*facts)
                position = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name for it
                # Transaction markers and compaction leave offsets that no record has.
                position = max(position, message.offset() or 0)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # the same
                _log.warning(
                    "state discarded",
                    partition=self._number,
                    why="its position is gone from the topic",
                )
                state.clear()
                rows, position = {}, 0
                reader.assign([TopicPartition(topic, self._number, OFFSET_BEGINNING)])
            else:
                raise KafkaException(error)
        state.apply(rows, position)

    def _row(self, value: bytes | None, offset: int) -> Facts | None:
        if value is None:
            return None
        try:
            facts = self._rows.read(value)
        except SourceError as error:
            raise StateError(
                f"desired-consents[{self._number}]@{offset} is no consent; who else writes there?"
            ) from error
        law_version = facts[0][-1]
        if law_version > LAW_VERSION:
            raise StateError(
                f"desired-consents[{self._number}]@{offset} was decided by law version "
                f"{law_version}, this release knows {LAW_VERSION}; start the newer release"
            )
        return facts
