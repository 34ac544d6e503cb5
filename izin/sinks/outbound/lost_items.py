"""Query the status of items whose call was not answered and that are not sent again.

İYS permits a thousand single queries an hour. An opt-out in an item's place waits for the answer
and needs to know only whether İYS holds an ONAY: such items are queried in one call, be it only
one, for the hour's queries may be spent. So are many others. A few are queried one by one, for the
record that İYS shows is the receipt of what we sent.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.consent import Channel, Observation, RecipientType, Status
from izin.iys.errors import CallError, RefusedError, Verdict
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format import Receipt, RegisterRecord
from izin.ledger import submissions
from izin.ledger.record import SINGLE, Item, ItemResult, Settled, Submission, apply
from izin.ledger.unit_of_work import lock
from izin.runtime.logs import get_logger
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.queries import status_answer
from izin.sinks.outbound.read_back import after_queries
from izin.sinks.outbound.save_results import save_results

_ONE_BY_ONE = 20
"""The most items that are queried one by one, before others have their turn."""
_LATER = timedelta(seconds=30)
_SOON = timedelta(seconds=2)
"""Where opt-outs wait for the answer."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LostItems:
    """Settles items by what İYS shows of them."""

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
            await self._postpone_query(submission, error, _SOON if opted_out else _LATER)
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
            record = await self.status(submission, item)
            await self.settle(submission, item, record, queried_at)
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
                    item: status_answer.observation_of_many(
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
        await self._withdraw(submission, {item: status_answer.observation_of(record, queried_at)})

    async def save_success(
        self, submission: Submission, item: Item, record: RegisterRecord
    ) -> None:
        """Settle an item that İYS shows exactly as it was sent."""
        receipt = Receipt(
            transaction_id=record.transaction_id or "", creation_date=record.creation_date
        )
        answer = ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, how="status")
        await save_results(self.context, submission, {item.place: answer})

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
                changes.add_entry(status_answer.observation(entry, observation, now))
                answered_row = apply.observed(
                    apply.answered_row(entry, item.status, now), observation
                )
                answered = entry.is_of(item.event_id, item.status)
                after.append(changes.rule(entry, answered_row, submission.brand, answered=answered))
            await after_queries(changes, after, result_delay=self.context.result_delay)

    async def _postpone_query(
        self, submission: Submission, error: CallError, wait: timedelta
    ) -> None:
        error.warn(_log, "status query failed", submission=submission.id)
        await self.postpone(submission, self.context.clock() + error.pause(wait))

    async def postpone(self, submission: Submission, at: datetime) -> None:
        """Have the submission recovered again ``at`` an instant."""
        async with self.context.ledger.transaction() as connection:
            await submissions.poll_later(
                connection, submission, next_poll_at=at, lease_owner=self.context.lease_owner
            )


def is_the_same(record: RegisterRecord, item: Item) -> bool:
    """Whether ``record`` is what ``item`` asked İYS to register."""
    return record.status == item.status and record.consent_date == item.consent_date
