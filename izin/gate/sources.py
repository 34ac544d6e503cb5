"""The topics that the gate follows, and how fresh what they say is.

At first it is read where the order stage is, and where the ledger; then the decisions that the
ledger has not taken, whose end is asked for after that; then the permissions; and at last both
input lanes, from where the order stage was. So an opt-out of a lane is known as undecided, as
decided, or by what the ledger says. The lanes are read with uncommitted records: what was
acknowledged behind a transaction that has not ended counts.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaException

from izin.gate.key_tables import DecisionRecords, KnownKeys, LaneTable, PermissionRecords
from izin.gate.undecided import UndecidedOptOuts
from izin.kafka.clients import TopicIdentities, access_of, admin, broker_errors, identities
from izin.kafka.follower import RecordFollower, TopicFollower, in_thread
from izin.kafka.tables.brand_directory import BrandReader
from izin.kafka.tables.latest_records import (
    UNDECIDED,
    LatestRecordReader,
    decided_below,
    lanes_of,
    taken_below,
)
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topic, Topics

_RELEASED_EVERY = 0.2
_POSITIONS_WITHIN = 15.0
"""Seconds in which ``order-positions`` is read; else the lanes are read from their beginnings."""
_POLL = 0.1
_LOOKED_EVERY = 5.0
_MOST_NAMED = 10
_UNCOMMITTED = IsolationLevel.READ_UNCOMMITTED
_log = get_logger(__name__)


class IysFreshness:
    """When İYS's data were last pulled, of each brand and channel: the topic ``iys-freshness``.

    Written by one thread, read by any.
    """

    def __init__(self) -> None:
        self.pulled_at: dict[tuple[int, str], datetime] = {}
        """By brand and channel: when both of İYS's streams were last pulled to their ends."""

    def put(self, record: AvroRecord) -> None:
        """Add or replace an instant."""
        self.pulled_at[record["brand_code"], record["type"]] = record["last_pulled_at"]

    def remove(self, key: bytes) -> None:
        """Forget a brand and channel, ``brand_code/type``."""
        brand_code, _, channel = key.decode().partition("/")
        self.pulled_at.pop((int(brand_code), channel), None)

    def unreadable(self, key: bytes) -> None:
        """Keep the instant that is known: it grows old by itself."""


class _Decided(NamedTuple):
    below: Mapping[str, int]
    """By lane."""
    seen_at: float


class Releasing:
    """Releases keys that an undecided opt-out (RET) has closed, as the order stage decides.

    What follows from a decision is written on the partition of the key, in the transaction that
    moves ``order-positions`` of the same number. Kafka ends a transaction partition by partition,
    so the positions may be readable before the decision of the same transaction. But it is in its
    log by then, below the end that Kafka shows to those who read uncommitted records too. So a key
    is released once ``consent-decisions`` was read to such an end that was asked for after the
    positions were seen.

    A record whose key belongs to another partition is written there again before the positions pass
    it. Its mark is released once that partition of the lane was read to such an end: there it has
    another.
    """

    def __init__(
        self, undecided: UndecidedOptOuts, topics: Topics, identities: TopicIdentities
    ) -> None:
        self._undecided = undecided
        self._topics = topics
        self._identities = identities
        self._latest: dict[int, _Decided] = {}
        self._waiting: dict[int, _Decided] = {}
        """What is decided, and of which it was not read yet what follows."""
        self._followed: dict[int, _Decided] = {}
        """What is decided, and of which what follows was read."""
        self._stopped = threading.Event()

    def put(self, _topic: str, partition: int, record: AvroRecord) -> None:
        """Take the latest Avro Positions of a partition number, which were read just now."""
        below = {
            lane: decided_below(record, lane, self._topics, self._identities)
            for lane in lanes_of(self._topics)
        }
        self._latest[partition] = _Decided(below, monotonic())

    def decided(self, lane: str) -> Mapping[int, int]:
        """Return the offset below which each partition of ``lane`` is decided, where it is known.

        Where it is not, or the positions are of another topic, everything may be undecided.
        """
        return {
            number: found.below[lane]
            for number, found in self._latest.items()
            if found.below[lane] != UNDECIDED
        }

    def followed(self, lane: str, number: int) -> int:
        """Return below which offset of ``lane`` all is decided, and what follows from it was read:
        nothing of it can close a key any more.
        """
        found = self._followed.get(number)
        return 0 if found is None else found.below[lane]

    @contextmanager
    def running(
        self, decisions: RecordFollower, lanes: Mapping[str, RecordFollower]
    ) -> Iterator[None]:
        """Release keys until the context ends."""

        def run() -> None:
            while not self._stopped.wait(_RELEASED_EVERY):
                self.release(decisions, lanes)

        with in_thread(run, "releasing", self._stopped):
            yield

    def release(self, decisions: RecordFollower, lanes: Mapping[str, RecordFollower]) -> None:
        """Release what can be released now."""
        for number, latest in list(self._latest.items()):
            # Not the latest one: where many are decided, that would never be read to its end.
            waiting = self._waiting.setdefault(number, latest)
            if decisions.complete_at(number) > waiting.seen_at:
                self._followed[number] = waiting
                self._waiting[number] = latest
            followed = self._followed.get(number)
            for lane, follower in lanes.items():
                place = lane, number
                if followed is not None:
                    self._undecided.release(place, followed.below[lane])
                self._undecided.release_strays(
                    place, latest.below[lane], latest.seen_at, follower.complete_at
                )


