"""Which batches a worker decides, which it drops, and what stops it."""

import asyncio
import gc
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.streams.engine import app as app_module
from izin.streams.engine import worker as worker_module
from izin.streams.engine.metrics import WorkerMetrics
from izin.streams.engine.transport import RecordBatch
from izin.streams.engine.worker import MAX_ATTEMPTS, OrderWorker
from izin.streams.errors import (
    DeadLetterBudgetError,
    LostPartitionError,
    SkippedRecordsError,
    SplitLanesError,
    StateError,
)
from izin.streams.ownership.effects import Effects, OutputRecord
from izin.streams.state.state import MemoryState
from tests.support.builders import an_event
from tests.support.order_harness import CODEC, EXPRESS, TOPIC, a_record, fetched


class PartitionWithoutBroker:
    """An owned partition without a broker; `faults` are raised by its next commits."""

    def __init__(self, number: int, **_: object) -> None:
        self.number = number
        self.state = MemoryState()
        self.lock = asyncio.Lock()
        self.generation: int | None = None
        self.next_offsets: dict[str, int] = defaultdict(int)
        self.acquired = 0
        self.released = 0
        self.written: list[OutputRecord] = []
        self.committed: list[tuple[str, int, Effects]] = []
        self.faults: list[Exception] = []
        self.while_acquiring: Any = lambda: None
        self.while_committing: Any = lambda: None

    def acquire(self) -> None:
        self.acquired += 1
        self.while_acquiring()

    def release(self) -> None:
        self.released += 1
        self.generation = None

    def write(self, effects: Effects) -> None:
        self.written.extend(effects.writes)
        effects.writes.clear()

    def commit(self, effects: Effects, *, topic: str, next_offset: int) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.state.apply(effects.changes, next_offset)
        self.next_offsets[topic] = next_offset
        self.committed.append((topic, next_offset, effects))
        self.while_committing()


def fenced() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._FENCED, "fenced"))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> OrderWorker:
    """Return a worker whose partitions need no broker."""
    monkeypatch.setattr(worker_module, "OwnedPartition", PartitionWithoutBroker)
    monkeypatch.setattr(
        worker_module, "SharedClients", lambda *_: SimpleNamespace(close=lambda: None)
    )
    # One partition of a topic: every key belongs to it.
    return OrderWorker(settings=KafkaSettings(partitions=1), group="group", codec=CODEC)


def owned(worker: OrderWorker, number: int = 0) -> Any:  # noqa: ANN401  # the stand-in above
    return worker._owned(number)


def a_batch(start: int = 0, count: int = 1, *, next_offset: int | None = None) -> RecordBatch:
    records = [
        a_record(an_event(event_id=f"event-{offset}"), offset=offset)
        for offset in range(start, start + count)
    ]
    return RecordBatch(start, next_offset or start + count, records)


async def settled(worker: OrderWorker) -> None:
    await asyncio.gather(*worker._tasks)


async def test_assigned_partition_is_acquired_before_its_first_batch(worker: OrderWorker) -> None:
    """What was assigned becomes ready without waiting for records."""
    await worker.assign([0, 1], [0, 1])
    assert (worker.assigned, worker.ready) == ({0, 1}, frozenset())
    await settled(worker)
    assert worker.ready == {0, 1}


async def test_split_lanes_raise(worker: OrderWorker) -> None:
    """Lanes given to two workers would decide a recipient in two places."""
    with pytest.raises(SplitLanesError, match=r"\[1, 2\]"):
        await worker.assign([0, 1], [0, 2])
    assert worker.assigned == frozenset()


async def test_batch_handled_twice_is_committed_once(worker: OrderWorker) -> None:
    """The same batch again, as after a rebalance, is below the committed offset: dropped."""
    await worker.assign([0], [0])
    await worker.handle(TOPIC, 0, a_batch(0, 3, next_offset=4))
    await worker.handle(TOPIC, 0, a_batch(0, 3, next_offset=4))
    ((topic, next_offset, effects),) = owned(worker).committed
    assert (topic, next_offset) == (TOPIC, 4)
    assert owned(worker).written
    assert not effects.writes
    assert (worker.counts["batches"], worker.counts["records"]) == (1, 3)


