"""A call to İYS: whether it may be written, its outcome as a whole (accepted, or unknown), and what
is submitted again of a submission that İYS refused, or that was not sent as it stood. Last, what is
read back where an opt-in may reach İYS after the opt-out that replaced it.

Just before it is written, all of it is checked: a submission may wait for its slot while a
recipient opts out, a term ends, an operator stops the brand, or another process claims it. What the
check finds is at most a moment old when the call is written (``iys.transport.paced_transport``). A
call that is on its way cannot be recalled.

Where another process has taken the submission over meanwhile, its items were asked about while this
call was on its way: what was given up is read back. For İYS may process a call after our timeout,
and a process frozen just before it writes a call writes it when it wakes. İYS refuses an opt-in
with an older date (H178), but not after a line was closed with an old one. So İYS is asked once
more: after an opt-out beside which the outcome of an opt-in was never known, after a call that was
over too late, and after a query that came before İYS must have saved what it got.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from izin.consent import Action, Calendar, ConsentKey, State, Status
from izin.consent.transitions import Event
from izin.iys.errors import CallError
from izin.iys.wire_format import AcceptedBatch
from izin.ledger import submissions, suspensions
from izin.ledger.db import Connection, fetch, microseconds, statements
from izin.ledger.history import unsent_fact
from izin.ledger.record import (
    OPT_OUT_BACKOFF,
    READ_BACK,
    AppliedResult,
    Brand,
    ConsentRow,
    Item,
    LeaseOwner,
    Submission,
    apply,
    ruling,
    transition,
)
from izin.ledger.unit_of_work import UnitOfWork, lock
from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger
from izin.sinks.outbound.context import OutboundContext

_OPT_IN_BACKOFF = Backoff(timedelta(seconds=2), timedelta(minutes=5))
_UNKNOWN_SINCE = timedelta(hours=1)
_HELD = 4
"""For so many result delays, 20 minutes by default, a network may deliver late what was written:
TCP repeats for a quarter of an hour what was not acknowledged.
"""
_SETTLED = frozenset({State.ACCEPTED, State.NOT_NEEDED})

_SQL = statements("submissions")

_log = get_logger(__name__)


async def mark_accepted(
    context: OutboundContext, submission: Submission, batch: AcceptedBatch, *, results_at: datetime
) -> None:
    """Store that İYS has accepted a batch, whose results it has at ``results_at``."""
    if len(batch.sub_request_ids) != len(submission.items):
        # A receipt with another number of items does not prove what İYS accepted.
        await mark_unknown(context, submission, None)
        return
    async with context.changes() as changes:
        if not await submissions.acknowledge(
            changes.connection,
            submission,
            batch.request_id,
            batch.sub_request_ids,
            now=changes.now,
            next_poll_at=results_at,
        ):
            await after_late_call(changes, submission, submission.items, results_at)
        first = submission.items[0]
        await suspensions.resume(
            changes.connection,
            submission.brand.brand_code,
            ConsentKey.parse(first.key).channel,
            first.status,
            account=context.lease_owner.account,
        )


async def mark_unknown(
    context: OutboundContext,
    submission: Submission,
    error: CallError | None,
    *,
    wait: timedelta | None = None,
) -> None:
    """Store that the outcome of a call is not known; it is recovered after ``wait``."""
    if wait is None:
        backoff = OPT_OUT_BACKOFF if submission.has_opt_outs else _OPT_IN_BACKOFF
        wait = backoff.after(submission.sends)
        wait = wait if error is None else error.pause(wait)
    log = _log.debug if error is not None and error.is_repeated else _log.warning
    log("submission outcome unknown", submission=submission.id, error=str(error))
    async with context.changes() as changes:
        now = changes.now
        rows = await lock(changes.connection, (item.key for item in submission.items))
        if await submissions.mark_unknown(
            changes.connection,
            submission,
            now=now,
            next_poll_at=now + wait,
            lease_owner=context.lease_owner,
        ):
            lose_unanswered(changes, submission, rows)
        else:
            await after_late_call(changes, submission, submission.items, now + context.result_delay)


def lose_unanswered(
    changes: UnitOfWork, submission: Submission, rows: Mapping[str, ConsentRow]
) -> dict[str, ConsentRow]:
    """Return ``rows``; those that await the answer to ``submission`` are of unknown outcome now."""
    after = dict(rows)
    for item in submission.items:
        row = rows[item.key]
        if row.is_of(item.event_id, item.status) and row.state is State.IN_FLIGHT:
            after[item.key] = changes.put(row, transition(row, Event.LOSE, reason="no-answer"))
    return after


class CallPermit:
    """The permit of a submission's call; calling it makes the check."""

    def __init__(self, context: OutboundContext, submission: Submission) -> None:
        self._context = context
        self._submission = submission
        self.changed: tuple[Item, ...] = ()
        """Where the call was withheld: the items that must not be sent now."""
        self.is_held = False
        """Whether the submission was not claimed again."""

    async def __call__(self) -> bool:
        """Return whether the call may be written now."""
        context, submission = self._context, self._submission
        now, lease_owner = context.clock(), context.lease_owner
        async with context.ledger.transaction() as connection:
            found = await submissions.check(
                connection, submission, now=now, lease_owner=lease_owner
            )
            self.is_held = found is not None
            if found is None:
                return False
            self.changed = ()
            if not found.is_open:
                self.changed = submission.items
            elif found.doubtful:
                doubtful = [item for item in submission.items if item.place in found.doubtful]
                self.changed = await unwanted(
                    connection, submission, doubtful, now, calendar=context.ledger.calendar
                )
            may_call = found.is_open and not found.is_freed and not self.changed
            if may_call and found.doubtful:
                await submissions.call(connection, submission, now=now, lease_owner=lease_owner)
        return may_call


