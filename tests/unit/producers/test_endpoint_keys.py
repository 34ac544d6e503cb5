"""API keys at the intake, over real HTTP: who may do what, for whom, and how much at once."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from izin.consent import ConsentEvent, ConsentKey
from izin.kafka.tables.api_keys import STALE_AFTER, ApiKeyDirectory
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.intake.server import Intake, routes_of as intake_routes
from izin.producers.publishing.publisher import Published
from izin.runtime.http_server.problems import public_app
from izin.runtime.http_server.shedding import HttpLimits, Refused
from izin.schemas.api_keys import Scope
from tests.support.builders import (
    API_KEY,
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    NOON,
    a_second_key,
    an_api_key,
    check_refusal,
    known,
)
from tests.support.servers.http import Reply, ServedHttp, request
from tests.unit.producers.fakes import NOW, FakePublisher, FakeReceipts, a_record

OTHER_BRAND, FOREIGN_BRAND = 100002, 200001


class GatedPublisher(FakePublisher):
    """Acknowledges events of the key ``shop`` when the test opens, all others at once."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self.gated: list[tuple[Future[Published], Future[Published]]] = []

    def publish(
        self,
        event: ConsentEvent,
        key: ConsentKey | None = None,
        *,
        wait: timedelta = timedelta(0),
    ) -> Future[Published]:
        done = super().publish(event, key, wait=wait)
        if event.actor != "shop":
            return done
        waiting: Future[Published] = Future()
        self.gated.append((waiting, done))
        return waiting

    def open(self) -> None:
        for waiting, done in self.gated:
            waiting.set_result(done.result())


@dataclass(kw_only=True)
class Served(ServedHttp):
    """An intake that is served, with three brands of two customers."""

    publisher: FakePublisher

    async def post(
        self, body: object, headers: Mapping[str, str] = AUTHORIZATION, source: str = "127.0.0.1"
    ) -> Reply:
        """Post records as JSON."""
        return await request(
            self.port,
            "POST",
            "/v1/consents",
            json.dumps(body).encode(),
            {**headers, "Content-Type": "application/json"},
            source=source,
        )


@asynccontextmanager
async def serving(
    keys: ApiKeyDirectory,
    *,
    limits: HttpLimits = HttpLimits(),  # noqa: B008  # frozen
    publisher: FakePublisher | None = None,
) -> AsyncIterator[Served]:
    """Serve an intake that knows ``keys``."""
    fake = publisher or FakePublisher(lambda: NOW)
    served = Served(publisher=fake)
    brands = BrandDirectory(
        RegisteredBrand(brand_code=code, iys_code=code, customer_id=customer, name="Example")
        for code, customer in ((BRAND, CUSTOMER), (OTHER_BRAND, CUSTOMER), (FOREIGN_BRAND, "beta"))
    )
    receipts = FakeReceipts([], lambda: NOW)
    intake = Intake(fake, brands, receipts, keys, clock=lambda: NOW, chance=bytes)
    async with served.serve(public_app(intake_routes(intake), dict), limits):
        yield served


def an_opt_out(**overrides: object) -> dict[str, Any]:
    """Return an opt-out as JSON."""
    return a_record(**({"status": "RET", "consent_date": None} | overrides))


def violations(reply: Reply) -> list[tuple[str, str]]:
    """Return pointer and code of each violation."""
    return [(one["pointer"], one["code"]) for one in json.loads(reply.body).get("violations", [])]


OPEN = ("GET /health/live", "GET /health/ready", "GET /metrics", "GET /health/ready of operators")
ENDPOINTS = ("POST /v1/consents", *OPEN)


