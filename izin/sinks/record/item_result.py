"""What İYS's answer to one item makes of its row: a table from verdict to the obligation's next
state.

The answer is read from the H-code (``iys.answers``), never from an HTTP status. An answer to what
is no longer desired still counts: it says what İYS holds, and the row is ruled anew by it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from izin.consent.business_days import Calendar
from izin.consent.model import ConsentKey, Source, Status
from izin.consent.obligation import Action, Registered
from izin.iys.verdicts import Verdict
from izin.iys.wire_format.consents import Receipt
from izin.sinks.record import apply, ruling
from izin.sinks.record.apply import Observation
from izin.sinks.record.brand import Brand
from izin.sinks.record.outcome import Outcome
from izin.sinks.record.row import ConsentRow
from izin.sinks.record.ruling import RuledRow
from izin.sinks.record.submission import Item
from izin.sinks.record.suspension import EVERY, SuspensionScope

FIRST_RET = "H175"
NOT_AS_FIRST = "H486"
"""HS_KARAR may not create a record: like H175, İYS has none."""
AHEAD = "H162"
"""The date lies ahead of İYS's clock: it will not for long, for it never lies ahead of ours."""
NO_SUCH_RETAILER = "H180"
NO_RIGHT = "H353"
OF_ACCOUNT = frozenset({"H250", "H251", "H252"})
"""Codes by which İYS refuses who calls, whatever the brand."""
OF_SUBSCRIPTION = frozenset({"H437", "H520", "H521", "H524", "H586"})
"""Codes by which İYS refuses every brand of a provider."""


class ItemResult(NamedTuple):
    """What İYS answered of one item."""

    verdict: Verdict
    code: str | None = None
    receipt: Receipt | None = None
    is_original: bool = False
    """The success is that of an earlier, identical statement."""
    retry_after: timedelta | None = None
    how: str = "add"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedResult:
    """The row after the answer, what became of the item, and what else follows."""

    ruled: RuledRow
    item_state: str
    outcome: Outcome | None = None
    """Of an event that is no longer what the row desires; else the row's own change tells it."""
    suspension: SuspensionScope | None = None


def apply_result(  # noqa: C901, PLR0911, PLR0912, PLR0913 - one case a verdict; each argument is a fact
    row: ConsentRow,
    item: Item,
    answer: ItemResult,
    brand: Brand,
    now: datetime,
    *,
    calendar: Calendar,
) -> AppliedResult:
    """Return what ``answer`` makes of ``row``, of which ``item`` was told."""
    row = apply.answered_row(row, item.status, now)
    if not row.is_of(item.event_id, item.status):
        return _of_the_past(row, item, answer, brand, now, calendar=calendar)
    match answer.verdict:
        case Verdict.SUCCESS:
            if answer.is_original:
                # It speaks of an old save: what stands is read before anything is taken as said.
                return AppliedResult(
                    ruled=RuledRow(row=ruling.query(row, "told-before", None)),
                    item_state="accepted",
                )
            row = _registered(row, item, answer, now)
            ruled = ruling.rule_row(
                row.replace(code=None), brand, now, calendar=calendar, answered=True, told=True
            )
            if ruled.row.action is Action.SEND:
                # İYS took it and still shows otherwise: tell again, but never in a circle.
                later = ruling.retry(ruled.row, now, "register-stands-otherwise", None)
                ruled = RuledRow(row=later)
            return AppliedResult(ruled=ruled, item_state="accepted")
        case Verdict.ALREADY:
            return _already(row, item, answer, brand, now, calendar=calendar)
        case Verdict.EXPIRED:
            if item.status == Status.ONAY:
                return _refused(ruling.expire(row, "refused-as-late", answer.code))
            return _rescued(row, "refused-as-late", answer, now)
        case Verdict.DATA if answer.code == AHEAD:
            ruled = _later(row, "ahead-of-iys", answer, brand, now, calendar=calendar)
            return AppliedResult(ruled=ruled, item_state="withdrawn")
        case Verdict.DATA:
            if answer.code == NOT_AS_FIRST and item.source == Source.HS_KARAR:
                return _already(row, item, answer, brand, now, calendar=calendar)
            if item.status == Status.RET:
                return _rescued(row, "refused-by-iys", answer, now)
            return _refused(ruling.refuse(row, "refused-by-iys", answer.code))
        case Verdict.UNKNOWN:
            return _refused(ruling.park(row, "unknown-code", answer.code))
        case Verdict.RIGHTS if answer.code == NO_SUCH_RETAILER and item.status == Status.RET:
            return _rescued(row, "no-such-retailer", answer, now)
        case Verdict.RIGHTS if answer.code == NO_SUCH_RETAILER:
            return _refused(ruling.park(row, "no-such-retailer", answer.code))
        case Verdict.QUOTA if item.status == Status.ONAY:
            return AppliedResult(
                ruled=RuledRow(row=ruling.park(row, "quota-spent", answer.code)),
                item_state="refused",
                suspension=scope_of(row.channel, answer),
            )
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
            return AppliedResult(
                ruled=_later(row, str(answer.verdict), answer, brand, now, calendar=calendar),
                item_state="withdrawn",
                suspension=scope_of(row.channel, answer),
            )
        case _:
            assert_never(answer.verdict)