class GateSources:
    """Follows the topics into ``known``, ``undecided`` and tables of its own.

    ``stale_after`` is for how many seconds a partition may not have been seen read to its end.
    ``moved`` is called, in a thread that reads, after more of a lane was read.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        codec: Codec,
        known: KnownKeys,
        *,
        stale_after: float,
        moved: Callable[[], None],
    ) -> None:
        self.partitions = kafka.partitions
        """How many each topic of keys has."""
        self.identities: TopicIdentities | None = None
        """Of the topics that are followed; None: none were yet."""
        self.freshness = IysFreshness()
        self._kafka = kafka
        self._codec = codec
        self._known = known
        self._undecided = UndecidedOptOuts()
        self._stale_after = stale_after
        self._moved = moved
        self._brands = BrandReader(access_of(kafka), codec)
        self._iys = TopicFollower(access_of(kafka), codec, kafka.topics.freshness, self.freshness)
        self._erased = RecordFollower(
            access_of(kafka),
            kafka.topics.opted_out_merchants,
            known.merchants,
            until=_UNCOMMITTED,
        )
        self._keyed: tuple[RecordFollower, ...] = ()
        """The followers of the topics of keys."""
        self._lanes: Mapping[str, RecordFollower] = {}
        self._positions: LatestRecordReader | None = None
        self._ledger: AvroRecord | None = None
        """The Avro LedgerPositions; None: none were read."""
        self._is_loaded = False
        self._is_other = False
        """Whether a topic is not the one that was read."""
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End loading soon, and following, from any thread."""
        self._stopped.set()
        self._brands.stop()
        for follower in (self._iys, self._erased, *self._keyed):
            follower.stop()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Read all topics to their ends, then follow them until the context ends.

        Where some partitions cannot be read, it begins without them: they are not current.

        Raises:
            BrokerError: Kafka cannot be reached, or topics are missing or do not fit together.
        """
        found = self.identities = self._identities()
        topics = self._kafka.topics
        releasing = Releasing(self._undecided, topics, found)

        def take(topic: str, partition: int, record: AvroRecord) -> None:
            if topic == topics.positions.name:
                releasing.put(topic, partition, record)
            else:
                self._ledger = record

        positions = self._positions = LatestRecordReader(
            self._kafka, self._codec, (topics.positions, topics.ledger_positions), take
        )
        with ExitStack() as running:
            running.enter_context(positions.following())
            self._await(positions.loaded)
            decisions, permissions = self._tables(taken_below(self._ledger, topics, found))
            lanes = self._lanes = {
                topic.name: self._lane(topic, releasing)
                for topic in (topics.express, topics.events)
            }
            self._keyed = (decisions, permissions, *lanes.values())
            if not self._stopped.is_set():
                running.enter_context(self._brands.follow())
                running.enter_context(self._iys.follow(partly=True))
            # The erased last: by then it is known of each merchant whose permission is gone.
            for follower in (*self._keyed, self._erased):
                if not self._stopped.is_set():
                    running.enter_context(follower.follow(partly=True))
            running.enter_context(releasing.running(decisions, lanes))
            running.enter_context(self._watching())
            self._is_loaded = not self._stopped.is_set()
            try:
                yield
            finally:
                self._is_loaded = False
                self._stopped.set()

    def _identities(self) -> TopicIdentities:
        """Return the identities of the topics of keys, which have as many partitions each."""
        topics = self._kafka.topics
        inputs = topics.events, topics.express
        keyed = (topics.positions, topics.decisions, topics.permissions, *inputs)
        names = [topic.name for topic in keyed]
        with broker_errors(self._kafka):
            found = identities(admin(self._kafka), names)
        counts = set(found.partitions.values())
        if len(counts) > 1:
            numbers = ", ".join(f"{name} {found.partitions[name]}" for name in names)
            raise BrokerError(f"topics differ in their partitions ({numbers}); run: izin doctor")
        self.partitions = counts.pop()
        return found

    def _await(self, loaded: threading.Event) -> None:
        limit = monotonic() + _POSITIONS_WITHIN
        while not loaded.wait(_POLL) and not self._stopped.is_set():
            if monotonic() > limit:
                _log.error("order positions not read", effect="input read from its beginning")
                return

    def _tables(self, taken: Mapping[int, int]) -> tuple[RecordFollower, RecordFollower]:
        """Return the followers of decisions, from where the ledger has ``taken`` them, and of
        permissions: these say all that the ledger has taken.
        """
        connection, topics = access_of(self._kafka), self._kafka.topics
        return (
            RecordFollower(
                connection,
                topics.decisions,
                DecisionRecords(self._known, self._codec, topics.decisions.name),
                until=_UNCOMMITTED,
                starts=taken,
            ),
            RecordFollower(
                connection,
                topics.permissions,
                PermissionRecords(self._known, self._codec, topics.permissions.name),
                until=_UNCOMMITTED,
            ),
        )

    def _lane(self, topic: Topic, releasing: Releasing) -> RecordFollower:
        table = LaneTable(
            topic=topic.name,
            partitions=self.partitions,
            codec=self._codec,
            undecided=self._undecided,
            unreadable=self._known.note_unreadable,
        )
        return RecordFollower(
            access_of(self._kafka),
            topic,
            table,
            reads=_UNCOMMITTED,
            until=_UNCOMMITTED,
            starts=releasing.decided(topic.name),
            moved=self._moved,
            unneeded=lambda number: releasing.followed(topic.name, number),
        )

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Look whether the topics are still the same, until the context ends."""
        known = self.identities
        client, names = admin(self._kafka), tuple(known.topic_ids if known is not None else ())

        def run() -> None:
            while not self._stopped.wait(_LOOKED_EVERY):
                try:
                    found = identities(client, names, timeout=_LOOKED_EVERY)
                except KafkaException as error:
                    _log.debug("topics not found", error=error.args[0].str())
                    continue
                if found != known and not self._is_other:
                    self._is_other = True
                    _log.critical("topic is another", remedy="restart the gate")

        with in_thread(run, "topic watch", self._stopped):
            yield

    def is_current(self, partition: int) -> bool:
        """Whether what is known of the keys of ``partition`` is fresh enough to say yes: everything
        was read that it and the brands had ``stale_after`` seconds ago.
        """
        if not self._is_loaded or self._is_other:
            return False
        oldest = monotonic() - self._stale_after
        for follower in self._keyed:
            if follower.complete_at(partition) < oldest:
                return False
        # What stands behind a batch that cannot be read may be of any key: some producers partition
        # as they like.
        for lane in self._lanes.values():
            if lane.unread_since < oldest:
                return False
        return min(self._brands.complete_at(), self._erased.complete_at(0)) >= oldest

    def positions(self, partitions: Iterable[int] | None = None) -> list[LogPosition]:
        """Return the last records of both lanes that were read, in ``partitions``, or in all.

        An answer is at least as new as the positions that were taken before it.
        """
        numbers = range(self.partitions) if partitions is None else tuple(partitions)
        return [
            LogPosition(topic, number, read - 1)
            for topic, lane in self._lanes.items()
            for number in numbers
            if (read := lane.positions.get(number, 0)) > 0
        ]

    def has_read(self, token: Iterable[LogPosition]) -> bool:
        """Whether the lanes were read so far."""
        lanes = self._lanes
        return self._is_loaded and all(
            lanes[topic].positions.get(partition, 0) > offset for topic, partition, offset in token
        )

    def faults(self) -> Mapping[str, str]:
        """Return what is not known, or not known to be fresh: by topic, and why."""
        if not self._is_loaded:
            return {"gate state": "being read"}
        found = {}
        oldest, lanes = monotonic() - self._stale_after, self._lanes
        for one in self._keyed:
            late = [n for n in range(self.partitions) if one.complete_at(n) < oldest]
            if late:
                more = f" and {len(late) - _MOST_NAMED} more" if len(late) > _MOST_NAMED else ""
                whose = "all" if one.unread_since < oldest and one.topic.name in lanes else "their"
                found[one.topic.name] = (
                    f"partitions {', '.join(map(str, late[:_MOST_NAMED]))}{more} were not seen "
                    f"read to their ends for {self._stale_after:.0f} s: the answer for {whose} "
                    "keys is no"
                )
        for topic, complete_at, effect in (
            (self._kafka.topics.brands, self._brands.complete_at(), "the answer for all is no"),
            (self._erased.topic, self._erased.complete_at(0), "the answer for all is no"),
            (self._kafka.topics.freshness, self._iys.complete_at(0), "İYS's data will seem old"),
        ):
            if complete_at < oldest:
                found[topic.name] = (
                    f"was not seen read to its end for {self._stale_after:.0f} s: {effect}"
                )
        if self._positions is not None and self._positions.fault is not None:
            found[self._kafka.topics.positions.name] = (
                f"{self._positions.fault}: keys stay closed by opt-outs that may be decided"
            )
        if foreign := self._known.merchants.foreign:
            found[self._erased.topic.name] = (
                f"{foreign} erased merchants are under a secret that "
                "IZIN_SUPPRESSION_SECRETS does not have: the answer for every unknown one is no"
            )
        if self._is_other:
            found["topics"] = "one is another, or has other partitions: restart the gate"
        return found