@pytest.mark.parametrize("customer", [CUSTOMER, "beta"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("scope", [*Scope, None])
async def test_key_may_do_what_its_scope_and_customer_say(
    scope: Scope | None, endpoint: str, customer: str
):
    """Every scope, and no key, at every endpoint, for the key's own customer and for another."""
    key = an_api_key(scopes=frozenset({str(scope)}))
    headers = {} if scope is None else AUTHORIZATION
    async with serving(known(key)) as served:
        if endpoint in OPEN:
            # They tell nothing of a customer; the operators' listener is on loopback.
            path = endpoint.split()[1]
            is_public = endpoint in OPEN[:2]
            port = served.port if is_public else served.operations_port
            reply = await request(port, "GET", path, headers=headers)
            assert reply.status == 200
            return
        brand = BRAND if customer == CUSTOMER else FOREIGN_BRAND
        reply = await served.post(an_opt_out(brand_code=brand), headers)
        published = len(served.publisher.events)
        if scope is not Scope.PUBLISH:
            assert (published, violations(reply)) == (0, [])
            answer = (reply.status, reply.headers["content-type"], reply.body)
            check_refusal(scope, Scope.PUBLISH, answer)
        elif customer == CUSTOMER:
            assert (reply.status, published) == (202, 1)
        else:
            assert (reply.status, published) == (403, 0)
            assert violations(reply) == [("/brand_code", "IZIN-KEY-BRAND")]


@pytest.mark.parametrize(
    ("cut", "overrides", "expected"),
    [
        ({"brands": frozenset({BRAND})}, {}, []),
        (
            {"brands": frozenset({BRAND})},
            {"brand_code": OTHER_BRAND},
            [("/brand_code", "IZIN-KEY-BRAND")],
        ),
        ({"channels": frozenset({"MESAJ"})}, {"type": "SMS"}, []),
        (
            {"channels": frozenset({"EPOSTA"})},
            {"type": "SMS"},
            [("/type", "IZIN-KEY-CHANNEL")],
        ),
    ],
)
async def test_record_outside_the_key_names_the_field(
    cut: dict[str, object], overrides: dict[str, object], expected: list[tuple[str, str]]
):
    """The field as the sender calls it; channels are compared as the law reads them."""
    async with serving(known(an_api_key(**cut))) as served:
        reply = await served.post(an_opt_out(**overrides))
        assert reply.status == (403 if expected else 202)
        assert violations(reply) == expected


async def test_list_publishes_what_is_within_the_key():
    """An opt-out must not be lost for another record of its list; 403 lists both."""
    async with serving(known(an_api_key())) as served:
        records = [an_opt_out(), an_opt_out(brand_code=FOREIGN_BRAND), an_opt_out(recipient="12")]
        reply = await served.post(records)
        assert reply.status == 403
        assert violations(reply) == [("/1/brand_code", "IZIN-KEY-BRAND"), ("/2/recipient", "H121")]
        assert [one["index"] for one in json.loads(reply.body)["events"]] == [0]
        assert [one.brand_code for one in served.publisher.events] == [BRAND]


async def test_whatever_is_wrong_with_a_key_has_one_response():
    """No key, another scheme, malformed, unknown, another's secret, expired, revoked: no oracle."""
    expired, revoked = (a_second_key(**{name: NOON}) for name in ("expires_at", "revoked_at"))
    wrong: list[Mapping[str, str]] = [
        {},
        {"Authorization": f"Basic {API_KEY}"},
        {"Authorization": "Bearer izin_0a1b2c3d4e5f-1_short"},
        {"Authorization": f"Bearer {a_second_key()[0].replace('a1', 'b1')}"},
        {"Authorization": f"Bearer {API_KEY[:-1]}B"},
        {"Authorization": f"Bearer {expired[0]}"},
    ]
    replies = []
    async with serving(known(an_api_key(), expired[1])) as served:
        replies += [await served.post(an_opt_out(), headers) for headers in wrong]
    async with serving(known(an_api_key(), revoked[1])) as served:
        replies.append(await served.post(an_opt_out(), {"Authorization": f"Bearer {revoked[0]}"}))
    bodies = [json.loads(one.body) for one in replies]
    assert len({one.pop("request_id") for one in bodies}) == len(replies)
    assert [(one.status, body) for one, body in zip(replies, bodies, strict=True)] == (
        [(401, bodies[0])] * len(replies)
    )
    assert {one.headers["www-authenticate"] for one in replies} == {"bearer"}


async def test_publishing_goes_on_with_the_keys_that_are_known():
    """An opt-out is accepted though the topic's end was not seen for longer than a minute."""
    age = STALE_AFTER.total_seconds() + 1
    async with serving(known(an_api_key(), age=age)) as served:
        assert (await served.post(an_opt_out())).status == 202


async def test_actor_of_an_event_is_the_name_of_the_key():
    """Whom the body names is anybody's word: it stays, as evidence."""
    async with serving(known(an_api_key())) as served:
        named = an_opt_out(actor="ada", evidence={"page": "signup"})
        assert (await served.post(named)).status == 202
        (event,) = served.publisher.events
        assert (event.actor, event.evidence) == ("shop", {"page": "signup", "actor": "ada"})
        twice = await served.post(an_opt_out(actor="ada", evidence={"actor": "bob"}))
        assert twice.status == 202
        (event,) = served.publisher.events[1:]
        assert (event.actor, event.evidence) == ("shop", {"actor": "bob"})
        found = json.loads(twice.body)["events"][0]["violations"]
        assert [one["code"] for one in found] == ["IZIN-TWICE"]


async def test_body_cannot_name_a_customer():
    """A record's customer is its brand's: the field is unknown, and refuses an opt-in."""
    async with serving(known(an_api_key())) as served:
        consent = an_opt_out(status="ONAY", date_basis="received", customerId="beta")
        reply = await served.post(consent)
        assert (reply.status, violations(reply)) == (422, [("/customerId", "H118")])
        assert (await served.post(an_opt_out(customerId="beta"))).status == 202
        assert [one.customer_id for one in served.publisher.events] == [CUSTOMER]


async def test_flood_with_one_key_leaves_others_their_share():
    """From whatever addresses it comes: half of the places are the most that one key gets."""
    text, second = a_second_key()
    publisher = GatedPublisher(lambda: NOW)
    keys = known(an_api_key(), second)
    async with serving(keys, limits=HttpLimits(requests=8), publisher=publisher) as served:
        flood = [
            asyncio.create_task(served.post(an_opt_out(), source=f"127.0.0.{number}"))
            for number in range(10, 18)
        ]
        await served.until(lambda: served.refused(Refused.KEY) >= 4)
        mine = await served.post(
            an_opt_out(), {"Authorization": f"Bearer {text}"}, source="127.0.0.30"
        )
        assert mine.status == 202
        publisher.open()
        replies = await asyncio.gather(*flood)
    assert Counter(one.status for one in replies) == {202: 4, 429: 4}
    for one in replies:
        if one.status == 429:
            assert int(one.headers["retry-after"]) > 0
            assert "this key has too many requests" in one.body
