"""What İYS shows of our account and its providers: subscriptions, counts, and granted brands.

A provider's subscription and counts are queried once a day, in slots that no other call waits for.
With a subscription that is not ACTIVE İYS accepts nothing (H520, H521), with a full one no new ONAY
(H525); business partners are not shown the limits. İYS's counts of each brand stand beside what the
ledger believes in; brands that are not registered here are kept as offers.

A business partner's list of granted brands is read once a day, and soon after İYS refused a call
for a missing right. A right that is gone is believed only once the provider's own list shows it
too: a list that changes while its pages are read may lack a brand. The calls take turns within the
share of sweeps.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.iys.errors import CallError, Verdict
from izin.iys.wire_format import GrantedBrand, GrantedBrands, Subscription, SubscriptionStatus
from izin.ledger import brands, suspensions
from izin.ledger.record import Brand
from izin.ledger.registry import granted
from izin.ledger.registry.granted import RightsChange, change_of
from izin.ledger.sweep import sweeps
from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger
from izin.sinks.outbound.context import OutboundContext, RequestBudget

EVERY = timedelta(days=1)
SOON = timedelta(days=30)
"""So long before its end a subscription is warned of."""
NEARLY_FULL = 0.95
"""The share of the limit from which on a subscription is warned of."""

_log = get_logger(__name__)
_COUNTED_EVERY = timedelta(days=1)
BY_LIST = "İYS's list of rights"
"""Who changed a right, where a worker has read it from the list."""
_BACKOFF = Backoff(timedelta(minutes=15), timedelta(hours=4))


async def refresh_subscriptions(
    context: OutboundContext, *, every: timedelta = EVERY, only: Collection[int] | None = None
) -> dict[int, str]:
    """Query each subscription that was not queried within ``every``, of the providers ``only``
    names, and store it with its brands; return the errors, by İYS code of the provider.
    """
    failed, before = {}, context.clock() - every
    for iys_code in await brands.providers(context.ledger, context.lease_owner, before):
        if only is not None and iys_code not in only:
            continue
        try:
            found = await context.client.subscription(iys_code)
        except CallError as error:
            error.warn(_log, "subscription query failed", iys_code=iys_code)
            failed[iys_code] = str(error)
            continue
        now = context.clock()
        for brand in await brands.set_subscription(context.ledger, iys_code, found, now=now):
            for warning in warnings_of(brand, now):
                _log.critical(
                    "subscription warning raised", brand=brand.brand_code, warning=warning
                )
    return failed


def warnings_of(brand: Brand, now: datetime) -> tuple[str, ...]:
    """Return what is wrong, or soon will be, with a brand's subscription as last queried."""
    warnings = _subscription_warnings(
        brand.subscription, brand.subscription_ends_at, "records", now
    )
    limit, used = brand.consent_limit, brand.consents_used
    if limit and used is not None and used >= NEARLY_FULL * limit:
        warnings.append(
            f"{used:,} of {limit:,} addresses are used: beyond, new ONAYs may be refused"
        )
    return tuple(warnings)


