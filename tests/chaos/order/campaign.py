"""Inject faults into real order workers and their brokers, one after the other.

The order workers under test: their fault points and clocks; woken, restarted and ended, whatever
is done to them meanwhile.
"""

import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException

from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.streams.engine.watches import EXIT_STALLED
from tests.chaos.order.brokers import EXPIRED_AFTER, THREE, BrokerCluster, ClusterBroker
from tests.chaos.order.faults import InjectedFault, LastingFaults, OrderFault
from tests.chaos.order.instrumented_worker import (
    ACQUIRING,
    RARE,
    TRIGGER,
    FaultPoint,
    FaultTrigger,
    TriggerEffect,
)
from tests.chaos.pipeline import HostileInput, InputFault
from tests.support.hostile.small_disk import SmallDisk
from tests.support.order.harness import Traffic
from tests.support.order.verdict import Outage, Worker, all_held, backlog
from tests.support.skewed_process import JUMPS

_SETTLED_WITHIN = 25.0
_FEW = 100
"""Undecided events of a partition: those of some seconds."""
SKEWS = tuple(JUMPS.values())
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
        skew: float = 0,
        disk: SmallDisk | None = None,
    ) -> None:
        self.is_on_disk = disk is not None
        on_disk = disk and {
            "IZIN_STATE": "rocksdb",
            "IZIN_STATE_FOLDER": str(disk.folder / "state"),
        }
        self.trigger = FaultTrigger(folder / f"{name}.trigger")
        self.skew = skew
        super().__init__(
            name,
            settings,
            folder / f"{name}.log",
            module="tests.support.skewed_process",
            environment={
                TRIGGER: str(folder / f"{name}.trigger"),
                **(on_disk or {}),
            },
        )

    def start(self) -> None:
        self._has_answered = False
        self.arguments = (str(self.skew), f"{__package__}.instrumented_worker")
        super().start()

    def kill(self) -> None:
        self._has_answered = False
        super().kill()

    def is_up(self) -> bool:
        """Return whether it has answered since it was started."""
        self._has_answered = self._has_answered or "keys" in self.health()
        return self._has_answered

    def move_clock(self, how: signal.Signals) -> None:
        """Let its clock jump by a signal of ``JUMPS``, and be so far ahead from now on."""
        self.skew = JUMPS[how]
        self.send(how)

    def keep_log(self, number: int) -> Path:
        """Copy its log, of an end that nobody asked for, and return the copy."""
        kept = self.log.with_name(f"end-{number}-{self.name}-{self.process.returncode}.txt")
        shutil.copy(self.log, kept)
        return kept


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


FREEZE_SECONDS = 9.0
"""Longer than the session (6 s): the group reassigns the partitions before the worker wakes."""
LONG_FREEZE_SECONDS = 17.0
"""Longer than a transaction may last (10 s), too, and than the brokers keep its id (15 s)."""
BROKER_FREEZE_SECONDS = 8.0
"""Longer than its own session (4 s) and than a commit waits (6 s): others lead when it wakes, and
the outcome is unknown."""
_BROKER_ABSENT = 2.0
"""How long a killed broker stays away, beyond what its start takes."""
_TRIGGERED_WITHIN = 6.0
_ACQUIRED_WITHIN = 25.0
_RECOVERED_WITHIN = 150.0


