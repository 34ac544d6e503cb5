"""ViA, ViA PASS and ViA Frame: consent taken by İYS itself. The twin does not simulate it.

The operations exist, check the token and the provider as İYS does, and then say in each one's own
envelope that they are not simulated, so that nobody takes the answer for one of İYS's.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from iys_simulator.errors.responses import RefusedError, error, json_answer
from iys_simulator.faults import Operation
from iys_simulator.gateway.gateway import Door
from iys_simulator.state import Twin
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


def via_routes(door: Door) -> list[Route]:
    """Give the routes of all operations that answer "not simulated"."""
    methods = [
        *((verb, path, _via) for verb, path in _VIA_PATHS),
        *((verb, path, _pass) for verb, path in _VIA_PASS_PATHS),
        *(("GET", path, _script) for path in _SCRIPTS),
        *(("GET", path, _frame) for path in _FRAMES),
        *(("POST", path, _step) for path in _STEPS),
    ]
    return [
        Route(path, door.open(Operation.VIA, method), methods=[verb])
        for verb, path, method in methods
    ]


async def _via(twin: Twin, request: Request, _: bytes) -> Response:
    account = _account(twin, request)
    if account is None:
        raise RefusedError(401, [error("H1045")])
    if not _is_theirs(twin, account, request):
        raise RefusedError(403, [error("H1040")])
    raise RefusedError(400, [error(CODE, message=_sentence(request))])


async def _pass(twin: Twin, request: Request, _: bytes) -> Response:
    account = _account(twin, request)
    if account is None:
        return _told(401, "ERR-SYS-0006", "Yetkisiz erişim")
    if not _is_theirs(twin, account, request):
        text = "Gönderilen iysCode'un mevcut API kullanıcısı için yetkisi bulunmamaktadır."
        return _told(403, "ERR-SYS-0005", text)
    return _told(400, CODE, _sentence(request))


async def _script(_: Twin, request: Request, __: bytes) -> Response:
    return PlainTextResponse(f"// {_sentence(request)}\n", media_type="application/javascript")


async def _frame(_: Twin, request: Request, __: bytes) -> Response:
    return json_answer({"status": CODE, "message": {"reason": _sentence(request)}})


async def _step(_: Twin, request: Request, __: bytes) -> Response:
    raise RefusedError(400, [error(CODE, message=_sentence(request))])


def _account(twin: Twin, request: Request) -> Account | None:
    header = request.headers.get("authorization")
    return twin.tokens.account_of(header, twin.clock.seconds())


def _is_theirs(twin: Twin, account: Account, request: Request) -> bool:
    code = str(request.path_params.get("iysCode", account.iys_code))
    if not (code.isascii() and code.isdecimal()):
        return False
    return int(code) == account.iys_code or twin.directory.may_see(account, int(code))


def _sentence(request: Request) -> str:
    return f"{request.method} {request.url.path} is not simulated: ViA is out of the twin's scope."


def _told(status: int, code: str, text: str) -> Response:
    return JSONResponse({"errorCode": code, "errorMessage": text}, status)
