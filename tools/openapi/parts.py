"""The parts that the OpenAPI documents share: document, problems, health."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from izin.runtime.http_server.problems import MEDIA_TYPE, ProblemText, RequestRefusedError, health
from izin.runtime.http_server.shedding import FULL, OF_CLIENT, OF_KEY
from tools.json_schema import Schema, closed, described

SHED = (FULL, OF_CLIENT, OF_KEY)
"""What every server refuses that has too much to do."""
_SUCCESS = 300
ABOUT: Schema = {"openapi": "3.1.0"}


def document(
    title: str, about: str, url: str, paths: Mapping[str, Any], schemas: Mapping[str, Schema]
) -> Schema:
    """Return the description of a process that listens at ``url``."""
    return {
        **ABOUT,
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


def problem_schema(**members: Schema) -> Schema:
    """Return the schema of a problem document (RFC 9457), which may have these ``members``."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "request_id"],
        "properties": {
            "type": described({"type": "string", "format": "uri-reference"}, "The page about it."),
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": described({"type": "string"}, "What is wrong, and what to do."),
            "request_id": described({"type": "string"}, "Names this request in our log."),
            **members,
        },
        "additionalProperties": False,
    }


def health_paths() -> Schema:
    """Return the paths of health, each with the statuses that it has."""

    async def answer(faults: Mapping[str, str]) -> list[tuple[str, int]]:
        found = []
        for route in health(lambda: faults, with_reasons=False):
            answered: Response = await route.endpoint(Request({"type": "http"}))
            found.append((route.path, answered.status_code))
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
                    str(status): response(
                        "Yes." if status < _SUCCESS else "Not now.", "application/json", schema
                    )
                    for status in sorted(found)
                },
            }
        }
        for path, found in statuses.items()
    }


def problem_responses(texts: Iterable[ProblemText], schema: Schema) -> dict[str, Schema]:
    """Return the responses of problems by status; each names what it may say."""
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for one in texts:
        line = f"{one.title}: {one.detail}."
        if line not in by_status[one.status]:
            by_status[one.status].append(line)
    return {
        str(status): response("\n\n".join(lines), MEDIA_TYPE, schema)
        for status, lines in sorted(by_status.items())
    }


def response(about: str, media_type: str, schema: Schema) -> Schema:
    """Return a response whose content is of ``schema``."""
    return {"description": about, "content": {media_type: {"schema": schema}}}


def reference(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def refusals_of(call: Callable[[], object]) -> tuple[ProblemText, ...]:
    """Return what ``call`` refuses."""
    try:
        call()
    except RequestRefusedError as error:
        return (error.text,)
    raise AssertionError("it was to be refused")
