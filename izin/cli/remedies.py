"""What holds records back, and what a person does about it, in words and whole commands: pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from shlex import quote

from izin.cli.terminal import turkish
from izin.consent import TURKEY, WAITING, ActionReason, Channel, Status
from izin.ledger import retailers
from izin.ledger.automatic_suspension.decisions import (
    BEFORE_DUE,
    AutomaticSuspension,
    SuspensionDecision,
)
from izin.ledger.reads import OpenOptOut
from izin.ledger.record import EVERY, NOT_GRANTED, ORDERED, ConsentRow, Suspension, ruling
from izin.ledger.registry.suspension_orders import SuspensionOrder

OPT_OUT_HEADER = (
    "recipient",
    "type",
    "recipientType",
    "status",
    "source",
    "consentDate",
    "due",
    "state",
)
"""The columns of opt-outs that a person withdraws on İYS's own pages."""
REMEDIES: Mapping[str, str] = {
    str(
        ActionReason.RECONSENT
    ): "the citizen opted out at İYS; with a new consent in hand: {requeue}",
    str(
        ActionReason.NOT_REGISTRABLE
    ): "correct the record at its source, and send it again from there",
    str(
        ActionReason.TACIR_UPDATE_INCOMPLETE
    ): "send it again from its source, with date and source",
    ruling.UNKNOWN_BRAND: "register the brand, and they continue by themselves: {add}",
    ruling.OTHER_CUSTOMER: "correct the customer at the source; for consents that were given "
    "to this brand: {requeue}",
    "unknown-code": "read İYS's reply with izin explain; once it is corrected: {requeue}",
    retailers.DIFFERENCE: "change them at İYS ({retailers} says which); then: {requeue}",
    "no-such-retailer": "correct the retailer code, or have İYS register it; then: {requeue}",
    "opt-out-refused": "withdraw the consent on İYS's own pages today; then: {requeue}",
    "quota-spent": "have İYS raise the subscription's quota; then: {requeue}",
    "iys-says-otherwise": "compare with İYS's own pages; then: {requeue}",
    "question-refused": "correct the recipient at its source, or compare with İYS's own pages",
}
"""By reason for which records are parked."""


def remedy_of_parked(
    brand_code: int, why: str | None, *, key: str | None = None, all_of: int = 0
) -> str:
    """Return what a person does about records parked for ``why``: about one ``key``, or about
    ``all_of`` them.
    """
    whose = f"--exactly {all_of}" if key is None else f"--recipient {quote(key)}"
    return REMEDIES.get(why or "", "see izin explain").format(
        add=f"izin brands add {brand_code} --help",
        requeue=f"izin brands requeue {brand_code} --because {why} {whose} --plan requeue.json",
        retailers=f"izin brands retailers {brand_code}",
    )


def remedy_of_suspension(suspension: Suspension, found: Iterable[Suspension]) -> str:
    """Return what a person does about a suspension, one of all ``found``, and its opt-outs."""
    code = suspension.brand_code
    opt_outs = f"opt-outs that cannot wait: izin deadlines opt-outs {code}"
    if suspension.code == ORDERED:
        return (
            f"once its reason is gone: izin brands resume {code} --what iys, or --customer where "
            f"every brand of the customer is suspended; {opt_outs}"
        )
    if suspension.code == NOT_GRANTED:
        return (
            f"have the provider grant {suspension.channel} to us on İYS's pages; it resumes once "
            f"İYS lists it: izin customers sync; {opt_outs}"
        )
    if suspension.is_by_operator:
        # A channel that is not named loses its right: the command names all that the brand has,
        # too.
        lost = {
            one.channel
            for one in found
            if one.is_by_operator and one.brand_code == code and one != suspension
        }
        types = " ".join(f"--type {channel}" for channel in Channel if channel not in lost)
        return (
            f"once the brand may write {suspension.channel} at İYS: "
            f"izin brands rights {code} {types}; {opt_outs}"
        )
    retry = f"{_first_step(suspension)}, then izin brands retry {code}"
    return retry if suspension.status == Status.ONAY else f"{retry}; {opt_outs}"


