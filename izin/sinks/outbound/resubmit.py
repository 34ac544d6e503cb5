"""Submit again what is left of a submission that İYS refused, or that was not sent as it stood."""

from collections.abc import Sequence

from izin.runtime.observe import get_logger
from izin.sinks.ledger import claims, submissions
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.db.copy_format import microseconds
from izin.sinks.ledger.history.calls import unsent_fact
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.record import apply, ruling
from izin.sinks.record.submission import Item, Submission

_log = get_logger(__name__)


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
    async with context.ledger.transaction() as connection:
        changes = UnitOfWork(context.topic_messages, now=context.clock())
        found = await _move(connection, changes, context, submission, parts, refusals)
        await changes.write(connection)
    return found


async def rebuild(
    context: OutboundContext, submission: Submission, without: Sequence[Item]
) -> list[Submission]:
    """Leave out some items of a submission that was never sent, and those that were freed; return
    the submission of the others, if any.

    Raises:
        ConcurrentChangeError: another process has claimed the submission and settled one of them.
    """
    _log.info("submission rebuilt", submission=submission.id, without=len(without))
    now = context.clock()
    async with context.ledger.transaction() as connection:
        changes = UnitOfWork(context.topic_messages, now=now)
        places = await submissions.open_places(connection, submission)
        items = [item for item in submission.items if item.place in places]
        left_out = [item for item in items if item in without]
        rest = [item for item in items if item not in without]
        await leave_out(connection, changes, context, submission, left_out)
        at = microseconds(now)
        changes.add_history(unsent_fact(submission, item, at) for item in rest)
        parts = [rest] if rest else []
        found = await _move(connection, changes, context, submission, parts, submission.refusals)
        await changes.write(connection)
    return found


async def leave_out(
    connection: Connection,
    changes: UnitOfWork,
    context: OutboundContext,
    submission: Submission,
    items: Sequence[Item],
) -> None:
    """Take ``items`` out of ``submission``, which was never sent; rule their rows again.

    Raises:
        ConcurrentChangeError: another process has settled one of them.
    """
    rows = await lock(connection, (item.key for item in items))
    for item in items:
        row = rows[item.key]
        ruled = ruling.rule_row(
            apply.uncalled_row(row, item.status),
            submission.brand,
            changes.now,
            calendar=context.ledger.calendar,
            answered=row.is_of(item.event_id, item.status),
        )
        changes.apply(row, ruled)
    await submissions.withdraw(connection, submission, items, now=changes.now)
    at = microseconds(changes.now)
    changes.add_history(unsent_fact(submission, item, at) for item in items)


async def _move(  # noqa: PLR0913, PLR0917 - what is moved, by whom, and in which transaction
    connection: Connection,
    changes: UnitOfWork,
    context: OutboundContext,
    submission: Submission,
    parts: Sequence[Sequence[Item]],
    refusals: int,
) -> list[Submission]:
    moved = [item for part in parts for item in part]
    if moved:
        await submissions.withdraw(connection, submission, moved, now=changes.now)
    bodies = submission.content
    return [
        await claims.intend(
            connection,
            changes,
            submission.brand,
            part,
            [bodies[item.place] for item in part],
            kind=submission.kind,
            lease_owner=context.lease_owner,
            refusals=refusals,
            call_until=submission.call_until,
        )
        for part in parts
    ]
