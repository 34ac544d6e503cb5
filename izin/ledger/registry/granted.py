"""What İYS lists of the brands granted to us: the list, when it was read, and what it changes.

Brands that are not registered here are offers. A right to write that is gone suspends its channel,
and only a suspension that came from the list ends by it: what a person declared stays. A right to
read that is gone leaves what is known of the channel to grow old; once it is back, the streams are
pulled again from when it was last there.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from psycopg.types.json import Jsonb

from izin.consent import Channel
from izin.iys.wire_format import BrandSummary, GrantedBrand, Right, Subscription
from izin.ledger import suspensions
from izin.ledger.db import Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.record import EVERY, NOT_GRANTED, Brand, Suspension

_SQL = statements("granted")
READ_EVERY = timedelta(days=1)
STALE_AFTER = 2 * READ_EVERY
"""After so long without a whole reading, rights may have changed that nobody here knows of."""
AGAIN = timedelta(minutes=15)
"""A list is read no sooner again, however many calls are refused for a missing right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBrand:
    """A brand as İYS last listed it to an account."""

    account: str
    brand_code: int
    iys_code: int
    name: str
    title: str
    """The provider's name in the trade register; empty where İYS does not show it."""
    is_master: bool
    writes: tuple[Channel, ...] | None
    """The channels it may write; None, as for ``reads``: İYS lists no rights to a provider."""
    reads: tuple[Channel, ...] | None
    agreement_control: bool | None
    via_control: bool | None
    unread_since: Mapping[Channel, datetime]
    """When channels that may not be read any more were last listed as readable."""
    listed_at: datetime
    gone_at: datetime | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the brand of a row of ``granted_brands``."""
        unread = {
            Channel(one): datetime.fromisoformat(at) for one, at in row["unread_since"].items()
        }
        return cls(
            **{
                **row,
                "writes": _channels(row["writes"]),
                "reads": _channels(row["reads"]),
                "unread_since": unread,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRight:
    """A right to a channel that a brand has not any more, or that İYS does not list."""

    brand_code: int
    right: str
    """``write``, or ``read``."""
    channel: str
    since: datetime
    """When it was found lost; of a right to read, when the list last had it."""


def writes_of(brand: GrantedBrand) -> tuple[Channel, ...]:
    """Return the channels that may be written, in the order of the channels."""
    return tuple(channel for channel in Channel if brand.rights.get(channel) is Right.WRITE)


def reads_of(brand: GrantedBrand) -> tuple[Channel, ...]:
    """Return the channels that may be read: who may write may read."""
    return tuple(channel for channel in Channel if channel in brand.rights)


async def every(ledger: Ledger, account: str | None = None) -> tuple[ListedBrand, ...]:
    """Return the brands that İYS lists to ``account``, or to every account, by provider."""
    return tuple(
        ListedBrand.from_row(row) for row in await ledger.fetch(_SQL["all"], {"account": account})
    )


async def lost_rights(ledger: Ledger) -> tuple[LostRight, ...]:
    """Return the rights that active brands have lost, by brand; none that a person declared
    missing.
    """
    return tuple(LostRight(**row) for row in await ledger.fetch(_SQL["lost-rights"]))


async def store(
    connection: Connection,
    account: str,
    brand: GrantedBrand,
    *,
    unread_since: Mapping[Channel, datetime],
    now: datetime,
) -> None:
    """Store a brand as İYS lists it now."""
    values = {
        "account": account,
        "brand_code": brand.brand_code,
        "iys_code": brand.iys_code,
        "name": brand.name,
        "title": brand.title,
        "is_master": brand.is_master,
        "writes": [*map(str, writes_of(brand))],
        "reads": [*map(str, reads_of(brand))],
        "agreement_control": brand.agreement_control,
        "via_control": brand.via_control,
        "unread_since": _instants(unread_since),
        "now": now,
    }
    await connection.execute(_SQL["list"], values)


async def forget(connection: Connection, account: str, *, now: datetime) -> None:
    """Forget the brands that are neither in the list that was read whole at ``now`` nor registered
    here.
    """
    await connection.execute(_SQL["forget"], {"account": account, "now": now})


async def store_own(
    ledger: Ledger, account: str, iys_code: int, found: Collection[BrandSummary], *, now: datetime
) -> None:
    """Store the brands that İYS lists to a provider's own account, without rights."""
    values = {
        "account": account,
        "iys_code": iys_code,
        "brand_codes": [summary.brand_code for summary in found],
        "names": [one.name for one in found],
        "masters": [one.is_master for one in found],
        "now": now,
    }
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["list-own"], values)
        await connection.execute(_SQL["forget-own"], values)


