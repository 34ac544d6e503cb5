"""The OpenAPI documents are right: every route is in them, and real answers are as they say.

No API stumbles over a number: of any length, sign and notation, in query, path and body.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, cast
from unittest.mock import AsyncMock, Mock
from urllib.parse import urlencode

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from starlette.applications import Starlette
from starlette.routing import Route

from izin.api import endpoint as api_endpoint
from izin.api.endpoint import routes_of as api_routes
from izin.feeds.endpoint import routes_of as feed_routes
from izin.gate.server import routes_of as gate_routes
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.ledger.record import Message, TopicMessages
from izin.producers.intake.server import Intake
from izin.runtime.http_server.problems import public_app
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.topics import Topics
from izin.sinks.inbound.push import PushReceiver
from izin.sinks.publish.publisher import Publisher
from tests.integration.sinks.sink_harness import ACTIVE
from tests.integration.sinks.test_worker import a_movement
from tests.support.builders import (
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    EMAIL,
    NOON,
    PHONE,
    a_key,
    an_api_key,
    kafka_message,
    known,
)
from tests.support.project_rules import ROOT
from tests.unit.api.conftest import CONFIRMED, a_fact, a_row, serving as serving_api
from tests.unit.feeds.conftest import (
    CODEC,
    SUBSCRIBER,
    Api,
    a_permission,
    key_of,
    serving,
    serving as serving_feeds,
)
from tests.unit.gate.conftest import a_question, key_facts_of, serving as serving_gate
from tests.unit.producers.conftest import FakePublisher, FakeReceipts, intake_routes
from tests.unit.sinks.test_observed import CREDENTIALS, accepted
from tools.golden_records import golden

API, FEEDS, GATE, INTAKE = (
    json.loads((ROOT / "docs" / "openapi" / f"{name}.json").read_text("utf-8"))
    for name in ("api", "feeds", "gate", "intake")
)


_HOLES = re.compile(r"\{\w+\}")


def check(document: Mapping[str, Any], response: httpx.Response) -> Any:  # noqa: ANN401  # any JSON
    """Check that a response is one that the document has, and return its content."""
    path = response.request.url.path
    served = [one for one in document["paths"] if re.fullmatch(_HOLES.sub("[^/]+", one), path)]
    operation = document["paths"][served[0]][response.request.method.lower()]
    described = operation["responses"][str(response.status_code)]
    kind = response.headers["content-type"].partition(";")[0]
    schema = described["content"][kind]["schema"]
    validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
    content = response.json() if kind.endswith("json") else response.text
    assert [one.message for one in validator.iter_errors(content)] == []
    if response.status_code >= 400 and isinstance(content, dict) and "detail" in content:
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


@pytest.mark.parametrize(
    "document", [API, FEEDS, GATE, INTAKE], ids=["api", "feeds", "gate", "intake"]
)
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
                kafka_message(offset=place, value=each, key=key_of(a_permission()))
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
        assert check(FEEDS, await api.get("/v1/permissions", after=begun))["status"] == 410


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
    assert jsonschema_rs.validator_for(INTAKE["components"]["schemas"]["Record"]).is_valid(good)
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
        api.state.put(key_facts_of())
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


async def test_api_answers_as_described(monkeypatch: pytest.MonkeyPatch):
    """What is found of every kind, and what is refused, for each reason."""
    async with serving_api() as api:
        assert routes(public_app(api_routes(api.endpoint), dict)) == paths(API)
        violation = {"code": "H113", "status": "RET", "source": None}
        token = api.decided(**{name: violation[name] for name in ("status", "source")})
        answered = {"verdict": "success", "code": None, "creation_date": NOON}
        key = str(a_key())
        api.ledger.facts[key].append(a_fact("answer", answered, status="RET"))
        api.ledger.put(a_row(registered="ONAY"), a_row(key=f"{key}0", recipient=f"{PHONE}0"))
        found = check(API, await api.event("event-1", token))
        assert found["iys"]
        assert [one["code"] for one in found["decision"]["violations"]] == [violation["code"]]
        bodies: Mapping[str, Mapping[str, object]] = {
            "Confirmation": {"recipient": PHONE, "event_id": "a", "confirmed_at": CONFIRMED},
            "Lookup": {"recipient": PHONE, "types": ["MESAJ"], "brand_code": BRAND},
            "Change": {"recipient": PHONE, "new_recipient": EMAIL, "consent_date": "2026-03-02"},
        }
        for name, body in bodies.items():
            schema = {**API["components"]["schemas"][name], "components": API["components"]}
            validator = jsonschema_rs.validator_for(schema)
            assert validator.is_valid(dict(body))
            assert not validator.is_valid({**body, "more": 1})
        assert check(API, await api.lookup())["consents"]
        assert check(API, await api.change())["consents"][0]["ask_again"]
        assert check(API, await api.change(consent_date="2026-03-01"))["consents"]
        api.ledger.takes_writes = True
        monkeypatch.setattr(api_endpoint, "record_confirmation", AsyncMock())
        api.decided(event_id="event-0")
        confirmed = check(API, await api.confirm(event_id="event-0"))
        assert confirmed == {"event_id": "event-0", "confirmed_at": CONFIRMED}
        api.ledger.takes_writes = False
        undecided = api.log.write("event-2", a_key(recipient=EMAIL, channel="EPOSTA"))
        refused = [
            await api.event("event-2", undecided),
            await api.event("event-3", token),
            await api.event("event-1", "x"),
            await api.confirm(),
            await api.confirm(more=1),
            await api.confirm(event_id=""),
            await api.confirm(confirmed_at="9999-01-01 00:00"),
            *[await call(brand_code=9) for call in (api.lookup, api.change)],
            *[await call(types=["EPOSTA"]) for call in (api.lookup, api.change)],
            *[await call(more=1) for call in (api.lookup, api.change)],
        ]
        for path in (
            "/v1/consents/lookup",
            "/v1/consents/confirmation",
            "/v1/recipients/change",
        ):
            refused += [
                await api.client.post(path, content=content, headers={"content-type": kind})
                for kind, content in (
                    ("application/json", b"{"),
                    ("application/json", b"1"),
                    ("text/plain", b""),
                    ("application/json", b" " * 20_000),
                )
            ]
        api.publisher.is_away_for = lambda _: True
        refused.append(await api.change())
        refused.append(await api.confirm(event_id="event-0"))
        api.ledger.is_away = True
        refused += [await api.event("event-1", token), await api.lookup(), await api.change()]
        api.away()
        refused.append(await api.event("event-1", token))
        del api.client.headers["Authorization"]
        refused += [await api.event("event-1", token), await api.lookup(), await api.change()]
        statuses = {check(API, response)["status"] for response in refused}
        assert statuses == {400, 401, 403, 404, 413, 415, 422, 503}


def test_answer_that_is_not_described_is_found():
    """The check can fail: another field, another status."""
    request = httpx.Request("GET", "http://feeds/v1/opt-outs")
    page = {"items": [], "next": "x", "complete": True, "more": 1}
    with pytest.raises(AssertionError, match="more"):
        check(FEEDS, httpx.Response(200, json=page, request=request))
    with pytest.raises(KeyError):
        check(FEEDS, httpx.Response(404, json={}, request=request))


_DIGITS = st.sampled_from([1, 2, 9, 10, 18, 19, 20, 39, 309, 4299, 4300, 4301, 5000, 20_000])
_WHOLE = st.builds(lambda digit, count: digit * count, st.sampled_from("0123456789"), _DIGITS)
_EDGES = st.sampled_from([2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 2**69]).map(str)
NUMBERS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "-", "+", "000000000000"]),
    _WHOLE | _EDGES,
    st.sampled_from(["", "", "", ".0", ".5", "e9", "E-9", "e999999999", "_1", "٣"]),
)
"""Texts of numbers, such as JSON has and such as it has not."""
_HOLE = "a number of any length"
_SERVER_FAULT = 500
_GENERATED = settings(
    max_examples=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@asynccontextmanager
async def _feeds() -> AsyncIterator[httpx.AsyncClient]:
    async with serving_feeds() as api:
        yield api.client


@asynccontextmanager
async def _gate() -> AsyncIterator[httpx.AsyncClient]:
    async with serving_gate() as api:
        yield api.client


def _client(app: Starlette) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=AUTHORIZATION)


@asynccontextmanager
async def _intake() -> AsyncIterator[httpx.AsyncClient]:
    fake, receipts = FakePublisher(lambda: NOON), FakeReceipts([], lambda: NOON)
    brand = RegisteredBrand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Example")
    intake = Intake(
        fake,
        BrandDirectory([brand]),
        receipts,
        known(an_api_key()),
        clock=lambda: NOON,
        chance=bytes,
    )
    async with _client(public_app(intake_routes(intake), dict)) as client:
        yield client


class _Topic:
    async def publish(self, messages: Sequence[Message]) -> None:
        """Take messages, of which each has a value."""
        assert all(one.value for one in messages)


@asynccontextmanager
async def _push() -> AsyncIterator[httpx.AsyncClient]:
    receiver = PushReceiver(
        credentials=accepted(CREDENTIALS),
        brands=Mock(find=AsyncMock(return_value={BRAND: ACTIVE}), is_current=True),
        publisher=cast("Publisher", _Topic()),
        topic_messages=TopicMessages(Codec(), Topics()),
        clock=lambda: NOON,
        count=lambda _: None,
        count_refused=lambda _: None,
    )
    async with _client(
        Starlette(routes=[Route("/iys/push", receiver.receive, methods=["POST"])])
    ) as one:
        one.auth = (CREDENTIALS.username, CREDENTIALS.password.get_secret_value())
        yield one


@asynccontextmanager
async def _api() -> AsyncIterator[httpx.AsyncClient]:
    async with serving_api() as api:
        api.ledger.put(a_row())
        yield api.client


SERVERS = {
    "api": (API, _api),
    "feeds": (FEEDS, _feeds),
    "gate": (GATE, _gate),
    "intake": (INTAKE, _intake),
}


def _with_hole(body: object, name: str) -> object:
    """Return a body with a number as the field ``name``, of each record of a list."""
    if isinstance(body, list) and body:
        return [_with_hole(one, name) for one in body]
    return {**body, name: _HOLE} if isinstance(body, dict) else _HOLE


def _filled(body: object, number: str) -> bytes:
    """Return a body as JSON with a number that no encoder writes."""
    return json.dumps(body).replace(json.dumps(_HOLE), number).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("name", SERVERS)
def test_number_of_any_length_is_answered_as_described(name: str) -> None:
    """Of every operation, beside generated values, right and wrong: never by a fault of ours, and
    by what the OpenAPI document has.
    """
    document, serving = SERVERS[name]
    fields = sorted(
        {field for one in document["components"]["schemas"].values() for field in _fields(one)}
    )
    with asyncio.Runner() as runner:
        client = runner.run((context := serving()).__aenter__())
        for found in schemathesis.openapi.from_dict(document).get_all_operations():
            _send(runner, client, document, found.ok(), fields)
        runner.run(context.__aexit__(None, None, None))


def _fields(schema: Mapping[str, Any]) -> Iterable[str]:
    return schema.get("properties", {})


def _send(
    runner: asyncio.Runner,
    client: httpx.AsyncClient,
    document: Mapping[str, Any],
    operation: schemathesis.APIOperation,
    fields: Sequence[str],
) -> None:
    """Send generated requests to one operation, with numbers in their queries and bodies."""
    modes = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    cases = modes.flatmap(lambda mode: operation.as_strategy(generation_mode=mode))
    names = [one.name for one in operation.query] or ["x"]

    @_GENERATED
    @given(case=cases, number=NUMBERS, name=st.sampled_from(names), field=st.sampled_from(fields))
    def run(case: schemathesis.Case, number: str, name: str, field: str) -> None:
        query = {**(case.query or {}), name: number}
        query.pop("wait", None) if name != "wait" else None
        given_ = {one: str(value).encode("utf-8", "replace") for one, value in query.items()}
        path = f"{operation.path}?{urlencode(given_)}"
        content, headers = b"", {}
        if not isinstance(case.body, NotSet):
            with suppress(TypeError):  # bytes, and what else is no JSON
                content = _filled(_with_hole(case.body, field), number)
            headers = {"Content-Type": "application/json"}
        response = runner.run(
            client.request(operation.method, path, content=content, headers=headers)
        )
        assert response.status_code < _SERVER_FAULT, (path[:300], content[:300], response.text)
        check(document, response)
        if name in {"limit", "wait"} and not number.isascii():
            assert response.status_code in {400, 422}

    run()


@given(number=NUMBERS, field=st.sampled_from([*a_movement(), "list", "x"]))
@settings(parent=_GENERATED, max_examples=200)
def test_number_of_any_length_in_a_push_is_no_fault(number: str, field: str) -> None:
    """It is an entry that cannot be read, or no push."""
    body: dict[str, object] = {"list": [{**a_movement(), field: _HOLE}]}
    content = _filled({"list": _HOLE} if field == "list" else body, number)

    async def push() -> int:
        async with _push() as client:
            return (await client.post("/iys/push", content=content)).status_code

    assert asyncio.run(push()) in {200, 400}


@given(
    number=NUMBERS, path=st.sampled_from(["/v1/{}", "/v1/may-send/{}", "/{}", "/v1/opt-outs/{}"])
)
@settings(parent=_GENERATED, max_examples=20)
@pytest.mark.parametrize("name", SERVERS)
def test_number_of_any_length_in_a_path_is_not_found(name: str, number: str, path: str) -> None:
    """No route takes one."""

    async def get() -> int:
        async with SERVERS[name][1]() as client:
            return (await client.get(path.format(number.replace("٣", "%D9%A3")))).status_code

    assert asyncio.run(get()) in {404, 405}
