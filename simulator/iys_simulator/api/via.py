"""ViA: İYS asks somebody for consent, by a code or a link, and registers it itself.

Of its calls those are simulated that concern consents to commercial messages (ETK). Nothing is sent
to anybody: the admin API shows the code of a request, and opens its link for the person. Where the
simulator was given no credits of a provider, ViA costs nothing there.
"""

import secrets
import uuid
from dataclasses import replace
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import RefusedError, error, json_response, refused
from iys_simulator.faults import Operation
from iys_simulator.gateway.gateway import Gateway
from iys_simulator.other_writers import save_via_consents
from iys_simulator.rules.consent import RECIPIENT_TYPES
from iys_simulator.rules.recipients import is_email, is_phone
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Account
from iys_simulator.store.via_requests import WRONG_CODES, ViaRequest

NOT_SIMULATED: Final = "NOT-SIMULATED"
WAYS: Final = ("SMS_OTP", "SMS_SHORTURL", "EPOSTA_OTP", "EPOSTA_SHORTURL", "EPOSTA_APPROVALURL")
_TYPES: Final = {"SMS": ("MESAJ", "ARAMA"), "EPOSTA": ("EPOSTA",)}
_CODES = 1_000_000


def via_routes(gateway: Gateway) -> list[Route]:
    """Return the routes of ViA."""
    handlers = (
        ("POST", "/consent", Operation.VIA_START, _start),
        ("POST", "/confirmation", Operation.VIA_CONFIRM, _confirm),
        ("GET", "/consent/request/{requestId}", Operation.VIA_STATUS, _show),
    )
    return [
        Route(f"/via/sps/{{iysCode}}{path}", gateway.open(operation, handler), methods=[method])
        for method, path, operation, handler in handlers
    ]


async def _start(state: SimulatorState, request: Request, body: bytes) -> Response:
    account = admitted(state, request)
    given, etk = _etk_of(body)
    way = _text(given, "verificationType")
    if way not in WAYS:
        raise refused("H1012")
    recipient = _recipient(_text(given, "recipient"), way)
    iys_code = int(str(request.path_params["iysCode"]))
    codes = etk.get("brandCodes")
    brands = state.directory.brands
    if not isinstance(codes, list) or not codes:
        raise _empty("brandCodes")
    if not all(
        isinstance(one, int) and one in brands and brands[one].iys_code == iys_code for one in codes
    ):
        raise refused("H1014")
    if account.is_integrator and not all(
        (grant := brands[one].grant_to(account.iys_code)) and grant.via_control for one in codes
    ):
        raise refused("H1104")
    recipient_type = _text(etk, "recipientType")
    if recipient_type not in RECIPIENT_TYPES:
        raise refused("H1063")
    found = ViaRequest(
        request_id=str(uuid.uuid4()),
        iys_code=iys_code,
        form_id=_text(given, "formId"),
        recipient=recipient,
        recipient_type=recipient_type,
        verification_type=way,
        brand_codes=tuple(codes),
        types=_types(etk, way),
        code=f"{secrets.randbelow(_CODES):06}" if way.endswith("_OTP") else secrets.token_hex(8),
        started=state.clock.seconds(),
        started_text=state.now_text(),
    )
    _spend(state, iys_code)
    state.via_requests[found.request_id] = found
    return _ok({"requestId": found.request_id})


async def _confirm(state: SimulatorState, request: Request, body: bytes) -> Response:
    admitted(state, request)
    given, etk = _etk_of(body)
    found = _request(state, request, _text(given, "requestId"))
    if _text(given, "verificationType") != found.verification_type:
        raise refused("H1064")
    if not found.is_by_code:
        raise refused("H1056")
    if found.given:
        raise refused("H1032")
    if found.wrong_codes >= WRONG_CODES:
        raise refused("H1050")
    if found.is_over(state.clock.seconds()):
        raise refused("H1051")
    if not secrets.compare_digest(_text(etk, "otpCode").encode(), found.code.encode()):
        state.via_requests[found.request_id] = found.after_wrong_code()
        raise refused("H1052")
    return _ok(
        [
            {
                "transactionId": one.transaction_id,
                "creationDate": one.creation_date,
                "type": one.type,
                "brandCode": str(one.brand_code),
            }
            for one in save_via_consents(state, found).given
        ]
    )


