"""Faults on real order workers and their brokers, one after the other, and what came of them."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException

from izin.runtime.settings import KafkaSettings
from tests.chaos.order.brokers import EXPIRED_AFTER, THREE, Broker, Cluster
from tests.chaos.order.fault_points import ACQUIRING, RARE, Deed, Fuse, Point
from tests.chaos.order.faults import Fault, Strike
from tests.chaos.order.instrumented_worker import FUSE
from tests.chaos.order.load_generator import Flow
from tests.streams.topic_reading import backlog
from tests.streams.workers import Worker, all_held

FROZEN = 9.0
"""Longer than the session (6 s): the group gives the partitions away before the sleeper wakes."""
BROKER_FROZEN = 8.0
"""Longer than its own session (4 s) and than a commit waits (6 s): others lead when it wakes, and
the outcome is unknown."""
_ABSENT = 2.0
"""How long a killed broker stays away, beyond what its start takes."""
_BLOWN_WITHIN = 6.0
_ACQUIRED_WITHIN = 25.0
_MENDED_WITHIN = 150.0


class Fused(Worker):
    """An order worker with a fuse at each of its fault points."""

    def __init__(self, name: str, settings: KafkaSettings, folder: Path) -> None:
        self.fuse = Fuse(folder / f"{name}.fuse")
        super().__init__(
            name,
            settings,
            folder / f"{name}.log",
            module=f"{__package__}.instrumented_worker",
            environment={FUSE: str(folder / f"{name}.fuse")},
        )


class Campaign:
    """Three workers or so, their brokers, and a hand that strikes them."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        settings: KafkaSettings,
        workers: list[Fused],
        flow: Flow,
        random: Random,
        tell: Callable[[str], None],
    ) -> None:
        self.cluster = cluster
        self.settings = settings
        self.workers = workers
        self.strikes: list[Strike] = []
        self.ended: Counter[str] = Counter()
        """Workers that ended by themselves, by exit status."""
        self.end_statuses: Counter[int] = Counter()
        self.end_seconds: list[float] = []
        """What each SIGTERM took to be obeyed."""
        self._flow = flow
        self._random = random
        self._tell = tell
        self._asleep: dict[Fused, float] = {}
        self._marked: Fused | None = None
        """Whose fuse burns: its end is ours to see."""
        self._began = time.monotonic()

    def strike(self, fault: Fault, point: Point | None = None) -> bool:
        """Let `fault` fall on somebody it can fall on; False if there is nobody now."""
        match fault:
            case Fault.KILL | Fault.TERM | Fault.FREEZE:
                struck = self._strike_worker(fault)
            case Fault.DIE | Fault.SLEEP:
                struck = self._strike_at(fault, point)
            case Fault.BROKER_KILL | Fault.BROKER_FREEZE:
                struck = self._strike_broker(fault)
            case Fault.LEADER_KILL:
                struck = self._kill_leader()
            case Fault.EXPIRE | Fault.EXPIRE_ASLEEP:
                struck = self._expire(fault)
        if struck is None:
            return False
        whom, where = struck
        strike = Strike(at=time.monotonic() - self._began, fault=fault, whom=whom, point=where)
        self.strikes.append(strike)
        self._tell(f"{len(self.strikes):4}  {strike}")
        return True

    def tend(self) -> None:
        """Wake whose time has come; start again who ended by himself, as a supervisor does."""
        for worker in [one for one, at in self._asleep.items() if time.monotonic() >= at]:
            worker.send(signal.SIGCONT)
            del self._asleep[worker]
        for worker in self.workers:
            left_alone = worker in self._asleep or worker is self._marked
            if not left_alone and worker.process.poll() is not None:
                self.ended[f"exit {worker.process.returncode}"] += 1
                worker.start()

    def finish(self) -> bool:
        """Let everything drain and recover, and end the workers; tell whether all recovered."""
        self._flow.end()
        self.cluster.start()

        def drained() -> bool:
            return not self._asleep and self._is_drained()

        if not self._wait(drained, _MENDED_WITHIN):
            raise AssertionError(f"in {_MENDED_WITHIN:.0f} s no end of the backlog: {self._left()}")
        recovered = self._wait(
            lambda: all_held(self.workers, self.settings.partitions), _MENDED_WITHIN
        )
        with ThreadPoolExecutor(len(self.workers)) as threads:
            list(threads.map(self.end, self.workers))
        return recovered

    def _is_drained(self) -> bool:
        try:
            return not backlog(self.settings, self._group)
        except KafkaException:
            return False

    @property
    def _group(self) -> str:
        return f"{self.settings.topic_prefix}izin-order"

    def _left(self) -> str:
        """Return what is not decided, and what each worker says of itself."""
        try:
            left = f"{backlog(self.settings, self._group)}"
        except KafkaException as error:
            left = f"unknown, {error}"
        asleep = [worker.name for worker in self._asleep]
        said = {worker.name: worker.health() for worker in self.workers}
        return f"{left}; asleep: {asleep}; {said}"

    def end(self, worker: Fused) -> int:
        """Ask `worker` to end and return its exit status."""
        began = time.monotonic()
        status = worker.end()
        self.end_seconds.append(time.monotonic() - began)
        self.end_statuses[status] += 1
        return status

    def _owner(self) -> Fused | None:
        """Return a worker that owns partitions and is awake."""
        awake = [worker for worker in self.workers if worker not in self._asleep]
        owners = [worker for worker in awake if worker.health()["ready"]]
        return self._random.choice(owners) if owners else None

    def _strike_worker(self, fault: Fault) -> tuple[str, None] | None:
        worker = self._owner()
        if worker is None or (fault is Fault.FREEZE and self._asleep):
            return None
        if fault is Fault.KILL:
            worker.kill()
            worker.start()
        elif fault is Fault.TERM:
            self.end(worker)
            worker.start()
        else:
            self._freeze(worker, FROZEN)
        return worker.name, None

    def _freeze(self, worker: Fused, seconds: float) -> None:
        worker.send(signal.SIGSTOP)
        self._asleep[worker] = time.monotonic() + seconds

    def _strike_at(self, fault: Fault, point: Point | None) -> tuple[str, Point] | None:
        worker = self._owner()
        if worker is None or (fault is Fault.SLEEP and self._asleep):
            return None
        point = point or self._random.choice(list(Point))
        deed = Deed.DIE if fault is Fault.DIE else Deed.SLEEP
        if self._burn(worker, point, deed, most=3 if point in RARE else 25) is None:
            return None
        if deed is Deed.DIE:
            worker.process.wait(10)
            worker.start()
        else:
            self._asleep[worker] = time.monotonic() + FROZEN
        return worker.name, point

    def _burn(self, worker: Fused, point: Point, deed: Deed, *, most: int) -> str | None:
        """Let `deed` befall `worker` at one of its next `most` passes of `point`.

        Returns what it said there, None if it never came there. To acquire, it starts anew.
        """
        within = _BLOWN_WITHIN
        acquires = point in ACQUIRING
        if acquires:
            most, within = 4, _ACQUIRED_WITHIN
            worker.kill()
        worker.fuse.arm(point, passes=self._random.randint(1, most), deed=deed)
        if acquires:
            worker.start()
        self._marked = worker
        self._wait(lambda: worker.fuse.blown() is not None, within)
        self._marked = None
        said = worker.fuse.blown()
        if said is None:
            worker.fuse.disarm()
        return said

    def _strike_broker(self, fault: Fault) -> tuple[str, None] | None:
        if not self.cluster.is_whole():
            return None
        broker = self._random.choice(list(self.cluster.brokers.values()))
        if fault is Fault.BROKER_KILL:
            broker.kill()
            self._wait(lambda: False, _ABSENT)
            broker.start()
        else:
            broker.freeze()
            self._wait(lambda: False, BROKER_FROZEN)
            broker.thaw()
        return f"broker-{broker.number}", None

    def _kill_leader(self) -> tuple[str, Point] | None:
        """Kill the leader of a partition that a worker is reading back, in the middle of it."""
        if self.cluster.size < THREE or not self.cluster.is_whole():
            return None
        worker = self._owner()
        if worker is None:
            return None
        held = self._burn(worker, Point.CATCHING_UP, Deed.HOLD, most=4)
        leader = None if held is None else self._leader(int(held))
        if leader is not None:
            leader.kill()
        worker.fuse.disarm()
        if leader is None:
            return None
        self._wait(lambda: False, _ABSENT)
        leader.start()
        return f"broker-{leader.number}", Point.CATCHING_UP

    def _leader(self, partition: int) -> Broker | None:
        try:
            return self.cluster.leader_of(self.settings.topics.consents.name, partition)
        except KafkaException:
            return None

    def _expire(self, fault: Fault) -> tuple[str, None] | None:
        """Let the traffic rest until the brokers have forgotten every transactional id.

        Under a sleeper: he sleeps until others own his partitions and all ids are forgotten.
        """
        sleeper = None
        if fault is Fault.EXPIRE_ASLEEP:
            sleeper = None if self._asleep else self._owner()
            if sleeper is None:
                return None
            self._freeze(sleeper, float("inf"))
            others = [worker for worker in self.workers if worker is not sleeper]
            self._wait(lambda: all_held(others, self.settings.partitions), _ACQUIRED_WITHIN)
        self._flow.pause()
        drained = self._wait(self._is_drained, _ACQUIRED_WITHIN)
        if drained:
            self._wait(lambda: False, EXPIRED_AFTER + 1.5)
        self._flow.resume()
        if sleeper is not None:
            self._asleep[sleeper] = time.monotonic()
        return (sleeper.name if sleeper else "all", None) if drained else None

    def _wait(self, effect: Callable[[], bool], within: float) -> bool:
        """Tell whether the effect came; tends the workers meanwhile."""
        limit = time.monotonic() + within
        while not effect():
            if time.monotonic() > limit:
                return False
            self.tend()
            time.sleep(0.05)
        return True


def reasons(folder: Path) -> Counter[str]:
    """Return why the workers gave up transactions and stopped, as their logs under `folder` say."""
    found: Counter[str] = Counter()
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if told.get("event") == "lost":
                found[f"lost: {told.get('error')}"] += 1
            elif told.get("level") == "critical":
                found[f"critical: {told.get('event')}"] += 1
    return found
