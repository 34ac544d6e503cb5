"""The endpoints of the feeds: pages, waiting, and what is said where there is no page.

API keys at the feeds: who may read what, and for how long.
"""

import asyncio
from datetime import timedelta
from unittest.mock import AsyncMock, Mock

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request

from izin.consent import OurError
from izin.feeds.protocol import AWAY_FOR_AT_MOST, FeedRefusal
from izin.schemas.api_keys import Scope
from tests.support.api_keys import an_api_key, check_refusal, known
from tests.support.builders import BRAND, CUSTOMER, NOON, kafka_message
from tests.unit.feeds.conftest import SUBSCRIBER, Api, serving
from tests.unit.feeds.fakes import a_message, a_permission, key_of

PATH = "/v1/permissions"
FEEDS = ("/v1/opt-outs", "/v1/permissions", "/v1/outcomes")
OPEN = ("/health/live", "/health/ready")


def problem(response: httpx.Response, status: int, title: str) -> str:
    """Check that a response is this problem; return its detail."""
    found = response.json()
    assert (response.status_code, found["title"], found["status"]) == (status, title, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in response.headers) is (status == 503)
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
    async with asyncio.timeout(5):
        page = (await waiting).json()
    assert [one["partition"] for one in page["items"]] == [1]
    assert waits("izin_feeds_waiting", {"feed": "permissions"}) == 0
    assert waits("izin_feeds_items_total", {"feed": "permissions"}) == 1
    served = {"feed": "permissions", "status": "200"}
    assert waits("izin_feeds_requests_total", served) == 2


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
    async with asyncio.timeout(5):
        assert (await waiting).json()["items"] == []


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


@pytest.mark.parametrize(
    ("query", "status", "title"),
    [
        ({"after": "x"}, 400, "Cursor not usable"),
        ({"limit": 0}, 422, "Parameter not usable"),
        ({"at_least": "x"}, 400, "Parameter not usable"),
    ],
)
async def test_what_cannot_be_used_is_refused(
    api: Api, query: dict[str, object], status: int, title: str
):
    """With what to do instead."""
    problem(await api.get(PATH, **query), status, title)


async def test_cursor_of_another_feed_or_topic_is_refused(api: Api):
    """A clear word instead of other records."""
    begun = (await api.get("/v1/opt-outs")).json()["next"]
    problem(await api.get(PATH, after=begun), 400, "Cursor not usable")
    object.__setattr__(api.sources.sources["opt-outs"].identity, "topic_id", "another")
    detail = problem(await api.get("/v1/opt-outs", after=begun), 410, "Cursor of another topic")
    assert "begin again without after" in detail


async def test_old_cursor_of_permissions_is_gone(begun: str, api: Api):
    """Deletions may be missing; a client that reads on time never sees this."""
    api.now[0] += AWAY_FOR_AT_MOST
    at_last = (await api.get(PATH, after=begun)).json()["next"]
    api.now[0] += timedelta(minutes=1)
    detail = problem(await api.get(PATH, after=begun), 410, "Cursor too old")
    assert "begin a new snapshot" in detail
    assert (await api.get(PATH, after=at_last)).status_code == 200


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
        async with asyncio.timeout(5):
            await ended
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
            media_type = response.headers["content-type"]
            answer = (response.status_code, media_type, response.text)
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
