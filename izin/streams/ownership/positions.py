"""Up to where a partition number is decided: a record in the transaction of each batch.

The next offsets of both lanes stand in the compacted topic ``order-positions``, in the partition of
the same number, beside the outputs that they belong to. They are not the consumer group's: a
transaction that includes a group's offsets may wait for its coordinator without end after the
coordinator's broker restarts (librdkafka issues 5456 and 5511), and a coordinator may answer with
offsets of the past (decision 0020). The group's are committed too, but only for lag tools.

A position is an offset of one topic of one cluster, so their ids stand beside it.

While the opt-ins of a lane wait, its opt-outs (RET) alone are decided beyond its next offset. How
far stands here too: all is folded again some day, and by then those opt-outs may be outranked, so
that the state alone could not tell that they were decided.

Beside the positions ``desired-consents`` is read back into a state, up to the end of what is
committed. A row that is not readable, or that a newer law decided, stops the worker: nothing is
guessed. Reading a state of millions keeps a thread busy while the worker's other partitions must go
on, so few rows are applied at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from confluent_kafka import Message

from izin.consent import LAW_VERSION, SourceError
from izin.kafka import clients
from izin.kafka.bounded_reader import BoundedReader, OffsetGoneError
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SUPPRESSED, SuppressionKeys
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.topics import Topics
from izin.streams.errors import StateError
from izin.streams.fast_path.rows import RowReader
from izin.streams.state.packing import Facts
from izin.streams.state.state import PartitionState, suppression

RECORD = "Positions"
_MOST_UNSETTLED = 4096
"""Offsets of a lane that are known. Where there are more, the opt-outs behind them are found again,
and those that are outranked by then decided twice."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LanePosition:
    """Up to where one lane is decided."""

    next_offset: int = 0
    """Below it, everything is."""
    opt_outs_below: int = 0
    """Below it, every opt-out is, but what is ``unsettled``; may be less than ``next_offset``."""
    unsettled: frozenset[int] = frozenset()
    """The offsets of what was not decided and may be an opt-out; a dead letter is due of each."""
    scanned: int = 0
    """Below it every opt-out is, whatever is unsettled; not stored."""

    @property
    def opt_outs_from(self) -> int:
        """The offset from which on opt-outs are not decided."""
        return max(self.next_offset, self.opt_outs_below, self.scanned)

    def has_settled(self, offset: int) -> bool:
        """Whether the record at ``offset`` was decided if it is an opt-out."""
        return offset < self.opt_outs_below and offset not in self.unsettled

    def decided(self, end: int) -> "LanePosition":
        """Return the position where everything below ``end`` is decided."""
        if end >= self.opt_outs_from:
            return LanePosition(end)
        return replace(self, next_offset=end)

    def opt_outs_decided(self, end: int, unsettled: Iterable[int]) -> "LanePosition":
        """Return the position where the opt-outs below ``end`` are decided, but ``unsettled``."""
        known = self.unsettled.union(unsettled)
        if self.opt_outs_below < self.scanned or len(known) > _MOST_UNSETTLED:
            return replace(self, scanned=end)
        return replace(self, opt_outs_below=end, unsettled=known, scanned=end)

    def stored(self) -> tuple[int, int, list[int]]:
        """Return the fields that are stored."""
        unsettled = sorted(one for one in self.unsettled if one >= self.next_offset)
        return self.next_offset, self.opt_outs_below, unsettled


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """The Avro record Positions."""

    cluster_id: str
    events_topic_id: str
    express_topic_id: str
    desired_consents_topic_id: str
    events_offset: int = 0
    express_offset: int = 0
    law_version: int = LAW_VERSION
    events_opt_outs_below: int = 0
    express_opt_outs_below: int = 0
    events_unsettled: Sequence[int] = ()
    express_unsettled: Sequence[int] = ()

    def logs(self, topics: Topics) -> Mapping[str, tuple[str, str, str]]:
        """Return what an offset of each lane belongs to, by the lane's topic: the ids of the
        cluster, of ``desired-consents`` and of the lane.
        """
        return {
            topic.name: (self.cluster_id, self.desired_consents_topic_id, lane)
            for topic, lane in (
                (topics.events, self.events_topic_id),
                (topics.express, self.express_topic_id),
            )
        }

    def offsets(self, topics: Topics) -> Mapping[str, int]:
        """Return the next offset of each lane by its topic's name."""
        return {name: one.next_offset for name, one in self.lanes(topics).items()}

    def lanes(self, topics: Topics) -> Mapping[str, LanePosition]:
        """Return the position of each lane by its topic's name."""
        return {
            topics.events.name: LanePosition(
                self.events_offset, self.events_opt_outs_below, frozenset(self.events_unsettled)
            ),
            topics.express.name: LanePosition(
                self.express_offset, self.express_opt_outs_below, frozenset(self.express_unsettled)
            ),
        }

    def at(self, topics: Topics, lanes: Mapping[str, LanePosition]) -> "Positions":
        """Return the positions with those of ``lanes``, by their topics."""
        events, events_below, events_unsettled = lanes[topics.events.name].stored()
        express, express_below, express_unsettled = lanes[topics.express.name].stored()
        return replace(
            self,
            events_offset=events,
            express_offset=express,
            law_version=LAW_VERSION,
            events_opt_outs_below=events_below,
            express_opt_outs_below=express_below,
            events_unsettled=events_unsettled,
            express_unsettled=express_unsettled,
        )

    def encode(self, codec: Codec) -> bytes:
        """Return the framed record."""
        return codec.encode(RECORD, {name: getattr(self, name) for name in self.__slots__})


