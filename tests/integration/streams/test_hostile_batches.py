"""Batches that Kafka stores and that a client may fail to unpack, on a real broker.

Junk on one partition, and records on which our own code fails, stop no opt-out (RET).

A real worker process on a real broker: what is decided is read from ``desired-consents``.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from izin.consent import Status
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.records import MAX_COPIED_BYTES, event_to_avro
from tests.contract.schemas.test_topics import set_of_topic
from tests.integration.streams.spoilt_worker import FAILS, spoilt
from tests.support.builders import NOON, a_key, an_event
from tests.support.hostile.batches import (
    HOSTILE,
    READABLE,
    UNREADABLE,
    ZSTD,
    BatchRefusedError,
    KeyValue,
    RawProducer,
    batch_of,
)
from tests.support.order.harness import CODEC, a_record, flood
from tests.support.order.verdict import Worker, all_held, backlog, committed_records, examine, until
from tests.support.published import keys_in

pytestmark = pytest.mark.broker
BOMB = 1 << 20
"""The bytes of each record of a batch that is small until it is unpacked."""
PARTITIONS = 4
SPOILT = 1
"""The partition that gets the junk, or the poison."""
JUNK = 2000


def opt_outs(first: int, count: int = 3) -> list[KeyValue]:
    """Return opt-outs of recipients of these numbers."""
    found: list[KeyValue] = []
    for number in range(first, first + count):
        recipient = f"+90555{number:07d}"
        event = an_event(event_id=recipient, recipient=recipient, status=Status.RET)
        found.append((a_key(recipient=recipient).encode(), a_record(event).value))
    return found


def decide_all(worker: Worker, settings: KafkaSettings) -> None:
    """Have a worker decide everything, and end."""
    until(lambda: not backlog(settings), within=60, what="end of the backlog")
    assert worker.end() == 0


def decided(settings: KafkaSettings) -> set[bytes]:
    """Return the keys that have a row."""
    rows = committed_records(settings, settings.topics.desired_consents.name)
    return {message.key() or b"" for message in rows}


def letters(settings: KafkaSettings) -> list[Mapping[str, Any]]:
    """Return the dead letters."""
    found = committed_records(settings, settings.topics.dead_letters.name)
    return [CODEC.decode("DeadLetter", one.value() or b"") for one in found]


def test_broker_stores_what_the_lists_say(make_settings: Callable[[int], KafkaSettings]) -> None:
    """A release of Kafka that looks closer, or less closely, is noticed."""
    settings = make_settings(1)
    stored = []
    with RawProducer(settings) as raw:
        for name, make in HOSTILE.items():
            try:
                raw.produce(settings.topics.events.name, 0, make(opt_outs(0)))
            except BatchRefusedError:
                continue
            stored.append(name)
    assert sorted(stored) == sorted([*READABLE, *UNREADABLE])


def test_batch_that_cannot_be_unpacked_harms_only_itself(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[..., Worker],
) -> None:
    """What Java's client reads is decided. Each other batch is a critical dead letter with its
    offsets and its bytes, in parts where it is large; whatever is behind it is decided.
    """
    settings = make_settings(1)
    keys, places = set[bytes](), {}
    with RawProducer(settings) as raw:
        for number, name in enumerate((*READABLE, *UNREADABLE)):
            of, behind = opt_outs(100 * number), opt_outs(100 * number + 50)
            lane = (settings.topics.express, settings.topics.events)[number % 2].name
            batch = HOSTILE[name](of)
            offset = raw.produce(lane, 0, batch)
            raw.produce(lane, 0, batch_of(behind))
            keys |= {key or b"" for key, _ in [*behind, *(of if name in READABLE else ())]}
            if name in UNREADABLE:
                places[lane, offset] = batch[8:]
        large = [*opt_outs(9000), (b"x", bytes(3 * MAX_COPIED_BYTES)), *opt_outs(9100)]
        batch = HOSTILE["plain offsets repeat"](large)
        places[lane, raw.produce(lane, 0, batch)] = batch[8:]
    worker = start_worker("one", settings)
    until(lambda: all_held([worker], 1), within=60, what="owner")
    until(lambda: not backlog(settings), within=60, what="end of the backlog")
    assert decided(settings) >= keys
    assert "opt-out dead-lettered" in worker.log.read_text(encoding="utf-8")
    assert worker.end() == 0
    found = dict[tuple[str, int], bytes]()
    for one in letters(settings):
        assert one["reason"] == "unreadable-batch"
        headers = {header["name"]: header["value"].decode() for header in one["headers"]}
        first, last = map(int, headers["izin-batch-offsets"].split("-"))
        base = int.from_bytes(found.setdefault((one["topic"], first), one["value"])[:8], "big")
        if headers["izin-batch-part"].split("/")[0] != "1":
            found[one["topic"], first] += one["value"]
        assert base <= first == one["offset"] <= last
    # The broker changes offset, epoch, and instants of a batch: the records are as they were sent.
    assert {place[0] for place in found} == {lane for lane, _ in places}
    assert sorted(one[61:] for one in found.values()) == sorted(one[53:] for one in places.values())


def test_batch_that_unpacks_to_too_much_is_cut(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[..., Worker],
) -> None:
    """The opt-outs in front are decided, and those of everybody else; the rest is a critical dead
    letter.
    """
    settings = make_settings(1)
    lane = settings.topics.events.name
    with RawProducer(settings) as raw:
        of = [*opt_outs(0), *[(b"x", bytes(BOMB))] * 100, *opt_outs(50)]
        raw.produce(lane, 0, batch_of(of, ZSTD))
        raw.produce(lane, 0, batch_of(behind := opt_outs(90)))
    worker = start_worker("one", settings)
    until(lambda: all_held([worker], 1), within=60, what="owner")
    decide_all(worker, settings)
    assert decided(settings) == {key for key, _ in [*opt_outs(0), *behind]}
    *_, last = letters(settings)
    assert (last["reason"], last["partition"]) == ("unreadable-batch", 0)


def test_topic_of_dead_letters_that_is_away_delays_no_opt_out(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[..., Worker],
) -> None:
    """Behind a batch with a dead letter opt-outs are decided; the dead letter is written once it
    can be.
    """
    settings = make_settings(1)

    def limit(size: int) -> None:
        set_of_topic(settings, settings.topics.dead_letters.name, "max.message.bytes", f"{size}")

    limit(128)  # of which a transaction's marker has room
    worker = start_worker("one", settings)
    until(lambda: all_held([worker], 1), within=60, what="owner")
    lane = settings.topics.express.name
    with RawProducer(settings) as raw:
        raw.produce(lane, 0, batch_of([(b"junk", b"junk"), *opt_outs(0)]))
        raw.produce(lane, 0, batch_of(opt_outs(50)))
    keys = {key for key, _ in [*opt_outs(0), *opt_outs(50)]}
    until(lambda: decided(settings) == keys, within=60, what="decision of the opt-outs")
    assert letters(settings) == []
    limit(1 << 20)
    until(lambda: not backlog(settings), within=60, what="end of the backlog")
    assert [one["reason"] for one in letters(settings)] == ["undecodable"]
    assert worker.end() == 0


class Publisher:
    """Publishes events of new recipients, by partition."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._topics = settings.topics
        self._producer = clients.producer(settings)
        self._keys = {one: keys_in(one, partitions=PARTITIONS) for one in range(PARTITIONS)}

    def publish(
        self, partition: int, *, status: Status, count: int = 1, origin: str = "web", express: bool
    ) -> set[bytes]:
        """Publish so many events, and return their keys."""
        lane = self._topics.express if express else self._topics.events
        keys = set()
        for _ in range(count):
            own = next(self._keys[partition])
            key, recipient = own.encode(), own.recipient
            event = an_event(event_id=recipient, recipient=recipient, status=status, origin=origin)
            value = CODEC.encode("ConsentEvent", event_to_avro(event))
            self._producer.produce(lane.name, key=key, value=value)
            keys.add(key)
        assert self._producer.flush(20) == 0
        return keys

    def outrank(self, keys: set[bytes]) -> None:
        """Publish a later opt-out of each of `keys`, on the express lane."""
        for key in keys:
            recipient = key.decode().split("/")[-1]
            event = an_event(
                event_id=f"later-{recipient}",
                recipient=recipient,
                status=Status.RET,
                consent_date=NOON + timedelta(minutes=1),
            )
            value = CODEC.encode("ConsentEvent", event_to_avro(event))
            self._producer.produce(self._topics.express.name, key=key, value=value)
        assert self._producer.flush(20) == 0

    def publish_to_all(self, status: Status, *, express: bool) -> dict[int, set[bytes]]:
        """Publish one event to each partition; return its key by partition."""
        return {
            partition: self.publish(partition, status=status, express=express)
            for partition in range(PARTITIONS)
        }


