"""The intake endpoint: what it accepts, what it refuses, and that every RET is accepted.

The page of the intake is correct: its requests are sent and get the documented responses.

API keys at the intake, over real HTTP: who may do what, for whom, and how much at once.
"""

import asyncio
import json
import re
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from izin.consent import ConsentEvent, ConsentKey
from izin.kafka.tables.api_keys import STALE_AFTER, ApiKeyDirectory
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.intake.request_body import NAMES
from izin.producers.intake.server import MAX_BODY, Intake
from izin.producers.publishing.publisher import PublishResult
from izin.runtime.http_server.problems import public_app
from izin.runtime.http_server.shedding import HttpLimits, Refused
from izin.schemas.api_keys import Scope
from izin.schemas.consistency_token import LogPosition, positions_of, token_of
from tests.support.builders import (
    API_KEY,
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    EMAIL,
    NOON,
    PHONE,
    a_second_key,
    an_api_key,
    check_refusal,
    known,
)
from tests.support.project_rules import ROOT
from tests.support.servers.http import Reply, ServedHttp, request
from tests.unit.producers.conftest import (
    NOW,
    FakePublisher,
    FakeReceipts,
    MovingClock,
    a_record,
    intake_client,
    intake_routes,
    post,
)

FORM = "application/x-www-form-urlencoded"


async def post_form(client: httpx.AsyncClient, *fields: tuple[str, str]) -> httpx.Response:
    """Post a web form."""
    return await client.post(
        "/v1/consents", content=urlencode(fields), headers={"Content-Type": FORM}
    )


def pointers(answer: httpx.Response) -> set[tuple[str, str]]:
    """Return pointer and code of each violation."""
    return {(one["pointer"], one["code"]) for one in answer.json()["violations"]}


async def test_single_record_is_published(client: httpx.AsyncClient, fake: FakePublisher):
    """202, once it is published, with its event id."""
    answer = await post(client, a_record())
    assert answer.status_code == 202
    (event,) = fake.events
    token = token_of([LogPosition("consent-events", 0, 0)])
    about = {"index": 0, "event_id": event.event_id, "status": "ONAY", "violations": []}
    assert answer.json()["events"] == [{**about, "token": token}]
    assert event.consent_date == NOON
    assert event.origin == "web"


async def test_list_publishes_the_valid_and_names_the_rest(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """422 lists both: what was published, and what is wrong with the others."""
    answer = await post(client, [a_record(), a_record(recipient="12"), a_record(status="RET")])
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [one["index"] for one in answer.json()["events"]] == [0, 2]
    assert pointers(answer) == {("/1/recipient", "H121")}
    assert len(fake.events) == 2


@pytest.mark.parametrize("channels", [["SMS"], ["SMS", "E-POSTA"]])
async def test_form_is_a_record_for_each_channel(
    client: httpx.AsyncClient, fake: FakePublisher, channels: list[str]
):
    """Each with its own id and the right recipient, in any known word; the recipient acts right
    now, so no date is needed.
    """
    answer = await post_form(
        client,
        ("phone", "0555 000 00 01"),
        ("email", EMAIL),
        *(("type", one) for one in channels),
        ("status", "EVET"),
        ("source", "HS_WEB"),
        ("brand_code", str(BRAND)),
        ("id", "form-1"),
    )
    assert answer.status_code == 202
    assert [one.recipient for one in fake.events] == [PHONE, EMAIL][: len(channels)]
    assert {one.consent_date for one in fake.events} == {NOON + timedelta(hours=1)}
    assert len({one.event_id for one in fake.events}) == len(channels)


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ({"recipient": None}, ("/recipient", "H114")),
        ({"type": None}, ("/type", "H111")),
        ({"status": None}, ("/status", "H110")),
        ({"status": "BELKİ"}, ("/status", "H115")),
        ({"source": None}, ("/source", "H113")),
        ({"consent_date": None}, ("/consent_date", "H112")),
        ({"brand_code": None}, ("/brand_code", "IZIN-BRAND-MISSING")),
        ({"brand_code": 999999}, ("/brand_code", "IZIN-BRAND-UNKNOWN")),
        ({"brand_code": -5}, ("/brand_code", "IZIN-NOT-A-NUMBER")),
        ({"date_basis": "nonsense"}, ("/date_basis", "IZIN-DATE-BASIS")),
        ({"recipient": None, "phone": "12"}, ("/phone", "H121")),
        ({"consentDate": "2026-03-02 12:00:00"}, ("/consentDate", "H118")),
        ({"Status": "RET"}, ("/Status", "H118")),
        ({"colour": "red"}, ("/colour", "H118")),
        ({"recipient": 5.55e9}, ("/recipient", "IZIN-TYPE")),
        ({"recipient": {"x": 1}}, ("/recipient", "IZIN-TYPE")),
        ({"evidence": "text"}, ("/evidence", "IZIN-EVIDENCE")),
        ({"evidence": {"page": "x" * 5000}}, ("/evidence", "IZIN-EVIDENCE")),
    ],
)
async def test_each_violation_is_named(
    client: httpx.AsyncClient,
    fake: FakePublisher,
    change: dict[str, object],
    violation: tuple[str, str],
):
    """Place, code and remedy, in both languages; nothing is published."""
    body = {**a_record(), **change}
    answer = await post(client, {name: value for name, value in body.items() if value is not None})
    assert answer.status_code == 422
    assert violation in pointers(answer)
    assert all(one["reason"] and one["reason_tr"] for one in answer.json()["violations"])
    assert fake.events == []


