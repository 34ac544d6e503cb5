"""The history as it is read: key by key, in slices or of some keys, up to given heads; and the
format of decisions in it: their bytes, each decision once.

A message of the topic may name its schema by the id of a registry, which may be gone in ten years.
The history names the schema by its fingerprint, and every version that ever was is part of this
package (``izin/schemas/versions``).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from izin.consent import BOOTSTRAP
from izin.ledger.db import Ledger, statements
from izin.schemas.codec import Codec

_SQL = statements("history_by_key")
_CHAINS = statements("history")["chains"]
_HASHES = 2**64

_KINDS = ("decision", BOOTSTRAP, "call", "answer", "observation", "outcome", "receipt")
"""The kinds of entries that say what became of a key."""

KeyHistory = tuple[str, list[Mapping[str, Any]]]
"""A key, and its entries in the order of their recording."""


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
) -> Iterator[KeyHistory]:
    """Return the keys of a slice, each with its entries of some ``kinds`` up to the heads
    ``upto``: of the ``keys`` or ``recipients``, and of the ``brands``, that are selected.
    """
    low, high = part.bounds
    chosen = {
        name: sorted(map(str, selected.get(name) or ())) or None
        for name in ("keys", "recipients", "brands")
    }
    values = {"low": low, "high": high, "kinds": list(kinds), **_upto(upto), **chosen}
    return _by_key(await ledger.fetch(_SQL["slice"], values))


async def of_keys(
    ledger: Ledger, keys: Iterable[str], upto: Mapping[int, int]
) -> Iterator[KeyHistory]:
    """Return these keys, as far as they have a history, each with its entries up to the heads
    ``upto``.
    """
    return _by_key(
        await ledger.fetch(
            _SQL["of-keys"], {"keys": sorted(set(keys)), "kinds": list(_KINDS), **_upto(upto)}
        )
    )


async def erased(ledger: Ledger, customers: Collection[str] | None = None) -> int:
    """Return how many keys (of some customers) were erased with their history."""
    (row,) = await ledger.fetch(
        _SQL["erased"], {"customers": None if customers is None else sorted(customers)}
    )
    return int(row["keys"])


def _upto(upto: Mapping[int, int]) -> dict[str, list[int]]:
    return {"shards": list(upto), "places": list(upto.values())}


def _by_key(rows: Iterable[Mapping[str, Any]]) -> Iterator[KeyHistory]:
    for key, some in groupby(rows, key=lambda row: row["key"]):
        yield key, list(some)


@lru_cache(maxsize=1)
def history_codec() -> Codec:
    """Return the codec of decisions in the history: Avro single-object encoding."""
    return Codec()


def decision_columns(stored: bytes) -> dict[str, Any]:
    """Return event_id, status, source and data of a stored decision, in the format of the columns
    of other facts: instants are ISO texts.
    """
    decision = history_codec().decode("Decision", stored)
    event = decision["event"]
    data = {
        "kind": decision["kind"],
        "reason": decision["reason"],
        "opted_out": decision["opted_out"],
        "violations": decision["violations"],
        "stands": decision["consent"]["status"],
        "law_version": decision["consent"]["law_version"],
        "event": {name: value for name, value in event.items() if value not in (None, {}, "")},
    }
    return {
        "event_id": event["event_id"],
        "status": event["status"],
        "source": source_of(decision),
        "data": orjson.loads(orjson.dumps(data)),
    }


def source_of(decision: Mapping[str, Any]) -> str:
    """Return the source of a decision: topic, partition, offset and event, which is unique."""
    place = f"{decision['topic']}/{decision['partition']}/{decision['offset']}"
    return f"{place}/{decision['event']['event_id']}"
