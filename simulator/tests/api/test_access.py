"""Tokens, limits, paths and subscriptions: what is refused before an endpoint is reached."""

import pytest

from iys_simulator.store.accounts import Account, Subscription, SubscriptionState
from simulator_harness.client import SimulatorHarness, codes

RIGHT = {"username": "api@example.com", "password": "fake", "grant_type": "password"}


async def token(iys: SimulatorHarness, **form: object):
    return await iys.http.post(
        "/oauth2/token", json={k: v for k, v in form.items() if v is not ...}
    )


async def test_token_by_json_and_by_form_is_issued(iys: SimulatorHarness):
    """The endpoint accepts both content types and responds with İYS's lifetimes."""
    for sent in ({"json": RIGHT}, {"data": RIGHT}):
        answer = await iys.http.post("/oauth2/token", **sent)
        assert answer.status_code == 200
        body = answer.json()
        assert (body["expires_in"], body["refresh_expires_in"]) == (7200, 14400)
        assert body["token_type"] == "bearer"
        assert body["access_token"].count(".") == 2


async def test_administrator_gets_no_token(iys: SimulatorHarness):
    """Only API users may log in."""
    account = Account(username="admin@example.com", password="fake", iys_code=1, role="admin")
    iys.state.directory.add_account(account, Subscription(iys_code=1))
    answer = await token(iys, **{**RIGHT, "username": "admin@example.com"})
    assert answer.json()["error_description"] == "Beklenmeyen kullanıcı rolü: admin."


async def test_refresh_token_works_once(iys: SimulatorHarness):
    """A refresh returns the next refresh token and revokes the old one."""
    first = (await token(iys, **RIGHT)).json()["refresh_token"]
    answer = await token(iys, grant_type="refresh_token", refresh_token=first)
    assert answer.status_code == 200
    assert answer.json()["refresh_token"] != first
    again = await token(iys, grant_type="refresh_token", refresh_token=first)
    assert again.status_code == 400


async def test_token_hour_restarts_with_each_early_retry(iys: SimulatorHarness):
    """H084 from the eleventh request on; a retry after 59 minutes costs another hour."""
    for _ in range(9):  # the fixture took the first
        assert (await token(iys, **RIGHT)).status_code == 200
    refused = await token(iys, **RIGHT)
    assert (refused.status_code, codes(refused)) == (429, ["H084"])
    iys.state.clock.advance(3540)
    assert (await token(iys, **RIGHT)).status_code == 429
    iys.state.clock.advance(3599)
    assert (await token(iys, **RIGHT)).status_code == 429
    iys.state.clock.advance(3600)
    assert (await token(iys, **RIGHT)).status_code == 200


async def test_h084_flat_by_switch(iys: SimulatorHarness):
    """The switch returns H084 as one production client reads it."""
    iys.set(token_limit=1, h084_shape="flat")
    assert (await token(iys, **RIGHT)).json()["code"] == "H084"


@pytest.mark.parametrize("header", [None, "Bearer garbage", "Basic abc", "Bearer"])
async def test_missing_or_unknown_token_is_h351(iys: SimulatorHarness, header: str | None):
    """401 H351 whatever is wrong with the token."""
    del iys.http.headers["Authorization"]
    headers = {"Authorization": header} if header else {}
    answer = await iys.http.get("/sps/660001/brands", headers=headers)
    assert (answer.status_code, codes(answer)) == (401, ["H351"])


async def test_expired_token_is_h351(iys: SimulatorHarness):
    """H351 after two hours."""
    iys.state.clock.advance(7199)
    assert (await iys.http.get("/sps/660001/brands")).status_code == 200
    iys.state.clock.advance(1)
    assert codes(await iys.http.get("/sps/660001/brands")) == ["H351"]


@pytest.mark.parametrize(
    "path", ["/sps/660001/brands/", "/citizen/", "/__simulator__/health/", "/oauth2/token/"]
)
async def test_path_with_a_trailing_slash_is_unknown(iys: SimulatorHarness, path: str):
    """404 as for any path that İYS does not have; no redirect, so none that leaves https."""
    answer = await iys.http.get(path, headers={"host": "simulator.example.com"})
    assert (answer.status_code, answer.content) == (404, b"")
    assert "location" not in answer.headers


