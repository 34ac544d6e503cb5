"""The admin API under `/__simulator__/`: set the simulator up, act as a citizen, inspect its state.

It has no login and belongs on a loopback address. Field names are in camelCase like İYS's own; an
invalid body gets 400 `{"error": "…"}` and changes nothing.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from iys_simulator.admin.accounts import AccountsAdmin
from iys_simulator.admin.consents import ConsentsAdmin
from iys_simulator.admin.controls import Controls
from iys_simulator.admin.fault_rules import FaultRulesAdmin
from iys_simulator.admin.request_body import InvalidBodyError
from iys_simulator.errors.responses import RefusedError, json_response
from iys_simulator.settings import UnknownSettingError
from iys_simulator.state import SimulatorState

_Endpoint = Callable[[Request], Awaitable[Response]]


def admin_routes(state: SimulatorState) -> list[Route]:
    """Return the routes of the admin API of `state`."""
    accounts, consents = AccountsAdmin(state), ConsentsAdmin(state)
    controls, faults = Controls(state), FaultRulesAdmin(state)
    endpoints: list[tuple[str, str, _Endpoint]] = [
        ("POST", "/accounts", accounts.add_account),
        ("POST", "/brands", accounts.add_brand),
        ("POST", "/citizen", consents.save_citizen_changes),
        ("POST", "/writers", consents.write_as_other),
        ("GET", "/via", consents.list_via_requests),
        ("POST", "/via", consents.accept_via_request),
        ("GET", "/register", consents.list_records),
        ("GET", "/movements", consents.list_movements),
        ("GET", "/clock", controls.show_clock),
        ("POST", "/clock", controls.set_clock),
        ("GET", "/settings", controls.show_settings),
        ("POST", "/settings", controls.change_settings),
        ("GET", "/clients", controls.show_clients),
        ("POST", "/clients", controls.change_client),
        ("GET", "/requests", controls.show_requests),
        ("GET", "/requests/log", controls.show_request_log),
        ("POST", "/reset", controls.reset),
        ("GET", "/timestamp-root", controls.show_timestamp_root),
        ("GET", "/health", controls.show_health),
        ("GET", "/faults", faults.show),
        ("POST", "/faults", faults.add),
        ("DELETE", "/faults", faults.clear),
    ]
    return [
        Route(f"/__simulator__{path}", _with_errors(endpoint), methods=[method])
        for method, path, endpoint in endpoints
    ]


def _with_errors(endpoint: _Endpoint) -> _Endpoint:
    async def respond(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (InvalidBodyError, UnknownSettingError) as problem:
            return json_response({"error": str(problem)}, 400)
        except RefusedError:
            return json_response({"error": "the body is no JSON"}, 400)

    return respond
