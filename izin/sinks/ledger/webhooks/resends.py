"""Resends in the ledger: what a person ordered to be sent to a subscriber again, and how far it is.

One at a time for each subscriber. Whoever delivers notices an order, carries it out beside what
comes, and ends it. A resend has the keys of its opt-outs that are older than their topic in a list
of its own; it goes with the resend, and a key that is erased goes at once.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from izin.schemas.records import AvroRecord
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, Ledger, copy
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.formats import history_codec
from izin.sinks.ledger.webhooks import registry
from izin.sinks.ledger.webhooks.errors import NoResendError, RunningResendError
from izin.sinks.ledger.webhooks.subscriber import (
    DeliveryCursor,
    EventFilter,
    LaneName,
    WebhookSubscriber,
)

_PAGE = 5000
_COLUMNS = (3).to_bytes(2, "big")
_SQL = statements("resends")
_MOVEMENTS = statements("movements")

HISTORY = "history"
"""Stands for a topic in the cursor of the opt-outs that are older than their topic: offsets are
numbers of the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendSelection:
    """Which of a subscriber's events are sent again, beside the time."""

    filter: EventFilter
    """Of the customer of the subscriber."""
    keys: frozenset[str] | None = field(repr=False, default=None)
    """Canonical keys; None: every key."""
    only_missing: bool = False
    """Whether what was acknowledged is left out."""

    def shown(self) -> dict[str, Any]:
        """Return what the history has of it: how many keys, but none of them."""
        chosen = self.filter
        return {
            "types": sorted(chosen.types),
            "brands": sorted(chosen.brands),
            "channels": sorted(chosen.channels),
            "origins": sorted(chosen.origins),
            "keys": None if self.keys is None else len(self.keys),
            "only_missing": self.only_missing,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenResend:
    """A resend that is not done."""

    id: int
    ordered_at: datetime
    selection: ResendSelection

    @classmethod
    def from_row(cls, row: Mapping[str, Any], customer_id: str) -> Self:
        """Return the resend of a row of ``resends``, for a subscriber of this customer."""
        return cls(
            id=row["id"],
            ordered_at=row["ordered_at"],
            selection=ResendSelection(
                filter=EventFilter(
                    customer_id=customer_id,
                    types=frozenset(row["types"]),
                    brands=frozenset(row["brands"]),
                    channels=frozenset(row["channels"]),
                    origins=frozenset(row["origins"]),
                ),
                keys=None if row["keys"] is None else frozenset(row["keys"]),
                only_missing=row["only_missing"],
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendProgress:
    """The latest resend of a subscriber."""

    id: int
    only_missing: bool
    ordered_at: datetime
    finished_at: datetime | None
    cancelled_at: datetime | None
    planned: int
    """Events that were counted when it was ordered."""
    brought: int
    """Of which the subscriber has taken so many."""

    @property
    def state(self) -> str:
        """``running``, ``done`` or ``cancelled``."""
        if self.cancelled_at is not None:
            return "cancelled"
        return "running" if self.finished_at is None else "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendPlan:
    """What is ordered for one subscriber."""

    name: str
    selection: ResendSelection
    cursors: Sequence[DeliveryCursor]
    """Of the topics: where the resend begins and ends."""
    older: Sequence[str] = field(repr=False, default=())
    """The keys whose opt-outs are older than their topic."""
    planned: int = 0
    """How many events were counted."""
    period: Mapping[str, Any] = field(default_factory=dict)
    """The time or the offsets that were asked for, for the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStanding:
    """What holds of a key: the answer, since when, and the consent that it rests on."""

    may_send: bool
    since: datetime | None
    registered_at: datetime | None
    consent_date: datetime | None


async def begin(
    ledger: Ledger, plans: Sequence[ResendPlan], *, by: str, now: datetime
) -> Sequence[int]:
    """Order resends, all or none of them; return their numbers, in the order of names.

    Raises:
        UnknownSubscriberError: there is none of such a name.
        RunningResendError: one of a subscriber is not done.
    """
    async with ledger.transaction() as connection:
        # In one order, so that two commands do not wait for each other.
        ordered = sorted(plans, key=lambda plan: plan.name)
        return [await _begin(connection, plan, by, now) for plan in ordered]


async def _begin(connection: Connection, plan: ResendPlan, by: str, now: datetime) -> int:
    found = await registry.locked(connection, plan.name)
    chosen, keys = plan.selection.filter, plan.selection.keys
    values = {
        "id": found.id,
        "only_missing": plan.selection.only_missing,
        "types": sorted(chosen.types),
        "brands": sorted(chosen.brands),
        "channels": sorted(chosen.channels),
        "origins": sorted(chosen.origins),
        "keys": None if keys is None else sorted(keys),
        "planned": plan.planned,
        "now": now,
    }
    row = await (await connection.execute(_SQL["begin"], values)).fetchone()
    if row is None:
        raise RunningResendError(plan.name)
    number = int(row["id"])
    await copy(connection, _SQL["list"], _chunks(number, plan.older))
    cursors = [replace(one, resend_id=number) for one in plan.cursors]
    if plan.older:
        cursors.append(_history_cursor(number, len(plan.older)))
    await registry.add_cursors(connection, found.id, cursors)
    after = {"number": number, **plan.period, **plan.selection.shown(), "events": plan.planned}
    await registry.record_change(connection, "resend", found, by, now, {}, after)
    return number


def _history_cursor(number: int, count: int) -> DeliveryCursor:
    return DeliveryCursor(
        subscriber_id=0,
        lane=LaneName.HISTORY,
        topic=HISTORY,
        partition=0,
        cluster_id="",
        topic_id="",
        next_offset=0,
        end_offset=count,
        resend_id=number,
    )


def _chunks(number: int, keys: Sequence[str]) -> list[bytes]:
    resend = copy_format.long(number)
    return [
        b"".join(
            _COLUMNS + resend + copy_format.long(place) + copy_format.word(keys[place])
            for place in range(start, min(start + _PAGE, len(keys)))
        )
        for start in range(0, len(keys), _PAGE)
    ]


async def of_subscriber(ledger: Ledger, subscriber: WebhookSubscriber) -> OpenResend | None:
    """Return the resend of a subscriber that is not done, or None."""
    rows = await ledger.fetch(_SQL["open"], {"id": subscriber.id})
    return OpenResend.from_row(rows[0], subscriber.customer_id) if rows else None


async def finish(ledger: Ledger, subscriber_id: int, number: int, *, now: datetime) -> None:
    """Note that a resend is done."""
    values = {"id": subscriber_id, "number": number, "now": now, "cancelled_at": None}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["end"], values)


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
            raise NoResendError(name)
        number = int(row["id"])
        before = {"number": number}
        await registry.record_change(connection, "cancel resend", found, by, now, before, {})
    return number


async def latest(ledger: Ledger, subscriber_id: int) -> ResendProgress | None:
    """Return the latest resend of a subscriber; None: there was none."""
    rows = await ledger.fetch(_SQL["latest"], {"id": subscriber_id})
    return ResendProgress(**rows[0]) if rows else None


async def standings(ledger: Ledger, keys: Collection[str]) -> Mapping[str, KeyStanding]:
    """Return what holds of ``keys`` now, by key; of an erased or unknown one nothing."""
    rows = await ledger.fetch(_SQL["standings"], {"keys": sorted(keys)})
    return {
        row["key"]: KeyStanding(
            may_send=row["may_send"],
            since=row["permission_since"],
            registered_at=row["registered_at"],
            consent_date=row["registered_consent_date"],
        )
        for row in rows
    }


async def opted_out(
    ledger: Ledger, selection: ResendSelection
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """Yield pages of rows of keys that opted out and may not be messaged."""
    values = {
        "customer_id": selection.filter.customer_id,
        "keys": None if selection.keys is None else sorted(selection.keys),
        "after": "",
        "size": _PAGE,
    }
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
