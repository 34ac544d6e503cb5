"""The subscription of each provider, asked once a day: what ends it or fills it is known before.

A subscription that is not ACTIVE lets nothing be told (H520, H521), a full one no new ONAY (H525);
partners are not shown the limits. The question takes a slot that nothing else waits for.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.iys.errors import CallError
from izin.iys.wire_format.account import SubscriptionStatus
from izin.runtime.observe import get_logger
from izin.sinks.ledger import brands
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.record.brand import Brand

EVERY = timedelta(days=1)
SOON = timedelta(days=30)
"""So long before its end somebody is told of it."""
NEARLY = 0.95
"""Of the limit, from which on somebody is told."""
_AGAIN = timedelta(minutes=10)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionMonitor:
    """Asks for subscriptions and keeps what İYS shows of them."""

    context: OutboundContext

    async def run(self) -> None:
        """Ask until cancelled; one process of an account at a time does."""
        async with self.context.ledger.sole(self.context.lease_owner.sole("survey")):
            while True:
                await self.survey()
                await asyncio.sleep(_AGAIN.total_seconds())

    async def survey(self, *, every: timedelta = EVERY) -> dict[int, str]:
        """Ask for each subscription not asked for in ``every``; return what could not be had, by
        the provider's İYS code.
        """
        failed = {}
        before = self.context.clock() - every
        for iys_code in await brands.providers(
            self.context.ledger, self.context.lease_owner, before
        ):
            try:
                found = await self.context.client.subscription(iys_code)
            except CallError as error:
                _log.warning("no subscription", iys_code=iys_code, error=str(error))
                failed[iys_code] = str(error)
                continue
            now = self.context.clock()
            for brand in await brands.subscribed(self.context.ledger, iys_code, found, now=now):
                for what in warnings_of(brand, now):
                    _log.critical("subscription", brand=brand.brand_code, what=what)
        return failed


def warnings_of(brand: Brand, now: datetime) -> tuple[str, ...]:
    """Return what is wrong with a brand's subscription as İYS last showed it, or soon will be."""
    told = []
    if brand.subscription not in {None, SubscriptionStatus.ACTIVE}:
        told.append(f"it is {brand.subscription}: İYS takes nothing")
    ends_at = brand.subscription_ends_at
    if ends_at is not None and ends_at - now < SOON:
        told.append(f"it ends on {ends_at:%Y-%m-%d}")
    limit, used = brand.consent_limit, brand.consents_used
    if limit and used is not None and used >= NEARLY * limit:
        told.append(f"{used:,} of {limit:,} addresses are used: beyond, new ONAYs may be refused")
    return tuple(told)
