"""Retailer access: which retailers may use a consent.

Adding names one consent, the other endpoints up to 100. Replacing and removing respond with 202 and
an empty body: İYS does them later, the simulator at once. They skip recipients without a consent,
since the response could not report them.
"""

import uuid
from collections.abc import Callable, Mapping

from starlette.responses import Response

from iys_simulator.api.paging import paging_of
from iys_simulator.errors.messages import NOT_JSON, REFUSALS, RETAILER_NOT_OF_USER
from iys_simulator.errors.responses import (
    Error,
    RefusedError,
    error,
    error_at,
    json_response,
    refused,
)
from iys_simulator.errors.retailer_messages import (
    ACCESS_EMPTY,
    ACCESS_LIMIT,
    ACCESS_PHONE_TOO_LONG,
    REMOVAL_REFUSED,
)
from iys_simulator.gateway.call import Call
from iys_simulator.rules.consent import CHANNELS, RECIPIENT_TYPES, ConsentKey
from iys_simulator.rules.recipients import PHONE_LENGTH, is_email, is_phone, stored_recipient
from iys_simulator.state import SimulatorState
from iys_simulator.store.register import Register

_LARGEST = 100
_FIELDS = ("title", "mersis", "alias", "name", "tckn", "mobile", "city", "town", "retailerCode")


async def add_access(state: SimulatorState, call: Call) -> Response:
    """Grant retailers access to one consent: `POST …/consents/retailers/access`.

    Raises:
        RefusedError: H090, H126, H163, H169, H180, H353, H401, or one of `key_errors`.
    """
    body = _body(call, "H090")
    errors = [*key_errors(body), *_retailer_errors(body)]
    retailers = _checked(state, call, body, errors, RETAILER_NOT_OF_USER)
    key = key_of(body)
    register = state.register_of(call.brand.code)
    if register.summary_of(key) is None:
        raise refused("H401")
    register.access.change(key, added=retailers)
    return json_response({"transactionId": str(uuid.uuid4()), "creationDate": state.now_text()})


async def replace_access(state: SimulatorState, call: Call) -> Response:
    """Replace the retailers, including the collecting one: `PUT …/consents/retailers/access`.

    Raises:
        RefusedError: H171, H180, H353, or the errors of a field.
    """
    body = _body(call, "H171")
    errors = [*_list_errors(body), *_retailer_errors(body)]
    retailers = _checked(state, call, body, errors)
    register = state.register_of(call.brand.code)
    for key in _known_keys(register, body):
        register.access.change(key, added=retailers, removes_all=True)
    return Response(status_code=202)


async def remove_access(state: SimulatorState, call: Call) -> Response:
    """Remove the access of retailers: `POST …/consents/retailers/access/remove`.

    Raises:
        RefusedError: H014, H172, H180, H353, or the errors of a field.
    """
    body = _body(call, "H172", not_json=NOT_JSON)
    errors = [*_list_errors(body), *_retailer_errors(body)]
    retailers = _checked(state, call, body, errors)
    register = state.register_of(call.brand.code)
    for key in _known_keys(register, body):
        register.access.change(key, removed=retailers)
    return Response(status_code=202)


async def remove_all_access(state: SimulatorState, call: Call) -> Response:
    """Remove the access of all retailers: `POST …/consents/retailers/access/remove/all`.

    Raises:
        RefusedError: H014, H172, H353, or the errors of a field.
    """
    body = _body(call, "H172", REMOVAL_REFUSED, not_json=NOT_JSON)
    errors = _list_errors(body)
    if errors:
        raise RefusedError(422, errors)
    call.check_rights([body["type"]], to_write=True)
    register = state.register_of(call.brand.code)
    for key in _known_keys(register, body):
        register.access.change(key, removes_all=True)
    return Response(status_code=202)


async def list_access(state: SimulatorState, call: Call) -> Response:
    """List the retailers of one consent: `POST …/consent/retailers/access/list?offset&limit`.

    Raises:
        RefusedError: H014, H173, H353, a code of `paging_of`, or one of `key_errors`.
    """
    body = _body(call, "H173", not_json=NOT_JSON)
    errors = key_errors(body)
    if errors:
        raise RefusedError(422, errors)
    paging = paging_of(call.request.query_params, state.settings, is_swapped=False)
    call.check_rights([body["type"]], to_write=False)
    codes = state.register_of(call.brand.code).access.of(key_of(body))
    page = [state.retailers.find(call.brand, code) for code in paging.of(codes)]
    rows = [retailer.as_response(0) for retailer in page if retailer]
    return json_response(
        {
            "pagination": {
                "offset": paging.offset,
                "pageSize": len(rows),
                "totalCount": len(codes),
            },
            "list": [{name: one[name] for name in _FIELDS if name in one} for one in rows],
        }
    )


