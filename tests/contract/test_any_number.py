"""No API stumbles over a number: of any length, sign and notation, in query, path and body."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import urlencode

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from starlette.applications import Starlette
from starlette.routing import Route

from izin.feeds import protocol
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.ledger.record import Message, TopicMessages
from izin.producers.intake.server import Intake
from izin.producers.intake.server import routes_of as intake_routes
from izin.runtime.http_server.problems import public_app
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.inbound.push import BrandCache, PushReceiver
from izin.sinks.publish.publisher import Publisher
from tests.contract.test_openapi import FEEDS, GATE, INTAKE, check
from tests.integration.sinks.sink_harness import ACTIVE
from tests.integration.sinks.test_worker import a_movement
from tests.support.builders import AUTHORIZATION, BRAND, CUSTOMER, NOON, an_api_key, known
from tests.unit.feeds.conftest import serving as serving_feeds
from tests.unit.gate.conftest import serving as serving_gate
from tests.unit.producers.fakes import FakePublisher, FakeReceipts
from tests.unit.sinks.inbound.test_sweep import CREDENTIALS, accepted

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
_JSON = "application/json"
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
        with patch.object(protocol, "offsets", lambda *_: {0: 2}):
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


class _Brands:
    async def find(self, _: Iterable[int | None]) -> Mapping[int | None, Any]:
        return {BRAND: ACTIVE}

    is_current = True


class _Topic:
    async def publish(self, messages: Sequence[Message]) -> None:
        """Take messages, of which each has a value."""
        assert all(one.value for one in messages)


@asynccontextmanager
async def _push() -> AsyncIterator[httpx.AsyncClient]:
    receiver = PushReceiver(
        credentials=accepted(CREDENTIALS),
        brands=cast("BrandCache", _Brands()),
        publisher=cast("Publisher", _Topic()),
        topic_messages=TopicMessages(Codec(), Topics()),
        clock=lambda: NOON,
        count=lambda _: None,
        count_refused=lambda _: None,
    )
    async with _client(
        Starlette(routes=[Route("/iys/push", receiver.__call__, methods=["POST"])])
    ) as one:
        one.auth = (CREDENTIALS.username, CREDENTIALS.password.get_secret_value())
        yield one


SERVERS = {"feeds": (FEEDS, _feeds), "gate": (GATE, _gate), "intake": (INTAKE, _intake)}


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
            headers = {"Content-Type": _JSON}
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
