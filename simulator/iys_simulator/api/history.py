"""History: all movements of one address, the newest consent date first, 100 times an hour."""

from starlette.responses import Response

from iys_simulator.api.paging import paging_of
from iys_simulator.api.retailer_access import key_errors, key_of
from iys_simulator.api.status import dated
from iys_simulator.errors.responses import RefusedError, json_answer, refused
from iys_simulator.gateway.gateway import Call
from iys_simulator.state import Twin


async def history(twin: Twin, call: Call) -> Response:
    """`POST …/consents/history?limit&offset`: H089 where the hour is used up."""
    now = twin.clock.seconds()
    if not twin.limits.histories.admits(
        call.client, now, twin.settings.history_limit, twin.settings.hour
    ):
        raise refused("H089")
    body = call.json()
    if not isinstance(body, dict):
        raise refused("H014")
    errors = key_errors(body)
    if errors:
        raise RefusedError(422, errors)
    paging = paging_of(call.request.query_params, twin.settings, is_swapped=True)
    call.check_rights([body["type"]], to_write=False)
    movements = twin.register_of(call.brand.code).history_of(key_of(body))
    # Movements without a date (a trader's first) stand behind all others.
    movements.sort(key=lambda movement: (movement.consent_date, movement.sequence), reverse=True)
    page = [dated(movement) for movement in paging.of(movements)]
    pagination = {
        "totalCount": len(movements),
        "pageSize": len(page),
        "offset": paging.offset,
    }
    return json_answer({"list": page, "pagination": pagination})
