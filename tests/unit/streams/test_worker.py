"""Which batches a worker decides, which it drops, and what holds back a partition."""

import asyncio
import gc
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from itertools import islice
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from izin.consent import AdmittedEvent, Consent, Decision, Status, decide
from izin.runtime.backoff import Backoff
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.streams import order as order_module
from izin.streams.engine import (
    app as app_module,
    partition_processor as processor_module,
    worker as worker_module,
)
from izin.streams.engine.gate import RecordBatch
from izin.streams.engine.watches import LaneWatch, WorkerMetrics
from izin.streams.engine.worker import OrderWorker
from izin.streams.errors import SplitLanesError, StateError
from izin.streams.ownership import Effects, LanePosition, OutputRecord
from izin.streams.state.state import MemoryState
from tests.support.builders import an_event
from tests.support.order.harness import CODEC, EXPRESS, TOPIC, TOPICS, a_record, fetched


class PartitionWithoutBroker:
    """An owned partition without a broker; `faults` are raised by its next commits."""

    def __init__(self, number: int, **_: object) -> None:
        self.number = number
        self.state = MemoryState()
        self.positions = {TOPIC: LanePosition(), EXPRESS: LanePosition()}
        self.is_acquired = False
        self.origin: str | None = None
        self.acquired = 0
        self.released = 0
        self.sent: list[OutputRecord] = []
        self.written: list[OutputRecord] = []
        self.committed: list[tuple[str, int, Effects]] = []
        self.commits = 0
        self.faults: list[Exception] = []
        self.while_acquiring: Callable[[], object] = lambda: None
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.after_commit: Callable[[], object] = lambda: None
        self.after_write: Callable[[], object] = lambda: None
        self.turns: list[int] = []
        """How many records were written at a time."""

    async def acquire(self) -> None:
        self.acquired += 1
        await in_daemon_thread(self.while_acquiring, name="acquire")
        self.is_acquired = True

    def release(self) -> None:
        self.released += self.is_acquired
        self.is_acquired = False
        self.sent.clear()

    async def closed(self) -> None:
        pass

    async def write(self, effects: Effects) -> None:
        self.turns.append(len(effects.writes))
        self.sent.extend(effects.writes)
        effects.writes.clear()
        await asyncio.sleep(0)
        self.after_write()

    @property
    def next_offsets(self) -> dict[str, int]:
        return {lane: one.next_offset for lane, one in self.positions.items()}

    async def commit(self, effects: Effects, positions: Mapping[str, LanePosition]) -> None:
        await self.may_commit.wait()
        if self.faults:
            raise self.faults.pop(0)
        await self.write(effects)
        self.state.apply(effects.changes, 0)
        self.positions |= positions
        self.commits += 1
        self.written += self.sent
        self.sent.clear()
        self.committed += [
            (topic, offset, effects)
            for topic, offset in self.next_offsets.items()
            if topic in positions
        ]
        self.after_commit()


def fenced() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._FENCED, "fenced"))


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OrderWorker]:
    """Return a worker whose partitions need no broker."""
    monkeypatch.setattr(worker_module, "OwnedPartition", PartitionWithoutBroker)
    clients = SimpleNamespace(close=lambda: None, origin=lambda: "one cluster")
    monkeypatch.setattr(worker_module, "SharedClients", lambda *_: clients)
    monkeypatch.setattr(
        processor_module, "_BACKOFF", Backoff(timedelta(milliseconds=1), timedelta(milliseconds=1))
    )
    # One partition of a topic: every key belongs to it.
    worker = OrderWorker(settings=KafkaSettings(partitions=1), group="group", codec=CODEC)
    yield worker
    for number in worker._processors:
        owned(worker, number).may_commit.set()
    await worker.close()


def owned(worker: OrderWorker, number: int = 0) -> Any:  # noqa: ANN401  # the stand-in above
    return worker._processor(number).owned


