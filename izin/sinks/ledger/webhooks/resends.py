"""Resends in the ledger: what a person ordered to be sent to a subscriber again, and how far it is.

One at a time for each subscriber. Whoever delivers notices an order, carries it out beside what
comes, and ends it. A resend has the keys of its opt-outs that are older than their topic in a list
of its own; it goes with the resend, and a key that is erased goes at once.
"""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Self

from izin.consent.errors import SourceError
from izin.schemas.records import AvroRecord
from izin.sinks.ledger.db import Connection, Ledger, statements
from izin.sinks.ledger.history.formats import history_codec
from izin.sinks.ledger.webhooks import registry
from izin.sinks.ledger.webhooks.registry import (
    DeliveryCursor,
    EventFilter,
    LaneName,
    WebhookSubscriber,
)

_PAGE = 5000
_SQL = statements("resends")
_MOVEMENTS = statements("movements")


class RunningResendError(SourceError):
    """A resend of this subscriber is not done."""


class NoResendError(SourceError):
    """No resend of this subscriber is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """What is sent again to one subscriber; what is not given does not limit it."""

    id: int = 0
    """0: it is not ordered yet."""
    ordered_at: datetime
    filter: EventFilter
    """Of the customer of the subscriber, beside the subscriber's own."""
    keys: frozenset[str] | None = field(repr=False, default=None)
    """Canonical keys; None: every key."""
    only_missing: bool = False
    """Whether what was acknowledged is left out."""
    since: datetime | None = None
    """When it came, or was appended to its topic. Like ``until``, it says which cursors there are,
    and is not known when these are followed."""
    until: datetime | None = None
    """Without this instant itself."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the resend of a row of ``resends`` with the customer of its subscriber."""
        return cls(
            id=row["id"],
            ordered_at=row["ordered_at"],
            filter=EventFilter.from_row(row),
            keys=None if row["keys"] is None else frozenset(row["keys"]),
            only_missing=row["only_missing"],
        )


@dataclass(slots=True, kw_only=True)
class CountedResend:
    """A resend that is not ordered yet, and what it would send to its subscriber."""

    name: str
    resend: Resend
    cursors: list[DeliveryCursor]
    """Where it begins and ends in the topics."""
    older: list[str] = field(repr=False, default_factory=list)
    """The keys whose opt-outs are older than their topic."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source (a topic, or ``history``) and type."""
    overtaken: int = 0
    """What is left out, for something newer holds."""
    waiting: int = 0
    """What the subscriber was not sent yet, or has not taken: it comes as a first delivery."""


class KeyStanding(NamedTuple):
    """What holds of a key: the answer, since when, and the consent that it rests on."""

    key: str
    may_send: bool
    since: datetime | None
    registered_at: datetime | None
    consent_date: datetime | None


async def begin(ledger: Ledger, plans: Sequence[CountedResend], *, by: str, now: datetime) -> None:
    """Order what was counted, which the process that delivers carries out: all of it or nothing.

    Raises:
        UnknownSubscriberError: there is none of such a name.
        RunningResendError: one of a subscriber is not done.
    """
    async with ledger.transaction() as connection:
        # In one order, so that two commands do not wait for each other.
        for plan in sorted(plans, key=lambda plan: plan.name):
            if plan.events.total():
                await _begin(connection, plan, by, now)


async def _begin(connection: Connection, plan: CountedResend, by: str, now: datetime) -> None:
    found = await registry.locked(connection, plan.name)
    resend, planned = plan.resend, plan.events.total()
    limits: dict[str, Any] = {**resend.filter.limits(), "only_missing": resend.only_missing}
    keys = None if resend.keys is None else sorted(resend.keys)
    values = {"id": found.id, **limits, "keys": keys, "planned": planned, "now": now}
    row = await (await connection.execute(_SQL["begin"], values)).fetchone()
    if row is None:
        raise RunningResendError(
            f"an earlier resend of {plan.name} is not done; see izin subscribers show {plan.name}, "
            f"and order this one when it is, or after izin subscribers resend {plan.name} --cancel"
        )
    number = int(row["id"])
    for first in range(0, len(plan.older), _PAGE):
        page = plan.older[first : first + _PAGE]
        await connection.execute(_SQL["list"], {"id": number, "first": first, "keys": page})
    lane, end = LaneName.HISTORY, len(plan.older)
    of_list = DeliveryCursor(lane=lane, topic=lane, partition=0, next_offset=0, end_offset=end)
    cursors = [*plan.cursors, of_list] if plan.older else plan.cursors
    of_resend = [replace(cursor, resend_id=number) for cursor in cursors]
    await registry.add_cursors(connection, found.id, of_resend)
    period = {"since": resend.since, "until": resend.until}
    count = None if keys is None else len(keys)  # of the keys, but none of them
    after = {"number": number, **period, **limits, "keys": count, "events": planned}
    await registry.record_change(connection, "resend", found, by, now, {}, after)