def _subscription_warnings(
    status: str | None, ends_at: datetime | None, what: str, now: datetime
) -> list[str]:
    found = []
    if status not in {None, SubscriptionStatus.ACTIVE}:
        found.append(f"it is {status}: İYS accepts no {what}")
    if ends_at is not None and ends_at - now < SOON:
        found.append(f"it ends on {ends_at:%Y-%m-%d}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterCounter:
    """Queries İYS's counts and stores them."""

    context: OutboundContext
    _asked_at: dict[int, datetime] = field(default_factory=dict)
    """By İYS code of the provider: İYS may leave out a brand that is registered here."""

    async def count(self) -> dict[int, str]:
        """Count the brands of each provider that were not counted within a day; return the errors,
        by İYS code of the provider.
        """
        context, failed = self.context, {}
        since = context.clock() - _COUNTED_EVERY
        for iys_code in await sweeps.uncounted_providers(
            context.ledger, context.lease_owner, since
        ):
            if iys_code in self._asked_at and self._asked_at[iys_code] > since:
                continue
            try:
                summaries = await context.client.brands(iys_code)
            except CallError as error:
                error.warn(_log, "register not counted", iys_code=iys_code)
                failed[iys_code] = str(error)
                continue
            self._asked_at[iys_code] = context.clock()
            await sweeps.count_register(context.ledger, summaries, now=context.clock())
            await granted.store_own(
                context.ledger,
                context.lease_owner.account,
                iys_code,
                summaries,
                now=context.clock(),
            )
        return failed


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFinding:
    """What the list shows, beside what the ledger has."""

    changes: Sequence[RightsChange]
    """What changes for brands that are registered here; one for each that is or was listed."""
    offered: Sequence[GrantedBrand]
    """Brands that are granted and not registered here."""
    unlisted: Sequence[Brand]
    """Brands that this account serves and that were never listed: nothing is concluded."""
    unconfirmed: Mapping[int, str]
    """By İYS code: providers whose own list could not be read, with why; what is gone of their
    brands is not believed yet."""
    unreadable: int
    """Items of the list that could not be read."""
    subscription: Subscription

    @property
    def problem(self) -> str | None:
        """Why the list counts as not wholly read; None: it was."""
        if self.unreadable:
            return f"{self.unreadable} brands in the list cannot be read"
        return "; ".join(f"{code}: {why}" for code, why in self.unconfirmed.items()) or None

    def warnings(self, now: datetime) -> list[str]:
        """Return what is wrong, or soon will be, with the partner's own subscription."""
        own = self.subscription
        return _subscription_warnings(own.status, own.expires_at, "calls of ours", now)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedBrandsReader:
    """Reads the list of a partner, and has the ledger follow it."""

    context: OutboundContext
    integrator_code: int
    budget: RequestBudget
    customer_id: str | None = None
    """Only what concerns this customer; None: everything."""
    _offered: set[int] = field(default_factory=set)
    """Brands whose offer was logged."""

    async def look(self) -> bool:
        """Read the list and follow it, if it is due; return whether it was."""
        context, account = self.context, self.context.lease_owner.account
        reading = await granted.reading_of(context.ledger, account)
        if not reading.is_due(context.clock()):
            return False
        try:
            found = await self.read()
        except CallError as error:
            await self._failed(reading.attempts, str(error), error)
            return True
        await self.follow(found, by=BY_LIST)
        if found.problem is None:
            await granted.note_read(
                context.ledger, account, found.subscription, now=context.clock()
            )
        else:
            await self._failed(reading.attempts, found.problem)
        self._report(found)
        return True

    async def read(self) -> ListFinding:
        """Return what İYS lists, and what of it is new; nothing is stored.

        Raises:
            CallError: İYS does not show the list, or the partner's subscription.
        """
        context, account = self.context, self.context.lease_owner.account
        partner = context.client.partner
        whole = await partner.brands(self.integrator_code, turn=self.budget.turn)
        await self.budget.turn()
        subscription = await partner.subscription(self.integrator_code)
        served = [
            one
            for one in await brands.every(context.ledger)
            if one.status == "active"
            and one.account in {None, account}
            and self.customer_id in {None, one.customer_id}
        ]
        before = {one.brand_code: one for one in await granted.every(context.ledger, account)}
        listed = {one.brand_code: one for one in whole.brands}
        suspended = await suspensions.every(context.ledger)

        def change(brand: Brand) -> RightsChange:
            code = brand.brand_code
            return change_of(
                brand,
                before.get(code),
                listed.get(code),
                [suspension for suspension in suspended if suspension.brand_code == code],
            )

        known = [one for one in served if one.brand_code in listed or one.brand_code in before]
        doubted = {one.iys_code for one in known if change(one).loses}
        unconfirmed = await self._confirm(doubted, listed)
        found = [
            made
            for made in map(change, known)
            if not (made.loses and made.brand.iys_code in unconfirmed)
        ]
        return ListFinding(
            changes=found,
            offered=await self._offers(served, listed.values()),
            unlisted=[one for one in served if one not in known],
            unconfirmed=unconfirmed,
            unreadable=len(whole.unreadable),
            subscription=subscription,
        )

    async def _confirm(
        self, iys_codes: Iterable[int], listed: dict[int, GrantedBrand]
    ) -> dict[int, str]:
        """Put what the providers' own lists show in place of what the whole list does; return the
        providers whose list could not be read, with why.
        """
        failed: dict[int, str] = {}
        for iys_code in sorted(iys_codes):
            try:
                found = await self._of_provider(iys_code)
            except CallError as error:
                failed[iys_code] = str(error)
                continue
            if not found.is_complete:
                failed[iys_code] = "the provider's list cannot be read whole"
                continue
            for one in [brand for brand in listed.values() if brand.iys_code == iys_code]:
                del listed[one.brand_code]
            listed |= {one.brand_code: one for one in found.brands}
        return failed

    async def _of_provider(self, iys_code: int) -> GrantedBrands:
        """Return the provider's list; empty where İYS says that the provider granted nothing."""
        try:
            return await self.context.client.partner.brands(
                self.integrator_code, iys_code, turn=self.budget.turn
            )
        except CallError as error:
            if error.verdict is not Verdict.RIGHTS:
                raise
            return GrantedBrands(brands=(), unreadable=(), total=0)

    async def _offers(
        self, served: Sequence[Brand], listed: Iterable[GrantedBrand]
    ) -> list[GrantedBrand]:
        """Return the brands that are not registered; with a customer, those of its providers."""
        registered = {brand.brand_code for brand in await brands.every(self.context.ledger)}
        of_customer = {one.iys_code for one in served}
        return [
            one
            for one in listed
            if one.brand_code not in registered
            and (self.customer_id is None or one.iys_code in of_customer)
        ]

    async def follow(self, found: ListFinding, *, by: str) -> None:
        """Store the list and follow it; the history has ``by`` whom, where a right changes."""
        context, account = self.context, self.context.lease_owner.account
        now = context.clock()
        for change in found.changes:
            await granted.apply(context.ledger, account, change, by=by, now=now)
        async with context.ledger.transaction() as connection:
            for brand in found.offered:
                await granted.store(connection, account, brand, unread_since={}, now=now)
            if found.problem is None and self.customer_id is None:
                await granted.forget(connection, account, now=now)

    async def _failed(self, attempts: int, problem: str, error: CallError | None = None) -> None:
        now, wait = self.context.clock(), _BACKOFF.after(attempts + 1)
        wait = wait if error is None else error.pause(wait)
        log = _log.debug if error is not None and error.is_repeated else _log.warning
        log("list of granted brands not read", error=problem, again_at=now + wait)
        await granted.note_failed(
            self.context.ledger,
            self.context.lease_owner.account,
            problem,
            next_at=now + wait,
            now=now,
        )

    def _report(self, found: ListFinding) -> None:
        for change in found.changes:
            _report_change(change)
        for brand in found.offered:
            if brand.brand_code not in self._offered:
                self._offered.add(brand.brand_code)
                _log.info(
                    "brand granted and not registered",
                    brand=brand.brand_code,
                    iys_code=brand.iys_code,
                    remedy="izin customers granted-brands",
                )
        for warning in found.warnings(self.context.clock()):
            _log.critical("partner subscription warning raised", warning=warning)


def _report_change(change: RightsChange) -> None:
    brand = change.brand.brand_code
    for channel in change.lost:
        _log.critical(
            "right to write lost",
            brand=brand,
            channel=str(channel),
            effect="consents and opt-outs of the channel wait; an opt-out's three days go on",
            remedy="have the provider give the right back on İYS's pages; it resumes by itself",
            meanwhile=f"izin deadlines opt-outs {brand}",
        )
    for channel in change.unread:
        _log.critical(
            "right to read lost",
            brand=brand,
            channel=str(channel),
            effect="what citizens do at İYS is not seen; the gate closes once it is stale",
            remedy="have the provider give the right back on İYS's pages; it is read again then",
        )
    if change.agreement is not None:
        _log.warning("right to daily files changed", brand=brand, may_read=change.agreement[1])
    for channel in (*change.regained, *change.tried):
        _log.info("right to write regained", brand=brand, channel=str(channel))
    for channel in change.read_again:
        _log.info("right to read regained", brand=brand, channel=str(channel))