def a_batch(start: int = 0, count: int = 1, *, next_offset: int | None = None) -> RecordBatch:
    records = [
        a_record(an_event(event_id=f"event-{offset}"), offset=offset)
        for offset in range(start, start + count)
    ]
    return RecordBatch(start, next_offset or start + count, records)


async def until(effect: Callable[[], object]) -> None:
    """Return once the effect is there."""
    async with asyncio.timeout(20):
        while not effect():  # noqa: ASYNC110  # what is looked at sets no event
            await asyncio.sleep(0.001)


async def acquired(worker: OrderWorker, *numbers: int) -> None:
    """Assign partitions, and return once they are ready."""
    await worker.assign(numbers, numbers)
    await until(lambda: worker.ready == set(numbers))


@pytest.fixture
async def ready(worker: OrderWorker) -> None:
    """Give the worker its partition, which is ready."""
    await acquired(worker, 0)


def give(worker: OrderWorker, batch: RecordBatch, lane: str = TOPIC, number: int = 0) -> None:
    """Hand over `batch` as one that was fetched just now."""
    worker.dispatch(lane, number, batch._replace(opening=worker._processor(number)._opening))


async def decided(
    worker: OrderWorker, batch: RecordBatch, lane: str = TOPIC, number: int = 0
) -> None:
    """Hand over `batch`, and return once it is committed."""
    give(worker, batch, lane, number)
    partition = owned(worker, number)
    await until(lambda: partition.next_offsets[lane] >= batch.next_offset)


def express(offset: int = 0, event_id: str = "express") -> RecordBatch:
    """Return a batch of the express lane."""
    record = a_record(an_event(event_id=event_id), topic=EXPRESS, offset=offset)
    return RecordBatch(offset, offset + 1, [record])


async def busy(worker: OrderWorker) -> Any:  # noqa: ANN401  # the stand-in above
    """Return a partition that has a batch in hand, and may not commit it."""
    partition = owned(worker)
    partition.may_commit.clear()
    give(worker, a_batch())
    await until(lambda: partition.sent)
    return partition


def fail_commit(partition: Any) -> None:  # noqa: ANN401  # the stand-in above
    """Let a partition commit what it has in hand, in vain."""
    partition.faults = [fenced()]
    partition.may_commit.set()


async def test_assigned_partition_is_acquired_before_its_first_batch(worker: OrderWorker) -> None:
    """What was assigned becomes ready without waiting for records."""
    await worker.assign([0, 1], [0, 1])
    assert (worker.assigned, worker.ready) == ({0, 1}, frozenset())
    await until(lambda: worker.ready == {0, 1})
    assert worker.gate.openings([(TOPIC, 0), (EXPRESS, 1), (TOPIC, 2)]) == {}
    worker.gate.take_seeks()
    assert set(worker.gate.openings([(TOPIC, 0), (EXPRESS, 1), (TOPIC, 2)])) == {
        (TOPIC, 0),
        (EXPRESS, 1),
    }


async def test_split_lanes_raise(worker: OrderWorker) -> None:
    """Lanes given to two workers would decide a recipient in two places."""
    with pytest.raises(SplitLanesError, match=r"\[1, 2\]"):
        await worker.assign([0, 1], [0, 2])
    assert worker.assigned == frozenset()


@pytest.mark.usefixtures("ready")
async def test_batch_is_committed_once_and_its_lane_goes_on(worker: OrderWorker) -> None:
    """What is written is what was decided, and the next fetch begins behind it."""
    await decided(worker, a_batch(0, 3, next_offset=4))
    ((topic, next_offset, effects),) = owned(worker).committed
    assert (topic, next_offset) == (TOPIC, 4)
    assert owned(worker).written
    assert not effects.writes
    assert (worker.counts["batches"], worker.counts["records"]) == (1, 3)
    assert worker.decided == {(TOPIC, 0): 4, (EXPRESS, 0): 0}
    assert worker.next_offset(TOPIC, 0) == 4


