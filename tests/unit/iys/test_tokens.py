"""Tokens are requested, renewed and shared within İYS's budget, and no secret is shown."""

import json
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
from tests.support.iys import InMemoryTokenStore
from tests.unit.iys.test_client import SETTINGS

START = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)
PASSWORD = SETTINGS.password.get_secret_value()
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
        self.refusal = httpx.Response(401, json=SPENT)
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
            return self.refusal
        return httpx.Response(200, json={})


class Account:
    """An account at such an İYS, with or without a token, so long after the start."""

    def __init__(
        self, iys: FakeIys, token: AccessToken | None = None, after: timedelta = timedelta(0)
    ) -> None:
        self.iys = iys
        self.store = InMemoryTokenStore(TokenState(token=token))
        self.now = START + after

    async def call(self) -> httpx.Response:
        """Make a call."""
        auth = TokenAuth(SETTINGS, self.store, now=lambda: self.now)
        transport = httpx.MockTransport(self.iys)
        async with httpx.AsyncClient(
            auth=auth, transport=transport, base_url=SETTINGS.base_url
        ) as http:
            return await http.get("/sps/100001/brands")

    @property
    def grants(self) -> list[str]:
        """How tokens were requested."""
        return [one["grant_type"] for one in self.iys.grants]


@pytest.mark.parametrize(
    ("token", "hours", "answers", "grants", "used"),
    [
        (None, 0, ["first"], ["password"], "access-first"),
        (a_token(), 0, [], [], "access-first"),
        (a_token(), 1.92, ["second"], ["refresh_token"], "access-second"),
        (a_token(), 3, [None, "second"], ["refresh_token", "password"], "access-second"),
        (a_token(), 4, ["second"], ["password"], "access-second"),
    ],
    ids=["none", "of another process", "five minutes early", "refresh refused", "refresh expired"],
)
async def test_token_is_requested_by_what_is_left(
    token: AccessToken | None,
    hours: float,
    answers: list[str | None],
    grants: list[str],
    used: str,
):
    """One token serves all processes of an account; a call known to fail would only spend the
    budget, and a refresh token may be spent before its time.
    """
    given_ = [REFUSED if name is None else given(name) for name in answers]
    account = Account(FakeIys(*given_), token, timedelta(hours=hours))
    await account.call()
    assert (account.grants, account.iys.calls) == (grants, [used])


async def test_first_call_requests_a_token_with_the_password():
    """Then the refresh token gives the next one, and with it the next refresh token."""
    account = Account(FakeIys(given("first"), given("second")))
    await account.call()
    assert (account.store.state.token, account.store.state.failures) == (a_token(), 0)
    account.now += timedelta(hours=1, minutes=55)
    await account.call()
    assert account.iys.grants == [
        {"grant_type": "password", "username": "ada", "password": PASSWORD},
        {"grant_type": "refresh_token", "refresh_token": "refresh-first"},
    ]
    assert account.store.state.token == a_token("second", issued_at=account.now)


async def test_refused_refresh_token_is_never_tried_again():
    """The password is all that is left, and a refused refresh token delays none of its tries."""
    account = Account(FakeIys(*[REFUSED] * 3, given("second")), a_token(), timedelta(hours=3))
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await account.call()
        account.now += timedelta(seconds=20)
    await account.call()
    assert account.grants == ["refresh_token", *["password"] * 3]
    assert account.iys.calls == ["access-second"]


async def test_refused_password_leaves_calls_for_its_correction():
    """An hour of retries leaves some of the ten: a person who has corrected it does not wait."""
    account = Account(FakeIys(*[REFUSED] * 100))
    while account.now < START + timedelta(hours=1):
        with pytest.raises((TokenLimitError, UnauthenticatedError)):
            await account.call()
        account.now += timedelta(seconds=1)
    assert len(account.grants) == 7
    account.store.state = replace(account.store.state, failures=0)
    account.iys.answers = [given("second")]
    await account.call()
    assert account.iys.calls == ["access-second"]