async def test_empty_record_names_every_required_field(client: httpx.AsyncClient):
    """The response names every required field, and how to give a date."""
    answer = await post(client, {})
    assert answer.status_code == 422
    assert pointers(answer) == {
        ("/brand_code", "IZIN-BRAND-MISSING"),
        ("/recipient", "H114"),
        ("/type", "H111"),
        ("/status", "H110"),
        ("/source", "H113"),
        ("/consent_date", "H112"),
    }
    (undated,) = (one for one in answer.json()["violations"] if one["code"] == "H112")
    assert "consent_date" in undated["reason"]
    assert '"date_basis": "received"' in undated["reason"]
    assert undated["field"] == "consent_date"


async def test_form_violations_name_record_and_field(client: httpx.AsyncClient):
    """Check boxes too."""
    answer = await post_form(
        client, ("type", "SMS"), ("type", "telepati"), ("status", "BELKİ"), ("brand_code", "1.5")
    )
    assert {("/1/type", "H117"), ("/0/status", "H115"), ("/0/brand_code", "IZIN-NOT-A-NUMBER")} <= (
        pointers(answer)
    )


@pytest.mark.parametrize(
    ("activated_at", "status", "codes"),
    [
        (NOON - timedelta(days=900), "ONAY", ["IZIN-TERM-ENDED"]),
        (NOON - timedelta(days=900), "RET", []),
        (None, "ONAY", ["IZIN-TERM-ENDED"]),
    ],
)
async def test_void_onay_is_published_with_a_violation(  # noqa: PLR0917  # cases
    client: httpx.AsyncClient,
    directory: BrandDirectory,
    fake: FakePublisher,
    activated_at: datetime | None,
    status: str,
    codes: list[str],
):
    """It is evidence, so it is published; but the 202 must not be taken for a consent.

    Before its brand is active too, whatever İYS takes then; and a RET never expires.
    """
    directory.put(asdict(replace(directory.get(BRAND), activated_at=activated_at)))
    answer = await post(client, a_record(consent_date="2026-02-02 12:00:00", status=status))
    assert answer.status_code == 202
    (event,) = answer.json()["events"]
    assert [one["code"] for one in event["violations"]] == codes
    assert all(one["pointer"] == "/consent_date" for one in event["violations"])
    assert len(fake.events) == 1


async def test_ret_is_never_refused(client: httpx.AsyncClient, fake: FakePublisher):
    """All other violations are listed with its id."""
    answer = await post(client, a_record(status="RET", source=None, consent_date="x", colour="red"))
    assert answer.status_code == 202
    (event,) = answer.json()["events"]
    assert {one["code"] for one in event["violations"]} == {"H118", "H158", "H113"}
    assert fake.events[0].status == "RET"


