"""Read ``desired-consents`` back into a state, from its position to the end of what is committed.

A row that is not readable, or that a newer law decided, stops the worker: nothing is guessed.

Reading a state of millions keeps a thread busy while the worker's other partitions must go on, so
few rows are applied at once.
"""

from contextlib import closing

from confluent_kafka import Message

from izin.consent import LAW_VERSION, SourceError
from izin.kafka.bounded_reader import BoundedReader, OffsetGoneError
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SUPPRESSED, SuppressionKeys
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.streams.errors import StateError
from izin.streams.fast_path.rows import RowReader
from izin.streams.state.packing import Facts
from izin.streams.state.state import PartitionState, suppression

_log = get_logger(__name__)


class Changelog:
    """The partition ``number`` of ``desired-consents``, as it is read back."""

    def __init__(
        self,
        number: int,
        settings: KafkaSettings,
        group: str,
        codec: Codec,
        suppressions: SuppressionKeys = NO_SUPPRESSIONS,
    ) -> None:
        self._number = number
        self._codec = codec
        self._suppressions = suppressions
        self._settings = settings
        self._group = group
        self._rows = RowReader(codec)

    def read(self, state: PartitionState, topic: str, end: int) -> None:
        """Bring ``state`` up to the offset ``end``; raises KafkaException and StateError."""
        with closing(BoundedReader(self._settings, f"{self._group}-state", topic)) as reader:
            try:
                self._apply(reader, state, end)
            except OffsetGoneError:
                why = "its position is gone from the topic"
                _log.warning("state discarded", partition=self._number, why=why)
                state.clear()
                self._apply(reader, state, end)

    def _apply(self, reader: BoundedReader, state: PartitionState, end: int) -> None:
        """Apply the rows from the state's position up to ``end``."""
        number = self._number
        for messages in reader.read({number: state.position}, {number: end}):
            rows = {one.key() or b"": self._packed(state, one) for one in messages}
            state.apply(rows, reader.positions[number])

    def _packed(self, state: PartitionState, message: Message) -> bytes | None:
        key, value, offset = message.key() or b"", message.value(), message.offset() or 0
        if value is not None and key.startswith(SUPPRESSED):
            return self._suppression(key, value, offset)
        facts = self._row(value, offset)
        return facts and state.packing.pack_facts(*facts)

    def _suppression(self, key: bytes, value: bytes, offset: int) -> bytes:
        if not key.startswith(self._suppressions.prefixes):
            raise StateError(
                f"desired-consents[{self._number}]@{offset} says that a key was erased, under a "
                "secret that IZIN_SUPPRESSION_SECRETS does not have; add it behind the newest"
            )
        at = self._codec.decode("Consent", value)["effective_at"]
        return suppression((at - EPOCH) // MILLISECOND)

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
