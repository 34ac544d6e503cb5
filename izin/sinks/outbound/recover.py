"""Recover submissions with an unknown outcome: send them again byte for byte, or query the status.

By V2 an identical body has no second effect: a single add returns its first transaction id again,
and an item of a batch that was saved succeeds with its first request. So an opt-out is sent again
at once, and so is a batch, for İYS may have items that it does not show yet; a single opt-in is
sent again where a status query does not show it. Items that are no longer desired, whose term has
ended or that are suspended are not sent: only their status is queried, for a batch of opt-ins not
before its results would have been due, because İYS may still be processing it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.consent import Channel, Observation, RecipientType, Status
from izin.iys.errors import CallError, RefusedError, ThrottledError, Verdict
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format import Receipt, RegisterRecord
from izin.ledger import brands, submissions, suspensions
from izin.ledger.db import Connection
from izin.ledger.record import (
    BATCH,
    SINGLE,
    ConsentRow,
    Item,
    ItemResult,
    Settled,
    Submission,
    apply,
)
from izin.ledger.unit_of_work import lock
from izin.runtime.logs import get_logger
from izin.sinks.outbound import status_query
from izin.sinks.outbound.call_outcome import (
    after_queries,
    is_wanted,
    leave_out,
    lose_unanswered,
    resubmit,
    unwanted,
)
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.save_results import save_results
from izin.sinks.outbound.send import Sender

_ONE_BY_ONE = 20
"""The most items that are queried one by one, before others have their turn."""
_CALLS = {SINGLE: "add", BATCH: "add_batch"}
"""The operation of each kind: while its circuit is open, submissions of the kind wait."""
_LATER = timedelta(seconds=30)
_SOON = timedelta(seconds=2)
"""Where opt-outs wait for the answer."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LostItems:
    """Settles items whose call was not answered, and that are not sent again, by their status.

    İYS permits a thousand single queries an hour. An opt-out in an item's place waits for the
    answer and needs to know only whether İYS holds an ONAY: such items are queried in one call, be
    it only one, for the hour's queries may be spent. So are many others. A few are queried one by
    one, for the record that İYS shows is the receipt of what we sent.
    """

    context: OutboundContext

    async def query(
        self, submission: Submission, items: Sequence[Item], *, opted_out: Sequence[Item]
    ) -> None:
        """Settle items that must not be sent again by their status; first those ``opted_out``
        since.

        Opt-ins wait until İYS can show them. Opt-outs do not: one that İYS processes later harms
        nothing.
        """
        if not items:
            return
        # İYS begins to process a batch when its call has arrived, at the latest when it is over.
        received_at = submission.call_until or submission.intended_at
        settled_at = received_at + self.context.result_delay
        waits = submission.kind != SINGLE and not submission.has_opt_outs
        if waits and self.context.clock() < settled_at:
            await self.postpone(submission, settled_at)
            return
        others = [item for item in items if item not in opted_out]
        try:
            left = await self._query(submission, opted_out, CallClass.RET, at_once=0)
            left += await self._query(submission, others, CallClass.RESULTS, at_once=_ONE_BY_ONE)
        except CallError as error:
            error.warn(_log, "status query failed", submission=submission.id)
            wait = error.pause(_SOON if opted_out else _LATER)
            await self.postpone(submission, self.context.clock() + wait)
        else:
            if left:
                await self.postpone(submission, self.context.clock())

    async def _query(
        self,
        submission: Submission,
        items: Sequence[Item],
        call_class: CallClass,
        *,
        at_once: int,
    ) -> int:
        """Query more items than ``at_once`` in one call, unless İYS refuses it; else each; return
        how many are left, for others to have their turn.
        """
        if len(items) > at_once:
            try:
                await self._query_together(submission, items, call_class)
            except RefusedError as error:
                _log.warning("status query refused", submission=submission.id, error=str(error))
            else:
                return 0
        for item in items[:_ONE_BY_ONE]:
            queried_at = self.context.clock().replace(microsecond=0)
            await self.settle(submission, item, await self.status(submission, item), queried_at)
        return len(items[_ONE_BY_ONE:])

    async def _query_together(
        self, submission: Submission, items: Sequence[Item], call_class: CallClass
    ) -> None:
        places = defaultdict[tuple[str, str], dict[str, Item]](dict)
        for item in items:
            _, channel, recipient_type, recipient = item.key.split("/", 3)
            places[channel, recipient_type][recipient] = item
        for (channel, recipient_type), some in places.items():
            queried_at = self.context.clock().replace(microsecond=0)
            approved = await self.context.client.statuses(
                submission.brand.path,
                Channel(channel),
                RecipientType(recipient_type),
                list(some),
                call_class=call_class,
            )
            await self._withdraw(
                submission,
                {
                    item: status_query.observation_of_many(
                        approved=recipient in approved, queried_at=queried_at
                    )
                    for recipient, item in some.items()
                },
            )

    async def status(self, submission: Submission, item: Item) -> RegisterRecord | None:
        """Return what İYS shows of one item; raises CallError."""
        _, channel, recipient_type, recipient = item.key.split("/", 3)
        return await self.context.client.status(
            submission.brand.path,
            Channel(channel),
            RecipientType(recipient_type),
            recipient,
            call_class=CallClass.RET if item.status == Status.RET else CallClass.RESULTS,
        )

    async def settle(
        self,
        submission: Submission,
        item: Item,
        record: RegisterRecord | None,
        queried_at: datetime,
    ) -> None:
        """Settle one item: İYS shows exactly this record, or it did not accept it."""
        if record is not None and is_the_same(record, item):
            await self.save_success(submission, item, record)
            return
        await self._withdraw(submission, {item: status_query.observation_of(record, queried_at)})

    async def save_success(
        self, submission: Submission, item: Item, record: RegisterRecord
    ) -> None:
        """Settle an item that İYS shows exactly as it was sent."""
        receipt = Receipt(
            transaction_id=record.transaction_id or "", creation_date=record.creation_date
        )
        await save_results(
            self.context,
            submission,
            {item.place: ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, how="status")},
        )

    async def _withdraw(self, submission: Submission, observed: Mapping[Item, Observation]) -> None:
        """Settle items that are not sent again, and rule their rows by what İYS shows."""
        async with self.context.changes() as changes:
            connection, now = changes.connection, changes.now
            entries = await lock(connection, [item.key for item in observed])
            gone = [Settled(place=item.place, state="withdrawn") for item in observed]
            counted = await submissions.settle(connection, submission, gone, now=now)
            after = []
            for item, observation in observed.items():
                if item.place not in counted:
                    continue
                entry = entries[item.key]
                changes.add_entry(status_query.observation(entry, observation, now))
                answered_row = apply.observed(
                    apply.answered_row(entry, item.status, now), observation
                )
                answered = entry.is_of(item.event_id, item.status)
                after.append(changes.rule(entry, answered_row, submission.brand, answered=answered))
            await after_queries(changes, after, result_delay=self.context.result_delay)

    async def postpone(self, submission: Submission, at: datetime) -> None:
        """Have the submission recovered again ``at`` an instant."""
        async with self.context.ledger.transaction() as connection:
            await submissions.poll_later(
                connection, submission, next_poll_at=at, lease_owner=self.context.lease_owner
            )


def is_the_same(record: RegisterRecord, item: Item) -> bool:
    """Whether ``record`` is what ``item`` asked İYS to register."""
    return record.status == item.status and record.consent_date == item.consent_date


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRecovery:
    """Settles submissions whose call was not answered."""

    context: OutboundContext
    sender: Sender

    @property
    def _lost(self) -> LostItems:
        return LostItems(context=self.context)

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

    async def recover(self, *, opt_outs_only: bool = False) -> bool:
        """Recover one submission with an unknown outcome; return whether there was one.

        ``opt_outs_only``: one with opt-outs, or for whose outcome opt-outs wait: they must not wait
        for the calls of recovered bulk.
        """
        if self.context.is_paused("status") and not opt_outs_only:
            return False
        kinds = [kind for kind, call in _CALLS.items() if not self.context.is_paused(call)]
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
        again = await resubmit(self.context, submission, [wanted], refusals=submission.refusals)
        rest = [item for item in submission.items if item not in wanted]
        await self._lost.query(
            submission,
            rest,
            opted_out=[item for item in rest if entries[item.key].desired_status == Status.RET],
        )
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
        observed = apply.observed(entry, status_query.observation_of(record, queried_at))
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
