"""What must be registered at İYS and by when: terms, forecast, and what was sent too late."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from izin.consent import Status
from izin.consent.forecast import Forecast, ForecastPoint, curve, forecast
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.views.cut import cut_to, unread
from izin.views.sentences import Sentence, sentence


class ParkedCounts(NamedTuple):
    """How many records wait for a person, and which brands have opt-outs among them."""

    opt_outs: int
    consents: int
    brands: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """What is due to İYS, of a customer or of all."""

    at: datetime
    records_per_second: float
    """The pace that İYS allows."""
    margins: tuple[reads.Margin, ...]
    """By brand, channel and status, and how much of the term has passed."""
    ahead: Forecast
    suspended: int
    parked: ParkedCounts
    unread: Sentence | None
    """What keeps the ledger from having all that was published."""

    @property
    def missed(self) -> int:
        """How many are past their term."""
        return sum(margin.missed for margin in self.margins)

    @property
    def needs_person(self) -> bool:
        """Whether anything is missed, will be late or expire, is suspended, or is parked."""
        return bool(
            self.ahead.late
            or self.ahead.lost
            or self.suspended
            or self.parked.opt_outs
            or self.parked.consents
            or self.missed
        )

    @property
    def course(self) -> tuple[ForecastPoint, ...]:
        """The forecast as a curve."""
        return curve(self.ahead, now=self.at, records_per_second=self.records_per_second)


async def deadlines(
    ledger: Ledger, *, records_per_second: float, customer: str | None, now: datetime
) -> Deadlines:
    """Return what is due, and the forecast at a pace; of a customer it is of its records alone, as
    if no others waited.

    Raises:
        UnknownCustomerError: it is not registered.
    """
    cut = await cut_to(ledger, customer)
    margins = tuple(
        margin for margin in await reads.margins(ledger, now=now) if cut.has(margin.customer_id)
    )
    backlog = await reads.backlog(ledger, customer_id=customer)
    return Deadlines(
        at=now,
        records_per_second=records_per_second,
        margins=margins,
        ahead=forecast(backlog.ready, now=now, records_per_second=records_per_second),
        suspended=sum(group.count for group in backlog.suspended),
        parked=parked_counts(one for one in await reads.parked(ledger) if cut.has(one.brand_code)),
        unread=await unread(ledger, now),
    )


def parked_counts(found: Iterable[reads.Parked]) -> ParkedCounts:
    """Return how many opt-outs and consents are parked."""
    groups = tuple(found)
    opt_outs = [group for group in groups if group.desired_status == Status.RET]
    count = sum(opt_out.keys for opt_out in opt_outs)
    others = sum(one.keys for one in groups) - count
    return ParkedCounts(count, others, tuple(sorted({one.brand_code for one in opt_outs})))


def forecast_said(ahead: Forecast, *, is_all: bool = True) -> Sentence:
    """Return a forecast in a sentence; not ``is_all``: something waits besides that is not sent."""
    if ahead.lost:
        return sentence(
            "%(count)s will expire, the first at %(at)s", count=ahead.lost, at=ahead.first_lost_at
        )
    if ahead.late:
        return sentence(
            "%(count)s will be late, the first at %(at)s", count=ahead.late, at=ahead.first_late_at
        )
    if ahead.done_at is None:
        return sentence("nothing waits to be sent" if is_all else "nothing else waits to be sent")
    return sentence("all will be sent in time, the last by %(at)s", at=ahead.done_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """An opt-out that was sent to İYS after its third business day. Contains personal data."""

    key: str
    customer_id: str
    event_id: str | None
    due_at: datetime
    sent_at: datetime

    @property
    def parts(self) -> tuple[str, ...]:
        """The brand, the channel, the recipient type and the recipient."""
        return tuple(self.key.split("/", 3))


async def breaches(ledger: Ledger, *, customer: str | None, most: int = 1000) -> tuple[Breach, ...]:
    """Return the latest breaches, of a customer or of all."""
    return tuple(
        Breach(
            **{name: row[name] for name in ("key", "customer_id", "event_id")},
            due_at=datetime.fromisoformat(row["due_at"]),
            sent_at=row["occurred_at"],
        )
        for row in await reads.breaches(ledger, customer_id=customer, most=most)
    )
