"""Inject faults into real order workers and their brokers, one after the other."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

from confluent_kafka import KafkaException

from izin.runtime.settings import KafkaSettings
from tests.chaos.input_faults import HostileInput, InputFault
from tests.chaos.order.brokers import EXPIRED_AFTER, THREE, BrokerCluster, ClusterBroker
from tests.chaos.order.faults import InjectedFault, LastingFaults, OrderFault
from tests.chaos.order.instrumented_worker import ACQUIRING, RARE, FaultPoint, TriggerEffect
from tests.chaos.order.workers import SKEWS, InstrumentedWorker, LoadGenerator, SupervisedWorkers
from tests.support.order.verdict import all_held

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


class OrderCampaign(SupervisedWorkers):
    """Order workers, their brokers, and the fault injection."""

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
        super().__init__(workers, settings, lasting, random, on_progress)
        self.cluster = cluster
        self.hostile = HostileInput(settings, random.getrandbits(32))
        self.injected: list[InjectedFault] = []
        self._load = load
        self._began = time.monotonic()

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

        def drained() -> bool:
            return not self._frozen and self._is_drained()

        if not self._wait(drained, _RECOVERED_WITHIN):
            raise AssertionError(
                f"in {_RECOVERED_WITHIN:.0f} s no end of the backlog: {self._left()}"
            )
        recovered = self._wait(
            lambda: all_held(self.workers, self.settings.partitions), _RECOVERED_WITHIN
        )
        self._lookout.end()
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
            worker.move_clock(self._random.choice([one for one in SKEWS if one != worker.skew]))
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
