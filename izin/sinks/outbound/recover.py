"""Submissions whose answer never came: asked about first, and said again only word for word.

By V2 an identical body has no second effect: a single add gets its first transaction id again, an
item of a batch that was saved succeeds with its first request. So a single add is sent again where
the status, asked first, does not show it; a batch, whose items İYS may hold and not show yet, is
handed in again. Of what is no longer desired, whose term has ended, what the brand has no right to
write any more, and of a stopped brand, only the status is read, and of a batch only when its
results would have been due, for İYS may still be working on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.consent.lifecycle import Event, State
from izin.consent.model import Channel, RecipientType, Status
from izin.consent.obligation import Action
from izin.iys.errors import CallError, ThrottledError
from izin.iys.rate_limit.pace import CallClass
from izin.iys.transport.circuit_breaker import CircuitState
from izin.iys.verdicts import Verdict
from izin.iys.wire_format.consents import Receipt, RegisterRecord
from izin.runtime.observe import get_logger
from izin.sinks.ledger import brands, claims, submissions, suspensions
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.outbound import status_answer
from izin.sinks.outbound.context import Tools
from izin.sinks.outbound.save_results import save_results
from izin.sinks.outbound.send import Sender
from izin.sinks.record import apply, ruling
from izin.sinks.record.item_result import ItemResult
from izin.sinks.record.row import ConsentRow
from izin.sinks.record.submission import BATCH, SINGLE, Item, Settled, Submission
from izin.sinks.record.transitions import transition

_QUERIED_AT_ONCE = 20
_CALLS = {SINGLE: "add", BATCH: "add_batch"}
"""What tells each kind: while it rests, what it tells stays as it is."""
_LATER = timedelta(seconds=30)
_SOON = timedelta(seconds=2)
_REFUSED = timedelta(minutes=15)
"""What a person must mend is not asked again and again: it would count against our address."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRecovery:
    """Takes up what was told and not answered."""

    tools: Tools
    sender: Sender
    result_delay: timedelta

    async def recover(self) -> bool:
        """Take up one submission without an answer; return whether there was one."""
        if self._is_shut("status"):
            return False
        kinds = [kind for kind, call in _CALLS.items() if not self._is_shut(call)]
        now = self.tools.clock()
        async with self.tools.ledger.transaction() as connection:
            row = await submissions.unanswered(
                connection, now=now, lease_owner=self.tools.lease_owner, kinds=kinds
            )
            if row is None:
                return False
            found = await brands.of_codes(connection, {row["brand_code"]})
            submission = await submissions.with_items(connection, row, found[row["brand_code"]])
            kept = await _is_suspended(connection, submission)
        with self.tools.leases.held([submission]):
            await self._take_up(submission, now, kept=kept)
        return True

    def _is_shut(self, operation: str) -> bool:
        return self.tools.client.circuit_state(operation) is CircuitState.OPEN

    async def _take_up(self, submission: Submission, now: datetime, *, kept: bool) -> None:
        """Tell again what is still desired, unless it is ``kept`` from İYS, and read the rest."""
        async with self.tools.ledger.transaction() as connection:
            entries = await lock(connection, (item.key for item in submission.items))
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            for item in submission.items:
                entry = entries[item.key]
                if entry.is_of(item.event_id, item.status) and entry.state is State.IN_FLIGHT:
                    entries[item.key] = changes.put(
                        entry, transition(entry, Event.LOSE, reason="no-answer")
                    )
            wanted = [
                item
                for item in submission.items
                if not kept and self._is_wanted(submission, entries[item.key], item)
            ]
            whole = len(wanted) == len(submission.items) == len(submission.content)
            await changes.write(connection)
        _log.warning(
            "submission taken up",
            submission=submission.id,
            items=len(submission.items),
            wanted=len(wanted),
        )
        if whole:
            if submission.kind != SINGLE or not await self._is_settled(submission, wanted[0]):
                await self._resend(submission)
            return
        if wanted:
            part = await self._part(submission, wanted)
            await self.sender.tell(part)
        await self._read(submission, [item for item in submission.items if item not in wanted])

    async def _is_settled(self, submission: Submission, item: Item) -> bool:
        """Ask what İYS holds before it is told again; return whether that settles it, or the
        question must be put again later.

        A batch is handed in again instead: its items may be with İYS and not be shown yet.
        """
        queried_at = self.tools.clock().replace(microsecond=0)
        try:
            record = await self._status(submission, item)
        except CallError as error:
            _log.warning("iys could not be asked", submission=submission.id, error=str(error))
            if isinstance(error, ThrottledError) or not error.is_transient:
                # The hour's questions are spent, or none is allowed: the same body has no second
                # effect either, and its answer says what stops.
                return False
            await self._later(submission, queried_at + (error.retry_after or _SOON))
            return True
        if record is not None and _is_the_same(record, item):
            await self._saved(submission, item, record)
            return True
        async with self.tools.ledger.transaction() as connection:
            entry = (await lock(connection, [item.key]))[item.key]
        heard = apply.observed(entry, status_answer.observation_of(record, queried_at))
        if self._is_wanted(submission, heard, item):
            return False
        await self._found(submission, item, record, queried_at)
        return True

    def _is_wanted(self, submission: Submission, entry: ConsentRow, item: Item) -> bool:
        """Whether the very statement would be told now, were it not told yet."""
        if not entry.is_of(item.event_id, item.status):
            return False
        now = self.tools.clock()
        ruled = ruling.rule_row(
            apply.answered_row(entry, item.status, now),
            submission.brand,
            now,
            calendar=self.tools.ledger.calendar,
            answered=True,
        )
        return ruled.row.action is Action.SEND

    async def _resend(self, submission: Submission) -> None:
        now, lease_owner = self.tools.clock(), self.tools.lease_owner
        async with self.tools.ledger.transaction() as connection:
            again = await submissions.resend(
                connection, submission, now=now, lease_owner=lease_owner
            )
        await self.sender.tell(again)

    async def _status(self, submission: Submission, item: Item) -> RegisterRecord | None:
        _, channel, recipient_type, recipient = item.key.split("/", 3)
        return await self.tools.client.status(
            submission.brand.path,
            Channel(channel),
            RecipientType(recipient_type),
            recipient,
            call_class=CallClass.RET if item.status == Status.RET else CallClass.RESULTS,
        )

    async def _saved(self, submission: Submission, item: Item, record: RegisterRecord) -> None:
        receipt = Receipt(
            transaction_id=record.transaction_id or "", creation_date=record.creation_date
        )
        answer = ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, how="status")
        await save_results(self.tools, submission, {item.place: answer})

    async def _part(self, submission: Submission, wanted: Sequence[Item]) -> Submission:
        """Move what is still desired to a submission of its own, each item word for word as it
        was.
        """
        now = self.tools.clock()
        said = submission.content
        async with self.tools.ledger.transaction() as connection:
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            await submissions.withdraw(connection, submission, wanted, now=now)
            part = await claims.intend(
                connection,
                changes,
                submission.brand,
                wanted,
                [said[item.place] for item in wanted],
                kind=submission.kind,
                lease_owner=self.tools.lease_owner,
                refusals=submission.refusals,
            )
            await changes.write(connection)
        return part

    async def _read(self, submission: Submission, items: Sequence[Item]) -> None:
        """Settle what may not be said again by what İYS holds of it, once it can hold it."""
        if not items:
            return
        now = self.tools.clock()
        settled_at = submission.intended_at + self.result_delay
        if submission.kind != SINGLE and now < settled_at:
            await self._later(submission, settled_at)
            return
        for item in items[:_QUERIED_AT_ONCE]:
            queried_at = self.tools.clock().replace(microsecond=0)
            try:
                record = await self._status(submission, item)
            except CallError as error:
                _log.warning("iys could not be asked", submission=submission.id, error=str(error))
                rest = error.retry_after or (_LATER if error.is_transient else _REFUSED)
                await self._later(submission, queried_at + rest)
                return
            await self._found(submission, item, record, queried_at)
        if items[_QUERIED_AT_ONCE:]:
            await self._later(submission, now)

    async def _found(
        self,
        submission: Submission,
        item: Item,
        record: RegisterRecord | None,
        queried_at: datetime,
    ) -> None:
        """Settle one item: İYS shows the very statement, or it did not take it."""
        if record is not None and _is_the_same(record, item):
            await self._saved(submission, item, record)
            return
        now = self.tools.clock()
        async with self.tools.ledger.transaction() as connection:
            entries = await lock(connection, [item.key])
            entry = entries[item.key]
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            gone = Settled(place=item.place, state="withdrawn")
            counted = await submissions.settle(connection, submission, [gone], now=now)
            if counted:
                answered_row = apply.observed(
                    apply.answered_row(entry, item.status, now),
                    status_answer.observation_of(record, queried_at),
                )
                mine = entry.is_of(item.event_id, item.status)
                ruled = ruling.rule_row(
                    answered_row,
                    submission.brand,
                    now,
                    calendar=self.tools.ledger.calendar,
                    answered=mine,
                )
                changes.apply(entry, ruled)
            await changes.write(connection)

    async def _later(self, submission: Submission, at: datetime) -> None:
        async with self.tools.ledger.transaction() as connection:
            await submissions.poll_later(
                connection, submission, next_poll_at=at, lease_owner=self.tools.lease_owner
            )


async def _is_suspended(connection: Connection, submission: Submission) -> bool:
    """Whether a person has stopped the brand, or taken the right to it, since it was told: one
    submission, one channel.
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


def _is_the_same(record: RegisterRecord, item: Item) -> bool:
    return record.status == item.status and record.consent_date == item.consent_date
