"""What holds records back, and what a person does about it, in sentences with whole commands.

Pure: nothing is read here.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from shlex import quote

from izin.consent import TURKEY, WAITING, ActionReason, Channel, Status
from izin.consent.violations import REASONS, violation
from izin.ledger import retailers
from izin.ledger.automatic_suspension.decisions import (
    BEFORE_DUE,
    AutomaticSuspension,
    SuspensionDecision,
)
from izin.ledger.reads import OpenOptOut
from izin.ledger.record import EVERY, NOT_GRANTED, ORDERED, ConsentRow, Suspension, ruling
from izin.ledger.registry.suspension_orders import SuspensionOrder
from izin.views.sentences import Instruction, Sentence, joined, sentence

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
    ): "the citizen opted out at İYS; with a new consent in hand: %(requeue)s",
    str(
        ActionReason.NOT_REGISTRABLE
    ): "correct the record at its source, and send it again from there",
    str(
        ActionReason.TACIR_UPDATE_INCOMPLETE
    ): "send it again from its source, with date and source",
    ruling.UNKNOWN_BRAND: "register the brand, and they continue by themselves: %(add)s",
    ruling.OTHER_CUSTOMER: "correct the customer at the source; for consents that were given "
    "to this brand: %(requeue)s",
    "unknown-code": "read İYS's reply with %(explain)s; once it is corrected: %(requeue)s",
    retailers.DIFFERENCE: "have them changed there: %(retailers)s; where you did so on İYS's "
    "pages: %(requeue)s",
    "no-such-retailer": "correct the retailer code, or have İYS register it; then: %(requeue)s",
    "opt-out-refused": "withdraw the consent on İYS's own pages today; then: %(requeue)s",
    "quota-spent": "have İYS raise the subscription's quota; then: %(requeue)s",
    "iys-says-otherwise": "compare with İYS's own pages; then: %(requeue)s",
    "question-refused": "correct the recipient at its source, or compare with İYS's own pages",
}
"""By reason for which records are parked."""
_REASONS: Mapping[str, str] = {
    str(ActionReason.RECONSENT): "the citizen opted out at İYS, and this may be an older consent",
    str(ActionReason.NOT_REGISTRABLE): "the record lacks what İYS requires",
    str(
        ActionReason.TACIR_UPDATE_INCOMPLETE
    ): "a TACIR (merchant) record is changed with date and source only",
    ruling.UNKNOWN_BRAND: "the brand is not registered here",
    ruling.OTHER_CUSTOMER: "the record names another customer than the brand's",
    "unknown-code": "İYS answered with a code that is not known",
    retailers.DIFFERENCE: "İYS holds other retailers than the record names",
    "no-such-retailer": "İYS does not know the retailer",
    "opt-out-refused": "İYS refuses the opt-out",
    "quota-spent": "the quota of the subscription is spent",
    "iys-says-otherwise": "İYS shows something else than it has answered",
    "question-refused": "İYS refuses to look the recipient up",
}
"""Why, by the same reasons."""
CORRECT = "correct the record at its source, and send it again from there before its term ends"
"""What a person does about an opt-in that İYS refused."""
LATE = "nothing undoes it: keep a note of why it was late; see %(explain)s"
"""What a person does about an opt-out that was sent too late."""
ANSWER = "answer it with the evidence, and close it: %(complaint)s"
"""What a person does about a complaint."""
_UNKNOWN = "see %(explain)s"
EXPLAIN = Instruction("izin explain", "the screen of the recipient")


def complaint(number: int) -> Instruction:
    """Return where a complaint is answered."""
    return Instruction(f"izin complaints show {number}", "the screen of complaints")


def remedy_of_parked(
    brand_code: int, why: str | None, *, key: str | None = None, all_of: int = 0
) -> Sentence:
    """Return what a person does about records parked for ``why``: about one ``key``, or about
    ``all_of`` them.
    """
    whose = f"--exactly {all_of}" if key is None else f"--recipient {quote(key)}"
    return sentence(
        REMEDIES.get(why or "", _UNKNOWN),
        add=Instruction(
            f"izin brands add {brand_code} --help", "add it under Customers and brands"
        ),
        requeue=Instruction(
            f"izin brands requeue {brand_code} --because {why} {whose} --plan requeue.json",
            "process it again in the worklist",
        ),
        retailers=Instruction(f"izin brands retailers {brand_code} --plan access.json"),
        explain=EXPLAIN,
    )


def line_of(remedy: Sentence) -> Sentence:
    """Return the line that a command prints of a remedy."""
    return sentence("remedy: %(remedy)s", remedy=remedy)


def why_parked(reason: str, code: str | None) -> Sentence:
    """Return for what a record is parked."""
    because = _REASONS.get(reason)
    why = sentence("%(reason)s", reason=reason) if because is None else sentence(because)
    return sentence("%(why)s (%(code)s)", why=why, code=code) if code else why


def why_refused(code: str | None) -> Sentence:
    """Return why İYS refused an opt-in."""
    if code is None:
        return sentence("İYS holds something newer")
    if code not in REASONS:
        return sentence("İYS refuses the record (%(code)s)", code=code)
    return sentence("%(why)s (%(code)s)", why=violation("", code), code=code)


def why_suspended(suspension: Suspension) -> Sentence:
    """Return why records of a brand are not sent."""
    if suspension.code == ORDERED:
        return sentence("suspended by an order: %(reason)s", reason=suspension.reason)
    if suspension.is_by_operator:
        message = "the brand has no right to write %(channel)s"
    elif suspension.status == Status.ONAY:
        message = "the quota of the subscription is spent (%(code)s)"
    elif suspension.scope == "account":
        message = "İYS refuses our account (%(code)s)"
    elif suspension.scope == "provider":
        message = "İYS has closed the subscription of the provider (%(code)s)"
    elif suspension.channel != EVERY:
        message = "İYS gives no right to write %(channel)s (%(code)s)"
    else:
        message = "İYS refuses the records of the brand (%(code)s)"
    return sentence(message, channel=suspension.channel, code=suspension.code)


def remedy_of_suspension(suspension: Suspension, found: Iterable[Suspension]) -> Sentence:
    """Return what a person does about a suspension, one of all ``found``, and its opt-outs."""
    code = suspension.brand_code
    opt_outs = sentence(
        "opt-outs that cannot wait: %(opt_outs)s",
        opt_outs=Instruction(f"izin deadlines opt-outs {code}", "see Deadlines"),
    )
    if suspension.code == ORDERED:
        ended = sentence(
            "once its reason is gone: %(resume)s",
            resume=Instruction(
                f"izin brands resume {code} --what iys, or --customer where every brand of the "
                "customer is suspended",
                "lift it in the worklist",
            ),
        )
        return joined(ended, opt_outs)
    if suspension.code == NOT_GRANTED:
        granted = sentence(
            "have the provider grant %(channel)s to us on İYS's pages; it resumes once İYS lists "
            "it: %(sync)s",
            channel=suspension.channel,
            sync=Instruction("izin customers sync", "its list is read by itself"),
        )
        return joined(granted, opt_outs)
    if suspension.is_by_operator:
        # A channel that is not named loses its right: the command names all that the brand has,
        # too.
        lost = {
            one.channel
            for one in found
            if one.is_by_operator and one.brand_code == code and one != suspension
        }
        types = " ".join(f"--type {channel}" for channel in Channel if channel not in lost)
        right = sentence(
            "once the brand may write %(channel)s at İYS: %(rights)s",
            channel=suspension.channel,
            rights=Instruction(
                f"izin brands rights {code} {types}", "set its rights under Customers and brands"
            ),
        )
        return joined(right, opt_outs)
    retry = sentence(
        "%(first)s, then %(retry)s",
        first=_first_step(suspension),
        retry=Instruction(f"izin brands retry {code}", "try now in the worklist"),
    )
    return retry if suspension.status == Status.ONAY else joined(retry, opt_outs)


def remedy_of_order(order: SuspensionOrder) -> str:
    """Return the command that ends an order to suspend."""
    if order.brand_code is None:
        return f"izin brands resume --customer {order.customer_id} --what {order.part}"
    return f"izin brands resume {order.brand_code} --what {order.part}"


def _first_step(suspension: Suspension) -> Sentence:
    if suspension.status == Status.ONAY:
        return sentence("have İYS raise the subscription's quota")
    if suspension.scope == "account":
        return sentence("correct our account at İYS, or IYS_USERNAME and IYS_PASSWORD")
    if suspension.scope == "provider":
        return sentence("have İYS restore the provider's subscription")
    if suspension.channel != EVERY:
        return sentence(
            "have İYS give back the right to write %(channel)s", channel=suspension.channel
        )
    return sentence("correct at İYS what its code names (docs/codes.md)")


_HERE = {
    SuspensionDecision.RELEASED: "release them in the worklist",
    SuspensionDecision.WITHDRAWN: "withdraw them in the worklist",
}
_WITHDRAWN = {
    "RET": "they stay opt-outs here",
    "ONAY": "the opt-outs before them stand",
}


def held_back(suspension: AutomaticSuspension) -> Sentence:
    """Return what ``suspension`` holds back, since when and why."""
    until = suspension.first_until
    return sentence(
        "%(count)s %(words)s of %(source)s for brand %(brand)s are held back since %(since)s"
        "%(until)s: %(why)s",
        count=suspension.held_back,
        words=sentence(suspension.words),
        source=suspension.source,
        brand=suspension.brand_code,
        since=suspension.tripped_at,
        until="" if until is None else sentence(", the first until %(until)s", until=until),
        why=_why_suspended(suspension),
    )


def remedy_of_automatic(suspension: AutomaticSuspension) -> Sentence:
    """Return what a person does about ``suspension``."""
    orders = {decision.value: _order(suspension, decision) for decision in SuspensionDecision}
    if suspension.decision is not None:
        return sentence(
            "%(decision)s by %(by)s, and cut off; again: %(order)s",
            decision=sentence(suspension.decision),
            by=suspension.decided_by,
            order=orders[suspension.decision],
        )
    return sentence(
        "ask the source: if they are right, %(release)s; if not, %(withdraw)s (%(then)s)",
        release=orders["released"],
        withdraw=orders["withdrawn"],
        then=sentence(_WITHDRAWN[suspension.status]),
    )


def why_not_sent(entry: ConsentRow, automatic: Iterable[AutomaticSuspension]) -> Sentence | None:
    """Return by what the opt-out or opt-in of a key is held back, and until when, or that it was
    withdrawn; None: neither.
    """
    is_ret = entry.desired_status == Status.RET
    if entry.withdrawn_at is not None:
        return sentence(
            "kept from İYS by a person since %(since)s, still an opt-out"
            if is_ret
            else "kept from İYS by a person since %(since)s",
            since=entry.withdrawn_at,
        )
    if entry.brake_id is None or entry.due_at is None or entry.state not in WAITING:
        return None
    until: datetime = entry.due_at - BEFORE_DUE if is_ret else entry.due_at
    by = next((suspension for suspension in automatic if suspension.id == entry.brake_id), None)
    others = (
        ""
        if by is None
        else sentence(
            ", with others of %(source)s since %(since)s", source=by.source, since=by.tripped_at
        )
    )
    return sentence(
        "held back by an automatic suspension until %(until)s at most%(others)s: %(list)s",
        until=until,
        others=others,
        list=Instruction("izin held-back list", "see the worklist"),
    )


def _why_suspended(suspension: AutomaticSuspension) -> Sentence:
    """Return what has begun ``suspension``."""
    keys = suspension.keys
    if suspension.status == Status.ONAY:
        return sentence("%(keys)s opt-outs reversed within an hour", keys=keys)
    if not suspension.opted_in:
        return sentence("%(keys)s within an hour beside no opt-in", keys=keys)
    return sentence(
        "%(keys)s within an hour beside %(opted_in)s opt-ins, over %(share)s %%",
        keys=keys,
        opted_in=suspension.opted_in,
        share=f"{suspension.share:g}",
    )


def _order(suspension: AutomaticSuspension, decision: SuspensionDecision) -> Instruction:
    source = f"{suspension.brand_code} --origin {quote(suspension.source)} --reason …"
    opt_ins = " --opt-ins" if suspension.status == Status.ONAY else ""
    return Instruction(
        f"izin held-back {decision.order} {source}{opt_ins} --execute",
        _HERE[decision],
    )


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
