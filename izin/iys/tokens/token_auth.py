"""One access token for all processes of an account (reference section 1.2).

İYS issues a token for two hours and accepts ten token requests an hour from an address. Over that
it answers H084, and another request within the next hour *restarts the hour*. So the token is in a
store that all processes share, and one of them renews it under a lock, five minutes early; requests
are counted before they are made; failing requests back off; and while no request may be made, a
token that is still valid continues to be used.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Final, assert_never

import httpx
from pydantic import SecretStr

from izin.iys.errors import (
    BusyError,
    CallError,
    TokenLimitError,
    UnauthenticatedError,
    UnreadableError,
)
from izin.iys.tokens.token_policy import TokenPolicy
from izin.iys.tokens.token_store import AccessToken, TokenState, TokenStore
from izin.iys.verdicts import Verdict, decisive_verdict
from izin.iys.wire_format.error_envelope import error_of, read_refusals
from izin.iys.wire_format.json_reader import JsonReader, parse_json
from izin.runtime.observe import get_logger
from izin.runtime.settings import IysSettings

_LIFETIME: Final = 7200
_REFRESH_LIFETIME: Final = 14400

_log = get_logger(__name__)


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
                        error = self._limit(lease.state)
                        if error is not None:
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

    def _limit(self, state: TokenState) -> TokenLimitError | None:
        wait = self._policy.wait(state, self._now())
        if not wait:
            return None
        return TokenLimitError("no token may be requested now", retry_after=wait)

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
