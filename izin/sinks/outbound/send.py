"""Send one submission to İYS, and store the answer before anything else happens.

A single add is answered at once. A batch is accepted as a whole or refused: accepted (202) is not
saved yet. A refusal that names items (422, or H180) settles these; the others are submitted again
at once, in halves after a second refusal, so that one bad record does not delay a thousand. Without
an answer the submission's outcome is unknown.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from izin.consent.model import ConsentKey
from izin.consent.transitions import Event, State
from izin.iys.errors import (
    CallError,
    OutcomeUnknownError,
    UnauthenticatedError,
    UnreadableError,
    WithheldError,
)
from izin.iys.rate_limit.pace import CallClass
from izin.iys.verdicts import FIELD_FAULTS, Verdict
from izin.iys.wire_format.batches import AcceptedBatch
from izin.iys.wire_format.consents import SerializedItems
from izin.runtime.backoff import Backoff
from izin.runtime.observe import get_logger
from izin.sinks.ledger import claims, submissions, suspensions
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.save_results import save_results
from izin.sinks.record.item_result import NO_SUCH_RETAILER, ItemResult
from izin.sinks.record.state_change import transition
from izin.sinks.record.submission import BATCH, Item, Submission

_BACKOFF = Backoff(timedelta(seconds=2), timedelta(minutes=5))

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Sends submissions and stores their answers."""

    context: OutboundContext
    result_delay: timedelta

    async def submit(
        self, submission: Submission, *, call_class: CallClass = CallClass.BULK
    ) -> None:
        """Send a stored ``submission``, and what of it must be submitted again after a refusal.

        ``call_class`` is the priority of a batch; opt-outs always go first.
        """
        waiting = [submission]
        while waiting:
            one = waiting.pop()
            try:
                with self.context.leases.renewing([one, *waiting]):
                    match one.kind:
                        case "single":
                            await self._single(one)
                        case _:
                            waiting += await self._batch(one, call_class)
            except WithheldError:
                _log.warning("submission lease lost", submission=one.id)

    def _permit(self, submission: Submission) -> Callable[[], Awaitable[bool]]:
        """Return the check, made just before a call is sent, that we still own the submission.

        A lease that is about to expire after the wait for a slot is renewed then; the check fails
        where another process has claimed the submission. The slot is not given back, for then all
        processes could wait for each other.
        """
        lease_owner = self.context.lease_owner

        async def is_ours() -> bool:
            now = self.context.clock()
            if lease_owner.may_send(submission, now):
                return True
            async with self.context.ledger.transaction() as connection:
                renewed = await submissions.renew(
                    connection, submission, now=now, lease_owner=lease_owner
                )
            return renewed is not None and lease_owner.may_send(renewed, self.context.clock())

        return is_ours

    async def _single(self, submission: Submission) -> None:
        (body,) = submission.content
        (item,) = submission.items
        try:
            receipt = await self.context.client.add(
                submission.brand.path, body, permit=self._permit(submission)
            )
        except WithheldError:
            raise
        except (OutcomeUnknownError, UnreadableError) as error:
            await self._mark_unknown(submission, error)
        except CallError as error:
            self._report_refusal(submission, error)
            await save_results(self.context, submission, {item.place: _answer_of(error)})
        else:
            old = submission.is_older(receipt)
            answer = ItemResult(
                verdict=Verdict.SUCCESS, receipt=receipt, is_original=old, how="add"
            )
            await save_results(self.context, submission, {item.place: answer})

    async def _batch(self, submission: Submission, call_class: CallClass) -> list[Submission]:
        urgent = any(item.status == "RET" for item in submission.items)
        try:
            batch = await self.context.client.add_batch(
                submission.brand.path,
                SerializedItems(submission.body, len(submission.items)),
                call_class=CallClass.RET if urgent else call_class,
                permit=self._permit(submission),
            )
        except WithheldError:
            raise
        except (OutcomeUnknownError, UnreadableError) as error:
            await self._mark_unknown(submission, error)
        except CallError as error:
            self._report_refusal(submission, error)
            return await self._settle_refusal(submission, error)
        else:
            await self._mark_accepted(submission, batch)
        return []

    def _report_refusal(self, submission: Submission, error: CallError) -> None:
        """Log a refusal, and alert where our own validation should have found the fault."""
        _log.info("submission refused", codes=str(error), brand=submission.brand.brand_code)
        for code in sorted({one.code for one in error.refusals} & FIELD_FAULTS):
            self.context.unforeseen(code)
            _log.critical(
                "unforeseen field fault found by iys",
                code=code,
                submission=submission.id,
                brand=submission.brand.brand_code,
            )

    async def _mark_accepted(self, submission: Submission, batch: AcceptedBatch) -> None:
        now = self.context.clock()
        if len(batch.sub_request_ids) != len(submission.items):
            # A receipt with another number of items does not prove what İYS accepted.
            await self._mark_unknown(submission, None)
            return
        async with self.context.ledger.transaction() as connection:
            await submissions.acknowledge(
                connection,
                submission,
                batch.request_id,
                batch.sub_request_ids,
                now=now,
                next_poll_at=now + self.result_delay,
            )
            first = submission.items[0]
            channel = ConsentKey.parse(first.key).channel
            account = self.context.lease_owner.account
            code = submission.brand.brand_code
            await suspensions.resume(connection, code, channel, first.status, account=account)

    async def _mark_unknown(self, submission: Submission, error: CallError | None) -> None:
        now = self.context.clock()
        _log.warning("submission outcome unknown", submission=submission.id, error=str(error))
        async with self.context.ledger.transaction() as connection:
            entries = await lock(connection, (item.key for item in submission.items))
            changes = UnitOfWork(self.context.topic_messages, now=now)
            await submissions.mark_unknown(
                connection,
                submission,
                next_poll_at=now + _BACKOFF.after(submission.sends),
                lease_owner=self.context.lease_owner,
            )
            for item in submission.items:
                entry = entries[item.key]
                if entry.is_of(item.event_id, item.status) and entry.state is State.IN_FLIGHT:
                    changes.put(entry, transition(entry, Event.LOSE, reason="no-answer"))
            await changes.write(connection)

    async def _settle_refusal(self, submission: Submission, error: CallError) -> list[Submission]:
        """Settle the items that a refusal of the batch names; return submissions of the others."""
        named = {
            refusal.index: ItemResult(verdict=refusal.verdict, code=refusal.code, how="batch")
            for refusal in error.refusals
            if refusal.index is not None
            and (refusal.is_of_a_record or refusal.code == NO_SUCH_RETAILER)
        }
        indexes = [item.place for item in submission.items]
        named = {index: answer for index, answer in named.items() if index in indexes}
        if not named and not _is_about_records(error):
            general = _answer_of(error)
            if general.verdict is Verdict.UNKNOWN and len(indexes) > 1:
                # An unknown code concerns the whole list: it suspends the brand, not each record.
                general = general._replace(verdict=Verdict.CONFIGURATION)
            await save_results(self.context, submission, dict.fromkeys(indexes, general))
            return []
        rest = [item for item in submission.items if item.place not in named]
        if not named and len(rest) == 1:
            await save_results(self.context, submission, {rest[0].place: _answer_of(error)})
            return []
        if named:
            await save_results(self.context, submission, named)
        halves = not named or submission.refusals > 0
        middle = (len(rest) + 1) // 2
        parts = [rest[:middle], rest[middle:]] if halves else [rest]
        return await self._resubmit(submission, [part for part in parts if part])

    async def _resubmit(
        self, submission: Submission, parts: Sequence[Sequence[Item]]
    ) -> list[Submission]:
        """Move the items that were not at fault to submissions of their own; return these."""
        now = self.context.clock()
        bodies = submission.content
        async with self.context.ledger.transaction() as connection:
            changes = UnitOfWork(self.context.topic_messages, now=now)
            moved = [item for part in parts for item in part]
            await submissions.withdraw(connection, submission, moved, now=now)
            resubmitted = [
                await claims.intend(
                    connection,
                    changes,
                    submission.brand,
                    part,
                    [bodies[item.place] for item in part],
                    kind=BATCH,
                    lease_owner=self.context.lease_owner,
                    refusals=submission.refusals + 1,
                )
                for part in parts
            ]
            await changes.write(connection)
        return resubmitted


def _answer_of(error: CallError) -> ItemResult:
    """Return what a failed call means for each of its items."""
    refusal = next((one for one in error.refusals if one.verdict is error.verdict), None)
    verdict = error.verdict
    if refusal is None:
        if isinstance(error, UnauthenticatedError):
            verdict = Verdict.TOKEN
        else:
            verdict = Verdict.CONFIGURATION if error.who_acts == "operator" else Verdict.TRANSIENT
    return ItemResult(
        verdict=verdict,
        code=None if refusal is None else refusal.code,
        retry_after=error.retry_after,
        how="batch",
    )


def _is_about_records(error: CallError) -> bool:
    """Whether the batch was refused for the content of records, though no item is named."""
    return bool(error.refusals) and all(
        one.is_of_a_record for one in error.refusals if one.verdict is error.verdict
    )
