"""The admin API's steering: clock, weather, and the log of what was asked.

`POST /__simulator__/weather` takes one order or a list of them, all or none::

    {"operation": "addV2", "code": "H123", "times": 3}              busy, three times
    {"operation": "*", "code": "H103", "share": 0.05, "times": null}  5 % of all, until cancelled
    {"operation": "batchV2", "drop": "after", "after": 2}           the third answer is lost
    {"operation": "*", "code": "H192", "lasts": 600}                ten minutes' outage
    {"operation": "add", "tokenExpired": true}                      H351, and a new token is needed
    {"operation": "batchV2", "writer": "integrator", "writes": "RET"}  somebody else is faster
    {"operation": "push", "delivery": "overtaken"}                  behind the next delivery
"""

from collections.abc import AsyncIterator
from math import inf

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from iys_simulator.admin.request_body import BadOrderError, Order, fields_of, order_of
from iys_simulator.clock import instant, seconds_of, wire_text
from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import json_answer, json_bytes
from iys_simulator.faults import ANY, Delivery, Drop, Fault, Front, Intrusion, Operation, Writer
from iys_simulator.gateway.gateway import parsed, usual_code
from iys_simulator.rules.fields import STATUSES
from iys_simulator.state import Twin
from iys_simulator.traffic.request_log import UNKNOWN, Entry

_WEATHER_FIELDS = frozenset(
    {
        *("operation", "times", "share", "after", "begins", "lasts"),
        *("slowSeconds", "status", "code", "message", "drop", "tokenExpired"),
        *("writer", "writes", "delivery"),
    }
)
_CLOCK_FIELDS = frozenset({"now", "offset", "advance", "speed"})
_OF_CALLS_ONLY = ("code", "message", "tokenExpired", "writer", "writes")


class Steering:
    """The methods of the admin API that steer `twin`."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    async def show_clock(self, _: Request) -> Response:
        """Tell the twin's time, how far ahead of the machine it is, and how fast it runs."""
        clock = self._twin.clock
        now = clock.seconds()
        return json_answer(
            {
                "now": instant(now).isoformat(timespec="milliseconds"),
                "nowTurkey": wire_text(int(now)),
                "offset": clock.offset,
                "speed": clock.speed,
            }
        )

    async def clock(self, request: Request) -> Response:
        """Set (`now` or `offset`), move (`advance`) and speed up (`speed`) the twin's time."""
        order = await order_of(request)
        order.knows(_CLOCK_FIELDS)
        if order.has("now") and order.has("offset"):
            raise BadOrderError("now, offset: one of them")
        clock = self._twin.clock
        speed = order.seconds("speed", clock.speed)
        if speed < 0:
            raise BadOrderError("speed: zero or more")
        # What is due up to now is processed under the old time first, so that order is kept.
        self._twin.process_due()
        before = clock.offset
        if order.has("now"):
            clock.set_seconds(_instant(order.text("now")))
        if order.has("offset"):
            clock.set_offset(order.seconds("offset"))
        clock.advance(order.seconds("advance", 0.0))
        if clock.seconds() < self._twin.last_second():
            clock.set_offset(before)
            raise BadOrderError("the clock may not go back behind the last movement: reset first")
        clock.set_speed(speed)
        self._twin.process_due()
        return await self.show_clock(request)

    async def weather(self, request: Request) -> Response:
        """Take one order or a list of them."""
        body = parsed(await request.body())
        orders = body if isinstance(body, list) else [body]
        now = self._twin.clock.seconds()
        fronts = [_front(Order(fields=fields_of(entry)), now) for entry in orders]
        for front in fronts:
            self._twin.weather.order(front)
        return await self.show_weather(request)

    async def show_weather(self, _: Request) -> Response:
        """Tell the orders that are left, and how many faults they are per operation."""
        fronts = self._twin.weather.fronts()
        faults: dict[str, int | None] = {}
        for front in fronts:
            so_far = faults.get(front.operation, 0)
            if so_far is None or front.times is None:
                faults[front.operation] = None  # until cancelled
            else:
                faults[front.operation] = so_far + front.times
        now = self._twin.clock.seconds()
        rows = [_front_row(front, now) for front in fronts]
        return json_answer({"faults": faults, "orders": rows})

    async def clear_weather(self, request: Request) -> Response:
        """Cancel all orders."""
        self._twin.weather.clear()
        return await self.show_weather(request)

    async def requests(self, _: Request) -> Response:
        """Tell the counters: per operation, HTTP status and H-code."""
        return json_answer(self._twin.counters.as_dict())

    async def request_log(self, request: Request) -> Response:
        """Tell the latest calls one by one, as NDJSON: `?operation=` and `?after=` (a sequence)."""
        asked = request.query_params
        operation, after = asked.get("operation"), asked.get("after", "0")
        if operation is not None and operation not in (*Operation, UNKNOWN):
            raise BadOrderError("operation: no such operation")
        if not (after.isascii() and after.isdecimal()):
            raise BadOrderError("after: a sequence")
        entries = self._twin.log.entries(operation=operation, after=int(after))

        async def lines() -> AsyncIterator[bytes]:
            for entry in entries:
                yield json_bytes(_entry_row(entry)) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def _instant(text: str) -> float:
    try:
        return seconds_of(text)
    except ValueError:
        raise BadOrderError("now: YYYY-MM-DD HH:MM:SS in Turkish time, or ISO 8601") from None


