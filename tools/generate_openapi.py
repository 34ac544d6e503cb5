"""OpenAPI 3.1 of our HTTP endpoints, from the contracts, the parameters and the problem texts.

Nothing here repeats what the code says: fields are those of the Avro contracts, parameters those
that the endpoint reads, and problems those that it answers with, asked for where they are made.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from izin.consent.violations import Violation
from izin.producers.intake.endpoint import MAX_BODY
from izin.producers.intake.problems import NOT_ACKNOWLEDGED, as_json, refusal
from izin.producers.intake.request_body import FORM_TYPE, JSON_TYPE, MAX_RECORDS, read_records
from izin.producers.mapping.field_names import JSON_NAMES, Field
from izin.runtime.api_keys.authorisation import refusals
from izin.runtime.http_server.limits import HttpLimits
from izin.runtime.http_server.operations import health
from izin.runtime.http_server.problems import MEDIA_TYPE, ProblemText, RequestRefusedError
from izin.runtime.http_server.shedding import FULL, OF_CLIENT, OF_KEY, too_large, too_slow
from izin.runtime.settings import FeedsSettings, IntakeSettings
from izin.schemas.api_keys import Scope
from izin.schemas.records import UNREADABLE
from izin.schemas.topics import Topics
from izin.sinks.feeds.answers import PAGE_FIELDS, FeedRefusal
from izin.sinks.feeds.items import DELETED, POSITION_FIELDS
from izin.sinks.feeds.log import Feed, feeds
from izin.sinks.feeds.parameters import LIMIT, feed_request, parameters_of
from tools.json_schema import Schema, closed, described, of_contract

_SUCCESS = 300
_SHED = (FULL, OF_CLIENT, OF_KEY)
_OF_INTAKE: Mapping[str, str] = {
    Field.PHONE: "The recipient where the type is ARAMA or MESAJ.",
    Field.EMAIL: "The recipient where the type is EPOSTA.",
    Field.CONSENT_DATE: "When the recipient acted: in Turkish time, or ISO 8601 with an offset.",
    "id": "Your own id of this record: the same again is the same event.",
    "dateBasis": "received: the recipient acts right now, so without a date the event counts from "
    "its receipt.",
}
"""What the contract of the event does not say of a record that is posted."""


def documents() -> Mapping[str, str]:
    """Return each document by its path."""
    return {
        "docs/openapi/feeds.json": _text(feeds_document()),
        "docs/openapi/intake.json": _text(intake_document()),
    }


def feeds_document() -> Schema:
    """Return the description of the feeds."""
    served = feeds(Topics())
    schemas = {"Problem": _problem_schema()}
    for one in served:
        schemas[one.topic.record] = _item_schema(one)
    return _document(
        "izin feeds",
        "Opt-outs, permissions and outcomes, to be pulled by systems that have no Kafka client.",
        f"http://127.0.0.1:{FeedsSettings().port}",
        {**{one.path: {"get": _feed_operation(one)} for one in served}, **_health_paths()},
        schemas,
    )


def intake_document() -> Schema:
    """Return the description of the intake."""
    return _document(
        "izin intake",
        "Every record that is answered with 202 is acknowledged by Kafka.",
        f"http://127.0.0.1:{IntakeSettings().port}",
        {"/v1/consents": {"post": _intake_operation()}, **_health_paths()},
        {
            "Problem": _problem_schema(
                violations={"type": "array", "items": _ref("Violation")}, **_published()
            ),
            "Record": _record_schema(),
            "Violation": _violation_schema(),
            "Event": _event_schema(),
        },
    )


def _document(
    title: str, about: str, url: str, paths: Mapping[str, Any], schemas: Mapping[str, Schema]
) -> Schema:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": about, "version": "1"},
        "servers": [{"url": url, "description": "Where it listens unless set otherwise."}],
        "paths": dict(paths),
        "components": {
            "schemas": dict(schemas),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: izin_… (izin keys create).",
                }
            },
        },
    }


def _feed_operation(feed: Feed) -> Schema:
    fields: dict[str, Schema] = {
        "items": {"type": "array", "items": _ref(feed.topic.record)},
        "next": {"type": "string"},
        "complete": {"type": "boolean"},
        "reflects": {"type": "boolean"},
    }
    page = closed(
        {name: described(schema, PAGE_FIELDS[name]) for name, schema in fields.items()}, "reflects"
    )
    named = _raised(lambda: feed_request(QueryParams({LIMIT: "0"}), feed))
    problems = [*refusals(Scope.SUBSCRIBE), *_SHED, *(one.value for one in FeedRefusal), *named]
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
            "200": _response("A page.", "application/json", page),
            **_problems(problems, _ref("Problem")),
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
    record = _ref("Record")
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
            "202": _response("Everything is in Kafka.", "application/json", closed(_published())),
            **_problems(_intake_problems(), _ref("Problem")),
        },
    }


def _published() -> dict[str, Schema]:
    """Return the members of a response that say what was published."""
    where = "Names where they are in Kafka: at_least of the feeds takes it."
    return {
        "events": {"type": "array", "items": _ref("Event")},
        "token": described({"type": "string"}, where),
    }


def _intake_problems() -> Iterable[ProblemText]:
    yield from refusals(Scope.PUBLISH)
    yield from _SHED
    yield too_large(MAX_BODY)
    yield too_slow(HttpLimits())
    yield NOT_ACKNOWLEDGED
    bodies = (
        (JSON_TYPE, b"{"),
        (JSON_TYPE, b"1"),
        (JSON_TYPE, json.dumps([{}] * (MAX_RECORDS + 1)).encode()),
        (FORM_TYPE, b"a"),
        ("text/plain", b""),
    )
    for kind, body in bodies:
        yield from _raised(partial(read_records, kind, body))
    for given in ((1, 0), (0, 1), (0, 0)):
        postponed, forbidden = given
        response = refusal(
            records=2, published=1, postponed=postponed, forbidden=forbidden, members={}
        )
        found = json.loads(bytes(response.body))
        yield ProblemText(found["status"], found["title"], found["detail"])


def _record_schema() -> Schema:
    """Return the schema of a record: its fields by their JSON names, which have others too."""
    known = of_contract("ConsentEvent")
    text: Schema = {"type": ["string", "integer", "null"]}
    lists: Schema = {"type": ["array", "string", "null"], "items": {"type": ["string", "integer"]}}
    properties = {
        JSON_NAMES[field]: described(
            lists if field is Field.RETAILER_ACCESS else text,
            _OF_INTAKE.get(field) or known[field].get("description", ""),
        )
        for field in Field
    }
    properties |= {name: described(text, _OF_INTAKE[name]) for name in ("id", "dateBasis")}
    properties["evidence"] = described(
        {"type": ["object", "null"]}, known["evidence"]["description"]
    )
    return {
        "type": "object",
        "description": "Names are read without case, spaces and diacritics, and have others: see "
        "docs/intake.md. An unknown name is refused.",
        "properties": properties,
    }


def _violation_schema() -> Schema:
    sample = Violation(field="", code="", reason="", reason_tr="")
    (named,) = as_json([sample], "", {})
    known = of_contract("Violation")
    return closed({name: known.get(name, {"type": "string"}) for name in named})


def _event_schema() -> Schema:
    return closed(
        {
            "index": described({"type": "integer"}, "Its place in the list that was posted."),
            "event_id": {"type": "string"},
            "status": {"type": "string"},
            "violations": {"type": "array", "items": _ref("Violation")},
        }
    )


def _problem_schema(**members: Schema) -> Schema:
    """Return the schema of a problem document (RFC 9457), which may have these ``members``."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": described({"type": "string"}, "What is wrong, and what to do."),
            **members,
        },
        "additionalProperties": False,
    }


