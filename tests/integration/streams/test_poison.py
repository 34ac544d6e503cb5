"""Junk on one partition, and records on which our own code fails, stop no opt-out (RET).

A real worker process on a real broker: what is decided is read from ``desired-consents``.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from izin.consent.model import Status
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from tests.integration.streams.failing_worker import FAILS
from tests.support.builders import NOON, a_key, an_event
from tests.support.order.harness import CODEC
from tests.support.order.junk import flood
from tests.support.order.verdict import backlog, committed_records, examine
from tests.support.order.workers import Worker, all_held, until

pytestmark = pytest.mark.broker
PARTITIONS = 4
SPOILT = 1
"""The partition that gets the junk, or the poison."""
JUNK = 2000


def recipients_of(partition: int) -> Iterator[str]:
    """Yield recipients whose keys belong to `partition`."""
    for recipient in map("+90555{:07d}".format, range(1_000_000)):
        if partition_of(a_key(recipient=recipient).encode(), PARTITIONS) == partition:
            yield recipient


class Publisher:
    """Publishes events of new recipients, by partition."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._topics = settings.topics
        self._producer = kafka.producer(settings)
        self._recipients = {one: recipients_of(one) for one in range(PARTITIONS)}

    def publish(
        self, partition: int, *, status: Status, count: int = 1, origin: str = "web", express: bool
    ) -> set[bytes]:
        """Publish so many events, and return their keys."""
        lane = self._topics.express if express else self._topics.events
        keys = set()
        for _ in range(count):
            recipient = next(self._recipients[partition])
            key = a_key(recipient=recipient).encode()
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


def decided(settings: KafkaSettings) -> set[bytes]:
    """Return the keys that have a row."""
    rows = committed_records(settings, settings.topics.desired_consents.name)
    return {message.key() or b"" for message in rows}


def decisions_of(settings: KafkaSettings, keys: set[bytes]) -> list[bytes]:
    """Return the key of each decision on one of `keys`."""
    found = committed_records(settings, settings.topics.decisions.name)
    return [message.key() or b"" for message in found if message.key() in keys]


def is_logged(worker: Worker, event: str) -> bool:
    return f'"event": "{event}"' in worker.log.read_text(encoding="utf-8")


@pytest.mark.timeout(150)
def test_junk_on_one_partition_stops_nothing(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[[str, KafkaSettings], Worker],
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
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path
) -> Iterator[tuple[KafkaSettings, Worker]]:
    """Yield topics and their worker, whose own code fails on marked events."""
    settings = make_settings(PARTITIONS)
    worker = Worker(
        "failing",
        settings,
        tmp_path / "failing.log",
        module="tests.integration.streams.failing_worker",
        environment={"IZIN_DEAD_LETTER_SHARE": "0.2"},
    )
    yield settings, worker
    worker.kill()


def pause(publisher: Publisher, worker: Worker) -> None:
    """Publish what our own code fails on until the opt-ins of ``SPOILT`` wait."""
    publisher.publish(SPOILT, status=Status.ONAY, count=150, origin=FAILS, express=False)
    until(lambda: is_logged(worker, "opt-ins paused"), within=60, what="alert")


@pytest.mark.timeout(150)
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
    go_on = set[bytes]()
    for express in (True, False):
        go_on |= set[bytes]().union(*publisher.publish_to_all(Status.RET, express=express).values())
    go_on |= set[bytes]().union(*publisher.publish_to_all(Status.ONAY, express=True).values())
    opt_ins = publisher.publish_to_all(Status.ONAY, express=False)
    waits = opt_ins.pop(SPOILT)
    go_on |= set[bytes]().union(*opt_ins.values())
    until(lambda: decided(settings) >= go_on, within=60, what="decision of all that goes on")
    assert not decided(settings) & waits
    assert set(backlog(settings)) == {f"{settings.topics.events.name}[{SPOILT}]"}
    assert "izin_order_partitions_paused 1.0" in worker.metrics()
    assert worker.health()["ready"] == list(range(PARTITIONS))
    assert worker.end() == 0


@pytest.mark.timeout(200)
def test_opt_outs_decided_while_opt_ins_waited_are_decided_once(
    failing: tuple[KafkaSettings, Worker],
    start_worker: Callable[[str, KafkaSettings], Worker],
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
