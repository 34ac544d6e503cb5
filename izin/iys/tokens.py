"""One access token for all processes of an account (reference section 1.2).

İYS issues a token for two hours and accepts ten token requests an hour from an address (its
documents also say a hundred; the lower limit is safe). Over that it answers H084, and another
request within the next hour *restarts the hour*. So the token is in a store that all processes
share, and one of them renews it under a lock, five minutes early; requests are counted before they
are made; failing requests count like any other and back off, for an outage of minutes must not use
up the budget of an hour; and while no request may be made, a token that is still valid continues to
be used.

:class:`TokenStore` is a protocol: the ledger implements it in PostgreSQL. :class:`TokenPolicy` is
pure: the instant is an argument.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Protocol, assert_never

import httpx
from pydantic import SecretStr

from izin.iys.errors import (
    BusyError,
    CallError,
    TokenLimitError,
    UnauthenticatedError,
    UnreadableError,
    Verdict,
    decisive_verdict,
)
from izin.iys.wire_format import HOUR, JsonReader, error_of, parse_json, read_refusals
from izin.runtime.logs import get_logger
from izin.runtime.settings import IysSettings

_LIFETIME: Final = 7200
_REFRESH_LIFETIME: Final = 14400
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token of İYS, and until when it is valid."""

    access: SecretStr
    refresh: SecretStr | None
    issued_at: datetime
    expires_at: datetime
    refresh_expires_at: datetime

    def is_valid(self, now: datetime) -> bool:
        """Whether the token is valid at ``now``."""
        return now < self.expires_at

    def can_refresh(self, now: datetime) -> bool:
        """Whether the next token can be requested without the password."""
        return self.refresh is not None and now < self.refresh_expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenState:
    """What the processes of an account share. ``failures`` counts requests since the last token."""

    token: AccessToken | None = None
    calls: tuple[datetime, ...] = ()
    """When tokens were requested; requests older than an hour do not count."""
    blocked_until: datetime | None = None
    failures: int = 0


@dataclass(slots=True)
class TokenLease:
    """The lock on the token state of an account, and the state under it."""

    state: TokenState
    _save: Callable[[TokenState], Awaitable[None]]

    async def store(self, state: TokenState) -> None:
        """Store ``state`` durably before returning."""
        await self._save(state)
        self.state = state


