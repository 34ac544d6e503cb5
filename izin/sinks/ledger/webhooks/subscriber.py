"""A subscriber: where its events are posted, which of them, and how they are signed. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


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
        limits = {name: frozenset(row[name]) for name in _LIMITS}
        return cls(customer_id=row["customer_id"], **limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSubscriber:
    """A system of a customer, to which events are posted."""

    id: int
    name: str
    url: str
    filter: EventFilter
    parallel: int
    """How many requests may be under way at a time."""
    secrets: tuple[str, ...]
    """That sign: the present one, and during a rotation the former one."""
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

    def secrets_at(self, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign now, the present one first."""
        if self.former_until is not None and self.former_until <= now:
            return self.secrets[:1]
        return self.secrets

    def state_at(self, now: datetime) -> str:
        """Return what it does now, in a word or two."""
        if self.paused_for is not None:
            return f"paused ({self.paused_for})"
        if self.failing_since is not None and self.failing_since <= now:
            return "failing"
        return "active"

    def shown(self) -> dict[str, Any]:
        """Return what the history has of it: all but its secrets."""
        own = {"name": self.name, "url": self.url}
        return {**own, **self.filter.limits(), "parallel": self.parallel}

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