async def test_records_below_the_committed_offset_are_dropped(worker: OrderWorker) -> None:
    """Of a batch that overlaps what was decided, only the rest is decided."""
    await worker.assign([0], [0])
    await settled(worker)
    owned(worker).next_offsets[TOPIC] = 2
    await worker.handle(TOPIC, 0, a_batch(0, 5))
    assert worker.counts["records"] == 3
    assert owned(worker).next_offsets[TOPIC] == 5


async def test_hole_before_a_batch_raises(worker: OrderWorker) -> None:
    """Records that nobody processed are never skipped."""
    await worker.assign([0], [0])
    await worker.handle(TOPIC, 0, a_batch(0, 2))
    with pytest.raises(SkippedRecordsError, match="expected offset 2, got a batch from 4"):
        await worker.handle(TOPIC, 0, a_batch(4, 2))
    assert len(owned(worker).committed) == 1


async def test_dead_letters_are_logged_by_lane(worker: OrderWorker) -> None:
    """Each of the express lane needs a person; of the bulk lane a batch with any is one warning."""
    await worker.assign([0], [0])
    for lane in (EXPRESS, TOPIC):
        rubbish = [fetched(topic=lane, offset=offset, value=b"rubbish") for offset in (0, 1)]
        with capture_logs() as logs:
            await worker.handle(lane, 0, RecordBatch(0, 2, rubbish))
        found = [(one["log_level"], one.get("offset"), one.get("count")) for one in logs]
        if lane == EXPRESS:
            assert found == [("critical", 0, None), ("critical", 1, None)]
        else:
            assert found == [("warning", None, 2)]
            assert logs[0]["reasons"] == {"undecodable": 2}
    with capture_logs() as logs:
        await worker.handle(TOPIC, 0, a_batch(2))
    assert logs == []


async def test_too_many_dead_letters_raise_before_the_commit(worker: OrderWorker) -> None:
    """After a bad deploy the topic must not be emptied into the dead letters."""
    await worker.assign([0], [0])
    await worker.handle(TOPIC, 0, a_batch(0, 300))
    rubbish = [fetched(offset=offset, value=b"rubbish") for offset in range(300, 450)]
    with pytest.raises(DeadLetterBudgetError, match="150 of the latest 450") as raised:
        await worker.handle(TOPIC, 0, RecordBatch(300, 450, rubbish))
    assert "IZIN_DEAD_LETTER_SHARE" in str(raised.value)
    assert owned(worker).next_offsets[TOPIC] == 300


async def test_refused_events_of_a_source_do_not_raise(worker: OrderWorker) -> None:
    """A refused ONAY is its source's fault; the opt-outs of the others go on."""
    await worker.assign([0], [0])
    refused = [a_record(an_event(source="HS_NOWHERE"), offset=offset) for offset in range(300)]
    await worker.handle(TOPIC, 0, RecordBatch(0, 300, refused))
    assert worker.counts["dead:refused"] == 300


async def test_lost_partition_is_acquired_again_for_its_batch(worker: OrderWorker) -> None:
    """After any abort of a transaction the partition is acquired again, then decided."""
    await worker.assign([0], [0])
    await settled(worker)
    owned(worker).faults = [fenced(), fenced()]
    await worker.handle(TOPIC, 0, a_batch())
    assert owned(worker).acquired == 3
    assert len(owned(worker).committed) == 1
    assert worker.counts["aborted"] == 2


async def test_commit_that_succeeded_after_all_is_not_repeated(worker: OrderWorker) -> None:
    """A time-out may hide a commit: the committed offset, read again, shows it."""
    await worker.assign([0], [0])
    await settled(worker)
    partition = owned(worker)
    partition.faults = [fenced()]
    partition.while_acquiring = lambda: partition.next_offsets.update({TOPIC: 1})
    await worker.handle(TOPIC, 0, a_batch())
    assert not partition.committed