def key_errors(body: Mapping[str, object]) -> list[Error]:
    """Return the errors of a body that names one consent.

    They are H111, H114, H116, H117, H120, H121, H166 and H170.
    """
    errors = _type_errors(body)
    if "recipient" not in body:
        return [*errors, error("H114", location=["recipient"])]
    return [*errors, *_recipient_errors(body.get("type"), body["recipient"], ["recipient"])]


def key_of(body: Mapping[str, object]) -> ConsentKey:
    """Return the key of a body that has no errors."""
    channel, recipient_type = str(body["type"]), str(body["recipientType"])
    return (channel, recipient_type, stored_recipient(channel, str(body["recipient"])))


def _known_keys(register: Register, body: Mapping[str, object]) -> list[ConsentKey]:
    recipients = body["recipients"]
    each = recipients if isinstance(recipients, list) else []
    keys = dict.fromkeys(key_of({**body, "recipient": one}) for one in each)
    return [key for key in keys if register.summary_of(key) is not None]


def _body(
    call: Call, code: str, message: str | None = None, *, not_json: str | None = None
) -> dict[str, object]:
    body = call.json(not_json)
    if not isinstance(body, dict):
        raise refused(code, message=message)
    return body


def _checked(
    state: SimulatorState,
    call: Call,
    body: Mapping[str, object],
    errors: list[Error],
    message: str | None = None,
) -> tuple[int, ...]:
    """Return the retailers of a body without errors.

    Raises:
        RefusedError: `errors` with 422, then H353, then H180.
    """
    if errors:
        raise RefusedError(422, errors)
    call.check_rights([body["type"]], to_write=True)
    access = body["retailerAccess"]
    codes = [_code(value) for value in access] if isinstance(access, list) else []
    missing = [
        error("H180", message=message, location=["retailerAccess", position], value=value)
        for position, value in enumerate(codes)
        if not state.retailers.has(call.brand, value)
    ]
    if missing:
        raise RefusedError(403, missing)
    return tuple(dict.fromkeys(code for code in codes if isinstance(code, int)))


def _code(value: object) -> object:
    # The schema of a removal has texts, its example numbers.
    is_text = isinstance(value, str) and value.isascii() and value.isdecimal()
    return int(str(value)) if is_text else value


def _type_errors(body: Mapping[str, object]) -> list[Error]:
    errors = []
    if "type" not in body:
        errors.append(error("H111", location=["type"]))
    elif body["type"] not in CHANNELS:
        errors.append(error_at("H117", "type", body["type"]))
    if "recipientType" not in body:
        errors.append(error("H170", location=["recipientType"]))
    elif body["recipientType"] not in RECIPIENT_TYPES:
        errors.append(error_at("H116", "recipientType", body["recipientType"]))
    return errors


def _list_errors(body: Mapping[str, object]) -> list[Error]:
    errors = _type_errors(body)
    if "recipients" not in body:
        return [*errors, error("H168", location=["recipients"])]
    recipients = body["recipients"]
    if not isinstance(recipients, list):
        return [*errors, error_at("H478", "recipients", recipients)]
    if not recipients:
        return [*errors, error_at("H164", "recipients", recipients)]
    if len(recipients) > _LARGEST:
        text = REFUSALS["H127"].message.format(limit=_LARGEST)
        return [*errors, error_at("H127", "recipients", recipients, message=text)]
    for position, recipient in enumerate(recipients):
        errors += _recipient_errors(body.get("type"), recipient, ["recipients", position])
    return errors


def _recipient_errors(channel: object, recipient: object, location: list[object]) -> list[Error]:
    # Where the type itself is invalid, the recipient cannot be checked.
    checks: dict[object, Callable[[object], bool]] = {
        "EPOSTA": is_email,
        "ARAMA": is_phone,
        "MESAJ": is_phone,
    }
    check = checks.get(channel if isinstance(channel, str) else None)
    if check is None or check(recipient):
        return []
    if channel == "EPOSTA":
        return [error("H120", location=location, value=recipient)]
    if isinstance(recipient, str) and len(recipient) > PHONE_LENGTH:
        return [error("H166", message=ACCESS_PHONE_TOO_LONG, location=location, value=recipient)]
    return [error("H121", location=location, value=recipient)]


def _retailer_errors(body: Mapping[str, object]) -> list[Error]:
    if "retailerAccess" not in body:
        return [error("H169", location=["retailerAccess"])]
    access = body["retailerAccess"]
    if not isinstance(access, list) or not access:
        return [error_at("H163", "retailerAccess", access, message=ACCESS_EMPTY)]
    if len(access) > _LARGEST:
        return [error_at("H126", "retailerAccess", access, message=ACCESS_LIMIT)]
    return []
