"""A recipient's history in words for people: where each key stands, and what happened to it.

Pure: ledger rows go in, rows of words come out. Times are Turkish. Nothing is left out but what
only machines need; that is in the JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from izin.consent.may_send import PermissionReason
from izin.consent.obligation import Why
from izin.console.terminal.output import turkish
from izin.sinks.ledger.suspensions import EVERY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from izin.sinks.ledger.brands import Brand
    from izin.sinks.ledger.reads import Fact
    from izin.sinks.ledger.suspensions import Stop
    from izin.sinks.record.row import Entry

HAPPENED = ("when (Turkey)", "what", "in words")

_STATES = {
    "pending": "to be told to İYS",
    "in_flight": "being told to İYS now",
    "awaiting_result": "told to İYS, whose result is awaited",
    "unknown": "İYS's answer is unknown; it is asked",
    "accepted": "İYS has it",
    "refused": "İYS refused it",
    "retryable": "will be told again",
    "parked": "waits for a person",
    "expired": "too late to be registered; a new consent is needed",
    "superseded": "a newer statement took its place",
    "not_needed": "nothing to tell",
}

_TO_TELL = frozenset({"pending", "retryable"})

_PERMISSIONS: Mapping[str, str] = {
    PermissionReason.REGISTERED_ONAY: "İYS holds the consent",
    PermissionReason.TACIR_WITHOUT_RECORD: "a TACIR who never said no",
    PermissionReason.EXEMPT: "information that needs no consent",
    PermissionReason.DESIRED_RET: "the recipient said no",
    PermissionReason.REGISTERED_RET: "İYS holds a no",
    PermissionReason.NOT_REGISTERED: "İYS holds no consent",
    PermissionReason.NOT_VERIFIED: "İYS has not confirmed it yet",
    PermissionReason.STALE: "not confirmed for too long",
    PermissionReason.NOT_NEWER_THAN_RET: "a later no outweighs it",
}

_DECISIONS = {
    "first": "applies: the first word about this key",
    "newer": "applies: newer than what stood",
    "ret-wins-tie": "applies: of one second, the no wins",
    "older": "changes nothing: older than what stands",
    "better-evidence": "changes only the evidence, which is better",
    "lesser-evidence": "changes nothing: the same, with lesser evidence",
    "same-event": "changes nothing: the same event again",
}

_VERDICTS = {
    "success": "accepted",
    "already": "stands so already",
    "expired": "refused as too late",
    "data": "refused for what it says",
}

_CODES = {
    "H175": "it holds nothing that could be withdrawn (H175)",
    "H486": "it holds nothing that could be withdrawn (H486)",
}

_TITLES = {
    "decision": "event",
    "call": "told İYS",
    "answer": "İYS answered",
    "observation": "İYS stated",
    "outcome": "outcome",
    "delivery": "published",
    "act": "a person",
    "breach": "told late",
}
_RANK = {kind: place for place, kind in enumerate(_TITLES)}
_LONGEST = 16


def heading(key: str) -> str:
    """Return whose key it is, and of which channel and brand."""
    brand, channel, recipient_type, recipient = key.split("/", 3)
    return f"{recipient} · {channel} · {recipient_type} · brand {brand}"


def kept_from(entry: Entry, brand: Brand | None, stops: Iterable[Stop]) -> str | None:
    """Return what keeps a key that is to be told from İYS, and since when; None: nothing does."""
    if entry.state not in _TO_TELL:
        return None
    if brand is not None and brand.status != "active":
        return f"kept from İYS, for its brand is stopped: izin brands show {entry.brand_code}"
    channels, statuses = {EVERY, entry.channel}, {EVERY, entry.desired_status}
    kept = [
        one
        for one in stops
        if one.brand_code == entry.brand_code and one.channel in channels and one.status in statuses
    ]
    if not kept:
        return None
    first = min(kept, key=lambda one: one.since)
    return f"kept from İYS since {turkish(first.since)}, {first.why}: izin brands stops"


def standing(entry: Entry, kept: str | None) -> list[tuple[str, str]]:
    """Return how a key stands, a line a question; ``kept``: what ``kept_from`` found."""
    answer = "yes" if entry.may_send else "no"
    return [
        ("we want", _since(entry.desired_status, entry.desired_at)),
        ("İYS holds", _since(entry.registered, entry.registered_at)),
        ("where it stands", _state(entry, kept)),
        ("may we send?", f"{answer}: {_permission(entry.permission_reason)}"),
    ]


def happened(facts: Iterable[Fact]) -> list[tuple[str, str, str]]:
    """Return a row a movement, in the order in which we learnt it; cause before effect."""
    ranked = sorted(
        facts, key=lambda fact: (fact.recorded_at, _RANK.get(fact.kind, 99), fact.place)
    )
    return [
        (turkish(one.recorded_at), _TITLES.get(one.kind, one.kind), in_words(one)) for one in ranked
    ]


def in_words(fact: Fact) -> str:  # noqa: PLR0911  # a way out a kind
    """Return what happened, as one would tell it."""
    match fact.kind:
        case "decision":
            return _decision(fact)
        case "call":
            told = _stated(fact.status, fact.data)
            how = "in a batch" if fact.data["kind"] == "batch" else "alone"
            return f"{told}; {how}, attempt {fact.data['attempt']}"
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
        case "breach":
            return f"{fact.status}: it was due {turkish(fact.data['due_at'])}"
        case _:
            return _joined(*(f"{name} {value}" for name, value in fact.data.items() if value))


def _decision(fact: Fact) -> str:
    event = fact.data["event"]
    violations = fact.data.get("violations") or ()
    return _joined(
        f"{_stated(fact.status, event)}, said by {event['origin']}",
        _DECISIONS.get(fact.data["reason"], fact.data["reason"]),
        "every subscriber is told" if fact.data.get("opted_out") else None,
        *(f"not registrable: {one['reason']} ({one['code']})" for one in violations),
    )


def _answer(data: Mapping[str, Any]) -> str:
    transaction = data.get("transaction_id")
    return _joined(
        _VERDICTS.get(data["verdict"], _spoken(data["verdict"])),
        _coded(data),
        f"recorded {turkish(data['creation_date'])}" if data.get("creation_date") else None,
        f"transaction {_short(transaction)}" if transaction else None,
    )


def _observation(fact: Fact) -> str:
    data = fact.data
    by = data.get("by")
    whose = {"IYS": "the citizen at İYS", "HS": "a provider"}.get(data.get("stream") or "")
    return _joined(
        _stated(fact.status, data),
        f"recorded {turkish(data['creation_date'])}" if data.get("creation_date") else None,
        "what we had told" if data.get("ours") else (whose and f"by {whose}"),
        f"heard by {by}" if by else None,
    )


def _stated(status: str | None, data: Mapping[str, Any]) -> str:
    """Return status, source and date of a statement."""
    dated = data.get("consent_date")
    said = f"{status or ''} {data.get('source') or ''}".strip()
    return f"{said} of {turkish(dated)}" if dated else said


def _state(entry: Entry, kept: str | None) -> str:
    due = entry.due_at if entry.state in _TO_TELL else None
    return _joined(
        kept or _STATES.get(entry.state, entry.state),
        _why(entry.why),
        _coded({"code": entry.code}),
        f"due {turkish(due)}" if due else None,
    )


def _permission(reason: str | None) -> str:
    return _PERMISSIONS.get(reason or "", reason or "nothing is known")


def _since(status: str | None, at: datetime | None) -> str:
    return f"{status or 'nothing'} of {turkish(at)}" if at else status or "nothing"


def _coded(data: Mapping[str, Any]) -> str | None:
    code: str | None = data.get("code")
    return _CODES.get(code, code) if code else None


def _why(word: str | None) -> str | None:
    return None if word == Why.SETTLED else _spoken(word)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _spoken(word: str | None) -> str | None:
    return word.replace("-", " ").replace("_", " ") if word else None


def _joined(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)
