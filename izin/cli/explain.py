"""``izin explain``: everything that ever happened to a recipient, in the order we learnt it.

In words and Turkish time; what programs need is in the JSON. ``izin receipts``: what the gate said.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from izin.cli.terminal import (
    ByOption,
    ExitCode,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    err,
    filled,
    is_key,
    normalised,
    out,
    print_fields,
    print_json,
    print_rows,
    turkish,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import WAITING, ActionReason, SourceError
from izin.consent.may_send import PermissionReason
from izin.ledger import brands, reads, suspensions
from izin.ledger.automatic_suspension import decisions
from izin.ledger.db import Ledger
from izin.ledger.history import NOT_SENT, receipt_key
from izin.ledger.reads import History, RecordedFact
from izin.ledger.record import EVERY, Brand, ConsentRow, Suspension
from izin.ledger.webhooks import deliveries
from izin.runtime.settings import StreamSettings
from izin.views.cut import Look, cut_to
from izin.views.remedies import remedy_of_parked, why_not_sent

HISTORY = ("when (Turkey)", "what", "details")
DELIVERIES = ("taken (Turkey)", "subscriber", "event", "attempts", "record")

_STATES = {
    "pending": "to be sent to İYS",
    "in_flight": "being sent to İYS now",
    "awaiting_result": "sent to İYS; the result is not there yet",
    "unknown": "İYS's reply is unknown; its status is queried",
    "accepted": "registered at İYS",
    "refused": "refused by İYS",
    "retryable": "will be sent again",
    "parked": "needs a person",
    "expired": "too late to be registered; a new consent is needed",
    "superseded": "replaced by a newer event",
    "not_needed": "nothing to send",
}


_PERMISSIONS: Mapping[str, str] = {
    PermissionReason.EXEMPT: "information that needs no consent",
    PermissionReason.OPTED_OUT: "the recipient opted out",
    PermissionReason.UNKNOWN: "the brand is not one of the caller's",
    PermissionReason.STALE: "not confirmed for too long",
    PermissionReason.SUSPENDED: "an operator has stopped the messages of the brand",
    PermissionReason.RETAILER_NOT_COVERED: "the consent gives the retailer no access",
    PermissionReason.REGISTERED: "İYS holds the consent",
    PermissionReason.AWAITING_IYS: "İYS does not hold the consent yet",
    PermissionReason.VOID: "the consent expired or was refused: a new one is needed",
    PermissionReason.REGISTER_FIRST: "a TACIR (merchant) whom İYS does not have: register first",
    PermissionReason.NOT_REGISTERED: "İYS holds no consent",
}

_DECISIONS = {
    "first": "applied: the first event of this key",
    "newer": "applied: newer than the state",
    "ret-wins-tie": "applied: within the same second the opt-out wins",
    "older": "no change: older than the state",
    "better-evidence": "only the evidence changes, which is better",
    "lesser-evidence": "no change: the same, with lesser evidence",
    "same-event": "no change: the same event again",
}

_VERDICTS = {
    "success": "accepted",
    "already": "registered already",
    "expired": "refused as too late",
    "data": "refused for its content",
    NOT_SENT: "not sent, for something had changed",
}


_TITLES = {
    "decision": "event",
    "bootstrap": "restored from desired-consents",
    "call": "sent to İYS",
    "answer": "reply of İYS",
    "observation": "movement at İYS",
    "outcome": "outcome",
    "delivery": "published",
    "act": "a person",
    "breach": "sent late",
    "receipt": "asked the gate",
}
_RANK = {kind: place for place, kind in enumerate(_TITLES)}
_LONGEST = 16
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:")
receipts_app = typer.Typer(
    help="Show receipts of the gate: who asked whether a message may be sent, and the answer.\n\n"
    "A receipt is kept where the sender wanted one, and for every message that needs no consent.",
    no_args_is_help=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Everything of a recipient."""

    history: History
    suspended: Mapping[str, str]
    """What suspends a key or holds it back, by key."""
    gates: Mapping[int, str]
    """Why a person has suspended what may be sent for a brand, by brand."""
    sent: Sequence[Mapping[str, Any]]
    """What subscribers took."""
    looks: Sequence[RecordedFact]
    """Who looked at the recipient by name."""