def remedy_of_order(order: SuspensionOrder) -> str:
    """Return the command that ends an order to suspend."""
    if order.brand_code is None:
        return f"izin brands resume --customer {order.customer_id} --what {order.part}"
    return f"izin brands resume {order.brand_code} --what {order.part}"


def _first_step(suspension: Suspension) -> str:
    if suspension.status == Status.ONAY:
        return "have İYS raise the subscription's quota"
    if suspension.scope == "account":
        return "correct our account at İYS, or IYS_USERNAME and IYS_PASSWORD"
    if suspension.scope == "provider":
        return "have İYS restore the provider's subscription"
    if suspension.channel != EVERY:
        return f"have İYS give back the right to write {suspension.channel}"
    return "correct at İYS what its code names (docs/codes.md)"


_WITHDRAWN = {
    "RET": "they stay opt-outs here",
    "ONAY": "the opt-outs before them stand",
}


def held_back(suspension: AutomaticSuspension) -> str:
    """Return what ``suspension`` holds back, since when and why."""
    first = f", the first until {turkish(suspension.first_until)}" if suspension.first_until else ""
    return (
        f"{suspension.held_back} {suspension.words} of {suspension.source} for brand "
        f"{suspension.brand_code} are held back since {turkish(suspension.tripped_at)}{first}: "
        f"{_why_suspended(suspension)}"
    )


def remedy_of_automatic(suspension: AutomaticSuspension) -> str:
    """Return what a person does about ``suspension``."""
    orders = {decision.value: _order(suspension, decision) for decision in SuspensionDecision}
    if suspension.decision is not None:
        return (
            f"{suspension.decision} by {suspension.decided_by}, and cut off; again: "
            f"{orders[suspension.decision]}"
        )
    return (
        f"ask the source: if they are right, {orders['released']}; if not, {orders['withdrawn']} "
        f"({_WITHDRAWN[suspension.status]})"
    )


def why_not_sent(entry: ConsentRow, automatic: Iterable[AutomaticSuspension]) -> str | None:
    """Return by what the opt-out or opt-in of a key is held back, and until when, or that it was
    withdrawn; None: neither.
    """
    is_ret = entry.desired_status == Status.RET
    if entry.withdrawn_at is not None:
        still = ", still an opt-out" if is_ret else ""
        return f"kept from İYS by a person since {turkish(entry.withdrawn_at)}{still}"
    if entry.brake_id is None or entry.due_at is None or entry.state not in WAITING:
        return None
    until: datetime = entry.due_at - BEFORE_DUE if is_ret else entry.due_at
    by = next((suspension for suspension in automatic if suspension.id == entry.brake_id), None)
    of = "" if by is None else f", with others of {by.source} since {turkish(by.tripped_at)}"
    return (
        f"held back by an automatic suspension until {turkish(until)} at most{of}: "
        "izin held-back list"
    )


def _why_suspended(suspension: AutomaticSuspension) -> str:
    """Return what has begun ``suspension``."""
    if suspension.status == Status.ONAY:
        return f"{suspension.keys} opt-outs reversed within an hour"
    return (
        f"{suspension.keys} within an hour beside {suspension.opted_in} opt-ins, "
        f"over {suspension.share:g} %"
        if suspension.opted_in
        else f"{suspension.keys} within an hour beside no opt-in"
    )


def _order(suspension: AutomaticSuspension, decision: SuspensionDecision) -> str:
    source = f"{suspension.brand_code} --origin {quote(suspension.source)} --reason …"
    opt_ins = " --opt-ins" if suspension.status == Status.ONAY else ""
    return f"izin held-back {decision.order} {source}{opt_ins} --execute"


def opt_out_rows(found: Iterable[OpenOptOut]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each, under ``OPT_OUT_HEADER``; times are Turkish."""
    for one in found:
        yield (
            one.recipient,
            one.channel,
            one.recipient_type,
            "RET",
            one.desired_source or "",
            _as_iys_writes(one.desired_at),
            "" if one.due_at is None else _as_iys_writes(one.due_at),
            one.reason or one.state,
        )


def _as_iys_writes(at: datetime) -> str:
    return at.astimezone(TURKEY).strftime("%Y-%m-%d %H:%M:%S")
