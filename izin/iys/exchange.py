"""One call over HTTP: its turn, its deadline, its answer; nothing of httpx comes out.

Whether a lost call may have taken effect decides its error. A call that only asks, or whose
connection never stood, or whose token could not be had, did nothing: busy. A writing call that may
have left is an outcome unknown.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

import httpx
import orjson

from izin.iys.answers import Verdict
from izin.iys.breaker import Breakers
from izin.iys.envelope import error_of, read_refusals
from izin.iys.errors import (
    BusyError,
    CallError,
    MisconfiguredError,
    OutcomeUnknownError,
    ThrottledError,
    TokenSilenceError,
    UnauthenticatedError,
    UnreadableError,
    WithheldError,
)
from izin.iys.pacing import CallClass
from izin.iys.reading import parse_json
from izin.iys.standing import FAILURES
from izin.runtime.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from http import HTTPStatus

    from izin.iys.breaker import Gate
    from izin.iys.pacing import Pacer
    from izin.runtime.settings import IysSettings

T = TypeVar("T")

_CALL_CLASS: Final = "call_class"
_OPERATION: Final = "operation"
_PERMIT: Final = "permit"
_SENT: Final = "http11.send_request_body.complete"
"""What httpcore traces when a request, with or without a body, is wholly written."""
TOKEN: Final = "token"  # noqa: S105 - an operation's name, no secret
NO_ANSWER: Final = "no-answer"
"""What came of a call of which nothing was heard."""
_CONNECTIONS: Final = 32
_NO_TOKEN: Final = timedelta(minutes=1)
"""How long nothing leaves where İYS does not take our credentials."""

_log = get_logger(__name__)

FOREIGN_ERRORS: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    httpx.StreamError,
)
"""The roots of everything httpx raises."""

_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)
_NEVER_RIGHT: Final = (
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
    httpx.TooManyRedirects,
    httpx.CookieConflict,
)


class Method(StrEnum):
    """The HTTP methods of İYS's calls."""

    GET = "GET"
    POST = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: what is asked, whether it writes, how urgent it is, what says "nothing"."""

    method: Method
    path: str
    name: str
    body: object = field(default=None, repr=False)
    query: Mapping[str, str] | None = None
    writes: bool = False
    call_class: CallClass = CallClass.SWEEP
    nothing: frozenset[HTTPStatus] = frozenset()
    permit: Callable[[], Awaitable[bool]] | None = None
    """Asked when the call's turn has come, just before it leaves; False keeps it back."""