@pytest.mark.parametrize(
    ("headers", "body", "status", "what"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415, "application/json"),
        ({}, b"{}", 415, "application/json"),
        ({"Content-Type": "application/json"}, b"{", 400, "line 1"),
        ({"Content-Type": "application/json"}, b"\xff", 400, "line 1"),
        ({"Content-Type": "application/json"}, b"[NaN]", 400, "NaN"),
        ({"Content-Type": "application/json"}, b"[" * 100_000, 400, "nesting"),
        ({"Content-Type": "application/json"}, b'"text"', 422, "object"),
        ({"Content-Type": "application/json"}, b"[]", 422, "1 to 1000"),
        ({"Content-Type": "application/json"}, b"[1]", 422, "/0"),
        ({"Content-Type": "application/json"}, b"[" + b"{}," * 1000 + b"{}]", 413, "1000"),
        ({"Content-Type": "application/json"}, b" " * (MAX_BODY + 1), 413, "send less"),
        ({"Content-Type": FORM}, b"durum", 400, "form"),
        ({"Content-Type": FORM}, b' {"recipient": 1}', 415, "for JSON send Content-Type: app"),
        ({"Content-Type": FORM}, b"[{}]", 415, "for JSON send Content-Type: app"),
        ({"Content-Type": FORM}, b"a=1&" * 200, 400, "100 fields"),
    ],
)
async def test_body_without_records_is_a_problem(  # noqa: PLR0917  # cases
    client: httpx.AsyncClient,
    fake: FakePublisher,
    headers: dict[str, str],
    body: bytes,
    status: int,
    what: str,
):
    """Each gets a problem document that names the correction."""
    answer = await client.post("/v1/consents", content=body, headers=headers)
    assert answer.status_code == status
    assert what in answer.text
    assert answer.json()["status"] == status
    assert fake.events == []


async def test_duplicate_key_is_a_violation(client: httpx.AsyncClient):
    """The last would silently win in most JSON readers."""
    body = json.dumps(a_record())[:-1] + ', "status": "RET"}'
    answer = await client.post(
        "/v1/consents", content=body, headers={"Content-Type": "application/json"}
    )
    assert pointers(answer) == {("/status", "IZIN-TWICE")}


async def test_same_id_has_the_same_event_id(client: httpx.AsyncClient, fake: FakePublisher):
    """By the body's id, by Idempotency-Key, and by a dated reference."""
    for _ in range(2):
        await post(client, a_record(id="signup-1"))
        await post(client, a_record(), **{"Idempotency-Key": "key-1"})
        await post(client, a_record(origin_ref="crm-1"))
    ids = [one.event_id for one in fake.events]
    assert ids[:3] == ids[3:]
    assert len(set(ids)) == 3


