"""What the API answers: what became of an event, what stands for a recipient, what was closed.

The names are those of the contracts, and instants end with ``Z``. No answer has a recipient in it:
whoever asks has it. The tables of fields are read by the docs.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from starlette.responses import Response

from izin.consent import WAITING, DecisionKind, State, Status
from izin.ledger.confirmations import CONFIRMED_AT, confirmation_source
from izin.ledger.reads import RecordedFact
from izin.ledger.record import ConsentRow
from izin.ledger.via import ConsentRequest
from izin.producers.publishing.publisher import Published
from izin.runtime.http_server.problems import JsonResponse

_OF_KEY = {
    "customer_id": "Whose the brand is today.",
    "brand_code": "The brand at İYS.",
    "type": "The channel.",
    "recipient_type": "BIREYSEL, or TACIR for a merchant.",
}
EVENT_FIELDS: Mapping[str, str] = {
    "event_id": "As it was asked for.",
    **_OF_KEY,
    "status": "ONAY or RET.",
    "source": "As the event says, or null.",
    "consent_date": "As the event says, or null.",
    "received_at": "When the event was received.",
    "origin": "The system that it is from.",
    "origin_ref": "The reference of that system, or null.",
    "decided_at": "When the decision was recorded.",
    "decision": "What the order of events made of it.",
    "state": "What is due to İYS for it, or came of that (docs/lifecycle.md).",
    "reason": "Why it is in this state, or null.",
    "code": "İYS's code of the state, or one of ours (docs/codes.md), or null.",
    "due_at": "When its term at İYS ends; null where nothing is due.",
    "iys": "İYS's last answer to it; null before there is one.",
    CONFIRMED_AT: "When it was confirmed to the person, as reported, or null.",
}
DECISION_FIELDS: Mapping[str, str] = {
    "kind": "Apply, Enriched or Stale.",
    "reason": "Why.",
    "opted_out": "Whether it was published to subscribers as an opt-out.",
    "violations": "Why İYS would not register it as it stands.",
}
SUPERSEDED = "superseded"
"""The state of an event that another one has replaced."""
VIOLATION_FIELDS = ("field", "code", "reason", "reason_tr")
IYS_FIELDS: Mapping[str, str] = {
    "verdict": "What the answer means: success, already, expired, data and others.",
    "code": "İYS's code, or null.",
    "transaction_id": "İYS's id of the record, or null.",
    "creation_date": "When İYS recorded it, or null.",
    "answered_at": "When we had the answer.",
}
CONSENT_FIELDS: Mapping[str, str] = {
    **_OF_KEY,
    "desired": "ONAY or RET, what the events say; null where the key is known from İYS alone.",
    "effective_at": "From when that counts, or null.",
    "consent_date": "As its event says, or null.",
    "source": "As its event says, or null.",
    "origin": "The system that its event is from, or null.",
    "event_id": "Its event, or null.",
    "registered": "What İYS holds: ONAY, RET or a word for what is not known.",
    "registered_at": "Since when İYS holds it, or null.",
    "state": EVENT_FIELDS["state"],
    "reason": EVENT_FIELDS["reason"],
    "code": EVENT_FIELDS["code"],
    "due_at": EVENT_FIELDS["due_at"],
}
CHANGED_FIELDS: Mapping[str, str] = {
    **_OF_KEY,
    "result": "closed: this request has opted the old recipient out; closed-before: one before it "
    "had; newer: the opt-in was given after the change, and stands.",
    "ask_again": "Whether there was a consent that the person must be asked for again.",
    "event_id": "The opt-out that was published; null where none was.",
    "token": "Names where it is in Kafka, or null.",
}


REQUEST_FIELDS: Mapping[str, str] = {
    "request": "Names the request.",
    "state": "waiting, asking: İYS is being called; asked: the person has a code or a link; coded "
    "or confirming: İYS gets the code; consented; refused: nobody was asked; unknown: İYS did "
    "not answer, and nobody is asked again before `until`; over: they did not consent.",
    "result": "İYS's code, or a word, for what went wrong last; or null.",
    "until": "Until when at the latest the person can consent by it.",
}


class ChangeResult(StrEnum):
    """What a changed recipient means for one consent."""

    CLOSED = "closed"
    BEFORE = "closed-before"
    NEWER = "newer"


def answer(content: Mapping[str, Any], status: int = 200) -> Response:
    """Return a response with ``content``, which no cache keeps: it is of a person."""
    return JsonResponse(content, status, {"Cache-Control": "no-store"})


def of_event(
    event_id: str, customer_id: str, row: ConsentRow | None, facts: Sequence[RecordedFact]
) -> Mapping[str, Any] | None:
    """Return what became of an event of a brand of ``customer_id``, by the row of its key and what
    happened to it; None: nothing is decided.
    """
    decided = _last(facts, "decision", event_id)
    if decided is None:
        return None
    event = decided.data["event"]
    of_status = [fact for fact in facts if fact.status == decided.status]
    outcome, result = (_last(of_status, kind, event_id) for kind in ("outcome", "answer"))
    reached: Mapping[str, Any] = {"outcome": _without_outcome(decided)}
    if row is not None and row.is_of(event_id, decided.status):
        reached = {"outcome": row.state, "message": row.reason, "code": row.code}
    elif outcome is not None:
        reached = outcome.data
    is_due = row is not None and reached["outcome"] in WAITING
    return {
        "event_id": event_id,
        "customer_id": customer_id,
        **{name: event[name] for name in ("brand_code", "type", "recipient_type")},
        "status": decided.status,
        "source": event.get("source"),
        "consent_date": _instant(event.get("consent_date")),
        "received_at": _instant(event.get("received_at")),
        "origin": event["origin"],
        "origin_ref": event.get("origin_ref"),
        "decided_at": decided.recorded_at,
        "decision": {name: decided.data[name] for name in DECISION_FIELDS},
        "state": reached["outcome"],
        "reason": reached.get("message"),
        "code": reached.get("code"),
        "due_at": row.due_at if row is not None and is_due else None,
        "iys": None if result is None else _of_iys(result),
        CONFIRMED_AT: confirmed_at(facts, event_id),
    }


def consent_of(facts: Sequence[RecordedFact], event_id: str) -> RecordedFact | None:
    """Return the decision on the consent (ONAY) of an event; None: there is none."""
    decided = _last(facts, "decision", event_id)
    return decided if decided is not None and decided.status == Status.ONAY else None


def confirmed_at(facts: Sequence[RecordedFact], event_id: str) -> datetime | None:
    """Return when the consent of an event was confirmed to the person, as was reported first."""
    for fact in facts:
        if fact.source == confirmation_source(event_id):
            return _instant(fact.data["after"][CONFIRMED_AT])
    return None


def of_consent(customer_id: str, row: ConsentRow) -> Mapping[str, Any]:
    """Return what stands for a key of a brand of ``customer_id``."""
    return {
        **_of_key(customer_id, row),
        "desired": row.desired_status,
        "effective_at": row.desired_at,
        "consent_date": row.desired_consent_date,
        "source": row.desired_source,
        "origin": row.desired_origin,
        "event_id": row.desired_event_id,
        **{name: getattr(row, name) for name in ("registered", "registered_at")},
        **{name: getattr(row, name) for name in ("state", "reason", "code")},
        "due_at": row.due_at if row.state in WAITING else None,
    }


def of_change(
    customer_id: str,
    row: ConsentRow,
    result: ChangeResult,
    published: Published | None,
) -> Mapping[str, Any]:
    """Return what a changed recipient meant for a key of a brand of ``customer_id``; where its
    opt-out is ``published``, None: there is none.
    """
    return {
        **_of_key(customer_id, row),
        "result": result,
        "ask_again": result is not ChangeResult.NEWER,
        "event_id": None if published is None else published.event_id,
        "token": None if published is None else published.token,
    }


def of_request(request: ConsentRequest) -> Mapping[str, Any]:
    """Return how far a request for consent is."""
    return {
        "request": str(request.id),
        **{name: getattr(request, name) for name in ("state", "result", "until")},
    }


def _of_key(customer_id: str, row: ConsentRow) -> Mapping[str, Any]:
    return {
        "customer_id": customer_id,
        "brand_code": row.brand_code,
        "type": row.channel,
        "recipient_type": row.recipient_type,
    }


def _of_iys(fact: RecordedFact) -> Mapping[str, Any]:
    return {
        "verdict": fact.data["verdict"],
        "code": fact.data.get("code"),
        "transaction_id": fact.data.get("transaction_id"),
        "creation_date": _instant(fact.data.get("creation_date")),
        "answered_at": fact.recorded_at,
    }


def _without_outcome(decided: RecordedFact) -> str:
    """Return the state of an event that is not desired, and of which no outcome is recorded."""
    return SUPERSEDED if decided.data["kind"] == DecisionKind.APPLY else State.NOT_NEEDED


def _last(facts: Iterable[RecordedFact], kind: str, event_id: str) -> RecordedFact | None:
    found = [fact for fact in facts if fact.kind == kind and fact.event_id == event_id]
    return found[-1] if found else None


def _instant(text: str | None) -> datetime | None:
    """Return an instant as the history has it in JSON."""
    return None if text is None else datetime.fromisoformat(text)
