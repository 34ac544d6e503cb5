"""One call over HTTP and its response; no exception of httpx leaves this module.

A request is granted its slot slightly ahead, prepared meanwhile, and sent when the slot begins,
with one deadline for the whole. Once the connection stands and nothing is written yet, its permit
is asked for. It counts as sent when its last byte is written, and as arrived when it is answered.

A call without an answer is BusyError if it cannot have had an effect: it only reads, never had a
connection, or got no token. A writing call that may have been sent is OutcomeUnknownError.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Self, TypeVar

import httpx
import orjson

from izin.iys.errors import (
    BusyError,
    CallError,
    MisconfiguredError,
    OutcomeUnknownError,
    ThrottledError,
    TokenLimitError,
    UnauthenticatedError,
    UnreadableError,
    Verdict,
    WithheldError,
)
from izin.iys.rate_limit import FAILURES, CallClass, CircuitBreakers, CircuitState, Pacer, Slot
from izin.iys.wire_format import error_of, parse_json, read_refusals
from izin.runtime.logs import get_logger
from izin.runtime.settings import IysSettings
from izin.runtime.sockets import RESET

CALL_CLASS: Final = "call_class"
OPERATION: Final = "operation"
PERMIT: Final = "permit"
STREAMED: Final = "streamed"
"""The keys of a request's extensions: its class, its operation, who permits it, and whether a
successful response is left to the caller to read, beyond the deadline."""
TOKEN: Final = "token"  # noqa: S105 - an operation's name, no secret
PERMITTED_FOR: Final = 0.1
"""Seconds for which a permit holds: one that is older when the request could be written, for this
process was paused or the slot was far, is asked for again.
"""
NO_ANSWER: Final = "no-answer"
"""The result of a call that was not answered."""
_READY: Final = "http11.send_request_headers.started"
"""httpcore's trace event: connected, and nothing is written yet."""
_SENT: Final = "http11.send_request_body.complete"
"""httpcore's trace event: the whole request is written."""

_log = get_logger(__name__)
T = TypeVar("T")
_CONNECTIONS: Final = 32
_DOWNLOAD: Final = 600.0
"""Seconds that a download may take; each read of it has the deadline of a call."""
_NO_TOKEN: Final = timedelta(minutes=1)
"""How long no call is made after İYS refused our credentials."""
FOREIGN_ERRORS: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    httpx.StreamError,
)
"""The base classes of everything that httpx raises."""
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)
_UNSENDABLE: Final = (
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
    httpx.TooManyRedirects,
    httpx.CookieConflict,
)


class PacedTransport(httpx.AsyncBaseTransport):
    """Sends every request, the token request too, in its slot and with a deadline in seconds.

    httpx limits each read by itself; here the whole exchange has one deadline.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        pacer: Pacer,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self._inner = inner
        self._is_traced = isinstance(inner, httpx.AsyncHTTPTransport)
        self._pacer = pacer
        self._deadline = deadline
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` in its slot and return the response.

        Raises:
            WithheldError: its ``permit`` returned False; nothing was sent.
            httpx.ConnectTimeout: the deadline passed before anything was written.
            httpx.ReadTimeout: no complete response within the deadline.
        """
        operation = request.extensions.get(OPERATION, TOKEN)
        slot = await self._slot(request, operation)
        is_written = False

        async def trace(event: str, _info: Mapping[str, object]) -> None:
            nonlocal slot, is_written
            if event == _READY:
                await self._begin(request, slot)
                is_written = True
            elif event == _SENT:
                slot = self._pacer.left(slot)

        request.extensions["trace"] = trace
        try:
            async with asyncio.timeout(self._deadline):
                if not self._is_traced:
                    await trace(_READY, {})
                response = await self._inner.handle_async_request(request)
                # A response that begins shows that the request has arrived.
                self._pacer.arrived(slot)
                is_left = request.extensions.get(STREAMED) and response.is_success
                body = b"" if is_left else await response.aread()
        except WithheldError:
            self._pacer.arrived(slot)
            raise
        except TimeoutError:
            self._pacer.answered(operation, NO_ANSWER, failed=False)
            message = f"no complete response within {self._deadline} s"
            late = httpx.ReadTimeout if is_written else httpx.ConnectTimeout
            raise late(message, request=request) from None
        except httpx.HTTPError:
            self._pacer.answered(operation, NO_ANSWER, failed=False)
            raise
        refusals = read_refusals(body)
        code = next(
            (refusal.code for refusal in refusals if refusal.code), str(response.status_code)
        )
        self._pacer.answered(operation, code, failed=response.status_code in FAILURES)
        if not response.is_success and any(one.verdict is Verdict.THROTTLE for one in refusals):
            _log.warning("iys rate limit exceeded", status=response.status_code)
            await self._pacer.throttled()
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _slot(self, request: httpx.Request, operation: str) -> Slot:
        """Return the slot in which ``request`` may be sent."""
        urgency = request.extensions.get(CALL_CLASS, CallClass.RET)
        while True:
            slot = await self._pacer.wait(urgency, operation)
            # This process may have been paused.
            if not self._pacer.is_over(slot):
                return slot

    async def _begin(self, request: httpx.Request, slot: Slot) -> None:
        """Return when ``request`` may be written, at once; raises WithheldError."""
        permit = request.extensions.get(PERMIT)
        while True:
            if permit is not None and not await permit():
                raise WithheldError("the call was withheld before it was written")
            permitted_at = self._clock()
            await self._pacer.until(slot)
            if permit is None or self._clock() - permitted_at <= PERMITTED_FOR:
                return