async def test_new_status_under_one_reference_is_another_event(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """A customer number does not identify an event."""
    await post(client, a_record(origin_ref="crm-1"))
    await post(client, a_record(origin_ref="crm-1", status="RET"))
    await post(client, a_record(origin_ref="crm-1", consent_date="2026-03-02 12:30:00"))
    assert len({one.event_id for one in fake.events}) == 3


async def test_reference_without_a_date_identifies_nothing(
    client: httpx.AsyncClient, fake: FakePublisher, clock: MovingClock
):
    """Otherwise a second consent, months after a RET, would be taken for the first."""
    live = a_record(origin_ref="crm-1", consent_date=None, date_basis="received")
    await post(client, live)
    clock.now += timedelta(minutes=1)
    await post(client, live)
    first, second = fake.events
    assert first.event_id != second.event_id
    assert second.consent_date == clock.now


async def test_unreachable_broker_gives_503(client: httpx.AsyncClient, fake: FakePublisher):
    """503 with Retry-After, never 202."""
    fake.is_away_for = lambda _: True
    answer = await post(client, a_record())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_oversize_record_is_refused(client: httpx.AsyncClient, fake: FakePublisher):
    """The others of the list are taken."""
    fake.largest = 1000
    answer = await post(client, [a_record(), a_record(evidence={"page": "x" * 2000})])
    assert answer.status_code == 422
    assert pointers(answer) == {("/1", "IZIN-SIZE")}
    assert len(answer.json()["events"]) == 1


async def test_requests_and_records_are_counted(client: httpx.AsyncClient):
    """By status, and by outcome."""
    await post(client, a_record())
    page = (await client.get("http://operations/metrics")).text
    assert 'izin_intake_requests_total{status="202"} 1.0' in page
    assert 'izin_intake_records_total{outcome="published"} 1.0' in page


async def test_unknown_paths_name_the_endpoint(client: httpx.AsyncClient):
    """And metrics are for operators, elsewhere."""
    for answer in (
        await client.get("/nothing"),
        await client.get("/v1/consents"),
        await client.get("/metrics"),
    ):
        assert answer.status_code in {404, 405}
        assert "there are POST /v1/consents" in answer.text


PAGE = (ROOT / "docs" / "intake.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```sh\n(curl .*?)```\n+(\d{3}):\n+```json\n(.*?)```", PAGE, re.DOTALL)


async def sent(command: str, fake: FakePublisher) -> httpx.Response:
    """Send what the curl ``command`` would to an intake that has the brand of the examples."""
    words = shlex.split(command.replace("\\\n", " ").replace("$IZIN_API_KEY", API_KEY))
    options = list(zip(words[2::2], words[3::2], strict=True))
    headers = [tuple(value.split(": ", 1)) for option, value in options if option == "-H"]
    data = "&".join(value for option, value in options if option == "-d")
    assert {option for option, _ in options} <= {"-H", "-d"}
    names = {name.lower() for name, _ in headers}
    if "content-type" not in names:
        headers.append(("Content-Type", FORM))
    brand = RegisteredBrand(
        brand_code=100001,
        iys_code=100001,
        customer_id="acme",
        name="Example",
        activated_at=NOON.replace(year=2020),
    )
    async with intake_client(fake, BrandDirectory([brand]), lambda: NOON) as client:
        del client.headers["Authorization"]
        return await client.post(words[1], content=data.encode(), headers=headers)


def plain(answer: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return ``answer`` without the ids, which chance makes, and the token, which Kafka does."""
    for one in answer["events"]:
        one["event_id"] = "…"
        assert positions_of(one["token"])
        one["token"] = "…"
    assert positions_of(answer["token"])
    request_id = {"request_id": "…"} if "request_id" in answer else {}
    return answer | {"token": "…"} | request_id


@pytest.mark.parametrize(("command", "status", "answer"), EXAMPLES)
async def test_each_request_is_answered_as_the_page_says(
    fake: FakePublisher, command: str, status: str, answer: str
) -> None:
    """Status and body, but for the ids."""
    got = await sent(command, fake)
    assert got.status_code == int(status)
    assert plain(got.json()) == json.loads(answer)


def test_page_has_requests_of_every_kind() -> None:
    """The check above looks at something."""
    assert len(EXAMPLES) == PAGE.count("\ncurl ") == 5
    assert {status for _, status, _ in EXAMPLES} == {"202", "422"}


async def test_request_of_the_readme_is_accepted(fake: FakePublisher) -> None:
    """Copied, it publishes a RET."""
    (command,) = re.findall(r"^curl \S+/v1/consents .*?[^\\]$", README, re.MULTILINE | re.DOTALL)
    got = await sent(command, fake)
    assert got.status_code == 202
    assert got.json()["events"][0]["violations"] == []


def test_every_field_is_on_the_page() -> None:
    """And no other."""
    table = PAGE[PAGE.index("## Fields") : PAGE.index("## Limits")]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row[1])} == set(NAMES)


OTHER_BRAND, FOREIGN_BRAND = 100002, 200001


class GatedPublisher(FakePublisher):
    """Acknowledges events of the key ``shop`` when the test opens, all others at once."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self.gated: list[Callable[[], None]] = []

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,
        on_result: Callable[[PublishResult], None],
        *,
        wait: timedelta = timedelta(0),
    ) -> None:
        if event.actor == "shop":
            super().send(event, key, lambda one: self.gated.append(partial(on_result, one)))
        else:
            super().send(event, key, on_result, wait=wait)

    def open(self) -> None:
        for acknowledge in self.gated:
            acknowledge()


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
        if scope not in {Scope.PUBLISH, Scope.TEST}:
            assert (published, violations(reply)) == (0, [])
            answer = (reply.status, reply.headers["content-type"], reply.body)
            check_refusal(scope, Scope.PUBLISH, answer)
        elif customer == CUSTOMER:
            assert (reply.status, published) == (202, scope is Scope.PUBLISH)
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


async def test_key_for_tests_gets_the_same_answers_and_publishes_nothing(
    directory: BrandDirectory, clock: MovingClock, fake: FakePublisher
):
    """Neither events nor first receipts: the same reference is free for the real thing."""
    answers = {}
    for scope in (Scope.TEST, Scope.PUBLISH):
        keys = known(an_api_key(scopes=frozenset({scope})))
        receipts = FakeReceipts(log := [], clock)
        intake = Intake(fake, directory, receipts, keys, clock=clock, chance=bytes)
        app = public_app(intake_routes(intake, directory), dict)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://intake", headers=AUTHORIZATION
        ) as client:
            record = a_record(consent_date=None, date_basis="received", id="r-1")
            sent = [record, a_record(recipient="12"), a_record(status="RET")]
            answers[scope] = [(await post(client, body)).json() for body in (record, sent)]
        assert bool(log) == bool(fake.events) == (scope is Scope.PUBLISH)
    for tried, real in zip(answers[Scope.TEST], answers[Scope.PUBLISH], strict=True):
        assert (tried.pop("test"), "token" in tried, "test" in real) == (True, False, False)
        for one in (tried, real):
            for part in (one, *one["events"]):
                part.pop("token", None)
            one.pop("request_id", None)
        assert tried == real