async def readable(connection: Connection, brand_code: int) -> tuple[Channel, ...]:
    """Return the channels of a brand that may be read: as İYS lists them, else those that no
    suspension closes.
    """
    scope = {"brand_code": brand_code}
    row = await fetch_one(connection, _SQL["is-listed"], scope)
    if row is None or not row["exists"]:
        return await suspensions.rights_of(connection, brand_code)
    unreadable = {row["channel"] for row in await fetch(connection, _SQL["unreadable"], scope)}
    return tuple(channel for channel in Channel if channel not in unreadable)


def _channels(names: Collection[str] | None) -> tuple[Channel, ...] | None:
    return None if names is None else tuple(channel for channel in Channel if channel in names)


def _instants(unread_since: Mapping[Channel, datetime]) -> Jsonb:
    return Jsonb({str(channel): at.isoformat() for channel, at in unread_since.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReading:
    """When an account's list was read."""

    account: str
    asked_at: datetime | None = None
    """When İYS last refused a call for a missing right."""
    tried_at: datetime | None = None
    read_at: datetime | None = None
    """When the whole of it was last read."""
    next_at: datetime | None = None
    attempts: int = 0
    """Failures since."""
    error: str | None = None
    subscription: str | None = None
    """The partner's own, as İYS showed it."""
    subscription_ends_at: datetime | None = None

    def is_stale(self, now: datetime) -> bool:
        """Whether it is followed and was not wholly read for longer than ``STALE_AFTER``."""
        if self.tried_at is None:
            return False
        return self.read_at is None or now - self.read_at > STALE_AFTER

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be read: daily, or for a refused call, or again after a failure."""
        if self.tried_at is None or self.next_at is None or self.next_at <= now:
            return True
        is_asked = self.asked_at is not None and self.asked_at > self.tried_at
        return is_asked and not self.attempts and now - self.tried_at >= AGAIN


async def ask_for_reading(ledger: Ledger, account: str, *, now: datetime) -> None:
    """Have the list of ``account`` read soon, for İYS refused a call for a missing right."""
    await ledger.execute(_SQL["ask"], {"account": account, "now": now})


async def reading_of(ledger: Ledger, account: str) -> ListReading:
    """Return when the list of ``account`` was read."""
    rows = await ledger.fetch(_SQL["reading"], {"account": account})
    return ListReading(**rows[0]) if rows else ListReading(account=account)


async def readings(ledger: Ledger) -> tuple[ListReading, ...]:
    """Return when each list was read that was read or asked for, of accounts that are used."""
    return tuple(ListReading(**row) for row in await ledger.fetch(_SQL["readings"]))


async def note_read(
    ledger: Ledger, account: str, subscription: Subscription | None, *, now: datetime
) -> None:
    """Note that the whole list was read, with the partner's subscription."""
    await ledger.execute(
        _SQL["read"],
        {
            "account": account,
            "now": now,
            "next_at": now + READ_EVERY,
            "subscription": None if subscription is None else subscription.status,
            "ends_at": None if subscription is None else subscription.expires_at,
        },
    )


async def note_failed(
    ledger: Ledger, account: str, error: str, *, next_at: datetime, now: datetime
) -> None:
    """Note that the list could not be read, or not the whole of it."""
    await ledger.execute(
        _SQL["failed"], {"account": account, "now": now, "next_at": next_at, "error": error}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsChange:
    """What the list changes for one brand."""

    brand: Brand
    listed: GrantedBrand | None
    """As the list has it; None: it no longer has the brand."""
    lost: tuple[Channel, ...] = ()
    """Channels that may no longer be written, and are not suspended for it yet."""
    regained: tuple[Channel, ...] = ()
    """Channels that may be written again, and were suspended by the list."""
    tried: tuple[Channel, ...] = ()
    """Channels that İYS refused to take and now lists as writable: tried at once."""
    unread: tuple[Channel, ...] = ()
    """Channels that may no longer be read."""
    read_again: Mapping[Channel, datetime]
    """Channels that may be read again, with when they last could."""
    unread_since: Mapping[Channel, datetime]
    """Every channel that may not be read now, with when it last could."""
    agreement: tuple[bool, bool] | None = None
    """Whether the daily files might be read before, and may be now, where that differs."""

    @property
    def loses(self) -> bool:
        """Whether a right is lost."""
        return bool(self.lost or self.unread)

    def lines(self) -> list[str]:
        """Return, a line each, what changes for the brand."""
        words = ("may be read" if may else "may not be read" for may in self.agreement or ())
        return [
            *(f"{channel}: write -> no" for channel in self.lost),
            *(f"{one}: no -> write" for one in self.regained),
            *(f"{one}: refused by İYS, and granted: tried at once" for one in self.tried),
            *(f"{one}: may not be read any more" for one in self.unread),
            *(f"{one}: may be read again" for one in self.read_again),
            *([] if self.agreement is None else [f"daily files: {' -> '.join(words)}"]),
        ]


def change_of(
    brand: Brand,
    before: ListedBrand | None,
    listed: GrantedBrand | None,
    suspended: Iterable[Suspension],
) -> RightsChange:
    """Return what the list changes for ``brand``, of which ``before`` is what it was listed as and
    ``suspended`` its suspensions.
    """
    writes = () if listed is None else writes_of(listed)
    reads = () if listed is None else reads_of(listed)
    of_channels = {
        suspension.channel: suspension for suspension in suspended if suspension.status == EVERY
    }
    by_list = {name for name, one in of_channels.items() if one.code == NOT_GRANTED}
    untried = {name for name, one in of_channels.items() if one.is_by_operator}
    unread_since = {} if before is None else dict(before.unread_since)
    unread: tuple[Channel, ...] = ()
    agreement = None
    if before is not None and before.reads is not None:
        unread = tuple(read for read in before.reads if read not in reads)
        unread_since |= dict.fromkeys(unread, before.listed_at)
        was, may = bool(before.agreement_control), listed is not None and listed.agreement_control
        agreement = None if was == may else (was, may)
    return RightsChange(
        brand=brand,
        listed=listed,
        lost=tuple(
            channel for channel in Channel if channel not in writes and channel not in untried
        ),
        regained=tuple(write for write in writes if write in by_list),
        tried=tuple(one for one in writes if one in of_channels and one not in untried),
        unread=unread,
        read_again={one: at for one, at in unread_since.items() if one in reads},
        unread_since={one: at for one, at in unread_since.items() if one not in reads},
        agreement=agreement,
    )


async def apply(
    ledger: Ledger, account: str, change: RightsChange, *, by: str, now: datetime
) -> None:
    """Store what the list says of a brand and follow it; the history has ``by`` whom, where the
    right to write changes.
    """
    brand, unread = change.brand, change.unread_since
    async with ledger.transaction() as connection:
        if change.listed is None:
            gone = {
                "account": account,
                "brand_code": brand.brand_code,
                "unread_since": _instants(unread),
                "now": now,
            }
            await connection.execute(_SQL["gone"], gone)
        else:
            await store(connection, account, change.listed, unread_since=unread, now=now)
        await suspensions.follow_list(
            connection,
            brand,
            lost=change.lost,
            regained=change.regained,
            tried=change.tried,
            by=by,
            now=now,
        )
        if change.read_again:
            await suspensions.pull_again(
                connection, {brand.brand_code: min(change.read_again.values())}
            )


def offers(listed: Iterable[ListedBrand], registered: Collection[int]) -> tuple[ListedBrand, ...]:
    """Return the brands that İYS lists and that are not registered here: each once."""
    found = {brand.brand_code: brand for brand in listed if brand.gone_at is None}
    return tuple(one for code, one in found.items() if code not in registered)