async def of_subscriber(ledger: Ledger, subscriber: WebhookSubscriber) -> Resend | None:
    """Return the resend of a subscriber that is not done, or None."""
    rows = await ledger.fetch(_SQL["open"], {"id": subscriber.id})
    return Resend.from_row(rows[0]) if rows else None


async def finish(ledger: Ledger, subscriber_id: int, number: int, *, now: datetime) -> None:
    """Note that a resend is done."""
    await ledger.execute(
        _SQL["end"], {"id": subscriber_id, "number": number, "now": now, "cancelled_at": None}
    )


async def cancel(ledger: Ledger, name: str, *, by: str, now: datetime) -> int:
    """Cancel the resend of a subscriber; return its number. What was sent is not taken back.

    Raises:
        UnknownSubscriberError: there is none of this name.
        NoResendError: none is under way.
    """
    async with ledger.transaction() as connection:
        found = await registry.locked(connection, name)
        values = {"id": found.id, "number": None, "now": now, "cancelled_at": now}
        row = await (await connection.execute(_SQL["end"], values)).fetchone()
        if row is None:
            raise NoResendError(
                f"no resend of {name} is under way; see: izin subscribers show {name}"
            )
        number = int(row["id"])
        before = {"number": number}
        await registry.record_change(connection, "cancel resend", found, by, now, before, {})
    return number


async def latest(ledger: Ledger, subscriber_id: int) -> Mapping[str, Any] | None:
    """Return the latest resend of a subscriber: how many events were ``planned``, how many it has
    ``brought``, and its ``state``: running, done or cancelled. None: there was none.
    """
    rows = await ledger.fetch(_SQL["latest"], {"id": subscriber_id})
    return rows[0] if rows else None


async def standings(ledger: Ledger, keys: Collection[str]) -> Mapping[str, KeyStanding]:
    """Return what holds of ``keys`` now, by key; of an erased or unknown one nothing."""
    rows = await ledger.fetch(_SQL["standings"], {"keys": sorted(keys)})
    return {row["key"]: KeyStanding(**row) for row in rows}


async def opted_out(ledger: Ledger, resend: Resend) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """Yield pages of rows of keys that opted out and may not be messaged."""
    keys = None if resend.keys is None else sorted(resend.keys)
    values = {"customer_id": resend.filter.customer_id, "keys": keys, "after": "", "size": _PAGE}
    while rows := await ledger.fetch(_SQL["older"], values):
        yield rows
        values["after"] = rows[-1]["key"]


async def listed(
    ledger: Ledger, number: int, *, first: int, most: int, numbers: Collection[int] | None = None
) -> Sequence[Mapping[str, Any]]:
    """Return rows of the list of a resend from a number on, at most ``most``; or only ``numbers``.

    A key that is erased is missing.
    """
    chosen = None if numbers is None else sorted(numbers)
    values = {"id": number, "first": first, "size": most, "numbers": chosen}
    return await ledger.fetch(_SQL["listed"], values)


async def decisions(ledger: Ledger, keys: Collection[str]) -> Sequence[AvroRecord]:
    """Return the decisions on ``keys`` in the history (Avro)."""
    rows = await ledger.fetch(_MOVEMENTS["decisions-of"], {"keys": sorted(keys)})
    return [history_codec().decode("Decision", bytes(row["decision"])) for row in rows]
