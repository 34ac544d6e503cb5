"""`python -m tests.chaos.order.instrumented_worker`: the order worker with a fuse at every fault point.

What the product calls is wrapped here, before it runs: the clients it is given, and the commit of a
partition.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from izin.runtime import kafka
from izin.streams.__main__ import main
from izin.streams.partition import OwnedPartition
from tests.chaos.order.fault_points import Fuse, Point

FUSE = "IZIN_CHAOS_FUSE"
"""Names the fuse's file in the environment of the worker under test."""

_HELPING = 200
"""Rows read back at once: few, so that catching up has many passes."""

_OF_TRANSACTIONS = {
    "init_transactions": Point.FENCED,
    "begin_transaction": Point.BEGUN,
    "produce": Point.PRODUCED,
    "send_offsets_to_transaction": Point.OFFSETS_SENT,
    "commit_transaction": Point.COMMITTED,
}
_OF_REFILING = {"produce": Point.REFILING, "flush": Point.REFILED}
_OF_OFFSETS = {"committed": Point.OFFSETS_READ}


class Wrapped:
    """A client that says so after each call of a name in `points`."""

    def __init__(self, client: Any, fuse: Fuse, points: Mapping[str, Point]) -> None:  # noqa: ANN401  # any client
        self._client = client
        self._fuse = fuse
        self._points = points

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the client has
        found = getattr(self._client, name)
        point = self._points.get(name)
        if point is None:
            return found

        def call(*args: object, **keywords: object) -> object:
            if point is Point.COMMITTED:
                self._fuse.passed(Point.COMMITTING)
            result = found(*args, **keywords)
            self._fuse.passed(point)
            return result

        self.__dict__[name] = call
        return call


class WrappedReader(Wrapped):
    """The reader of rows: small helpings, and a point before each."""

    def assign(self, places: list[Any]) -> None:
        self._partition = str(places[0].partition)
        self._client.assign(places)

    def consume(self, count: int, timeout: float) -> object:
        self._fuse.passed(Point.CATCHING_UP, self._partition)
        return self._client.consume(min(count, _HELPING), timeout)


def hang(fuse: Fuse) -> None:
    """Hang `fuse` on every fault point of this process."""
    new_producer, new_consumer, commit = kafka.producer, kafka.consumer, OwnedPartition.commit

    def producer(settings: Any, **overrides: object) -> Wrapped:  # noqa: ANN401  # handed on
        points = _OF_TRANSACTIONS if "transactional.id" in overrides else _OF_REFILING
        return Wrapped(new_producer(settings, **overrides), fuse, points)

    def consumer(settings: Any, group: str, **overrides: object) -> Wrapped:  # noqa: ANN401  # handed on
        client = new_consumer(settings, group, **overrides)
        if group.endswith("-state"):
            return WrappedReader(client, fuse, {})
        return Wrapped(client, fuse, _OF_OFFSETS)

    def committed(owned: OwnedPartition, *args: Any, **keywords: Any) -> None:  # noqa: ANN401  # handed on
        commit(owned, *args, **keywords)
        fuse.passed(Point.APPLIED)

    hung: list[tuple[object, str, Callable[..., object]]] = [
        (kafka, "producer", producer),
        (kafka, "consumer", consumer),
        (OwnedPartition, "commit", committed),
    ]
    for owner, name, wrapped in hung:
        setattr(owner, name, wrapped)


if __name__ == "__main__":
    hang(Fuse(Path(os.environ[FUSE])))
    main()