@pytest.mark.parametrize("start", [1, 4])
@pytest.mark.usefixtures("ready")
async def test_batch_that_does_not_follow_is_read_again(worker: OrderWorker, start: int) -> None:
    """Neither records that nobody processed are skipped, nor those of a topic created anew taken
    for decided: the partition is acquired again, and its lane read from its position.
    """
    await decided(worker, a_batch(0, 2))
    worker.gate.take_seeks()
    with capture_logs() as logs:
        give(worker, a_batch(start, 2))
        await until(lambda: owned(worker).acquired == 2 and worker.ready == {0})
    assert len(owned(worker).committed) == 1
    assert worker.gate.take_seeks() == {(TOPIC, 0): 2, (EXPRESS, 0): 0}
    (log,) = [one for one in logs if one["log_level"] == "critical"]
    assert f"expected offset 2, got a batch from {start}" in log["error"]


@pytest.mark.usefixtures("ready")
async def test_batch_fetched_before_the_acquisition_is_dropped(worker: OrderWorker) -> None:
    """It was read from another offset, perhaps of another topic."""
    worker.dispatch(TOPIC, 0, a_batch(0, 2)._replace(opening=99))
    worker.dispatch(TOPIC, 7, a_batch(0, 2))
    await decided(worker, a_batch(0, 1))
    assert len(owned(worker).committed) == 1


@pytest.mark.usefixtures("ready")
async def test_express_lane_is_decided_first(worker: OrderWorker) -> None:
    """An opt-out waits for the batch in hand, and not for the next."""
    partition = await busy(worker)
    give(worker, a_batch(1, 1))
    give(worker, express(), EXPRESS)
    partition.may_commit.set()
    await until(lambda: len(partition.committed) == 3)
    assert [topic for topic, *_ in partition.committed] == [TOPIC, EXPRESS, TOPIC]


