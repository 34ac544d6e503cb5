"""Inject faults into real order workers and their brokers, one after the other."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException

from izin.runtime.settings import KafkaSettings
from tests.chaos.order.brokers import EXPIRED_AFTER, THREE, BrokerCluster, ClusterBroker
from tests.chaos.order.fault_points import ACQUIRING, RARE, FaultPoint, FaultTrigger, TriggerEffect
from tests.chaos.order.faults import InjectedFault, OrderFault
from tests.chaos.order.instrumented_worker import TRIGGER
from tests.chaos.order.load_generator import LoadGenerator
from tests.support.order_verdict import backlog
from tests.support.order_workers import Worker, all_held

FREEZE_SECONDS = 9.0
"""Longer than the session (6 s): the group reassigns the partitions before the worker wakes."""
BROKER_FREEZE_SECONDS = 8.0
"""Longer than its own session (4 s) and than a commit waits (6 s): others lead when it wakes, and
the outcome is unknown."""
_BROKER_ABSENT = 2.0
"""How long a killed broker stays away, beyond what its start takes."""
_TRIGGERED_WITHIN = 6.0
_ACQUIRED_WITHIN = 25.0
_RECOVERED_WITHIN = 150.0


class InstrumentedWorker(Worker):
    """An order worker with a trigger at each of its fault points."""

    def __init__(self, name: str, settings: KafkaSettings, folder: Path) -> None:
        self.trigger = FaultTrigger(folder / f"{name}.trigger")
        super().__init__(
            name,
            settings,
            folder / f"{name}.log",
            module=f"{__package__}.instrumented_worker",
            environment={TRIGGER: str(folder / f"{name}.trigger")},
        )


class OrderCampaign:
    """Order workers, their brokers, and the fault injection."""

    def __init__(
        self,
        *,
        cluster: BrokerCluster,
        settings: KafkaSettings,
        workers: list[InstrumentedWorker],
        load: LoadGenerator,
        random: Random,
        on_progress: Callable[[str], None],
    ) -> None:
        self.cluster = cluster
        self.settings = settings
        self.workers = workers
        self.injected: list[InjectedFault] = []
        self.ended: Counter[str] = Counter()
        """Workers that ended by themselves, by exit status."""
        self.end_statuses: Counter[int] = Counter()
        self.end_seconds: list[float] = []
        """From each SIGTERM to the end of the process."""
        self._load = load
        self._random = random
        self._on_progress = on_progress
        self._frozen: dict[InstrumentedWorker, float] = {}
        self._armed_worker: InstrumentedWorker | None = None
        """The worker whose trigger is armed: its end is not restarted by `supervise`."""
        self._began = time.monotonic()

    def inject(self, fault: OrderFault, point: FaultPoint | None = None) -> bool:
        """Inject `fault` where that is possible; return False where it is not now."""
        match fault:
            case OrderFault.KILL | OrderFault.TERM | OrderFault.FREEZE:
                target = self._inject_into_worker(fault)
            case OrderFault.KILL_AT_POINT | OrderFault.FREEZE_AT_POINT:
                target = self._inject_at_point(fault, point)
            case OrderFault.BROKER_KILL | OrderFault.BROKER_FREEZE:
                target = self._inject_into_broker(fault)
            case OrderFault.LEADER_KILL:
                target = self._kill_leader()
            case OrderFault.EXPIRE | OrderFault.EXPIRE_FROZEN:
                target = self._expire(fault)
        if target is None:
            return False
        target_name, where = target
        inject = InjectedFault(
            at=time.monotonic() - self._began, fault=fault, target_name=target_name, point=where
        )
        self.injected.append(inject)
        self._on_progress(f"{len(self.injected):4}  {inject}")
        return True

    def supervise(self) -> None:
        """Resume frozen workers when their time is over; restart those that ended."""
        for worker in [one for one, at in self._frozen.items() if time.monotonic() >= at]:
            worker.send(signal.SIGCONT)
            del self._frozen[worker]
        for worker in self.workers:
            is_excluded = worker in self._frozen or worker is self._armed_worker
            if not is_excluded and worker.process.poll() is not None:
                self.ended[f"exit {worker.process.returncode}"] += 1
                worker.start()

    def finish(self) -> bool:
        """Let everything drain and recover, and end the workers; return whether all recovered."""
        self._load.end()
        self.cluster.start()

        def drained() -> bool:
            return not self._frozen and self._is_drained()

        if not self._wait(drained, _RECOVERED_WITHIN):
            raise AssertionError(
                f"in {_RECOVERED_WITHIN:.0f} s no end of the backlog: {self._left()}"
            )
        recovered = self._wait(
            lambda: all_held(self.workers, self.settings.partitions), _RECOVERED_WITHIN
        )
        with ThreadPoolExecutor(len(self.workers)) as threads:
            list(threads.map(self.end, self.workers))
        return recovered

    def _is_drained(self) -> bool:
        try:
            return not backlog(self.settings)
        except KafkaException:
            return False

    def _left(self) -> str:
        """Return the number of undecided events, and the health of each worker."""
        try:
            left = f"{backlog(self.settings)}"
        except KafkaException as error:
            left = f"unknown, {error}"
        frozen = [worker.name for worker in self._frozen]
        health = {worker.name: worker.health() for worker in self.workers}
        return f"{left}; frozen: {frozen}; {health}"

    def end(self, worker: InstrumentedWorker) -> int:
        """Stop `worker` and return its exit status."""
        began = time.monotonic()
        status = worker.end()
        self.end_seconds.append(time.monotonic() - began)
        self.end_statuses[status] += 1
        return status

    def _owner(self) -> InstrumentedWorker | None:
        """Return a worker that owns partitions and is not frozen."""
        awake = [worker for worker in self.workers if worker not in self._frozen]
        owners = [worker for worker in awake if worker.health()["ready"]]
        return self._random.choice(owners) if owners else None

    def _inject_into_worker(self, fault: OrderFault) -> tuple[str, None] | None:
        worker = self._owner()
        if worker is None or (fault is OrderFault.FREEZE and self._frozen):
            return None
        if fault is OrderFault.KILL:
            worker.kill()
            worker.start()
        elif fault is OrderFault.TERM:
            self.end(worker)
            worker.start()
        else:
            self._freeze(worker, FREEZE_SECONDS)
        return worker.name, None

    def _freeze(self, worker: InstrumentedWorker, seconds: float) -> None:
        worker.send(signal.SIGSTOP)
        self._frozen[worker] = time.monotonic() + seconds

    def _inject_at_point(
        self, fault: OrderFault, point: FaultPoint | None
    ) -> tuple[str, FaultPoint] | None:
        worker = self._owner()
        if worker is None or (fault is OrderFault.FREEZE_AT_POINT and self._frozen):
            return None
        point = point or self._random.choice(list(FaultPoint))
        effect = TriggerEffect.KILL if fault is OrderFault.KILL_AT_POINT else TriggerEffect.FREEZE
        if self._arm_and_wait(worker, point, effect, most=3 if point in RARE else 25) is None:
            return None
        if effect is TriggerEffect.KILL:
            worker.process.wait(10)
            worker.start()
        else:
            self._frozen[worker] = time.monotonic() + FREEZE_SECONDS
        return worker.name, point

    def _arm_and_wait(
        self, worker: InstrumentedWorker, point: FaultPoint, effect: TriggerEffect, *, most: int
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
        self._wait(lambda: worker.trigger.triggered_at() is not None, within)
        self._armed_worker = None
        place = worker.trigger.triggered_at()
        if place is None:
            worker.trigger.disarm()
        return place

    def _inject_into_broker(self, fault: OrderFault) -> tuple[str, None] | None:
        if not self.cluster.is_whole():
            return None
        broker = self._random.choice(list(self.cluster.brokers.values()))
        if fault is OrderFault.BROKER_KILL:
            broker.kill()
            self._wait(lambda: False, _BROKER_ABSENT)
            broker.start()
        else:
            broker.freeze()
            self._wait(lambda: False, BROKER_FREEZE_SECONDS)
            broker.thaw()
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

    def _wait(self, effect: Callable[[], bool], within: float) -> bool:
        """Return whether the effect came; supervises the workers meanwhile."""
        limit = time.monotonic() + within
        while not effect():
            if time.monotonic() > limit:
                return False
            self.supervise()
            time.sleep(0.05)
        return True