class Method(StrEnum):
    """The HTTP methods of İYS's calls."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. ``nothing`` are the statuses that mean "no such record"."""

    method: Method
    path: str
    name: str
    body: object = field(default=None, repr=False)
    query: Mapping[str, str] | None = None
    writes: bool = False
    call_class: CallClass = CallClass.SWEEP
    nothing: frozenset[HTTPStatus] = frozenset()
    is_text: bool = False
    """Whether İYS answers in words, and no JSON."""
    permit: Callable[[], Awaitable[bool]] | None = None
    """Awaited just before each attempt is written; False withholds it."""


class Exchange:
    """The HTTP connections to İYS, paced and guarded by circuit breakers."""

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
        self.breakers = CircuitBreakers()
        """What is known of whether İYS answers."""
        self._deadline = deadline = settings.timeout.total_seconds()
        inner = transport or httpx.AsyncHTTPTransport(
            socket_options=[RESET],
            limits=httpx.Limits(
                max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS
            ),
        )
        self._http = httpx.AsyncClient(
            base_url=settings.base_url,
            auth=auth,
            # Connecting times out first, so that it can be distinguished from a lost answer.
            timeout=httpx.Timeout(deadline, connect=deadline / 2, pool=deadline / 2),
            transport=PacedTransport(inner, pacer, deadline, clock),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, call: Call, read: Callable[[object], T]) -> T:
        """Send ``call`` and return its response as read by ``read``.

        Raises:
            CallError: in one of its subclasses; BusyError at once while the circuit is open.
        """
        return await self._guarded(call.name, lambda: self._call(call, read))

    async def download(self, call: Call, write: Callable[[bytes], object]) -> bool:
        """Send ``call`` and pass its response to ``write`` in chunks; False: there is nothing.

        Raises:
            CallError: in one of its subclasses; what was written is incomplete.
        """
        return await self._guarded(call.name, lambda: self._download(call, write))

    async def _guarded(self, name: str, send: Callable[[], Awaitable[T]]) -> T:
        breakers = self.breakers
        if not breakers.begin(name, self._clock()):
            pause = timedelta(seconds=breakers.closes_in(name, self._clock()))
            closed = BusyError(f"the circuit of {name} is open", retry_after=pause)
            closed.is_repeated = True
            raise closed
        try:
            answer = await send()
        except (BusyError, OutcomeUnknownError) as error:
            if isinstance(error.__cause__, FOREIGN_ERRORS):
                breakers.unanswered(name, self._clock(), within=self._deadline)
            else:
                breakers.busy(name, self._clock())
            error.is_repeated = breakers.is_unreachable
            raise
        except (TokenLimitError, UnauthenticatedError) as error:
            breakers.abandoned(name)
            pause = error.retry_after or _NO_TOKEN
            breakers.open_all(pause.total_seconds(), self._clock())
            raise
        except ThrottledError:
            breakers.throttled(name, self._clock())
            raise
        except WithheldError:
            breakers.abandoned(name)
            raise
        except CallError:
            breakers.answered(name, self._clock())
            raise
        except BaseException:  # cancelled, or no ledger: that shows nothing about İYS
            breakers.abandoned(name)
            raise
        breakers.answered(name, self._clock())
        return answer

    def circuit_state(self, operation: str) -> CircuitState:
        """Return whether a call of ``operation``, the name of a method, may be made now."""
        return self.breakers.state(operation, self._clock())

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
            return read(response.text if call.is_text else parse_json(response.content))
        except UnreadableError as error:
            if call.writes:
                raise OutcomeUnknownError(f"{call.name}: {error}") from error
            raise

    async def _download(self, call: Call, write: Callable[[bytes], object]) -> bool:
        try:
            async with asyncio.timeout(_DOWNLOAD):
                response = await self._send(call, streamed=True)
                try:
                    if response.status_code != HTTPStatus.OK:
                        content = await response.aread()
                        if response.status_code in call.nothing and not read_refusals(content):
                            return False
                        raise error_of(call.name, response.status_code, content, writes=call.writes)
                    async for chunk in response.aiter_bytes():
                        write(chunk)
                finally:
                    await response.aclose()
        except TimeoutError:
            late = httpx.ReadTimeout(f"no complete response within {_DOWNLOAD} s")
            raise translate(late, call) from late
        except FOREIGN_ERRORS as error:
            raise translate(error, call) from error
        return True

    async def _send(self, call: Call, *, streamed: bool = False) -> httpx.Response:
        request = self._http.build_request(
            call.method,
            call.path,
            params=call.query,
            # A text is JSON already.
            content=call.body
            if call.body is None or isinstance(call.body, str)
            else orjson.dumps(call.body),
            headers=None if call.body is None else {"Content-Type": "application/json"},
            extensions={
                CALL_CLASS: call.call_class,
                OPERATION: call.name,
                PERMIT: call.permit,
                STREAMED: streamed,
            },
        )
        return await self._http.send(request, stream=streamed)


def translate(error: Exception, call: Call) -> CallError:
    """Return the CallError for an exception of httpx in ``call``."""
    kind = type(error).__name__
    if isinstance(error, _UNSENDABLE):
        return MisconfiguredError(f"{call.name} cannot be sent as it stands ({kind})")
    if isinstance(error, _NEVER_SENT) or _failed_before(error, call):
        return BusyError(f"{call.name} did not reach İYS ({kind})")
    if call.writes:
        return OutcomeUnknownError(f"{call.name} was sent and not answered ({kind})")
    return BusyError(f"{call.name} was not answered ({kind})")


def _failed_before(error: Exception, call: Call) -> bool:
    """Whether the token request failed, so that the call itself was never sent."""
    if not isinstance(error, httpx.HTTPError):
        return False
    try:
        path = error.request.url.path
    except RuntimeError:  # the error has no request
        return False
    return not path.endswith(call.path)
