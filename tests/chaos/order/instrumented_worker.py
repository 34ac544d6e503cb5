"""`python -m tests.chaos.order.instrumented_worker`: the order worker with its fault points.

They are armed from outside: the n-th pass of one triggers an effect. The campaign writes a file,
which the worker under test reads at each point. The product has no such code: here functions that
it calls are wrapped, in this process alone, before it runs.
"""

import inspect
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from izin.kafka import clients
from izin.streams.__main__ import main
from izin.streams.ownership import OwnedPartition, transactional_producer

TRIGGER = "IZIN_CHAOS_TRIGGER"
"""Names the trigger's file in the environment of the worker under test."""

_READ_BATCH = 200
"""Rows read back at once: few, so that catching up has many passes."""
_BLOCKED_AT_MOST = 60.0
_INTO_A_COMMIT = 0.004
"""About as long as a commit takes on an idle broker, in seconds."""


class FaultPoint(StrEnum):
    """A step of a batch, or of an acquisition, at which it may be interrupted."""

    FENCED = "fenced"
    """The transactional id is ours; the marks are not set yet."""
    MARKED = "marked"
    """The marks are set; nothing is read yet."""
    CATCHING_UP = "catching up"
    """Before each batch of rows that is read back."""
    POSITIONS_READ = "positions read"
    REPARTITIONING = "repartitioning"
    REPARTITIONED = "repartitioned"
    """A record stands in its own partition now, and the position has not passed the old one."""
    BEGUN = "begun"
    PRODUCED = "produced"
    COMMITTING = "committing"
    """A moment after the commit was asked for: it may or may not have happened."""
    COMMITTED = "committed"
    """Committed, and the state not changed."""
    APPLIED = "applied"
    """The state is changed, and the batch not acknowledged."""


ACQUIRING = (
    FaultPoint.FENCED,
    FaultPoint.MARKED,
    FaultPoint.CATCHING_UP,
    FaultPoint.POSITIONS_READ,
)
RARE = (FaultPoint.REPARTITIONING, FaultPoint.REPARTITIONED)
"""Passed only where a producer keyed a record its own way."""


class TriggerEffect(StrEnum):
    """The effect on the worker at the point."""

    KILL = "kill"
    FREEZE = "freeze"
    """SIGSTOP, until somebody sends SIGCONT."""
    BLOCK = "block"
    """Only the thread at the point waits, until the trigger is disarmed."""


class FaultTrigger:
    """The campaign's side and the worker's side of the same file."""

    def __init__(self, path: Path) -> None:
        self._armed = path.with_suffix(".armed")
        self._triggered = path.with_suffix(".triggered")
        self._passes: Counter[str] = Counter()
        self._lock = threading.Lock()

    def arm(self, point: FaultPoint, *, passes: int, effect: TriggerEffect) -> None:
        """Trigger `effect` at pass number `passes` of `point`, counted from now on."""
        self._triggered.unlink(missing_ok=True)
        _write(self._armed, f"{time.monotonic_ns()}/{point}/{passes}/{effect}")

    def disarm(self) -> None:
        """Cancel the effect, and release a blocked thread."""
        self._armed.unlink(missing_ok=True)
        self._triggered.unlink(missing_ok=True)

    def triggered_at(self) -> str | None:
        """Return where it was triggered (a partition, or nothing), None if it was not."""
        try:
            return self._triggered.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def reach(self, point: FaultPoint, where: str = "") -> None:
        """Record that `point` is reached; may not return."""
        try:
            armed = self._armed.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        _, wanted, passes, effect = armed.split("/")
        if wanted != point:
            return
        with self._lock:
            self._passes[armed] += 1
            if self._passes[armed] != int(passes):
                return
        _write(self._triggered, where)
        self._armed.unlink(missing_ok=True)
        if point is FaultPoint.COMMITTING:
            delay = random.uniform(0, _INTO_A_COMMIT)
            threading.Timer(delay, self._act, [TriggerEffect(effect)]).start()
        else:
            self._act(TriggerEffect(effect))

    def _act(self, effect: TriggerEffect) -> None:
        match effect:
            case TriggerEffect.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case TriggerEffect.FREEZE:
                os.kill(os.getpid(), signal.SIGSTOP)
            case TriggerEffect.BLOCK:
                limit = time.monotonic() + _BLOCKED_AT_MOST
                while self._triggered.exists() and time.monotonic() < limit:
                    time.sleep(0.02)


