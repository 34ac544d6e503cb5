"""What a subscriber receives: one frozen value for each record, typed, with aware instants.

A change may come twice, and then has the same ``id``. Changes of one key come in their order within
a topic. Words that later releases may add to (reasons, outcomes) stay texts where this release does
not know them. No ``repr`` shows a recipient: they are personal data.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from izin.consent.may_send import PermissionReason
from izin.consent.model import ConsentKey, Status
from izin.consent.next_action import Registered


class ChangeKind(StrEnum):
    """What can be subscribed to."""

    OPT_OUTS = "opt-outs"
    """Each time the status of a key becomes RET: the fastest way to stop."""
    PERMISSIONS = "permissions"
    """Whether messages may be sent to a key, when the answer or its reason changes."""
    OUTCOMES = "outcomes"
    """What became of an event at İYS."""


class OutcomeKind(StrEnum):
    """What became of an event at İYS."""

    ACCEPTED = "accepted"
    """İYS saved it."""
    REFUSED = "refused"
    """İYS refused it; the code says why."""
    EXPIRED = "expired"
    """The three business days were over: a new consent is needed."""
    PARKED = "parked"
    """A person must act before it can be registered."""
    NOT_NEEDED = "not_needed"
    """İYS held it already, or had nothing to withdraw."""
    SUPERSEDED = "superseded"
    """A newer event of the key came before it was registered."""


class ChangeId(NamedTuple):
    """Names one record, also where it comes twice: CloudEvents' source and id together."""

    source: str
    id: str


class Position(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int


async def _nothing() -> None:
    """Confirm a change that belongs to no subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One record of a topic."""

    id: ChangeId
    """The deduplication key. Of a record without the headers it is topic, partition and offset."""
    occurred_at: datetime
    """When the record was made."""
    position: Position
    confirm: Callable[[], Awaitable[None]] = field(default=_nothing, repr=False, compare=False)
    """What ``done`` calls."""

    async def done(self) -> None:
        """Confirm that the change was handled: it does not come again after a restart.

        Without a checkpoint store it is committed to Kafka within a second, and surely when the
        subscription is closed. With one, its ``save`` is awaited here. Where the partition belongs
        to another instance by now, or the subscription was closed, nothing is confirmed and the
        change comes again.

        Raises:
            ConfirmationOrderError: there is a store, and an earlier change of the partition is not
                confirmed.
        """
        await self.confirm()


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOut(Change):
    """A recipient opted out (RET): stop at once."""

    key: ConsentKey = field(repr=False)
    customer_id: str
    opted_out_at: datetime
    """From when it counts, in whole seconds."""
    origin: str
    """Where it was stated: ``iys``, or one of your systems."""
    source: str | None
    """İYS's source, such as ``HS_WEB``."""
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionChanged(Change):
    """The answer to "may we send?", its reason or its retailers changed."""

    key: ConsentKey = field(repr=False)
    customer_id: str
    may_send: bool
    """For commercial messages."""
    reason: PermissionReason | str
    """A text only where a later release has a new reason."""
    desired: Status | None
    registered: Registered
    registered_at: datetime | None
    """İYS's creation date."""
    consent_date: datetime | None
    since: datetime
    """When this answer began."""
    retailers: tuple[int, ...] = ()
    """The codes of the retailers that may use a consent which İYS holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionErased(Change):
    """Everything about a key was erased: remove what you hold of it, and send nothing."""

    key: ConsentKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeReached(Change):
    """What became of an event at İYS."""

    key: ConsentKey = field(repr=False)
    customer_id: str
    outcome_id: str
    """The same for every repetition of one outcome."""
    event_id: str
    outcome: OutcomeKind | str
    """A text only where a later release has a new outcome."""
    status: Status
    """As it was submitted."""
    code: str | None
    """İYS's code, or one of izin's (docs/codes.md)."""
    message: str | None
    origin: str
    origin_ref: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableRecord(Change):
    """A record that cannot be read. An opt-out may be in it: do not ignore it.

    Stop sending to ``key`` where there is one, and have the record looked at.
    """

    kind: ChangeKind
    key: ConsentKey | None = field(repr=False)
    """By the record's own key; None: that cannot be read either."""
    reason: str
    value: bytes | None = field(repr=False)
    """As it is in the topic."""
