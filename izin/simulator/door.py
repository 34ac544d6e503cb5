"""The door every call passes: limit, token, path, subscription, then the method itself.

Weather strikes behind the limit, so a refused call uses no fault up. The door counts every answer.
"""

import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from izin.simulator.access import OAuthError
from izin.simulator.accounts import Account, Brand, forbidden
from izin.simulator.answers import RefusedError, codes_in, error, json_answer, refused
from izin.simulator.counters import DROPPED
from izin.simulator.texts import REFUSALS, message_of
from izin.simulator.twin import Twin
from izin.simulator.weather import Drop, Fault, Operation

# The methods whose documents show the misspelt form of H353.
_OLDER = frozenset(
    [
        Operation.BRANDS,
        Operation.ADD,
        Operation.ADD_V2,
        Operation.BATCH,
        Operation.BATCH_V2,
        Operation.RESULT,
        Operation.RESULT_V2,
        Operation.STATUS,
    ]
)


class ConnectionDroppedError(Exception):
    """The connection is to be lost without an answer."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that was let in: its body as sent, and for whom it is."""

    request: Request
    body: bytes
    client: str
    account: Account
    brand: Brand

    def json(self) -> object:
        """Give the body as JSON; H014 if it is none."""
        return parsed(self.body)


# Loses the connection of a request; what it returns is heard by nobody.
Dropper = Callable[[Request], Awaitable[Response]]
Method = Callable[[Twin, Call], Awaitable[Response]]
OpenMethod = Callable[[Twin, Request, bytes], Awaitable[Response]]

_NO_BRAND = Brand(code=0, iys_code=0, name="")


class Door:
    """Lets calls of one twin in to their methods."""

    def __init__(self, twin: Twin, drop: Dropper) -> None:
        self._twin = twin
        self._drop = drop

    def guarded(
        self, operation: Operation, method: Method
    ) -> Callable[[Request], Awaitable[Response]]:
        """Give `method` behind token, path and subscription."""

        async def entered(_: Twin, request: Request, body: bytes) -> Response:
            return await method(self._twin, self._let_in(operation, request, body))

        return self.open(operation, entered)

    def open(
        self, operation: Operation, method: OpenMethod
    ) -> Callable[[Request], Awaitable[Response]]:
        """Give `method` behind limit and weather only."""

        async def answered(request: Request) -> Response:
            body = await request.body()
            status, codes = DROPPED, list[str]()
            try:
                response = await self._answer(operation, method, request, body)
                status = str(response.status_code)
            except RefusedError as refusal:
                response = json_answer(refusal.content, refusal.status)
                status, codes = str(refusal.status), codes_in(refusal.errors)
            except OAuthError as refusal:
                content = {"error": refusal.kind, "error_description": refusal.description}
                response, status = json_answer(content, 400), "400"
            except ConnectionDroppedError:
                response = await self._drop(request)
            finally:
                self._twin.counters.count(operation, status, codes)
            return response

        return answered

    async def _answer(
        self, operation: Operation, method: OpenMethod, request: Request, body: bytes
    ) -> Response:
        twin = self._twin
        limit = twin.limits.requests[twin.settings.request_window]
        if not limit.admits(
            client_of(request), twin.clock.seconds(), twin.settings.requests_per_second
        ):
            raise refused("H124")
        fault = twin.weather.take(operation)
        if fault is None:
            return await method(twin, request, body)
        if fault.slow_seconds:
            await twin.pause(fault.slow_seconds)
        if fault.drop is Drop.BEFORE:
            raise ConnectionDroppedError
        if fault.status is not None:
            raise _refusal_of(fault, fault.status)
        if fault.drop is Drop.AFTER:
            # Whether it was taken or refused: the effect stands and the answer is lost.
            with contextlib.suppress(RefusedError):
                await method(twin, request, body)
            raise ConnectionDroppedError
        return await method(twin, request, body)

    def _let_in(self, operation: Operation, request: Request, body: bytes) -> Call:
        twin = self._twin
        account = twin.tokens.account_of(request.headers.get("authorization"), twin.clock.seconds())
        if account is None:
            raise refused("H351")
        key = twin.settings.forbidden_spelling if operation in _OLDER else "code"
        iys_code = _number(request, "iysCode", "H190")
        if iys_code != account.iys_code:
            raise forbidden("iysCode", key=key)
        brand = _NO_BRAND
        if "brandCode" in request.path_params:
            found = twin.directory.brands.get(_number(request, "brandCode", "H191"))
            if found is None or found.iys_code != iys_code:
                raise forbidden("brandCode", key=key)
            brand = found
        twin.directory.check_subscription(
            iys_code, is_subscription_query=operation is Operation.SUBSCRIPTION
        )
        return Call(
            request=request, body=body, client=client_of(request), account=account, brand=brand
        )


def client_of(request: Request) -> str:
    """Give the client's address, which all limits count by."""
    return request.client.host if request.client else "unknown"


def parsed(body: bytes) -> object:
    """`body` as JSON; H014 if it is none."""
    try:
        return json.loads(body)
    except ValueError:
        raise refused("H014") from None


def _number(request: Request, name: str, code: str) -> int:
    text = str(request.path_params[name])
    if text.isascii() and text.isdecimal():
        return int(text)
    if code == "H191":  # the code's other wording is the one of push
        raise RefusedError(422, [error(code, message="brandCode integer bir değer olmalıdır.")])
    raise refused(code)


def _refusal_of(fault: Fault, status: int) -> RefusedError:
    code = fault.code or _usual_code(status)
    return RefusedError(status, [{"code": code, "message": fault.message or message_of(code)}])


def _usual_code(status: int) -> str:
    usual = {429: "H124", 503: "H192", 401: "H351"}.get(status)
    if usual:
        return usual
    return next((code for code, row in REFUSALS.items() if row.status == status), "H470")