class PacedTransport(httpx.AsyncBaseTransport):
    """Lets every request out in its turn, the token's too, and reads its answer in time.

    httpx limits each read by itself; here the whole exchange has one deadline.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, pacer: Pacer, deadline: float) -> None:
        self._inner = inner
        self._pacer = pacer
        self._deadline = deadline

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the whole answer to ``request``; raises WithheldError if it may not leave."""
        operation = request.extensions.get(_OPERATION, TOKEN)
        urgency = request.extensions.get(_CALL_CLASS, CallClass.RET)
        permit = request.extensions.get(_PERMIT)
        while True:
            slot = await self._pacer.wait(urgency, operation)
            if permit is not None and not await permit():
                self._pacer.arrived(slot)
                raise WithheldError("the call was kept back while it waited for its turn")
            # Whoever was asked, or whatever this process was busy with, may have taken too long.
            if not self._pacer.is_over(slot):
                break

        async def trace(event: str, _info: Mapping[str, object]) -> None:
            nonlocal slot
            if event == _SENT:
                slot = self._pacer.left(slot)

        request.extensions["trace"] = trace
        try:
            async with asyncio.timeout(self._deadline):
                response = await self._inner.handle_async_request(request)
                # Whatever begins to answer has come.
                self._pacer.arrived(slot)
                body = await response.aread()
        except TimeoutError:
            self._pacer.answered(operation, NO_ANSWER, failed=False)
            message = f"no whole answer within {self._deadline} s"
            raise httpx.ReadTimeout(message, request=request) from None
        except httpx.HTTPError:
            self._pacer.answered(operation, NO_ANSWER, failed=False)
            raise
        refusals = read_refusals(body)
        code = next((one.code for one in refusals if one.code), str(response.status_code))
        self._pacer.answered(operation, code, failed=response.status_code in FAILURES)
        if not response.is_success and any(one.verdict is Verdict.THROTTLE for one in refusals):
            _log.warning("iys throttles", status=response.status_code)
            await self._pacer.throttled()
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class Exchange:
    """The connections to İYS and the way a call takes over them."""

    def __init__(
        self,
        settings: IysSettings,
        *,
        auth: httpx.Auth,
        pacer: Pacer,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._breakers = Breakers()
        deadline = settings.timeout.total_seconds()
        inner = transport or httpx.AsyncHTTPTransport(
            limits=httpx.Limits(
                max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS
            )
        )
        self._http = httpx.AsyncClient(
            base_url=settings.base_url,
            auth=auth,
            # Connecting ends sooner than the whole, so that it can be told from a lost answer.
            timeout=httpx.Timeout(deadline, connect=deadline / 2, pool=deadline / 2),
            transport=PacedTransport(inner, pacer, deadline),
        )

    async def open(self) -> None:
        """Make ready to call."""
        await self._http.__aenter__()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(self, call: Call, read: Callable[[object], T]) -> T:
        """Return what ``read`` makes of the answer; raises a CallError and nothing of httpx.

        While the operation rests, or no token may be asked for, BusyError is raised at once.
        """
        name, breakers = call.name, self._breakers
        if not breakers.begin(name, self._clock()):
            rest = timedelta(seconds=breakers.opens_in(name, self._clock()))
            raise BusyError(f"{name} rests, for İYS did not answer", retry_after=rest)
        try:
            answer = await self._call(call, read)
        except (BusyError, OutcomeUnknownError):
            breakers.failed(name, self._clock())
            raise
        except (TokenSilenceError, UnauthenticatedError) as error:
            breakers.let_go(name)
            silence = error.retry_after or _NO_TOKEN
            breakers.silence(silence.total_seconds(), self._clock())
            raise
        except (ThrottledError, WithheldError):
            breakers.let_go(name)
            raise
        except CallError:
            breakers.answered(name)
            raise
        except BaseException:
            # Cancelled, or the ledger is away: that says nothing of İYS.
            breakers.let_go(name)
            raise
        breakers.answered(name)
        return answer

    def gate(self, operation: str) -> Gate:
        """Return whether a call of ``operation`` may be made just now."""
        return self._breakers.gate(operation, self._clock())

    async def _call(self, call: Call, read: Callable[[object], T]) -> T:
        try:
            response = await self._send(call)
        except FOREIGN_ERRORS as error:
            raise translate(error, call) from error
        refused = not response.is_success or bool(read_refusals(response.content))
        try:
            if refused:
                if response.status_code in call.nothing and not read_refusals(response.content):
                    return read(None)
                raise error_of(
                    call.name, response.status_code, response.content, writes=call.writes
                )
            return read(parse_json(response.content))
        except UnreadableError as error:
            if call.writes:
                raise OutcomeUnknownError(f"{call.name}: {error}") from error
            raise

    async def _send(self, call: Call) -> httpx.Response:
        return await self._http.request(
            call.method,
            call.path,
            params=call.query,
            content=_content(call.body),
            headers=None if call.body is None else {"Content-Type": "application/json"},
            extensions={
                _CALL_CLASS: call.call_class,
                _OPERATION: call.name,
                _PERMIT: call.permit,
            },
        )


def _content(body: object) -> bytes | str | None:
    """Return what is sent of ``body``; a text is JSON already."""
    return body if body is None or isinstance(body, str) else orjson.dumps(body)


def translate(error: Exception, call: Call) -> CallError:
    """Return the error that an exception of httpx is to a call."""
    kind = type(error).__name__
    if isinstance(error, _NEVER_RIGHT):
        return MisconfiguredError(f"{call.name} cannot be sent as it stands ({kind})")
    if isinstance(error, _NEVER_SENT) or _failed_before(error, call):
        return BusyError(f"{call.name} did not reach İYS ({kind})")
    if call.writes:
        return OutcomeUnknownError(f"{call.name} was sent and not answered ({kind})")
    return BusyError(f"{call.name} was not answered ({kind})")


def _failed_before(error: Exception, call: Call) -> bool:
    """Whether it was the token's request that failed, so that the call itself never left."""
    if not isinstance(error, httpx.HTTPError):
        return False
    try:
        path = error.request.url.path
    except RuntimeError:  # httpx raises it where the error has no request
        return False
    return not path.endswith(call.path)
