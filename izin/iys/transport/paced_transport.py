"""An httpx transport that sends each request in a time slot, with one deadline for the whole.

A request is granted its slot slightly ahead, prepared meanwhile, and sent when the slot begins.
Once the connection stands and nothing is written yet, its permit is asked for. It counts as
sent when its last byte is written, and as arrived when it is answered.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import httpx

from izin.iys.errors import WithheldError
from izin.iys.rate_limit.pace import CallClass, Pacer, Slot
from izin.iys.rate_limit.reputation import FAILURES
from izin.iys.verdicts import Verdict
from izin.iys.wire_format.error_envelope import read_refusals
from izin.runtime.observe import get_logger

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
        code = next((one.code for one in refusals if one.code), str(response.status_code))
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