async def test_opt_out_cuts_the_bulk_in_hand_short(
    worker: OrderWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is folded of it is committed with the opt-out, then the rest: nothing twice."""
    monkeypatch.setattr(processor_module, "_FOLDED_AT_ONCE", 2)
    await acquired(worker, 0)
    partition, batches = owned(worker), [express()]
    partition.after_write = lambda: batches and give(worker, batches.pop(), EXPRESS)
    give(worker, a_batch(0, 6, next_offset=9))
    await until(lambda: partition.commits == 2)
    places = [(topic, position) for topic, position, _ in partition.committed]
    assert places == [(TOPIC, 2), (EXPRESS, 1), (TOPIC, 9)]
    assert partition.committed[0][2] is partition.committed[1][2]
    assert worker.counts["records"] == 7
    await decided(worker, a_batch(9, 1))


async def test_bulk_in_hand_is_cut_short_when_the_worker_ends(
    worker: OrderWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is folded of it is committed; the rest is the next owner's, so the end is soon."""
    monkeypatch.setattr(processor_module, "_FOLDED_AT_ONCE", 2)
    await acquired(worker, 0)
    partition = owned(worker)
    partition.after_write = lambda: worker._begin(frozenset())
    give(worker, a_batch(0, 6))
    await until(lambda: partition.committed)
    assert [(topic, position) for topic, position, _ in partition.committed] == [(TOPIC, 2)]
    assert worker.counts["records"] == 2


@pytest.mark.usefixtures("ready")
async def test_bulk_goes_on_beside_opt_outs_without_end(worker: OrderWorker) -> None:
    """It may have opt-outs too: at most one transaction in two leaves it out while it waits."""
    partition, offsets = owned(worker), iter(range(20))

    def give_next() -> None:
        for offset in islice(offsets, 1):
            give(worker, express(offset, f"express-{offset}"), EXPRESS)

    partition.after_commit = give_next
    partition.may_commit.clear()
    give_next()
    give(worker, a_batch(0, 1))
    partition.may_commit.set()
    await until(lambda: partition.next_offsets == {TOPIC: 1, EXPRESS: 20})
    assert [topic for topic, *_ in partition.committed][:3] == [EXPRESS, TOPIC, EXPRESS]


@pytest.mark.usefixtures("ready")
async def test_opt_out_does_not_wait_for_the_bulk_of_other_partitions(worker: OrderWorker) -> None:
    """While another partition's bulk is folded, only bulk waits, and has its turn afterwards."""
    other = asyncio.Event()
    assert worker._turns.is_mine(other)
    give(worker, a_batch(0, 1))
    await decided(worker, express(), EXPRESS)
    assert [topic for topic, *_ in owned(worker).committed] == [EXPRESS]
    worker._turns.give_back(other)
    await until(lambda: len(owned(worker).committed) == 2)
    await decided(worker, a_batch(1, 1))


async def test_lane_with_a_waiting_batch_is_not_fetched(worker: OrderWorker) -> None:
    """A partition that waits for its broker holds a batch and not the topic; others go on."""
    await acquired(worker, 0, 1)
    worker.gate.take_seeks()
    lanes = [(TOPIC, 0), (EXPRESS, 0), (TOPIC, 1)]
    partition = await busy(worker)
    assert set(worker.gate.openings(lanes)) == set(lanes)
    give(worker, a_batch(1, 1))
    assert set(worker.gate.openings(lanes)) == {(EXPRESS, 0), (TOPIC, 1)}
    partition.may_commit.set()
    await until(lambda: len(partition.committed) == 2)
    assert set(worker.gate.openings(lanes)) == set(lanes)


async def test_stuck_partition_holds_back_no_other(worker: OrderWorker) -> None:
    """One commit that never ends, and one acquisition: the third partition decides."""
    hanging = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        asyncio.run_coroutine_threadsafe(hanging.wait(), loop).result(30)

    owned(worker, 1).while_acquiring = hang
    await worker.assign([0, 1, 2], [0, 1, 2])
    await until(lambda: worker.ready == {0, 2})
    owned(worker, 0).may_commit.clear()
    give(worker, a_batch(0, 1))
    for start in range(5):
        await decided(worker, a_batch(start, 1), number=2)
    assert (owned(worker, 0).committed, worker.ready) == ([], {0, 2})
    hanging.set()
    await until(lambda: worker.ready == {0, 1, 2})


@pytest.mark.usefixtures("ready")
async def test_dead_letters_are_logged_by_lane(worker: OrderWorker) -> None:
    """Those of the express lane need a person, those of the bulk lane are a warning: one line a
    batch, for a flood of them must not be one of lines too.
    """
    for lane in (EXPRESS, TOPIC):
        rubbish = [fetched(topic=lane, offset=offset, value=b"rubbish") for offset in (0, 1)]
        with capture_logs() as logs:
            await decided(worker, RecordBatch(0, 2, rubbish), lane)
        found = [(one["log_level"], one.get("offset"), one.get("count")) for one in logs]
        if lane == EXPRESS:
            assert found == [("critical", 0, 2)]
        else:
            assert found == [("warning", None, 2)]
            assert logs[0]["reasons"] == {"undecodable": 2}
    with capture_logs() as logs:
        await decided(worker, a_batch(2))
    assert logs == []


@pytest.fixture
def bad_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let our own code fail on every ONAY."""

    def fail(current: Consent | None, admitted: AdmittedEvent) -> Decision:
        if admitted.status is Status.ONAY:
            raise ZeroDivisionError
        return decide(current, admitted)

    monkeypatch.setattr(order_module, "decide", fail)
    monkeypatch.setattr(order_module, "decide_simple", fail)


def mixed(start: int, count: int) -> RecordBatch:
    """Return a batch whose every hundredth record is an opt-out."""
    return RecordBatch(
        start,
        start + count,
        [
            a_record(
                an_event(
                    event_id=f"event-{offset}",
                    recipient=f"+9055500{offset:05d}",
                    status="ONAY" if offset % 100 else "RET",
                ),
                offset=offset,
            )
            for offset in range(start, start + count)
        ],
    )


async def test_poison_of_a_bad_deploy_pauses_opt_ins_alone(
    worker: OrderWorker, bad_deploy: None
) -> None:
    """The topic is not emptied into the dead letters: the position stays, opt-outs go on, on this
    partition and on every other.
    """
    await acquired(worker, 0, 1)
    partition = owned(worker)
    with capture_logs() as logs:
        give(worker, mixed(0, 300))
        await until(lambda: worker.paused == {0})
    (log,) = [one for one in logs if one["event"] == "opt-ins paused"]
    assert "of the latest 300 records are of acme/web" in log["error"]
    assert "IZIN_DEAD_LETTER_SHARE" in log["error"]
    assert worker.gate.take_seeks()[TOPIC, 0] == 0
    for start in (0, 300):
        give(worker, mixed(start, 300))
        await until(lambda start=start: partition.commits == start // 300 + 1)
    assert partition.next_offsets[TOPIC] == 0
    assert {one.topic for one in partition.written} >= {TOPICS.opt_outs.name}
    assert TOPICS.dead_letters.name not in {one.topic for one in partition.written}
    assert worker.counts["opt-outs"] == 6
    assert worker.counts["dead:poison"] == 0
    rets = [a_record(an_event(event_id="express", status="RET"), topic=EXPRESS, offset=0)]
    await decided(worker, RecordBatch(0, 1, rets), EXPRESS)
    assert worker.counts["opt-outs"] == 7


@pytest.mark.usefixtures("ready")
async def test_opt_ins_go_on_with_the_next_assignment(
    worker: OrderWorker, bad_deploy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited is decided by a release that can; what was decided stays so."""
    give(worker, mixed(0, 300))
    await until(lambda: worker.paused == {0})
    give(worker, mixed(0, 300))
    await until(lambda: owned(worker).commits)
    monkeypatch.setattr(order_module, "decide", decide)
    await acquired(worker, 0)
    await until(lambda: worker.paused == frozenset() and worker.ready == {0})
    await decided(worker, mixed(0, 300))
    assert worker.counts["opt-outs"] == 3
    assert worker.counts["Apply"] == 300
    assert len(owned(worker).state) == 300


OVERSIZED = an_event(evidence={"page": "x" * 924_000})
NO_FAULT_OF_OURS = {
    "rubbish": {"value": b"rubbish"},
    "unknown schema": {"value": b"\xc3\x01" + b"\x07" * 8},
    "tombstones": {"value": None},
    "oversized": {"value": a_record(OVERSIZED).value},
    "refused": {"value": a_record(an_event(source="HS_NOWHERE")).value},
    "nobody's": {"value": a_record(an_event(status="RET", recipient="nobody")).value},
}


@pytest.mark.parametrize("fields", NO_FAULT_OF_OURS.values(), ids=NO_FAULT_OF_OURS)
@pytest.mark.usefixtures("ready")
async def test_records_that_are_no_fault_of_ours_pause_nothing(
    worker: OrderWorker, fields: dict[str, object]
) -> None:
    """Whoever sends rubbish, refusals or events of 924 KB stops neither the opt-outs nor the
    opt-ins of others.
    """
    records = [fetched(offset=offset, **fields) for offset in range(300)]
    await decided(worker, RecordBatch(0, 300, records))
    await decided(worker, a_batch(300, 1))
    dead = sum(count for name, count in worker.counts.items() if name.startswith("dead:"))
    assert (worker.paused, worker.counts["Apply"], dead) == (frozenset(), 1, 300)


@pytest.mark.parametrize("limit", ["_FOLDED_WITHIN", "_BYTES_AT_ONCE"])
async def test_fold_that_takes_long_gives_others_a_turn(
    worker: OrderWorker, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """A few records may take as long as thousands: it is the time that counts, and their bytes."""
    monkeypatch.setattr(processor_module, limit, 0)
    await acquired(worker, 0)
    await decided(worker, a_batch(count=7))
    assert [one for one in owned(worker).turns if one] == [2] * 7  # a row and a decision


async def test_opt_outs_do_not_wait_for_the_topic_of_dead_letters(
    worker: OrderWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a batch with dead letters is not written, the opt-outs of its lane are decided
    meanwhile; what was put off is tried again, and no dead letter is lost.
    """
    monkeypatch.setattr(processor_module, "_PUT_OFF", 0.2)
    await acquired(worker, 0)
    batch = RecordBatch(0, 201, [fetched(offset=0, value=b"rubbish"), *mixed(1, 200).records])
    owned(worker).faults = [fenced()]
    with capture_logs() as logs:
        give(worker, batch)
        await until(lambda: worker.paused == {0} and worker.ready == {0})
        give(worker, batch)
        await until(lambda: owned(worker).commits)
    assert any(one["event"] == "opt-ins put off" for one in logs)
    assert worker.counts["opt-outs"] == worker.counts["Apply"] > 0
    assert owned(worker).next_offsets[TOPIC] == 0
    await until(lambda: worker.paused == frozenset() and worker.ready == {0})
    await decided(worker, batch)
    assert (worker.counts["dead:undecodable"], worker.counts["Apply"]) == (1, 200)


@pytest.mark.usefixtures("ready")
async def test_aborted_batch_is_read_and_decided_again(worker: OrderWorker) -> None:
    """After any abort of a transaction the partition is acquired again, at its position."""
    owned(worker).faults = [fenced(), fenced()]
    for count in (2, 3):
        give(worker, a_batch())
        await until(lambda count=count: owned(worker).acquired == count and worker.ready == {0})
    await decided(worker, a_batch())
    assert len(owned(worker).committed) == 1
    assert worker.counts["aborted"] == 2


@pytest.mark.usefixtures("ready")
async def test_partition_released_by_a_commit_is_acquired_again(worker: OrderWorker) -> None:
    """A partition with something to read back is not left until its next batch."""
    partition = owned(worker)
    partition.after_commit = partition.release
    await decided(worker, a_batch())
    await until(lambda: partition.acquired == 2 and worker.ready == {0})
    assert len(partition.committed) == 1


async def test_state_of_a_revoked_partition_is_closed(worker: OrderWorker) -> None:
    """Another worker on this machine may then have its folder; what is ours stays open."""
    closed: list[int] = []
    for number in (0, 1, 2):
        owned(worker, number).state.close = lambda number=number: closed.append(number)
    await acquired(worker, 0, 1, 2)
    await acquired(worker, 1, 2)
    await until(lambda: closed)
    assert closed == [0]
    await worker.close()
    assert sorted(closed[1:]) == [1, 2]


async def test_state_of_a_returned_partition_stays_open(worker: OrderWorker) -> None:
    """Closing waits for the batch in hand, and is left undone if the partition is ours again."""
    closed: list[int] = []
    await acquired(worker, 0)
    owned(worker).state.close = lambda: closed.append(0)
    partition = await busy(worker)
    await worker.assign([], [])
    await worker.assign([0], [0])
    fail_commit(partition)
    await until(lambda: partition.acquired == 2 and worker.ready == {0})
    assert not closed


@pytest.mark.parametrize(
    ("fault", "alarm_after", "is_reported"),
    [
        (fenced(), 10.0, False),
        (fenced(), 0.0, True),
        (StateError("a newer law"), 10.0, True),
        (ZeroDivisionError("a bug"), 10.0, True),
    ],
)
async def test_partition_that_fails_is_retried_and_reported(
    worker: OrderWorker,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    alarm_after: float,
    is_reported: bool,
) -> None:
    """A person is called once: for what lasts, and at once for what no retry can repair."""
    monkeypatch.setattr(processor_module, "ALARM_AFTER", alarm_after)
    failures = 8
    partition = owned(worker)
    partition.while_acquiring = Mock(side_effect=[*[fault] * failures, None])
    with capture_logs() as logs:
        await acquired(worker, 0)
        await decided(worker, a_batch())
    events = [one["event"] for one in logs]
    assert events.count("partition held back") == events.count("partition resumed") == is_reported
    assert partition.acquired == failures + 1


async def test_failed_acquisition_ends_with_its_assignment(worker: OrderWorker) -> None:
    """What was given away meanwhile is not tried again."""
    owned(worker).while_acquiring = Mock(side_effect=fenced())
    await worker.assign([0], [0])
    await until(lambda: owned(worker).acquired)
    await acquired(worker, 1)
    tried = owned(worker).acquired
    await decided(worker, a_batch(), number=1)
    assert owned(worker).acquired == tried


@pytest.mark.usefixtures("ready")
async def test_batch_of_an_older_assignment_is_dropped(worker: OrderWorker) -> None:
    """A batch that waited during a rebalance is fetched again by the new owner."""
    partition = await busy(worker)
    give(worker, a_batch(1))
    await worker.assign([1], [1])
    fail_commit(partition)
    await until(lambda: partition.released)
    give(worker, a_batch())
    await acquired(worker, 1)
    assert (partition.acquired, partition.committed) == (1, [])


async def test_acquisition_overtaken_by_an_assignment_is_released(worker: OrderWorker) -> None:
    """A partition acquired while it was revoked is not kept, to avoid needless fencing."""
    partition = owned(worker)
    partition.while_acquiring = lambda: worker._processor(0).assign(None)
    await worker.assign([0], [0])
    await until(lambda: partition.released)
    assert (partition.acquired, worker.ready) == (1, frozenset())


async def test_partition_revoked_while_waiting_is_not_acquired(worker: OrderWorker) -> None:
    """An acquisition still in line when the partition goes elsewhere does not fence its owner."""
    partition = owned(worker)
    await worker.assign([0], [0])
    await worker.assign([1], [1])
    await until(lambda: worker.ready == {1})
    assert partition.acquired == 0


async def test_topic_created_anew_is_noticed(worker: OrderWorker) -> None:
    """The consumer would go on in the new topic at the old offset."""
    worker._clients.origin = lambda: "first"  # type: ignore[assignment,return-value]
    await worker.check_topics()
    await acquired(worker, 0)
    owned(worker).origin = "first"
    await worker.check_topics()
    assert owned(worker).acquired == 1
    worker._clients.origin = lambda: "second"  # type: ignore[assignment,return-value]
    await worker.check_topics()
    await until(lambda: owned(worker).acquired == 2 and worker.ready == {0})


async def test_state_that_cannot_be_closed_is_logged(worker: OrderWorker) -> None:
    """The partition is served again when it comes back."""
    owned(worker).state.close = Mock(side_effect=OSError("the disk is full"))
    await acquired(worker, 0)
    with capture_logs() as logs:
        await acquired(worker, 1)
        await until(lambda: [one for one in logs if one["event"] == "state not closed"])
    await acquired(worker, 0, 1)


async def test_topic_ids_that_cannot_be_read_change_nothing(worker: OrderWorker) -> None:
    """A broker that is away says nothing of its topics."""
    await acquired(worker, 0)
    worker._clients.origin = Mock(side_effect=fenced())  # type: ignore[assignment,return-value]
    await worker.check_topics()
    assert (owned(worker).acquired, worker.ready) == (1, {0})


@pytest.mark.usefixtures("ready")
async def test_batch_of_a_closed_worker_is_dropped(worker: OrderWorker) -> None:
    """A batch that comes while the worker ends is dropped, not half done."""
    await worker.close()
    give(worker, a_batch())
    await asyncio.sleep(0.01)
    partition = owned(worker)
    assert (partition.committed, partition.released, worker.ready) == ([], 1, frozenset())


@pytest.mark.usefixtures("ready")
async def test_closing_waits_for_the_batch_in_hand(worker: OrderWorker) -> None:
    """A partition is not taken from under a commit."""
    partition = await busy(worker)
    closing = asyncio.create_task(worker.close())
    await asyncio.sleep(0.01)
    assert (partition.released, closing.done()) == (0, False)
    fail_commit(partition)
    await closing
    assert partition.released == 1


async def test_closing_does_not_wait_for_a_partition_that_is_stuck(
    worker: OrderWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker ends in time though a broker does not answer."""
    monkeypatch.setattr(worker_module, "_CLOSED_WITHIN", 0.01)
    await acquired(worker, 0)
    await busy(worker)
    with capture_logs() as logs:
        await worker.close()
    assert [one["event"] for one in logs] == ["partitions not released in time"]


@pytest.mark.usefixtures("ready")
async def test_metrics_show_what_was_done(worker: OrderWorker) -> None:
    """Decisions by kind, dead letters by reason, and what is held, under fixed names."""
    records = [*a_batch().records, fetched(offset=1, value=b"rubbish")]
    await decided(worker, RecordBatch(0, 2, records))
    lanes = {"bulk": TOPIC, "express": "express"}
    lags, held = {TOPIC: 3, "express": 0}, {TOPIC: 0.0, "express": 6.5}
    watch = SimpleNamespace(lag=lags.get, held_for=held.get)
    metrics = WorkerMetrics(worker, lanes, cast("LaneWatch", watch))
    shown = generate_latest(metrics.registry).decode()
    for line in (
        'izin_order_decisions_total{kind="apply"} 1.0',
        'izin_order_dead_letters_total{reason="undecodable"} 1.0',
        "izin_order_opt_outs_total 0.0",
        "izin_order_records_total 2.0",
        "izin_order_batches_total 1.0",
        "izin_order_acquisitions_total 1.0",
        "izin_order_partitions_ready 1.0",
        "izin_order_partitions_assigned 1.0",
        "izin_order_partitions_paused 0.0",
        "izin_order_keys 1.0",
        "izin_order_batch_records_count 1.0",
        "izin_order_batch_records_sum 2.0",
        "izin_order_commit_seconds_count 1.0",
        'izin_order_lag{lane="bulk"} 3.0',
        'izin_order_lag{lane="express"} 0.0',
        'izin_order_open_transaction_seconds{lane="express"} 6.5',
    ):
        assert line in shown.splitlines()
    assert f"izin_order_state_bytes {float(worker.state_bytes)}" in shown.splitlines()
    assert worker.state_bytes > 0


def test_running_worker_collects_garbage_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch makes more objects than Python expects of a whole program."""
    seen: list[int] = []

    ended = SimpleNamespace(execute_from_commandline=lambda: seen.append(gc.get_threshold()[0]))
    before = gc.get_threshold()
    gc.set_threshold(700)  # Python's own, whatever other tests have left
    monkeypatch.setattr(app_module, "topic_faults", lambda _: [])
    monkeypatch.setattr(app_module, "create_app", lambda *_: None)
    monkeypatch.setattr(
        app_module, "BoundedShutdown", lambda: None
    )  # it keeps signals from this process
    monkeypatch.setattr(app_module, "_Worker", lambda *_, **__: ended)
    try:
        app_module.run(KafkaSettings(), StreamSettings(), CODEC)
    finally:
        gc.set_threshold(*before)
    assert seen[0] > 50 * 700


def test_worker_on_a_taken_port_ends_with_the_remedy() -> None:
    """Before it asks Kafka for anything; Faust would end with a traceback."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "izin.streams"],
            env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "IZIN_STREAM_PORT": port},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 4
    assert f"127.0.0.1:{port}: the port is taken; set IZIN_STREAM_PORT" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
