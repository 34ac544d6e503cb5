"""Query each provider's subscription and counts once a day: warn before it ends or is full.

With a subscription that is not ACTIVE İYS accepts nothing (H520, H521), with a full one no new ONAY
(H525); business partners are not shown the limits. İYS's counts of each brand stand beside what the
ledger believes in; brands that are not registered here are kept as offers. The queries take slots
that no other call waits for.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from izin.iys.errors import CallError
from izin.iys.wire_format.account import SubscriptionStatus
from izin.runtime.observe import get_logger
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.leases import repeat
from izin.sinks.ledger.registry import granted
from izin.sinks.ledger.sweep import register_counts
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.record.brand import Brand

EVERY = timedelta(days=1)
SOON = timedelta(days=30)
"""So long before its end a subscription is warned of."""
NEARLY_FULL = 0.95
"""The share of the limit from which on a subscription is warned of."""
_INTERVAL = timedelta(minutes=10)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionMonitor:
    """Queries subscriptions and stores them with their brands."""

    context: OutboundContext

    async def run(self) -> None:
        """Query until cancelled, in one process of an account at a time."""
        context = self.context
        await repeat(
            context.ledger,
            context.lease_owner.sole("survey"),
            _INTERVAL,
            lambda ledger: replace(self, context=replace(context, ledger=ledger)).refresh(),
        )

    async def refresh(
        self, *, every: timedelta = EVERY, only: Collection[int] | None = None
    ) -> dict[int, str]:
        """Query each subscription that was not queried within ``every``, of the providers ``only``
        names; return the errors, by İYS code of the provider.
        """
        failed = {}
        before = self.context.clock() - every
        for iys_code in await brands.providers(
            self.context.ledger, self.context.lease_owner, before
        ):
            if only is not None and iys_code not in only:
                continue
            try:
                found = await self.context.client.subscription(iys_code)
            except CallError as error:
                error.warn(_log, "subscription query failed", iys_code=iys_code)
                failed[iys_code] = str(error)
                continue
            now = self.context.clock()
            for brand in await brands.set_subscription(
                self.context.ledger, iys_code, found, now=now
            ):
                for warning in warnings_of(brand, now):
                    _log.critical(
                        "subscription warning raised", brand=brand.brand_code, warning=warning
                    )
        return failed


def warnings_of(brand: Brand, now: datetime) -> tuple[str, ...]:
    """Return what is wrong, or soon will be, with a brand's subscription as last queried."""
    warnings = []
    if brand.subscription not in {None, SubscriptionStatus.ACTIVE}:
        warnings.append(f"it is {brand.subscription}: İYS accepts no records")
    ends_at = brand.subscription_ends_at
    if ends_at is not None and ends_at - now < SOON:
        warnings.append(f"it ends on {ends_at:%Y-%m-%d}")
    limit, used = brand.consent_limit, brand.consents_used
    if limit and used is not None and used >= NEARLY_FULL * limit:
        warnings.append(
            f"{used:,} of {limit:,} addresses are used: beyond, new ONAYs may be refused"
        )
    return tuple(warnings)


_COUNTED_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterCounter:
    """Queries İYS's counts and stores them."""

    context: OutboundContext
    _asked_at: dict[int, datetime] = field(default_factory=dict)
    """By İYS code of the provider: İYS may leave out a brand that is registered here."""

    async def run(self) -> None:
        """Count until cancelled, in one process of an account and address at a time."""
        context = self.context
        await repeat(
            context.ledger,
            context.lease_owner.sole("count"),
            _INTERVAL,
            lambda ledger: replace(self, context=replace(context, ledger=ledger)).count(),
        )

    async def count(self) -> dict[int, str]:
        """Count the brands of each provider that were not counted within a day; return the errors,
        by İYS code of the provider.
        """
        context, failed = self.context, {}
        since = context.clock() - _COUNTED_EVERY
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
            await granted.store_own(
                context.ledger,
                context.lease_owner.account,
                iys_code,
                summaries,
                now=context.clock(),
            )
        return failed