class TokenStore(Protocol):
    """The token state that the processes of an account share."""

    async def read(self) -> TokenState:
        """Return the state without waiting for the lock."""

    def lease(self) -> AbstractAsyncContextManager[TokenLease]:
        """Hold the lock of the account within the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """When a token is renewed, and when it may be requested."""

    calls_per_hour: int = 10
    early: timedelta = timedelta(minutes=5)
    block: timedelta = HOUR + timedelta(minutes=1)
    """The pause after H084; the minute allows for clocks that differ."""
    at_once: int = 2
    """Failures before requests back off."""
    reserved: int = 3
    """Calls of an hour that are not spent on what was refused before: whoever corrects a password
    has them."""
    first_wait: timedelta = timedelta(seconds=20)
    longest_wait: timedelta = timedelta(minutes=10)

    def is_fresh(self, token: AccessToken, now: datetime) -> bool:
        """Whether ``token`` needs no renewal yet; a short-lived one does at half its lifetime."""
        lifetime = token.expires_at - token.issued_at
        return now < token.expires_at - min(self.early, lifetime / 2)

    def accounts(self, lifetime: timedelta) -> int:
        """Return for how many accounts an address can renew tokens in time."""
        return int(self.calls_per_hour * ((lifetime - self.early) / HOUR))

    def wait(self, state: TokenState, now: datetime) -> timedelta:
        """Return how long no token may be requested; zero if one may be requested now."""
        return max(self._waits(state, now), default=timedelta(0))

    def _waits(self, state: TokenState, now: datetime) -> Iterator[timedelta]:
        if state.blocked_until is not None and now < state.blocked_until:
            yield state.blocked_until - now
        recent = sorted(call for call in state.calls if now - call < HOUR)
        most = self.calls_per_hour
        if state.failures:
            most = max(1, most - self.reserved)
        if len(recent) >= most:
            yield recent[-most] + HOUR - now
        if recent and state.failures >= self.at_once:
            doubled = self.first_wait * 2 ** min(state.failures - self.at_once, 16)
            ready_at = recent[-1] + min(self.longest_wait, doubled)
            if now < ready_at:
                yield ready_at - now

    def calling(self, state: TokenState, now: datetime) -> TokenState:
        """Return the state after a request begins: a failure until its token arrives."""
        recent = tuple(call for call in state.calls if now - call < HOUR)
        return replace(state, calls=(*recent, now), failures=state.failures + 1)

    def blocked(self, state: TokenState, now: datetime) -> TokenState:
        """Return the state after an H084."""
        return replace(state, blocked_until=now + self.block)


class Grant(StrEnum):
    """The two OAuth grants that İYS supports."""

    REFRESH = "refresh_token"
    PASSWORD = "password"  # noqa: S105 - the name of a grant


class TokenAuth(httpx.Auth):
    """Authenticates calls with the account's token and renews it when needed; without I/O itself.

    A call refused for its token (H351) is repeated once with a new one.
    """

    def __init__(
        self,
        settings: IysSettings,
        store: TokenStore,
        *,
        policy: TokenPolicy | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._username = settings.username
        self._password = settings.password
        self._url = f"{settings.base_url.rstrip('/')}/oauth2/token"
        self._store = store
        self._policy = policy or TokenPolicy(calls_per_hour=settings.token_requests_per_hour)
        self._now = now or (lambda: datetime.now(UTC))

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Yield the requests to send: a token request where one is needed, then the call."""
        refused: AccessToken | None = None
        for is_last in (False, True):
            token = (await self._store.read()).token
            if token is None or _is_same(token, refused) or not self._is_fresh(token):
                async with self._store.lease() as lease:
                    error: CallError | None = None
                    for grant in self._grants(lease.state.token, refused):
                        if wait := self._policy.wait(lease.state, self._now()):
                            why = "no token may be requested now"
                            error = TokenLimitError(why, retry_after=wait)
                            break
                        token_request = self._token_request(grant, lease.state.token, request)
                        await lease.store(self._calling(lease.state, grant))
                        answer = yield token_request
                        await answer.aread()
                        state, error = self._checked(lease.state, grant, answer)
                        await lease.store(state)
                        if error is None or isinstance(error, TokenLimitError):
                            break
                    token = self._usable(lease.state.token, refused, error)
            request.headers["Authorization"] = f"Bearer {token.access.get_secret_value()}"
            response = yield request
            if response.is_success and not response.is_closed:
                return  # a download: the caller reads it
            await response.aread()
            if is_last or not _is_refused(response):
                return
            refused = token

    def _is_fresh(self, token: AccessToken) -> bool:
        return self._policy.is_fresh(token, self._now())

    def _grants(self, token: AccessToken | None, refused: AccessToken | None) -> tuple[Grant, ...]:
        """Return the grants to try: none if another process has renewed the token meanwhile."""
        if token is None:
            return (Grant.PASSWORD,)
        if not _is_same(token, refused) and self._is_fresh(token):
            return ()
        if token.can_refresh(self._now()):
            return (Grant.REFRESH, Grant.PASSWORD)
        return (Grant.PASSWORD,)

    def _calling(self, state: TokenState, grant: Grant) -> TokenState:
        """Return the state as a request begins. A refresh token is used once, whatever comes of it:
        refused again and again it would hold back the password.
        """
        calling = self._policy.calling(state, self._now())
        if grant is Grant.PASSWORD or state.token is None:
            return calling
        return replace(calling, failures=state.failures, token=replace(state.token, refresh=None))

    def _token_request(
        self, grant: Grant, token: AccessToken | None, request: httpx.Request
    ) -> httpx.Request:
        body = {"grant_type": str(grant)}
        match grant:
            case Grant.REFRESH:
                if token is not None and token.refresh is not None:
                    body["refresh_token"] = token.refresh.get_secret_value()
            case Grant.PASSWORD:
                body["username"] = self._username
                body["password"] = self._password.get_secret_value()
            case _:
                assert_never(grant)
        # Without the class of the call: a token request has the highest priority.
        timeout = {"timeout": request.extensions.get("timeout", {})}
        return httpx.Request("POST", self._url, json=body, extensions=timeout)

    def _checked(
        self, state: TokenState, grant: Grant, answer: httpx.Response
    ) -> tuple[TokenState, CallError | None]:
        now = self._now()
        if answer.is_success:
            try:
                token = read_token(answer.content, now)
            except UnreadableError as error:
                return state, error
            _log.info("iys token renewed", grant=grant, expires_at=token.expires_at.isoformat())
            return replace(state, token=token, failures=0, blocked_until=None), None
        verdict = decisive_verdict(read_refusals(answer.content))
        _log.warning("iys token refused", grant=grant, status=answer.status_code, verdict=verdict)
        refusal = error_of("token", answer.status_code, answer.content, writes=False)
        if verdict is Verdict.TOKEN_LIMIT:
            return self._policy.blocked(state, now), TokenLimitError(
                str(refusal), retry_after=self._policy.block, refusals=refusal.refusals
            )
        if verdict is Verdict.UNKNOWN and answer.status_code == HTTPStatus.BAD_REQUEST:
            # OAuth's own error has no H-code; wrong credentials come as 400.
            return state, UnauthenticatedError(f"İYS refused our {grant}")
        return state, refusal

    def _usable(
        self, token: AccessToken | None, refused: AccessToken | None, error: CallError | None
    ) -> AccessToken:
        if token is not None and not _is_same(token, refused) and token.is_valid(self._now()):
            return token
        raise error or BusyError("the new token has already expired")


def read_token(body: bytes, now: datetime) -> AccessToken:
    """Return the token in a response of İYS.

    Raises:
        UnreadableError: ``body`` is not a token response.
    """
    reader = JsonReader(parse_json(body))
    refresh = reader.text_or_none("refresh_token")
    lifetime = reader.integer_or_none("expires_in") or _LIFETIME
    refresh_lifetime = reader.integer_or_none("refresh_expires_in") or _REFRESH_LIFETIME
    return AccessToken(
        access=SecretStr(reader.text("access_token")),
        refresh=None if refresh is None else SecretStr(refresh),
        issued_at=now,
        expires_at=now + timedelta(seconds=lifetime),
        refresh_expires_at=now + timedelta(seconds=refresh_lifetime),
    )


def _is_same(token: AccessToken, refused: AccessToken | None) -> bool:
    return refused is not None and token.access == refused.access


def _is_refused(response: httpx.Response) -> bool:
    refusals = read_refusals(response.content)
    if refusals:
        return decisive_verdict(refusals) is Verdict.TOKEN
    return response.status_code == HTTPStatus.UNAUTHORIZED
