"""Apply İYS's result for one item to its row: a table from verdict to the obligation's next state.

The result is classified by its H-code (``iys.errors``), never by an HTTP status. A result for an
event that is no longer desired still counts: it shows what İYS holds, and the row is ruled again.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, assert_never

from izin.consent import Action, Calendar, ConsentKey, Observation, Registered, Source, Status
from izin.iys.errors import Verdict
from izin.iys.wire_format import Receipt
from izin.ledger.record import apply, ruling
from izin.ledger.record.brand import EVERY, Brand, SuspensionScope
from izin.ledger.record.consent_row import ConsentRow
from izin.ledger.record.outcome import Outcome
from izin.ledger.record.ruling import RuledRow
from izin.ledger.record.state_change import retry
from izin.ledger.record.submission import Item

FIRST_RET = "H175"
OLDER = "H178"
"""İYS has a record that is as new. It says nothing of an opt-out that was stated by its day alone,
which counts from the end of the day: that is rescued, not asked about for ever."""
NOT_AS_FIRST = "H486"
"""HS_KARAR cannot create a record: as with H175, İYS has none."""
AHEAD = "H162"
"""The date is ahead of İYS's clock. Retry: it is never ahead of ours, so that will pass."""
ACCEPTED = "accepted"
"""The state of an item that İYS has saved."""
NO_SUCH_RETAILER = "H180"
NO_RIGHT = "H353"
OF_ACCOUNT = frozenset({"H250", "H251", "H252"})
"""Codes by which İYS refuses the account, whatever the brand."""
OF_SUBSCRIPTION = frozenset({"H437", "H520", "H521", "H524", "H586"})
"""Codes by which İYS refuses every brand of a provider."""
_OF_THE_RECORD = frozenset({Verdict.DATA, Verdict.EXPIRED, Verdict.ALREADY, Verdict.UNKNOWN})
"""Verdicts that refuse the record itself; by the others İYS has not looked at it."""


