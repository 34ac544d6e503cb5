"""The OpenAPI documents are right: every route is in them, and real answers are as they say."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from starlette.applications import Starlette
from starlette.routing import Route

from izin.feeds.endpoint import routes_of as feed_routes
from izin.gate.server import routes_of as gate_routes
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.intake.server import Intake
from izin.producers.intake.server import routes_of as intake_routes
from izin.runtime.http_server.problems import public_app
from izin.schemas.consistency_token import LogPosition, token_of
from tests.contract.schemas.examples import golden
from tests.support.api_keys import AUTHORIZATION, an_api_key, known
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, kafka_message
from tests.support.source_tree import ROOT
from tests.unit.feeds.conftest import SUBSCRIBER, Api, serving
from tests.unit.feeds.fakes import CODEC, a_permission, key_of
from tests.unit.gate.conftest import a_question, a_standing
from tests.unit.gate.conftest import serving as serving_gate
from tests.unit.producers.fakes import FakePublisher, FakeReceipts

FEEDS, GATE, INTAKE = (
    json.loads((ROOT / "docs" / "openapi" / f"{name}.json").read_text("utf-8"))
    for name in ("feeds", "gate", "intake")
)
KEY = key_of(a_permission())


def check(document: Mapping[str, Any], response: httpx.Response) -> Any:  # noqa: ANN401  # any JSON
    """Check that a response is one that the document has, and return its content."""
    operation = document["paths"][response.request.url.path][response.request.method.lower()]
    described = operation["responses"][str(response.status_code)]
    schema = described["content"][response.headers["content-type"]]["schema"]
    validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
    content = response.json()
    assert [one.message for one in validator.iter_errors(content)] == []
    if response.status_code >= 400 and "detail" in content:
        assert f"{content['title']}: " in described["description"]
    return content


def routes(app: Starlette) -> set[tuple[str, str]]:
    """Return method and path of each route."""
    return {
        (method.lower(), one.path)
        for one in app.routes
        if isinstance(one, Route)
        for method in (one.methods or {"GET"}) - {"HEAD"}
    }


def paths(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return method and path of each operation."""
    return {(method, path) for path, found in document["paths"].items() for method in found}


