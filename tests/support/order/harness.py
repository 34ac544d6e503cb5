"""The order stage under test: records, their effects, and a partition on a real broker; traffic for
both lanes, and what decides it in this process.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from izin.consent import Consent, ConsentEvent, Status, decide
from izin.kafka import clients as kafka
from izin.kafka.bounded_reader import BoundedReader
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.schemas.fast.record_format import NO_HEADERS
from izin.schemas.partitioning import partition_of
from izin.schemas.records import consent_to_avro, event_to_avro
from izin.schemas.topics import Topics
from izin.streams.fetched_record import FetchedRecord
from izin.streams.order import OrderStage
from izin.streams.ownership import (
    Effects,
    LanePosition,
    OutputRecord,
    OwnedPartition,
    SharedClients,
)
from izin.streams.state.packing import Packing
from izin.streams.state.state import MemoryState, PartitionState
from tests.support.builders import (
    NOON,
    a_key,
    a_ret,
    an_admitted_event,
    an_event,
    an_iys_event,
    an_iys_origin,
    usual,
)
from tests.support.order.verdict import committed_records, source, until

CODEC = Codec()
TOPICS = Topics()
TOPIC, EXPRESS = TOPICS.events.name, TOPICS.express.name
PARTITIONS = 12
KEY = a_key().encode()
HOME = partition_of(KEY, PARTITIONS)
"""The partition of ``KEY``."""
APPENDED = int(NOON.timestamp() * 1000) + 3 * 3_600_000
"""Three hours after the events of tests happen."""
ONAY = decide(None, an_admitted_event()).consent
RET = decide(ONAY, a_ret()).consent
IN_FULL = Packing(most=0)
"""Stores all fields with each consent, so that any other packing reads what it packs."""


def fetched(**fields: object) -> FetchedRecord:
    """Return a record of the bulk lane without a value."""
    return FetchedRecord(
        **usual(
            fields,
            topic=TOPIC,
            partition=0,
            offset=0,
            timestamp=APPENDED,
            key=b"any",
            value=None,
            headers=(),
        )
    )


def a_record(event: ConsentEvent | None = None, **fields: object) -> FetchedRecord:
    """Return a record of `event`, an ONAY unless given."""
    value = CODEC.encode("ConsentEvent", event_to_avro(event or an_event()))
    return fetched(**{"value": value} | fields)


SPOILT_TEXTS = (
    "event_id",
    "customer_id",
    "recipient_raw",
    "source",
    "origin",
    "origin_ref",
    "actor",
    "correlation_id",
    "cause",
    "import_id",
    "notice_version",
    "evidence_hash",
)


def a_spoilt_record(name: str, *, key: bytes = b"any", **overrides: object) -> FetchedRecord:
    """Return a record whose text `name` has, in place of @@@@, bytes that are in no text."""
    value = CODEC.encode("ConsentEvent", event_to_avro(an_event(**{name: "@@@@"} | overrides)))
    assert value.count(b"@@@@") == 1
    # A byte that UTF-8 has nowhere, and half of a surrogate pair.
    return fetched(value=value.replace(b"@@@@", b"\xff\xed\xa0\x80"), key=key, partition=HOME)


def records_of(*events: ConsentEvent, **fields: object) -> list[FetchedRecord]:
    """Return a record of each of `events` on the partition of ``KEY``."""
    return [
        a_record(event, **{"partition": HOME, "offset": offset} | fields)
        for offset, event in enumerate(events)
    ]


def an_onay(number: int) -> Consent:
    """Return the ONAY of another recipient."""
    return replace(ONAY, key=a_key(recipient=f"+90555000001{number}"))


def row_of(consent: Consent) -> bytes:
    """Return the row of `consent` as the codec writes it."""
    return CODEC.encode("Consent", consent_to_avro(consent))


def apply(state: PartitionState, rows: Mapping[bytes, Consent | None], position: int) -> None:
    """Apply `rows`, packed as `state` packs."""
    pack = state.packing.pack
    state.apply({key: None if row is None else pack(row) for key, row in rows.items()}, position)


def consent_of(state: PartitionState, key: bytes) -> Consent | None:
    """Return the consent of `key` in `state`."""
    packed = state.packed(key)
    return None if packed is None else state.packing.unpack(key, packed)


SUPPRESSIONS = SuppressionKeys(["a fake secret of thirty-two characters"])


class OrderHarness:
    """Folds records; with the settings of a broker, owns partition 0 of its topics."""

    def __init__(self, settings: KafkaSettings | None = None, codec: Codec = CODEC) -> None:
        self.settings = settings or KafkaSettings(partitions=PARTITIONS)
        topics = self.settings.topics
        self.stage = OrderStage(
            topics=topics,
            partitions=self.settings.partitions,
            codec=codec,
            suppressions=SUPPRESSIONS,
        )
        self.codec = codec
        self.events, self.express = topics.events.name, topics.express.name
        self.rows_topic, self.opt_outs = topics.desired_consents.name, topics.opt_outs.name
        self._opened: list[tuple[OwnedPartition, SharedClients]] = []

    def fold(
        self,
        records: Iterable[FetchedRecord],
        state: PartitionState | None = None,
        *,
        partition: int = HOME,
    ) -> Effects:
        """Return the effects of `records`, over an empty state unless given."""
        if state is None:
            state = MemoryState()
            state.packing = IN_FULL
        return self.stage.fold(partition, records, state)

    def fold_generally(self, records: Iterable[FetchedRecord], state: PartitionState) -> Effects:
        """Return the effects of `records` on the general path."""
        effects = Effects()
        for record in records:
            self.stage._fold_general(effects, record, HOME, state)
        return effects

    def written(self, effects: Effects, topic: str, record: str) -> list[dict[str, Any]]:
        """Return the decoded records that `effects` write to `topic`."""
        return [
            self.codec.decode(record, one.value) for one in effects.writes if one.topic == topic
        ]

    def owner(self, state: PartitionState | None = None) -> OwnedPartition:
        """Return another owner of partition 0, as another worker would have it."""
        clients = SharedClients(self.settings, f"{self.settings.topic_prefix}group")
        owner = OwnedPartition(
            0,
            clients=clients,
            codec=self.codec,
            state=MemoryState() if state is None else state,
            suppressions=SUPPRESSIONS,
        )
        self._opened.append((owner, clients))
        return owner

    async def acquired(self, state: PartitionState | None = None) -> OwnedPartition:
        """Return another owner that has acquired partition 0."""
        owner = self.owner(state)
        await owner.acquire()
        return owner

    async def commit(self, owner: OwnedPartition, effects: Effects, *, next_offset: int) -> None:
        """Commit `effects` of the bulk lane."""
        await owner.commit(effects, {self.events: LanePosition(next_offset)})

    def effects(self, *consents: Consent) -> Effects:
        """Return effects that write a row and an opt-out of each of `consents`."""
        effects = Effects()
        for consent in consents:
            key, row = consent.key.encode(), row_of(consent)
            for topic in (self.rows_topic, self.opt_outs):
                effects.writes.append(OutputRecord(topic, 0, key, row, NO_HEADERS))
            effects.changes[key] = IN_FULL.pack(consent)
        return effects

    def write_row(self, value: bytes | None, *, key: bytes = KEY) -> None:
        """Write a row as another writer."""
        producer = kafka.producer(self.settings)
        producer.produce(self.rows_topic, value=value, key=key, partition=0)
        assert producer.flush(10) == 0

    async def write_open(self, owner: OwnedPartition, row: bytes) -> None:
        """Write a row in a transaction of `owner` that it does not end."""
        await owner.write(Effects(writes=[OutputRecord(self.rows_topic, 0, KEY, row, NO_HEADERS)]))
        assert owner._acquisition is not None
        await owner._acquisition.producer._flush()

    def publish(self, count: int) -> None:
        """Write so many events to partition 0."""
        producer = kafka.producer(self.settings)
        for number in range(count):
            value = a_record(an_event(event_id=f"event-{number}")).value
            producer.produce(self.events, value=value, partition=0)
        assert producer.flush(10) == 0

    def delete_below(self, topic: str, offset: int) -> None:
        """Delete the records of `topic` below `offset`."""
        admin, place = kafka.admin(self.settings), TopicPartition(topic, 0, offset)
        # The broker deletes nothing of a topic that is only compacted.
        both = ConfigEntry(
            "cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET
        )
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[both])
        admin.incremental_alter_configs([resource])[resource].result(10)

        def is_deleted() -> bool:
            try:
                admin.delete_records([place])[place].result(10)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.POLICY_VIOLATION:
                    raise
                return False  # it applies the setting with a delay
            return True

        until(is_deleted, within=20, what="deletion")

    def recreate(self, topic: str) -> None:
        """Delete a topic and create one of its name."""
        admin = kafka.admin(self.settings)
        admin.delete_topics([topic])[topic].result(10)
        until(lambda: topic not in admin.list_topics(timeout=10).topics, within=10, what="deletion")
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)

    def end(self) -> int:
        """Return where the committed rows end."""
        return kafka.committed_ends(self.settings, self.rows_topic)[0]

    def rows(self) -> int:
        """Return how many rows are committed."""
        return sum(1 for _ in committed_records(self.settings, self.rows_topic))

    async def close(self) -> None:
        """Release what every owner has, and close its clients."""
        for owner, clients in self._opened:
            owner.release()
            await owner.closed()
            clients.close()


def decide_all(
    settings: KafkaSettings,
    suppressions: SuppressionKeys = NO_SUPPRESSIONS,
    *,
    at_once: int = 40,
) -> None:
    """Decide all undecided records of both lanes, a batch of each in turn."""
    asyncio.run(_decide_all(settings, suppressions, at_once))


async def _decide_all(settings: KafkaSettings, suppressions: SuppressionKeys, at_once: int) -> None:
    codec = Codec()
    stage = OrderStage(
        topics=settings.topics,
        partitions=settings.partitions,
        codec=codec,
        suppressions=suppressions,
    )
    with closing(SharedClients(settings, StreamSettings().group(settings))) as clients:
        for number in range(settings.partitions):
            owned = OwnedPartition(
                number,
                clients=clients,
                codec=codec,
                state=MemoryState(),
                suppressions=suppressions,
            )
            await owned.acquire()
            await _decide(settings, stage, owned, at_once)
            owned.release()
            await owned.closed()


async def _decide(
    settings: KafkaSettings, stage: OrderStage, owned: OwnedPartition, size: int
) -> None:
    waiting = _undecided(settings, owned.number, owned.next_offsets)
    while any(waiting.values()):
        for lane, records in waiting.items():
            batch, waiting[lane] = records[:size], records[size:]
            if batch:
                effects = stage.fold(owned.number, batch, owned.state)
                await owned.commit(effects, {lane: LanePosition(batch[-1].offset + 1)})


def _undecided(settings: KafkaSettings, number: int, starts: Mapping[str, int]) -> dict[str, list]:
    found: dict[str, list] = {}
    for lane, start in starts.items():
        end = kafka.committed_ends(settings, lane)[number]
        reader = BoundedReader(settings, "deciding", lane)
        with closing(reader):
            found[lane] = [
                source(message)
                for messages in reader.read({number: start}, {number: end})
                for message in messages
            ]
    return found


_ROUTINE, _REPEATED, _RUBBISH, _MISPLACED = 0.75, 0.93, 0.95, 0.97


class Traffic:
    """The same events for the same seed, published as any producer would."""

    def __init__(
        self, settings: KafkaSettings, codec: Codec, *, seed: int, recipients: int
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._random = Random(seed)
        self._recipients = recipients
        self._recent: list[ConsentEvent] = []
        self._made = 0
        self.failures: list[str] = []
        self._producer = kafka.producer(settings)

    def publish(self, count: int) -> None:
        """Publish so many events, and wait until the broker has them."""
        for _ in range(count):
            self._publish_one()
        self._producer.poll(0.02)
        assert self._producer.flush(90) == 0
        assert not self.failures

    def _publish_one(self) -> None:
        roll, topics = self._random.random(), self._settings.topics
        if roll > _REPEATED and self._recent:
            event = self._random.choice(self._recent)
        else:
            event = self._new()
            self._recent = [*self._recent[-200:], event]
        value = self._codec.encode("ConsentEvent", event_to_avro(event))
        if _ROUTINE < roll < _ROUTINE + 0.01:
            value = value[:20]
        urgent = event.status == "RET" and self._random.random() < 0.8
        key = f"{event.brand_code}/{event.type}/{event.recipient_type}/{event.recipient}"
        if _RUBBISH < roll < _MISPLACED:
            key = event.event_id
        self._producer.produce(
            (topics.express if urgent else topics.events).name,
            key=key,
            value=value,
            on_delivery=lambda error, _: self.failures.append(error.str()) if error else None,
        )
        self._producer.poll(0)

    def _new(self) -> ConsentEvent:
        self._made += 1
        random = self._random
        # Time advances, or in a long run no event would be newer than the state.
        at = NOON + timedelta(seconds=self._made // 4 + random.randrange(600))
        recipient = f"+90555{random.randrange(self._recipients):07d}"
        event_id = f"event-{self._made:07d}"
        if random.random() < 0.1:
            return an_iys_event(
                event_id=event_id,
                recipient=recipient,
                consent_date=at,
                received_at=at + timedelta(seconds=2),
                iys=an_iys_origin(creation_date=at),
            )
        return an_event(
            event_id=event_id,
            recipient=recipient,
            status="RET" if random.random() < 0.4 else "ONAY",
            # One in fifty has no date: a RET counts from its receipt, an ONAY is refused.
            consent_date=None if random.random() < 0.02 else at,
            received_at=at + timedelta(seconds=2),
        )


def flood(settings: KafkaSettings, partition: int, *, undecodable: int, refused: int) -> bool:
    """Publish so many of each to `partition` of each lane; return whether the broker took all."""
    # An opt-in without a date is refused.
    event = an_event(event_id="refused", status=Status.ONAY, consent_date=None)
    value = Codec().encode("ConsentEvent", event_to_avro(event))
    producer, topics = kafka.producer(settings), settings.topics
    values = [b"junk"] * undecodable + [value] * refused
    failures: list[str] = []
    for lane in (topics.express.name, topics.events.name):
        for one in values:
            producer.produce(
                lane,
                value=one,
                key=b"junk",
                partition=partition,
                on_delivery=lambda error, _: failures.append(error.str()) if error else None,
            )
        producer.poll(0)
    return producer.flush(90) == 0 and not failures
