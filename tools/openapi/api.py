"""OpenAPI 3.1 of the API."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from starlette.datastructures import QueryParams

from izin.api.answers import (
    CHANGED_FIELDS,
    CONSENT_FIELDS,
    DECISION_FIELDS,
    EVENT_FIELDS,
    IYS_FIELDS,
    REQUEST_FIELDS,
    SUPERSEDED,
    VIOLATION_FIELDS,
    ChangeResult,
)
from izin.api.bodies import (
    CHANGE as CHANGE_BODY,
    CONFIRMATION as CONFIRMATION_BODY,
    LOOKUP as LOOKUP_BODY,
    MAX_BODY,
    TOKEN,
    VIA as VIA_BODY,
    VIA_CODE as VIA_CODE_BODY,
    position_in,
    read_change,
    read_code,
    read_confirmation,
    read_lookup,
    read_via,
)
from izin.api.endpoint import (
    CHANGE_PATH,
    CONFIRMATION_PATH,
    EVENT_PATH,
    LOOKUP_PATH,
    VIA_CODE_PATH,
    VIA_PATH,
    VIA_REQUEST_PATH,
    ApiRefusal,
)
from izin.consent import (
    Channel,
    DecisionKind,
    Reason,
    RecipientType,
    Registered,
    State,
    Status,
)
from izin.kafka.tables.api_keys import refusals
from izin.ledger.confirmations import CONFIRMED_AT
from izin.ledger.via import ViaState
from izin.runtime.http_server.json_body import BodyField
from izin.runtime.http_server.problems import JSON_TYPE, ProblemText
from izin.runtime.http_server.shedding import HttpLimits, too_large, too_slow
from izin.runtime.settings import ApiSettings
from izin.schemas.api_keys import Scope
from tools.json_schema import Schema, closed, described
from tools.openapi.parts import (
    SHED,
    document,
    health_paths,
    problem_responses,
    problem_schema,
    reference,
    refusals_of,
    response,
)

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_INSTANT: Schema = {"type": "string", "format": "date-time"}
_INSTANT_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
_STATUS_OR_NULL: Schema = {"enum": [*map(str, Status), None]}
_TYPES: Mapping[str, Schema] = {
    "customer_id": _TEXT,
    "brand_code": {"type": "integer"},
    "type": {"enum": list(map(str, Channel))},
    "recipient_type": {"enum": list(map(str, RecipientType))},
    "status": {"enum": list(map(str, Status))},
    "received_at": _INSTANT_OR_NULL,
    "origin_ref": _TEXT_OR_NULL,
    "decided_at": _INSTANT,
    "decision": reference("Decision"),
    "kind": {"enum": [str(kind) for kind in DecisionKind if kind is not DecisionKind.DUPLICATE]},
    "opted_out": {"type": "boolean"},
    "violations": {"type": "array", "items": reference("Violation")},
    "state": {"enum": [*map(str, State), SUPERSEDED]},
    "iys": {"oneOf": [reference("IysAnswer"), {"type": "null"}]},
    "verdict": _TEXT,
    "answered_at": _INSTANT,
    "desired": _STATUS_OR_NULL,
    "registered": {"enum": list(map(str, Registered))},
    "result": {"enum": list(map(str, ChangeResult))},
    "ask_again": {"type": "boolean"},
    **dict.fromkeys(("field", "reason_tr"), _TEXT),
    **dict.fromkeys(("source", "code", "reason", "origin", "transaction_id"), _TEXT_OR_NULL),
    **dict.fromkeys(("consent_date", "creation_date", "effective_at"), _INSTANT_OR_NULL),
    **dict.fromkeys(("registered_at", "due_at", CONFIRMED_AT), _INSTANT_OR_NULL),
    **dict.fromkeys(("event_id", "token"), _TEXT_OR_NULL),
}
"""Of the fields of answers, by name; ``null`` only where a field says so."""


def api_document() -> Schema:
    """Return the description of the API."""
    reason: Schema = {"enum": list(map(str, Reason))}
    return document(
        "izin api",
        "What became of an event, what stands for a recipient, and who has changed.",
        f"http://127.0.0.1:{ApiSettings().port}",
        {
            EVENT_PATH: {"get": _event()},
            LOOKUP_PATH: {
                "post": _operation(
                    "lookup", "What stands for a recipient.", "Consent", Scope.ASK, LOOKUP_BODY
                )
            },
            CONFIRMATION_PATH: {"post": _confirmation()},
            CHANGE_PATH: {
                "post": _operation(
                    "change",
                    "Close the consents of a recipient that is the person's no longer.",
                    "Changed",
                    Scope.PUBLISH,
                    CHANGE_BODY,
                )
            },
            VIA_PATH: {"post": _ask()},
            VIA_CODE_PATH: {"post": _code()},
            VIA_REQUEST_PATH: {"get": _asked()},
            **health_paths(),
        },
        {
            "Problem": problem_schema(),
            "Event": _object(EVENT_FIELDS, event_id=_TEXT, origin=_TEXT),
            "Decision": _object(DECISION_FIELDS, reason=reason),
            "Violation": _object(dict.fromkeys(VIOLATION_FIELDS, ""), code=_TEXT, reason=_TEXT),
            "IysAnswer": _object(IYS_FIELDS),
            "Consent": _object(CONSENT_FIELDS),
            "Changed": _object(CHANGED_FIELDS),
            "Confirmation": _body(CONFIRMATION_BODY),
            "Confirmed": _object({"event_id": "As given.", CONFIRMED_AT: "As reported first."}),
            "Lookup": _body(LOOKUP_BODY),
            "Change": _body(CHANGE_BODY),
            "Ask": _body(VIA_BODY),
            "Code": _body(VIA_CODE_BODY),
            "Request": _object(
                REQUEST_FIELDS,
                request={"type": "string", "format": "uuid"},
                state={"enum": list(map(str, ViaState))},
                result=_TEXT_OR_NULL,
                until=_INSTANT,
            ),
        },
    )


def _object(fields: Mapping[str, str], **other: Schema) -> Schema:
    schemas = {**_TYPES, **other}
    return closed({name: described(schemas[name], text) for name, text in fields.items()})


def _body(fields: Sequence[BodyField]) -> Schema:
    return closed(
        {field.name: described(dict(field.schema), field.description) for field in fields},
        *(field.name for field in fields if not field.is_required),
    )


def _event() -> Schema:
    parameters = (
        ("event_id", "path", "As the intake returned it."),
        (TOKEN, "query", "Its own token, as the intake returned it beside the id."),
    )
    problems = [
        *refusals(Scope.PUBLISH),
        *SHED,
        *(one for one in map(_text, ApiRefusal) if one not in _OF_BODIES),
        *refusals_of(partial(position_in, QueryParams(), {})),
    ]
    return {
        "operationId": "event",
        "summary": "What became of an event.",
        "security": [{"key": []}],
        "parameters": [
            {"name": name, "in": where, "required": True, "description": text, "schema": _TEXT}
            for name, where, text in parameters
        ],
        "responses": {
            "200": response("What became of it.", JSON_TYPE, reference("Event")),
            **problem_responses(problems, reference("Problem")),
        },
    }


def _confirmation() -> Schema:
    about = "Report that a consent was confirmed to the person."
    read = partial(read_confirmation, now=datetime.now(UTC))
    given = {"event_id": "a", "confirmed_at": "2026-03-02 12:00:00"}
    wrong = ({"event_id": ""}, {"confirmed_at": ""}, {"confirmed_at": "9999-01-01 00:00"})
    problems = [
        *_problems(Scope.PUBLISH, read, given, wrong),
        _text(ApiRefusal.NO_CONSENT),
    ]
    return _posted("confirmation", about, "200", reference("Confirmed"), problems)


_REQUEST: Schema = {
    "name": "request",
    "in": "path",
    "required": True,
    "description": "As the API returned it.",
    "schema": _TEXT,
}


def _ask() -> Schema:
    given = {
        "brand_code": 1,
        "types": ["EPOSTA"],
        "way": "EPOSTA_OTP",
        "form_id": "1",
        "occasion": "form",
    }
    names = (*("brand_code", "types", "way", "form_id", "occasion"), "recipient_type")
    wrong = ({name: 0} for name in names)
    more = ({"types": None}, {"form_id": None}, {"way": "SMS_OTP"})
    problems = [
        *_problems(Scope.PUBLISH, read_via, given, (*wrong, *more)),
        *map(_text, (ApiRefusal.OPTED_OUT, ApiRefusal.ASKED_ALREADY, ApiRefusal.ASKED_TOO_OFTEN)),
    ]
    about = "Have İYS ask a person for consent (ViA)."
    return _posted("ask", about, "202", reference("Request"), problems)


def _code() -> Schema:
    about = "Give İYS the code that the person has."
    problems = [
        *(
            one
            for one in _problems(Scope.PUBLISH, read_code, {"code": "1234"}, ({"code": "x"},))
            if one != _text(ApiRefusal.OUTSIDE)
        ),
        *map(_text, (ApiRefusal.NO_REQUEST, ApiRefusal.NO_CODE_AWAITED)),
    ]
    operation = _posted("code", about, "200", reference("Request"), problems)
    return {**operation, "parameters": [_REQUEST]}


def _asked() -> Schema:
    problems = [
        *refusals(Scope.PUBLISH),
        *SHED,
        *map(_text, (ApiRefusal.LEDGER, ApiRefusal.NO_REQUEST)),
    ]
    about = "How far a request for consent is."
    return {
        "operationId": "asked",
        "summary": about,
        "security": [{"key": []}],
        "parameters": [_REQUEST],
        "responses": {
            "200": response(about, JSON_TYPE, reference("Request")),
            **problem_responses(problems, reference("Problem")),
        },
    }


def _operation(
    name: str, about: str, item: str, scope: Scope, fields: Sequence[BodyField]
) -> Schema:
    """Return an operation whose answer is a list of consents, each an ``item``."""
    answer = closed({"consents": {"type": "array", "items": reference(item)}})
    wrong: tuple[Schema, ...] = ({"brand_code": 0},)
    if fields is not CHANGE_BODY:
        return _posted(name, about, "200", answer, _problems(scope, read_lookup, {}, wrong))
    given = {"new_recipient": "b@example.com"}
    problems = [*_problems(scope, read_change, given, wrong), _text(ApiRefusal.NOT_ACKNOWLEDGED)]
    return _posted(name, about, "202", answer, problems)


def _posted(
    name: str, about: str, status: str, answer: Schema, problems: Iterable[ProblemText]
) -> Schema:
    return {
        "operationId": name,
        "summary": about,
        "security": [{"key": []}],
        "requestBody": {
            "required": True,
            "content": {JSON_TYPE: {"schema": reference(name.capitalize())}},
        },
        "responses": {
            status: response(about, JSON_TYPE, answer),
            **problem_responses(problems, reference("Problem")),
        },
    }


_OF_BODIES = (
    ApiRefusal.NO_CONSENT.value,
    ApiRefusal.OUTSIDE.value,
    ApiRefusal.NOT_ACKNOWLEDGED.value,
    ApiRefusal.OPTED_OUT.value,
    ApiRefusal.ASKED_ALREADY.value,
    ApiRefusal.ASKED_TOO_OFTEN.value,
    ApiRefusal.NO_REQUEST.value,
    ApiRefusal.NO_CODE_AWAITED.value,
)


def _text(refusal: ApiRefusal) -> ProblemText:
    return ProblemText(*refusal.value)


_WRONG: tuple[Schema, ...] = ({"recipient": 1}, {"more": 1})


def _problems(
    scope: Scope, read: Callable[[str, bytes], object], given: Schema, wrong: Iterable[Schema]
) -> Iterable[ProblemText]:
    """Yield why a request is refused whose body ``read`` reads: the body that is ``given`` beside a
    recipient can be used, and with any of what is ``wrong`` it cannot.
    """
    yield from refusals(scope)
    yield from SHED
    yield too_large(MAX_BODY)
    yield too_slow(HttpLimits())
    yield _text(ApiRefusal.LEDGER)
    yield _text(ApiRefusal.OUTSIDE)
    yield from refusals_of(partial(read, "text/plain", b""))
    bodies = ({"recipient": "a@example.com", **given, **one} for one in _WRONG + tuple(wrong))
    for body in (b"{", b"1", *(json.dumps(one).encode() for one in bodies)):
        yield from refusals_of(partial(read, JSON_TYPE, body))
