"""When the list of an account was read, and when it is read next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from izin.iys.wire_format.account import Subscription
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements

EVERY = timedelta(days=1)
STALE_AFTER = 2 * EVERY
"""After so long without a whole reading, rights may have changed that nobody here knows of."""
AGAIN = timedelta(minutes=15)
"""A list is read no sooner again, however many calls are refused for a missing right."""
_SQL = statements("granted")


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


async def ask(ledger: Ledger, account: str, *, now: datetime) -> None:
    """Have the list of ``account`` read soon, for İYS refused a call for a missing right."""
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["ask"], {"account": account, "now": now})


async def of_account(ledger: Ledger, account: str) -> ListReading:
    """Return when the list of ``account`` was read."""
    rows = await ledger.fetch(_SQL["reading"], {"account": account})
    return _reading(rows[0]) if rows else ListReading(account=account)


async def every(ledger: Ledger) -> tuple[ListReading, ...]:
    """Return when each list was read that was read or asked for, of accounts that are used."""
    return tuple(map(_reading, await ledger.fetch(_SQL["readings"])))


async def note_read(
    ledger: Ledger, account: str, subscription: Subscription | None, *, now: datetime
) -> None:
    """Note that the whole list was read, with the partner's subscription."""
    values = {
        "account": account,
        "now": now,
        "next_at": now + EVERY,
        "subscription": None if subscription is None else subscription.status,
        "ends_at": None if subscription is None else subscription.expires_at,
    }
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["read"], values)


async def note_failed(
    ledger: Ledger, account: str, error: str, *, next_at: datetime, now: datetime
) -> None:
    """Note that the list could not be read, or not the whole of it."""
    values = {"account": account, "now": now, "next_at": next_at, "error": error}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["failed"], values)


def _reading(row: Mapping[str, Any]) -> ListReading:
    return ListReading(**row)
