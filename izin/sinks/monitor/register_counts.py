"""Count once a day what İYS holds of each brand, beside what the ledger believes in.

The query takes a slot that no other call waits for. İYS answers it for all brands of a provider at
once; those that are not registered here are kept as offers.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from izin.iys.errors import CallError
from izin.runtime.observe import get_logger
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.granted import listing
from izin.sinks.ledger.sweep import register_counts
from izin.sinks.outbound.context import OutboundContext

_EVERY = timedelta(days=1)
_INTERVAL = timedelta(minutes=10)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterCounter:
    """Queries İYS's counts and stores them."""

    context: OutboundContext
    _asked_at: dict[int, datetime] = field(default_factory=dict)
    """By İYS code of the provider: İYS may leave out a brand that is registered here."""

    async def run(self) -> None:
        """Count until cancelled, in one process of an account and address at a time."""
        context = self.context
        async with sole(context.ledger, context.lease_owner.sole("count")) as ledger:
            owner = replace(self, context=replace(context, ledger=ledger))
            while True:
                await owner.count()
                await asyncio.sleep(_INTERVAL.total_seconds())

    async def count(self) -> dict[int, str]:
        """Count the brands of each provider that were not counted within a day; return the errors,
        by İYS code of the provider.
        """
        context, failed = self.context, {}
        since = context.clock() - _EVERY
        for iys_code in await register_counts.providers(context.ledger, context.lease_owner, since):
            if iys_code in self._asked_at and self._asked_at[iys_code] > since:
                continue
            try:
                summaries = await context.client.brands(iys_code)
            except CallError as error:
                error.warn(_log, "register not counted", iys_code=iys_code)
                failed[iys_code] = str(error)
                continue
            self._asked_at[iys_code] = context.clock()
            await register_counts.count(context.ledger, summaries, now=context.clock())
            await listing.store_own(
                context.ledger,
                context.lease_owner.account,
                iys_code,
                summaries,
                now=context.clock(),
            )
        return failed
