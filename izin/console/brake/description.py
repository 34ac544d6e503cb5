"""What a brake holds back, in words for people: pure."""

from collections.abc import Iterable
from datetime import datetime
from shlex import quote

from izin.consent.model import Status
from izin.console.terminal.output import turkish
from izin.sinks.ledger.brake.decisions import BEFORE_DUE, Brake, BrakeDecision
from izin.sinks.record.consent_row import ConsentRow

_WAITING = frozenset({"pending", "retryable"})
_WITHDRAWN = {
    "RET": "they stay opt-outs here",
    "ONAY": "the opt-outs before them stand",
}


def held_back(brake: Brake) -> str:
    """Return what ``brake`` holds back, since when and why."""
    first = f", the first until {turkish(brake.first_until)}" if brake.first_until else ""
    return (
        f"{brake.held_back} {brake.words} of {brake.source} for brand {brake.brand_code} are held "
        f"back since {turkish(brake.tripped_at)}{first}: {_why_tripped(brake)}"
    )


def remedy_of_brake(brake: Brake) -> str:
    """Return what a person does about ``brake``."""
    orders = {one.value: _order(brake, one) for one in BrakeDecision}
    if brake.decision is not None:
        return (
            f"{brake.decision} by {brake.decided_by}, and cut off; again: {orders[brake.decision]}"
        )
    return (
        f"ask the source: if they are right, {orders['released']}; if not, {orders['withdrawn']} "
        f"({_WITHDRAWN[brake.status]})"
    )


def why_not_sent(entry: ConsentRow, brakes: Iterable[Brake]) -> str | None:
    """Return by what the opt-out or opt-in of a key is held back, and until when, or that it was
    withdrawn; None: neither.
    """
    is_ret = entry.desired_status == Status.RET
    if entry.withdrawn_at is not None:
        still = ", still an opt-out" if is_ret else ""
        return f"kept from İYS by a person since {turkish(entry.withdrawn_at)}{still}"
    if entry.brake_id is None or entry.due_at is None or entry.state not in _WAITING:
        return None
    until: datetime = entry.due_at - BEFORE_DUE if is_ret else entry.due_at
    by = next((one for one in brakes if one.id == entry.brake_id), None)
    of = "" if by is None else f", with others of {by.source} since {turkish(by.tripped_at)}"
    return f"held back by a brake until {turkish(until)} at most{of}: izin iys list"


def _why_tripped(brake: Brake) -> str:
    """Return what tripped ``brake``."""
    if brake.status == Status.ONAY:
        return f"{brake.keys} opt-outs reversed within an hour"
    return (
        f"{brake.keys} within an hour beside {brake.opted_in} opt-ins, over {brake.share:g} %"
        if brake.opted_in
        else f"{brake.keys} within an hour beside no opt-in"
    )


def _order(brake: Brake, decision: BrakeDecision) -> str:
    source = f"{brake.brand_code} --source {quote(brake.source)} --reason …"
    opt_ins = " --opt-ins" if brake.status == Status.ONAY else ""
    return f"izin iys {decision.order} {source}{opt_ins} --execute"
