"""The rows of the next batch are read ahead, but for those that change meanwhile."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from izin.sinks.ingest.known_keys import foresight
from izin.sinks.ingest.known_keys.foresight import Foresight
from izin.sinks.ledger.db.connection import Ledger

ROWS = {"a": "row of a", "b": "row of b"}


class FakeLedger:
    """A ledger with ``ROWS``."""

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Provide nothing."""
        yield None


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Foresight:
    """Give a foresight that looks for any number of keys."""

    async def read_known(_: object, keys: Collection[str]) -> dict[str, str]:
        return {key: ROWS[key] for key in keys if key in ROWS}

    monkeypatch.setattr(foresight, "read_known", read_known)
    monkeypatch.setattr(foresight, "AT_LEAST", 2)
    return Foresight(cast("Ledger", FakeLedger()))


def on(*keys: str) -> Any:  # noqa: ANN401  # decisions, as far as they are looked at
    """Return decisions on ``keys``."""
    return [SimpleNamespace(key=key) for key in keys]


async def test_foreseen_rows_need_not_be_read(seen: Foresight):
    """Whether a key has one or not."""
    await seen.look(on("a", "b", "new"))
    assert seen.take({"a", "new", "other"}) == ({"a": "row of a"}, {"other"})


async def test_keys_stored_after_look_are_read_again(seen: Foresight):
    """What another batch has stored since is not as it was foreseen."""
    await seen.look(on("a", "b"))
    seen.take({"a"})
    assert seen.take({"a", "b"}) == ({"b": "row of b"}, {"a"})


async def test_keys_being_stored_as_it_looks_are_read_again(seen: Foresight):
    """Until that batch has ended."""
    async with seen.storing():
        seen.take({"a"})
        await seen.look(on("a", "b"))
    async with seen.storing():
        assert seen.take({"a", "b"}) == ({"b": "row of b"}, {"a"})
    await seen.look(on("a", "b"))
    assert seen.take({"a", "b"}) == (ROWS, set())


async def test_forgotten_and_few_rows_are_read_again(seen: Foresight):
    """After a conflict nothing foreseen counts, and few keys are not looked for."""
    await seen.look(on("a", "b"))
    seen.forget()
    assert seen.take({"a"}) == ({}, {"a"})
    await seen.look(on("a"))
    assert seen.take({"a"}) == ({}, {"a"})
