"""Submit what is due to İYS: opt-outs before everything else, then what is due soonest.

Opt-outs have loops of their own, so that they never wait behind bulk. A step claims the records of
one brand and channel, stores the submission and sends it, and returns whether there was anything to
do.

Which brand and channel is next: due within a day first, then in turn. Customers take turns, within
a customer its brands, within a brand its channels, so that a million records of one do not delay
ten of another. What is due soon goes first whoever it belongs to, for a consent that is registered
too late is void (Yönetmelik m.7/12).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from izin.consent import Status
from izin.iys.rate_limit import CallClass, CircuitState, Reputation
from izin.ledger import brands, submissions, suspensions
from izin.ledger.automatic_suspension import decisions
from izin.ledger.db import fetch, statements
from izin.ledger.record import BATCH, SINGLE, ConsentRow, Submission
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.send import Sender
from izin.sinks.outbound.status_query import StatusQuerier

QUERY_FIRST_OVER = 1
"""More opt-outs than this whose state at İYS is unknown are queried first, 1,000 a call.

One query takes no longer than one opt-out. An opt-out for which İYS has no consent is refused
(H175), and too many refusals cost the address its place on İYS's list.
"""
BATCH_OVER = 10
"""More opt-outs than this for which İYS may show ONAY are submitted by batch: where their ONAYs are
in flight, it is processed after them. One by one, so many take all calls of a second.
"""
OTHERS_EVERY = 4
"""While those wait, every so many-th step is for opt-outs for which İYS shows no ONAY."""
_LAST_HOUR = timedelta(hours=1)
_RECHECK = timedelta(minutes=1)
_SQL = statements("claims")
SOON = timedelta(hours=24)
"""What is due within it is submitted before all else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundLane:
    """A channel of a brand with records to submit, and when the first of them is due."""

    customer_id: str
    brand_code: int
    channel: str
    due_at: datetime | None

    def is_soon(self, now: datetime) -> bool:
        """Whether its first record is due within a day, or overdue."""
        return self.due_at is not None and self.due_at <= now + SOON

    def is_overdue(self, now: datetime) -> bool:
        """Whether its first record is overdue: submitted still, for İYS may count a longer term."""
        return self.due_at is not None and self.due_at < now


@dataclass(slots=True, kw_only=True)
class FairShares:
    """The turns of customers, of their brands and of the brands' channels."""

    _served: dict[tuple[object, ...], int] = field(default_factory=dict)
    _turns: Iterator[int] = field(default_factory=lambda: count(1))

    def take(self, lanes: Sequence[OutboundLane], now: datetime) -> OutboundLane | None:
        """Return the next lane and count it as served; None if there is none."""
        if not lanes:
            return None
        chosen = min(
            lanes,
            key=lambda lane: (
                not lane.is_soon(now),
                [self._served.get(name, 0) for name in _names(lane)],
            ),
        )
        self._served.update(dict.fromkeys(_names(chosen), next(self._turns)))
        return chosen


