"""The door every call passes: limit, token, path, subscription, then the method itself.

Weather strikes behind the limit, so a refused call uses no fault up. The door counts every answer.
"""

import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from iys_simulator.errors.messages import REFUSALS, message_of
from iys_simulator.errors.responses import RefusedError, codes_in, error, json_answer, refused
from iys_simulator.errors.table_messages import in_tables_words
from iys_simulator.faults import Drop, Fault, Intrusion, Operation
from iys_simulator.gateway.auth_errors import LISTS, MISSPELT, no_account
from iys_simulator.other_writers import intrude
from iys_simulator.settings import Settings
from iys_simulator.state import Twin
from iys_simulator.store.accounts import Account, Brand, check_rights, forbidden
from iys_simulator.store.tokens import OAuthError
from iys_simulator.traffic.counters import DROPPED
from iys_simulator.traffic.request_log import UNKNOWN, Entry


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
    settings: Settings

    def check_rights(self, channels: Iterable[object], *, to_write: bool) -> None:
        """Raise H353 where the account lacks a right for one of `channels`."""
        named = self.settings.missing_right
        check_rights(self.brand, channels, to_write=to_write, named=named)

    def json(self) -> object:
        """Give the body as JSON; H014 if it is none."""
        return parsed(self.body)


# Loses the connection of a request; what it returns is heard by nobody.
Dropper = Callable[[Request], Awaitable[Response]]
Method = Callable[[Twin, Call], Awaitable[Response]]
OpenMethod = Callable[[Twin, Request, bytes], Awaitable[Response]]

