"""The rows of the next batch are read ahead, but for those that change meanwhile."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import cast

import pytest

from izin.sinks.ingest.known_keys import foresight
from izin.sinks.ingest.known_keys.foresight import Foresight
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.record.errors import ConcurrentChangeError

ROWS = {"a": "row of a", "b": "row of b"}


class FakeLedger:
    """A ledger with ``ROWS``."""

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Provide nothing."""
        yield None


@pytest.fixture
def reads() -> list[set[str]]:
    """Give the keys that were read, as often as that was."""
    return []


@pytest.fixture
def seen(reads: list[set[str]], monkeypatch: pytest.MonkeyPatch) -> Foresight:
    """Give a foresight that looks for two keys or more."""

    async def read_known(_: object, keys: Collection[str]) -> dict[str, str]:
        reads.append(set(keys))
        return {key: ROWS[key] for key in keys if key in ROWS}

    monkeypatch.setattr(foresight, "read_known", read_known)
    monkeypatch.setattr(foresight, "AT_LEAST", 2)
    return Foresight(cast("Ledger", FakeLedger()))


async def pieces(*keys: str) -> AsyncIterator[list[str]]:
    """Yield the letters of each of ``keys``."""
    for one in keys:
        yield list(one)


async def test_foreseen_rows_need_not_be_read(seen: Foresight, reads: list[set[str]]):
    """Whether a key has one or not, and in whichever piece it came; a small piece is left out."""
    await seen.look(pieces("ax", "by", "z"))
    assert reads == [{"a", "x"}, {"b", "y"}]
    assert seen.take(set("abxyz")) == (ROWS, {"z"})


async def test_keys_stored_after_look_are_read_again(seen: Foresight):
    """What another batch has stored since is not as it was foreseen."""
    await seen.look(pieces("abx"))
    seen.take({"a"})
    assert seen.take({"a", "b", "x"}) == ({"b": ROWS["b"]}, {"a"})


async def test_keys_being_stored_as_it_looks_are_read_again(seen: Foresight):
    """Until that batch has ended."""

    async def store() -> None:
        seen.take({"a"})
        await seen.look(pieces("ab"))

    async def store_next() -> None:
        assert seen.take({"a", "b"}) == ({"b": ROWS["b"]}, {"a"})

    await seen.stored(store)
    await seen.stored(store_next)
    await seen.look(pieces("ab"))
    assert seen.take({"a", "b"}) == (ROWS, set())


async def test_keys_taken_while_a_piece_is_read_are_read_again(
    seen: Foresight, monkeypatch: pytest.MonkeyPatch
):
    """A batch that is stored ahead of its turn begins while the rows are read."""

    async def read_known(_: object, keys: Collection[str]) -> dict[str, str]:
        seen.take({"a"})
        return dict(ROWS)

    monkeypatch.setattr(foresight, "read_known", read_known)
    await seen.look(pieces("ab"))
    assert seen.take({"a", "b"}) == ({"b": ROWS["b"]}, {"a"})


async def test_batch_in_conflict_is_stored_again_from_locked_rows(seen: Foresight):
    """Nothing foreseen counts then; a conflict that stays is raised."""
    await seen.look(pieces("ab"))
    unread: list[set[str]] = []

    async def store() -> None:
        unread.append(seen.take({"a"})[1])
        raise ConcurrentChangeError("a row was changed by another process")

    with pytest.raises(ConcurrentChangeError):
        await seen.stored(store)
    assert unread == [set(), {"a"}, {"a"}]
    assert seen.take({"b"}) == ({}, {"b"})
