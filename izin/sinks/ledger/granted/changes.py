"""What İYS's list changes for a brand that is registered here: pure, and then stored.

A right to write that is gone suspends its channel, and only a suspension that came from the list
ends by it: what a person declared stays. A right to read that is gone leaves what is known of the
channel to grow old; once it is back, the streams are pulled again from when it was last there.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from izin.consent.model import Channel
from izin.iys.wire_format.account import GrantedBrand
from izin.sinks.ledger import suspensions
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.granted import listing
from izin.sinks.ledger.granted.listing import ListedBrand, reads_of, writes_of
from izin.sinks.record.brand import Brand
from izin.sinks.record.suspension import EVERY, NOT_GRANTED, Suspension


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
        lines = [f"{one}: write -> no" for one in self.lost]
        lines += [f"{one}: no -> write" for one in self.regained]
        lines += [f"{one}: refused by İYS, and granted: tried at once" for one in self.tried]
        lines += [f"{one}: may not be read any more" for one in self.unread]
        lines += [f"{one}: may be read again" for one in self.read_again]
        if self.agreement is not None:
            lines.append(f"daily files: {' -> '.join(map(_word, self.agreement))}")
        return lines


def change_of(
    brand: Brand,
    before: ListedBrand | None,
    listed: GrantedBrand | None,
    standing: Iterable[Suspension],
) -> RightsChange:
    """Return what the list changes for ``brand``, of which ``before`` is what it was listed as and
    ``standing`` its suspensions.
    """
    writes = () if listed is None else writes_of(listed)
    reads = () if listed is None else reads_of(listed)
    of_channels = {one.channel: one for one in standing if one.status == EVERY}
    untried = {name for name, one in of_channels.items() if one.is_by_operator}
    unread_since = {} if before is None else dict(before.unread_since)
    unread: tuple[Channel, ...] = ()
    agreement = None
    if before is not None and before.reads is not None:
        unread = tuple(one for one in before.reads if one not in reads)
        unread_since |= dict.fromkeys(unread, before.listed_at)
        was, may = bool(before.agreement_control), listed is not None and listed.agreement_control
        agreement = None if was == may else (was, may)
    return RightsChange(
        brand=brand,
        listed=listed,
        lost=tuple(one for one in Channel if one not in writes and one not in untried),
        regained=tuple(one for one in writes if _code(of_channels, one) == NOT_GRANTED),
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
    brand = change.brand
    async with ledger.transaction() as connection:
        if change.listed is None:
            await listing.store_gone(
                connection, account, brand.brand_code, unread_since=change.unread_since, now=now
            )
        else:
            await listing.store(
                connection, account, change.listed, unread_since=change.unread_since, now=now
            )
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
    found = {one.brand_code: one for one in listed if one.gone_at is None}
    return tuple(one for code, one in found.items() if code not in registered)


def _code(of_channels: Mapping[str, Suspension], channel: Channel) -> str | None:
    found = of_channels.get(channel)
    return None if found is None else found.code


def _word(may: bool) -> str:
    return "may be read" if may else "may not be read"
