"""Poll the results of batches, once İYS can have them, and settle their items.

A result that opt-outs wait for is polled ahead of others, like an opt-out.

Results are matched by sub-request id. A batch that İYS accepted is not saved yet: only ``success``
is. An empty list and ``enqueue`` are no result, and the batch is polled again with a growing
interval. What has no result after a day is settled by a status query.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.iys.errors import CallError, Verdict
from izin.iys.rate_limit import CallClass, CircuitState
from izin.iys.wire_format import BatchItemResult
from izin.ledger import brands, submissions
from izin.ledger.record import ItemResult, Submission
from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger
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
class BatchResultPoller:
    """Polls batch results and stores them."""

    context: OutboundContext

    async def settle(self) -> bool:
        """Poll the result of one batch; return whether one was due."""
        return await self._settle(opt_outs_only=False)

    async def settle_for_opt_outs(self) -> bool:
        """Poll the result of one batch that opt-outs wait for; return whether one was due."""
        return await self._settle(opt_outs_only=True)

    async def _settle(self, *, opt_outs_only: bool) -> bool:
        if self.context.client.circuit_state("batch_result") is CircuitState.OPEN:
            return False
        now = self.context.clock()
        async with self.context.ledger.transaction() as connection:
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
            call_class = CallClass.RET if row["is_awaited"] else CallClass.RESULTS
            await self._poll(submission, now, call_class)
        return True

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
        first = min(_FIRST, max(self.context.result_delay / 10, timedelta(milliseconds=200)))
        wait = Backoff(first, _LONGEST).after(submission.polls + 1, at_least=retry_after)
        at = self.context.clock() + wait
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