async def test_partition_released_by_a_commit_is_acquired_again(worker: OrderWorker) -> None:
    """A partition with something to read back is not left until its next batch, nor is the batch
    decided twice.
    """
    await worker.assign([0], [0])
    await settled(worker)
    partition = owned(worker)
    partition.while_committing = partition.release
    await worker.handle(TOPIC, 0, a_batch())
    assert (partition.acquired, len(partition.committed)) == (2, 1)
    assert worker.ready == {0}


async def test_state_of_a_revoked_partition_is_closed(worker: OrderWorker) -> None:
    """Another worker on this machine may then have its folder; what is ours stays open."""
    closed: list[int] = []
    for number in (0, 1, 2):
        owned(worker, number).state.close = lambda number=number: closed.append(number)
    await worker.assign([0, 1, 2], [0, 1, 2])
    await settled(worker)
    await worker.assign([1, 2], [1, 2])
    await settled(worker)
    assert closed == [0]
    await worker.close()
    assert sorted(closed[1:]) == [0, 1, 2]


async def test_state_of_a_returned_partition_stays_open(worker: OrderWorker) -> None:
    """Closing waits for the batch in hand, and is left undone if the partition is ours again."""
    closed: list[int] = []
    partition = owned(worker)
    partition.state.close = lambda: closed.append(0)
    await worker.assign([0], [0])
    await settled(worker)
    async with partition.lock:
        await worker.assign([1], [1])
        await asyncio.sleep(0)
        await worker.assign([0, 1], [0, 1])
    await settled(worker)
    assert not closed
    assert worker.ready == {0, 1}


async def test_partition_lost_again_and_again_raises(worker: OrderWorker) -> None:
    """Lost again and again, the partition stops the worker instead of spinning."""
    await worker.assign([0], [0])
    await settled(worker)
    owned(worker).faults = [fenced()] * 50
    with pytest.raises(LostPartitionError):
        await worker.handle(TOPIC, 0, a_batch())
    assert 50 - len(owned(worker).faults) == MAX_ATTEMPTS


async def test_fault_other_than_the_brokers_is_raised(worker: OrderWorker) -> None:
    """A state that cannot be honoured is not tried again."""
    await worker.assign([0], [0])
    await settled(worker)
    owned(worker).faults = [StateError("no state of ours")]
    with pytest.raises(StateError):
        await worker.handle(TOPIC, 0, a_batch())


async def test_batch_of_an_older_assignment_is_dropped(worker: OrderWorker) -> None:
    """A batch that waited during a rebalance is fetched again by the new owner."""
    await worker.assign([0], [0])
    await settled(worker)
    partition = owned(worker)
    async with partition.lock:
        waiting = asyncio.create_task(worker.handle(TOPIC, 0, a_batch()))
        await asyncio.sleep(0)
        await worker.assign([0], [0])
    await waiting
    assert not partition.committed


async def test_batch_of_a_revoked_partition_is_dropped(worker: OrderWorker) -> None:
    """What is no longer ours is neither acquired nor decided, and was let go."""
    await worker.assign([0], [0])
    await settled(worker)
    await worker.assign([1], [1])
    await worker.handle(TOPIC, 0, a_batch())
    partition = owned(worker)
    assert (partition.acquired, partition.released, partition.committed) == (1, 1, [])


async def test_acquisition_overtaken_by_an_assignment_is_released(worker: OrderWorker) -> None:
    """A partition acquired while it was revoked is not kept, to avoid needless fencing."""
    partition = owned(worker)
    partition.while_acquiring = lambda: setattr(worker, "generation", worker.generation + 1)
    await worker.assign([0], [0])
    await settled(worker)
    assert (partition.acquired, partition.released) == (1, 1)
    assert worker.ready == frozenset()


async def test_partition_revoked_while_waiting_is_not_acquired(worker: OrderWorker) -> None:
    """A preparation still in line when the partition goes elsewhere does not fence its owner."""
    partition = owned(worker)
    async with partition.lock:
        await worker.assign([0], [0])
        await asyncio.sleep(0)
        await worker.assign([1], [1])
    await settled(worker)
    assert partition.acquired == 0


