"""Send one submission to İYS, and store the answer before anything else happens; and poll the
results of batches, once İYS can have them.

A single add is answered at once. A batch is accepted as a whole or refused: accepted (202) is not
saved yet. A refusal that names items (422, or H180) settles these; the others are submitted again
at once, in halves after a second refusal, so that one bad record does not delay a thousand. Without
an answer the submission's outcome is unknown.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.iys.errors import (
    FIELD_FAULTS,
    CallError,
    OutcomeUnknownError,
    UnauthenticatedError,
    UnreadableError,
    Verdict,
    WithheldError,
)
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format import BatchItemResult, SerializedItems
from izin.ledger import brands, submissions
from izin.ledger.record import NO_SUCH_RETAILER, ItemResult, Submission
from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger
from izin.sinks.outbound.call_outcome import (
    CallPermit,
    mark_accepted,
    mark_unknown,
    rebuild,
    resubmit,
)
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.save_results import save_results

_FIRST = timedelta(seconds=30)
_LONGEST = timedelta(hours=1)
_GIVEN_UP = timedelta(days=1)
"""Since İYS received the batch. It keeps results for 60 days, but one that is missing after a day
rarely comes, and an opt-out in it may be due in two more.
"""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Sends submissions and stores their answers."""

    context: OutboundContext

    async def submit(
        self, submission: Submission, *, call_class: CallClass = CallClass.BULK
    ) -> None:
        """Send a stored ``submission``, and what of it must be submitted again after a refusal.

        ``call_class`` is the priority of a batch; opt-outs always go first.
        """
        waiting = [submission]
        while waiting:
            one = waiting.pop()
            permit = CallPermit(self.context, one)
            with self.context.leases.renewing([one, *waiting]):
                try:
                    match one.kind:
                        case "single":
                            await self._single(one, permit)
                        case _:
                            waiting += await self._batch(one, permit, call_class)
                except WithheldError:
                    waiting += await self._withheld(one, permit)

    async def _withheld(self, submission: Submission, permit: CallPermit) -> list[Submission]:
        """Leave out what must not be sent any more; return a submission of the others.

        One that may have been sent before is not changed: İYS is asked about it.
        """
        if not permit.is_held:
            _log.warning("submission lease lost", submission=submission.id)
            return []
        if submission.was_called:
            await mark_unknown(self.context, submission, None, wait=timedelta(0))
            return []
        return await rebuild(self.context, submission, permit.changed)

    async def _single(self, submission: Submission, permit: CallPermit) -> None:
        (body,) = submission.content
        (item,) = submission.items
        try:
            receipt = await self.context.client.add(submission.brand.path, body, permit=permit)
        except WithheldError:
            raise
        except (OutcomeUnknownError, UnreadableError) as error:
            await mark_unknown(self.context, submission, error)
        except CallError as error:
            self._report_refusal(submission, error)
            answers = {item.place: _answer_of(error)}
            if _is_about_records(error):
                await save_results(self.context, submission, answers)
            else:
                await self._not_processed(submission, error, answers)
        else:
            answer = ItemResult(
                verdict=Verdict.SUCCESS,
                receipt=receipt,
                is_original=submission.is_older(receipt),
                how="add",
            )
            await save_results(self.context, submission, {item.place: answer})

    async def _batch(
        self, submission: Submission, permit: CallPermit, call_class: CallClass
    ) -> list[Submission]:
        try:
            batch = await self.context.client.add_batch(
                submission.brand.path,
                SerializedItems(submission.body, len(submission.items)),
                call_class=CallClass.RET if submission.has_opt_outs else call_class,
                permit=permit,
            )
        except WithheldError:
            raise
        except (OutcomeUnknownError, UnreadableError) as error:
            await mark_unknown(self.context, submission, error)
        except CallError as error:
            self._report_refusal(submission, error)
            return await self._settle_refusal(submission, error)
        else:
            results_at = self.context.clock() + self.context.result_delay
            await mark_accepted(self.context, submission, batch, results_at=results_at)
        return []

    async def _not_processed(
        self, submission: Submission, error: CallError, answers: Mapping[int, ItemResult]
    ) -> None:
        """Store ``answers`` of İYS that do not concern the records: nothing came of this call.

        What came of an earlier one is not known by that. A second opt-out would only repeat the
        first; but an opt-in that İYS has not saved yet must not pass for one that it never got.
        """
        if submission.was_called and not submission.has_opt_outs:
            await mark_unknown(self.context, submission, error)
        else:
            await save_results(self.context, submission, answers, if_held=True)

    def _report_refusal(self, submission: Submission, error: CallError) -> None:
        """Log a refusal, and alert where our own validation should have found the fault."""
        log = _log.debug if error.is_repeated else _log.info
        log("submission refused", codes=str(error), brand=submission.brand.brand_code)
        for code in sorted({refusal.code for refusal in error.refusals} & FIELD_FAULTS):
            self.context.unforeseen(code)
            _log.critical(
                "unforeseen field fault found by iys",
                code=code,
                submission=submission.id,
                brand=submission.brand.brand_code,
            )

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
            await self._not_processed(submission, error, dict.fromkeys(indexes, general))
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
        return await resubmit(self.context, submission, parts, refusals=submission.refusals + 1)


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
        refusal.is_of_a_record for refusal in error.refusals if refusal.verdict is error.verdict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResultPoller:
    """Polls batch results and stores them; one that opt-outs wait for ahead of others.

    Results are matched by sub-request id. A batch that İYS accepted is not saved yet: only
    ``success`` is. An empty list and ``enqueue`` are no result, and the batch is polled again with
    a growing interval, or soon where an opt-out waits for it. What has no result after a day is
    settled by a status query.
    """

    context: OutboundContext

    async def settle(self, *, opt_outs_only: bool = False) -> bool:
        """Poll the result of one batch, or of one that opt-outs wait for; return whether one was
        due.
        """
        if self.context.is_paused("batch_result"):
            return False
        now = self.context.clock()
        async with self.context.ledger.transaction() as connection:
            if opt_outs_only:
                soon = now + max(self._first, self.context.result_delay / 2)
                await submissions.hasten_results(connection, soon=soon)
            row = await submissions.results_due(
                connection,
                now=now,
                lease_owner=self.context.lease_owner,
                opt_outs_only=opt_outs_only,
            )
            if row is None:
                return False
            found = await brands.of_codes(connection, {row["brand_code"]})
            submission = await submissions.with_items(connection, row, found[row["brand_code"]])
        with self.context.leases.renewing([submission]):
            await self._poll(
                submission, now, CallClass.RET if row["is_awaited"] else CallClass.RESULTS
            )
        return True

    @property
    def _first(self) -> timedelta:
        """How long after a poll without a result the next one is."""
        return min(_FIRST, max(self.context.result_delay / 10, timedelta(milliseconds=200)))

    async def _poll(self, submission: Submission, now: datetime, call_class: CallClass) -> None:
        is_given_up = now - (submission.answered_at or submission.intended_at) > _GIVEN_UP
        results: tuple[BatchItemResult, ...] = ()
        try:
            results = await self.context.client.batch_result(
                submission.brand.path, submission.request_id or "", call_class=call_class
            )
        except CallError as error:
            error.warn(_log, "batch result poll failed", submission=submission.id)
            if error.is_transient or not is_given_up:
                await self._postpone(submission, error.retry_after)
                return
        # Let pushes in, which share this event loop.
        await asyncio.sleep(0)
        answers = _answers(submission, results)
        waiting = len(submission.items) - len(answers)
        if waiting and is_given_up:
            # ALREADY leads to a status query.
            missing = ItemResult(verdict=Verdict.ALREADY, code=None, how="batch")
            answers |= {
                item.place: missing for item in submission.items if item.place not in answers
            }
            waiting = 0
        if answers:
            await save_results(self.context, submission, answers, request_id=submission.request_id)
        if waiting:
            await self._postpone(submission, None)

    async def _postpone(self, submission: Submission, retry_after: timedelta | None) -> None:
        at = self.context.clock() + Backoff(self._first, _LONGEST).after(
            submission.polls + 1, at_least=retry_after
        )
        async with self.context.ledger.transaction() as connection:
            await submissions.poll_later(
                connection, submission, next_poll_at=at, lease_owner=self.context.lease_owner
            )


def _answers(submission: Submission, results: tuple[BatchItemResult, ...]) -> dict[int, ItemResult]:
    """Return the results that İYS has, by index of the item; items without one are left out."""
    open_ = {item.place for item in submission.items}
    by_name = {
        name: place for place, name in enumerate(submission.sub_request_ids) if place in open_
    }
    return {
        by_name[result.sub_request_id]: ItemResult(
            verdict=verdict,
            code=result.code,
            receipt=result.receipt,
            is_original=result.is_original
            and (submission.sends == 1 or submission.is_older(result.receipt)),
            how="batch",
        )
        for result in results
        if (verdict := result.verdict) is not None and result.sub_request_id in by_name
    }