class OrderCampaign:
    """Order workers and how each of them ended, their brokers, and the fault injection."""

    def __init__(
        self,
        *,
        cluster: BrokerCluster,
        settings: KafkaSettings,
        workers: list[InstrumentedWorker],
        load: LoadGenerator,
        lasting: LastingFaults,
        random: Random,
        on_progress: Callable[[str], None],
    ) -> None:
        self.cluster = cluster
        self.settings = settings
        self.workers = workers
        self.lasting = lasting
        self.ended: Counter[str] = Counter()
        """Workers that ended by themselves, by exit status, or not by themselves in time."""
        self.end_statuses: Counter[int] = Counter()
        self.end_seconds: list[float] = []
        """From each SIGTERM to the end of the process."""
        self.hostile = HostileInput(settings, random.getrandbits(32))
        self.injected: list[InjectedFault] = []
        self.began_at = time.time()
        self._load = load
        self._random = random
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._frozen: dict[InstrumentedWorker, float] = {}
        self._armed_worker: InstrumentedWorker | None = None
        """The worker whose trigger is armed: its end is not restarted by `supervise`."""
        self._is_over = threading.Event()
        self._lookout = threading.Thread(target=self._look_out, name="lookout", daemon=True)
        self._lookout.start()

    def _look_out(self) -> None:
        """Note the times in which every worker is down by a fault: killed and not up again, frozen,
        or cut off. Workers that are up and idle are not down; an outage that lasts at the end goes
        on for ever.
        """
        current: Outage | None = None
        while not self._is_over.wait(0.1):
            if not all(self._is_stopped(one) or not one.is_up() for one in self.workers):
                if current is not None:
                    current.ended, current = time.time(), None
            elif current is None:
                current = self.lasting.outage()

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

    def inject(
        self,
        fault: OrderFault,
        point: FaultPoint | None = None,
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> bool:
        """Inject `fault` where that is possible; return False where it is not now.

        `meanwhile` is called while a fault point is waited for, and may inject what needs no wait.
        """
        target = self._hit(fault, point, meanwhile)
        if target is None:
            return False
        target_name, where = target
        inject = InjectedFault(
            at=time.monotonic() - self._began, fault=fault, target_name=target_name, point=where
        )
        self.injected.append(inject)
        self._on_progress(f"{len(self.injected):4}  {inject}")
        return True

    def _hit(
        self, fault: OrderFault, point: FaultPoint | None, meanwhile: Callable[[], None]
    ) -> tuple[str, FaultPoint | None] | None:
        """Inject `fault`; return what it hit and where, None where it is not possible now."""
        target: tuple[str, FaultPoint | None] | None
        match fault:
            case OrderFault.HANG_LANE | OrderFault.HANG_ROWS | OrderFault.FLOOD:
                target = self.lasting.inject_into_partition(fault)
            case OrderFault.SILENT_BROKER | OrderFault.DISK:
                lasting = self.lasting
                is_disk = fault is OrderFault.DISK
                target = lasting.fill_disk() if is_disk else lasting.silence_broker()
            case OrderFault.SILENT_WORKER:
                worker = self._owner()
                target = worker and self.lasting.silence_worker(worker.name)
            case (
                OrderFault.KILL
                | OrderFault.TERM
                | OrderFault.FREEZE
                | OrderFault.FREEZE_LONG
                | OrderFault.CLOCK
            ):
                target = self._inject_into_worker(fault)
            case OrderFault.KILL_AT_POINT | OrderFault.FREEZE_AT_POINT:
                target = self._inject_at_point(fault, point, meanwhile)
            case OrderFault.BROKER_KILL | OrderFault.BROKER_FREEZE:
                target = self._inject_into_broker(fault)
            case OrderFault.LEADER_KILL:
                target = self._kill_leader()
            case OrderFault.EXPIRE | OrderFault.EXPIRE_FROZEN:
                target = self._expire(fault)
            case OrderFault.RECORDS | OrderFault.HUGE | OrderFault.BATCHES:
                target = self._write_hostile(fault)
        return target

    def finish(self) -> bool:
        """Let everything drain and recover, and end the workers; return whether all recovered."""
        self._load.end()
        self.cluster.start()
        self._wait(lambda: self.lasting.are_over, _RECOVERED_WITHIN)
        self.lasting.finish()
        if not self._wait(lambda: not self._frozen and self._is_drained(), _RECOVERED_WITHIN):
            raise AssertionError(
                f"in {_RECOVERED_WITHIN:.0f} s no end of the backlog: {self._left()}"
            )
        recovered = self._wait(
            lambda: all_held(self.workers, self.settings.partitions), _RECOVERED_WITHIN
        )
        self._is_over.set()
        self._lookout.join(30)
        with ThreadPoolExecutor(len(self.workers)) as threads:
            list(threads.map(self.end, self.workers))
        return recovered

    def _is_drained(self) -> bool:
        left = self._backlog()
        return left is not None and not left

    def _left(self) -> str:
        """Return the number of undecided events, and the health of each worker."""
        frozen = [worker.name for worker in self._frozen]
        health = {worker.name: worker.health() for worker in self.workers}
        return f"{self._backlog()}; frozen: {frozen}; {health}"

    def _inject_into_worker(self, fault: OrderFault) -> tuple[str, None] | None:
        worker = self._owner()
        freezes = fault in {OrderFault.FREEZE, OrderFault.FREEZE_LONG}
        if worker is None or (freezes and self._frozen):
            return None
        if fault is OrderFault.CLOCK:
            others = [how for how, skew in JUMPS.items() if skew != worker.skew]
            worker.move_clock(self._random.choice(others))
        elif fault is OrderFault.KILL:
            worker.kill()
            worker.start()
        elif fault is OrderFault.TERM:
            self.end(worker)
            worker.start()
        else:
            is_long = fault is OrderFault.FREEZE_LONG
            self._freeze(worker, LONG_FREEZE_SECONDS if is_long else FREEZE_SECONDS)
        return worker.name, None

    def _inject_at_point(
        self, fault: OrderFault, point: FaultPoint | None, meanwhile: Callable[[], None]
    ) -> tuple[str, FaultPoint] | None:
        worker = self._owner()
        if worker is None or (fault is OrderFault.FREEZE_AT_POINT and self._frozen):
            return None
        point = point or self._random.choice(list(FaultPoint))
        effect = TriggerEffect.KILL if fault is OrderFault.KILL_AT_POINT else TriggerEffect.FREEZE
        most = 3 if point in RARE else 25
        if self._arm_and_wait(worker, point, effect, most=most, meanwhile=meanwhile) is None:
            return None
        if effect is TriggerEffect.KILL:
            worker.process.wait(10)
            worker.start()
        else:
            self._frozen[worker] = time.monotonic() + FREEZE_SECONDS
        return worker.name, point

    def _arm_and_wait(
        self,
        worker: InstrumentedWorker,
        point: FaultPoint,
        effect: TriggerEffect,
        *,
        most: int,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> str | None:
        """Trigger `effect` in `worker` at one of its next `most` passes of `point`.

        Returns where it was triggered, None if it never was. To acquire, the worker restarts.
        """
        within = _TRIGGERED_WITHIN
        acquires = point in ACQUIRING
        if acquires:
            most, within = 4, _ACQUIRED_WITHIN
            worker.kill()
        worker.trigger.arm(point, passes=self._random.randint(1, most), effect=effect)
        if acquires:
            worker.start()
        self._armed_worker = worker
        self._wait(lambda: worker.trigger.triggered_at() is not None, within, meanwhile=meanwhile)
        self._armed_worker = None
        place = worker.trigger.triggered_at()
        if place is None:
            worker.trigger.disarm()
        return place

    def _write_hostile(self, fault: OrderFault) -> tuple[str, None] | None:
        """Write what is hostile; not while a broker is away, for it must be known where it is."""
        if not self.cluster.is_whole():
            return None
        return self.hostile.inject(InputFault(fault.value), self._random), None

    def _inject_into_broker(self, fault: OrderFault) -> tuple[str, None] | None:
        if not self.cluster.is_whole():
            return None
        broker = self._random.choice(list(self.cluster.brokers.values()))
        outage = self.lasting.outage() if self.cluster.size == 1 else None
        if fault is OrderFault.BROKER_KILL:
            broker.kill()
            self._wait(lambda: False, _BROKER_ABSENT)
            broker.start()
        else:
            broker.freeze()
            self._wait(lambda: False, BROKER_FREEZE_SECONDS)
            broker.thaw()
        if outage is not None:
            outage.ended = time.time()
        return f"broker-{broker.number}", None

    def _kill_leader(self) -> tuple[str, FaultPoint] | None:
        """Kill the leader of a partition that a worker is reading back, in the middle of it."""
        if self.cluster.size < THREE or not self.cluster.is_whole():
            return None
        worker = self._owner()
        if worker is None:
            return None
        held = self._arm_and_wait(worker, FaultPoint.CATCHING_UP, TriggerEffect.BLOCK, most=4)
        leader = None if held is None else self._leader(int(held))
        if leader is not None:
            leader.kill()
        worker.trigger.disarm()
        if leader is None:
            return None
        self._wait(lambda: False, _BROKER_ABSENT)
        leader.start()
        return f"broker-{leader.number}", FaultPoint.CATCHING_UP

    def _leader(self, partition: int) -> ClusterBroker | None:
        try:
            return self.cluster.leader_of(self.settings.topics.desired_consents.name, partition)
        except KafkaException:
            return None

    def _expire(self, fault: OrderFault) -> tuple[str, None] | None:
        """Pause the load until the brokers have expired every transactional id.

        A worker that is frozen meanwhile stays so until others own its partitions.
        """
        # A partition that hangs is never drained.
        if not self._wait(lambda: self.lasting.are_over, _ACQUIRED_WITHIN):
            return None
        frozen_worker = None
        if fault is OrderFault.EXPIRE_FROZEN:
            frozen_worker = None if self._frozen else self._owner()
            if frozen_worker is None:
                return None
            self._freeze(frozen_worker, float("inf"))
            others = [worker for worker in self.workers if worker is not frozen_worker]
            self._wait(lambda: all_held(others, self.settings.partitions), _ACQUIRED_WITHIN)
        self._load.pause()
        drained = self._wait(self._is_drained, _ACQUIRED_WITHIN)
        if drained:
            self._wait(lambda: False, EXPIRED_AFTER + 1.5)
        self._load.resume()
        if frozen_worker is not None:
            self._frozen[frozen_worker] = time.monotonic()
        return (frozen_worker.name if frozen_worker else "all", None) if drained else None
