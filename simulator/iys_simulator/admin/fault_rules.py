"""Fault rules of the admin API.

`POST /__simulator__/faults` takes one rule or a list of them, all or none::

    {"operation": "addV2", "code": "H123", "times": 3}              busy, three times
    {"operation": "*", "code": "H103", "share": 0.05, "times": null}  5 % of all, until cancelled
    {"operation": "batchV2", "drop": "after", "after": 2}           the third response is lost
    {"operation": "*", "code": "H192", "lasts": 600}                an outage of ten minutes
    {"operation": "add", "tokenExpired": true}                      H351, and a new token is needed
    {"operation": "batchV2", "writer": "integrator", "writes": "RET"}  another writer is faster
    {"operation": "push", "delivery": "overtaken"}                  sent after the next delivery
"""

from math import inf

from starlette.requests import Request
from starlette.responses import Response

from iys_simulator.admin.request_body import InvalidBodyError, RequestBody, as_object
from iys_simulator.errors.messages import REFUSALS, default_code
from iys_simulator.errors.responses import json_response
from iys_simulator.faults import (
    ANY,
    CompetingWrite,
    DeliveryFault,
    Drop,
    Fault,
    FaultRule,
    Operation,
    Writer,
)
from iys_simulator.gateway.call import parse_json
from iys_simulator.rules.consent import STATUSES
from iys_simulator.state import SimulatorState

_FIELDS = frozenset(
    {
        *("operation", "times", "share", "after", "begins", "lasts"),
        *("slowSeconds", "status", "code", "message", "drop", "tokenExpired"),
        *("writer", "writes", "delivery"),
    }
)
_NOT_FOR_PUSH = ("code", "message", "tokenExpired", "writer", "writes")


class FaultRulesAdmin:
    """The admin endpoints for fault rules."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def add(self, request: Request) -> Response:
        """Add one rule or a list of them."""
        content = parse_json(await request.body())
        entries = content if isinstance(content, list) else [content]
        now = self._state.clock.seconds()
        rules = [_rule(RequestBody(fields=as_object(entry)), now) for entry in entries]
        for rule in rules:
            self._state.faults.add(rule)
        return await self.show(request)

    async def show(self, _: Request) -> Response:
        """Return the rules that are left, and the number of faults left for each operation."""
        rules = self._state.faults.rules()
        faults: dict[str, int | None] = {}
        for rule in rules:
            count = faults.get(rule.operation, 0)
            if count is None or rule.times is None:
                faults[rule.operation] = None  # until cancelled
            else:
                faults[rule.operation] = count + rule.times
        now = self._state.clock.seconds()
        return json_response({"faults": faults, "rules": [_row(rule, now) for rule in rules]})

    async def clear(self, request: Request) -> Response:
        """Cancel all rules."""
        self._state.faults.clear()
        return await self.show(request)


def _rule(body: RequestBody, now: float) -> FaultRule:
    body.check_names(_FIELDS)
    operation = body.one_of("operation", (*Operation, ANY))
    fault = _fault(body)
    if fault == Fault():
        raise InvalidBodyError(
            "one of slowSeconds, status, code, drop, tokenExpired, writer with writes, delivery"
        )
    if operation == Operation.PUSH:
        for name in _NOT_FOR_PUSH:
            if body.has(name):
                raise InvalidBodyError(f"{name}: not for push, which the simulator itself calls")
    elif fault.delivery is not None:
        raise InvalidBodyError("delivery: for push only")
    share = body.seconds("share", 1.0)
    if not 0 < share <= 1:
        raise InvalidBodyError("share: above 0 and up to 1")
    # A rule with a duration applies to every call, unless it has a number of calls too.
    is_endless = body.is_null("times") or (body.has("lasts") and not body.has("times"))
    times = None if is_endless else body.whole("times", 1)
    if times is not None and times < 1:
        raise InvalidBodyError("times: 1 or more, or null until cancelled")
    skip_first = body.whole("after", 0)
    if skip_first < 0:
        raise InvalidBodyError("after: number of calls that pass first, 0 or more")
    begins_at = now + body.seconds("begins", 0.0)
    lasts = body.seconds("lasts") if body.has("lasts") else inf
    if begins_at < now or lasts <= 0:
        raise InvalidBodyError("begins, lasts: seconds of the simulator's time, 0 or more, above 0")
    return FaultRule(
        operation=operation,
        fault=fault,
        times=times,
        share=share,
        skip_first=skip_first,
        begins_at=begins_at,
        ends_at=begins_at + lasts,
    )


def _fault(body: RequestBody) -> Fault:
    slow_seconds = body.seconds("slowSeconds", 0.0)
    if slow_seconds < 0:
        raise InvalidBodyError("slowSeconds: 0 or more")
    status, code = body.optional_whole("status"), body.optional_text("code")
    if status is None and code is not None:
        if code not in REFUSALS:
            raise InvalidBodyError("code: unknown, so add its status")
        status = REFUSALS[code].status
    if status is not None and not 400 <= status <= 599:  # noqa: PLR2004 - HTTP's errors
        raise InvalidBodyError("status: 400 to 599")
    competing_write = None
    if body.has("writer") or body.has("writes"):
        competing_write = CompetingWrite(
            writer=Writer(body.one_of("writer", tuple(Writer))),
            status=body.one_of("writes", STATUSES),
        )
    delivery = None
    if body.has("delivery"):
        delivery = DeliveryFault(body.one_of("delivery", tuple(DeliveryFault)))
    return Fault(
        slow_seconds=slow_seconds,
        status=status,
        code=code or (default_code(status) if status else None),
        message=body.optional_text("message"),
        drop=Drop(body.one_of("drop", tuple(Drop))) if body.has("drop") else None,
        token_expired=body.flag("tokenExpired", default=False),
        competing_write=competing_write,
        delivery=delivery,
    )


def _row(rule: FaultRule, now: float) -> dict[str, object]:
    fault, write = rule.fault, rule.fault.competing_write
    ends = round(rule.ends_at - max(now, rule.begins_at), 3) if rule.ends_at < inf else None
    optional: dict[str, object] = {
        "begins": round(rule.begins_at - now, 3) if rule.begins_at > now else None,
        "lasts": ends,
        "slowSeconds": fault.slow_seconds or None,
        "status": fault.status,
        "code": fault.code,
        "message": fault.message,
        "drop": fault.drop,
        "tokenExpired": fault.token_expired or None,
        "writer": write.writer if write else None,
        "writes": write.status if write else None,
        "delivery": fault.delivery,
    }
    return {
        "operation": rule.operation,
        "times": rule.times,
        "share": rule.share,
        "after": rule.skip_first,
        **{name: value for name, value in optional.items() if value is not None},
    }
