"""The order stage under test: records, their effects, and a partition on a real broker."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from izin.consent import Consent, ConsentEvent, decide
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SuppressionKeys
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
from tests.support.builders import NOON, a_key, a_ret, an_admitted_event, an_event
from tests.support.order.verdict import committed_records
from tests.support.order.workers import until

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
    made: dict[str, Any] = {
        "topic": TOPIC,
        "partition": 0,
        "offset": 0,
        "timestamp": APPENDED,
        "key": b"any",
        "value": None,
        "headers": (),
    }
    return FetchedRecord(**made | fields)


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
