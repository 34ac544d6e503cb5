"""`python -m tests.chaos.order.instrumented_worker`: the order worker with its fault points.

The clients and the commit of a partition are wrapped before the product runs.
"""

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from izin.runtime import kafka
from izin.streams.__main__ import main
from izin.streams.ownership import OwnedPartition, transactional_producer
from tests.chaos.order.fault_points import FaultPoint, FaultTrigger

TRIGGER = "IZIN_CHAOS_TRIGGER"
"""Names the trigger's file in the environment of the worker under test."""

_READ_BATCH = 200
"""Rows read back at once: few, so that catching up has many passes."""

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
    new_producer, new_consumer, commit = kafka.producer, kafka.consumer, OwnedPartition.commit

    def producer(settings: Any, **overrides: object) -> InstrumentedClient:  # noqa: ANN401  # handed on
        return InstrumentedClient(new_producer(settings, **overrides), trigger, _OF_REPARTITIONING)

    def transactional(**settings: Any) -> InstrumentedClient:  # noqa: ANN401  # handed on
        return InstrumentedClient(AIOKafkaProducer(**settings), trigger, _OF_TRANSACTIONS)

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
        (kafka, "producer", producer),
        (kafka, "consumer", consumer),
        (transactional_producer, "AIOKafkaProducer", transactional),
        (OwnedPartition, "commit", committed),
    ]
    for owner, name, wrapped in patched:
        setattr(owner, name, wrapped)


if __name__ == "__main__":
    instrument(FaultTrigger(Path(os.environ[TRIGGER])))
    main()