def _names(lane: OutboundLane) -> tuple[tuple[object, ...], ...]:
    return (
        (lane.customer_id,),
        (lane.customer_id, lane.brand_code),
        (lane.customer_id, lane.brand_code, lane.channel),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """The steps that submit records to İYS."""

    context: OutboundContext
    sender: Sender
    querier: StatusQuerier
    batch_size: int
    shares: Mapping[Status, FairShares] = field(
        default_factory=lambda: {status: FairShares() for status in Status}
    )
    _steps: Iterator[int] = field(default_factory=lambda: count(1))
    """The steps at which opt-outs of either kind wait."""

    async def opt_out(self) -> bool:
        """Submit one opt-out at once; where many wait, query or submit up to 1,000 of them."""
        now = self.context.clock()
        circuit = self.context.client.circuit_state("add")
        if circuit is CircuitState.OPEN:
            return False
        lane = await self._lane(Status.RET, now)
        if lane is None:
            return False
        brand_code, channel = lane.brand_code, lane.channel
        waiting = await self.context.ledger.fetch(
            _SQL["opt-outs-waiting"],
            {
                "brand_code": brand_code,
                "channel": channel,
                "now": now,
                "most": max(QUERY_FIRST_OVER, BATCH_OVER) + 1,
            },
        )
        of_onay, of_unknown = waiting[0]["of_onay"], waiting[0]["of_unknown"]
        is_for_others = not of_onay or (
            waiting[0]["has_others"] and next(self._steps) % OTHERS_EVERY == 0
        )
        is_query_first = of_unknown > QUERY_FIRST_OVER or waiting[0]["has_lost"]
        may_query = is_for_others and is_query_first and not self.context.is_paused("statuses")
        if may_query and await self.querier.query_opt_outs(brand_code, channel):
            return True
        bulk = (
            not is_for_others
            and of_onay > BATCH_OVER
            and circuit is CircuitState.CLOSED
            and not self.context.is_paused("add_batch")
        )
        submission = await self._claim(
            brand_code,
            channel,
            Status.RET,
            size=self.batch_size if bulk else 1,
            kind=BATCH if bulk else SINGLE,
            of_onay=not is_for_others,
        )
        if submission is None:
            return False
        await self.sender.submit(submission)
        return True

    async def bulk(self) -> bool:
        """Submit a batch of a brand's ONAYs, the earliest due first.

        Where the address's reputation at İYS is critical, only those due soon.
        """
        now = self.context.clock()
        circuit = self.context.client.circuit_state("add_batch")
        lane = None if circuit is CircuitState.OPEN else await self._lane(Status.ONAY, now)
        if lane is None:
            return False
        is_soon = lane.is_soon(now)
        if not is_soon and self.context.pacer.reputation is Reputation.CRITICAL:
            return False
        submission = await self._claim(
            lane.brand_code,
            lane.channel,
            Status.ONAY,
            # One record probes a half-open circuit as well as a thousand.
            size=self.batch_size if circuit is CircuitState.CLOSED else 1,
            kind=BATCH,
            of_onay=None,
            overdue=lane.is_overdue(now),
        )
        if submission is None:
            return False
        await self.sender.submit(
            submission, call_class=CallClass.DUE if is_soon else CallClass.BULK
        )
        return True

    async def last_hour(self) -> bool:
        """Submit an ONAY whose term ends within the hour alone: a batch's result would come too
        late.
        """
        if self.context.is_paused("add"):
            return False
        async with self.context.changes() as changes:
            connection, now = changes.connection, changes.now
            values = {
                "now": now,
                "until": now + _LAST_HOUR,
                "size": 1,
                **self.context.lease_owner.who,
            }
            taken = await submissions.select_rows(connection, "claim-last-hour", values)
            if not taken:
                return False
            found = await brands.of_codes(connection, {taken[0].brand_code})
            submission = await submissions.claim(
                changes,
                found[taken[0].brand_code],
                taken,
                kind=SINGLE,
                lease_owner=self.context.lease_owner,
            )
        await self.sender.submit(submission)
        return True

    async def expire(self) -> bool:
        """Expire ONAYs whose term ended before submission: they need a new consent (m.7/12)."""
        async with self.context.changes() as changes:
            values = {"now": changes.now, "size": self.batch_size}
            entries = [
                ConsentRow.from_row(row)
                for row in await fetch(changes.connection, _SQL["claim-expired"], values)
            ]
            found = await brands.of_codes(changes.connection, {one.brand_code for one in entries})
            for entry in entries:
                changes.rule(entry, entry, found.get(entry.brand_code))
        return bool(entries)

    async def end_holds(self) -> bool:
        """Let opt-outs go that are held back and that are due within a day."""
        return bool(
            await decisions.end(self.context.ledger, now=self.context.clock(), size=self.batch_size)
        )

    async def _lane(self, status: Status, now: datetime) -> OutboundLane | None:
        rows = await self.context.ledger.fetch(
            _SQL["claimable-channels"],
            {"status": str(status), "now": now, **self.context.lease_owner.who},
        )
        return self.shares[status].take([OutboundLane(**row) for row in rows], now)

    async def _claim(  # noqa: PLR0913 - which records, how many, and how they are sent
        self,
        brand_code: int,
        channel: str,
        status: Status,
        *,
        size: int,
        kind: str,
        of_onay: bool | None,
        overdue: bool = False,
    ) -> Submission | None:
        async with self.context.changes() as changes:
            connection, now = changes.connection, changes.now
            allowed = await suspensions.may_submit(
                connection,
                brand_code,
                channel,
                status,
                account=self.context.lease_owner.account,
                now=now,
                recheck_at=now + _RECHECK,
            )
            if allowed is False:
                return None
            taken = await submissions.select_rows(
                connection,
                "claim",
                {
                    "brand_code": brand_code,
                    "channel": channel,
                    "status": str(status),
                    "of_onay": of_onay,
                    "now": now,
                    "overdue": overdue,
                    "size": size if allowed else 1,
                },
            )
            found = await brands.of_codes(connection, {brand_code})
            if not taken or brand_code not in found:
                return None
            return await submissions.claim(
                changes,
                found[brand_code],
                taken,
                kind=kind if allowed else SINGLE,
                lease_owner=self.context.lease_owner,
            )