@pytest.mark.parametrize(
    ("refusal", "takes", "status", "calls"),
    [
        (httpx.Response(401, json=SPENT), {"access-second"}, 200, ["first", "second"]),
        (httpx.Response(401), {"access-second"}, 200, ["first", "second"]),
        (httpx.Response(401, json=SPENT), set(), 401, ["first", "second"]),
        (httpx.Response(401, json={"errors": [{"code": "H251"}]}), set(), 401, ["first"]),
    ],
    ids=["renewed", "without a code", "refused twice", "of the account"],
)
async def test_refused_token_is_renewed_and_the_call_repeated_once(
    refusal: httpx.Response, takes: set[str], status: int, calls: list[str]
):
    """H351 means that nothing was done, so repeating is safe; without a code, the status is all
    there is. H251 is about the account and not the token.
    """
    account = Account(FakeIys(given("second"), takes=takes), a_token())
    account.iys.refusal = refusal
    assert (await account.call()).status_code == status
    assert account.iys.calls == [f"access-{one}" for one in calls]
    assert len(account.store.state.calls) == len(account.grants) == len(calls) - 1


async def test_token_renewed_meanwhile_is_used():
    """Under the lock the newer token is found, and no call is spent."""
    account = Account(FakeIys(takes={"access-second"}), a_token())
    iys = account.iys

    def answer(request: httpx.Request) -> httpx.Response:
        response = iys(request)
        account.store.state = TokenState(token=a_token("second"))
        return response

    account.iys = answer  # type: ignore[assignment]
    assert (await account.call()).status_code == 200
    assert iys.grants == []


@pytest.mark.parametrize("body", [TOKEN_LIMIT, {"code": "H084", "message": "…"}])
async def test_h084_blocks_the_account_for_an_hour(body: dict[str, object]):
    """A request within the hour would restart the hour, so none is made."""
    account = Account(FakeIys(httpx.Response(429, json=body), given("second")))
    for minutes in (61, 31):
        with pytest.raises(TokenLimitError) as caught:
            await account.call()
        assert caught.value.retry_after == timedelta(minutes=minutes)
        account.now += timedelta(minutes=30)
    assert len(account.grants) == 1
    account.now += timedelta(minutes=1)
    await account.call()
    assert account.iys.calls == ["access-second"]


async def test_valid_token_is_used_while_blocked():
    """It is due for renewal, and good for minutes yet."""
    blocked = FakeIys(httpx.Response(429, json=TOKEN_LIMIT))
    account = Account(blocked, a_token(), timedelta(hours=1, minutes=57))
    await account.call()
    await account.call()
    assert (blocked.calls, len(account.grants)) == (["access-first"] * 2, 1)
    account.now = START + timedelta(hours=2)
    with pytest.raises(TokenLimitError):
        await account.call()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(400, json={"error": "invalid_request"}), UnauthenticatedError),
        (httpx.Response(500, json={"errors": [{"code": "H015"}]}), BusyError),
        (httpx.Response(200, json={}), UnreadableError),
    ],
    ids=["for an operator", "of İYS", "without a token"],
)
async def test_refused_token_request_says_who_acts(answer: httpx.Response, error: type[CallError]):
    """Wrong credentials come as 400 in OAuth's form, without an H-code; no error has a secret."""
    with pytest.raises(error) as caught:
        await Account(FakeIys(answer)).call()
    assert PASSWORD not in str(caught.value)


async def test_lost_token_request_is_counted_and_frees_the_lock():
    """The request may have reached İYS, so it counts; the next process is not blocked."""
    account = Account(FakeIys(httpx.ReadTimeout("…"), given("first")))
    with pytest.raises(httpx.ReadTimeout):
        await account.call()
    assert (account.store.state.calls, account.store.state.failures) == ((START,), 1)
    await account.call()
    assert account.iys.calls == ["access-first"]


async def test_outage_does_not_use_up_the_budget():
    """Failing requests back off."""
    account = Account(FakeIys(*[httpx.ConnectError("…")] * 100))
    while account.now < START + timedelta(minutes=10):
        with pytest.raises((httpx.ConnectError, CallError)):
            await account.call()
        account.now += timedelta(seconds=1)
    assert len(account.grants) < 8


async def test_secrets_are_not_in_repr():
    """Neither a token nor a password appears in what a log might contain."""
    account = Account(FakeIys(given("first")))
    await account.call()
    assert "access-first" not in repr(account.store.state)
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
