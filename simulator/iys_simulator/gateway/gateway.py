"""The gateway that every call passes: limits, injected faults, authorization, then the endpoint.

Faults are injected after the limits, so a call that a limit refuses uses up no fault. The gateway
counts and logs every response.
"""

import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from iys_simulator.errors.messages import default_code, message_of
from iys_simulator.errors.responses import RefusedError, codes_in, json_response, refused
from iys_simulator.errors.table_messages import with_table_message
from iys_simulator.faults import CompetingWrite, Drop, Fault, Operation
from iys_simulator.gateway.authorization import authorize
from iys_simulator.gateway.call import Handler, OpenHandler, client_of
from iys_simulator.gateway.connection_drops import ConnectionDroppedError
from iys_simulator.other_writers import write_competing
from iys_simulator.state import SimulatorState
from iys_simulator.store.tokens import OAuthError
from iys_simulator.traffic.counters import DROPPED
from iys_simulator.traffic.request_log import UNKNOWN, LogEntry

Endpoint = Callable[[Request], Awaitable[Response]]

DropConnection = Callable[[Request], Awaitable[Response]]
"""Drops the connection of a request; the response it returns reaches nobody."""

_TOO_MANY = 429
_HOURLY = frozenset(["H084", "H086", "H089"])


class Gateway:
    """Admits the calls of one simulator to their endpoints."""

    def __init__(self, state: SimulatorState, drop: DropConnection) -> None:
        self._state = state
        self._drop = drop

    def authenticated(self, operation: Operation, handler: Handler) -> Endpoint:
        """Return `handler` behind limits, faults, token, path and subscription."""

        async def authorized(state: SimulatorState, request: Request, body: bytes) -> Response:
            return await handler(state, authorize(state, operation, request, body))

        return self.open(operation, authorized)

    def open(self, operation: Operation, handler: OpenHandler) -> Endpoint:
        """Return `handler` behind limits and faults only."""

        async def respond(request: Request) -> Response:
            entry = self._new_entry(operation, request)
            status, codes = DROPPED, list[str]()
            fault: Fault | None = None
            try:
                body = await request.body()
                fault = await self._admit(operation, request)
                response = await self._handle(fault, handler, request, body)
                status = str(response.status_code)
            except RefusedError as refusal:
                response = self._refusal_response(refusal)
                status, codes = str(refusal.status), codes_in(refusal.errors)
            except OAuthError as refusal:
                content = {"error": refusal.kind, "error_description": refusal.description}
                response, status = json_response(content, 400), "400"
            except ConnectionDroppedError:
                response = await self._drop(request)
            except ClientDisconnect:  # before the whole body arrived; the response reaches nobody
                response = Response()
            finally:
                self._record(entry, status, codes, faulted=fault is not None)
            return response

        return respond

    async def unknown(self, request: Request, problem: Exception) -> Response:
        """Respond to a path or method that İYS does not have, and count it as `unknown`."""
        status = problem.status_code if isinstance(problem, HTTPException) else 404
        # The admin API is no part of İYS.
        if not request.url.path.startswith("/__simulator__"):
            self._record(self._new_entry(UNKNOWN, request), str(status), [], faulted=False)
        return Response(status_code=status)

    def _refusal_response(self, refusal: RefusedError) -> Response:
        settings = self._state.settings
        if settings.wording == "table":
            refusal.errors = [with_table_message(entry) for entry in refusal.errors]
        try:
            response = json_response(refusal.content, refusal.status)
        except TypeError:  # the request's value is nested deeper than can be serialized
            refusal.errors = [
                {name: value for name, value in entry.items() if name != "value"}
                for entry in refusal.errors
            ]
            response = json_response(refusal.content, refusal.status)
        if settings.retry_after and refusal.status == _TOO_MANY:
            is_hourly = bool(_HOURLY & set(codes_in(refusal.errors)))
            response.headers["Retry-After"] = str(math.ceil(settings.hour) if is_hourly else 1)
        return response

    def _new_entry(self, operation: str, request: Request) -> LogEntry:
        return LogEntry(
            sequence=self._state.log.next_sequence(),
            occurred_at=self._state.clock.machine_milliseconds(),
            milliseconds=0,
            operation=operation,
            method=request.method,
            path=request.url.path,
            client=client_of(request),
            status="",
            codes=(),
            faulted=False,
        )

    def _record(self, entry: LogEntry, status: str, codes: list[str], *, faulted: bool) -> None:
        state = self._state
        state.counters.count(entry.operation, status, codes)
        if not state.limits.error_rate.is_removed(entry.client):
            now = state.clock.seconds()
            state.limits.error_rate.record(entry.client, now, status, state.settings)
        elapsed = state.clock.machine_milliseconds() - entry.occurred_at
        state.log.append(
            replace(entry, milliseconds=elapsed, status=status, codes=codes, faulted=faulted)
        )

    async def _admit(self, operation: Operation, request: Request) -> Fault | None:
        state, settings, client = self._state, self._state.settings, client_of(request)
        if settings.request_jitter:
            await state.pause(state.random.uniform(0, settings.request_jitter))
        if state.limits.error_rate.is_removed(client):
            if settings.removed_client == "drop":
                raise ConnectionDroppedError
            raise RefusedError(403, [])
        limit = state.limits.requests[settings.request_window]
        if not limit.admits(client, state.clock.seconds(), settings.requests_per_second, 1.0):
            raise refused(settings.rate_code)
        return state.faults.take(operation)

    async def _handle(
        self, fault: Fault | None, handler: OpenHandler, request: Request, body: bytes
    ) -> Response:
        state = self._state
        if fault is None:
            return await handler(state, request, body)
        if fault.slow_seconds:
            await state.pause(fault.slow_seconds)
        if fault.drop is Drop.BEFORE:
            raise ConnectionDroppedError
        if fault.status is not None:
            raise _injected_refusal(fault, fault.status)
        if fault.token_expired:
            state.tokens.expire(request.headers.get("authorization"))
        if fault.competing_write:
            self._write_competing(request, body, fault.competing_write)
        if fault.drop is Drop.AFTER:
            # Accepted or refused: the effect remains and the response is lost.
            with contextlib.suppress(RefusedError):
                await handler(state, request, body)
            raise ConnectionDroppedError
        return await handler(state, request, body)

    def _write_competing(self, request: Request, body: bytes, write: CompetingWrite) -> None:
        code = str(request.path_params.get("brandCode", ""))
        brand = self._state.directory.brands.get(int(code)) if code.isdecimal() else None
        if brand is not None:
            write_competing(self._state, brand, body, write)


def _injected_refusal(fault: Fault, status: int) -> RefusedError:
    code = fault.code or default_code(status)
    return RefusedError(status, [{"code": code, "message": fault.message or message_of(code)}])