class ItemResult(NamedTuple):
    """İYS's result for one item."""

    verdict: Verdict
    code: str | None = None
    receipt: Receipt | None = None
    is_original: bool = False
    """The success is that of an earlier, identical submission."""
    retry_after: timedelta | None = None
    how: str = "add"
    """The operation that returned it: add, batch or status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedResult:
    """The row after a result, the final state of the item, and what else follows."""

    ruled: RuledRow
    item_state: str
    outcome: Outcome | None = None
    """Of an event that the row no longer desires; otherwise the change of the row implies it."""
    suspension: SuspensionScope | None = None
    shown: Observation | None = None
    """What İYS holds, where the result tells it and is no receipt."""


class _Case(NamedTuple):
    """The facts that every row of the table may need."""

    item: Item
    result: ItemResult
    brand: Brand
    called_at: datetime
    """When İYS may have judged the item at the earliest: a result may come hours later."""
    now: datetime
    calendar: Calendar


def apply_result(  # noqa: PLR0913 - each argument is a fact
    row: ConsentRow,
    item: Item,
    result: ItemResult,
    brand: Brand,
    now: datetime,
    *,
    calendar: Calendar,
) -> AppliedResult:
    """Return ``row``, for which ``item`` was submitted, after İYS returned ``result``."""
    case = _Case(item, result, brand, row.last_exchange_at or now, now, calendar)
    row = apply.answered_row(row, item.status, now)
    if row.is_of(item.event_id, item.status):
        return _desired(row, case)
    return _superseded(row, case)


def accepted_row(row: ConsentRow, item: Item, result: ItemResult, now: datetime) -> ConsentRow:
    """Return ``row``, which desires what ``item`` submitted, once İYS has saved that; before it is
    ruled.
    """
    # All at once: to copy a row takes as long as to read its columns.
    return _registered(row, item, result, now, code=None, **apply.answered(item.status, now))


def _desired(row: ConsentRow, case: _Case) -> AppliedResult:  # noqa: C901, PLR0911, PLR0912 - one case a verdict
    item, result = case.item, case.result
    code, is_opt_out = result.code, item.status == Status.RET
    match result.verdict:
        case Verdict.SUCCESS:
            return _accepted(row, case)
        case Verdict.ALREADY:
            return _already(row, case)
        case Verdict.EXPIRED if is_opt_out:
            return _rescued(row, "refused-as-late", case)
        case Verdict.EXPIRED:
            return _refused(ruling.expire(row, "refused-as-late", code), case)
        case Verdict.DATA if code == AHEAD:
            return _retried(row, "ahead-of-iys", case)
        case Verdict.DATA if code == NOT_AS_FIRST and item.source == Source.HS_KARAR:
            return _already(row, case)
        case Verdict.DATA if is_opt_out:
            return _rescued(row, "refused-by-iys", case)
        case Verdict.DATA:
            return _refused(ruling.refuse(row, "refused-by-iys", code), case)
        case Verdict.UNKNOWN:
            return _refused(ruling.park(row, "unknown-code", code), case)
        case Verdict.RIGHTS if code == NO_SUCH_RETAILER and is_opt_out:
            return _rescued(row, "no-such-retailer", case)
        case Verdict.RIGHTS if code == NO_SUCH_RETAILER:
            return _refused(ruling.park(row, "no-such-retailer", code), case)
        case Verdict.QUOTA if not is_opt_out:
            parked = _refused(ruling.park(row, "quota-spent", code), case)
            return replace(parked, suspension=scope_of(row.channel, result))
        case (
            Verdict.TRANSIENT
            | Verdict.THROTTLE
            | Verdict.HOURLY
            | Verdict.TOKEN
            | Verdict.TOKEN_LIMIT
            | Verdict.CONFIGURATION
            | Verdict.RIGHTS
            | Verdict.QUOTA
        ):
            return _retried(row, str(result.verdict), case)
        case _:
            assert_never(result.verdict)


def scope_of(channel: str, result: ItemResult) -> SuspensionScope | None:
    """Return what the result suspends: nothing, a channel, a brand, all brands of the provider or
    of the account; where the quota is spent, only new ONAYs.
    """
    code = result.code or str(result.verdict)
    suspended, status, scope = EVERY, EVERY, "brand"
    match result.verdict:
        case Verdict.RIGHTS if code == NO_SUCH_RETAILER:
            return None
        case Verdict.RIGHTS if code == NO_RIGHT:
            suspended, reason = channel, f"no right to write {channel} for this brand at İYS"
        case Verdict.RIGHTS:
            scope, reason = "account", "our account may not use this method of İYS"
        case Verdict.TOKEN:
            scope, reason = "account", "İYS does not accept our account's credentials"
        case Verdict.CONFIGURATION if code in OF_ACCOUNT:
            scope, reason = "account", "İYS does not accept our account's credentials"
        case Verdict.CONFIGURATION if code in OF_SUBSCRIPTION:
            scope, reason = "provider", "the provider's subscription at İYS does not let us write"
        case Verdict.CONFIGURATION:
            reason = "İYS does not let us write for this brand"
        case Verdict.QUOTA:
            status, scope = str(Status.ONAY), "provider"
            reason = "the quota of addresses is spent: new ONAYs wait"
        case (
            Verdict.SUCCESS
            | Verdict.ALREADY
            | Verdict.EXPIRED
            | Verdict.DATA
            | Verdict.UNKNOWN
            | Verdict.TRANSIENT
            | Verdict.THROTTLE
            | Verdict.HOURLY
            | Verdict.TOKEN_LIMIT
        ):
            return None
        case _:
            assert_never(result.verdict)
    return SuspensionScope(
        channel=suspended, status=status, code=code, reason=f"{reason} ({code})", scope=scope
    )


def _accepted(row: ConsentRow, case: _Case) -> AppliedResult:
    if case.result.is_original:
        # The receipt is of an earlier save: query İYS for what it holds now.
        return AppliedResult(
            ruled=RuledRow(row=ruling.query(row, "saved-before", None)), item_state=ACCEPTED
        )
    ruled = ruling.rule_row(
        accepted_row(row, case.item, case.result, case.now),
        case.brand,
        case.now,
        calendar=case.calendar,
        answered=True,
        submitted=True,
    )
    if ruled.row.action is Action.SEND:
        # İYS accepted it and still shows another status: retry with backoff, not in a loop.
        ruled = RuledRow(row=retry(ruled.row, case.now, "register-stands-otherwise", None))
    return AppliedResult(ruled=ruled, item_state=ACCEPTED)


def _already(row: ConsentRow, case: _Case) -> AppliedResult:
    code, item = case.result.code, case.item
    if code == OLDER and item.status == Status.RET and _counts_from_later(row, item):
        return _rescued(row, "refused-by-iys", case)
    if code not in {FIRST_RET, NOT_AS_FIRST} or case.item.status != Status.RET:
        return _refused(ruling.query(row, "register-stands-otherwise", code), case)
    if row.is_open:
        # An ONAY of this key may still be saved: that İYS has no record holds only until then.
        return AppliedResult(
            ruled=RuledRow(row=ruling.wait(row, "onay-unsettled", code)), item_state="withdrawn"
        )
    none = Observation(
        value=Registered.NONE,
        creation_date=case.called_at,
        verified_at=case.now,
        verified_by=case.result.how,
    )
    row = apply.observed(row, none).replace(code=code)
    ruled = ruling.rule_row(row, case.brand, case.now, calendar=case.calendar, answered=True)
    return AppliedResult(ruled=ruled, item_state="refused", shown=none)


def _counts_from_later(row: ConsentRow, item: Item) -> bool:
    """Whether the date that İYS got was stated by its day or minute alone."""
    at, stated = row.desired_at, item.consent_date
    return at is not None and stated is not None and stated < at


def _rescued(row: ConsentRow, reason: str, case: _Case) -> AppliedResult:
    return AppliedResult(
        ruled=ruling.rescue_refused(row, reason, case.result.code, case.now), item_state="refused"
    )


def _refused(row: ConsentRow, case: _Case) -> AppliedResult:
    ruled = ruling.closed(row, case.brand, case.now, calendar=case.calendar)
    return AppliedResult(ruled=ruled, item_state="refused")


def _retried(row: ConsentRow, reason: str, case: _Case) -> AppliedResult:
    """Return the row to be submitted again later, if it is still due."""
    result, now = case.result, case.now
    ruled = ruling.rule_row(row, case.brand, now, calendar=case.calendar, answered=True)
    if ruled.row.action is Action.SEND:
        ruled = RuledRow(row=retry(row, now, reason, result.code, result.retry_after))
    return AppliedResult(
        ruled=ruled, item_state="withdrawn", suspension=scope_of(row.channel, result)
    )


def _superseded(row: ConsentRow, case: _Case) -> AppliedResult:
    """Return the row after the result for an event that it no longer desires."""
    item, result, receipt = case.item, case.result, case.result.receipt
    accepted = result.verdict is Verdict.SUCCESS
    refused = "refused" if result.verdict in _OF_THE_RECORD else "withdrawn"
    if accepted:
        row = _registered(row, item, result, case.now)
    outcome = Outcome(
        key=ConsentKey.parse(item.key),
        customer_id=item.customer_id,
        event_id=item.event_id,
        outcome="accepted" if accepted else "superseded",
        status=item.status,
        code=result.code,
        transaction_id=None if receipt is None else receipt.transaction_id,
        creation_date=None if receipt is None else receipt.creation_date,
        attempt=item.attempt,
        origin=item.origin,
        origin_ref=item.origin_ref,
        occurred_at=case.now,
    )
    return AppliedResult(
        ruled=ruling.rule_row(row, case.brand, case.now, calendar=case.calendar),
        item_state=ACCEPTED if accepted else refused,
        outcome=outcome,
        suspension=scope_of(row.channel, result),
    )


def _registered(
    row: ConsentRow,
    item: Item,
    result: ItemResult,
    now: datetime,
    **others: Any,  # noqa: ANN401  # a column's value each
) -> ConsentRow:
    receipt = result.receipt
    if receipt is None:
        return row.replace(**others)
    return apply.observed(
        row,
        Observation.answered(
            item.status,
            consent_date=item.consent_date,
            source=item.source,
            creation_date=receipt.creation_date,
            transaction_id=receipt.transaction_id,
            how=result.how,
            at=now,
        ),
        **others,
    )