def explain(
    recipient: Annotated[
        str,
        typer.Argument(
            help="Phone number or e-mail address in any usual notation, or a canonical key "
            "(brand/channel/recipient type/recipient)."
        ),
    ],
    *,
    customer: OneCustomerOption = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print the state of a recipient, and every event, decision, call to İYS and reply.

    The output is personal data: who looked, and at whom by a keyed digest (of
    IZIN_SUPPRESSION_SECRETS), is written to the history. Exit code 1 if nothing is known, 3 if the
    recipient cannot be read.
    """
    key = normalised(recipient)
    found = run_on_ledger(
        lambda ledger: _look(ledger, key, customer),
        look=Look(command="explain", by=by, people=[key], customer=customer),
    )
    history = found.history
    if not history.rows and not history.facts:
        err.print("nothing is known of this recipient")
        raise typer.Exit(ExitCode.WRONG)
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "keys": [
                        asdict(row)
                        | {
                            "suspended": found.suspended.get(row.key),
                            "gate_suspended": found.gates.get(row.brand_code),
                        }
                        for row in history.rows
                    ],
                    "history": [asdict(fact) for fact in history.facts],
                    "deliveries": [dict(one) for one in found.sent],
                    "looks": [asdict(look) for look in found.looks],
                }
            )
        case OutputFormat.TABLE:
            _print(found)


def _print(found: _Found) -> None:
    """Print a section a key: its state, its history, and what subscribers took."""
    history = found.history
    for entry in history.rows:
        out.print(Text(heading(entry.key), "bold"))
        suspended, gate = found.suspended.get(entry.key), found.gates.get(entry.brand_code)
        print_fields(state_rows(entry, suspended, gate))
        if entry.state == "parked":
            remedy = remedy_of_parked(entry.brand_code, entry.reason, key=entry.key)
            out.print(Text(f"remedy: {remedy}"), soft_wrap=True)
        keys = {entry.key, *reads.concerned(entry)}
        facts = [fact for fact in history.facts if fact.key in keys]
        print_rows(OutputFormat.TABLE, HISTORY, history_rows(facts))
        if rows := delivery_rows(one for one in found.sent if one["key"] == entry.key):
            print_rows(OutputFormat.TABLE, DELIVERIES, rows)
    # A key may have a history alone: the gate was asked about it, or its row was erased.
    others = {one.key for one in history.facts if is_key(one.key)}
    for key in sorted(others - {row.key for row in history.rows}):
        out.print(Text(heading(key), "bold"))
        facts = [one for one in history.facts if one.key == key]
        print_rows(OutputFormat.TABLE, HISTORY, history_rows(facts))
    if found.looks:
        out.print(Text("who looked at the recipient", "bold"))
        print_rows(OutputFormat.TABLE, HISTORY, history_rows(found.looks))


async def _look(ledger: Ledger, recipient: str, customer: str | None) -> _Found:
    cut, whole = await cut_to(ledger, customer), await reads.history(ledger, recipient)
    history = History(
        rows=tuple(row for row in whole.rows if cut.has(row.customer_id)),
        facts=tuple(fact for fact in whole.facts if cut.has(fact.customer_id)),
    )
    known = {brand.brand_code: brand for brand in await brands.every(ledger)}
    found, automatic = await suspensions.every(ledger), await decisions.undecided(ledger)
    suspended = {
        one.key: str(words)
        for one in history.rows
        if (
            words := why_suspended(one, known.get(one.brand_code), found)
            or why_not_sent(one, automatic)
        )
    }
    return _Found(
        history=history,
        suspended=suspended,
        gates={
            code: one.suspension or "the brand is stopped"
            for code, one in known.items()
            if one.suspension or one.status != "active"
        },
        sent=await deliveries.of_keys(ledger, sorted({one.key for one in history.rows})),
        looks=[
            one
            for one in await reads.facts(ledger, StreamSettings().suppressions.people(recipient))
            if cut.has(one.customer_id)
        ],
    )


def heading(key: str) -> str:
    """Return the recipient, channel, recipient type and brand of a key."""
    brand, channel, recipient_type, recipient = key.split("/", 3)
    return f"{recipient} · {channel} · {recipient_type} · brand {brand}"


def why_suspended(
    entry: ConsentRow, brand: Brand | None, suspensions: Iterable[Suspension]
) -> str | None:
    """Return why a key that waits to be sent is suspended, and since when; None: it is not."""
    if entry.state not in WAITING:
        return None
    if brand is not None and brand.status != "active":
        return f"suspended, for its brand is stopped: izin brands show {entry.brand_code}"
    channels, statuses = {EVERY, entry.channel}, {EVERY, entry.desired_status}
    found = [
        suspension
        for suspension in suspensions
        if suspension.brand_code == entry.brand_code
        and suspension.channel in channels
        and suspension.status in statuses
    ]
    if not found:
        return None
    first = min(found, key=lambda one: one.since)
    return f"suspended since {turkish(first.since)}, {first.reason}: izin brands suspensions"


def state_rows(
    entry: ConsentRow, suspended: str | None, gate: str | None = None
) -> list[tuple[str, str]]:
    """Return the state of a key, a row a question; ``suspended`` says why it is not sent now, and
    ``gate`` why nothing may be sent for its brand.
    """
    answer = "yes" if entry.may_send else "no"
    closed = f"no: suspended, {gate}; without that " if gate else ""
    return [
        ("desired", _since(entry.desired_status, entry.desired_at)),
        ("registered at İYS", _since(entry.registered, entry.registered_at)),
        ("state", _state(entry, suspended)),
        ("may we send?", f"{closed}{answer}: {_permission(entry.permission_reason)}"),
    ]


def delivery_rows(sent: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each event that a subscriber took, in their order; a repetition says so."""
    return [
        (
            turkish(one["delivered_at"]),
            one["subscriber"],
            one["type"] if one["resend_id"] is None else f"{one['type']}, again",
            str(one["attempts"]),
            f"{one['topic']}/{one['partition']}/{one['offset']}",
        )
        for one in sent
    ]


def history_rows(facts: Iterable[RecordedFact]) -> list[tuple[str, str, str]]:
    """Return a row a fact, in the order in which we learnt it; causes before effects."""
    ranked = sorted(
        facts, key=lambda fact: (fact.recorded_at, _RANK.get(fact.kind, 99), fact.place)
    )
    return [
        (turkish(one.recorded_at), _TITLES.get(one.kind, one.kind), in_words(one)) for one in ranked
    ]


def in_words(fact: RecordedFact) -> str:  # noqa: PLR0911  # a way out a kind
    """Return what happened in words."""
    match fact.kind:
        case "decision":
            return _decision(fact)
        case "call":
            how = "in a batch" if fact.data["kind"] == "batch" else "alone"
            return f"{_stated(fact.status, fact.data)}; {how}, attempt {fact.data['attempt']}"
        case "answer":
            return _answer(fact.data)
        case "observation":
            return _observation(fact)
        case "outcome":
            state = fact.data["outcome"]
            why = _why(fact.data.get("message"))
            return f"{fact.status}: {_joined(_STATES.get(state, state), why, _coded(fact.data))}"
        case "delivery":
            return "{topic}, partition {partition}, offset {offset}".format(**fact.data)
        case "act":
            return _act(fact.data)
        case "receipt":
            return _receipt(fact.data)
        case "breach":
            return f"{fact.status}: it was due {turkish(fact.data['due_at'])}"
        case _:
            return _joined(*(f"{name} {value}" for name, value in fact.data.items() if value))


def _receipt(data: Mapping[str, Any]) -> str:
    """Return what a sender asked about a recipient, and what the gate answered."""
    campaign = f"campaign {data['campaign']}, " if data["campaign"] else ""
    given = (f"{_words(name)} {data[name]}" for name in ("retailer_code", "basis") if data[name])
    return _joined(
        f"asked for {campaign}{_words(data['message_class'])} by {data['asked_by']}",
        f"answer {'yes' if data['may_send'] else 'no'}: {_permission(data['reason'])}",
        *given,
        f"receipt {data['receipt_id']}",
    )


def _act(data: Mapping[str, Any]) -> str:
    """Return what a person did, and what it changed."""
    before, after = data["before"], data["after"]
    changes = (
        f"{_words(name)}: {_value(before[name])} -> {_value(after.get(name))}"
        if name in before
        else f"{_words(name)}: {_value(after[name])}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )
    return _joined(f"{data['act']} (by {data['by']})", *changes)


def _value(value: object) -> str:
    match value:
        case None | []:
            return "none"
        case list():
            return " ".join(map(str, value))
        case str() if _INSTANT.match(value):
            return turkish(value)
        case _:
            return str(value)


def _decision(fact: RecordedFact) -> str:
    event, violations = fact.data["event"], fact.data.get("violations") or ()
    return _joined(
        f"{_stated(fact.status, event)}, from {event['origin']}",
        _DECISIONS.get(fact.data["reason"], fact.data["reason"]),
        f"follows from event {event['cause']}" if event.get("cause") else None,
        "published to subscribers" if fact.data.get("opted_out") else None,
        *(f"not registrable: {one['reason']} ({one['code']})" for one in violations),
    )


def _answer(data: Mapping[str, Any]) -> str:
    transaction = data.get("transaction_id")
    return _joined(
        _VERDICTS.get(data["verdict"], _words(data["verdict"])),
        _coded(data),
        f"recorded {turkish(data['creation_date'])}" if data.get("creation_date") else None,
        f"transaction {_short(transaction)}" if transaction else None,
    )


def _observation(fact: RecordedFact) -> str:
    data = fact.data
    by = data.get("by")
    whose = {"IYS": "the citizen at İYS", "HS": "a provider"}.get(data.get("stream") or "")
    return _joined(
        _stated(fact.status, data),
        f"recorded {turkish(data['creation_date'])}" if data.get("creation_date") else None,
        "what we had sent" if data.get("ours") else (whose and f"by {whose}"),
        f"received by {by}" if by else None,
    )


def _stated(status: str | None, data: Mapping[str, Any]) -> str:
    """Return the status, source and date of an event."""
    dated = data.get("consent_date")
    stated = f"{status or ''} {data.get('source') or ''}".strip()
    return f"{stated} of {turkish(dated)}" if dated else stated


def _state(entry: ConsentRow, suspended: str | None) -> str:
    due = entry.due_at if entry.state in WAITING else None
    return _joined(
        suspended or _STATES.get(entry.state, entry.state),
        _why(entry.reason),
        _coded({"code": entry.code}),
        f"due {turkish(due)}" if due else None,
    )


def _permission(reason: str | None) -> str:
    return _PERMISSIONS.get(reason or "", reason or "nothing is known")


def _since(status: str | None, at: datetime | None) -> str:
    return f"{status or 'nothing'} of {turkish(at)}" if at else status or "nothing"


def _coded(data: Mapping[str, Any]) -> str | None:
    code: str | None = data.get("code")
    return (
        {
            "H175": "it holds no consent to withdraw (H175)",
            "H486": "it holds no consent to withdraw (H486)",
        }.get(code, code)
        if code
        else None
    )


def _why(word: str | None) -> str | None:
    return None if word == ActionReason.SETTLED else _words(word)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _words(word: str | None) -> str | None:
    return word.replace("-", " ").replace("_", " ") if word else None


def _joined(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)


@receipts_app.command()
def show(
    receipt_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the receipt.", callback=filled)
    ],
    *,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print a receipt: who asked, when, for which message, and how many got which answer.

    The answer for one recipient, where the receipt has them, is shown by izin explain, with the
    basis. Times are Turkish. Exit code 3 if the ledger has no such receipt; a sink worker takes it
    over from Kafka.
    """
    facts = run_on_ledger(lambda ledger: reads.facts(ledger, [receipt_key(receipt_id)]))
    # Recipients without a valid address have their answers beside that of the request.
    asked = next((fact for fact in facts if "recipients" in fact.data), None)
    if asked is None:
        raise SourceError(
            f"the ledger has no receipt {receipt_id}; is the id whole, and does a sink worker run?"
        )
    receipt = {
        "receipt_id": receipt_id,
        "customer": asked.customer_id,
        "asked_at": asked.occurred_at,
        "recorded_at": asked.recorded_at,
        **asked.data,
    }
    rows = [(name.replace("_", " "), _in_words(value)) for name, value in receipt.items()]
    print_rows(output, ("field", "value"), rows, as_json=receipt)


def _in_words(value: Any) -> str:  # noqa: ANN401  # of JSON, or an instant
    match value:
        case None:
            return "-"
        case dict():
            return ", ".join(f"{count:,} {reason}" for reason, count in sorted(value.items()))
        case str() | int():
            return str(value)
        case _:
            return turkish(value)
