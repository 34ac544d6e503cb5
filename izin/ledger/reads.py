"""The read API of the ledger, for command line, console and metrics.

Nothing here changes anything, and nothing loads the register whole.

Deadlines: a consent must be registered within three business days (Yönetmelik m.7/11), an opt-out
reported within three (m.9/6). What is not settled is counted by how much of its term has passed.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from izin.consent import OriginRank, Status
from izin.consent.forecast import DueGroup
from izin.ledger.db import Ledger, statements
from izin.ledger.history import append, decision_columns
from izin.ledger.record import ConsentRow

_PAGE = 5000
_SLICE = 500
"""Recipients in one query: each is looked up under every key that it may have."""
_SQL = statements("reads")
REGISTER = (
    *("key", "customer_id", "brand_code", "channel", "recipient_type", "recipient"),
    *("desired_status", "desired_at", "desired_rank", "desired_consent_date", "desired_source"),
    *("void_event_id", "registered", "registered_at", "registered_consent_date"),
    *("registered_source", "registered_transaction_id", "state", "reason", "code", "due_at"),
    *("expires_at", "may_send", "permission_reason"),
)
"""The columns of the register: what is desired of a key, what is registered, and the state of the
obligation."""
_DEADLINES = statements("deadlines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many keys of a brand, channel and desired status are in a state."""

    brand_code: int
    channel: str
    desired_status: str | None
    state: str
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFact:
    """One entry of a key's history, and its place on its chain."""

    shard: int
    place: int
    kind: str
    customer_id: str
    key: str
    event_id: str | None
    status: str | None
    source: str
    occurred_at: datetime
    recorded_at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything of a recipient: the rows of its keys, and what happened to them, in order."""

    rows: tuple[ConsentRow, ...]
    facts: tuple[RecordedFact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """What is still due, waiting or unsettled."""

    to_send: int
    opt_outs: int
    """The opt-outs among ``to_send``."""
    held_back: int
    """Opt-outs that would be sent, but for an automatic suspension: a person decides."""
    in_flight: int
    awaiting_result: int
    unknown: int
    to_query: int
    waiting: int
    """For an unsettled ONAY, or for the event that rescues an opt-out."""
    parked: int
    overdue: int
    outbox: int

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left but what waits for a person."""
        return not any(
            (
                self.to_send,
                self.in_flight,
                self.awaiting_result,
                self.unknown,
                self.to_query,
                self.waiting,
                self.outbox,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What is still to be submitted, in groups with the same deadlines."""

    ready: tuple[DueGroup, ...]
    suspended: tuple[DueGroup, ...]
    """Not submitted for a suspension, or because the brand is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """How many keys wait for a person, by reason."""

    brand_code: int
    channel: str
    desired_status: str | None
    reason: str | None
    code: str | None
    keys: int


class ParkedKey(NamedTuple):
    """A key that waits for a person, as it is now."""

    key: str
    event_id: str | None
    since: datetime
    """When its row, or its difference of retailers, last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How large the consents are, and two settings of the server, in bytes."""

    consents: int
    shared_buffers: int
    max_wal_size: int


async def counts(ledger: Ledger) -> tuple[Count, ...]:
    """Return how many keys are in each state."""
    return tuple(Count(**row) for row in await ledger.fetch(_SQL["counts"]))


async def unsettled(ledger: Ledger, brand_code: int) -> tuple[Count, ...]:
    """Return how many keys of a brand are in each state but those that are settled."""
    rows = await ledger.fetch(_SQL["unsettled"], {"brand_code": brand_code})
    return tuple(Count(**row) for row in rows)


async def parked(ledger: Ledger) -> tuple[Parked, ...]:
    """Return what waits for a person, and why."""
    return tuple(Parked(**row) for row in await ledger.fetch(_SQL["parked"]))


async def parked_keys(ledger: Ledger, brand_code: int, reason: str) -> tuple[ParkedKey, ...]:
    """Return the keys of a brand that wait for a person for ``reason``, in their order."""
    values = {"brand_code": brand_code, "reason": reason}
    return tuple(ParkedKey(**row) for row in await ledger.fetch(_SQL["parked-keys"], values))


async def lag(ledger: Ledger, *, now: datetime) -> Lag:
    """Return what is still due, waiting or unsettled."""
    rows = await ledger.fetch(_SQL["lag"], {"now": now})
    return Lag(**rows[0], outbox=(await ledger.fetch(_SQL["outbox"]))[0]["rows"])


async def backlog(ledger: Ledger, *, customer_id: str | None = None) -> Backlog:
    """Return what is still to be submitted, of a customer or of all; ``consent.forecast`` predicts
    when it will be.
    """
    groups: dict[bool, list[DueGroup]] = {False: [], True: []}
    for row in await ledger.fetch(_SQL["backlog"], {"customer_id": customer_id}):
        groups[row["suspended"]].append(
            DueGroup(
                status=Status(row["status"]),
                due_at=row["due_at"],
                expires_at=row["expires_at"],
                count=row["count"],
            )
        )
    return Backlog(ready=tuple(groups[False]), suspended=tuple(groups[True]))


def short_of(positions: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> int:
    """Return how many offsets ``positions`` are short of ``ends``, each by topic and partition."""
    return sum(max(0, end - positions.get(place, 0)) for place, end in ends.items())


async def ingested(ledger: Ledger) -> dict[tuple[str, int], int]:
    """Return the next offset of each topic and partition, to be compared with
    ``runtime.kafka.committed_ends``.
    """
    return {
        (row["topic"], row["partition"]): row["next_offset"]
        for row in await ledger.fetch(_SQL["ingested"])
    }


async def memory(ledger: Ledger) -> Memory:
    """Return how large the consents are beside what the server has for them."""
    (row,) = await ledger.fetch(_SQL["memory"])
    return Memory(**row)


async def living(ledger: Ledger) -> int:
    """Return how many sink workers run now, on any machine."""
    (row,) = await ledger.fetch(_SQL["living"])
    return int(row["workers"])


async def living_deliverers(ledger: Ledger) -> int:
    """Return how many processes deliver webhooks now, on any machine."""
    (row,) = await ledger.fetch(_SQL["living"])
    return int(row["webhooks"])


async def register(
    ledger: Ledger, *, brand_code: int | None = None
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the register as the ledger has it: of each key the columns ``REGISTER``, in the order
    of keys.
    """
    values = {"after": "", "brand_code": brand_code, "size": _PAGE}
    while rows := await ledger.fetch(_SQL["register"], values):
        for row in rows:
            yield row
        values["after"] = rows[-1]["key"]


async def keys_of(ledger: Ledger, recipients: Collection[str]) -> dict[str, list[str]]:
    """Return the keys of ``recipients`` (normalised) that have a row or any history."""
    keys: dict[str, list[str]] = {recipient: [] for recipient in recipients}
    given = list(keys)
    for start in range(0, len(given), _SLICE):
        values = {"recipients": given[start : start + _SLICE]}
        for row in await ledger.fetch(_SQL["keys-of"], values):
            keys[row["recipient"]].append(row["key"])
    return keys


async def history(ledger: Ledger, recipient: str) -> History:
    """Return everything of a recipient (normalised), or of a canonical key, in order; with what
    people did to its brands and customers.
    """
    is_key = recipient.count("/") >= 3  # noqa: PLR2004 - brand_code/type/recipient_type/recipient
    keys = [recipient] if is_key else (await keys_of(ledger, [recipient]))[recipient]
    found = await rows(ledger, keys)
    others = {key for row in found for key in concerned(row)}
    return History(rows=found, facts=await facts(ledger, [*keys, *sorted(others)]))


async def rows(ledger: Ledger, keys: Sequence[str]) -> tuple[ConsentRow, ...]:
    """Return the rows of these keys that have one, in the order of keys."""
    return tuple(map(ConsentRow.from_row, await ledger.fetch(_SQL["rows"], {"keys": list(keys)})))


def concerned(row: ConsentRow) -> tuple[str, str]:
    """Return the keys of acts that concern a row besides those on itself."""
    return append.brand_key(row.brand_code), append.customer_key(row.customer_id)


async def facts(ledger: Ledger, keys: Sequence[str]) -> tuple[RecordedFact, ...]:
    """Return the entries of these keys, in the order in which they were recorded."""
    return tuple(map(_fact, await ledger.fetch(_SQL["history"], {"keys": keys})))


def _fact(row: Mapping[str, Any]) -> RecordedFact:
    columns = {name: value for name, value in row.items() if name != "decision"}
    if row["decision"] is not None:
        columns |= decision_columns(row["decision"])
    return RecordedFact(**columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """What is due to İYS of a brand, channel and status, by how much of its term has passed."""

    customer_id: str | None
    """None: the brand is not registered."""
    brand_code: int
    channel: str
    status: str
    keys: int
    missed: int
    past_95: int
    """At 95 % and more of the term, and not missed yet; the others likewise."""
    past_80: int
    past_50: int
    due_soon: int
    """Within 24 hours."""
    parked: int
    unknown: int
    first_due_at: datetime | None
    oldest_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendedOptOuts:
    """How many opt-outs of a brand and channel are suspended."""

    brand_code: int
    channel: str
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptOut:
    """An opt-out that İYS has not settled. Contains personal data."""

    key: str
    recipient: str
    channel: str
    recipient_type: str
    desired_source: str | None
    desired_at: datetime
    due_at: datetime | None
    state: str
    reason: str | None
    code: str | None


async def margins(ledger: Ledger, *, now: datetime) -> tuple[Margin, ...]:
    """Return what is not settled; opt-outs first, then the earliest due."""
    return tuple(Margin(**row) for row in await ledger.fetch(_DEADLINES["margins"], {"now": now}))


async def has_opt_outs(ledger: Ledger) -> bool:
    """Return whether an opt-out is not settled."""
    return bool(await ledger.fetch(_DEADLINES["has-opt-outs"]))


async def suspended_opt_outs(ledger: Ledger) -> tuple[SuspendedOptOuts, ...]:
    """Return the opt-outs that are not submitted for a suspension or a stopped brand."""
    return tuple(
        SuspendedOptOuts(**row) for row in await ledger.fetch(_DEADLINES["suspended-opt-outs"])
    )


async def open_opt_outs(
    ledger: Ledger, brand_code: int, *, most: int | None = None
) -> tuple[OpenOptOut, ...]:
    """Return a brand's opt-outs that İYS has not settled, the earliest due first."""
    values = {"brand_code": brand_code, "ours": int(OriginRank.OURS), "most": most}
    return tuple(
        OpenOptOut(**row) for row in await ledger.fetch(_DEADLINES["open-opt-outs"], values)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRights:
    """The role of the ledger's login, and where its rights differ from what roles.sql gives it."""

    login: str
    role: str | None
    """One of roles.sql, or ``owner``: of the tables, or a superuser. None: it is in none."""
    missing: Sequence[str]
    """As ``INSERT on outbox``."""
    too_wide: Sequence[str]


async def rights(ledger: Ledger) -> LoginRights:
    """Return the rights of this ledger's login; an owner's do not differ, for it has all."""
    return LoginRights(**(await ledger.fetch(_SQL["rights"]))[0])


async def breaches(
    ledger: Ledger, *, customer_id: str | None = None, most: int = 1000
) -> tuple[Mapping[str, Any], ...]:
    """Return the latest opt-outs that were submitted too late, of a customer or of all."""
    return tuple(
        await ledger.fetch(_DEADLINES["breaches"], {"size": most, "customer_id": customer_id})
    )