def decisions_of(settings: KafkaSettings, keys: set[bytes]) -> list[bytes]:
    """Return the key of each decision on one of `keys`."""
    found = committed_records(settings, settings.topics.decisions.name)
    return [message.key() or b"" for message in found if message.key() in keys]


def is_logged(worker: Worker, event: str) -> bool:
    return f'"event": "{event}"' in worker.log.read_text(encoding="utf-8")


def test_junk_on_one_partition_stops_nothing(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[..., Worker],
) -> None:
    """Thousands of records that nobody can decode, or that are refused, become dead letters; every
    opt-out and opt-in behind them is decided, of that partition too.
    """
    settings = make_settings(PARTITIONS)
    publisher, worker = Publisher(settings), start_worker("one", settings)
    until(lambda: all_held([worker], PARTITIONS), within=60, what="owner")
    assert flood(settings, SPOILT, undecodable=JUNK, refused=JUNK)
    keys = set[bytes]()
    for express in (True, False):
        for status in (Status.RET, Status.ONAY):
            keys |= set[bytes]().union(*publisher.publish_to_all(status, express=express).values())
    until(lambda: not backlog(settings), within=60, what="end of the backlog")
    assert decided(settings) == keys
    assert all_held([worker], PARTITIONS)
    assert "izin_order_partitions_paused 0.0" in worker.metrics()
    assert not is_logged(worker, "opt-ins paused")
    assert worker.end() == 0
    verdict = examine(settings, CODEC)
    assert verdict.faultless, str(verdict)
    assert verdict.counts["dead"] == 2 * 2 * JUNK


