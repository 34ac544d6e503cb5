"""Just before a call to İYS is written, check that all of it may still be sent.

A submission may wait for its slot while a recipient opts out, a term ends, an operator stops the
brand, or another process claims it. What the check finds is at most a moment old when the call is
written (``iys.transport.exchange``). A call that is on its way cannot be recalled.
"""

from collections.abc import Sequence
from datetime import datetime

from izin.consent.business_days import Calendar
from izin.consent.next_action import Action
from izin.sinks.ledger import submissions
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.unit_of_work import lock
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.submission import Item, Submission


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
                calendar = context.ledger.calendar
                self.changed = await unwanted(
                    connection, submission, doubtful, now, calendar=calendar
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
    brand = submission.brand
    return tuple(
        item for item in items if not is_wanted(rows[item.key], item, brand, now, calendar=calendar)
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
