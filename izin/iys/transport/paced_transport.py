"""An httpx transport that sends each request in a time slot, with one deadline for the whole.

A request is granted its slot slightly ahead, prepared meanwhile, and sent when the slot begins. It
counts as sent when its last byte is written, and as arrived when it is answered.
"""

import asyncio
from collections.abc import Mapping
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
"""The keys of a request's extensions: its class, its operation, and who permits it."""
TOKEN: Final = "token"  # noqa: S105 - an operation's name, no secret
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

    def __init__(self, inner: httpx.AsyncBaseTransport, pacer: Pacer, deadline: float) -> None:
        self._inner = inner
        self._is_traced = isinstance(inner, httpx.AsyncHTTPTransport)
        self._pacer = pacer
        self._deadline = deadline

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` in its slot and return the response.

        Raises:
            WithheldError: its ``permit`` returned False; nothing was sent.
            httpx.ReadTimeout: no complete response within the deadline.
        """
        operation = request.extensions.get(OPERATION, TOKEN)
        slot = await self._slot(request, operation)

        async def trace(event: str, _info: Mapping[str, object]) -> None:
            nonlocal slot
            if event == _READY:
                await self._pacer.until(slot)
            elif event == _SENT:
                slot = self._pacer.left(slot)

        request.extensions["trace"] = trace
        if not self._is_traced:
            await self._pacer.until(slot)
        try:
            async with asyncio.timeout(self._deadline):
                response = await self._inner.handle_async_request(request)
                # A response that begins shows that the request has arrived.
                self._pacer.arrived(slot)
                body = await response.aread()
        except TimeoutError:
            self._pacer.answered(operation, NO_ANSWER, failed=False)
            message = f"no complete response within {self._deadline} s"
            raise httpx.ReadTimeout(message, request=request) from None
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
        permit = request.extensions.get(PERMIT)
        while True:
            slot = await self._pacer.wait(urgency, operation)
            if permit is not None and not await permit():
                self._pacer.arrived(slot)
                raise WithheldError("the call was withheld while it waited for its slot")
            # The permit, or this process, may have taken too long.
            if not self._pacer.is_over(slot):
                return slot
