"""Renew the leases of the submissions that this process is sending, while calls wait for a slot.

Leases are short, so that another process soon recovers what a paused one has left. Where many
processes share the rate limit of an address, a call may wait longer than its lease: it is renewed
meanwhile, or processes would recover each other's submissions and spend slots on finding out. A
step that fails, as every one does when the ledger restarts, has nothing in its hands any more: its
leases are released, or an opt-out would wait until they expire.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from izin.ledger import submissions
from izin.ledger.db import Ledger
from izin.ledger.record import LeaseOwner, Submission

RENEWALS_PER_LEASE = 4
"""A lease is renewed so many times before it would expire."""


@dataclass(frozen=True, slots=True)
class LeaseRenewals:
    """The leases of the steps that are running."""

    _renewing: Counter[int] = field(default_factory=Counter)
    _abandoned: set[int] = field(default_factory=set)
    """Of steps that failed, and not released yet."""

    @contextmanager
    def renewing(self, some: Iterable[Submission]) -> Iterator[None]:
        """Have the leases of ``some`` renewed until the context ends; released where it fails."""
        numbers = [one.id for one in some]
        self._renewing.update(numbers)
        try:
            yield
        except BaseException:
            self._abandoned.update(numbers)
            raise
        finally:
            self._renewing.subtract(numbers)
            for number in numbers:
                if self._renewing[number] <= 0:
                    del self._renewing[number]

    async def renew(self, ledger: Ledger, lease_owner: LeaseOwner, now: datetime) -> None:
        """Renew those leases that this process still owns."""
        if self._renewing:
            async with ledger.transaction() as connection:
                await submissions.renew_all(
                    connection, tuple(self._renewing), now=now, lease_owner=lease_owner
                )

    async def release(self, ledger: Ledger, lease_owner: LeaseOwner, now: datetime) -> None:
        """Release the leases of steps that failed, unless another step has them by now."""
        numbers = {number for number in self._abandoned if number not in self._renewing}
        if numbers:
            async with ledger.transaction() as connection:
                await submissions.release(
                    connection, owner=lease_owner.owner, now=now, numbers=numbers
                )
        self._abandoned.clear()
