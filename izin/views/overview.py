"""The overview: do opt-outs flow, what waits for a person, and what does not answer.

The figures are of a customer or of all, each kept for some seconds. What İYS allows the whole
installation, and how much of it is used, is shown to whoever sees every customer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from izin.consent import TURKEY
from izin.ledger import offsets, reads, stream_progress
from izin.ledger.db import Ledger
from izin.ledger.history.reports import (
    CustomerFlow,
    Leg,
    LegSeconds,
    OptOutCount,
    flows,
    leg_seconds,
    opt_outs_by_day,
    quantile,
)
from izin.ledger.rate_limits import Address, addresses
from izin.ledger.registry import complaints
from izin.ledger.webhooks import registry
from izin.views.cut import CustomerCut, unread
from izin.views.deadlines import Deadlines, deadlines
from izin.views.kept import Kept
from izin.views.sentences import Sentence, sentence
from izin.views.unreadable import Unreadable
from izin.views.worklist import MOST, Filter, Need, worklist

FLOW = timedelta(hours=24)
"""What flows is counted over so long a time."""
DAYS = 14
"""Opt-outs are counted by day for so many days, today included."""
_CHANGES = 1000
"""Of how many opt-outs at İYS, the latest ones, the latency is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits for a person."""

    worklist: Mapping[Need, int]
    is_cut: bool
    """Whether there is more of it than was counted."""
    complaints: int
    complaints_overdue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The figures of a customer or of all."""

    deadlines: Deadlines
    waiting: Waiting
    flow: CustomerFlow
    opt_outs_today: int
    changes: int
    """Opt-outs at İYS that a subscriber took, of which the latency is known."""
    p50: float | None
    """Seconds from İYS's creation date until a subscriber took it; None: none did."""
    p95: float | None
    addresses: tuple[Address, ...]
    """The rate limits at İYS; none for who sees one customer."""
    faults: tuple[Sentence, ...]
    """What does not answer, or is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFigures:
    """The figures that screens show, kept for some seconds."""

    ledger: Ledger
    kept: Kept
    records_per_second: float
    """The pace that İYS allows."""
    permissions: str
    """The name of that topic."""
    clock: Callable[[], datetime]
    unreadable: Unreadable

    async def overview(self, cut: CustomerCut) -> Overview:
        """Return everything of the overview but its plots."""
        whole = cut.customer_id is None
        today = self.clock().astimezone(TURKEY).date()
        taken = await self.latencies(cut.customer_id)
        seconds = sorted(
            one for (_, leg), some in taken.items() if leg is Leg.WHOLE for one in some
        )
        limits = await self.kept.get("addresses", lambda: addresses(self.ledger))
        return Overview(
            deadlines=await self.deadlines(cut.customer_id),
            waiting=await self.kept.get(("waiting", cut.customer_id), lambda: self._waiting(cut)),
            flow=await self.flow(cut),
            opt_outs_today=sum(
                one.opt_outs for one in await self.opt_outs(cut) if one.day == today
            ),
            changes=len(seconds),
            p50=quantile(seconds, 0.5) if seconds else None,
            p95=quantile(seconds, 0.95) if seconds else None,
            addresses=limits if whole else (),
            faults=await self.kept.get(("faults", cut.customer_id), lambda: self._faults(cut)),
        )

    async def deadlines(self, customer: str | None) -> Deadlines:
        """Return what is due, of a customer or of all, with the forecast."""
        return await self.kept.get(
            ("deadlines", customer),
            lambda: deadlines(
                self.ledger,
                records_per_second=self.records_per_second,
                customer=customer,
                now=self.clock(),
            ),
        )

    async def flow(self, cut: CustomerCut) -> CustomerFlow:
        """Return what was decided, and what İYS answered, in 24 hours."""
        found = await self.kept.get("flows", lambda: flows(self.ledger, since=self.clock() - FLOW))
        ours = [one for one in found if cut.has(one.customer_id)]
        names = [one.name for one in fields(CustomerFlow) if one.name != "customer_id"]
        return CustomerFlow(
            customer_id=cut.customer_id or "",
            **{name: sum(getattr(one, name) for one in ours) for name in names},
        )

    async def opt_outs(self, cut: CustomerCut) -> tuple[OptOutCount, ...]:
        """Return the opt-outs of the last 14 days (Turkish time), by day, channel and path."""

        async def read() -> tuple[OptOutCount, ...]:
            midnight = self.clock().astimezone(TURKEY).replace(hour=0, minute=0, second=0)
            since = midnight.replace(microsecond=0) - timedelta(days=DAYS - 1)
            return await opt_outs_by_day(self.ledger, since=since)

        found = await self.kept.get("opt-outs", read)
        return tuple(one for one in found if cut.has(one.customer_id))

    async def latencies(self, customer: str | None) -> LegSeconds:
        """Return how long the latest opt-outs at İYS took, of the last 24 hours."""
        return await self.kept.get(
            ("latencies", customer),
            lambda: leg_seconds(
                self.ledger,
                since=self.clock() - FLOW,
                brand_code=None,
                permissions=self.permissions,
                customer_id=customer,
                opt_outs=True,
                most=_CHANGES,
            ),
        )

    async def _waiting(self, cut: CustomerCut) -> Waiting:
        now = self.clock()
        listed = await worklist(
            *(self.ledger, cut, Filter()), now=now, size=1, letters=self.unreadable.items
        )
        counts = dict.fromkeys(Need, 0)
        for group in listed.groups:
            counts[group.kind] += group.items
        # They have a figure of their own.
        open_complaints = counts.pop(Need.COMPLAINT)
        entered = [one for one in await complaints.every(self.ledger) if cut.has(one.customer_id)]
        return Waiting(
            worklist=counts,
            is_cut=any(group.items > MOST for group in listed.groups),
            complaints=open_complaints,
            complaints_overdue=sum(one.due_at is not None and one.due_at < now for one in entered),
        )

    async def _faults(self, cut: CustomerCut) -> tuple[Sentence, ...]:
        ledger, now, found = self.ledger, self.clock(), list[Sentence]()
        if (behind := await unread(ledger, now)) is not None:
            found.append(behind)
        if (held := await offsets.held(ledger)) is not None:
            found.append(
                sentence(
                    "Nothing is published or submitted since %(at)s: the ledger was restored, and "
                    "reads its decisions again.",
                    at=held.since,
                )
            )
        subscribers = [one for one in await registry.every(ledger) if cut.has(one.customer_id)]
        if subscribers and not await reads.living_deliverers(ledger):
            found.append(sentence("No process delivers webhooks: subscribers are sent nothing."))
        if failing := sum(one.failing_since is not None for one in subscribers):
            found.append(sentence("%(count)s subscribers do not take their events.", count=failing))
        pauses = [one.paused_until for one in await addresses(ledger) if one.paused_until]
        if pauses:
            found.append(sentence("Calls to İYS are paused until %(at)s.", at=max(pauses)))
        stale = {
            one.brand_code
            for one in await stream_progress.read(ledger)
            if cut.has(one.brand_code) and one.is_stale(now)
        }
        if stale:
            found.append(
                sentence(
                    "What citizens did at İYS has not been read for %(count)s brands for more than "
                    "six hours.",
                    count=len(stale),
                )
            )
        return tuple(found)
