"""One partition number of a worker: its batches decided one after the other, its faults its own.

Each assignment has a generation. A partition is decided upon only while it was acquired under the
current one; whatever aborts a transaction, and whatever else goes wrong, makes it be acquired
again, as often as it takes and as long as it is assigned. Meanwhile it alone is held back: nothing
more of it is fetched, and every other partition of the worker goes on.

Where a batch with dead letters could not be written, their topic may be what refuses it. Then
nothing is lost and no opt-out waits for it either: for a while the opt-outs alone are decided.

Where our own code fails on too many records, the opt-ins (ONAY) of the lane wait for a person: its
next offset stays, and of what comes the opt-outs (RET) alone are decided. The law knows no order of
arrival, so whatever is decided later gives the same state. The opt-outs are left out of it then.

A batch begins exactly where the last one ended, or the partition is acquired again: its topic may
have been created anew, or may have lost records, which the acquisition finds out.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from operator import itemgetter

from confluent_kafka import KafkaException

from izin.consent import OurError
from izin.runtime.backoff import Backoff
from izin.runtime.dead_letter_budget import LatestRecords
from izin.runtime.logs import get_logger
from izin.runtime.process import in_daemon_thread
from izin.streams.engine.gate import FetchGate, Lane, RecordBatch
from izin.streams.errors import DeadLetterBudgetError, SkippedRecordsError
from izin.streams.fetched_record import FetchedRecord
from izin.streams.order import OrderStage
from izin.streams.ownership import DEAD_LETTER, Effects, LanePosition, OwnedPartition

ALARM_AFTER = 10.0
"""Seconds of failures before a person is called; what no retry can repair calls at once."""
_BACKOFF = Backoff(timedelta(milliseconds=200), timedelta(seconds=2))
_FOLDED_AT_ONCE = 100
"""Records whose outputs are sent while the next are folded, and after which others have a turn."""
_FOLDED_WITHIN = 0.01
_BYTES_AT_ONCE = 256 * 1024
"""The same: seconds, and bytes of their values, after the record with which they are reached."""
_PUT_OFF = 20.0
"""Seconds for which the opt-ins of a lane wait whose dead letters could not be written."""

_FOR_A_PERSON = float("inf")

_log = get_logger(__name__)
_TURN_ENDS = 1.0
"""Seconds after which a turn ends in any case: a broker that does not take what is folded holds up
no other partition, and neither does a partition that is busy when its turn comes."""


class Turns:
    """Whose bulk is folded next: one partition's at a time, in the order of asking.

    Folding keeps the event loop busy. Were the batches of all partitions folded side by side, each
    would take as long as all of them, and an opt-out waits for the batch in hand of its partition.
    What is urgent takes no turn. Who asks is an event, set when its turn comes.
    """

    def __init__(self) -> None:
        self._queue = deque[asyncio.Event]()
        self._end: asyncio.TimerHandle | None = None

    def is_mine(self, asker: asyncio.Event) -> bool:
        """Ask for a turn, unless it was asked for; return whether it has come."""
        if asker not in self._queue:
            self._queue.append(asker)
            self._limit()
        return self._queue[0] is asker

    def give_back(self, asker: asyncio.Event) -> None:
        """End the turn of ``asker``, or let it pass when it would come."""
        if asker in self._queue:
            if self._end is not None and self._queue[0] is asker:
                self._end.cancel()
                self._end = None
            self._queue.remove(asker)
            if self._queue:
                self._queue[0].set()
                self._limit()

    def _limit(self) -> None:
        if self._end is None:
            loop, first = asyncio.get_running_loop(), self._queue[0]
            self._end = loop.call_later(_TURN_ENDS, self.give_back, first)


class TimedSlice:
    """The records from ``end`` on that are folded before others have a turn."""

    def __init__(self, records: Sequence[FetchedRecord], end: int) -> None:
        self._records = records
        self.end = end
        """Behind the last of them that was folded."""

    def __iter__(self) -> Iterator[FetchedRecord]:
        until, size = time.perf_counter() + _FOLDED_WITHIN, 0
        for record in self._records[self.end : self.end + _FOLDED_AT_ONCE]:
            self.end += 1
            yield record
            size += len(record.value or b"")
            if size >= _BYTES_AT_ONCE or time.perf_counter() >= until:
                return


class PartitionProcessor:
    """Acquires a partition number whenever it is assigned, and decides its batches."""

    def __init__(  # noqa: PLR0913  # what it owns, and what it shares with the others
        self,
        owned: OwnedPartition,
        *,
        lanes: Sequence[str],
        stage: OrderStage,
        gate: FetchGate,
        acquiring: asyncio.Semaphore,
        turns: Turns,
        latest: LatestRecords,
        counts: Counter[str],
    ) -> None:
        self.owned = owned
        self.commit_seconds = 0.0
        self._stage = stage
        self._gate = gate
        self._acquiring = acquiring
        self._latest = latest
        self._counts = counts
        self._lanes: Sequence[Lane] = [(lane, owned.number) for lane in lanes]
        """The most urgent first."""
        self._waiting: Mapping[str, deque[RecordBatch]] = {lane: deque() for lane in lanes}
        self._opening = 0
        """At the gate; 0: it is closed."""
        self._generation: int | None = None
        self._serving: int | None = None
        self._is_closing = False
        self._changed = asyncio.Event()
        self._turns = turns
        self._is_passed_over = False
        """Whether bulk waits that the last transaction left out."""
        self._failures = 0
        self._failing_since = 0.0
        self._is_reported = False
        self._opt_outs_only: dict[str, float] = {}
        """The lanes whose opt-ins wait: until when, by ``time.monotonic``, or for a person."""

    @property
    def is_ready(self) -> bool:
        """Whether batches are decided as they come."""
        return self._opening > 0 and self._serving == self._generation

    @property
    def is_paused(self) -> bool:
        """Whether opt-ins wait for a person."""
        return bool(self._opt_outs_only)

    def assign(self, generation: int | None) -> None:
        """Serve ``generation``; None: the partition is another worker's."""
        self._generation = generation
        self._changed.set()

    def close(self) -> None:
        """End :meth:`run` after the batch in hand."""
        self._is_closing = True
        self.assign(None)

    def add(self, lane: str, batch: RecordBatch) -> None:
        """Decide ``batch`` in its turn, unless it was fetched before the partition was acquired."""
        if batch.opening == self._opening:
            self._waiting[lane].append(batch)
            self._gate.hold((lane, self.owned.number))
            self._changed.set()

    async def run(self) -> None:
        """Serve one generation after the other until closed."""
        while not self._is_closing:
            if self._generation is None:
                await self._until_changed()
            else:
                await self._serve(self._generation)
                await in_daemon_thread(self._close_state, name="close-state")
        await self.owned.closed()

    def _close_state(self) -> None:
        """Release the state's folder, unless the partition came back at once."""
        try:
            if self._generation is None:
                self.owned.state.close()
        except Exception:  # noqa: BLE001  # the partition is served again when it comes back
            _log.critical("state not closed", partition=self.owned.number, exc_info=True)

    async def _until_changed(self, limit: float | None = None) -> None:
        """Wait for a batch or an assignment, at most ``limit`` seconds."""
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), limit)

    async def _serve(self, generation: int) -> None:
        """Acquire and decide for as long as ``generation`` is the current one."""
        self._serving = generation
        self._failures, self._is_reported = 0, False
        self._opt_outs_only.clear()
        try:
            while self._generation == generation:
                try:
                    await self._acquire(generation)
                    await self._decide(generation)
                except Exception as error:  # noqa: BLE001  # held back alone, whatever it is
                    self._lose()
                    self._report(error)
                    await self._pause(generation)
        finally:
            self._lose()

    async def _acquire(self, generation: int) -> None:
        self._lose()
        async with self._acquiring:
            if self._generation != generation:  # to acquire it now would fence its new owner
                return
            await self.owned.acquire()
        if self._generation == generation:
            self._opening = self._gate.open({lane: self._start(lane[0]) for lane in self._lanes})
            self._counts["acquisitions"] += 1

    def _start(self, lane: str) -> int:
        """Return the offset that the next batch of ``lane`` begins at."""
        position = self.owned.positions[lane]
        return position.opt_outs_from if lane in self._opt_outs_only else position.next_offset

    def _lose(self) -> None:
        """Close the gate and drop what waits: it is read again."""
        self._gate.close(self._lanes)
        self._opening = 0
        for batches in self._waiting.values():
            batches.clear()
        self._turns.give_back(self._changed)
        self.owned.release()

    async def _pause(self, generation: int) -> None:
        """Wait before the next attempt, or until another generation begins."""
        limit = time.monotonic() + _BACKOFF.after(self._failures).total_seconds()
        while self._generation == generation and (left := limit - time.monotonic()) > 0:
            await self._until_changed(left)

    async def _decide(self, generation: int) -> None:
        """Decide batches until another generation begins, or the partition must be read back, also
        for what was put off.
        """
        while self._generation == generation and self.owned.is_acquired:
            now = time.monotonic()
            over = [lane for lane, until in self._opt_outs_only.items() if until <= now]
            for lane in over:
                del self._opt_outs_only[lane]
            if over:
                return
            found = self._next()
            if found is None:
                until = min(self._opt_outs_only.values(), default=_FOR_A_PERSON)
                await self._until_changed(None if until == _FOR_A_PERSON else until - now)
            else:
                await self._decide_batch(*found)

    def _next(self) -> tuple[str, RecordBatch] | None:
        """Return the next batch and its lane.

        The urgent lane goes first, and takes no turn; but not twice while bulk waits, in which
        there may be opt-outs too: what is urgent joins that.
        """
        urgent, bulk = (self._waiting[lane] for lane, _ in self._lanes)
        if bulk and (self._is_passed_over or not urgent) and self._turns.is_mine(self._changed):
            self._is_passed_over = False
            return self._take(self._lanes[1])
        if urgent:
            self._is_passed_over = bool(bulk)
            return self._take(self._lanes[0])
        return None

    def _take(self, lane: Lane) -> tuple[str, RecordBatch]:
        """Return a batch that waits, with its lane; more of the lane may be fetched meanwhile."""
        waiting = self._waiting[lane[0]]
        batch = waiting.popleft()
        if not waiting:
            self._gate.release(lane)
        return lane[0], batch

    async def _decide_batch(self, topic: str, batch: RecordBatch) -> None:
        effects = Effects()
        try:
            await self._fold_and_commit(topic, batch, effects)
        except KafkaException:
            if any(name.startswith(DEAD_LETTER) for name in effects.counts):
                self._put_off_opt_ins()
            raise
        self._count(effects, topic)

    def _put_off_opt_ins(self) -> None:
        """Decide the opt-outs alone of lanes of which all is decided, for a while."""
        lanes = [lane for lane, _ in self._lanes if lane not in self._opt_outs_only]
        self._opt_outs_only |= dict.fromkeys(lanes, time.monotonic() + _PUT_OFF)
        _log.critical(
            "opt-ins put off",
            partition=self.owned.number,
            why="dead letters were not written: can their topic be written to?",
            effect="they are tried again; opt-outs and the other partitions go on",
        )

    async def _fold_and_commit(self, topic: str, batch: RecordBatch, effects: Effects) -> None:
        urgent = self._lanes[0][0]
        decided = {topic: await self._fold(topic, batch, effects)}
        if topic != urgent:
            self._turns.give_back(self._changed)
            if self._waiting[urgent]:
                # What came meanwhile does not wait for a transaction of its own.
                decided[urgent] = await self._fold(*self._take(self._lanes[0]), effects)
        began = time.perf_counter()
        positions = {
            lane: self._position(lane, one.next_offset, effects) for lane, one in decided.items()
        }
        await self.owned.commit(effects, positions)
        self.commit_seconds += time.perf_counter() - began

    def _position(self, lane: str, end: int, effects: Effects) -> LanePosition:
        """Return the position of ``lane`` once its records below ``end`` are folded."""
        position = self.owned.positions[lane]
        if lane not in self._opt_outs_only:
            return position.decided(end)
        unsettled = (offset for topic, offset in effects.unsettled if topic == lane)
        return position.opt_outs_decided(end, unsettled)

    async def _fold(self, topic: str, batch: RecordBatch, effects: Effects) -> RecordBatch:
        """Fold and send ``batch``, less of it where others wait; return what was folded. Raises
        SkippedRecordsError and DeadLetterBudgetError.
        """
        owned, records, urgent = self.owned, batch.records, self._lanes[0][0]
        position, before = owned.positions[topic], effects.records
        effects.records += len(records)
        expected = self._start(topic)
        if batch.start != expected:
            raise SkippedRecordsError(
                f"{topic}[{owned.number}]: expected offset {expected}, got a batch from "
                f"{batch.start}; it is read again from there, after the topic's id was checked"
            )
        start = 0
        while start < len(records):
            is_cut = topic != urgent and self._waiting[urgent]
            if start and (is_cut or self._generation != self._serving):
                effects.records, (batch, rest) = before + start, batch.split(start)
                self._waiting[topic].appendleft(rest)
                self._gate.hold((topic, owned.number))
                break
            some = TimedSlice(records, start)
            if topic in self._opt_outs_only:
                self._stage.fold_opt_outs(owned.number, some, owned.state, effects)
            elif batch.start < position.opt_outs_below:
                settled = position.has_settled
                self._stage.fold_rest(owned.number, some, owned.state, effects, settled)
            else:
                self._stage.fold(owned.number, some, owned.state, effects)
            start = some.end
            source = self._latest.exceeded_by(effects.suspects, effects.records)
            if source is not None and topic not in self._opt_outs_only:
                self._opt_outs_only[topic] = _FOR_A_PERSON
                raise DeadLetterBudgetError(
                    *(topic, owned.number, source),
                    self._latest.suspects[source] + effects.suspects[source],
                    self._latest.records + effects.records,
                )
            await owned.write(effects)
        return batch

    def _count(self, effects: Effects, topic: str) -> None:
        if self._is_reported:
            _log.warning("partition resumed", partition=self.owned.number)
        self._failures, self._is_reported = 0, False
        self._latest.add(effects.suspects, effects.records)
        self._counts.update(effects.counts)
        self._counts["batches"] += 1
        self._counts["records"] += effects.records
        for lane, alarms in groupby(effects.alarms, key=itemgetter(0)):
            offsets = [offset for _, _, offset in alarms]
            _log.critical(
                "opt-out dead-lettered",
                remedy="izin dead-letters lists what is, or may be, an opt-out (RET)",
                topic=lane,
                partition=self.owned.number,
                offset=offsets[0],
                count=len(offsets),
            )
        reasons = {
            name.removeprefix(DEAD_LETTER): count
            for name, count in effects.counts.items()
            if name.startswith(DEAD_LETTER)
        }
        others = sum(reasons.values()) - len(effects.alarms)
        if others:
            _log.warning("records dead-lettered", topic=topic, count=others, reasons=reasons)

    def _report(self, error: Exception) -> None:
        """Log a failure; a person is called for what lasts, and for what no retry can repair."""
        number, now = self.owned.number, time.monotonic()
        self._failures += 1
        if self._failures == 1:
            self._failing_since = now
        if isinstance(error, DeadLetterBudgetError):
            effect = "its opt-ins wait; its opt-outs and the other partitions go on"
            _log.critical("opt-ins paused", partition=number, error=str(error), effect=effect)
            return
        if is_passing := isinstance(error, KafkaException):
            self._counts["aborted"] += 1
            _log.warning("transaction aborted", partition=number, error=error.args[0].str())
        if not self._is_reported and not (is_passing and now - self._failing_since < ALARM_AFTER):
            self._is_reported = True
            _log.critical(
                "partition held back",
                partition=number,
                error=str(error),
                effect="its records wait, opt-outs too; the other partitions go on",
                exc_info=not isinstance(error, KafkaException | OurError),
            )