def key_of(number: int) -> bytes:
    """Return the key of the positions of the partition ``number``."""
    return str(number).encode()


def latest_positions(
    reader: BoundedReader, codec: Codec, ends: Mapping[int, int]
) -> dict[int, Positions]:
    """Return the last committed positions below ``ends``, of each partition that has any.

    Raises KafkaException, and as ``BoundedReader.latest``.
    """
    return {
        number: Positions(**codec.decode(RECORD, message.value() or b""))
        for number, message in reader.latest(ends).items()
    }


class DecidedOffsets:
    """Up to where every partition is decided, for tools; to be closed."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._reader = BoundedReader(settings, "izin-positions", settings.topics.positions.name)
        self._read: tuple[Mapping[int, int], Mapping[int, Positions]] = {}, {}
        """Up to which ends it was read, and what was found."""

    def read(self) -> Mapping[tuple[str, int], int]:
        """Return, by lane topic and partition, the offset below which all is decided.

        A partition of which nothing was ever decided is missing. Raises BrokerError.
        """
        return {
            (lane, number): offset
            for number, positions in self.positions().items()
            for lane, offset in positions.offsets(self._settings.topics).items()
        }

    def positions(self) -> Mapping[int, Positions]:
        """Return the latest positions of each partition that has any. Raises BrokerError."""
        with clients.broker_errors(self._settings):
            ends = self._reader.ends()
            if ends != self._read[0]:
                self._read = ends, latest_positions(self._reader, self._codec, ends)
            return self._read[1]

    def close(self) -> None:
        """Close the client."""
        self._reader.close()


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
            rows = {message.key() or b"": self._packed(state, message) for message in messages}
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
                f"desired-consents[{self._number}] at {offset} says that a key was erased, under a "
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
                f"desired-consents[{self._number}] at {offset} is no consent; who else writes "
                "there?"
            ) from error
        law_version = facts[0][-1]
        if law_version > LAW_VERSION:
            raise StateError(
                f"desired-consents[{self._number}] at {offset} was decided by law version "
                f"{law_version}, this release knows {LAW_VERSION}; start the newer release"
            )
        return facts