async def unwanted(
    connection: Connection,
    submission: Submission,
    items: Sequence[Item],
    now: datetime,
    *,
    calendar: Calendar,
) -> tuple[Item, ...]:
    """Return those ``items`` of ``submission`` that would not be submitted now; their rows stay
    locked until the transaction ends.
    """
    rows = await lock(connection, (item.key for item in items))
    return tuple(
        item
        for item in items
        if not is_wanted(rows[item.key], item, submission.brand, now, calendar=calendar)
    )


def is_wanted(
    row: ConsentRow, item: Item, brand: Brand, now: datetime, *, calendar: Calendar
) -> bool:
    """Whether ``item`` would be submitted now, had it not been before."""
    if not row.is_of(item.event_id, item.status):
        return False
    answered = apply.answered_row(row, item.status, now)
    ruled = ruling.rule_row(answered, brand, now, calendar=calendar, answered=True)
    return ruled.row.action is Action.SEND


async def resubmit(
    context: OutboundContext,
    submission: Submission,
    parts: Sequence[Sequence[Item]],
    *,
    refusals: int,
) -> list[Submission]:
    """Move each part to a submission of its own, each item byte for byte; return these.

    Raises:
        ConcurrentChangeError: another process has claimed the submission and settled one of them.
    """
    async with context.changes() as changes:
        return await _move(changes, context.lease_owner, submission, parts, refusals)


async def rebuild(
    context: OutboundContext, submission: Submission, without: Sequence[Item]
) -> list[Submission]:
    """Leave out some items of a submission that was never sent, and those that were freed; return
    the submission of the others, if any.

    Raises:
        ConcurrentChangeError: another process has claimed the submission and settled one of them.
    """
    _log.info("submission rebuilt", submission=submission.id, without=len(without))
    async with context.changes() as changes:
        places = await submissions.open_places(changes.connection, submission)
        items = [item for item in submission.items if item.place in places]
        left_out = [item for item in items if item in without]
        rest = [item for item in items if item not in without]
        await leave_out(changes, submission, left_out)
        at = microseconds(changes.now)
        changes.add_history(unsent_fact(submission, item, at) for item in rest)
        return await _move(changes, context.lease_owner, submission, [rest], submission.refusals)


async def leave_out(changes: UnitOfWork, submission: Submission, items: Sequence[Item]) -> None:
    """Take ``items`` out of ``submission``, which was never sent; rule their rows again.

    Raises:
        ConcurrentChangeError: another process has settled one of them.
    """
    rows = await lock(changes.connection, (item.key for item in items))
    for item in items:
        row = rows[item.key]
        answered = row.is_of(item.event_id, item.status)
        changes.rule(row, apply.uncalled_row(row, item.status), submission.brand, answered=answered)
    await submissions.withdraw(changes.connection, submission, items, now=changes.now)
    at = microseconds(changes.now)
    changes.add_history(unsent_fact(submission, item, at) for item in items)


