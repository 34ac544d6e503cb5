"""Leases of what this process is just telling, renewed while it waits for its turn.

A lease is short, so that what a process held that was paused is soon taken up. A call may wait for
longer where many processes share an address's pace: whoever lives renews meanwhile, or all would
take up one another's and use the turns to find that out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from izin.sinks.ledger import submissions
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.submission import Submission

SHARE = 4
"""A lease is renewed so many times before it would run out."""


@dataclass(frozen=True, slots=True)
class Leases:
    """What is held by the steps that are under way."""

    _held: Counter[int] = field(default_factory=Counter)

    @contextmanager
    def held(self, some: Iterable[Submission]) -> Iterator[None]:
        """Have the leases of ``some`` renewed while the context lasts."""
        numbers = [one.id for one in some]
        self._held.update(numbers)
        try:
            yield
        finally:
            self._held.subtract(numbers)
            for number in numbers:
                if self._held[number] <= 0:
                    del self._held[number]

    async def renew(self, ledger: Ledger, lease_owner: LeaseOwner, now: datetime) -> None:
        """Renew what is held and still ours."""
        if self._held:
            async with ledger.transaction() as connection:
                await submissions.renew_all(
                    connection, tuple(self._held), now=now, lease_owner=lease_owner
                )
