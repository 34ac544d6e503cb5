"""The endpoints of the feeds: pages, waiting, and what is said where there is no page.

API keys at the feeds: who may read what, and for how long.
The page of the feeds is correct: its requests are sent, and what it names is there.

What a client may say in the query, and what it is answered about the rest.

Cursors: what a client keeps says where it was, and of which topic.

Where the feeds read from: which topic it is, and whether everything was read.
"""

import asyncio
import json
import re
import shlex
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request

from izin.consent import OurError
from izin.feeds import sources as module
from izin.feeds.endpoint import _LIMITS, _SEARCH
from izin.feeds.protocol import (
    AWAY_FOR_AT_MOST,
    Cursor,
    FeedRefusal,
    LogIdentity,
    feed_request,
    parameters_of,
    read_cursor,
)
from izin.feeds.sources import CURRENT_FOR, Sources, Tail
from izin.kafka.clients import TopicIdentities
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.schemas.api_keys import Scope
from izin.schemas.consistency_token import LogPosition, token_of
from tests.support.builders import (
    API_KEY,
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_key,
    an_api_key,
    check_refusal,
    kafka_message,
    known,
)
from tests.support.project_rules import ROOT
from tests.support.published import an_opt_out, an_outcome
from tests.unit.feeds.conftest import (
    CODEC,
    OPT_OUTS,
    PERMISSIONS,
    SUBSCRIBER,
    Api,
    a_message,
    a_permission,
    an_end,
    give,
    key_of,
    known_brands,
    serving,
)

PATH = "/v1/permissions"
FEEDS = ("/v1/opt-outs", "/v1/permissions", "/v1/outcomes")
OPEN = ("/health/live", "/health/ready")


def problem(response: httpx.Response, status: int, title: str) -> str:
    """Check that a response is this problem, and has no recipient in it; return its detail."""
    found = response.json()
    assert (response.status_code, found["title"], found["status"]) == (status, title, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in response.headers) is (status in {429, 503})
    assert PHONE not in response.text
    return str(found["detail"])


@pytest.fixture
async def begun(api: Api) -> str:
    """Return a cursor at the end of the permissions."""
    return str((await api.get(PATH)).json()["next"])


async def test_page_is_not_stored_by_caches(api: Api):
    """Recipients are personal data."""
    api.sources.write("permissions", a_message(0, 0))
    response = await api.get(PATH)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"items", "next", "complete"}


async def test_waiting_request_gets_the_first_record(begun: str, api: Api):
    """And no more than there is: it returns at once."""
    waiting = asyncio.create_task(api.get(PATH, after=begun, wait=30))
    await asyncio.sleep(0.05)
    waits = api.endpoint.metrics.registry.get_sample_value
    assert waits("izin_feeds_waiting", {"feed": "permissions"}) == 1
    api.sources.write("permissions", a_message(1, 0))
    page = (await asyncio.wait_for(waiting, 5)).json()
    assert [one["partition"] for one in page["items"]] == [1]
    assert waits("izin_feeds_waiting", {"feed": "permissions"}) == 0
    assert waits("izin_feeds_items_total", {"feed": "permissions"}) == 1
    assert waits("izin_feeds_requests_total", {"feed": "permissions", "status": "200"}) == 2


async def test_wait_ends_with_an_empty_page(begun: str, api: Api):
    """With a cursor: also what was for others is behind it."""
    api.sources.write("permissions", a_message(0, 0, brand_code=7, customer_id="beta"))
    page = (await api.get(PATH, after=begun, wait=0.1)).json()
    assert (page["items"], page["complete"]) == ([], True)
    assert page["next"] != begun


async def test_stopping_process_answers_who_waits(api: Api):
    """Within the second after which it looks."""
    waiting = asyncio.create_task(api.get(PATH, wait=30))
    await asyncio.sleep(0.05)
    api.endpoint.stopping.set()
    assert (await asyncio.wait_for(waiting, 5)).json()["items"] == []


async def test_empty_page_is_not_given_while_more_may_be_there(begun: str, api: Api):
    """It would say that nobody has opted out; what is known is returned all the same, but does not
    count as the end.
    """
    api.now[0] += AWAY_FOR_AT_MOST
    api.sources.current = False
    problem(await api.get("/v1/opt-outs"), 503, "Kafka does not answer")
    api.sources.write("permissions", a_message(0, 0))
    page = (await api.get(PATH, after=begun)).json()
    assert len(page["items"]) == 1
    api.now[0] += timedelta(seconds=1)
    problem(await api.get(PATH, after=page["next"]), 410, "Cursor too old")


