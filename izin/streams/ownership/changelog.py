"""Reading ``desired-consents`` back into a state, from where it stands to the end of the committed part.

A row that is no state of ours, or that a newer law decided, stops the worker: nothing is guessed.

A state of millions takes a thread its time, while the worker's other partitions must keep flowing:
so the interpreter is handed over often, and few rows are written at once.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from izin.consent.errors import SourceError
from izin.consent.model import LAW_VERSION
from izin.runtime import kafka
from izin.runtime.observe import get_logger
from izin.streams.errors import StateError
from izin.streams.fast_path.row_reader import RowReader

if TYPE_CHECKING:
    from izin.runtime.settings import KafkaSettings
    from izin.schemas.codec import Codec
    from izin.streams.state.packing import Facts
    from izin.streams.state.state import State

_TIMEOUT = 20.0
_AT_ONCE = 1000
_AHEAD_KB = 4096
_HANDED_OVER_EACH = 0.0005
_WAIT = 0.05
"""librdkafka waits so long for a full helping, even at the end of the topic."""

_log = get_logger(__name__)


class Courtesy:
    """Has the interpreter handed over often while anybody reads."""

    def __init__(self, interval: float = _HANDED_OVER_EACH) -> None:
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


_courtesy = Courtesy()


class Changelog:
    """The partition ``number`` of ``desired-consents``, as it is read back."""

    def __init__(self, number: int, settings: KafkaSettings, group: str, codec: Codec) -> None:
        self._number = number
        self._settings = settings
        self._group = group
        self._rows = RowReader(codec)

    def read(self, state: State, topic: str, end: int) -> None:
        """Bring ``state`` up to ``end``; raises KafkaException and StateError."""
        with _courtesy:
            self._read(state, topic, end)

    def _read(self, state: State, topic: str, end: int) -> None:
        reader = kafka.consumer(
            self._settings,
            f"{self._group}-state",
            **{
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                # The end is told by an empty fetch, which the broker holds back for so long.
                "fetch.wait.max.ms": 10,
                # Many partitions are read at once, and each would fetch 64 MB ahead.
                "queued.max.messages.kbytes": _AHEAD_KB,
                # Else it would fetch no further for a second once it is so far ahead.
                "fetch.queue.backoff.ms": 5,
            },
        )
        try:
            start = state.position or OFFSET_BEGINNING
            reader.assign([TopicPartition(topic, self._number, start)])
            silent = 0.0
            while state.position < end:
                rows: dict[bytes, bytes | None] = {}
                position = state.position
                messages = reader.consume(_AT_ONCE, _WAIT)
                silent = 0.0 if messages else silent + _WAIT
                if silent >= _TIMEOUT:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
                for message in messages:
                    error = message.error()
                    if error is None:
                        offset = message.offset() or 0
                        facts = self._row(message.value(), offset)
                        rows[message.key() or b""] = facts and state.packing.join(*facts)
                        position = offset + 1
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name for it
                        # Transaction markers and compaction leave offsets that no record has.
                        position = max(position, message.offset() or 0)
                    elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # the same
                        _log.warning(
                            "the state's place is gone; reading all of it", partition=self._number
                        )
                        state.clear()
                        rows, position = {}, 0
                        reader.assign([TopicPartition(topic, self._number, OFFSET_BEGINNING)])
                    else:
                        raise KafkaException(error)
                state.hold(rows, position)
        finally:
            reader.close()

    def _row(self, value: bytes | None, offset: int) -> Facts | None:
        if value is None:
            return None
        try:
            facts = self._rows.read(value)
        except SourceError as error:
            raise StateError(
                f"desired-consents[{self._number}]@{offset} is no state of ours"
            ) from error
        law_version = facts[0][-1]
        if law_version > LAW_VERSION:
            raise StateError(
                f"desired-consents[{self._number}]@{offset} was decided by law version "
                f"{law_version}, this release knows {LAW_VERSION}; start the newer release"
            )
        return facts
