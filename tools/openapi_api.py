"""OpenAPI 3.1 of the API."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from starlette.datastructures import QueryParams

from izin.api.answers import (
    CHANGED_FIELDS,
    CONSENT_FIELDS,
    DECISION_FIELDS,
    EVENT_FIELDS,
    IYS_FIELDS,
    SUPERSEDED,
    VIOLATION_FIELDS,
    ChangeResult,
)
from izin.api.bodies import (
    CHANGE as CHANGE_BODY,
    LOOKUP as LOOKUP_BODY,
    MAX_BODY,
    TOKEN,
    position_in,
    read_change,
    read_lookup,
)
from izin.api.endpoint import CHANGE_PATH, EVENT_PATH, LOOKUP_PATH, ApiRefusal
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
from izin.runtime.http_server.json_body import BodyField
from izin.runtime.http_server.problems import JSON_TYPE, ProblemText
from izin.runtime.http_server.shedding import HttpLimits, too_large, too_slow
from izin.runtime.settings import ApiSettings
from izin.schemas.api_keys import Scope
from tools.json_schema import Schema, closed, described
from tools.openapi_parts import (
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
    **dict.fromkeys(("registered_at", "due_at"), _INSTANT_OR_NULL),
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
            CHANGE_PATH: {
                "post": _operation(
                    "change",
                    "Close the consents of a recipient that is the person's no longer.",
                    "Changed",
                    Scope.PUBLISH,
                    CHANGE_BODY,
                )
            },
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
            "Lookup": _body(LOOKUP_BODY),
            "Change": _body(CHANGE_BODY),
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


def _operation(
    name: str, about: str, item: str, scope: Scope, fields: Sequence[BodyField]
) -> Schema:
    """Return an operation whose answer is a list of consents, each an ``item``."""
    answer = closed({"consents": {"type": "array", "items": reference(item)}})
    is_change = fields is CHANGE_BODY
    return {
        "operationId": name,
        "summary": about,
        "security": [{"key": []}],
        "requestBody": {
            "required": True,
            "content": {JSON_TYPE: {"schema": reference(name.capitalize())}},
        },
        "responses": {
            "202" if is_change else "200": response(about, JSON_TYPE, answer),
            **problem_responses(_problems(scope, is_change=is_change), reference("Problem")),
        },
    }


_OF_BODIES = (ApiRefusal.OUTSIDE.value, ApiRefusal.NOT_ACKNOWLEDGED.value)


def _text(refusal: ApiRefusal) -> ProblemText:
    return ProblemText(*refusal.value)


def _problems(scope: Scope, *, is_change: bool) -> Iterable[ProblemText]:
    yield from refusals(scope)
    yield from SHED
    yield too_large(MAX_BODY)
    yield too_slow(HttpLimits())
    yield _text(ApiRefusal.LEDGER)
    yield _text(ApiRefusal.OUTSIDE)
    if is_change:
        yield _text(ApiRefusal.NOT_ACKNOWLEDGED)
    read: Callable[[str, bytes], object] = read_change if is_change else read_lookup
    asked = {"recipient": "a@example.com", "new_recipient": "b@example.com"}
    given = asked if is_change else {"recipient": asked["recipient"]}
    wrong: tuple[dict[str, object], ...] = ({"recipient": 1}, {"brand_code": 0}, {"more": 1})
    yield from refusals_of(partial(read, "text/plain", b""))
    for body in (b"{", b"1", *(json.dumps({**given, **one}).encode() for one in wrong)):
        yield from refusals_of(partial(read, JSON_TYPE, body))
