"""The checker of the campaign finds each violated guarantee."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from izin.streams.order import OrderStage
from izin.streams.outputs import BATCH_OFFSETS, BATCH_PART
from izin.streams.state.state import MemoryState
from tests.support.builders import NOON, a_key, an_event
from tests.support.hostile.batches import HOSTILE, UNREADABLE, RawProducer
from tests.support.order.harness import APPENDED, fetched
from tests.support.order.verdict import OrderVerdict, committed_records, examine

SETTINGS = KafkaSettings(partitions=3)
TOPICS = SETTINGS.topics
CODEC = Codec()
HOME = partition_of(a_key().encode(), SETTINGS.partitions)


@dataclass(kw_only=True)
class CommittedMessage:
    """A committed record, as the client gives it."""

    at: tuple[str, int, int]
    content: bytes | None
    named: bytes | None = None
    about: list[tuple[str, bytes]] = field(default_factory=list)
    when: int = APPENDED

    def topic(self) -> str:
        return self.at[0]

    def partition(self) -> int:
        return self.at[1]

    def offset(self) -> int:
        return self.at[2]

    def timestamp(self) -> tuple[int, int]:
        return 2, self.when

    def key(self) -> bytes | None:
        return self.named

    def value(self) -> bytes | None:
        return self.content

    def headers(self) -> list[tuple[str, bytes]]:
        return self.about


Log = dict[str, list[CommittedMessage]]


def a_log() -> Log:
    """Return what a faultless order stage leaves of changes of mind, a repeat and rubbish."""
    said = [
        ("ONAY", 10, "first"),
        ("RET", 20, "no"),
        ("ONAY", 15, "stale"),
        ("RET", 20, "no"),
        ("ONAY", 30, "again"),
        ("RET", 40, "no again"),
    ]
    values = [
        CODEC.encode(
            "ConsentEvent",
            event_to_avro(
                an_event(
                    status=status,
                    event_id=name,
                    consent_date=NOON + timedelta(seconds=at),
                    received_at=NOON + timedelta(seconds=60),
                )
            ),
        )
        for status, at, name in said
    ]
    log: Log = defaultdict(list)
    records = [
        fetched(topic=TOPICS.events.name, partition=HOME, offset=offset, value=value)
        for offset, value in enumerate([*values, b"rubbish"])
    ]
    for record in records:
        at = (record.topic, record.partition, record.offset)
        log[record.topic].append(CommittedMessage(at=at, content=record.value))
    stage = OrderStage(topics=TOPICS, partitions=SETTINGS.partitions, codec=CODEC)
    for write in stage.fold(HOME, records, MemoryState()).writes:
        there = log[write.topic]
        at = (write.topic, write.partition or 0, len(there))
        there.append(CommittedMessage(at=at, content=write.value, named=write.key))
    return log


def judged(log: Log) -> OrderVerdict:
    return examine(SETTINGS, CODEC, read=lambda _, topic: iter(log[topic]))


def drop(topic: str, number: int) -> Callable[[Log], None]:
    return lambda log: log[topic].__delitem__(number)


def double(topic: str, number: int) -> Callable[[Log], None]:
    return lambda log: log[topic].append(log[topic][number])


def swap_rows(log: Log) -> None:
    rows = log[TOPICS.desired_consents.name]
    rows[0], rows[1] = rows[1], rows[0]


def misplace(log: Log) -> None:
    elsewhere = (TOPICS.events.name, (HOME + 1) % SETTINGS.partitions, 0)
    log[TOPICS.events.name].append(
        CommittedMessage(at=elsewhere, content=log[TOPICS.events.name][0].content)
    )


def test_a_faultless_log_is_found_faultless() -> None:
    """Nothing is reported where every guarantee held, and everything was read."""
    verdict = judged(a_log())
    assert verdict.faultless, str(verdict)
    expected = {"events": 7, "decisions": 5, "duplicates": 1, "dead": 1, "opt-outs": 2, "keys": 1}
    assert expected.items() <= verdict.counts.items()


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (drop(TOPICS.decisions.name, 0), "missing"),
        (drop(TOPICS.dead_letters.name, 0), "missing"),
        (misplace, "missing"),
        (double(TOPICS.decisions.name, 2), "doubled"),
        (double(TOPICS.dead_letters.name, 0), "doubled"),
        (swap_rows, "regressions"),
        (double(TOPICS.desired_consents.name, 0), "regressions"),
        (drop(TOPICS.desired_consents.name, -1), "wrong"),
        (drop(TOPICS.opt_outs.name, 0), "opt_outs"),
        (double(TOPICS.opt_outs.name, 1), "opt_outs"),
    ],
)
def test_a_broken_promise_is_seen(spoil: Callable[[Log], None], found: str) -> None:
    """Missing, doubled, reverted, wrong or unpublished events are found, by name."""
    log = a_log()
    spoil(log)
    verdict = judged(log)
    assert not verdict.faultless
    assert getattr(verdict, found), str(verdict)


def test_hostile_places_are_not_compared_and_parts_not_doubled() -> None:
    """Others account for what came of them: for a batch, letters in parts; for a RET, a row."""
    log = a_log()
    hostile = (TOPICS.events.name, HOME, 100)
    log[TOPICS.events.name].append(CommittedMessage(at=hostile, content=b"anything"))
    letter = CODEC.decode("DeadLetter", log[TOPICS.dead_letters.name][0].content or b"")
    for number in (1, 2):
        headers = [
            {"name": BATCH_OFFSETS, "value": b"100-102"},
            {"name": BATCH_PART, "value": f"{number}/2".encode()},
        ]
        part = CODEC.encode("DeadLetter", {**letter, "offset": 100, "headers": headers})
        at = (TOPICS.dead_letters.name, 0, number)
        log[TOPICS.dead_letters.name].append(CommittedMessage(at=at, content=part))

    def read(_: KafkaSettings, topic: str) -> list[CommittedMessage]:
        return log[topic]

    verdict = examine(SETTINGS, CODEC, read=read, hostile={hostile})
    assert verdict.faultless, str(verdict)
    double(TOPICS.dead_letters.name, -1)(log)
    assert examine(SETTINGS, CODEC, read=read, hostile={hostile}).doubled == [hostile]


@pytest.mark.broker
def test_reader_jumps_over_batches_that_cannot_be_unpacked(
    make_settings: Callable[[int], KafkaSettings],
) -> None:
    """Whatever librdkafka does about them, behind a record as behind the marker of another's."""
    settings = make_settings(len(UNREADABLE))
    topic = settings.topics.events.name
    producer, spared = kafka.producer(settings), set[tuple[str, int, int]]()
    with RawProducer(settings) as raw:
        for number, name in enumerate(UNREADABLE):
            for is_behind_marker in (False, True):
                producer.produce(topic, b"read", partition=number)
                assert producer.flush(20) == 0
                if is_behind_marker:
                    abort_in(settings, topic, number)
                first = raw.produce(topic, number, HOSTILE[name]([(b"key", b"value" * 9)] * 3))
                spared |= {(topic, number, first + index) for index in range(3)}
            producer.produce(topic, b"last", partition=number)
        assert producer.flush(20) == 0
    found = defaultdict(list)
    for message in committed_records(settings, topic, without=spared):
        found[message.partition()].append(message.value())
    assert found == {number: [b"read", b"read", b"last"] for number in range(len(UNREADABLE))}


def abort_in(settings: KafkaSettings, topic: str, partition: int) -> None:
    """Leave the marker of a transaction that was aborted."""
    foreign = kafka.producer(settings, **{"transactional.id": f"{settings.topic_prefix}foreign"})
    foreign.init_transactions(20)
    foreign.begin_transaction()
    foreign.produce(topic, b"aborted", partition=partition)
    assert foreign.flush(20) == 0
    foreign.abort_transaction(20)
