"""The order workers under test: their fault points and clocks; woken, restarted and ended, whatever
is done to them meanwhile.
"""

import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException

from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.streams.engine.watches import EXIT_STALLED
from tests.chaos.order.faults import LastingFaults
from tests.chaos.order.instrumented_worker import TRIGGER, FaultTrigger
from tests.chaos.order.skewed_worker import CLOCK, SET
from tests.support.hostile.small_disk import SmallDisk
from tests.support.order.harness import Traffic
from tests.support.order.verdict import Outage, Worker, backlog

_SETTLED_WITHIN = 25.0
_FEW = 100
"""Undecided events of a partition: those of some seconds."""
SKEWS = (-600, 0, 600)
"""Seconds by which the clock of a worker may be ahead."""
_MOST_AT_ONCE = 2000


class InstrumentedWorker(Worker):
    """An order worker with a trigger at each of its fault points, and a clock of its own."""

    def __init__(
        self,
        name: str,
        settings: KafkaSettings,
        folder: Path,
        *,
        skew: int = 0,
        disk: SmallDisk | None = None,
    ) -> None:
        self.is_on_disk = disk is not None
        on_disk = disk and {
            "IZIN_STATE": "rocksdb",
            "IZIN_STATE_FOLDER": str(disk.folder / "state"),
        }
        self.trigger = FaultTrigger(folder / f"{name}.trigger")
        self._clock = folder / f"{name}.clock"
        self._set(skew)
        super().__init__(
            name,
            settings,
            folder / f"{name}.log",
            module=f"{__package__}.skewed_worker",
            environment={
                TRIGGER: str(folder / f"{name}.trigger"),
                CLOCK: str(self._clock),
                **(on_disk or {}),
            },
        )

    def start(self) -> None:
        self._has_answered = False
        super().start()

    def kill(self) -> None:
        self._has_answered = False
        super().kill()

    def is_up(self) -> bool:
        """Return whether it has answered since it was started."""
        self._has_answered = self._has_answered or "keys" in self.health()
        return self._has_answered

    def _set(self, skew: int) -> None:
        self.skew = skew
        draft = self._clock.with_suffix(".draft")
        draft.write_text(str(skew), encoding="utf-8")
        draft.replace(self._clock)

    def move_clock(self, skew: int) -> None:
        """Let its clock jump, and be so far ahead from now on."""
        self._set(skew)
        self.send(SET)

    def keep_log(self, number: int) -> Path:
        """Copy its log, of an end that nobody asked for, and return the copy."""
        kept = self.log.with_name(f"end-{number}-{self.name}-{self.process.returncode}.txt")
        shutil.copy(self.log, kept)
        return kept


class Lookout(threading.Thread):
    """Notes the times in which every worker is down by a fault: killed and not up again, frozen, or
    cut off, which `is_stopped` tells. Workers that are up and idle are not down.
    """

    def __init__(
        self,
        workers: Sequence[InstrumentedWorker],
        *,
        is_stopped: Callable[[InstrumentedWorker], bool],
        outage: Callable[[], Outage],
    ) -> None:
        super().__init__(name="lookout", daemon=True)
        self._workers = workers
        self._is_stopped = is_stopped
        self._outage = outage
        self._ended = threading.Event()

    def run(self) -> None:
        current: Outage | None = None
        while not self._ended.wait(0.1):
            if not all(self._is_stopped(one) or not one.is_up() for one in self._workers):
                if current is not None:
                    current.ended, current = time.time(), None
            elif current is None:
                current = self._outage()

    def end(self) -> None:
        """Stop; an outage that lasts goes on for ever."""
        self._ended.set()
        self.join(30)