@pytest.mark.parametrize("document", [FEEDS, GATE, INTAKE], ids=["feeds", "gate", "intake"])
def test_document_is_read_by_a_tool(document: dict[str, Any]):
    """As OpenAPI 3.1, with every reference resolved."""
    assert document["openapi"].startswith("3.1")
    found = schemathesis.openapi.from_dict(document).get_all_operations()
    assert {one.ok().label for one in found} == {
        f"{method.upper()} {path}" for method, path in paths(document)
    }


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Serve feeds, each with a record of its contract, a deletion and an unreadable record."""
    async with serving(known(SUBSCRIBER)) as one:
        for feed in one.sources.feeds:
            value = golden(feed.topic.record) | {"customer_id": CUSTOMER, "brand_code": BRAND}
            values = [CODEC.encode(feed.topic.record, value), b"\xc3\x01"]
            values += [None] if feed.is_compacted else []  # type: ignore[list-item]
            written = [
                kafka_message(offset=place, value=each, key=KEY)
                for place, each in enumerate(values)
            ]
            one.sources.write(feed.name, *written)
        yield one


async def test_feeds_answer_as_described(api: Api):
    """Pages of every kind of item, and every status."""
    assert routes(public_app(feed_routes(api.endpoint), dict)) == paths(FEEDS)
    for feed in api.sources.feeds:
        page = check(FEEDS, await api.get(feed.path, limit=2))
        rest = check(FEEDS, await api.get(feed.path, after=page["next"]))
        assert len(page["items"] + rest["items"]) == 2 + feed.is_compacted
    path = "/v1/opt-outs"
    end = (await api.get(path)).json()["next"]
    responses = [await api.get(path, limit=0), await api.get(path, after="x")]
    api.sources.current = False
    responses.append(await api.get(path, after=end))
    api.sources.logs["opt-outs"].starts[0] = 1
    api.sources.sources["opt-outs"].tail.forget()
    old = (await api.get("/v1/outcomes")).json()["next"]
    api.client.headers["Authorization"] = "Bearer izin_none"
    responses += [await api.get(one) for one in (path, "/health/live", "/health/ready")]
    for one in responses:
        check(FEEDS, one)
    assert old
    assert {one.status_code for one in responses} == {422, 400, 503, 401, 200}


async def test_feeds_refuse_as_described():
    """Another scope, an old cursor."""
    async with serving(known(an_api_key())) as api:
        assert check(FEEDS, await api.get("/v1/permissions"))["status"] == 403
    async with serving() as api:
        begun = (await api.get("/v1/permissions")).json()["next"]
        api.now[0] += timedelta(days=2)
        response = await api.get("/v1/permissions", after=begun)
        assert check(FEEDS, response)["status"] == 410


async def test_intake_answers_as_described():
    """What is accepted, and what is refused, for each reason."""
    fake = FakePublisher(lambda: NOON)
    brand = RegisteredBrand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Example")
    receipts = FakeReceipts([], lambda: NOON)
    keys = known(an_api_key())
    intake = Intake(fake, BrandDirectory([brand]), receipts, keys, clock=lambda: NOON, chance=bytes)
    app = public_app(intake_routes(intake), lambda: {"kafka": "away"})
    assert routes(app) == paths(INTAKE)
    good: dict[str, object] = {
        "recipient": "0555 000 00 01",
        "type": "MESAJ",
        "status": "RET",
        "brand_code": BRAND,
        "sequence": 1,
        "evidence": {"page": "/signup"},
    }
    record = INTAKE["components"]["schemas"]["Record"]
    assert jsonschema_rs.validator_for(record).is_valid(good)
    bad = {**good, "recipient": "12"}
    bodies: Mapping[int, list[object]] = {
        202: [good, [good, good]],
        422: [bad, [good, bad], []],
        403: [{**good, "brand_code": BRAND, "type": "EPOSTA", "recipient": "a@example.com"}],
        413: [[good] * 1001],
    }
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://intake", headers=AUTHORIZATION
    ) as client:
        for status, examples in bodies.items():
            if status == 403:
                keys.put(an_api_key(channels=frozenset({"MESAJ"})).to_avro())
            for one in examples:
                response = await client.post("/v1/consents", json=one)
                assert check(INTAKE, response)
                assert response.status_code == status, response.text
        sent = {"400": ("application/json", b"{"), "415": ("text/plain", b"")}
        for status, (kind, content) in sent.items():
            response = await client.post(
                "/v1/consents", content=content, headers={"content-type": kind}
            )
            check(INTAKE, response)
            assert str(response.status_code) == status
        fake.is_away_for = lambda _: True
        assert check(INTAKE, await client.post("/v1/consents", json=good))["status"] == 503
        check(INTAKE, await client.get("/health/ready"))
        del client.headers["Authorization"]
        assert check(INTAKE, await client.post("/v1/consents", json=good))["status"] == 401


async def test_gate_answers_as_described():
    """Verdicts of every kind, and what is refused, for each reason."""
    question = jsonschema_rs.validator_for(
        {**GATE["components"]["schemas"]["Question"], "components": GATE["components"]}
    )
    async with serving_gate() as api:
        assert routes(public_app(gate_routes(api.gate), dict)) == paths(GATE)
        api.state.put(a_standing())
        unread = token_of([LogPosition("consent-events", 0, 99)])
        good: list[dict[str, object]] = [
            {},
            {"recipients": [PHONE, "12"], "receipt": "list", "campaign": "spring"},
            {"message_class": "delivery", "basis": "order 1", "recipient_type": None},
            {"at_least": unread, "retailer_code": 12345678},
        ]
        for given in good:
            assert question.is_valid(a_question(**given))
            check(GATE, await api.ask(**given))
        bad: Mapping[int, list[dict[str, object]]] = {
            422: [
                {"recipients": []},
                {"recipients": [1]},
                {"brand_code": 0},
                {"type": "fax"},
                {"receipt": "all"},
                {"campaign": "x" * 201},
                {"more": 1},
            ],
            413: [{"recipients": ["-"] * 100_001}],
        }
        for status, some in bad.items():
            for given in some:
                assert not question.is_valid(a_question(**given))
                assert check(GATE, await api.ask(**given))["status"] == status
        foreign = token_of([LogPosition("other", 0, 1)])
        assert check(GATE, await api.ask(at_least=foreign))["status"] == 422
        sent = {400: ("application/json", b"{"), 415: ("text/plain", b"")}
        for status, (kind, content) in sent.items():
            response = await api.client.post(
                "/v1/may-send", content=content, headers={"content-type": kind}
            )
            assert check(GATE, response)["status"] == status
        api.receipts.is_away = True
        assert check(GATE, await api.ask(receipt="list"))["status"] == 503
        api.loaded[0] = False
        assert check(GATE, await api.ask())["status"] == 503
        api.state.said["gate state"] = "being read"
        for path in ("/health/live", "/health/ready"):
            check(GATE, await api.client.get(path))
        del api.client.headers["Authorization"]
        assert check(GATE, await api.ask())["status"] == 401
    async with serving_gate(known(an_api_key())) as api:
        assert check(GATE, await api.ask())["status"] == 403


def test_answer_that_is_not_described_is_found():
    """The check can fail: another field, another status."""
    request = httpx.Request("GET", "http://feeds/v1/opt-outs")
    page = {"items": [], "next": "x", "complete": True, "more": 1}
    with pytest.raises(AssertionError, match="more"):
        check(FEEDS, httpx.Response(200, json=page, request=request))
    with pytest.raises(KeyError):
        check(FEEDS, httpx.Response(404, json={}, request=request))