async def test_path_of_another_account_is_h353(iys: SimulatorHarness):
    """H353 names the code that does not belong to the account."""
    provider = await iys.http.get("/sps/660002/brands")
    brand = await iys.http.post("/sps/660001/brands/660109/consents", json=iys.consent())
    assert provider.status_code == brand.status_code == 403
    assert provider.json()["errors"] == [
        {"code": "H353", "message": "iysCode, kullanıcı izinleriyle eşleştirilemiyor"}
    ]
    assert brand.json()["errors"][0]["message"].startswith("brandCode,")


async def test_h353_misspelt_by_switch_in_older_endpoints(iys: SimulatorHarness):
    """The switch returns the key `code:` and the misspelt word, in older endpoints only."""
    iys.set(forbidden_spelling="code:")
    older = await iys.http.get("/sps/660002/brands")
    newer = await iys.http.get("/sps/660002/subscription")
    assert older.json()["errors"] == [
        {"code:": "H353", "message": "iysCode, kullanıcı izinleriyle eşleştiriliemiyor"}
    ]
    assert "code" in newer.json()["errors"][0]


@pytest.mark.parametrize(
    ("subscription_state", "expected", "expected_of_query"),
    [
        ("PAUSED", "H520", None),
        ("EXPIRED", "H520", None),
        ("CLOSED", "H521", "H521"),
        ("NONE", "H524", "H437"),
    ],
)
async def test_subscription_refuses_by_its_state(
    iys: SimulatorHarness, subscription_state: str, expected: str, expected_of_query: str | None
):
    """PAUSED and EXPIRED allow only the query of the subscription itself."""
    iys.state.directory.subscriptions[660001] = Subscription(
        iys_code=660001, state=SubscriptionState(subscription_state)
    )
    answer = await iys.add()
    assert (answer.status_code, codes(answer)) == (403, [expected])
    query = await iys.http.get("/sps/660001/subscription")
    if expected_of_query:
        assert codes(query) == [expected_of_query]
    else:
        assert query.json()["status"] == subscription_state


async def test_rights_are_per_channel(iys: SimulatorHarness):
    """A channel with a read right is not written; one without a right is not read either."""
    await iys.admin("brands", {"brandCode": 660101, "iysCode": 660001, "rights": {"MESAJ": "read"}})
    assert codes(await iys.add()) == ["H353"]
    query = {"recipients": ["+905550000001"]}
    readable = await iys.http.post(f"{iys.path}/consents/BIREYSEL/status/MESAJ", json=query)
    assert readable.status_code == 200
    unreadable = await iys.http.post(f"{iys.path}/consents/BIREYSEL/status/ARAMA", json=query)
    assert codes(unreadable) == ["H353"]


async def test_eleventh_request_of_a_second_is_h124(iys: SimulatorHarness):
    """The limit counts requests to all endpoints; the next second starts again."""
    iys.set(requests_per_second=10)
    for _ in range(5):
        assert (await iys.http.get("/sps/660001/brands")).status_code == 200
        assert (await iys.changes()).status_code == 204
    refused = await iys.add()
    assert (refused.status_code, codes(refused)) == (429, ["H124"])
    iys.state.clock.advance(1)
    assert (await iys.add()).status_code == 200


async def test_sliding_window_looks_back_a_second(iys: SimulatorHarness):
    """Ten requests at the end of a second use up the beginning of the next one."""
    iys.set(requests_per_second=10, request_window="sliding")
    iys.state.clock.advance(0.9)
    for _ in range(10):
        await iys.http.get("/sps/660001/brands")
    iys.state.clock.advance(0.2)
    assert (await iys.http.get("/sps/660001/brands")).status_code == 429
    iys.state.clock.advance(0.81)
    assert (await iys.http.get("/sps/660001/brands")).status_code == 200


async def test_admin_api_has_no_limit(iys: SimulatorHarness):
    """Requests of an operator do not count for the client."""
    iys.set(requests_per_second=1)
    for _ in range(3):
        assert (await iys.look("health")).status_code == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b""])
async def test_token_request_without_fields_is_refused_flat(iys: SimulatorHarness, body: bytes):
    """The token endpoint has no envelope: an unreadable body has no grant type."""
    headers = {"Content-Type": "application/json"}
    answer = await iys.http.post("/oauth2/token", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_request",
        "error_description": "Giriş yöntemi belirtilmemiş.",
    }