async def test_request_without_a_place_in_time_is_refused(
    begun: str, api: Api, monkeypatch: pytest.MonkeyPatch
):
    """Others read older records; the cursor stays where it is."""
    source = api.sources.sources["permissions"]
    source.tail.forget()
    monkeypatch.setattr(source.older, "read", AsyncMock(side_effect=FeedRefusal.BUSY.error()))
    problem(await api.get(PATH, after=begun), 503, "Busy")


async def test_schema_registry_that_is_away_is_a_503(
    begun: str, api: Api, monkeypatch: pytest.MonkeyPatch
):
    """The cursor stays where it is, so nothing is passed over."""
    monkeypatch.setattr(
        api.sources.sources["permissions"].items._codec,
        "decode",
        Mock(side_effect=OurError("the registry is away")),
    )
    api.sources.write("permissions", a_message(0, 0))
    problem(await api.get(PATH, after=begun), 503, "Kafka does not answer")
    monkeypatch.undo()
    assert len((await api.get(PATH, after=begun)).json()["items"]) == 1


async def test_cursor_of_another_feed_or_topic_is_refused(api: Api):
    """A clear word instead of other records."""
    begun = (await api.get("/v1/opt-outs")).json()["next"]
    problem(await api.get(PATH, after=begun), 400, "Cursor not usable")
    object.__setattr__(api.sources.sources["opt-outs"].identity, "topic_id", "another")
    detail = problem(await api.get("/v1/opt-outs", after=begun), 410, "Cursor of another topic")
    assert "begin again without after" in detail


async def test_deleted_records_are_said_to_be_missing(api: Api):
    """Retention was faster than the subscriber."""
    log = api.sources.logs["opt-outs"]
    begun = (await api.get("/v1/opt-outs")).json()["next"]
    log.append(a_message(0, 9))
    log.starts[0] = 5
    api.sources.sources["opt-outs"].tail.forget()
    detail = problem(await api.get("/v1/opt-outs", after=begun), 410, "Cursor too old")
    assert "load the permissions again" in detail


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/consents", 404), ("POST", "/v1/opt-outs", 405), ("GET", "/", 404)],
)
async def test_other_paths_and_methods_are_named(api: Api, method: str, path: str, status: int):
    """With those that there are."""
    response = await api.client.request(method, path)
    assert "GET /v1/permissions" in problem(response, status, "No such endpoint")


async def test_request_whose_client_has_gone_ends():
    """It would wait for nobody, and count for its key."""
    async with serving() as api:
        gone = asyncio.Event()
        ended = asyncio.create_task(_asked(api, gone))
        await asyncio.sleep(0.05)
        gone.set()
        await asyncio.wait_for(ended, 5)
        waits = api.endpoint.metrics.registry.get_sample_value
        assert waits("izin_feeds_waiting", {"feed": "permissions"}) == 0


