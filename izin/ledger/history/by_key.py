"""The history read key by key: in slices of the keys, or of some keys, up to given heads."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from izin.consent import BOOTSTRAP
from izin.ledger.db import Ledger, statements

_SQL = statements("history_by_key")
_CHAINS = statements("movements")["chains"]
_HASHES = 2**64

_KINDS = ("decision", BOOTSTRAP, "call", "answer", "observation", "outcome", "receipt")
"""The kinds of movements that say what became of a key."""

KeyMovements = tuple[str, list[Mapping[str, Any]]]
"""A key, and its movements in the order of their recording."""


class KeySlice(NamedTuple):
    """One of so many slices of about equal size into which all keys are cut."""

    number: int
    of: int

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest hash of its keys."""
        low, behind = (
            number * _HASHES // self.of - _HASHES // 2 for number in (self.number, self.number + 1)
        )
        return low, behind - 1


async def heads(ledger: Ledger) -> dict[int, int]:
    """Return the place of the last row of each chain, by shard."""
    return {row["shard"]: row["place"] for row in await ledger.fetch(_CHAINS)}


async def in_slice(
    ledger: Ledger,
    part: KeySlice,
    upto: Mapping[int, int],
    *,
    kinds: Collection[str] = _KINDS,
    **selected: Collection[str | int] | None,
) -> Iterator[KeyMovements]:
    """Return the keys of a slice, each with its movements of some ``kinds`` up to the heads
    ``upto``: of the ``keys`` or ``recipients``, and of the ``brands``, that are selected.
    """
    low, high = part.bounds
    values = {"low": low, "high": high, "kinds": list(kinds), **_upto(upto)}
    for name in ("keys", "recipients", "brands"):
        values[name] = sorted(map(str, selected.get(name) or ())) or None
    return _by_key(await ledger.fetch(_SQL["slice"], values))


async def of_keys(
    ledger: Ledger, keys: Iterable[str], upto: Mapping[int, int]
) -> Iterator[KeyMovements]:
    """Return these keys, as far as they have a history, each with its movements up to the heads
    ``upto``.
    """
    values = {"keys": sorted(set(keys)), "kinds": list(_KINDS), **_upto(upto)}
    return _by_key(await ledger.fetch(_SQL["of-keys"], values))


async def erased(ledger: Ledger, customers: Collection[str] | None = None) -> int:
    """Return how many keys (of some customers) were erased with their history."""
    values = {"customers": None if customers is None else sorted(customers)}
    (row,) = await ledger.fetch(_SQL["erased"], values)
    return int(row["keys"])


def _upto(upto: Mapping[int, int]) -> dict[str, list[int]]:
    return {"shards": list(upto), "places": list(upto.values())}


def _by_key(rows: Iterable[Mapping[str, Any]]) -> Iterator[KeyMovements]:
    for key, some in groupby(rows, key=lambda row: row["key"]):
        yield key, list(some)
