"""One submission, told: the call, and its answer written down before anything else happens.

By single add the answer comes at once. A batch is taken whole or not at all: 202 is not "saved"; a
refusal that names items (422, or H180) costs them and no other: the rest is told again at once,
halved after a second refusal, so that one bad record never holds up a thousand. No answer leaves
the submission ``unknown``.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from izin.consent.lifecycle import Event, State
from izin.consent.model import ConsentKey
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
from izin.sinks.outbound.context import Tools
from izin.sinks.outbound.save_results import save_results
from izin.sinks.record.item_result import NO_SUCH_RETAILER, ItemResult
from izin.sinks.record.submission import BATCH, Item, Submission
from izin.sinks.record.transitions import transition

_BACKOFF = Backoff(timedelta(seconds=2), timedelta(minutes=5))

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Tells submissions and keeps their answers."""

    tools: Tools
    result_delay: timedelta

    async def tell(self, submission: Submission, *, call_class: CallClass = CallClass.BULK) -> None:
        """Tell ``submission``, whose intent is kept, and what of it must be told again.

        ``call_class`` is a batch's; opt-outs go ahead whatever it is.
        """
        waiting = [submission]
        while waiting:
            one = waiting.pop()
            try:
                with self.tools.leases.held([one, *waiting]):
                    match one.kind:
                        case "single":
                            await self._single(one)
                        case _:
                            waiting += await self._batch(one, call_class)
            except WithheldError:
                _log.warning("submission taken up by another process", submission=one.id)

    def _permit(self, submission: Submission) -> Callable[[], Awaitable[bool]]:
        """Return what tells, just before a call leaves, whether the submission is still ours.

        A lease that has run low while the call waited for its turn is renewed then, or refused
        because another process has taken the submission up: the turn itself is never given back,
        for then all could wait for one another.
        """
        lease_owner = self.tools.lease_owner

        async def is_ours() -> bool:
            now = self.tools.clock()
            if lease_owner.may_send(submission, now):
                return True
            async with self.tools.ledger.transaction() as connection:
                renewed = await submissions.renew(
                    connection, submission, now=now, lease_owner=lease_owner
                )
            return renewed is not None and lease_owner.may_send(renewed, self.tools.clock())

        return is_ours

    async def _single(self, submission: Submission) -> None:
        (said,) = submission.content
        (item,) = submission.items
        try:
            receipt = await self.tools.client.add(
                submission.brand.path, said, permit=self._permit(submission)
            )
        except WithheldError:
            raise
        except (OutcomeUnknownError, UnreadableError) as error:
            await self._lose(submission, error)
        except CallError as error:
            self._refuse(submission, error)
            await save_results(self.tools, submission, {item.place: _answer_of(error)})
        else:
            old = submission.is_older(receipt)
            answer = ItemResult(
                verdict=Verdict.SUCCESS, receipt=receipt, is_original=old, how="add"
            )
            await save_results(self.tools, submission, {item.place: answer})

    async def _batch(self, submission: Submission, call_class: CallClass) -> list[Submission]:
        urgent = any(item.status == "RET" for item in submission.items)
        try:
            batch = await self.tools.client.add_batch(
                submission.brand.path,
                SerializedItems(submission.body, len(submission.items)),
                call_class=CallClass.RET if urgent else call_class,
                permit=self._permit(submission),
            )
        except WithheldError:
            raise
        except (OutcomeUnknownError, UnreadableError) as error:
            await self._lose(submission, error)
        except CallError as error:
            self._refuse(submission, error)
            return await self._refused(submission, error)
        else:
            await self._taken(submission, batch)
        return []

    def _refuse(self, submission: Submission, error: CallError) -> None:
        """Note a refusal, and raise an alarm where we should have found the fault ourselves."""
        _log.info("iys refused", codes=str(error), brand=submission.brand.brand_code)
        for code in sorted({one.code for one in error.refusals} & FIELD_FAULTS):
            self.tools.unforeseen(code)
            _log.critical(
                "iys found a fault that we did not",
                code=code,
                submission=submission.id,
                brand=submission.brand.brand_code,
            )

    async def _taken(self, submission: Submission, batch: AcceptedBatch) -> None:
        now = self.tools.clock()
        if len(batch.sub_request_ids) != len(submission.items):
            # İYS names what it took; a receipt that names other items proves nothing.
            await self._lose(submission, None)
            return
        async with self.tools.ledger.transaction() as connection:
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
            account = self.tools.lease_owner.account
            code = submission.brand.brand_code
            await suspensions.resume(connection, code, channel, first.status, account=account)

    async def _lose(self, submission: Submission, error: CallError | None) -> None:
        now = self.tools.clock()
        _log.warning("iys did not answer", submission=submission.id, error=str(error))
        async with self.tools.ledger.transaction() as connection:
            entries = await lock(connection, (item.key for item in submission.items))
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            await submissions.mark_unknown(
                connection,
                submission,
                next_poll_at=now + _BACKOFF.after(submission.sends),
                lease_owner=self.tools.lease_owner,
            )
            for item in submission.items:
                entry = entries[item.key]
                if entry.is_of(item.event_id, item.status) and entry.state is State.IN_FLIGHT:
                    changes.put(entry, transition(entry, Event.LOSE, reason="no-answer"))
            await changes.write(connection)

    async def _refused(self, submission: Submission, error: CallError) -> list[Submission]:
        """Settle what a refused batch says of its items; return the submissions of the rest."""
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
                # A code nobody knows speaks of the whole list: it stops the brand, not each record.
                general = general._replace(verdict=Verdict.CONFIGURATION)
            await save_results(self.tools, submission, dict.fromkeys(indexes, general))
            return []
        rest = [item for item in submission.items if item.place not in named]
        if not named and len(rest) == 1:
            await save_results(self.tools, submission, {rest[0].place: _answer_of(error)})
            return []
        if named:
            await save_results(self.tools, submission, named)
        halves = not named or submission.refusals > 0
        middle = (len(rest) + 1) // 2
        parts = [rest[:middle], rest[middle:]] if halves else [rest]
        return await self._again(submission, [part for part in parts if part])

    async def _again(
        self, submission: Submission, parts: Sequence[Sequence[Item]]
    ) -> list[Submission]:
        """Move the items that were not at fault to submissions of their own."""
        now = self.tools.clock()
        said = submission.content
        async with self.tools.ledger.transaction() as connection:
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            moved = [item for part in parts for item in part]
            await submissions.withdraw(connection, submission, moved, now=now)
            told = [
                await claims.intend(
                    connection,
                    changes,
                    submission.brand,
                    part,
                    [said[item.place] for item in part],
                    kind=BATCH,
                    lease_owner=self.tools.lease_owner,
                    refusals=submission.refusals + 1,
                )
                for part in parts
            ]
            await changes.write(connection)
        return told


def _answer_of(error: CallError) -> ItemResult:
    """Return what a call's error answers of each of its items."""
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
    """Whether the batch was refused for what it says, though no item is named."""
    return bool(error.refusals) and all(
        one.is_of_a_record for one in error.refusals if one.verdict is error.verdict
    )
