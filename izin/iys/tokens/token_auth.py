"""One access token for all processes of an account (reference section 1.2).

İYS gives a token for two hours and counts the calls for it: ten an hour from an address. Over that
it answers H084, and a call within the hour after *starts the hour anew*. So the token lies in a
store that all processes share and is renewed by one of them under a lock, five minutes early; calls
are counted before they are made; calls that bring no token come ever more slowly; and while no call
may be made, a token that still holds goes on being used.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, assert_never

import httpx
from pydantic import SecretStr

from izin.iys.errors import (
    BusyError,
    TokenSilenceError,
    UnauthenticatedError,
    UnreadableError,
)
from izin.iys.tokens.token_policy import TokenPolicy
from izin.iys.tokens.token_store import AccessToken
from izin.iys.verdicts import Verdict, weightiest
from izin.iys.wire_format.error_envelope import error_of, read_refusals
from izin.iys.wire_format.json_reader import Reader, parse_json
from izin.runtime.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from izin.iys.errors import CallError
    from izin.iys.tokens.token_store import TokenState, TokenStore
    from izin.runtime.settings import IysSettings

_LIFETIME: Final = 7200
_REFRESH_LIFETIME: Final = 14400

_log = get_logger(__name__)


class Grant(StrEnum):
    """The two ways to a token; İYS knows no third."""

    REFRESH = "refresh_token"
    PASSWORD = "password"  # noqa: S105 - OAuth's name of a grant, no secret


class TokenAuth(httpx.Auth):
    """Signs calls with the account's token, renewing it where it must; a flow without I/O.

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
        """Yield the requests to send: the token's where one is needed, then the call's own."""
        refused: AccessToken | None = None
        for is_last in (False, True):
            token = (await self._store.read()).token
            if token is None or _same(token, refused) or not self._is_fresh(token):
                async with self._store.lease() as lease:
                    trouble: CallError | None = None
                    for grant in self._grants(lease.state.token, refused):
                        trouble = self._silence(lease.state)
                        if trouble is not None:
                            break
                        await lease.store(self._policy.calling(lease.state, self._now()))
                        answer = yield self._token_request(grant, lease.state.token, request)
                        await answer.aread()
                        state, trouble = self._judge(lease.state, grant, answer)
                        await lease.store(state)
                        if trouble is None or isinstance(trouble, TokenSilenceError):
                            break
                    token = self._usable(lease.state.token, refused, trouble)
            request.headers["Authorization"] = f"Bearer {token.access.get_secret_value()}"
            response = yield request
            await response.aread()
            if is_last or not _is_refused(response):
                return
            refused = token

    def _is_fresh(self, token: AccessToken) -> bool:
        return self._policy.is_fresh(token, self._now())

    def _grants(self, token: AccessToken | None, refused: AccessToken | None) -> tuple[Grant, ...]:
        """Return the ways to try: none if another process has renewed the token meanwhile."""
        if token is None:
            return (Grant.PASSWORD,)
        if not _same(token, refused) and self._is_fresh(token):
            return ()
        if token.can_refresh(self._now()):
            return (Grant.REFRESH, Grant.PASSWORD)
        return (Grant.PASSWORD,)

    def _silence(self, state: TokenState) -> TokenSilenceError | None:
        wait = self._policy.wait(state, self._now())
        if not wait:
            return None
        return TokenSilenceError("no token may be asked for now", retry_after=wait)

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
        # The call's own class stays behind: whatever waits for a token is held up by the token.
        timeout = {"timeout": request.extensions.get("timeout", {})}
        return httpx.Request("POST", self._url, json=body, extensions=timeout)

    def _judge(
        self, state: TokenState, grant: Grant, answer: httpx.Response
    ) -> tuple[TokenState, CallError | None]:
        now = self._now()
        if answer.is_success:
            try:
                token = read_token(answer.content, now)
            except UnreadableError as error:
                return state, error
            _log.info("iys token renewed", grant=grant, expires_at=token.expires_at.isoformat())
            return replace(state, token=token, failures=0, silent_until=None), None
        verdict = weightiest(read_refusals(answer.content))
        _log.warning("iys token refused", grant=grant, status=answer.status_code, verdict=verdict)
        refusal = error_of("token", answer.status_code, answer.content, writes=False)
        if verdict is Verdict.TOKEN_SILENCE:
            silent = self._policy.silenced(state, now)
            return silent, TokenSilenceError(
                str(refusal), retry_after=self._policy.silence, refusals=refusal.refusals
            )
        if verdict is Verdict.UNKNOWN and answer.status_code == HTTPStatus.BAD_REQUEST:
            # OAuth's own form has no H-code; wrong credentials come as 400.
            return state, UnauthenticatedError(f"İYS refuses our {grant}")
        return state, refusal

    def _usable(
        self, token: AccessToken | None, refused: AccessToken | None, trouble: CallError | None
    ) -> AccessToken:
        if token is not None and not _same(token, refused) and token.is_valid(self._now()):
            return token
        raise trouble or BusyError("the token that came has already run out")


def read_token(body: bytes, now: datetime) -> AccessToken:
    """Return the token in İYS's answer; raises UnreadableError."""
    reader = Reader(parse_json(body))
    refresh = reader.text_or_none("refresh_token")
    lifetime = reader.whole_or_none("expires_in") or _LIFETIME
    refresh_lifetime = reader.whole_or_none("refresh_expires_in") or _REFRESH_LIFETIME
    return AccessToken(
        access=SecretStr(reader.text("access_token")),
        refresh=None if refresh is None else SecretStr(refresh),
        issued_at=now,
        expires_at=now + timedelta(seconds=lifetime),
        refresh_expires_at=now + timedelta(seconds=refresh_lifetime),
    )


def _same(token: AccessToken, refused: AccessToken | None) -> bool:
    return refused is not None and token.access == refused.access


def _is_refused(response: httpx.Response) -> bool:
    refusals = read_refusals(response.content)
    if refusals:
        return weightiest(refusals) is Verdict.TOKEN
    return response.status_code == HTTPStatus.UNAUTHORIZED