def _later(  # noqa: PLR0913 - each argument is a fact
    row: ConsentRow,
    reason: str,
    answer: ItemResult,
    brand: Brand,
    now: datetime,
    *,
    calendar: Calendar,
) -> RuledRow:
    """Return the row to be told again later, if it still is to be told."""
    ruled = ruling.rule_row(row, brand, now, calendar=calendar, answered=True)
    if ruled.row.action is not Action.SEND:
        return ruled
    return RuledRow(row=ruling.retry(row, now, reason, answer.code, answer.retry_after))


def scope_of(channel: str, answer: ItemResult) -> SuspensionScope | None:
    """Return what the answer stops: nothing, a channel, a brand, a provider's brands or all of the
    account's; and of a spent quota only new ONAYs.
    """
    code = answer.code or str(answer.verdict)
    stopped, scope, reason = EVERY, "brand", ""
    match answer.verdict:
        case Verdict.RIGHTS if code == NO_SUCH_RETAILER:
            return None
        case Verdict.RIGHTS if code == NO_RIGHT:
            stopped, reason = channel, f"no right to write {channel} for this brand at İYS"
        case Verdict.RIGHTS:
            scope, reason = "account", "our account may not use this method of İYS"
        case Verdict.TOKEN:
            scope, reason = "account", "İYS does not take our account's credentials"
        case Verdict.CONFIGURATION if code in OF_ACCOUNT:
            scope, reason = "account", "İYS does not take our account's credentials"
        case Verdict.CONFIGURATION if code in OF_SUBSCRIPTION:
            scope, reason = "provider", "the provider's subscription at İYS does not let us write"
        case Verdict.CONFIGURATION:
            reason = "İYS does not let us write for this brand"
        case Verdict.QUOTA:
            scope, reason = "provider", "the quota of addresses is spent: new ONAYs wait"
        case _:
            return None
    status = str(Status.ONAY) if answer.verdict is Verdict.QUOTA else EVERY
    return SuspensionScope(
        channel=stopped, status=status, code=code, reason=f"{reason} ({code})", scope=scope
    )


def _of_the_past(  # noqa: PLR0913 - the facts of judged
    row: ConsentRow,
    item: Item,
    answer: ItemResult,
    brand: Brand,
    now: datetime,
    *,
    calendar: Calendar,
) -> AppliedResult:
    accepted = answer.verdict is Verdict.SUCCESS
    if accepted:
        row = _registered(row, item, answer, now)
    receipt = answer.receipt
    outcome = Outcome(
        key=ConsentKey.parse(item.key),
        customer_id=item.customer_id,
        event_id=item.event_id,
        outcome="accepted" if accepted else "superseded",
        status=item.status,
        code=answer.code,
        transaction_id=None if receipt is None else receipt.transaction_id,
        creation_date=None if receipt is None else receipt.creation_date,
        attempt=item.attempt,
        origin=item.origin,
        origin_ref=item.origin_ref,
        occurred_at=now,
    )
    return AppliedResult(
        ruled=ruling.rule_row(row, brand, now, calendar=calendar),
        item_state="accepted" if accepted else "refused",
        outcome=outcome,
        suspension=scope_of(row.channel, answer),
    )


def _already(  # noqa: PLR0913 - the facts of judged
    row: ConsentRow,
    item: Item,
    answer: ItemResult,
    brand: Brand,
    now: datetime,
    *,
    calendar: Calendar,
) -> AppliedResult:
    if answer.code not in {FIRST_RET, NOT_AS_FIRST} or item.status != Status.RET:
        return _refused(ruling.query(row, "register-stands-otherwise", answer.code))
    if row.is_open:
        # An ONAY of this key may still land: İYS's "no record" holds only until then.
        waits = ruling.wait(row, "onay-unsettled", answer.code)
        return AppliedResult(ruled=RuledRow(row=waits), item_state="withdrawn")
    none = Observation(
        value=Registered.NONE, creation_date=now, verified_at=now, verified_by=answer.how
    )
    row = replace(apply.observed(row, none), code=answer.code)
    ruled = ruling.rule_row(row, brand, now, calendar=calendar, answered=True)
    return AppliedResult(ruled=ruled, item_state="refused")


def _rescued(row: ConsentRow, reason: str, answer: ItemResult, now: datetime) -> AppliedResult:
    return AppliedResult(
        ruled=ruling.rescue_refused(row, reason, answer.code, now), item_state="refused"
    )


def _refused(row: ConsentRow) -> AppliedResult:
    return AppliedResult(ruled=RuledRow(row=row), item_state="refused")


def _registered(row: ConsentRow, item: Item, answer: ItemResult, now: datetime) -> ConsentRow:
    if answer.receipt is None:
        return row
    return apply.observed(
        row,
        Observation(
            value=Registered(item.status),
            creation_date=answer.receipt.creation_date,
            consent_date=item.consent_date,
            source=item.source,
            transaction_id=answer.receipt.transaction_id,
            verified_at=now,
            is_answer=answer.how == "add",
            verified_by=answer.how,
        ),
    )