@pytest.fixture
def failing(
    make_settings: Callable[[int], KafkaSettings], start_worker: Callable[..., Worker]
) -> tuple[KafkaSettings, Worker]:
    """Return topics and their worker, whose own code fails on marked events."""
    settings = make_settings(PARTITIONS)
    how = spoilt("failing", IZIN_DEAD_LETTER_SHARE="0.2")
    return settings, start_worker("failing", settings, **how)


def pause(publisher: Publisher, worker: Worker) -> None:
    """Publish what our own code fails on until the opt-ins of ``SPOILT`` wait."""
    publisher.publish(SPOILT, status=Status.ONAY, count=150, origin=FAILS, express=False)
    until(lambda: is_logged(worker, "opt-ins paused"), within=60, what="alert")


def test_poison_beyond_the_share_pauses_opt_ins_of_its_lane(
    failing: tuple[KafkaSettings, Worker],
) -> None:
    """Where our own code fails on too many records, the opt-ins of that lane and partition wait.
    Its opt-outs, its other lane, and both lanes of the other partitions go on.
    """
    settings, worker = failing
    publisher = Publisher(settings)
    until(lambda: all_held([worker], PARTITIONS), within=60, what="owner")
    pause(publisher, worker)
    lanes = (
        publisher.publish_to_all(Status.RET, express=True),
        publisher.publish_to_all(Status.RET, express=False),
        publisher.publish_to_all(Status.ONAY, express=True),
    )
    opt_ins = publisher.publish_to_all(Status.ONAY, express=False)
    waits = opt_ins.pop(SPOILT)
    go_on = set[bytes]().union(*(keys for lane in (*lanes, opt_ins) for keys in lane.values()))
    until(lambda: decided(settings) >= go_on, within=60, what="decision of all that goes on")
    assert not decided(settings) & waits
    assert set(backlog(settings)) == {f"{settings.topics.events.name}[{SPOILT}]"}
    assert "izin_order_partitions_paused 1.0" in worker.metrics()
    assert worker.health()["ready"] == list(range(PARTITIONS))
    assert worker.end() == 0


def test_opt_outs_decided_while_opt_ins_waited_are_decided_once(
    failing: tuple[KafkaSettings, Worker],
    start_worker: Callable[..., Worker],
) -> None:
    """The opt-outs that went on, and those that are outranked since, have one decision each once
    another worker decides what waited; the one on which our code failed has its own by then.
    """
    settings, worker = failing
    publisher = Publisher(settings)
    until(lambda: all_held([worker], PARTITIONS), within=60, what="owner")
    pause(publisher, worker)
    went_on = publisher.publish(SPOILT, status=Status.RET, count=5, express=False)
    failed = publisher.publish(SPOILT, status=Status.RET, origin=FAILS, express=False)
    went_on |= publisher.publish(SPOILT, status=Status.RET, count=5, express=False)
    until(lambda: decided(settings) >= went_on, within=60, what="decision of the opt-outs")
    publisher.outrank(went_on)
    until(lambda: len(decisions_of(settings, went_on)) == 20, within=60, what="newer opt-outs")
    worker.kill()
    publisher.publish(SPOILT, status=Status.ONAY, count=50, express=False)
    successor = start_worker("successor", settings)
    until(lambda: not backlog(settings), within=90, what="end of the backlog")
    assert successor.end() == 0
    assert len(decisions_of(settings, went_on)) == 20
    assert len(decisions_of(settings, failed)) == 1
    verdict = examine(settings, CODEC)
    assert (verdict.doubled, verdict.regressions) == ([], []), str(verdict)
