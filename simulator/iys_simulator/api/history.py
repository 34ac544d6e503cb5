"""History: all movements of one recipient, the newest consent date first."""

from starlette.responses import Response

from iys_simulator.api.movement_fields import movement_fields
from iys_simulator.api.paging import paging_of
from iys_simulator.api.retailer_access import key_errors, key_of
from iys_simulator.errors.responses import RefusedError, json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.state import SimulatorState


async def list_history(state: SimulatorState, call: Call) -> Response:
    """List the movements of one recipient: `POST …/consents/history?limit&offset`.

    Raises:
        RefusedError: H014, H089, H182, H183, H186, H187, H353, or one of `key_errors`.
    """
    now = state.clock.seconds()
    if not state.limits.histories.admits(
        call.client, now, state.settings.history_limit, state.settings.hour
    ):
        raise refused("H089")
    body = call.json()
    if not isinstance(body, dict):
        raise refused("H014")
    errors = key_errors(body)
    if errors:
        raise RefusedError(422, errors)
    paging = paging_of(call.request.query_params, state.settings, is_swapped=True)
    call.check_rights([body["type"]], to_write=False)
    movements = state.register_of(call.brand.code).history_of(key_of(body))
    # Movements without a date (a merchant's first) come after all others.
    movements.sort(key=lambda movement: (movement.consent_date, movement.sequence), reverse=True)
    page = [movement_fields(movement) for movement in paging.of(movements)]
    pagination = {
        "totalCount": len(movements),
        "pageSize": len(page),
        "offset": paging.offset,
    }
    return json_response({"list": page, "pagination": pagination})
