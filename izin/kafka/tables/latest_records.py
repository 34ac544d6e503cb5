"""The latest record of each partition of topics of which only that counts.

Such topics get a record with each batch or transaction, and are compacted late. So they are read
from shortly before their ends, and further back only where there is no record.

``order-positions`` says which offsets of the input lanes are decided, ``ledger-positions`` which
decisions the ledger has taken. An offset is of one topic of one cluster. A topic that was deleted
and created again has the same name and other records at the same offsets, so the ids of both are
compared.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from time import monotonic

from confluent_kafka import Message

from izin.consent import OurError, SourceError
from izin.kafka.bounded_reader import BoundedReader
from izin.kafka.clients import TopicIdentities, access_of, broker_errors
from izin.kafka.follower import RecordFollower, in_thread, take_each
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.consistency_token import LogPosition
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topic, Topics

_ENDS_WITHIN = 5.0
_RETRY_AFTER = 1.0
_STALE_AFTER = 10.0

_log = get_logger(__name__)

Put = Callable[[str, int, AvroRecord], None]
"""Called with a topic, a partition, and its latest record; in the thread that reads."""
UNDECIDED = -1
"""Where nothing is known to be decided."""


class LatestRecordReader:
    """Reads the latest records of ``topics``, and hands each to ``put``."""

    def __init__(
        self, settings: KafkaSettings, codec: Codec, topics: Collection[Topic], put: Put
    ) -> None:
        self.loaded = threading.Event()
        """Set once every partition was read: its latest record was handed over, or it has none."""
        self._followers: list[RecordFollower] = []
        self._settings = settings
        self._codec = codec
        self._topics = {topic.name: topic for topic in topics}
        self._put = put
        self._stopped = threading.Event()

    @property
    def fault(self) -> str | None:
        """Why the topics are not followed; None: they are."""
        if not self.loaded.is_set():
            return "is not read yet"
        oldest = monotonic() - _STALE_AFTER
        if all(
            max(map(follower.complete_at, follower.positions)) >= oldest
            for follower in self._followers
        ):
            return None
        return f"was not seen read to its end for {_STALE_AFTER:.0f} s"

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow the topics until the context ends."""
        with in_thread(self._run, "latest records", self._stopped, _ENDS_WITHIN):
            yield

    def _run(self) -> None:
        with ExitStack() as following:
            for topic in self._topics.values():
                while not self._stopped.is_set():
                    try:
                        following.enter_context(self._followed(topic))
                        break
                    except OurError as error:
                        _log.warning("positions not followed", error=str(error))
                    except Exception:  # noqa: BLE001  # whatever it is, somebody must go on reading
                        _log.exception("positions not followed")
                    self._stopped.wait(_RETRY_AFTER)
            if not self._stopped.is_set():
                self.loaded.set()
            self._stopped.wait()

    @contextmanager
    def _followed(self, topic: Topic) -> Iterator[None]:
        """Hand over the latest records of ``topic``, then those that come; raises BrokerError."""
        with (
            broker_errors(self._settings),
            closing(BoundedReader(self._settings, f"izin-{topic.name}", topic.name)) as reader,
        ):
            ends = reader.ends()
            latest = [*reader.latest(ends, partly=True).values()]
        while (taken := self.take(latest)) < len(latest) and not self._stopped.is_set():
            del latest[:taken]
            self._stopped.wait(_RETRY_AFTER)
        follower = RecordFollower(access_of(self._settings), topic, self, starts=ends)
        with follower.follow(partly=True):
            self._followers.append(follower)
            yield

    def take(self, records: Sequence[Message]) -> int:
        """Hand over ``records`` until the schema of one cannot be fetched; return how many."""
        return take_each(records, self._take)

    def _take(self, record: Message) -> None:
        topic, value = record.topic() or "", record.value()
        try:
            if value is not None:
                found = self._codec.decode(self._topics[topic].record, value)
                self._put(topic, record.partition() or 0, found)
        except UndecodableError as error:
            _log.error("record not readable", topic=topic, error=str(error))


class ForeignTokenError(SourceError):
    """A token that names what is no input of this installation: topics, partitions or records."""


def lanes_of(topics: Topics) -> Mapping[str, str]:
    """Return how the fields of Positions about each input topic begin, by its name."""
    return {topics.events.name: "events", topics.express.name: "express"}


def decided_below(
    positions: AvroRecord | None, lane: str, topics: Topics, identities: TopicIdentities
) -> int:
    """Return the offset below which the order stage has decided a partition of the topic ``lane``,
    by the Avro Positions of it; UNDECIDED where they are missing, or of another topic.
    """
    field = lanes_of(topics)[lane]
    if (
        positions is None
        or positions["cluster_id"] != identities.cluster_id
        or positions[f"{field}_topic_id"] != identities.topic_ids[lane]
    ):
        return UNDECIDED
    return int(positions[f"{field}_offset"])


def taken_below(
    positions: AvroRecord | None, topics: Topics, identities: TopicIdentities
) -> Mapping[int, int]:
    """Return the offsets below which the ledger has taken the decisions of each partition, by the
    Avro LedgerPositions; empty where they are missing, or of another topic.
    """
    if (
        positions is None
        or positions["cluster_id"] != identities.cluster_id
        or positions["decisions_topic_id"] != identities.topic_ids[topics.decisions.name]
    ):
        return {}
    return dict(enumerate(positions["decisions_offsets"]))


def check_token(token: Iterable[LogPosition], topics: Topics, identities: TopicIdentities) -> None:
    """Check that ``token`` names partitions of the input topics.

    Raises:
        ForeignTokenError: it does not.
    """
    lanes = lanes_of(topics)
    for topic, partition, _ in token:
        if topic not in lanes or partition >= identities.partitions[topic]:
            raise ForeignTokenError


class Wakeup:
    """Wakes everyone who waits for a change.

    Take ``next`` before you look; what changes while you look then wakes you too.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """What is set at the next change."""
        return self._event

    def notify(self) -> None:
        """Wake all."""
        self._event.set()
        self._event = asyncio.Event()
