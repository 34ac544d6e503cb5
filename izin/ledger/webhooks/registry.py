"""The subscribers: where events are posted, which of them, and how they are signed.

They are added, paused, resumed and given new secrets by people, each an entry; none has a secret.
Secrets are encrypted, each for its subscriber, and decrypted when something is signed.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from izin.consent import SYNTHETIC_BRAND, SYNTHETIC_CUSTOMER, SourceError
from izin.ledger.db import Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.history import record_act, subscriber_key
from izin.ledger.record import ForeignBrandError, SecretKeys, UndecryptableSecretError
from izin.ledger.registry.customers import require_active

_SQL = statements("subscribers")
_KEYS = statements("api_keys")


class WebhookType(StrEnum):
    """The types of events that are posted."""

    OPTED_OUT = "consent.opted-out"
    """A recipient opted out: stop sending at once."""
    GRANTED = "permission.granted"
    """From now on messages may be sent."""
    REVOKED = "permission.revoked"
    """From now on none may be sent, though they might before."""
    OUTCOME = "consent.outcome"
    """What became of an event at İYS."""


class PauseReason(StrEnum):
    """Why nothing is posted to a subscriber."""

    OPERATOR = "operator"
    """A person ordered it."""
    GONE = "gone"
    """It answered 410: it wants no more."""


class LaneName(StrEnum):
    """The lanes of a subscriber, of which each has cursors of its own."""

    EXPRESS = "express"
    """Opt-outs, which wait for nothing else."""
    BULK = "bulk"
    RESEND = "resend"
    """What the topics have, again, to an end."""
    HISTORY = "history"
    """Of a resend: opt-outs that are older than their topic, from a list in the ledger. It stands
    for their topic too: offsets are numbers of the list."""


_LIMITS = ("types", "brands", "channels", "origins")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events a subscriber gets; an empty set is all of them."""

    customer_id: str
    types: frozenset[str] = frozenset()
    brands: frozenset[int] = frozenset()
    channels: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def limits(self) -> dict[str, list[Any]]:
        """Return ``types``, ``brands``, ``channels`` and ``origins``, as the columns have them."""
        return {name: sorted(getattr(self, name)) for name in _LIMITS}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the filter of a row with these columns and the customer."""
        return cls(
            customer_id=row["customer_id"], **{name: frozenset(row[name]) for name in _LIMITS}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSubscriber:
    """A system of a customer, to which events are posted."""

    id: int
    name: str
    url: str
    filter: EventFilter
    parallel: int
    """How many requests may be under way at a time."""
    secrets: tuple[str, ...] = field(repr=False)
    """That sign, as they are stored: the present one, and during a rotation the former one."""
    former_until: datetime | None
    version: int
    created_at: datetime
    paused_at: datetime | None
    paused_for: str | None
    failing_since: datetime | None
    alerts: int
    last_failure: str | None
    last_failure_at: datetime | None
    caught_up_at: datetime

    @property
    def customer_id(self) -> str:
        """Whose it is."""
        return self.filter.customer_id

    def secrets_at(self, now: datetime, keys: SecretKeys) -> tuple[str, ...]:
        """Return the secrets that sign now, the present one first; a former one that cannot be
        decrypted is left out.

        Raises:
            UndecryptableSecretError: the present one cannot be.
        """
        row, (present, *former) = row_of_subscriber(self.name), self.secrets
        found = [keys.decrypt(present, row)]
        if self.former_until is not None and self.former_until > now:
            with suppress(UndecryptableSecretError):
                found += [keys.decrypt(one, row) for one in former]
        return tuple(found)

    def state_at(self, now: datetime) -> str:
        """Return what it does now, in a word or two."""
        if self.paused_for is not None:
            return f"paused ({self.paused_for})"
        if self.failing_since is not None and self.failing_since <= now:
            return "failing"
        return "active"

    def shown(self) -> dict[str, Any]:
        """Return what the history has of it: all but its secrets."""
        return {
            "name": self.name,
            "url": self.url,
            **self.filter.limits(),
            "parallel": self.parallel,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the subscriber of a row of ``subscribers``."""
        same = ("id", "name", "url", "parallel", "former_until", "version", "created_at")
        health = ("paused_at", "paused_for", "failing_since", "alerts", "last_failure")
        return cls(
            **{name: row[name] for name in (*same, *health, "last_failure_at", "caught_up_at")},
            filter=EventFilter.from_row(row),
            secrets=tuple(one for one in (row["secret"], row["former_secret"]) if one),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCursor:
    """How far one partition was acknowledged in a lane."""

    subscriber_id: int = 0
    """0: of a subscriber that is being added, or a resend that is being ordered."""
    lane: str
    topic: str
    partition: int
    cluster_id: str = ""
    topic_id: str = ""
    """Empty: it is no topic, but a list in the ledger."""
    next_offset: int
    open_offsets: tuple[int, ...] = ()
    end_offset: int | None = None
    resend_id: int = 0
    """Of the lanes of a resend."""

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the cursor of a row of ``delivery_cursors``."""
        return cls(**{**row, "open_offsets": tuple(row["open_offsets"])})


class UnknownSubscriberError(SourceError):
    """No subscriber of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no subscriber {name}; see: izin subscribers list. Who reads a feed or the "
            "topics reads again by itself: docs/feeds.md and docs/subscribing.md, "
            '"When you have lost your list"'
        )


