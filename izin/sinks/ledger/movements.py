"""Facts into the history: each once, linked to the one before, in the month in which it is learnt.

``link = sha256(link before || what the row says)``: the row's columns as one JSON array, and behind
it the bytes of the decision, if it is one. Writers link and verifiers reckon by the same function.
A transaction's facts hang on one chain, whichever no other transaction holds.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from izin.sinks.ledger import rows
from izin.sinks.ledger.statements import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from izin.sinks.ledger.database import Connection

REPEATED_WITHIN = timedelta(days=100)
"""How long after it a fact may come again: topics are kept for 90 days, İYS's streams for 7."""
_HELPING = 500
_SQL = statements("movements")


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A fact of a key's history. ``source`` says where it comes from and makes it unique."""

    kind: str
    customer_id: str
    key: str
    event_id: str | None
    status: str | None
    source: str
    occurred_at: datetime
    data: Mapping[str, Any]
    may_repeat: bool = False
    """Whether the source can say it again; what is told once by its nature is not looked for."""


class Fact(NamedTuple):
    """A fact as its row says it. Instants are in microseconds since 1970."""

    kind: str
    customer_id: str
    key: str
    event_id: str | None
    status: str | None
    source: str | None
    occurred: int
    data: bytes | None
    """JSON."""
    decision: bytes | None
    """A Decision in Avro's single-object encoding; the columns it repeats are null then."""


def decided(customer_id: str, key: str, occurred: int, decision: bytes) -> Fact:
    """Return the fact of a decision of the law."""
    return Fact("decision", customer_id, key, None, None, None, occurred, None, decision)


def said(place: int, fact: Fact, recorded: int) -> bytes:
    """Return what a row says: what its link covers."""
    if fact.decision is not None:
        return b'[%d, "decision", %b, %b, null, null, null, %d, %d, null]%b' % (
            place,
            encode_basestring(fact.customer_id).encode(),
            encode_basestring(fact.key).encode(),
            fact.occurred,
            recorded,
            fact.decision,
        )
    return b"[%d, %b, %b, %b, %b, %b, %b, %d, %d, %b]" % (
        place,
        _quoted(fact.kind),
        _quoted(fact.customer_id),
        _quoted(fact.key),
        _quoted(fact.event_id),
        _quoted(fact.status),
        _quoted(fact.source),
        fact.occurred,
        recorded,
        fact.data or b"null",
    )


async def append(
    connection: Connection,
    movements: Sequence[Movement],
    *,
    now: datetime,
    decisions: Sequence[Fact] = (),
) -> None:
    """Record ``decisions``, which are known to be new, and ``movements``, of which a repetition of
    a known source changes nothing.
    """
    fresh = await _fresh(connection, movements, now)
    await append_facts(connection, [*decisions, *map(_fact, fresh)], now=now)


async def append_facts(connection: Connection, facts: Sequence[Fact], *, now: datetime) -> None:
    """Record ``facts``, which are known to be new."""
    if not facts:
        return
    chain = await (await connection.execute(_SQL["free-chain"])).fetchone()
    if chain is None:
        chain = await (await connection.execute(_SQL["any-chain"])).fetchone()
    if chain is None:
        raise LookupError("the ledger has no chains")
    recorded_at = now if chain["recorded_at"] is None else max(now, chain["recorded_at"])
    month = recorded_at.astimezone(UTC).date().replace(day=1)
    if not await _has(connection, month):
        await connection.execute(_SQL["keep-month"], {"month": month})
    linking = _Linking(chain["shard"], chain["place"], chain["link"], recorded_at)
    await rows.copy(connection, _SQL["copy"], linking.rows(facts))
    values = {
        "shard": linking.shard,
        "place": linking.place,
        "link": linking.link,
        "recorded_at": recorded_at,
    }
    await connection.execute(_SQL["head"], values)


class _Linking:
    """A chain that goes on."""

    def __init__(self, shard: int, place: int, link: bytes, recorded_at: datetime) -> None:
        self.shard = shard
        self.place = place
        self.link = link
        self._recorded = rows.microseconds(recorded_at)

    def rows(self, facts: Sequence[Fact]) -> Iterator[bytes]:
        """Yield the rows of ``facts``, some at a time, and stand behind them."""
        for start in range(0, len(facts), _HELPING):
            yield b"".join(map(self._row, facts[start : start + _HELPING]))

    def _row(self, fact: Fact) -> bytes:
        self.place = place = self.place + 1
        recorded = self._recorded
        self.link = hashlib.sha256(self.link + said(place, fact, recorded)).digest()
        key, customer_id = fact.key.encode(), fact.customer_id.encode()
        kind, decision = fact.kind.encode(), fact.decision
        beginning = (
            _FIXED(
                13, 8, recorded - rows.EPOCH, 8, fact.occurred - rows.EPOCH, 8, place, 2, self.shard
            ),
            _size(len(kind)),
            kind,
            _LINK,
            self.link,
            _size(len(key)),
            key,
            _size(len(customer_id)),
            customer_id,
        )
        if decision is not None:
            return b"".join((*beginning, _NO_COLUMNS, _size(len(decision)), decision))
        return b"".join(
            (
                *beginning,
                _text(fact.event_id),
                _text(fact.status),
                _text(fact.source),
                rows.text(fact.data),
                rows.NULL,
            )
        )


async def _fresh(
    connection: Connection, movements: Sequence[Movement], now: datetime
) -> list[Movement]:
    """Return ``movements`` without those whose source is recorded already."""
    asked = [one for one in movements if one.may_repeat]
    if not asked:
        return list(movements)
    values = {
        "keys": sorted({one.key for one in asked}),
        "sources": [one.source for one in asked],
        "since": now - REPEATED_WITHIN,
    }
    found = await (await connection.execute(_SQL["known"], values)).fetchall()
    known = {row["source"] for row in found}
    fresh = []
    for one in movements:
        if one.may_repeat:
            if one.source in known:
                continue
            known.add(one.source)
        fresh.append(one)
    return fresh


async def _has(connection: Connection, month: date) -> bool:
    return (
        await (await connection.execute(_SQL["has-month"], {"month": month})).fetchone() is not None
    )


def _fact(one: Movement) -> Fact:
    return Fact(
        one.kind,
        one.customer_id,
        one.key,
        one.event_id,
        one.status,
        one.source,
        rows.microseconds(one.occurred_at),
        orjson.dumps(one.data),
        None,
    )


def _quoted(value: str | None) -> bytes:
    return b"null" if value is None else encode_basestring(value).encode()


def _text(value: str | None) -> bytes:
    return rows.NULL if value is None else rows.text(value.encode())


_FIXED = struct.Struct(">hiqiqiqih").pack
_size = struct.Struct(">i").pack
_LINK = _size(32)
_NO_COLUMNS = rows.NULL * 4
