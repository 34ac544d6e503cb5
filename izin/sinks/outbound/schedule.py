"""What is owed to İYS, told: opt-outs ahead of everything, then what is due soonest, then the
rest.

Each kind has a lane of its own, so that a "no" never waits behind bulk. A step takes the records
of one brand and channel, keeps the intent and tells them; it returns whether there was anything to
do. Whose turn it is, ``sinks.fairness`` tells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.consent.model import Status
from izin.consent.obligation import Registered
from izin.iys.rate_limit.pace import CallClass
from izin.iys.rate_limit.reputation import Reputation
from izin.iys.transport.circuit_breaker import CircuitState
from izin.sinks.ledger import brands, claims, suspensions
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.outbound.context import Tools
from izin.sinks.outbound.fairness import FairShares, Lane
from izin.sinks.outbound.send import Sender
from izin.sinks.outbound.status_query import StatusQuerier
from izin.sinks.record import ruling
from izin.sinks.record.row import ConsentRow
from izin.sinks.record.submission import BATCH, SINGLE, Submission

QUERY_FIRST_OVER = 1
"""More opt-outs than this of which İYS's state is unknown: asked about first, 1,000 a call.

One question answers as fast as one opt-out would, and an opt-out that İYS has nothing against is a
refusal (H175): too many of those cost the address its place on İYS's list."""
BATCH_OVER = 50
"""More opt-outs than this of which İYS shows ONAY: told by batch."""
_LAST_HOUR = timedelta(hours=1)
_RECHECK = timedelta(minutes=1)
_ALL = tuple(str(value) for value in Registered)
_SQL = statements("consents")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """The lanes on which records leave for İYS."""

    tools: Tools
    sender: Sender
    querier: StatusQuerier
    batch_size: int
    shares: Mapping[Status, FairShares] = field(
        default_factory=lambda: {status: FairShares() for status in Status}
    )

    async def opt_out(self) -> bool:
        """Tell an opt-out at once; where many wait, ask or tell them by the thousand."""
        now = self.tools.clock()
        gate = self.tools.client.circuit_state("add")
        if gate is CircuitState.OPEN:
            return False
        lane = await self._lane(Status.RET, now)
        if lane is None:
            return False
        brand_code, channel = lane.brand_code, lane.channel
        waiting = await self.tools.ledger.fetch(
            _SQL["opt-outs-waiting"],
            {
                "brand_code": brand_code,
                "channel": channel,
                "now": now,
                "most": max(QUERY_FIRST_OVER, BATCH_OVER) + 1,
            },
        )
        of_onay, of_unknown = waiting[0]["of_onay"], waiting[0]["of_unknown"]
        may_query = of_onay == 0 and of_unknown > QUERY_FIRST_OVER and self._is_open("statuses")
        if may_query and await self.querier.query_opt_outs(brand_code, channel):
            return True
        bulk = of_onay > BATCH_OVER and gate is CircuitState.CLOSED and self._is_open("add_batch")
        registered = [Registered.ONAY] if of_onay else _ALL
        submission = await self._claim(
            brand_code,
            channel,
            Status.RET,
            size=self.batch_size if bulk else 1,
            kind=BATCH if bulk else SINGLE,
            registered=[str(value) for value in registered],
        )
        if submission is None:
            return False
        await self.sender.tell(submission)
        return True

    async def bulk(self) -> bool:
        """Tell a brand's ONAYs, the earliest due first, by the thousand.

        Where the address stands badly with İYS, only what is due soon.
        """
        now = self.tools.clock()
        gate = self.tools.client.circuit_state("add_batch")
        lane = None if gate is CircuitState.OPEN else await self._lane(Status.ONAY, now)
        if lane is None:
            return False
        is_soon = lane.is_soon(now)
        if not is_soon and self.tools.pacer.standing is Reputation.CRITICAL:
            return False
        submission = await self._claim(
            lane.brand_code,
            lane.channel,
            Status.ONAY,
            # One record shows as well as a thousand whether İYS is there again.
            size=self.batch_size if gate is CircuitState.CLOSED else 1,
            kind=BATCH,
            registered=_ALL,
            overdue=lane.is_overdue(now),
        )
        if submission is None:
            return False
        await self.sender.tell(submission, call_class=CallClass.DUE if is_soon else CallClass.BULK)
        return True

    async def last_hour(self) -> bool:
        """Tell an ONAY whose term ends within the hour, for the answer to a batch would come too
        late.
        """
        now = self.tools.clock()
        if self.tools.client.circuit_state("add") is CircuitState.OPEN:
            return False
        async with self.tools.ledger.transaction() as connection:
            values = {
                "now": now,
                "until": now + _LAST_HOUR,
                "size": 1,
                **self.tools.lease_owner.who,
            }
            taken = await claims.select_rows(connection, "claim-last-hour", values)
            if not taken:
                return False
            found = await brands.of_codes(connection, {taken[0].brand_code})
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            submission = await claims.claim(
                connection,
                changes,
                found[taken[0].brand_code],
                taken,
                kind=SINGLE,
                lease_owner=self.tools.lease_owner,
            )
            await changes.write(connection)
        await self.sender.tell(submission)
        return True

    async def expire(self) -> bool:
        """Give up ONAYs whose term has ended untold: a new consent is needed (m.7/12)."""
        now = self.tools.clock()
        async with self.tools.ledger.transaction() as connection:
            values = {"now": now, "size": self.batch_size}
            rows = await (await connection.execute(_SQL["claim-expired"], values)).fetchall()
            entries = [ConsentRow.from_row(row) for row in rows]
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            for entry in entries:
                changes.put(entry, ruling.expire(entry, "term-ended", None))
            await changes.write(connection)
        return bool(entries)

    def _is_open(self, operation: str) -> bool:
        return self.tools.client.circuit_state(operation) is not CircuitState.OPEN

    async def _lane(self, status: Status, now: datetime) -> Lane | None:
        rows = await self.tools.ledger.fetch(
            _SQL["claimable-channels"],
            {"status": str(status), "now": now, **self.tools.lease_owner.who},
        )
        return self.shares[status].take([Lane(**row) for row in rows], now)

    async def _claim(  # noqa: PLR0913 - which records, how many, and how they are told
        self,
        brand_code: int,
        channel: str,
        status: Status,
        *,
        size: int,
        kind: str,
        registered: Sequence[str],
        overdue: bool = False,
    ) -> Submission | None:
        now = self.tools.clock()
        async with self.tools.ledger.transaction() as connection:
            allowed = await suspensions.may_submit(
                connection,
                brand_code,
                channel,
                status,
                account=self.tools.lease_owner.account,
                now=now,
                recheck_at=now + _RECHECK,
            )
            if allowed is False:
                return None
            taken = await claims.select_rows(
                connection,
                "claim",
                {
                    "brand_code": brand_code,
                    "channel": channel,
                    "status": str(status),
                    "registered": list(registered),
                    "now": now,
                    "overdue": overdue,
                    "size": size if allowed else 1,
                },
            )
            found = await brands.of_codes(connection, {brand_code})
            if not taken or brand_code not in found:
                return None
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            submission = await claims.claim(
                connection,
                changes,
                found[brand_code],
                taken,
                kind=kind if allowed else SINGLE,
                lease_owner=self.tools.lease_owner,
            )
            await changes.write(connection)
        return submission