async def test_failed_acquisition_is_retried_without_a_batch(worker: OrderWorker) -> None:
    """An idle partition becomes ready too once its broker is back, without a new record."""
    trouble = [fenced(), fenced()]

    def stumble() -> None:
        if trouble:
            raise trouble.pop()

    owned(worker).while_acquiring = stumble
    await worker.assign([0], [0])
    await settled(worker)
    assert owned(worker).acquired == 3
    assert worker.ready == {0}


async def test_failed_acquisition_ends_with_its_assignment(worker: OrderWorker) -> None:
    """What was given away meanwhile is not tried again."""

    def stumble() -> None:
        worker.generation += 1
        raise fenced()

    owned(worker).while_acquiring = stumble
    await worker.assign([0], [0])
    await settled(worker)
    assert owned(worker).acquired == 1


async def test_unusable_state_is_logged_and_raised_by_the_batch(worker: OrderWorker) -> None:
    """The preparation survives it; the first batch stops the worker."""

    def refuse() -> None:
        raise StateError("decided by a newer law")

    owned(worker).while_acquiring = refuse
    await worker.assign([0], [0])
    await settled(worker)
    with pytest.raises(StateError):
        await worker.handle(TOPIC, 0, a_batch())


async def test_batch_of_a_closed_worker_is_dropped(worker: OrderWorker) -> None:
    """A batch that comes while the worker ends is dropped, not half done."""
    await worker.assign([0], [0])
    await settled(worker)
    await worker.close()
    await worker.handle(TOPIC, 0, a_batch())
    partition = owned(worker)
    assert (partition.committed, partition.released, worker.ready) == ([], 1, frozenset())


async def test_closing_waits_for_the_batch_in_hand(worker: OrderWorker) -> None:
    """A partition is not taken from under a commit."""
    await worker.assign([0], [0])
    await settled(worker)
    partition = owned(worker)
    async with partition.lock:
        closing = asyncio.create_task(worker.close())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert partition.released == 0
    await closing
    assert partition.released == 1


async def test_metrics_show_what_was_done(worker: OrderWorker) -> None:
    """Decisions by kind, dead letters by reason, and what is held, under fixed names."""
    await worker.assign([0], [0])
    await settled(worker)
    records = [*a_batch().records, fetched(offset=1, value=b"rubbish")]
    await worker.handle(TOPIC, 0, RecordBatch(0, 2, records))
    ends = {"express": 7}
    lanes = {"bulk": TOPIC, "express": "express", "other": "other"}
    metrics = WorkerMetrics(worker, lanes, lambda topic, _: ends.get(topic, 5))
    owned(worker).next_offsets["express"] = 7
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
        "izin_order_keys 1.0",
        "izin_order_batch_records_count 1.0",
        "izin_order_batch_records_sum 2.0",
        "izin_order_commit_seconds_count 1.0",
        'izin_order_lag{lane="bulk"} 3.0',
        'izin_order_lag{lane="express"} 0.0',
    ):
        assert line in shown.splitlines()
    assert f"izin_order_state_bytes {float(worker.state_bytes)}" in shown.splitlines()
    assert worker.state_bytes > 0


def test_running_worker_collects_garbage_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch makes more objects than Python expects of a whole program."""
    seen: list[int] = []

    class Ends:
        def __init__(self, *_: object, **__: object) -> None:
            """Take what Faust's worker takes."""

        def execute_from_commandline(self) -> None:
            seen.append(gc.get_threshold()[0])

    before = gc.get_threshold()
    monkeypatch.setattr(app_module, "topic_faults", lambda _: [])
    monkeypatch.setattr(app_module, "create_app", lambda *_: None)
    monkeypatch.setattr(
        app_module, "BoundedShutdown", lambda: None
    )  # it keeps signals from this process
    monkeypatch.setattr(app_module, "_Worker", Ends)
    try:
        app_module.run(KafkaSettings(), StreamSettings(), CODEC)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
    assert seen[0] > 100 * before[0]