class SupervisedWorkers:
    """Workers, and how each of them ended."""

    def __init__(
        self,
        workers: list[InstrumentedWorker],
        settings: KafkaSettings,
        lasting: LastingFaults,
        random: Random,
        on_progress: Callable[[str], None],
    ) -> None:
        self.workers = workers
        self.settings = settings
        self.lasting = lasting
        self.ended: Counter[str] = Counter()
        """Workers that ended by themselves, by exit status, or not by themselves in time."""
        self.end_statuses: Counter[int] = Counter()
        self.end_seconds: list[float] = []
        """From each SIGTERM to the end of the process."""
        self._random = random
        self._on_progress = on_progress
        self._frozen: dict[InstrumentedWorker, float] = {}
        self._armed_worker: InstrumentedWorker | None = None
        """The worker whose trigger is armed: its end is not restarted by `supervise`."""
        self._lookout = Lookout(workers, is_stopped=self._is_stopped, outage=lasting.outage)
        self._lookout.start()
        self.began_at = time.time()

    def supervise(self) -> None:
        """Resume frozen workers when their time is over; restart those that ended."""
        for worker in [one for one, at in self._frozen.items() if time.monotonic() >= at]:
            worker.send(signal.SIGCONT)
            del self._frozen[worker]
        for worker in self.workers:
            is_excluded = worker in self._frozen or worker is self._armed_worker
            if not is_excluded and worker.process.poll() is not None:
                self.ended[f"exit {worker.process.returncode}"] += 1
                kept = worker.keep_log(self.ended.total())
                self._on_progress(f"{worker.name} ended by itself: {kept.name}")
                worker.start()

    def end(self, worker: InstrumentedWorker) -> int:
        """Stop `worker` and return its exit status."""
        began = time.monotonic()
        is_cut_off = self.lasting.is_silent(worker.name)
        is_full = worker.is_on_disk and self.lasting.is_disk_full
        status = worker.end()
        self.end_seconds.append(time.monotonic() - began)
        if is_cut_off and status == EXIT_STALLED:  # in time all the same
            self.ended["cut short without a network"] += 1
            return status
        if is_full and status:  # it ended by itself, just before
            self.ended["ended on a full disk"] += 1
            return status
        self.end_statuses[status] += 1
        return status

    def _owner(self) -> InstrumentedWorker | None:
        """Return a worker that owns partitions and is not frozen."""
        awake = [worker for worker in self.workers if worker not in self._frozen]
        owners = [worker for worker in awake if worker.health()["ready"]]
        return self._random.choice(owners) if owners else None

    def settle(self, meanwhile: Callable[[], None]) -> None:
        """Wait until workers that no fault stops own what no fault holds back, and have decided
        nearly all of it; but not for ever.
        """
        self._wait(self._is_settled, _SETTLED_WITHIN, meanwhile=meanwhile)

    def _is_settled(self) -> bool:
        running = [one for one in self.workers if not self._is_stopped(one)]
        ready = {number for one in running for number in one.health()["ready"]}
        held_back = self.lasting.held_back
        is_owned = ready | held_back >= set(range(self.settings.partitions))
        if None in held_back or not is_owned:
            return False
        left = self._backlog()
        return left is not None and all(
            count <= _FEW or number in held_back for number, count in left.items()
        )

    def _backlog(self) -> Counter[int] | None:
        """Return the undecided events by partition; None while no broker tells."""
        try:
            found = backlog(self.settings)
        except (KafkaException, BrokerError):
            return None
        left: Counter[int] = Counter()
        for name, count in found.items():
            left[int(name[name.index("[") + 1 : -1])] += count
        return left

    def _is_stopped(self, worker: InstrumentedWorker) -> bool:
        return worker in self._frozen or worker.name == self.lasting.silent_worker

    def _freeze(self, worker: InstrumentedWorker, seconds: float) -> None:
        worker.send(signal.SIGSTOP)
        self._frozen[worker] = time.monotonic() + seconds

    def _wait(
        self,
        effect: Callable[[], bool],
        within: float,
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> bool:
        """Return whether the effect came; supervises the workers meanwhile."""
        limit = time.monotonic() + within
        while not effect():
            if time.monotonic() > limit:
                return False
            self.supervise()
            meanwhile()
            time.sleep(0.05)
        return True


class LoadGenerator(threading.Thread):
    """Publishes at a rate from a thread of its own until it is ended; may be paused."""

    def __init__(self, traffic: Traffic, rate: float) -> None:
        super().__init__(name="load", daemon=True)
        self._traffic = traffic
        self._rate = rate
        self._ended = threading.Event()
        self._running = threading.Event()
        self._paused = threading.Event()
        self._running.set()
        self._failure: BaseException | None = None

    def run(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(0.02):
            if not self._running.is_set():
                self._paused.set()
                self._running.wait()
                self._paused.clear()
                last = time.monotonic()
            # After an outage the missed events are published at once, up to a limit.
            count = min(int(self._rate * (time.monotonic() - last)), _MOST_AT_ONCE)
            last = max(last + count / self._rate, time.monotonic() - 1)
            try:
                self._traffic.publish(count)
            except BaseException as error:  # noqa: BLE001  # raised in whoever ends the load
                self._failure = error
                return

    def pause(self) -> None:
        """Pause, and return once nothing is published."""
        self._running.clear()
        while self.is_alive() and not self._paused.wait(0.1):
            pass

    def resume(self) -> None:
        self._running.set()

    def end(self) -> None:
        """Stop; raises the error of the thread, if there was one."""
        self._ended.set()
        self._running.set()
        self.join(120)
        if self._failure is not None:
            raise self._failure
        assert not self.is_alive(), "the traffic never ended"
