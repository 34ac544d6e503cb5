import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import SecretStr

from izin.iys.errors import (
    BusyError,
    CallError,
    TokenLimitError,
    UnauthenticatedError,
    UnreadableError,
)
from izin.iys.tokens import AccessToken, TokenAuth, TokenPolicy, TokenState, read_token
from izin.runtime.settings import IysSettings
from tests.support.iys import InMemoryTokenStore

START = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)
PASSWORD = "not-a-password"
SETTINGS = IysSettings(
    base_url="http://iys.example.com", username="ada", password=SecretStr(PASSWORD)
)
TOKEN_LIMIT = {"errors": [{"code": "H084", "message": "…"}]}
REFUSED = httpx.Response(400, json={"error": "invalid_grant", "error_description": "…"})
SPENT = {"errors": [{"code": "H351", "message": "…"}]}

Answer = httpx.Response | Exception


def a_token(name: str = "first", *, issued_at: datetime = START) -> AccessToken:
    return AccessToken(
        access=SecretStr(f"access-{name}"),
        refresh=SecretStr(f"refresh-{name}"),
        issued_at=issued_at,
        expires_at=issued_at + timedelta(hours=2),
        refresh_expires_at=issued_at + timedelta(hours=4),
    )


def given(name: str) -> httpx.Response:
    return httpx.Response(
        200,
        json={
            "access_token": f"access-{name}",
            "refresh_token": f"refresh-{name}",
            "expires_in": 7200,
            "refresh_expires_in": 14400,
            "token_type": "bearer",
        },
    )


class FakeIys:
    """İYS's two endpoints: one for tokens, with prepared answers, and one for calls."""

    def __init__(self, *answers: Answer, takes: set[str] | None = None) -> None:
        self.answers = list(answers)
        self.takes = takes
        self.grants: list[dict[str, str]] = []
        self.calls: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/token":
            self.grants.append(json.loads(request.content))
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.calls.append(token)
        if self.takes is not None and token not in self.takes:
            return httpx.Response(401, json=SPENT)
        return httpx.Response(200, json={})


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


async def call(
    iys: Callable[[httpx.Request], httpx.Response],
    store: InMemoryTokenStore,
    clock: Clock | None = None,
) -> httpx.Response:
    auth = TokenAuth(SETTINGS, store, now=clock or Clock())
    transport = httpx.MockTransport(iys)
    async with httpx.AsyncClient(
        auth=auth, transport=transport, base_url=SETTINGS.base_url
    ) as http:
        return await http.get("/sps/100001/brands")


async def test_first_call_requests_a_token_with_the_password():
    """There is no token, so the password grant is used."""
    iys, store = FakeIys(given("first")), InMemoryTokenStore()

    await call(iys, store)

    assert iys.grants == [
        {"grant_type": "password", "username": "ada", "password": PASSWORD},
    ]
    assert iys.calls == ["access-first"]
    assert (store.state.token, store.state.failures) == (a_token(), 0)


async def test_token_stored_by_another_process_is_used():
    """One token serves all processes of an account."""
    iys, store = FakeIys(), InMemoryTokenStore(TokenState(token=a_token()))

    await call(iys, store)

    assert (iys.grants, iys.calls) == ([], ["access-first"])


async def test_token_is_refreshed_five_minutes_early():
    """The refresh token gives the next token, and with it the next refresh token."""
    clock, store = Clock(), InMemoryTokenStore(TokenState(token=a_token()))
    iys = FakeIys(given("second"))
    clock.now = START + timedelta(hours=1, minutes=55)

    await call(iys, store, clock)

    assert iys.grants == [{"grant_type": "refresh_token", "refresh_token": "refresh-first"}]
    assert iys.calls == ["access-second"]
    assert store.state.token == a_token("second", issued_at=clock.now)


async def test_refused_refresh_falls_back_to_the_password():
    """A refresh token may be spent before its time."""
    clock, store = Clock(), InMemoryTokenStore(TokenState(token=a_token()))
    refused = httpx.Response(400, json={"error": "invalid_grant", "error_description": "…"})
    iys = FakeIys(refused, given("second"))
    clock.now = START + timedelta(hours=3)

    await call(iys, store, clock)

    assert [grant["grant_type"] for grant in iys.grants] == ["refresh_token", "password"]
    assert iys.calls == ["access-second"]


