"""OpenAPI 3.1 of our HTTP endpoints, from the contracts, the parameters and the problem texts.

Nothing here repeats what the code says: fields are those of the Avro contracts, parameters those
that the endpoint reads, and problems those that it answers with, asked for where they are made.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

from starlette.datastructures import QueryParams

from izin.consent import Violation
from izin.feeds.protocol import (
    LIMIT,
    PAGE_FIELDS,
    Feed,
    FeedRefusal,
    feed_request,
    feeds,
    parameters_of,
)
from izin.feeds.sources import DELETED, POSITION_FIELDS
from izin.kafka.tables.api_keys import refusals
from izin.ledger.webhooks.registry import WebhookType
from izin.producers.intake.forms import NO_LINKS, UNREADABLE_FORM
from izin.producers.intake.links import CONFIRM_ROUTE, OPT_OUT_ROUTE
from izin.producers.intake.request_body import (
    BASES,
    DATE_BASIS,
    EVIDENCE,
    FORM_TYPE,
    ID,
    MAX_RECORDS,
    NAMES,
    read_records,
)
from izin.producers.intake.server import MAX_BODY, NOT_ACKNOWLEDGED, OTHER_BODY, as_json, refusal
from izin.producers.intake.sources import POSTPONED, TOO_MANY
from izin.producers.intake.validation import ForbiddenRecord, PostponedRecord
from izin.producers.mapping.field_names import RECIPIENTS, Field
from izin.producers.mapping.records import RefusedRecord
from izin.producers.sources.folder import UNKNOWN_SOURCE, UNUSABLE_SOURCE
from izin.producers.sources.payloads import MULTIPART
from izin.producers.sources.senders import PROOFS
from izin.runtime.http_server.problems import JSON_TYPE, ProblemText
from izin.runtime.http_server.shedding import HttpLimits, too_large, too_slow
from izin.runtime.settings import FeedsSettings, IntakeSettings
from izin.schemas.api_keys import Scope
from izin.schemas.records import UNREADABLE
from izin.schemas.topics import Topics
from izin.schemas.words import WORDS
from izin.webhooks.events import ERASED, POSTED
from tools.json_schema import Schema, closed, described, of_contract
from tools.openapi.api import api_document
from tools.openapi.gate import gate_document
from tools.openapi.parts import (
    ABOUT,
    SHED,
    document,
    health_paths,
    problem_responses,
    problem_schema,
    reference,
    refusals_of,
    response,
)

_OF_INTAKE: Mapping[str, str] = {
    Field.PHONE: "The recipient where the type is ARAMA or MESAJ.",
    Field.EMAIL: "The recipient where the type is EPOSTA.",
    Field.CONSENT_DATE: "When the recipient acted: in Turkish time, or ISO 8601 with an offset.",
    ID: "Your own id of this record: the same again is the same event.",
    DATE_BASIS: "received: the recipient acts right now, so without a date the event counts from "
    "its receipt.",
}
"""What the contract of the event does not say of a record that is posted."""


def documents() -> Mapping[str, str]:
    """Return each document by its path."""
    return {
        "docs/openapi/api.json": _text(api_document()),
        "docs/openapi/feeds.json": _text(feeds_document()),
        "docs/openapi/gate.json": _text(gate_document()),
        "docs/openapi/intake.json": _text(intake_document()),
        "docs/openapi/webhooks.json": _text(webhooks_document()),
    }


def feeds_document() -> Schema:
    """Return the description of the feeds."""
    served = feeds(Topics())
    schemas = {"Problem": problem_schema()}
    for one in served:
        schemas[one.topic.record] = _item_schema(one)
    return document(
        "izin feeds",
        "Opt-outs, permissions and outcomes, to be pulled by systems that have no Kafka client.",
        f"http://127.0.0.1:{FeedsSettings().port}",
        {**{one.path: {"get": _feed_operation(one)} for one in served}, **health_paths()},
        schemas,
    )


def intake_document() -> Schema:
    """Return the description of the intake."""
    return document(
        "izin intake",
        "Every record that is answered with 202 is acknowledged by Kafka.",
        f"http://127.0.0.1:{IntakeSettings().port}",
        {
            "/v1/consents": {"post": _intake_operation()},
            "/v1/sources/{source}": {"post": _source_operation()},
            "/v1/forms/{form}": {"post": _form_operation()},
            OPT_OUT_ROUTE: _link_operations("opt-out", "Opt out by a link (RFC 8058)."),
            CONFIRM_ROUTE: _link_operations("confirm", "Confirm what was entered into a form."),
            **health_paths(),
        },
        {
            "Problem": problem_schema(
                violations={"type": "array", "items": reference("Violation")},
                dead_letters={"type": "integer"},
                **_published(),
            ),
            "Record": _record_schema(),
            "Violation": _violation_schema(),
            "Event": _event_schema(),
            "FormEvent": _form_event_schema(),
        },
    )


def webhooks_document() -> Schema:
    """Return the description of what is posted to subscribers."""
    event: Schema = {"oneOf": [reference(_name(one)) for one in POSTED]}
    operation: Schema = {
        "operationId": "event",
        "summary": "One event, signed by Standard Webhooks.",
        "requestBody": {"required": True, "content": {JSON_TYPE: {"schema": event}}},
        "responses": {"2XX": {"description": "It is stored, and not posted again."}},
    }
    return {
        **ABOUT,
        "info": {
            "title": "izin webhooks",
            "description": "What is posted to a subscriber.",
            "version": "1",
        },
        "webhooks": {"event": {"post": operation}},
        "components": {"schemas": {_name(one): _posted(one) for one in POSTED}},
    }


def _name(type_: WebhookType) -> str:
    return "".join(part.capitalize() for part in re.split(r"\W", type_))


def _posted(type_: WebhookType) -> Schema:
    """Return the schema of an event of ``type_``, of a record or of its key alone."""
    record, names = POSTED[type_]
    known = of_contract(record)
    place: dict[str, Schema] = {
        "topic": {"type": ["string", "null"]},
        "partition": {"type": ["integer", "null"]},
        "offset": {"type": ["integer", "null"]},
    }
    key = {
        name: known[name]
        for name in ("customer_id", "brand_code", "type", "recipient_type", "recipient")
    }
    closing: dict[str, Schema] = {
        "may_send": {"const": False},
        "reason": {"enum": [ERASED, UNREADABLE]},
    }
    of_key = {**(closing if type_ is WebhookType.REVOKED else {}), UNREADABLE: {"const": True}}
    kinds = [
        closed({**key, **{name: known[name] for name in names}, **place}),
        closed(
            {**key, "type": {"type": "string"}, **of_key, **place},
            UNREADABLE,
            about="Of a record of which only the key is known.",
        ),
    ]
    return closed(
        {
            "type": {"const": str(type_)},
            "timestamp": described(
                {"type": "string", "format": "date-time"}, "When the record was appended."
            ),
            "data": {"oneOf": kinds},
        }
    )


def _feed_operation(feed: Feed) -> Schema:
    fields: dict[str, Schema] = {
        "items": {"type": "array", "items": reference(feed.topic.record)},
        "next": {"type": "string"},
        "complete": {"type": "boolean"},
    }
    page = closed({name: described(schema, PAGE_FIELDS[name]) for name, schema in fields.items()})
    named = [
        *refusals_of(lambda: feed_request(QueryParams({LIMIT: "0"}), feed)),
        *refusals_of(lambda: feed_request(QueryParams({"x": ""}), feed)),
    ]
    problems = [*refusals(Scope.SUBSCRIBE), *SHED, *(one.value for one in FeedRefusal), *named]
    return {
        "operationId": feed.name,
        "summary": f"A page of {feed.name}.",
        "security": [{"key": []}],
        "parameters": [
            {
                "name": one.name,
                "in": "query",
                "description": one.description,
                "schema": dict(one.schema),
            }
            for one in parameters_of(feed)
        ],
        "responses": {
            "200": response("A page.", "application/json", page),
            **problem_responses(problems, reference("Problem")),
        },
    }


def _item_schema(feed: Feed) -> Schema:
    """Return the schema of an item: a record, a deletion, or what this release cannot read."""
    numbers = {"partition", "offset"}
    place = {
        name: described({"type": "integer" if name in numbers else "string"}, text)
        for name, text in POSITION_FIELDS.items()
    }
    always: Schema = {"const": True}
    kinds = [closed({**place, **of_contract(feed.topic.record)})]
    if feed.is_compacted:
        kinds.append(closed({**place, DELETED: always}, about="The key was erased."))
    kinds.append(closed({**place, UNREADABLE: always}, about="This release cannot read it."))
    return {"oneOf": kinds}


def _intake_operation() -> Schema:
    record = reference("Record")
    many: Schema = {
        "oneOf": [
            record,
            {"type": "array", "items": record, "minItems": 1, "maxItems": MAX_RECORDS},
        ]
    }
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same again, with the same records: they count once.",
        "schema": {"type": "string"},
    }
    return {
        "operationId": "post-consents",
        "summary": "Post one record, or a list.",
        "security": [{"key": []}],
        "parameters": [key],
        "requestBody": {
            "required": True,
            "content": {JSON_TYPE: {"schema": many}, FORM_TYPE: {"schema": record}},
        },
        "responses": {
            "202": response(
                "Everything is in Kafka.", "application/json", closed(_published(), "token", "test")
            ),
            **problem_responses(_intake_problems(), reference("Problem")),
        },
    }


def _source_operation() -> Schema:
    problems = [
        *(UNKNOWN_SOURCE, UNUSABLE_SOURCE, TOO_MANY, POSTPONED, NOT_ACKNOWLEDGED),
        *(*PROOFS, *SHED, too_large(MAX_BODY), too_slow(HttpLimits())),
    ]
    taken = {
        "events": {"type": "array", "items": reference("Event")},
        "dead_letters": described({"type": "integer"}, "How many parts of it were none."),
        "token": _published()["token"],
    }
    return {
        "operationId": "post-delivery",
        "summary": "Deliver the webhook of another system, read by its mapping.",
        "parameters": [_in_path("source")],
        "requestBody": {
            "required": True,
            "content": {JSON_TYPE: {"schema": {}}, FORM_TYPE: {"schema": {"type": "object"}}},
        },
        "responses": {
            "202": response("Everything is in Kafka.", "application/json", closed(taken)),
            **problem_responses(problems, reference("Problem")),
        },
    }


def _form_operation() -> Schema:
    problems = [
        *(UNKNOWN_SOURCE, UNUSABLE_SOURCE, UNREADABLE_FORM, NO_LINKS, NOT_ACKNOWLEDGED),
        *(*PROOFS, *SHED, too_large(MAX_BODY), too_slow(HttpLimits())),
        *(refusal(2, 1, Counter[type]([kind])) for kind in (PostponedRecord, RefusedRecord)),
    ]
    link = "Where the person confirms it, with double opt-in: send it to them."
    taken = closed({"events": {"type": "array", "items": reference("FormEvent")}})
    taken["properties"] |= {
        "token": _published()["token"],
        "confirm": described({"type": "string", "format": "uri"}, link),
    }
    forms = {kind: {"schema": {"type": "object"}} for kind in (JSON_TYPE, FORM_TYPE, MULTIPART)}
    return {
        "operationId": "post-form",
        "summary": "Post what a person has filled in, read by the mapping of the form.",
        "parameters": [_in_path("form")],
        "requestBody": {"required": True, "content": forms},
        "responses": {
            "202": response("It is in Kafka, or waits for its confirmation.", JSON_TYPE, taken),
            **problem_responses(problems, reference("Problem")),
        },
    }


def _link_operations(name: str, summary: str) -> dict[str, Schema]:
    page: Schema = {"type": "string"}
    answers = {
        "200": response("It is asked, or done.", "text/html", page),
        "404": response("The link is of no use.", "text/html", page),
        "503": response("It cannot be done now.", "text/html", page),
    }
    return {
        method: {
            "operationId": f"{method}-{name}",
            "summary": f"{summary} {about}",
            "parameters": [_in_path("link")],
            "responses": answers,
        }
        for method, about in (("get", "Shows what it does."), ("post", "Does it."))
    }


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _published() -> dict[str, Schema]:
    """Return the members of a response that say what was published."""
    where = "Names where they are in Kafka: at_least of the gate takes it."
    return {
        "events": {"type": "array", "items": reference("Event")},
        "token": described({"type": "string"}, where),
        "test": described({"const": True}, "The key is one for tests: nothing was published."),
    }


def _intake_problems() -> Iterable[ProblemText]:
    yield from refusals(Scope.PUBLISH)
    yield from SHED
    yield too_large(MAX_BODY)
    yield too_slow(HttpLimits())
    yield NOT_ACKNOWLEDGED
    yield OTHER_BODY
    bodies = (
        (JSON_TYPE, b"{"),
        (JSON_TYPE, b"1"),
        (JSON_TYPE, json.dumps([{}] * (MAX_RECORDS + 1)).encode()),
        (FORM_TYPE, b"a"),
        ("text/plain", b""),
    )
    for kind, body in bodies:
        yield from refusals_of(partial(read_records, kind, body))
    for kind_of in (PostponedRecord, ForbiddenRecord, RefusedRecord):
        yield refusal(2, 1, Counter[type]([kind_of]))


def _record_schema() -> Schema:
    """Return the schema of a record, with the names of the contract."""
    known = of_contract("ConsentEvent")
    text: Schema = {"type": ["string", "integer", "null"]}
    lists: Schema = {"type": ["array", "string", "null"], "items": {"type": ["string", "integer"]}}
    schemas: dict[str, Schema] = {
        **{field: {"enum": list(map(str, words))} for field, words in WORDS.items()},
        Field.RETAILER_ACCESS: lists,
        EVIDENCE: {"type": ["object", "null"]},
        DATE_BASIS: {"enum": [*map(str, BASES), None]},
    }
    properties = {
        name: described(
            schemas.get(name, text), _OF_INTAKE.get(name) or known[name].get("description", "")
        )
        for name in NAMES
    }
    return {
        "type": "object",
        "description": "Words have other spellings, which docs/words.md lists.",
        "required": [Field.TYPE, Field.STATUS, Field.BRAND_CODE],
        "anyOf": [{"required": [one]} for one in sorted(RECIPIENTS)],
        "properties": properties,
        "additionalProperties": False,
    }


def _violation_schema() -> Schema:
    sample = Violation(field="", code="", reason="", reason_tr="")
    (named,) = as_json([sample], "", Field.RECIPIENT)
    known = of_contract("Violation")
    return closed({name: known.get(name, {"type": "string"}) for name in named})


def _form_event_schema() -> Schema:
    schema = _event_schema()
    link = "By which the person takes a consent back: they are to be informed the same day."
    schema["properties"]["opt_out"] = described({"type": "string", "format": "uri"}, link)
    return schema


def _event_schema() -> Schema:
    return closed(
        {
            "index": described({"type": "integer"}, "Its place in the list that was posted."),
            "event_id": {"type": "string"},
            "status": {"type": "string"},
            "violations": {"type": "array", "items": reference("Violation")},
            "token": described(
                {"type": "string"},
                "Names where it is in Kafka: GET /v1/events of izin api takes it.",
            ),
        },
        "token",
    )


def _text(document: Schema) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