async def _show(state: SimulatorState, request: Request, _: bytes) -> Response:
    admitted(state, request)
    found = _request(state, request, str(request.path_params["requestId"]))
    given = {(one.brand_code, one.type): one for one in found.given}
    details: list[dict[str, object]] = []
    for code in found.brand_codes:
        for channel in found.types:
            one = given.get((code, channel))
            detail: dict[str, object] = {
                "brandCode": str(code),
                "consentTypeChoice": channel,
                "consentType": "ETK",
                "operationStatusMessage": "Onay verildi" if one else "Onay verilmedi",
            }
            if one is not None:
                detail |= {"transactionId": one.transaction_id, "consentDate": one.consent_date}
            details.append(detail)
    return _ok(
        {
            "requestId": found.request_id,
            "formId": found.form_id,
            "source": found.source,
            "iysCode": str(found.iys_code),
            "recipient": found.recipient,
            "recipientType": found.recipient_type,
            "consentSource": found.verification_type,
            "requestDate": f"{found.started_text}.000",
            "requestDetails": details,
            "lastStatus": found.last_status(state.clock.seconds()),
        }
    )


def admitted(state: SimulatorState, request: Request) -> Account:
    """Return the account of a request for its provider.

    Raises:
        RefusedError: H1045 without a valid token, H1040 for another's provider.
    """
    account = account_of(state, request)
    if account is None:
        raise refused("H1045")
    if not may_see(state, account, request):
        raise refused("H1040")
    return account


def _etk_of(body: bytes) -> tuple[dict[str, object], dict[str, object]]:
    """Return the body, and what it says of consents to commercial messages."""
    try:
        given = orjson.loads(body)
    except ValueError:
        raise refused("H1041") from None
    if not isinstance(given, dict):
        raise refused("H1041")
    entries = given.get("consentTypes")
    if not isinstance(entries, list) or not entries:
        raise _empty("consentTypes")
    titles = [entry.get("title") if isinstance(entry, dict) else None for entry in entries]
    if "KVK" in titles:
        raise RefusedError(400, [error(NOT_SIMULATED, message="KVK is not simulated.")])
    if titles != ["ETK"]:
        raise refused("H1013")
    return given, entries[0]


def _request(state: SimulatorState, request: Request, request_id: str) -> ViaRequest:
    found = state.via_requests.get(request_id)
    if found is None or str(found.iys_code) != request.path_params["iysCode"]:
        raise refused("H1030")
    return found


def _text(given: dict[str, object], field: str) -> str:
    value = given.get(field)
    if not isinstance(value, str | int) or not str(value):
        raise _empty(field)
    return str(value)


def _recipient(text: str, way: str) -> str:
    if way.startswith("SMS"):
        if not is_phone(text):
            raise refused("H1026")
        return text
    if not is_email(text):
        raise refused("H1027")
    return text.lower()


def _types(etk: dict[str, object], way: str) -> tuple[str, ...]:
    valid, types = _TYPES[way.partition("_")[0]], etk.get("types")
    if not isinstance(types, list) or not types:
        raise _empty("etkTypes")
    for one in types:
        if one not in valid:
            message = REFUSALS["H1086"].message
            raise refused(
                "H1086", message=message.format(type=one, way=way, valid=", ".join(valid))
            )
    return tuple(dict.fromkeys(types))


def _spend(state: SimulatorState, iys_code: int) -> None:
    """Take a credit of the provider, where it has a number of them."""
    bought = state.directory.subscriptions.get(iys_code)
    if bought is None or bought.via_credit is None or bought.via_credit < 0:
        return
    if not bought.via_credit:
        raise refused("H1015")
    left = replace(bought, via_credit=bought.via_credit - 1)
    state.directory.subscriptions[iys_code] = left


def _empty(field: str) -> RefusedError:
    return refused("H1057", message=REFUSALS["H1057"].message.format(field=field))


def _ok(message: object) -> Response:
    return json_response({"message": message, "code": "OK"})


def account_of(state: SimulatorState, request: Request) -> Account | None:
    """Return the account whose token the request has."""
    header = request.headers.get("authorization")
    return state.tokens.account_of(header, state.clock.seconds())


def may_see(state: SimulatorState, account: Account, request: Request) -> bool:
    """Return whether the provider in the path, if there is one, is the account's."""
    code = str(request.path_params.get("iysCode", account.iys_code))
    if not (code.isascii() and code.isdecimal()):
        return False
    return int(code) == account.iys_code or state.directory.may_see(account, int(code))
