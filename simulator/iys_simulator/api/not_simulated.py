"""ViA for explicit consents (KVK), ViA PASS and ViA Frame, which are not simulated.

The endpoints exist and check the token and the provider as İYS does. Then they respond, in each
one's own envelope, that they are not simulated, so that nobody mistakes the response for İYS's.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from iys_simulator.api.via import NOT_SIMULATED, account_of, admitted, may_see
from iys_simulator.errors.responses import RefusedError, error, json_response
from iys_simulator.faults import Operation
from iys_simulator.gateway.gateway import Gateway
from iys_simulator.state import SimulatorState

_VIA = "/via/sps/{iysCode}"
_VIA_PASS = "/otp-management/api/v1"  # noqa: S105 - a path, no secret
_KVK_PATHS = (
    ("GET", _VIA + "/via/clarification/{requestId}/file"),
    ("GET", _VIA + "/consent/{requestId}"),
    ("POST", _VIA + "/consent/status"),
)
_VIA_PASS_PATHS = (
    ("POST", _VIA_PASS + "/{iysCode}/sms/start"),
    ("POST", _VIA_PASS + "/sms/complete"),
    ("POST", _VIA_PASS + "/{iysCode}/email/start"),
    ("POST", _VIA_PASS + "/email/complete"),
    ("POST", _VIA_PASS + "/{iysCode}/sms/start/short-url"),
    ("POST", _VIA_PASS + "/{iysCode}/email/start/short-url"),
    ("GET", _VIA_PASS + "/get-clarification-file/{iysCode}/{requestId}"),
    ("POST", _VIA_PASS + "/request-history"),
    ("GET", _VIA_PASS + "/subscription/{iysCode}"),
)
_SCRIPTS = ("/widget/load-widgetloader/{widgetUUID}",)
_FRAMES = ("/widget/publicKey/{widgetUUID}", "/widget/load-widget/{widgetUUID}")
_STEPS = ("/widget/process/start/{widgetUUID}", "/widget/process/complete/{widgetUUID}")


def not_simulated_routes(gateway: Gateway) -> list[Route]:
    """Return the routes of all endpoints that respond "not simulated"."""
    handlers = [
        *((method, path, _kvk) for method, path in _KVK_PATHS),
        *((method, path, _pass) for method, path in _VIA_PASS_PATHS),
        *(("GET", path, _script) for path in _SCRIPTS),
        *(("GET", path, _frame) for path in _FRAMES),
        *(("POST", path, _step) for path in _STEPS),
    ]
    return [
        Route(path, gateway.open(Operation.VIA, handler), methods=[method])
        for method, path, handler in handlers
    ]


async def _kvk(state: SimulatorState, request: Request, _: bytes) -> Response:
    admitted(state, request)
    raise RefusedError(400, [error(NOT_SIMULATED, message=_explanation(request))])


async def _pass(state: SimulatorState, request: Request, _: bytes) -> Response:
    account = account_of(state, request)
    if account is None:
        return _otp_error(401, "ERR-SYS-0006", "Yetkisiz erişim")
    if not may_see(state, account, request):
        text = "Gönderilen iysCode'un mevcut API kullanıcısı için yetkisi bulunmamaktadır."
        return _otp_error(403, "ERR-SYS-0005", text)
    return _otp_error(400, NOT_SIMULATED, _explanation(request))


async def _script(_: SimulatorState, request: Request, __: bytes) -> Response:
    return PlainTextResponse(f"// {_explanation(request)}\n", media_type="application/javascript")


async def _frame(_: SimulatorState, request: Request, __: bytes) -> Response:
    return json_response({"status": NOT_SIMULATED, "message": {"reason": _explanation(request)}})


async def _step(_: SimulatorState, request: Request, __: bytes) -> Response:
    raise RefusedError(400, [error(NOT_SIMULATED, message=_explanation(request))])


def _explanation(request: Request) -> str:
    return f"{request.method} {request.url.path} is not simulated."


def _otp_error(status: int, code: str, text: str) -> Response:
    return JSONResponse({"errorCode": code, "errorMessage": text}, status)
