"""Controls of the admin API: clock, settings, clients, requests, reset and health."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from iys_simulator.admin.request_body import InvalidBodyError, read_body
from iys_simulator.clock import instant, seconds_of, wire_text
from iys_simulator.errors.responses import json_bytes, json_response
from iys_simulator.faults import Operation
from iys_simulator.state import SimulatorState
from iys_simulator.traffic.request_log import UNKNOWN, LogEntry

_CLOCK_FIELDS = frozenset({"now", "offset", "advance", "speed"})


class Controls:
    """The admin endpoints that control a simulator."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def show_clock(self, _: Request) -> Response:
        """Return the simulator's time, its offset from the machine's, and its speed."""
        clock = self._state.clock
        now = clock.seconds()
        return json_response(
            {
                "now": instant(now).isoformat(timespec="milliseconds"),
                "nowTurkey": wire_text(int(now)),
                "offset": clock.offset,
                "speed": clock.speed,
            }
        )

    async def set_clock(self, request: Request) -> Response:
        """Set (`now` or `offset`), move (`advance`) and speed up (`speed`) the clock."""
        body = await read_body(request)
        body.check_names(_CLOCK_FIELDS)
        if body.has("now") and body.has("offset"):
            raise InvalidBodyError("now, offset: one of them")
        clock = self._state.clock
        speed = body.seconds("speed", clock.speed)
        if speed < 0:
            raise InvalidBodyError("speed: zero or more")
        # What is due by now is processed at the old time first, so that the order stays the same.
        self._state.process_due()
        before = clock.offset
        if body.has("now"):
            clock.set_seconds(_instant(body.text("now")))
        if body.has("offset"):
            clock.set_offset(body.seconds("offset"))
        clock.advance(body.seconds("advance", 0.0))
        if clock.seconds() < self._state.last_second():
            clock.set_offset(before)
            raise InvalidBodyError(
                "the clock may not go back before the last movement: reset first"
            )
        clock.set_speed(speed)
        self._state.process_due()
        return await self.show_clock(request)

    async def show_settings(self, _: Request) -> Response:
        """Return all settings."""
        return json_response(self._state.settings.as_dict())

    async def change_settings(self, request: Request) -> Response:
        """Change the settings that the body names."""
        body = await read_body(request)
        self._state.settings = self._state.settings.changed(body.fields)
        return await self.show_settings(request)

    async def show_clients(self, _: Request) -> Response:
        """Return the success rate of each client and whether it is removed."""
        return json_response({"clients": self._state.limits.error_rate.as_list()})

    async def change_client(self, request: Request) -> Response:
        """Take a client off the whitelist (`isRemoved`), or put it back."""
        body, error_rate = await read_body(request), self._state.limits.error_rate
        change = error_rate.remove if body.flag("isRemoved", default=False) else error_rate.readmit
        change(body.text("client"))
        return await self.show_clients(request)

    async def show_requests(self, _: Request) -> Response:
        """Return the counters: per operation, HTTP status and H-code."""
        return json_response(self._state.counters.as_dict())

    async def show_request_log(self, request: Request) -> Response:
        """Return the latest calls as NDJSON: `?operation=` and `?after=` (a sequence)."""
        query = request.query_params
        operation, after = query.get("operation"), query.get("after", "0")
        if operation is not None and operation not in (*Operation, UNKNOWN):
            raise InvalidBodyError("operation: no such operation")
        if not (after.isascii() and after.isdecimal()):
            raise InvalidBodyError("after: a sequence")
        entries = self._state.log.entries(operation=operation, after=int(after))

        async def lines() -> AsyncIterator[bytes]:
            for entry in entries:
                yield json_bytes(_log_row(entry)) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def reset(self, request: Request) -> Response:
        """Delete registers and batches and reset the clock; with `everything` accounts too."""
        body = await read_body(request)
        await self._state.reset(
            everything=body.flag("everything", default=False), seed=body.optional_whole("seed")
        )
        return json_response({"status": "ok"})

    async def show_timestamp_root(self, _: Request) -> Response:
        """Return the root of the authority that signs time stamps (PEM)."""
        return Response(self._state.timestamps.root_pem, media_type="application/x-pem-file")

    async def show_health(self, _: Request) -> Response:
        """Return the time and the number of accounts, brands and batches."""
        state = self._state
        return json_response(
            {
                "status": "ok",
                "nowTurkey": state.now_text(),
                "accounts": len(state.directory.accounts),
                "brands": len(state.directory.brands),
                "batches": len(state.batches),
            }
        )


def _instant(text: str) -> float:
    try:
        return seconds_of(text)
    except ValueError:
        raise InvalidBodyError("now: YYYY-MM-DD HH:MM:SS in Turkish time, or ISO 8601") from None


def _log_row(entry: LogEntry) -> dict[str, object]:
    return {
        "sequence": entry.sequence,
        "occurredAt": entry.occurred_at,
        "milliseconds": entry.milliseconds,
        "operation": entry.operation,
        "method": entry.method,
        "path": entry.path,
        "client": entry.client,
        "status": entry.status,
        "codes": entry.codes,
        "faulted": entry.faulted,
    }
