"""API keys at the feeds: who may read what, and for how long."""

import asyncio
from datetime import timedelta

import pytest

from izin.schemas.api_keys import Scope
from tests.support.api_keys import API_KEY, an_api_key, known
from tests.support.builders import BRAND, CUSTOMER
from tests.unit.sinks.feeds.conftest import SUBSCRIBER, serving
from tests.unit.sinks.feeds.fakes import FakeMessage, a_message, a_permission, key_of

FEEDS = ("/v1/opt-outs", "/v1/permissions", "/v1/outcomes")
OPEN = ("/health/live", "/health/ready")
PROBLEM = "application/problem+json"


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
        match scope:
            case None:
                assert response.status_code == 401
            case Scope.SUBSCRIBE:
                assert response.status_code == 200
                assert len(response.json()["items"]) == (customer == CUSTOMER)
            case _:
                assert response.status_code == 403
                assert f"lacks the scope {Scope.SUBSCRIBE}" in response.json()["detail"]
        if response.status_code != 200:
            assert response.headers["content-type"] == PROBLEM
            assert API_KEY not in response.text


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
        deleted = FakeMessage(0, 3, None, key=key_of(a_permission()))
        api.sources.write(
            "permissions",
            a_message(0, 0),
            a_message(0, 1, brand_code=100002),
            a_message(0, 2, type="EPOSTA", recipient="ada@example.com"),
            deleted,
        )
        page = (await api.get("/v1/permissions")).json()
        assert [one["offset"] for one in page["items"]] == seen
        again = (await api.get("/v1/permissions", after=page["next"])).json()
        assert again["items"] == []


@pytest.mark.parametrize("how", ["revoked", "expired", "cut"])
async def test_waiting_request_is_held_to_its_key(how: str):
    """What comes after the key was revoked, has expired or was cut, it does not get."""
    keys = known(SUBSCRIBER)
    async with serving(keys) as api:
        begun = (await api.get("/v1/permissions")).json()["next"]
        waiting = asyncio.create_task(api.get("/v1/permissions", after=begun, wait=20))
        await asyncio.sleep(0.05)
        later = api.now[0] + timedelta(seconds=1)
        changed = {
            "revoked": {"revoked_at": api.now[0]},
            "expired": {"expires_at": later},
            "cut": {"brands": frozenset({7})},
        }[how]
        fields = SUBSCRIBER.to_avro() | changed
        fields["brands"] = sorted(fields["brands"])
        keys.put(fields)
        api.now[0] = later
        api.sources.write("permissions", a_message(0, 0))
        if how == "cut":
            await asyncio.sleep(0.1)
            assert not waiting.done()
            waiting.cancel()
            return
        async with asyncio.timeout(5):
            assert (await waiting).status_code == 401


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
