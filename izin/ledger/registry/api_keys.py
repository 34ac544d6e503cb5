"""The API keys: created, replaced, narrowed and revoked by people, each by an entry of history.

Row, entry and the record for the topic ``api-keys`` are written in one transaction. None of them
has the key itself, nor its hash in the entry.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from izin.ledger.db import Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.history import HistoryEntry, act, api_key_key, append
from izin.ledger.record import (
    EndedKeyError,
    ForeignBrandError,
    TakenNameError,
    TopicMessages,
    UnknownKeyError,
)
from izin.ledger.registry.customers import require_active
from izin.ledger.unit_of_work import append_messages
from izin.schemas.api_keys import ApiKey

_SQL = statements("api_keys")


async def create(
    ledger: Ledger, topic_messages: TopicMessages, key: ApiKey, *, by: str, now: datetime
) -> None:
    """Store ``key`` and publish it, ``by`` whose order.

    Raises:
        UnknownCustomerError: one of its customers is not registered.
        OffboardedCustomerError: one of them was offboarded.
        ForeignBrandError: one of its brands belongs to none of its customers.
        TakenNameError: another key has its name, which is neither revoked nor replaced.
    """
    async with ledger.transaction() as connection:
        await require_active(connection, key.customers)
        foreign = await fetch(
            connection,
            _SQL["foreign-brands"],
            {"brands": sorted(key.brands), "customers": sorted(key.customers)},
        )
        if foreign:
            raise ForeignBrandError([row["brand_code"] for row in foreign], sorted(key.customers))
        await _insert(connection, key)
        await _write(
            connection,
            topic_messages,
            [key],
            [_entry("create API key", key, by, now, before={}, after=_shown(key))],
            now,
        )


async def rotate(  # noqa: PLR0913 - which key, by what, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    name: str,
    *,
    secret_hash: bytes,
    new_id: str,
    grace: timedelta,
    by: str,
    now: datetime,
) -> tuple[ApiKey, ApiKey]:
    """Replace the key of ``name`` by one that may do the same; return the old and the new one.

    The old one stays valid for ``grace``, at most until it expires. ``new_id`` is the id for which
    the new secret was made: where another process was first, nothing is changed.

    Raises:
        UnknownKeyError: no key of this name is left, or it is another one meanwhile.
        EndedKeyError: it has expired.
    """
    async with ledger.transaction() as connection:
        row = await fetch_one(connection, _SQL["of-name"], {"name": name})
        old = None if row is None else ApiKey.of(row)
        if old is None or old.next_id != new_id:
            raise UnknownKeyError(name)
        if not old.is_valid(now):
            raise EndedKeyError(name)
        until = now + grace
        ended = replace(
            old, expires_at=until if old.expires_at is None else min(old.expires_at, until)
        )
        new = replace(old, id=new_id, secret_hash=secret_hash, created_at=now)
        await connection.execute(
            _SQL["replace"], {"id": old.id, "expires_at": ended.expires_at, "now": now}
        )
        await _insert(connection, new)
        rotated = _entry(
            "rotate API key",
            new,
            by,
            now,
            before={"id": old.id, "expires_at": old.expires_at},
            after={"id": new.id, "expires_at": new.expires_at, "former_until": ended.expires_at},
        )
        await _write(connection, topic_messages, [ended, new], [rotated], now)
    return ended, new


async def revoke(
    ledger: Ledger,
    topic_messages: TopicMessages,
    ids: Collection[str],
    *,
    by: str,
    now: datetime,
) -> tuple[ApiKey, ...]:
    """Revoke the keys with these ``ids``, ``by`` whose order; return those that were not yet."""
    async with ledger.transaction() as connection:
        return await _revoke(connection, topic_messages, ids, by=by, now=now)


async def withdraw_customer(  # noqa: PLR0913  # whose keys, what of them, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    customer_id: str,
    brands: Collection[int],
    *,
    by: str,
    now: datetime,
) -> None:
    """Take a customer and its ``brands`` from every key; revoke those that could do nothing then.

    The history has each, ``by`` whose order. A narrowed key is of several customers before, so
    what was done to it is no one customer's to see.
    """
    async with ledger.transaction() as connection:
        rows = await fetch(connection, _SQL["of-customer"], {"customer_id": customer_id})
        left = [(key, key.without(customer_id, brands)) for key in map(ApiKey.of, rows)]
        await _revoke(
            connection, topic_messages, [old.id for old, new in left if new is None], by=by, now=now
        )
        narrowed = [(old, new) for old, new in left if new is not None]
        for _, new in narrowed:
            await connection.execute(_SQL["narrow"], new.to_avro())
        entries = [
            _entry("narrow API key", old, by, now, before=_scope(old), after=_scope(new))
            for old, new in narrowed
        ]
        if narrowed:
            await _write(connection, topic_messages, [new for _, new in narrowed], entries, now)


async def every(ledger: Ledger) -> tuple[ApiKey, ...]:
    """Return every key, also those that ended, by name and age."""
    return tuple(ApiKey.of(row) for row in await ledger.fetch(_SQL["all"]))


async def _revoke(
    connection: Connection,
    topic_messages: TopicMessages,
    ids: Collection[str],
    *,
    by: str,
    now: datetime,
) -> tuple[ApiKey, ...]:
    keys = tuple(
        map(ApiKey.of, await fetch(connection, _SQL["revoke"], {"ids": sorted(ids), "now": now}))
    )
    revoked = [
        _entry("revoke API key", key, by, now, before=_shown(key), after={"revoked_at": now})
        for key in keys
    ]
    if keys:
        await _write(connection, topic_messages, keys, revoked, now)
    return keys


async def _insert(connection: Connection, key: ApiKey) -> None:
    if await fetch_one(connection, _SQL["insert"], key.to_avro()) is None:
        raise TakenNameError(key.name)


async def _write(
    connection: Connection,
    topic_messages: TopicMessages,
    keys: Collection[ApiKey],
    entries: Collection[HistoryEntry],
    now: datetime,
) -> None:
    await append_messages(connection, [topic_messages.api_key(key, now) for key in keys], now)
    await append.append(connection, list(entries), now=now)


def _entry(  # noqa: PLR0913, PLR0917 - what was done to which key, and by whom
    what: str,
    key: ApiKey,
    by: str,
    now: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> HistoryEntry:
    return act(
        what,
        api_key_key(key.id),
        by=by,
        now=now,
        before=before,
        after=after,
        customer_id=key.customer_id,
    )


def _shown(key: ApiKey) -> dict[str, Any]:
    """Return what the history has of a key: all but the hash of its secret."""
    shown = key.to_avro()
    return {
        name: shown[name]
        for name in ("name", "scopes", "customers", "brands", "channels", "expires_at")
    }


def _scope(key: ApiKey) -> dict[str, Any]:
    """Return what the history has of a key for whom it is."""
    shown = key.to_avro()
    return {name: shown[name] for name in ("name", "customers", "brands")}