async def test_refused_refresh_token_is_never_tried_again():
    """The password is all that is left, and a refused refresh token delays none of its tries."""
    clock, store = Clock(), InMemoryTokenStore(TokenState(token=a_token()))
    iys = FakeIys(*[REFUSED] * 3, given("second"))
    clock.now = START + timedelta(hours=3)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await call(iys, store, clock)
        clock.now += timedelta(seconds=20)

    await call(iys, store, clock)

    assert [one["grant_type"] for one in iys.grants] == ["refresh_token", *["password"] * 3]
    assert iys.calls == ["access-second"]


async def test_refused_password_leaves_calls_for_its_correction():
    """An hour of retries leaves some of the ten: a person who has corrected it does not wait."""
    clock, store = Clock(), InMemoryTokenStore()
    iys = FakeIys(*[REFUSED] * 100)
    while clock.now < START + timedelta(hours=1):
        with pytest.raises((TokenLimitError, UnauthenticatedError)):
            await call(iys, store, clock)
        clock.now += timedelta(seconds=1)
    assert len(iys.grants) == 7
    store.state = replace(store.state, failures=0)
    iys.answers = [given("second")]

    await call(iys, store, clock)

    assert iys.calls == ["access-second"]


async def test_expired_refresh_token_is_not_tried():
    """A call known to fail would only spend the budget."""
    clock, store = Clock(), InMemoryTokenStore(TokenState(token=a_token()))
    iys = FakeIys(given("second"))
    clock.now = START + timedelta(hours=4)

    await call(iys, store, clock)

    assert [grant["grant_type"] for grant in iys.grants] == ["password"]


async def test_refused_token_is_renewed_and_the_call_repeated_once():
    """H351 means that nothing was done, so repeating is safe."""
    iys = FakeIys(given("second"), takes={"access-second"})
    store = InMemoryTokenStore(TokenState(token=a_token()))

    response = await call(iys, store)

    assert response.status_code == 200
    assert iys.calls == ["access-first", "access-second"]


async def test_second_refusal_is_returned():
    """One renewal, one repeat, and no loop."""
    iys = FakeIys(given("second"), takes=set())
    store = InMemoryTokenStore(TokenState(token=a_token()))

    response = await call(iys, store)

    assert response.status_code == 401
    assert len(iys.grants) == 1
    assert iys.calls == ["access-first", "access-second"]


async def test_token_renewed_meanwhile_is_used():
    """Under the lock the newer token is found, and no call is spent."""
    iys = FakeIys(takes={"access-second"})
    store = InMemoryTokenStore(TokenState(token=a_token()))

    def answer(request: httpx.Request) -> httpx.Response:
        response = iys(request)
        store.state = TokenState(token=a_token("second"))
        return response

    response = await call(answer, store)

    assert response.status_code == 200
    assert iys.grants == []


async def test_other_refusal_with_401_renews_nothing():
    """H251 is about the account and not the token."""

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"errors": [{"code": "H251"}]})

    store = InMemoryTokenStore(TokenState(token=a_token()))

    assert (await call(answer, store)).status_code == 401
    assert store.state.calls == ()


async def test_401_without_a_code_counts_as_a_refused_token():
    """Without a code, the status is all there is."""
    codes = iter([401, 200])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/token":
            return given("second")
        return httpx.Response(next(codes))

    store = InMemoryTokenStore(TokenState(token=a_token()))

    assert (await call(answer, store)).status_code == 200


@pytest.mark.parametrize("body", [TOKEN_LIMIT, {"code": "H084", "message": "…"}])
async def test_h084_blocks_the_account_for_an_hour(body: dict[str, object]):
    """A request within the hour would restart the hour, so none is made."""
    clock, store = Clock(), InMemoryTokenStore()
    iys = FakeIys(httpx.Response(429, json=body), given("second"))

    with pytest.raises(TokenLimitError) as caught:
        await call(iys, store, clock)
    assert caught.value.retry_after == timedelta(minutes=61)

    clock.now += timedelta(minutes=30)
    with pytest.raises(TokenLimitError) as caught:
        await call(iys, store, clock)
    assert caught.value.retry_after == timedelta(minutes=31)
    assert len(iys.grants) == 1

    clock.now += timedelta(minutes=31)
    await call(iys, store, clock)
    assert iys.calls == ["access-second"]