def _health_paths() -> Schema:
    """Return the paths of health, each with the statuses that it has."""

    async def answer(faults: Mapping[str, str]) -> list[tuple[str, int]]:
        found = []
        for route in health(lambda: faults, with_reasons=False):
            response: Response = await route.endpoint(Request({"type": "http"}))
            found.append((route.path, response.status_code))
        return found

    statuses: defaultdict[str, set[int]] = defaultdict(set)
    for faults in ({}, {"kafka": "away"}):
        for path, status in asyncio.run(answer(faults)):
            statuses[path].add(status)
    schema = closed({"status": {"type": "string"}})
    return {
        path: {
            "get": {
                "operationId": path.strip("/").replace("/", "-"),
                "summary": "Whether the process can serve; asks for no key.",
                "security": [],
                "responses": {
                    str(status): _response(
                        "Yes." if status < _SUCCESS else "Not now.", "application/json", schema
                    )
                    for status in sorted(found)
                },
            }
        }
        for path, found in statuses.items()
    }


def _problems(texts: Iterable[ProblemText], schema: Schema) -> dict[str, Schema]:
    """Return the responses of problems by status; each names what it may say."""
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for status, title, detail in texts:
        line = f"{title}: {detail}."
        if line not in by_status[status]:
            by_status[status].append(line)
    return {
        str(status): _response("\n\n".join(lines), MEDIA_TYPE, schema)
        for status, lines in sorted(by_status.items())
    }


def _response(about: str, media_type: str, schema: Schema) -> Schema:
    return {"description": about, "content": {media_type: {"schema": schema}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _raised(call: Callable[[], object]) -> tuple[ProblemText, ...]:
    """Return what ``call`` refuses."""
    try:
        call()
    except RequestRefusedError as error:
        return (error.text,)
    raise AssertionError("it was to be refused")


def _text(document: Schema) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
