"""What subscribers have acknowledged, written in groups: one transaction for many.

A transaction has the acknowledgements of all subscribers of a process, the digest of them in the
history, how far each partition is, and the attempts that failed. It checks the lease of each
subscriber first: of one that another process has taken over nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, Ledger, copy
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.append import append_facts
from izin.sinks.ledger.history.batches import digest_fact
from izin.sinks.ledger.webhooks.delivery_rows import (
    DeliveryReceipt,
    copied,
    sealed,
)
from izin.sinks.ledger.webhooks.subscriber import LaneName

_SQL = statements("deliveries")


class CursorMove(NamedTuple):
    """How far a partition is now."""

    subscriber_id: int
    lane: str
    topic: str
    partition: int
    next_offset: int
    open_offsets: Sequence[int]
    resend_id: int = 0
    """Of the lanes of a resend; 0: of one that is always followed."""


class FailedAttempt(NamedTuple):
    """A request that a subscriber did not take."""

    subscriber_id: int
    failed_at: datetime
    topic: str
    partition: int
    offset: int
    attempt: int
    status: int | None
    failure: str


class HealthChange(NamedTuple):
    """Since when a subscriber fails, and how many alerts were raised."""

    subscriber_id: int
    failing_since: datetime | None
    alerts: int
    failure: str | None
    failed_at: datetime | None


@dataclass(slots=True)
class DeliveryGroup:
    """What one transaction writes."""

    acknowledgements: list[DeliveryReceipt] = field(default_factory=list)
    moves: list[CursorMove] = field(default_factory=list)
    attempts: list[FailedAttempt] = field(default_factory=list)
    health: list[HealthChange] = field(default_factory=list)
    caught_up: dict[int, datetime] = field(default_factory=dict)
    """Which subscribers have everything, and when that was."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not any(
            (self.acknowledgements, self.moves, self.attempts, self.health, self.caught_up)
        )


def lease_name(subscriber_id: int) -> str:
    """Return the name of the lease of a subscriber."""
    return f"webhooks {subscriber_id}"


async def write(
    ledger: Ledger, group: DeliveryGroup, epochs: Mapping[int, int], *, now: datetime
) -> frozenset[int]:
    """Write ``group``, but for subscribers whose lease was lost; return these.

    ``epochs`` are of the leases of all subscribers in it.
    """
    async with ledger.transaction() as connection:
        owned = await _owned(connection, epochs)
        kept = [one for one in group.acknowledgements if one.subscriber_id in owned]
        if kept:
            await _write_batch(connection, kept, now)
        if moves := [one._asdict() for one in group.moves if one.subscriber_id in owned]:
            values = {"cursors": orjson.dumps(moves).decode()}
            await connection.execute(_SQL["move-cursors"], values)
        if failed := [one._asdict() for one in group.attempts if one.subscriber_id in owned]:
            values = {"attempts": orjson.dumps(failed).decode()}
            await connection.execute(_SQL["add-attempts"], values)
        for change in group.health:
            if change.subscriber_id in owned:
                known = change._asdict()
                await connection.execute(_SQL["save-health"], known | {"id": change.subscriber_id})
        if complete := {one: at for one, at in group.caught_up.items() if one in owned}:
            instants = {"ids": list(complete), "instants": list(complete.values())}
            await connection.execute(_SQL["caught-up"], instants)
    return frozenset(epochs) - owned


async def _owned(connection: Connection, epochs: Mapping[int, int]) -> frozenset[int]:
    names = {lease_name(one): one for one in epochs}
    values = {"names": list(names), "epochs": list(epochs.values())}
    found = await (await connection.execute(_SQL["check-leases"], values)).fetchall()
    return frozenset(names[row["name"]] for row in found)


async def _write_batch(
    connection: Connection, acknowledgements: Sequence[DeliveryReceipt], now: datetime
) -> None:
    (row,) = await (await connection.execute(_SQL["next-batch"])).fetchall()
    batch = int(row["batch"])
    rows = sealed(batch, acknowledgements)
    commitments = [one.commitment for one in rows]
    fact = digest_fact(batch, commitments, len(rows), copy_format.microseconds(now))
    recorded_at = await append_facts(connection, [fact], now=now)
    await copy(connection, _SQL["copy"], [copied(batch, rows, recorded_at)])


async def acknowledged(
    ledger: Ledger, subscriber_id: int, events: Sequence[Mapping[str, Any]]
) -> frozenset[str]:
    """Return the ids of those ``events`` that the subscriber has acknowledged, each given by
    ``topic``, ``partition``, ``offset``, ``key`` and ``webhook_id``.
    """
    given = orjson.dumps(events).decode()
    values = {"id": subscriber_id, "events": given, "history": LaneName.HISTORY}
    rows = await ledger.fetch(_SQL["acknowledged"], values)
    return frozenset(row["webhook_id"] for row in rows)


async def of_keys(ledger: Ledger, keys: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Return the deliveries of keys, in their order: subscriber, type, coordinates, when, and the
    resend of a repetition.
    """
    return await ledger.fetch(_SQL["of-keys"], {"keys": list(keys)})