async def test_valid_token_is_used_while_blocked():
    """It is due for renewal, and good for minutes yet."""
    clock, store = Clock(), InMemoryTokenStore(TokenState(token=a_token()))
    iys = FakeIys(httpx.Response(429, json=TOKEN_LIMIT))
    clock.now = START + timedelta(hours=1, minutes=57)

    await call(iys, store, clock)
    await call(iys, store, clock)

    assert iys.calls == ["access-first", "access-first"]
    assert len(iys.grants) == 1
    clock.now = START + timedelta(hours=2)
    with pytest.raises(TokenLimitError):
        await call(iys, store, clock)


async def test_wrong_credentials_are_for_an_operator():
    """They come as 400 in OAuth's form, without an H-code."""
    iys = FakeIys(httpx.Response(400, json={"error": "invalid_request"}))

    with pytest.raises(UnauthenticatedError) as caught:
        await call(iys, InMemoryTokenStore())
    assert PASSWORD not in str(caught.value)


async def test_failing_token_service_is_busy():
    """H015 is a fault of İYS and not ours."""
    iys = FakeIys(httpx.Response(500, json={"errors": [{"code": "H015"}]}))

    with pytest.raises(BusyError):
        await call(iys, InMemoryTokenStore())


async def test_unreadable_token_is_an_error():
    """A success without a token gives none."""
    with pytest.raises(UnreadableError):
        await call(FakeIys(httpx.Response(200, json={})), InMemoryTokenStore())


async def test_lost_token_request_is_counted_and_frees_the_lock():
    """The request may have reached İYS, so it counts; the next process is not blocked."""
    store = InMemoryTokenStore()
    iys = FakeIys(httpx.ReadTimeout("…"), given("first"))

    with pytest.raises(httpx.ReadTimeout):
        await call(iys, store)
    assert (store.state.calls, store.state.failures) == ((START,), 1)

    await call(iys, store)
    assert iys.calls == ["access-first"]


async def test_outage_does_not_use_up_the_budget():
    """Failing requests back off."""
    clock, store = Clock(), InMemoryTokenStore()
    iys = FakeIys(*[httpx.ConnectError("…")] * 100)
    while clock.now < START + timedelta(minutes=10):
        with pytest.raises((httpx.ConnectError, CallError)):
            await call(iys, store, clock)
        clock.now += timedelta(seconds=1)

    assert len(iys.grants) < 8


async def test_secrets_are_not_in_repr():
    """Neither a token nor a password appears in what a log might contain."""
    store = InMemoryTokenStore()

    await call(FakeIys(given("first")), store)

    assert "access-first" not in repr(store.state)
    assert PASSWORD not in repr(SETTINGS)


def a_state(*minutes: int, failures: int = 0) -> TokenState:
    calls = tuple(START + timedelta(minutes=minute) for minute in minutes)
    return TokenState(calls=calls, failures=failures)


@pytest.mark.parametrize(
    ("state", "wait"),
    [
        (TokenState(), 0),
        (a_state(*range(9)), 0),
        (a_state(*range(10)), 1),
        (a_state(*range(10, 21)), 12),
        (a_state(*[-1] * 20), 0),
        (TokenState(blocked_until=START + timedelta(minutes=89)), 30),
        (TokenState(blocked_until=START + timedelta(minutes=59)), 0),
        (a_state(59, failures=1), 0),
        (a_state(59, failures=5), 160 / 60),
        (a_state(59, failures=50), 10),
    ],
)
def test_policy_says_how_long_to_wait(state: TokenState, wait: float):
    """Ten requests in any hour, a block, and back-off after failures."""
    now = START + timedelta(minutes=59)

    assert TokenPolicy().wait(state, now) == timedelta(minutes=wait)


def test_token_request_is_counted_before_it_is_made():
    """What is older than an hour is forgotten."""
    now = START + timedelta(minutes=60)
    state = TokenPolicy().calling(a_state(0, 30), now)

    assert state.calls == (START + timedelta(minutes=30), now)
    assert state.failures == 1


def test_short_lived_token_is_fresh_for_half_its_lifetime():
    """Else a token of minutes would be renewed at every call."""
    token = read_token(b'{"access_token": "a", "expires_in": "60"}', START)

    assert TokenPolicy().is_fresh(token, START + timedelta(seconds=29))
    assert not TokenPolicy().is_fresh(token, START + timedelta(seconds=30))
    assert not token.can_refresh(START)
