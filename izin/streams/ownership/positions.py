"""Up to where a partition number is decided: a record in the transaction of each batch.

The next offsets of both lanes stand in the compacted topic ``order-positions``, in the partition of
the same number, beside the outputs that they belong to. They are not the consumer group's: a
transaction that includes a group's offsets may wait for its coordinator without end after the
coordinator's broker restarts (librdkafka issues 5456 and 5511), and a coordinator may answer with
offsets of the past (decision 0020). The group's are committed too, but only for lag tools.

A position is an offset of one topic of one cluster, so their ids stand beside it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from izin.consent.model import LAW_VERSION
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.streams.ownership.bounded_reader import BoundedReader, OffsetGoneError

RECORD = "Positions"
_SPANS = (64, 4096)
"""How far before the end the latest record is looked for, in offsets, before all is read."""


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
        return {topics.events.name: self.events_offset, topics.express.name: self.express_offset}

    def at(self, topics: Topics, offsets: Mapping[str, int]) -> "Positions":
        """Return the positions at ``offsets``, by the lanes' topics."""
        return replace(
            self,
            events_offset=offsets[topics.events.name],
            express_offset=offsets[topics.express.name],
            law_version=LAW_VERSION,
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

    The topic is read backwards, for it is compacted late and has a record for each batch. Raises
    KafkaException.
    """
    found: dict[int, Positions] = {}
    starts = dict(ends)
    for span in (*_SPANS, max(ends.values(), default=0)):
        starts = {
            number: max(0, ends[number] - span)
            for number, start in starts.items()
            if start and number not in found
        }
        if not starts:
            break
        with suppress(OffsetGoneError):  # it begins later: the next span reads more
            for messages in reader.read(starts, ends):
                for message in messages:
                    value = message.value()
                    if value is not None:
                        stored = Positions(**codec.decode(RECORD, value))
                        found[message.partition() or 0] = stored
    return found


class DecidedOffsets:
    """Up to where every partition is decided, for tools; to be closed."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._reader = BoundedReader(settings, "izin-positions", settings.topics.positions.name)

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
        with kafka.broker_errors(self._settings):
            return latest_positions(self._reader, self._codec, self._reader.ends())

    def close(self) -> None:
        """Close the client."""
        self._reader.close()