async def _asked(api: Api, gone: asyncio.Event) -> None:
    """Ask as a server does, for a client that leaves when ``gone`` is set."""
    first = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, object]:
        if first:
            return first.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    headers = [(b"authorization", api.client.headers["Authorization"].encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": PATH,
        "query_string": b"wait=30",
        "headers": headers,
        "server": ("feeds", 80),
        "scheme": "http",
    }
    with pytest.raises(ClientDisconnect):
        await api.endpoint.get(Request(scope, receive))


@pytest.mark.parametrize("customer", [CUSTOMER, "beta"])
@pytest.mark.parametrize("endpoint", [*FEEDS, *OPEN])
@pytest.mark.parametrize("scope", [*Scope, None])
async def test_key_may_read_what_its_scope_and_customer_say(
    scope: Scope | None, endpoint: str, customer: str
):
    """Every scope, and no key, at every endpoint, for the key's own customer and for another."""
    key = an_api_key(scopes=frozenset({str(scope)}), customers=frozenset({customer}))
    async with serving(known(key)) as api:
        if scope is None:
            del api.client.headers["Authorization"]
        for feed in api.sources.feeds:
            # Unreadable in two of three feeds: the key of the record says whose it is.
            api.sources.write(feed.name, a_message(0, 0))
        response = await api.get(endpoint)
        if endpoint in OPEN:
            assert response.status_code == 200
            return
        if scope is not Scope.SUBSCRIBE:
            answer = (response.status_code, response.headers["content-type"], response.text)
            check_refusal(scope, Scope.SUBSCRIBE, answer)
            return
        assert response.status_code == 200
        assert len(response.json()["items"]) == (customer == CUSTOMER)


@pytest.mark.parametrize(
    ("cut", "seen"),
    [
        ({}, [0, 1, 2, 3]),
        ({"brands": frozenset({BRAND})}, [0, 2, 3]),
        ({"channels": frozenset({"MESAJ"})}, [0, 1, 3]),
        ({"brands": frozenset({BRAND}), "channels": frozenset({"EPOSTA"})}, [2]),
        ({"customers": frozenset({"beta"})}, []),
        ({"customers": frozenset({"beta", CUSTOMER})}, [0, 1, 2, 3]),
    ],
)
async def test_key_reads_what_it_is_cut_to(cut: dict[str, object], seen: list[int]):
    """Customers, brands and channels; deletions too."""
    key = an_api_key(scopes=frozenset({Scope.SUBSCRIBE.value}), **cut)
    async with serving(known(key)) as api:
        deleted = kafka_message(offset=3, key=key_of(a_permission()))
        api.sources.write(
            "permissions",
            a_message(0, 0),
            a_message(0, 1, brand_code=100002),
            a_message(0, 2, type="EPOSTA", recipient="ada@example.com"),
            deleted,
        )
        page = (await api.get("/v1/permissions")).json()
        assert [one["offset"] for one in page["items"]] == seen
        assert (await api.get("/v1/permissions", after=page["next"])).json()["items"] == []


@pytest.mark.parametrize("feed", ["opt-outs", "outcomes"])
async def test_origin_leaves_out_what_is_of_another(feed: str):
    """What cannot be read may be of it, so it stays. A state is of no one event."""
    async with serving(known(SUBSCRIBER)) as api:
        record, made = {
            "opt-outs": ("Consent", an_opt_out),
            "outcomes": ("Outcome", an_outcome),
        }[feed]
        values = [CODEC.encode(record, made(a_key(), origin=one)) for one in ("shop", "crm")]
        for place, value in enumerate([*values, b"\xc3\x01"]):
            message = kafka_message(offset=place, value=value, key=key_of(a_permission()))
            api.sources.write(feed, message)
        page = (await api.get(f"/v1/{feed}", origin="crm")).json()
        assert [one["offset"] for one in page["items"]] == [1, 2]
        assert len((await api.get(f"/v1/{feed}")).json()["items"]) == 3
        assert (await api.get(f"/v1/{feed}", origin="crm", after=page["next"])).json()[
            "items"
        ] == []
        problem(await api.get("/v1/permissions", origin="crm"), 400, "Parameter not usable")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"revoked_at": NOON}, [401]),
        ({"expires_at": NOON + timedelta(seconds=1)}, [401]),
        ({"brands": [7]}, []),
    ],
    ids=["revoked", "expired", "cut"],
)
async def test_waiting_request_is_held_to_its_key(change: dict[str, object], status: list[int]):
    """What comes after the key was revoked, has expired or was cut, it does not get."""
    keys = known(SUBSCRIBER)
    async with serving(keys) as api:
        begun = (await api.get("/v1/permissions")).json()["next"]
        waiting = asyncio.create_task(api.get("/v1/permissions", after=begun, wait=20))
        await asyncio.sleep(0.05)
        keys.put(SUBSCRIBER.to_avro() | change)
        api.now[0] += timedelta(seconds=1)
        api.sources.write("permissions", a_message(0, 0))
        done, _ = await asyncio.wait([waiting], timeout=5 if status else 0.1)
        assert [one.result().status_code for one in done] == status
        waiting.cancel()


@pytest.mark.parametrize("endpoint", ["/v1/permissions", "/v1/opt-outs"])
async def test_key_of_one_of_forty_customers_sees_no_other(endpoint: str):
    """A hundred brands of forty customers in each feed: no id, brand or recipient of another."""
    key = an_api_key(scopes=frozenset({Scope.SUBSCRIBE.value}))
    async with serving(known(key)) as api:
        for number in range(100):
            is_ours = number < 2
            message = a_message(
                0,
                number,
                customer_id=CUSTOMER if is_ours else f"foreign-{number % 39}",
                brand_code=BRAND + number if is_ours else 900_000 + number,
                recipient=f"+9055{1 if is_ours else 9}00000{number:02}",
            )
            api.sources.write("permissions", message)
        response = await api.get(endpoint)
        assert response.status_code == 200
        assert len(response.json()["items"]) == (2 if endpoint == "/v1/permissions" else 0)
        for foreign in ("foreign", "9000", "+90559"):
            assert foreign not in response.text