_TOO_MANY = 429
_HOURLY = frozenset(["H084", "H086", "H089"])
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
            entered = self._entered(operation, request)
            status, codes = DROPPED, list[str]()
            fault: Fault | None = None
            try:
                body = await request.body()
                fault = await self._admitted(operation, request)
                response = await self._answer(fault, method, request, body)
                status = str(response.status_code)
            except RefusedError as refusal:
                response = self._told(refusal)
                status, codes = str(refusal.status), codes_in(refusal.errors)
            except OAuthError as refusal:
                content = {"error": refusal.kind, "error_description": refusal.description}
                response, status = json_answer(content, 400), "400"
            except ConnectionDroppedError:
                response = await self._drop(request)
            except ClientDisconnect:  # in the midst of the body; nobody hears what is answered
                response = Response()
            finally:
                self._note(entered, status, codes, struck=fault is not None)
            return response

        return answered

    def _told(self, refusal: RefusedError) -> Response:
        settings = self._twin.settings
        if settings.wording == "table":
            refusal.errors = [in_tables_words(entry) for entry in refusal.errors]
        try:
            response = json_answer(refusal.content, refusal.status)
        except TypeError:  # a value that was sent is nested deeper than can be written
            refusal.errors = [
                {name: told for name, told in entry.items() if name != "value"}
                for entry in refusal.errors
            ]
            response = json_answer(refusal.content, refusal.status)
        if settings.retry_after and refusal.status == _TOO_MANY:
            is_hourly = bool(_HOURLY & set(codes_in(refusal.errors)))
            response.headers["Retry-After"] = str(math.ceil(settings.hour) if is_hourly else 1)
        return response

    async def unknown(self, request: Request, problem: Exception) -> Response:
        """Answer a path or method that İYS does not have, and count it as `unknown`."""
        status = problem.status_code if isinstance(problem, HTTPException) else 404
        # The admin API is no part of İYS.
        if not request.url.path.startswith("/__simulator__"):
            self._note(self._entered(UNKNOWN, request), str(status), [], struck=False)
        return Response(status_code=status)

    def _entered(self, operation: str, request: Request) -> Entry:
        return Entry(
            sequence=self._twin.log.next_sequence(),
            occurred_at=self._twin.clock.machine_milliseconds(),
            milliseconds=0,
            operation=operation,
            method=request.method,
            path=request.url.path,
            client=client_of(request),
            status="",
            codes=(),
            struck=False,
        )

    def _note(self, entered: Entry, status: str, codes: list[str], *, struck: bool) -> None:
        twin = self._twin
        twin.counters.count(entered.operation, status, codes)
        if not twin.limits.quality.is_removed(entered.client):
            now = twin.clock.seconds()
            twin.limits.quality.note(entered.client, now, status, twin.settings)
        took = twin.clock.machine_milliseconds() - entered.occurred_at
        twin.log.note(
            replace(entered, milliseconds=took, status=status, codes=codes, struck=struck)
        )

    async def _admitted(self, operation: Operation, request: Request) -> Fault | None:
        twin, settings, client = self._twin, self._twin.settings, client_of(request)
        if settings.request_jitter:
            await twin.pause(twin.chance.uniform(0, settings.request_jitter))
        if twin.limits.quality.is_removed(client):
            if settings.removed_client == "drop":
                raise ConnectionDroppedError
            raise RefusedError(403, [])
        limit = twin.limits.requests[settings.request_window]
        if not limit.admits(client, twin.clock.seconds(), settings.requests_per_second, 1.0):
            raise refused(settings.rate_code)
        return twin.weather.take(operation)

    async def _answer(
        self, fault: Fault | None, method: OpenMethod, request: Request, body: bytes
    ) -> Response:
        twin = self._twin
        if fault is None:
            return await method(twin, request, body)
        if fault.slow_seconds:
            await twin.pause(fault.slow_seconds)
        if fault.drop is Drop.BEFORE:
            raise ConnectionDroppedError
        if fault.status is not None:
            raise _refusal_of(fault, fault.status)
        if fault.token_expired:
            twin.tokens.expire(request.headers.get("authorization"))
        if fault.intrusion:
            self._intruded(request, body, fault.intrusion)
        if fault.drop is Drop.AFTER:
            # Whether it was taken or refused: the effect stands and the answer is lost.
            with contextlib.suppress(RefusedError):
                await method(twin, request, body)
            raise ConnectionDroppedError
        return await method(twin, request, body)

    def _intruded(self, request: Request, body: bytes, intrusion: Intrusion) -> None:
        code = str(request.path_params.get("brandCode", ""))
        brand = self._twin.directory.brands.get(int(code)) if code.isdecimal() else None
        if brand is not None:
            intrude(self._twin, brand, body, intrusion)

    def _let_in(self, operation: Operation, request: Request, body: bytes) -> Call:
        twin = self._twin
        header = request.headers.get("authorization")
        account = twin.tokens.account_of(header, twin.clock.seconds())
        if account is None:
            raise no_account(operation, header)
        if "integratorCode" in request.path_params:
            self._check_partner(operation, account, _number(request, "integratorCode", "H190"))
        brand = self._brand_of(operation, request, account)
        self._check_subscriptions(operation, request, account)
        return Call(
            request=request,
            body=body,
            client=client_of(request),
            account=account,
            brand=brand,
            settings=twin.settings,
        )

    def _brand_of(self, operation: Operation, request: Request, account: Account) -> Brand:
        if "iysCode" not in request.path_params:
            return _NO_BRAND
        directory = self._twin.directory
        key = self._twin.settings.forbidden_spelling if operation in MISSPELT else "code"
        iys_code = _number(request, "iysCode", "H190")
        if not directory.may_see(account, iys_code):
            raise forbidden("iysCode", key=key)
        if "brandCode" not in request.path_params:
            return _NO_BRAND
        brand = directory.brand_for(account, iys_code, _number(request, "brandCode", "H191"))
        if brand is None:
            raise forbidden("brandCode", key=key)
        return brand

    def _check_partner(self, operation: Operation, account: Account, code: int) -> None:
        if not account.is_integrator:
            raise refused("H522" if operation is Operation.PARTNER_SUBSCRIPTION else "H363")
        if code == account.iys_code:
            return
        if operation is Operation.PARTNER_SUBSCRIPTION:
            text = REFUSALS["H437"].message.format(iysCode=code)
            raise refused("H437", message=text)
        raise forbidden("integratorIysCode")

    def _check_subscriptions(
        self, operation: Operation, request: Request, account: Account
    ) -> None:
        if operation in LISTS:
            return
        check = self._twin.directory.check_subscription
        if account.is_integrator:
            own = operation is Operation.PARTNER_SUBSCRIPTION
            check(account.iys_code, is_subscription_query=own, who="Entegratör")
        if "iysCode" in request.path_params and operation is not Operation.PARTNER_PROVIDER:
            own = operation is Operation.SUBSCRIPTION
            check(_number(request, "iysCode", "H190"), is_subscription_query=own)


def client_of(request: Request) -> str:
    """Give the client's address, which all limits count by."""
    return request.client.host if request.client else "unknown"


def parsed(body: bytes) -> object:
    """`body` as JSON; H014 if it is none."""
    try:
        return orjson.loads(body)
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
    code = fault.code or usual_code(status)
    return RefusedError(status, [{"code": code, "message": fault.message or message_of(code)}])


def usual_code(status: int) -> str:
    """Give the H-code that usually comes with an HTTP status."""
    usual = {429: "H124", 503: "H192", 401: "H351"}.get(status)
    if usual:
        return usual
    return next((code for code, row in REFUSALS.items() if row.status == status), "H470")