async def _move(
    changes: UnitOfWork,
    lease_owner: LeaseOwner,
    submission: Submission,
    parts: Sequence[Sequence[Item]],
    refusals: int,
) -> list[Submission]:
    moved = [item for part in parts for item in part]
    if moved:
        await submissions.withdraw(changes.connection, submission, moved, now=changes.now)
    bodies = submission.content
    return [
        await submissions.intend(
            changes,
            submission.brand,
            part,
            [bodies[item.place] for item in part],
            kind=submission.kind,
            lease_owner=lease_owner,
            refusals=refusals,
            call_until=submission.call_until,
        )
        for part in parts
        if part
    ]


async def after_opt_outs(
    connection: Connection,
    items: Collection[Item],
    applied_by_place: Mapping[int, AppliedResult],
    now: datetime,
    *,
    result_delay: timedelta,
) -> dict[int, AppliedResult]:
    """Return the results of ``items``; the settled opt-outs beside which an opt-in may still be on
    its way are to be read back, once İYS has saved what it got at the latest.
    """
    keys = [item.key for item in items if item.status == Status.RET]
    called_until = await _opt_ins_of_unknown_outcome(connection, keys, since=now - _UNKNOWN_SINCE)
    results = dict(applied_by_place)
    for item in items:
        applied = results[item.place]
        if item.key in called_until and _is_settled_opt_out(applied.ruled.row):
            row = _to_read_back(applied.ruled.row, max(now, called_until[item.key]) + result_delay)
            results[item.place] = replace(applied, ruled=applied.ruled._replace(row=row))
    return results


async def after_late_call(
    changes: UnitOfWork,
    submission: Submission,
    items: Collection[Item],
    at: datetime,
) -> None:
    """Have those keys read back ``at`` an instant whose opt-ins of ``items`` were given up, by this
    process or another one, before a call of them was over.
    """
    opt_ins = [item for item in items if item.status == Status.ONAY]
    if not opt_ins:
        return
    found = await fetch(changes.connection, _SQL["withdrawn-items"], {"id": submission.id})
    withdrawn = {row["index"] for row in found}  # without an answer
    keys = [item.key for item in opt_ins if item.place in withdrawn]
    for row in (await lock(changes.connection, keys)).values():
        if _is_settled_opt_out(row):
            _log.critical("opt-in sent after its opt-out", submission=submission.id)
            changes.put(row, _to_read_back(row, at))


async def after_queries(
    changes: UnitOfWork, rows: Iterable[ConsentRow], *, result_delay: timedelta
) -> None:
    """Have those opt-outs among ``rows`` read back that a query has settled, though İYS may still
    save an opt-in that was given up without an answer.

    Once when İYS has saved what came in time, and once when nothing can come any more: a network
    that was silent may have held the call.
    """
    settled = {row.key: row for row in rows if _is_settled_opt_out(row)}
    held = _HELD * result_delay
    called_until = await _opt_ins_of_unknown_outcome(
        changes.connection, list(settled), since=changes.now - held - result_delay
    )
    for key, until in called_until.items():
        saved = until + result_delay
        at = saved if saved > changes.now else saved + held
        changes.put(settled[key], _to_read_back(settled[key], at))


async def _opt_ins_of_unknown_outcome(
    connection: Connection, keys: Sequence[str], *, since: datetime
) -> dict[str, datetime]:
    """Return those of ``keys`` of which an opt-in was given up without an answer, though a call of
    it may have been written, and could be on its way after ``since``; and until when.
    """
    if not keys:
        return {}
    values = {"keys": keys, "since": since}
    query = _SQL["opt-ins-of-unknown-outcome"]
    return {row["key"]: row["call_until"] for row in await fetch(connection, query, values)}


def _is_settled_opt_out(row: ConsentRow) -> bool:
    return (
        row.desired_status == Status.RET
        and row.state in _SETTLED
        and row.action is Action.NOTHING
        and not row.is_open
    )


def _to_read_back(row: ConsentRow, at: datetime) -> ConsentRow:
    return row.replace(action=Action.QUERY, reason=READ_BACK, next_attempt_at=at)
