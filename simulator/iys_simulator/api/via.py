"""ViA, ViA PASS and ViA Frame: consent collected by İYS itself, which is not simulated.

The endpoints exist and check the token and the provider as İYS does. Then they respond, in each
one's own envelope, that they are not simulated, so that nobody mistakes the response for İYS's.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from iys_simulator.errors.responses import RefusedError, error, json_response
from iys_simulator.faults import Operation
from iys_simulator.gateway.gateway import Gateway
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Account

CODE = "NOT-SIMULATED"
_VIA = "/via/sps/{iysCode}"
_VIA_PASS = "/otp-management/api/v1"  # noqa: S105 - a path, no secret
_VIA_PATHS = (
    ("POST", _VIA + "/consent"),
    ("POST", _VIA + "/confirmation"),
    ("GET", _VIA + "/via/clarification/{requestId}/file"),
    ("GET", _VIA + "/consent/request/{requestId}"),
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


def via_routes(gateway: Gateway) -> list[Route]:
    """Return the routes of all endpoints that respond "not simulated"."""
    handlers = [
        *((method, path, _via) for method, path in _VIA_PATHS),
        *((method, path, _pass) for method, path in _VIA_PASS_PATHS),
        *(("GET", path, _script) for path in _SCRIPTS),
        *(("GET", path, _frame) for path in _FRAMES),
        *(("POST", path, _step) for path in _STEPS),
    ]
    return [
        Route(path, gateway.open(Operation.VIA, handler), methods=[method])
        for method, path, handler in handlers
    ]


async def _via(state: SimulatorState, request: Request, _: bytes) -> Response:
    account = _account(state, request)
    if account is None:
        raise RefusedError(401, [error("H1045")])
    if not _may_see(state, account, request):
        raise RefusedError(403, [error("H1040")])
    raise RefusedError(400, [error(CODE, message=_explanation(request))])


async def _pass(state: SimulatorState, request: Request, _: bytes) -> Response:
    account = _account(state, request)
    if account is None:
        return _otp_error(401, "ERR-SYS-0006", "Yetkisiz erişim")
    if not _may_see(state, account, request):
        text = "Gönderilen iysCode'un mevcut API kullanıcısı için yetkisi bulunmamaktadır."
        return _otp_error(403, "ERR-SYS-0005", text)
    return _otp_error(400, CODE, _explanation(request))


async def _script(_: SimulatorState, request: Request, __: bytes) -> Response:
    return PlainTextResponse(f"// {_explanation(request)}\n", media_type="application/javascript")


async def _frame(_: SimulatorState, request: Request, __: bytes) -> Response:
    return json_response({"status": CODE, "message": {"reason": _explanation(request)}})


async def _step(_: SimulatorState, request: Request, __: bytes) -> Response:
    raise RefusedError(400, [error(CODE, message=_explanation(request))])


def _account(state: SimulatorState, request: Request) -> Account | None:
    header = request.headers.get("authorization")
    return state.tokens.account_of(header, state.clock.seconds())


def _may_see(state: SimulatorState, account: Account, request: Request) -> bool:
    code = str(request.path_params.get("iysCode", account.iys_code))
    if not (code.isascii() and code.isdecimal()):
        return False
    return int(code) == account.iys_code or state.directory.may_see(account, int(code))


def _explanation(request: Request) -> str:
    return f"{request.method} {request.url.path} is not simulated: ViA is out of scope."


def _otp_error(status: int, code: str, text: str) -> Response:
    return JSONResponse({"errorCode": code, "errorMessage": text}, status)
