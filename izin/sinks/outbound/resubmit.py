"""Submit again what is left of a submission that İYS refused, or that was not sent as it stood."""

from collections.abc import Sequence

from izin.ledger import claims, submissions
from izin.ledger.db import microseconds
from izin.ledger.history import unsent_fact
from izin.ledger.record import Item, LeaseOwner, Submission, apply
from izin.ledger.unit_of_work import UnitOfWork, lock
from izin.runtime.logs import get_logger
from izin.sinks.outbound.context import OutboundContext

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
        parts = [rest] if rest else []
        return await _move(changes, context.lease_owner, submission, parts, submission.refusals)


async def leave_out(changes: UnitOfWork, submission: Submission, items: Sequence[Item]) -> None:
    """Take ``items`` out of ``submission``, which was never sent; rule their rows again.

    Raises:
        ConcurrentChangeError: another process has settled one of them.
    """
    rows = await lock(changes.connection, (item.key for item in items))
    for item in items:
        row = rows[item.key]
        answered = row.is_of(item.event_id, item.status)
        uncalled = apply.uncalled_row(row, item.status)
        changes.rule(row, uncalled, submission.brand, answered=answered)
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
        await claims.intend(
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
    ]
