"""OpenAPI 3.1 of the gate."""

import json
from collections.abc import Iterable
from functools import partial

from izin.consent.may_send import PermissionReason
from izin.gate.question import FIELDS, read_question
from izin.gate.server import ANSWER_FIELDS, MAX_BODY, VERDICT_FIELDS, GateRefusal
from izin.kafka.tables.api_keys import refusals
from izin.runtime.http_server.problems import JSON_TYPE, ProblemText
from izin.runtime.http_server.shedding import HttpLimits, too_large, too_slow
from izin.runtime.settings import GateSettings
from izin.schemas.api_keys import Scope
from izin.schemas.consistency_token import token_of
from izin.schemas.may_send_api import MOST_RECIPIENTS, PATH
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


def gate_document() -> Schema:
    """Return the description of the gate."""
    verdict: dict[str, Schema] = {
        "recipient": {"type": "string"},
        "may_send": {"type": "boolean"},
        "reason": {"type": "string", "enum": list(map(str, PermissionReason))},
        "violation": {"type": "string"},
    }
    answer: dict[str, Schema] = {
        "as_of": {"type": "string"},
        "receipt": {"type": ["string", "null"], "format": "uuid"},
        "verdicts": {"type": "array", "items": reference("Verdict")},
    }
    return document(
        "izin gate",
        "Whether a message may be sent to a recipient, and why.",
        f"http://127.0.0.1:{GateSettings().port}",
        {PATH: {"post": _operation()}, **health_paths()},
        {
            "Problem": problem_schema(),
            "Question": closed(
                {one.name: described(dict(one.schema), one.description) for one in FIELDS},
                *(one.name for one in FIELDS if not one.is_required),
            ),
            "Answer": closed(
                {name: described(one, ANSWER_FIELDS[name]) for name, one in answer.items()}
            ),
            "Verdict": closed(
                {name: described(one, VERDICT_FIELDS[name]) for name, one in verdict.items()},
                "violation",
            ),
        },
    )


def _operation() -> Schema:
    return {
        "operationId": "may-send",
        "summary": "Ask whether a message may be sent.",
        "security": [{"key": []}],
        "requestBody": {
            "required": True,
            "content": {JSON_TYPE: {"schema": reference("Question")}},
        },
        "responses": {
            "200": response("A verdict for each recipient.", JSON_TYPE, reference("Answer")),
            **problem_responses(_problems(), reference("Problem")),
        },
    }


def _problems() -> Iterable[ProblemText]:
    yield from refusals(Scope.ASK)
    yield from SHED
    yield from (one.value for one in GateRefusal)
    yield too_large(MAX_BODY)
    yield too_slow(HttpLimits())
    yield from refusals_of(partial(read_question, "text/plain", b""))
    asked = {"brand_code": 1, "type": "MESAJ", "recipients": ["-"]}
    wrong: tuple[dict[str, object], ...] = (
        {"recipients": []},
        {"recipients": [1]},
        {"recipients": ["-"] * (MOST_RECIPIENTS + 1)},
        {"brand_code": 0},
        {"type": None},
        {"campaign": 1},
        {"at_least": token_of([])[1:]},
        {"more": 1},
    )
    bodies = [b"{", b"1", *(json.dumps({**asked, **one}).encode() for one in wrong)]
    for body in bodies:
        yield from refusals_of(partial(read_question, JSON_TYPE, body))