def _write(path: Path, text: str) -> None:
    """Write so that a reader sees all of it or nothing."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


_OF_TRANSACTIONS = {
    "start": FaultPoint.FENCED,
    "begin_transaction": FaultPoint.BEGUN,
    "send_batch": FaultPoint.PRODUCED,
    "abort_transaction": FaultPoint.MARKED,
    "commit_transaction": FaultPoint.COMMITTED,
}
_OF_REPARTITIONING = {"produce": FaultPoint.REPARTITIONING, "flush": FaultPoint.REPARTITIONED}
_POSITIONS, _STATE = "-positions", "-state"
"""What ends the group of the reader of positions, and of rows."""


class InstrumentedClient:
    """A client that reaches a fault point after each call of a name in `points`."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401  # any client
        trigger: FaultTrigger,
        points: Mapping[str, FaultPoint],
    ) -> None:
        self._client = client
        self._trigger = trigger
        self._points = points

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the client has
        found = getattr(self._client, name)
        point = self._points.get(name)
        if point is None:
            return found

        def call(*args: object, **keywords: object) -> object:
            if point is FaultPoint.COMMITTED:
                self._trigger.reach(FaultPoint.COMMITTING)
            result = found(*args, **keywords)
            if inspect.isawaitable(result):
                return self._reached(result, point)
            self._trigger.reach(point)
            return result

        self.__dict__[name] = call
        return call

    async def _reached(self, result: Awaitable[object], point: FaultPoint) -> object:
        """Await what an asynchronous call gives, and reach `point` then."""
        outcome = await result
        self._trigger.reach(point)
        return outcome


class InstrumentedReader(InstrumentedClient):
    """The reader of rows: small batches, and a point before each."""

    def assign(self, places: list[Any]) -> None:
        self._partition = str(places[0].partition)
        self._client.assign(places)

    def consume(self, count: int, timeout: float) -> object:
        self._trigger.reach(FaultPoint.CATCHING_UP, self._partition)
        return self._client.consume(min(count, _READ_BATCH), timeout)


def instrument(trigger: FaultTrigger) -> None:
    """Put `trigger` into every fault point of this process."""
    new_producer, new_consumer, commit = clients.producer, clients.consumer, OwnedPartition.commit

    def consumer(settings: Any, group: str, **overrides: object) -> InstrumentedClient:  # noqa: ANN401  # handed on
        client = new_consumer(settings, group, **overrides)
        if group.endswith(_STATE):
            return InstrumentedReader(client, trigger, {})
        points = {"consume": FaultPoint.POSITIONS_READ} if group.endswith(_POSITIONS) else {}
        return InstrumentedClient(client, trigger, points)

    async def committed(owned: OwnedPartition, *args: Any, **keywords: Any) -> None:  # noqa: ANN401  # handed on
        await commit(owned, *args, **keywords)
        trigger.reach(FaultPoint.APPLIED)

    patched: list[tuple[object, str, Callable[..., object]]] = [
        (
            clients,
            "producer",
            lambda settings, **more: InstrumentedClient(
                new_producer(settings, **more), trigger, _OF_REPARTITIONING
            ),
        ),
        (clients, "consumer", consumer),
        (
            transactional_producer,
            "AIOKafkaProducer",
            lambda **more: InstrumentedClient(AIOKafkaProducer(**more), trigger, _OF_TRANSACTIONS),
        ),
        (OwnedPartition, "commit", committed),
    ]
    for owner, name, wrapped in patched:
        setattr(owner, name, wrapped)


if __name__ == "__main__":
    instrument(FaultTrigger(Path(os.environ[TRIGGER])))
    main()
