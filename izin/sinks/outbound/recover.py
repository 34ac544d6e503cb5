"""Recover submissions with an unknown outcome: send them again byte for byte, or query the status.

By V2 an identical body has no second effect: a single add returns its first transaction id again,
and an item of a batch that was saved succeeds with its first request. So an opt-out is sent again
at once, and so is a batch, for İYS may have items that it does not show yet; a single opt-in is
sent again where a status query does not show it. Items that are no longer desired, whose term has
ended or that are suspended are not sent: only their status is queried, for a batch of opt-ins not
before its results would have been due, because İYS may still be processing it.
"""

from dataclasses import dataclass
from datetime import timedelta

from izin.consent import Status
from izin.iys.errors import CallError, ThrottledError
from izin.iys.rate_limit import CircuitState
from izin.ledger import brands, submissions, suspensions
from izin.ledger.db import Connection
from izin.ledger.record import BATCH, SINGLE, ConsentRow, Item, Submission, apply
from izin.ledger.unit_of_work import lock
from izin.runtime.logs import get_logger
from izin.sinks.outbound.call_outcome import is_wanted, lose_unanswered, unwanted
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.lost_items import LostItems, is_the_same
from izin.sinks.outbound.queries import status_answer
from izin.sinks.outbound.resubmit import leave_out, resubmit
from izin.sinks.outbound.send import Sender

_CALLS = {SINGLE: "add", BATCH: "add_batch"}
"""The operation of each kind: while its circuit is open, submissions of the kind wait."""
_SOON = timedelta(seconds=2)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRecovery:
    """Settles submissions whose call was not answered."""

    context: OutboundContext
    sender: Sender

    @property
    def _lost(self) -> LostItems:
        return LostItems(context=self.context)

    async def recover(self) -> bool:
        """Recover one submission with an unknown outcome; return whether there was one."""
        return await self._recover(opt_outs_only=False)

    async def recover_opt_outs(self) -> bool:
        """Recover one with opt-outs, or for whose outcome opt-outs wait: they must not wait for the
        calls of recovered bulk.
        """
        return await self._recover(opt_outs_only=True)

    async def free_opt_ins(self) -> bool:
        """Take the opt-ins that opt-outs wait for out of one submission that was never called,
        whoever has it; return whether there was one: a call of bulk may wait for its slot for a
        minute.
        """
        context = self.context
        async with context.changes() as changes:
            connection = changes.connection
            found = await submissions.to_free(connection, lease_owner=context.lease_owner)
            if found is None:
                return False
            row, places = found
            known = await brands.of_codes(connection, {row["brand_code"]})
            submission = await submissions.with_items(connection, row, known[row["brand_code"]])
            items = [item for item in submission.items if item.place in places]
            changed = await unwanted(
                connection, submission, items, changes.now, calendar=changes.calendar
            )
            if changed:
                await leave_out(changes, submission, changed)
                await submissions.mark_freed(connection, submission)
        return bool(changed)

    async def _recover(self, *, opt_outs_only: bool) -> bool:
        if self._is_paused("status") and not opt_outs_only:
            return False
        kinds = [kind for kind, call in _CALLS.items() if not self._is_paused(call)]
        now = self.context.clock()
        async with self.context.ledger.transaction() as connection:
            row = await submissions.unanswered(
                connection,
                now=now,
                lease_owner=self.context.lease_owner,
                kinds=kinds,
                opt_outs_only=opt_outs_only,
                is_silent=self.context.client.breakers.is_silent,
            )
            if row is None:
                return False
            found = await brands.of_codes(connection, {row["brand_code"]})
            submission = await submissions.with_items(connection, row, found[row["brand_code"]])
            is_suspended = await _is_suspended(connection, submission)
        if not submission.was_called:
            # Nothing of it was ever sent: what may not be any more is left out before the call.
            await self.sender.submit(submission)
            return True
        with self.context.leases.renewing([submission]):
            left = await self._settle(submission, is_suspended=is_suspended)
        for part in left:
            if opt_outs_only and not part.has_opt_outs:
                # It may wait for its slot for a minute: not in the way of opt-outs.
                await self._lost.postpone(part, now)
            else:
                await self.sender.submit(part)
        return True

    def _is_paused(self, operation: str) -> bool:
        return self.context.client.circuit_state(operation) is CircuitState.OPEN

    async def _settle(self, submission: Submission, *, is_suspended: bool) -> list[Submission]:
        """Query the status of what is no longer desired, or is suspended; return submissions of
        what is to be sent again, unless that is the whole, which is sent here.
        """
        async with self.context.changes() as changes:
            entries = await lock(changes.connection, (item.key for item in submission.items))
            entries = lose_unanswered(changes, submission, entries)
            wanted = [
                item
                for item in submission.items
                if not is_suspended and self._is_wanted(submission, entries[item.key], item)
            ]
            whole = len(wanted) == len(submission.items) == len(submission.content)
        _log.warning(
            "submission recovery started",
            submission=submission.id,
            items=len(submission.items),
            wanted=len(wanted),
        )
        if whole:
            is_queried = submission.kind == SINGLE and not submission.has_opt_outs
            if not (is_queried and await self._is_settled_by_status(submission, wanted[0])):
                await self._resend(submission)
            return []
        parts = [wanted] if wanted else []
        again = await resubmit(self.context, submission, parts, refusals=submission.refusals)
        rest = [item for item in submission.items if item not in wanted]
        opted_out = [item for item in rest if entries[item.key].desired_status == Status.RET]
        await self._lost.query(submission, rest, opted_out=opted_out)
        return again

    async def _is_settled_by_status(self, submission: Submission, item: Item) -> bool:
        """Query the status before an opt-in is sent again; return False where it is to be sent.

        True where the status settles it, or where the query is postponed. It is not where the
        hour's queries are used up, or not permitted: the answer to the call has the reason.
        """
        queried_at = self.context.clock().replace(microsecond=0)
        try:
            record = await self._lost.status(submission, item)
        except CallError as error:
            error.warn(_log, "status query failed", submission=submission.id)
            is_postponed = error.is_transient and not isinstance(error, ThrottledError)
            if is_postponed:
                await self._lost.postpone(submission, self.context.clock() + error.pause(_SOON))
            return is_postponed
        if record is not None and is_the_same(record, item):
            await self._lost.save_success(submission, item, record)
            return True
        async with self.context.ledger.transaction() as connection:
            entry = (await lock(connection, [item.key]))[item.key]
        observed = apply.observed(entry, status_answer.observation_of(record, queried_at))
        if self._is_wanted(submission, observed, item):
            return False
        await self._lost.settle(submission, item, record, queried_at)
        return True

    def _is_wanted(self, submission: Submission, entry: ConsentRow, item: Item) -> bool:
        now, calendar = self.context.clock(), self.context.ledger.calendar
        return is_wanted(entry, item, submission.brand, now, calendar=calendar)

    async def _resend(self, submission: Submission) -> None:
        now, lease_owner = self.context.clock(), self.context.lease_owner
        async with self.context.ledger.transaction() as connection:
            again = await submissions.resend(
                connection, submission, now=now, lease_owner=lease_owner
            )
        await self.sender.submit(again)


async def _is_suspended(connection: Connection, submission: Submission) -> bool:
    """Whether an operator has stopped the brand or withdrawn the right to the channel since the
    submission; all items of a submission have one channel.
    """
    if submission.brand.status != "active":
        return True
    if not submission.items:
        return False
    first = submission.items[0]
    _, channel, _ = first.key.split("/", 2)
    return await suspensions.is_suspended_by_operator(
        connection, submission.brand.brand_code, channel, first.status
    )