class TakenSubscriberError(SourceError):
    """A subscriber of this name exists."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a subscriber {name} exists; choose another name")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubscriber:
    """What is said of a subscriber that is added."""

    name: str
    url: str
    filter: EventFilter
    parallel: int
    secret: str = field(repr=False)


def row_of_subscriber(name: str) -> str:
    """Return what the secrets of a subscriber are encrypted for."""
    return f"subscribers/{name}"


async def add(
    ledger: Ledger,
    new: NewSubscriber,
    cursors: Sequence[DeliveryCursor],
    *,
    by: str,
    now: datetime,
) -> WebhookSubscriber:
    """Add a subscriber that gets what comes behind ``cursors``, ``by`` whose order.

    Raises:
        UnknownCustomerError: its customer is not registered.
        OffboardedCustomerError: it was offboarded.
        ForeignBrandError: one of its brands is not the customer's.
        TakenSubscriberError: there is one of this name.
    """
    chosen = new.filter
    async with ledger.transaction() as connection:
        await require_active(connection, [chosen.customer_id])
        values = {"brands": sorted(chosen.brands), "customers": [chosen.customer_id]}
        foreign = await fetch(connection, _KEYS["foreign-brands"], values)
        if foreign:
            raise ForeignBrandError([one["brand_code"] for one in foreign], [chosen.customer_id])
        values = {
            "name": new.name,
            "customer_id": chosen.customer_id,
            "url": new.url,
            **chosen.limits(),
            "parallel": new.parallel,
            "secret": ledger.secret_keys.encrypt(new.secret, row_of_subscriber(new.name)),
            "now": now,
        }
        row = await fetch_one(connection, _SQL["insert"], values)
        if row is None:
            raise TakenSubscriberError(new.name)
        added = WebhookSubscriber.from_row(row)
        await add_cursors(connection, added.id, cursors)
        await record_change(connection, "add subscriber", added, by, now, {}, added.shown())
    return added


async def every(ledger: Ledger) -> tuple[WebhookSubscriber, ...]:
    """Return every subscriber, by name."""
    return tuple(map(WebhookSubscriber.from_row, await ledger.fetch(_SQL["all"])))


async def of_name(ledger: Ledger, name: str) -> WebhookSubscriber:
    """Return the subscriber of a name; raises UnknownSubscriberError."""
    for subscriber in await every(ledger):
        if subscriber.name == name:
            return subscriber
    raise UnknownSubscriberError(name)


async def cursors_of(ledger: Ledger, ids: Sequence[int]) -> tuple[DeliveryCursor, ...]:
    """Return the cursors of subscribers."""
    return tuple(
        map(DeliveryCursor.from_row, await ledger.fetch(_SQL["cursors"], {"ids": list(ids)}))
    )


async def brand_customers(ledger: Ledger) -> Mapping[int, str]:
    """Return whose each brand is, that of synthetic opt-outs among them."""
    rows = await ledger.fetch(_SQL["brand-customers"])
    found = {row["brand_code"]: row["customer_id"] for row in rows}
    return found | {SYNTHETIC_BRAND: SYNTHETIC_CUSTOMER}


async def latest_attempts(ledger: Ledger, number: int, *, most: int) -> Sequence[Mapping[str, Any]]:
    """Return the latest failed attempts of a subscriber, the latest first."""
    return await ledger.fetch(_SQL["latest-attempts"], {"id": number, "size": most})


async def pause(
    ledger: Ledger, name: str, *, reason: PauseReason, by: str, now: datetime
) -> WebhookSubscriber | None:
    """Pause a subscriber, whose backlog is kept; None where it is paused already.

    Raises:
        UnknownSubscriberError: there is none of this name.
    """
    values = {"now": now, "paused_for": reason.value}
    after = {"paused": True, "reason": reason.value}
    return await _change(ledger, name, "pause", "pause subscriber", values, by, {}, after)


async def resume(ledger: Ledger, name: str, *, by: str, now: datetime) -> WebhookSubscriber | None:
    """Let a paused subscriber be served again, or post at once what one refused; None where it is
    neither paused nor fails.

    Raises:
        UnknownSubscriberError: there is none of this name.
    """
    values, before = {"now": now}, {"paused": True}
    return await _change(
        ledger, name, "resume", "resume subscriber", values, by, before, {}
    ) or await _change(ledger, name, "retry", "retry subscriber", values, by, {}, {})


async def remove(ledger: Ledger, name: str, *, by: str, now: datetime) -> WebhookSubscriber:
    """Remove a subscriber: nothing more is posted to it, and another may have its name.

    What it has acknowledged stays in the ledger, under its number, which the history has.

    Raises:
        UnknownSubscriberError: there is none of this name.
    """
    async with ledger.transaction() as connection:
        found = await locked(connection, name)
        await connection.execute(_SQL["remove"], {"id": found.id})
        await record_change(
            connection,
            "remove subscriber",
            found,
            by,
            now,
            {**found.shown(), "number": found.id},
            {},
        )
    return found


async def rotate_secret(  # noqa: PLR0913  # of whom, by what, and by whose order
    ledger: Ledger, name: str, *, secret: str, until: datetime, by: str, now: datetime
) -> WebhookSubscriber:
    """Sign with ``secret``, and with the former one too ``until`` then.

    Raises:
        UnknownSubscriberError: there is none of this name.
    """
    encrypted = ledger.secret_keys.encrypt(secret, row_of_subscriber(name))
    values = {"secret": encrypted, "until": until, "now": now}
    after = {"former_until": until}
    changed = await _change(
        ledger, name, "rotate", "rotate subscriber secret", values, by, {}, after
    )
    if changed is None:
        raise UnknownSubscriberError(name)
    return changed


async def tested(  # noqa: PLR0913  # which test, and what came of it
    ledger: Ledger, name: str, *, result: str, is_taken: bool, by: str, now: datetime
) -> None:
    """Record that somebody has sent a test, and with which result; one that was taken shows that
    what was refused may be posted at once.
    """
    async with ledger.transaction() as connection:
        found = await locked(connection, name)
        if is_taken:
            await connection.execute(_SQL["retry"], {"id": found.id})
        await record_change(connection, "test subscriber", found, by, now, {}, {"result": result})


async def begin_anew(ledger: Ledger, cursor: DeliveryCursor) -> None:
    """Read the topic of ``cursor``, which was created anew, from its beginning."""
    await ledger.execute(_SQL["begin-anew"], asdict(cursor))


async def _change(  # noqa: PLR0913, PLR0917  # which change, and its entry
    ledger: Ledger,
    name: str,
    statement: str,
    what: str,
    values: Mapping[str, Any],
    by: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> WebhookSubscriber | None:
    async with ledger.transaction() as connection:
        found = await locked(connection, name)
        # Of a rotation: one from before there was a key is encrypted with it.
        former = ledger.secret_keys.renew(found.secrets[0], row_of_subscriber(name))
        given = {**values, "id": found.id, "former": former}
        row = await fetch_one(connection, _SQL[statement], given)
        if row is None:
            return None
        changed = WebhookSubscriber.from_row(row)
        await record_change(connection, what, changed, by, values["now"], before, after)
    return changed


async def locked(connection: Connection, name: str) -> WebhookSubscriber:
    """Return the subscriber of a name, locked until the transaction ends.

    Raises:
        UnknownSubscriberError: there is none.
    """
    row = await fetch_one(connection, _SQL["of-name"], {"name": name})
    if row is None:
        raise UnknownSubscriberError(name)
    return WebhookSubscriber.from_row(row)


async def add_cursors(
    connection: Connection, number: int, cursors: Sequence[DeliveryCursor]
) -> None:
    """Add ``cursors`` to the subscriber of this number."""
    await connection.execute(
        _SQL["add-cursors"],
        {"id": number, "cursors": json.dumps([asdict(cursor) for cursor in cursors])},
    )


async def record_change(  # noqa: PLR0913, PLR0917  # what was done to which one, and by whom
    connection: Connection,
    what: str,
    subscriber: WebhookSubscriber,
    by: str,
    now: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """Append the act of a person on a subscriber to the history."""
    await record_act(
        connection,
        what,
        subscriber_key(subscriber.id),
        by=by,
        now=now,
        before=before,
        after={"name": subscriber.name, **after},
        customer_id=subscriber.customer_id,
    )
