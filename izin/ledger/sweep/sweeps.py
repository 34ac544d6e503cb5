"""Sweeps of brands, and İYS's counts of their consents beside ours.

A brand has one open sweep at most. Its cursor moves with the answers that it has saved, so a
process that is killed repeats a few requests and leaves nothing out. What the sweep writes about
the keys of a page is in the transaction that moves the cursor: where that finds the sweep ended,
for a person stopped it, nothing of the page is written.

Counts are kept for the trend. No method of İYS lists the keys of a brand: where it counts more than
the ledger knows, only İYS's portal or whoever registered them can name the rest.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from izin.consent import CHANNELS, RECIPIENT_TYPES
from izin.iys.wire_format import BrandSummary
from izin.ledger.db import Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.history import act, append, brand_key
from izin.ledger.record import LeaseOwner
from izin.ledger.stream_progress import WINDOW

PAGE = 1000
"""The most recipients of a query."""
_SQL = statements("sweeps")
_GROUPS = tuple(
    (channel, whose) for channel in sorted(CHANNELS) for whose in sorted(RECIPIENT_TYPES)
)
"""Channels and recipient types in the order of the keys."""
_COUNTS = statements("register_counts")


class SweepReason(StrEnum):
    """Why a sweep was started."""

    GAP = "gap"
    """A stream was not pulled for longer than İYS shows it."""
    ORDER = "order"
    """A person ordered it."""
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCounts:
    """What became of keys that were queried."""

    queried: int = 0
    confirmed: int = 0
    """İYS holds ONAY, as was known."""
    shut: int = 0
    """ONAY was believed, and İYS shows none: nothing may be sent, and the key is queried alone."""
    found: int = 0
    """İYS holds an ONAY that was not known, and no opt-out is."""
    asked: int = 0
    """İYS shows ONAY beside an opt-out, or cannot look the key up: it is queried alone."""
    skipped: int = 0
    """The key changed meanwhile, or something is due for it, which reads İYS's answer itself."""
    refused: int = 0
    """İYS refuses to look the recipient up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The sweep of a brand."""

    id: int
    customer_id: str
    brand_code: int
    reason: str
    started_at: datetime
    keys: int
    """How many keys the brand had when it began."""
    after: str | None
    """Every key up to here is done; None: it has ended."""
    pages: int
    counts: SweepCounts
    skipped_groups: tuple[str, ...]
    """Channels and recipient types that İYS does not let us query, each with its code."""
    error: str | None
    retry_at: datetime | None
    ended_at: datetime | None
    is_stopped: bool

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return ``row`` of ``sweeps`` as a value."""
        fields = dict(row)
        counts = SweepCounts(**{name: fields.pop(name) for name in SweepCounts.__slots__})
        return cls(**fields | {"skipped_groups": tuple(fields["skipped_groups"])}, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSize:
    """How many keys of a brand one channel and recipient type has."""

    brand_code: int
    channel: str
    recipient_type: str
    keys: int

    @property
    def requests(self) -> int:
        """How many requests they take."""
        return -(-self.keys // PAGE)


async def order(
    ledger: Ledger, brand_codes: Collection[int], *, by: str, now: datetime
) -> tuple[Sweep, ...]:
    """Start a sweep of each of these brands that has none, by a person's order; return those.

    The history has who ordered it, ``by``.
    """
    async with ledger.transaction() as connection:
        started = await _start(connection, brand_codes, SweepReason.ORDER, now)
        entries = [
            act(
                "start sweep",
                brand_key(sweep.brand_code),
                by=by,
                now=now,
                before={},
                after={"sweep": sweep.id, "keys": sweep.keys},
                customer_id=sweep.customer_id,
            )
            for sweep in started
        ]
        await append.append(connection, entries, now=now)
    return started


async def start_after_gap(ledger: Ledger, brand_code: int, *, now: datetime) -> bool:
    """Start a sweep of a brand whose entries were not pulled for longer than İYS shows them;
    return whether it was needed.

    One that began within İYS's window sees whatever happened before it. An older one that is still
    open has passed keys since, and starts over. Until it ends the gate says no (``is_after_gap``).
    """
    async with ledger.transaction() as connection:
        values = {"brand_code": brand_code, "since": now - WINDOW}
        if await fetch_one(connection, _SQL["since"], values) is not None:
            await connection.execute(_SQL["of-gap"], values)
            return False
        await connection.execute(_SQL["stop"], {"brand_codes": [brand_code], "now": now})
        return bool(await _start(connection, [brand_code], SweepReason.GAP, now))


async def is_after_gap(connection: Connection, brand_code: int) -> bool:
    """Whether a brand is swept because its entries were not pulled for longer than İYS shows them:
    an opt-out of that time is known once the sweep has ended.
    """
    return await fetch_one(connection, _SQL["is-open"], {"brand_code": brand_code}) is not None


async def start_scheduled(
    ledger: Ledger, who: LeaseOwner, every: timedelta, *, now: datetime
) -> tuple[Sweep, ...]:
    """Start a sweep of each brand whose last one began longer ago than ``every``; return those."""
    found = await ledger.fetch(_SQL["due"], {**who.who, "before": now - every})
    if not found:
        return ()
    async with ledger.transaction() as connection:
        return await _start(
            connection, [row["brand_code"] for row in found], SweepReason.SCHEDULE, now
        )


async def stop(
    ledger: Ledger, brand_codes: Collection[int] | None, *, by: str, now: datetime
) -> tuple[Sweep, ...]:
    """Stop the open sweeps of these brands, or of all; return them as they ended.

    The history has who ordered it, ``by``.
    """
    codes = None if brand_codes is None else list(brand_codes)
    async with ledger.transaction() as connection:
        rows = await fetch(connection, _SQL["stop"], {"brand_codes": codes, "now": now})
        stopped = tuple(map(Sweep.from_row, rows))
        entries = [
            act(
                "stop sweep",
                brand_key(sweep.brand_code),
                by=by,
                now=now,
                before={"sweep": sweep.id, "started_at": sweep.started_at},
                after={"queried": sweep.counts.queried, "keys": sweep.keys},
                customer_id=sweep.customer_id,
            )
            for sweep in stopped
        ]
        await append.append(connection, entries, now=now)
    return stopped


async def next_sweep(ledger: Ledger, who: LeaseOwner, *, now: datetime) -> Sweep | None:
    """Return the open sweep that goes on now in a process of this account and address."""
    rows = await ledger.fetch(_SQL["next"], {**who.who, "now": now})
    return Sweep.from_row(rows[0]) if rows else None


async def latest(ledger: Ledger) -> tuple[Sweep, ...]:
    """Return the latest sweep of each brand."""
    return tuple(map(Sweep.from_row, await ledger.fetch(_SQL["latest"])))


async def sizes(ledger: Ledger, brand_codes: Collection[int]) -> tuple[GroupSize, ...]:
    """Return how many keys these brands have, by channel and recipient type."""
    return tuple(
        GroupSize(**row)
        for row in await ledger.fetch(_SQL["sizes"], {"brand_codes": list(brand_codes)})
    )


async def _start(
    connection: Connection, brand_codes: Collection[int], reason: SweepReason, now: datetime
) -> tuple[Sweep, ...]:
    values = {"brand_codes": list(brand_codes), "reason": str(reason), "now": now}
    return tuple(map(Sweep.from_row, await fetch(connection, _SQL["start"], values)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptKey:
    """A key as it was before İYS was asked."""

    key: str
    recipient: str
    channel: str
    recipient_type: str
    registered: str
    registered_at: datetime | None
    last_exchange_at: datetime | None

    @property
    def group(self) -> tuple[str, str]:
        """What all recipients of one request share: channel and recipient type."""
        return self.channel, self.recipient_type


async def page_after(ledger: Ledger, brand_code: int, after: str) -> tuple[SweptKey, ...]:
    """Return up to a thousand keys behind ``after`` of one channel and recipient type, without
    those that are on their way to İYS; none: the end of the brand.
    """
    values = {"brand_code": brand_code, "after": after, "size": PAGE}
    keys = [SweptKey(**row) for row in await ledger.fetch(_SQL["page"], values)]
    return tuple(key for key in keys if key.group == keys[0].group)


async def confirm(connection: Connection, keys: Sequence[str], queried_at: datetime) -> None:
    """Note that İYS showed ONAY for ``keys``, of which that was known."""
    await connection.execute(_SQL["confirm"], {"keys": list(keys), "queried_at": queried_at})


async def advance(
    connection: Connection, sweep: Sweep, after: str, counts: SweepCounts
) -> Sweep | None:
    """Move the cursor of ``sweep`` and add what was counted; return it, None where it has ended."""
    values = {"id": sweep.id, "before": sweep.after, "after": after, **asdict(counts)}
    return _open(await fetch_one(connection, _SQL["advance"], values))


async def skip_group(
    ledger: Ledger, sweep: Sweep, group: tuple[str, str], why: str
) -> Sweep | None:
    """Leave out the rest of a channel and recipient type, which İYS does not let us query; return
    the sweep, None where it has ended.
    """
    values = {
        "id": sweep.id,
        "before": sweep.after,
        "after": _behind(sweep.brand_code, group),
        "what": f"{group[0]}/{group[1]}: {why}",
    }
    async with ledger.transaction() as connection:
        return _open(await fetch_one(connection, _SQL["skip-group"], values))


async def postpone(ledger: Ledger, sweep: Sweep, error: str, retry_at: datetime) -> None:
    """Have ``sweep`` wait until ``retry_at``, because of ``error``."""
    await ledger.execute(_SQL["postpone"], {"id": sweep.id, "error": error, "retry_at": retry_at})


async def wake(connection: Connection) -> None:
    """Have sweeps that wait go on at once: what they failed for may be over."""
    await connection.execute(_SQL["wake"])


async def end(ledger: Ledger, sweep: Sweep, *, now: datetime) -> Sweep | None:
    """End ``sweep``, of which every key is done; return it, None where it has ended before."""
    async with ledger.transaction() as connection:
        return _open(await fetch_one(connection, _SQL["end"], {"id": sweep.id, "now": now}))


def _open(row: Mapping[str, Any] | None) -> Sweep | None:
    return None if row is None else Sweep.from_row(row)


def _behind(brand_code: int, group: tuple[str, str]) -> str:
    """Return a place behind every key of a channel and recipient type, before those of the next."""
    place = _GROUPS.index(group) + 1
    if place == len(_GROUPS):
        return f"{brand_code}/Z"
    channel, recipient_type = _GROUPS[place]
    return f"{brand_code}/{channel}/{recipient_type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterCount:
    """What İYS counts of a brand, and what the ledger believes to be registered there."""

    brand_code: int
    counted_at: datetime
    iys_onay: int
    iys_ret: int
    onay: int
    ret: int
    unconfirmed: int
    """Keys of which is not known, or not confirmed, what İYS holds."""
    in_flight: int
    """Keys on their way to İYS when it was counted: either side may have them."""
    onay_before: int | None
    """The surplus at the last count that is thirty days older; None: there is none."""
    ret_before: int | None

    @property
    def onay_surplus(self) -> int:
        """How many ONAY İYS has beyond ours; below 0: we believe in more than it holds."""
        return self.iys_onay - self.onay

    @property
    def ret_surplus(self) -> int:
        """How many RET İYS has beyond ours; below 0: we believe in more than it holds."""
        return self.iys_ret - self.ret

    @property
    def differs(self) -> bool:
        """Whether the counts differ by more than what was on its way."""
        return max(abs(self.onay_surplus), abs(self.ret_surplus)) > self.in_flight


async def uncounted_providers(ledger: Ledger, who: LeaseOwner, since: datetime) -> tuple[int, ...]:
    """Return the İYS codes of the providers with a brand served here that was not counted since."""
    return tuple(
        row["iys_code"]
        for row in await ledger.fetch(_COUNTS["providers"], {**who.who, "since": since})
    )


async def count_register(
    ledger: Ledger, summaries: Collection[BrandSummary], *, now: datetime
) -> None:
    """Keep İYS's counts of brands, and count the ledger beside them. Brands without counts, and
    those that are not registered here, are left out.
    """
    counted = [
        (summary.brand_code, summary.approvals, summary.rejections)
        for summary in summaries
        if summary.approvals is not None and summary.rejections is not None
    ]
    codes, onay, ret = map(list, zip(*counted, strict=True)) if counted else ([], [], [])
    await ledger.execute(
        _COUNTS["count"], {"brand_codes": codes, "onay": onay, "ret": ret, "now": now}
    )


async def latest_counts(
    ledger: Ledger, brand_code: int | None = None, *, since: datetime | None = None
) -> tuple[RegisterCount, ...]:
    """Return the latest counts of each brand, or of one; with ``since`` all from then on, brand by
    brand, the latest first.
    """
    return tuple(
        RegisterCount(**row)
        for row in await ledger.fetch(_COUNTS["latest"], {"brand_code": brand_code, "since": since})
    )