def _front(order: Order, now: float) -> Front:
    order.knows(_WEATHER_FIELDS)
    operation = order.one_of("operation", (*Operation, ANY))
    fault = _fault(order)
    if fault == Fault():
        raise BadOrderError(
            "one of slowSeconds, status, code, drop, tokenExpired, writer with writes, delivery"
        )
    if operation == Operation.PUSH:
        for name in _OF_CALLS_ONLY:
            if order.has(name):
                raise BadOrderError(f"{name}: not for push, a call of the twin's own")
    elif fault.delivery is not None:
        raise BadOrderError("delivery: for push only")
    share = order.seconds("share", 1.0)
    if not 0 < share <= 1:
        raise BadOrderError("share: above 0 and up to 1")
    # Weather that lasts strikes all the while, unless it is told how often.
    endless = order.is_null("times") or (order.has("lasts") and not order.has("times"))
    times = None if endless else order.whole("times", 1)
    if times is not None and times < 1:
        raise BadOrderError("times: 1 or more, or null until cancelled")
    passing = order.whole("after", 0)
    if passing < 0:
        raise BadOrderError("after: calls that pass first, 0 or more")
    begins_at = now + order.seconds("begins", 0.0)
    lasts = order.seconds("lasts") if order.has("lasts") else inf
    if begins_at < now or lasts <= 0:
        raise BadOrderError("begins, lasts: seconds of the twin's time, 0 or more, above 0")
    return Front(
        operation=operation,
        fault=fault,
        times=times,
        share=share,
        passing=passing,
        begins_at=begins_at,
        ends_at=begins_at + lasts,
    )


def _fault(order: Order) -> Fault:
    slow_seconds = order.seconds("slowSeconds", 0.0)
    if slow_seconds < 0:
        raise BadOrderError("slowSeconds: 0 or more")
    status = order.whole("status") if order.has("status") else None
    code = order.text("code") if order.has("code") else None
    if status is None and code is not None:
        if code not in REFUSALS:
            raise BadOrderError("code: unknown here, so say its status too")
        status = REFUSALS[code].status
    if status is not None and not 400 <= status <= 599:  # noqa: PLR2004 - HTTP's errors
        raise BadOrderError("status: 400 to 599")
    intrusion = None
    if order.has("writer") or order.has("writes"):
        intrusion = Intrusion(
            writer=Writer(order.one_of("writer", tuple(Writer))),
            status=order.one_of("writes", STATUSES),
        )
    return Fault(
        slow_seconds=slow_seconds,
        status=status,
        code=code or (usual_code(status) if status else None),
        message=order.text("message") if order.has("message") else None,
        drop=Drop(order.one_of("drop", tuple(Drop))) if order.has("drop") else None,
        token_expired=order.flag("tokenExpired", default=False),
        intrusion=intrusion,
        delivery=Delivery(order.one_of("delivery", tuple(Delivery)))
        if order.has("delivery")
        else None,
    )


def _front_row(front: Front, now: float) -> dict[str, object]:
    fault = front.fault
    told: dict[str, object] = {
        "begins": round(front.begins_at - now, 3) if front.begins_at > now else None,
        "lasts": round(front.ends_at - max(now, front.begins_at), 3)
        if front.ends_at < inf
        else None,
        "slowSeconds": fault.slow_seconds or None,
        "status": fault.status,
        "code": fault.code,
        "message": fault.message,
        "drop": fault.drop,
        "tokenExpired": fault.token_expired or None,
        "writer": fault.intrusion.writer if fault.intrusion else None,
        "writes": fault.intrusion.status if fault.intrusion else None,
        "delivery": fault.delivery,
    }
    return {
        "operation": front.operation,
        "times": front.times,
        "share": front.share,
        "after": front.passing,
        **{name: value for name, value in told.items() if value is not None},
    }


def _entry_row(entry: Entry) -> dict[str, object]:
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
        "struck": entry.struck,
    }
