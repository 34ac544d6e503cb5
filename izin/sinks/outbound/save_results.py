"""Store the results of a submission: settle each item once, and write its effects with it.

All in one transaction, so that a process that is killed here has settled all of them or none.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from izin.consent import Action, Status
from izin.iys.errors import Verdict
from izin.ledger import submissions, suspensions
from izin.ledger.bulk.saving import BulkChanges, RowChange
from izin.ledger.db import Connection, microseconds, while_waiting
from izin.ledger.history import Fact, result_fact
from izin.ledger.record import (
    ACCEPTED,
    SINGLE,
    AppliedResult,
    Brand,
    ConsentRow,
    Item,
    ItemResult,
    RuledRow,
    Settled,
    Submission,
    accepted_row,
    apply_result,
)
from izin.ledger.unit_of_work import UnitOfWork, lock_in_pieces
from izin.runtime.logs import get_logger
from izin.runtime.process import with_pauses
from izin.sinks.outbound.call_outcome import after_late_call, after_opt_outs
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.status_query import observation

_WRITABLE = frozenset({Verdict.SUCCESS, Verdict.DATA, Verdict.EXPIRED, Verdict.ALREADY})
"""Verdicts on the record itself: they show that İYS accepts records of the brand and channel."""

_log = get_logger(__name__)


async def save_results(
    context: OutboundContext,
    submission: Submission,
    answers: Mapping[int, ItemResult],
    *,
    request_id: str | None = None,
    if_held: bool = False,
) -> None:
    """Store the answers to items, by index, and their effects; a second answer has no effect.

    ``if_held``: not where the submission was claimed again meanwhile, for they do not concern
    another call of it.
    """
    brand = submission.brand
    items = [item for item in submission.items if item.place in answers]
    async with context.changes() as changes:
        connection, now, calendar = changes.connection, changes.now, changes.calendar
        bulk = BulkSuccesses(changes, brand, answers)
        entries = await bulk.lock(items)
        others = [item for item in items if item.place not in bulk.saved]
        # Under the rows' locks: another process may have settled some meanwhile.
        others = await _open_items(connection, context, submission, others, if_held=if_held)
        applied_by_place = {
            item.place: apply_result(
                entries[item.key], item, answers[item.place], brand, now, calendar=calendar
            )
            async for item in with_pauses(others)
        }
        applied_by_place = await after_opt_outs(
            connection, others, applied_by_place, now, result_delay=context.result_delay
        )
        settled = [
            Settled(place, applied.item_state, answers[place].code)
            for place, applied in applied_by_place.items()
        ]
        settled += [Settled(place, ACCEPTED) for place in bulk.saved]
        counted, facts = await while_waiting(
            submissions.settle(connection, submission, settled, now=now),
            partial(_result_facts, submission, items, answers, now),
        )
        for item in await bulk.save(counted):
            others.append(item)
            applied_by_place[item.place] = bulk.applied(entries[item.key], item)
        late = [
            item
            for item in items
            if item.place not in counted and answers[item.place].verdict is Verdict.SUCCESS
        ]
        await after_late_call(changes, submission, late, now)
        async for item in with_pauses(others):
            if item.place in counted:
                row, applied = entries[item.key], applied_by_place[item.place]
                entries[item.key] = _written(changes, row, applied, request_id)
        changes.add_history(fact for place, fact in facts.items() if place in counted)
        account = context.lease_owner.account
        await _update_suspensions(
            connection, submission, answers, applied_by_place, account=account, now=now
        )


async def _result_facts(
    submission: Submission, items: Sequence[Item], answers: Mapping[int, ItemResult], now: datetime
) -> Mapping[int, Fact]:
    at = microseconds(now)
    return {
        item.place: result_fact(submission, item, answers[item.place], at)
        async for item in with_pauses(items)
    }


class BulkSuccesses:
    """The opt-ins of a submission that İYS has saved, whose rows still desire them."""

    def __init__(
        self,
        changes: UnitOfWork,
        brand: Brand,
        answers: Mapping[int, ItemResult],
    ) -> None:
        self._changes = changes
        self._brand = brand
        self._answers = answers
        self._bulk = BulkChanges[Item](changes, self._rule)
        self.saved: dict[int, Item] = {}
        """The items, by index."""

    async def lock(self, items: Sequence[Item]) -> dict[str, ConsentRow]:
        """Return the rows of ``items``, locked, and take those that are such opt-ins."""
        by_key = defaultdict[str, list[Item]](list)
        for item in items:
            by_key[item.key].append(item)

        async def add(keys: Sequence[str], rows: Mapping[str, ConsentRow]) -> None:
            async for item in with_pauses([item for key in keys for item in by_key[key]]):
                if _is_saved(rows[item.key], item, self._answers[item.place]):
                    self._add(rows[item.key], item)

        return await lock_in_pieces(self._changes.connection, by_key, add)

    def _add(self, row: ConsentRow, item: Item) -> None:
        after = accepted_row(row, item, self._answers[item.place], self._changes.now)
        after = self._changes.termed(after, self._brand, answered=True)
        self.saved[item.place] = item
        self._bulk.add(RowChange(row, after, item))

    async def save(self, counted: Collection[int]) -> list[Item]:
        """Settle those rows that are alike whose items are ``counted``; return the items of all
        others that are.
        """
        late = [item.key for place, item in self.saved.items() if place not in counted]
        self._bulk.forget(late)
        return await self._bulk.save()

    def applied(self, row: ConsentRow, item: Item) -> AppliedResult:
        """Return what the result for ``item`` makes of ``row``, by the general path."""
        answer, changes = self._answers[item.place], self._changes
        return apply_result(row, item, answer, self._brand, changes.now, calendar=changes.calendar)

    def _rule(self, change: RowChange[Item]) -> RuledRow | None:
        if change.before is None:
            return None
        found = self.applied(change.before, change.member)
        is_all = (found.outcome, found.suspension, found.shown) == (None, None, None)
        # A retry is due after a backoff that follows from the attempts, which are a row's own.
        return found.ruled if is_all and found.ruled.row.action is not Action.SEND else None


def _is_saved(row: ConsentRow, item: Item, answer: ItemResult) -> bool:
    """Whether İYS has just saved an opt-in that ``row`` still desires."""
    return (
        item.status == Status.ONAY
        and answer.verdict is Verdict.SUCCESS
        and answer.receipt is not None
        and not answer.is_original
        and row.is_of(item.event_id, item.status)
    )


def _written(
    changes: UnitOfWork, row: ConsentRow, applied: AppliedResult, request_id: str | None
) -> ConsentRow:
    """Write the effects of a result on ``row``, and what it shows of İYS; return the row after."""
    if applied.shown is not None:
        changes.add_entry(observation(row, applied.shown, changes.now))
    after = changes.apply(row, applied.ruled)
    if applied.outcome is not None:
        changes.add_outcome(replace(applied.outcome, request_id=request_id))
    return after


async def _open_items(
    connection: Connection,
    context: OutboundContext,
    submission: Submission,
    items: Sequence[Item],
    *,
    if_held: bool,
) -> list[Item]:
    """Return those ``items`` that are still open; none where the submission must be held and is
    not.
    """
    owner = context.lease_owner
    if if_held and not await submissions.is_held(connection, submission, lease_owner=owner):
        _log.warning("submission lease lost", submission=submission.id)
        return []
    still_open = await submissions.open_places(connection, submission) if items else ()
    return [item for item in items if item.place in still_open]


async def _update_suspensions(  # noqa: PLR0913 - what was submitted, by whom, with which result
    connection: Connection,
    submission: Submission,
    answers: Mapping[int, ItemResult],
    applied_by_place: Mapping[int, AppliedResult],
    *,
    account: str,
    now: datetime,
) -> None:
    found = {
        result.suspension for result in applied_by_place.values() if result.suspension is not None
    }
    # Those of a brand first: they lock the row of the list's reading, and every process that first.
    for stop in sorted(found, key=lambda one: one.scope != "brand"):
        _log.error("records suspended", brand=submission.brand.brand_code, reason=stop.reason)
        await suspensions.suspend(
            connection,
            submission.brand,
            account=account,
            channel=stop.channel,
            status=stop.status,
            code=stop.code,
            reason=stop.reason,
            scope=stop.scope,
            now=now,
        )
    if submission.kind == SINGLE and not found:
        for item in submission.items:
            answer = answers.get(item.place)
            if answer is not None and answer.verdict in _WRITABLE:
                channel = item.key.split("/", 2)[1]
                await suspensions.resume(
                    connection,
                    submission.brand.brand_code,
                    channel,
                    item.status,
                    account=account,
                    accepted=answer.verdict is Verdict.SUCCESS,
                )