PAGE = (ROOT / "docs" / "feeds.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
CURLS = re.findall(r"^curl (.*)$", PAGE, re.MULTILINE)
(EXAMPLE,) = re.findall(r"200:\n+```json\n(.*?)```", PAGE, re.DOTALL)
WRITTEN = token_of([LogPosition("consent-events", 0, 1)])
IDENTITY = LogIdentity(cluster_id="cluster", topic_id="topic", partitions=3)
CURSOR = Cursor(offsets={0: 5, 1: 0, 2: 2**40}, complete_at=NOON, turn=2)
SNAPSHOT = Cursor(offsets={0: 1, 1: 0, 2: 0}, ends={0: 9, 1: 0, 2: 4}, complete_at=NOON)
PARTITIONS = 2


async def sent(api: Api, words: str, *, after: str) -> Any:  # noqa: ANN401  # any JSON
    """Send what curl would, with a wait of nothing; return the page."""
    url, option, header = shlex.split(
        words.replace("$NEXT", after).replace("$IZIN_API_KEY", API_KEY)
    )
    assert (option, header) == ("-H", f"Authorization: {AUTHORIZATION['Authorization']}")
    parts = urlsplit(url)
    assert parts.port == FeedsSettings().port
    response = await api.client.get(parts.path, params=dict(parse_qsl(parts.query)) | {"wait": "0"})
    assert response.status_code == 200, response.text
    return response.json()


async def test_each_request_is_answered(api: Api):
    """Copied, with a cursor where it stands."""
    assert len(CURLS) == 3
    begun = (await api.get("/v1/opt-outs")).json()["next"]
    for words in CURLS:
        assert set(await sent(api, words, after=begun)) >= {"items", "next", "complete"}


async def test_example_is_what_a_feed_returns(api: Api):
    """Field by field."""
    expected = json.loads(EXAMPLE)
    (item,) = expected["items"]
    instants = ("effective_at", "consent_date", "latest_onay_at", "latest_ret_at")
    fields = item | {name: datetime.fromisoformat(item[name]) for name in instants}
    api.sources.write(
        "opt-outs",
        kafka_message(
            partition=item["partition"],
            offset=item["offset"],
            value=CODEC.encode("Consent", fields),
            key=item["key"].encode(),
            headers=[("ce_id", item["id"].encode())],
        ),
    )
    assert await sent(api, CURLS[0], after="") | {"next": "…"} == expected


@pytest.mark.parametrize("feed", [OPT_OUTS, PERMISSIONS])
def test_every_parameter_is_on_the_page(feed: Any):  # noqa: ANN401  # a Feed
    """And no other."""
    table = PAGE[PAGE.index("## Parameters") : PAGE.index("## Responses")]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert named - {one.name for one in parameters_of(feed)} <= {"from", "origin"}
    assert {one.name for one in parameters_of(feed)} <= named


def test_every_status_is_on_the_page():
    """As the OpenAPI document has them."""
    document = json.loads((ROOT / "docs" / "openapi" / "feeds.json").read_text("utf-8"))
    table = PAGE[PAGE.index("## Responses") : PAGE.index("## Limits")]
    assert set(re.findall(r"^\| (\d{3})", table, re.MULTILINE)) == set(
        document["paths"]["/v1/opt-outs"]["get"]["responses"]
    )


def test_limits_are_those_of_the_code():
    """Numbers that a reader plans with."""
    settings = FeedsSettings()
    assert (settings.readers, _SEARCH) == (4, 2.0)
    said = (
        f"{_LIMITS.requests} requests at once",
        f"{settings.memory // 2**20} MiB",
        "for four\nrequests at a time",
        "searched for two seconds",
    )
    assert [one for one in said if one not in PAGE] == []


def test_readme_names_a_path_that_is_served():
    """With the port of the feeds."""
    (url,) = re.findall(r"curl '(http://127\.0\.0\.1:\d+/v1/[\w-]+)\?wait=30'", README)
    assert url == f"http://127.0.0.1:{FeedsSettings().port}{OPT_OUTS.path}"


def test_nothing_need_be_said() -> None:
    """Then reading begins at the oldest record, without a wait."""
    asked = feed_request(QueryParams(""), OPT_OUTS)
    assert (asked.after, asked.is_from_now, asked.limit, asked.wait) == (None, False, 500, 0)


def test_everything_is_taken_as_it_is_said() -> None:
    """The limits themselves included."""
    asked = feed_request(QueryParams("after=abc&limit=1000&wait=30"), PERMISSIONS)
    assert (asked.after, asked.limit, asked.wait) == ("abc", 1000, 30)
    assert feed_request(QueryParams("from=now&wait=0.5"), OPT_OUTS).is_from_now


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=", "limit"),
        ("limit=٣", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=000000001999999", "limit"),
        ("limit=000000001" + "0" * 5000, "limit"),
        ("wait=" + "9" * 5000, "wait"),
        ("wait=31", "wait"),
        ("wait=-1", "wait"),
        ("wait=nan", "wait"),
        ("wait=inf", "wait"),
        ("wait=PT5S", "wait"),
        ("wait=٣", "wait"),
        ("wait=1_0", "wait"),
        ("wait=1e1", "wait"),
        ("from=yesterday", "from"),
        ("from=now&after=x", "from"),
        ("After=7", "After"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_what_cannot_be_used_is_named(query: str, named: str) -> None:
    """A misspelt parameter would be ignored, and the client would not know."""
    with pytest.raises(RequestRefusedError) as refused:
        feed_request(QueryParams(query), OPT_OUTS)
    is_of_range = named in {"limit", "wait"} and "&" not in query
    assert refused.value.text.status == (422 if is_of_range else 400)
    assert refused.value.text.detail.startswith(f"{named} ")


def test_permissions_cannot_begin_in_between() -> None:
    """A list of permissions without the earlier ones would be no list."""
    assert "from" not in {one.name for one in parameters_of(PERMISSIONS)}
    with pytest.raises(RequestRefusedError, match="from is no parameter here"):
        feed_request(QueryParams("from=now"), PERMISSIONS)


@pytest.mark.parametrize("cursor", [CURSOR, SNAPSHOT])
@pytest.mark.parametrize("feed", [OPT_OUTS, PERMISSIONS])
def test_cursor_is_read_as_it_was_written(cursor: Cursor, feed: object) -> None:
    """As text, in the characters of a URL."""
    text = cursor.text(feed, IDENTITY)  # type: ignore[arg-type]
    assert read_cursor(text, feed, IDENTITY, NOON) == cursor  # type: ignore[arg-type]
    assert set("=+/&?# ").isdisjoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        CURSOR.text(PERMISSIONS, IDENTITY),
        CURSOR.text(OPT_OUTS, IDENTITY)[:-2],
        token_of([LogPosition("consent-events", 0, 1)]),
    ],
)
def test_other_texts_are_no_cursor(text: str) -> None:
    """Also one of another endpoint, or a consistency token."""
    with pytest.raises(RequestRefusedError, match="after is no cursor of this endpoint"):
        read_cursor(text, OPT_OUTS, IDENTITY, NOON)


@pytest.mark.parametrize("name", ["cluster_id", "topic_id"])
def test_cursor_of_another_topic_or_cluster_is_foreign(name: str) -> None:
    """The same offsets are other records there."""
    fields = {"cluster_id": "cluster", "topic_id": "topic", "partitions": 3} | {name: "other"}
    text = CURSOR.text(OPT_OUTS, IDENTITY)
    with pytest.raises(RequestRefusedError, match="is not the one that after is of"):
        read_cursor(text, OPT_OUTS, LogIdentity(**fields), NOON)  # type: ignore[arg-type]


def test_cursor_of_another_partition_count_is_refused() -> None:
    """Keys would be elsewhere."""
    more = LogIdentity(cluster_id="cluster", topic_id="topic", partitions=4)
    with pytest.raises(RequestRefusedError, match="number of partitions"):
        read_cursor(CURSOR.text(OPT_OUTS, IDENTITY), OPT_OUTS, more, NOON)


def test_cursor_of_a_state_expires_before_tombstones_do() -> None:
    """A client of permissions that was away for longer may have missed a deletion."""
    text = CURSOR.text(PERMISSIONS, IDENTITY)
    at_last = NOON + AWAY_FOR_AT_MOST
    assert read_cursor(text, PERMISSIONS, IDENTITY, at_last) == CURSOR
    with pytest.raises(RequestRefusedError, match="begin a new snapshot"):
        read_cursor(text, PERMISSIONS, IDENTITY, at_last + timedelta(seconds=1))
    much_later = NOON + timedelta(days=80)
    assert read_cursor(CURSOR.text(OPT_OUTS, IDENTITY), OPT_OUTS, IDENTITY, much_later) == CURSOR


def test_cursor_with_an_impossible_instant_is_refused() -> None:
    """Whoever makes one up gets a refusal, and no error of ours."""
    impossible = replace(CURSOR, complete_at=Mock(**{"timestamp.return_value": 2.0**60}))
    with pytest.raises(RequestRefusedError, match="no cursor of this endpoint"):
        read_cursor(impossible.text(OPT_OUTS, IDENTITY), OPT_OUTS, IDENTITY, NOON)


class Kafka:
    """The topics of a cluster, as far as they are asked for; and a clock."""

    def __init__(self) -> None:
        self.topic_id = "one"
        self.is_away = False
        self.now = 1000.0

    def identities(self, _client: object, names: list[str], **_: object) -> TopicIdentities:
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return TopicIdentities(
            cluster_id="cluster",
            topic_ids=dict.fromkeys(names, self.topic_id),
            partitions=dict.fromkeys(names, PARTITIONS),
        )


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """Stand in for a cluster; nobody follows its topics."""
    found = Kafka()
    monkeypatch.setattr(module, "identities", found.identities)
    monkeypatch.setattr(module, "monotonic", lambda: found.now)
    monkeypatch.setattr(Tail, "start", lambda _: None)
    return found


def unopened() -> Sources:
    """Return the sources of a process."""
    return Sources(KafkaSettings(), FeedsSettings(), CODEC, known_brands({}))


async def test_beginnings_that_kafka_does_not_say_are_an_error(monkeypatch: pytest.MonkeyPatch):
    """A client without a cursor gets a 503, and not an empty snapshot."""
    failing = Mock(side_effect=KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    monkeypatch.setattr(module, "offsets", failing)
    source = SimpleNamespace(feed=PERMISSIONS, identity=IDENTITY)
    with pytest.raises(BrokerError, match="permissions"):
        await unopened().beginnings(source)  # type: ignore[arg-type]


def test_tail_that_reads_nothing_is_not_current(kafka: Kafka):
    """A partition without a leader, or a broker that is away: what is there is not seen."""
    tail = Tail(KafkaSettings(), OPT_OUTS.topic, PARTITIONS, most_bytes=1000)
    complete_at = {0: float("-inf"), 1: float("-inf")}
    tail._follower = SimpleNamespace(complete_at=complete_at.get)  # type: ignore[assignment]
    assert tail.is_current(), "it has just begun"
    kafka.now += CURRENT_FOR
    assert not tail.is_current()
    complete_at.update({0: kafka.now, 1: kafka.now})
    kafka.now += CURRENT_FOR - 1
    assert tail.is_current()
    complete_at[0] = kafka.now
    kafka.now += 1
    assert not tail.is_current(), "one partition is not read"


async def test_faults_name_the_feed(kafka: Kafka):
    """Its end is not known, or it is behind."""
    async with unopened() as sources:
        assert set(sources.faults().values()) == {"its end is not known yet"}
        for feed in sources.feeds:
            tail = sources.of(feed).tail
            give(tail, [an_end(0, 0), an_end(1, 0)])
            tail._thread = SimpleNamespace(is_alive=lambda: True, join=lambda _: None)  # type: ignore[assignment]
        assert sources.faults() == {}
        kafka.now += CURRENT_FOR + 1
        assert sources.faults() == dict.fromkeys(
            ("feed opt-outs", "feed permissions", "feed outcomes"), "is behind its topic"
        )


async def test_recreated_topic_is_read_from_another_place(kafka: Kafka):
    """What was read of the former one is forgotten; while Kafka is away it stays."""
    async with unopened() as sources:
        feed = sources.feeds[0]
        before = sources.of(feed)
        kafka.is_away = True
        await sources.look()
        assert sources.of(feed) is before
        kafka.is_away, kafka.topic_id = False, "two"
        await sources.look()
        assert sources.of(feed) is not before
        assert sources.of(feed).identity.topic_id == "two"


async def test_old_records_are_dropped_from_memory(kafka: Kafka):
    """By the time at which they were written."""
    async with unopened() as sources:
        tail = sources.of(sources.feeds[0]).tail
        give(tail, [a_message(0, 0), a_message(0, 1)])
        written = tail.recent[0].read(0, 1).records[0].timestamp / 1000
        sources.drop_older(written)
        assert tail.recent[0].start == 0
        sources.drop_older(written + 1)
        assert tail.recent[0].start == 2
