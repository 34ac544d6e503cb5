"""Retailer access: which retailers may use a consent. Adding names one consent, the rest up to 100.

Replacing and removing are answered with 202 and an empty body; İYS does them later, the twin at
once. Addresses without a consent are passed over there, for nobody could be told of them.
"""

import uuid
from collections.abc import Callable, Mapping

from starlette.responses import Response

from iys_simulator.api.paging import paging_of
from iys_simulator.errors.messages import REFUSALS, RETAILER_NOT_OF_USER
from iys_simulator.errors.responses import (
    Error,
    RefusedError,
    error,
    error_at,
    json_answer,
    refused,
)
from iys_simulator.errors.retailer_messages import (
    ACCESS_EMPTY,
    ACCESS_LIMIT,
    ACCESS_PHONE_TOO_LONG,
    REMOVAL_REFUSED,
)
from iys_simulator.gateway.gateway import Call
from iys_simulator.rules.fields import (
    PHONE_LENGTH,
    RECIPIENT_TYPES,
    is_email,
    is_phone,
    saved_recipient,
)
from iys_simulator.state import Twin
from iys_simulator.store.accounts import CHANNELS
from iys_simulator.store.movements import Key
from iys_simulator.store.register import Register

_LARGEST = 100
_TOLD = ("title", "mersis", "alias", "name", "tckn", "mobile", "city", "town", "retailerCode")


async def add_access(twin: Twin, call: Call) -> Response:
    """`POST …/consents/retailers/access`: let retailers use one consent; H401 if there is none."""
    body = _body(call, "H090")
    errors = [*key_errors(body), *_retailer_errors(body)]
    retailers = _checked(twin, call, body, errors, RETAILER_NOT_OF_USER)
    key = key_of(body)
    register = twin.register_of(call.brand.code)
    if register.standing(key) is None:
        raise refused("H401")
    register.access.change(key, added=retailers)
    return json_answer({"transactionId": str(uuid.uuid4()), "creationDate": twin.now_text()})


async def replace_access(twin: Twin, call: Call) -> Response:
    """`PUT …/consents/retailers/access`: these retailers and no others, the taker included."""
    body = _body(call, "H171")
    errors = [*_list_errors(body), *_retailer_errors(body)]
    retailers = _checked(twin, call, body, errors)
    register = twin.register_of(call.brand.code)
    for key in _known_keys(register, body):
        register.access.change(key, added=retailers, removes_all=True)
    return Response(status_code=202)


async def remove_access(twin: Twin, call: Call) -> Response:
    """`POST …/consents/retailers/access/remove`: not these retailers any more."""
    body = _body(call, "H172")
    errors = [*_list_errors(body), *_retailer_errors(body)]
    retailers = _checked(twin, call, body, errors)
    register = twin.register_of(call.brand.code)
    for key in _known_keys(register, body):
        register.access.change(key, removed=retailers)
    return Response(status_code=202)


async def remove_all_access(twin: Twin, call: Call) -> Response:
    """`POST …/consents/retailers/access/remove/all`: no retailer any more."""
    body = _body(call, "H172", REMOVAL_REFUSED)
    errors = _list_errors(body)
    if errors:
        raise RefusedError(422, errors)
    call.check_rights([body["type"]], to_write=True)
    register = twin.register_of(call.brand.code)
    for key in _known_keys(register, body):
        register.access.change(key, removes_all=True)
    return Response(status_code=202)


async def list_access(twin: Twin, call: Call) -> Response:
    """`POST …/consent/retailers/access/list?offset&limit`: the retailers of one consent."""
    body = _body(call, "H173")
    errors = key_errors(body)
    if errors:
        raise RefusedError(422, errors)
    paging = paging_of(call.request.query_params, twin.settings, is_swapped=False)
    call.check_rights([body["type"]], to_write=False)
    codes = twin.register_of(call.brand.code).access.of(key_of(body))
    page = [twin.retailers.find(call.brand, code) for code in paging.of(codes)]
    told = [retailer.answer(0) for retailer in page if retailer]
    return json_answer(
        {
            "pagination": {
                "offset": paging.offset,
                "pageSize": len(told),
                "totalCount": len(codes),
            },
            "list": [{name: one[name] for name in _TOLD if name in one} for one in told],
        }
    )


def key_errors(body: Mapping[str, object]) -> list[Error]:
    """Give the errors of a body that names one address (H111, H114, H116, H117, H120, H121...)."""
    errors = _kind_errors(body)
    if "recipient" not in body:
        return [*errors, error("H114", location=["recipient"])]
    return [*errors, *_address_errors(body.get("type"), body["recipient"], ["recipient"])]


def key_of(body: Mapping[str, object]) -> Key:
    """Give the key of a body that has no errors."""
    channel, kind = str(body["type"]), str(body["recipientType"])
    return (channel, kind, saved_recipient(channel, str(body["recipient"])))


def _known_keys(register: Register, body: Mapping[str, object]) -> list[Key]:
    recipients = body["recipients"]
    each = recipients if isinstance(recipients, list) else []
    keys = dict.fromkeys(key_of({**body, "recipient": one}) for one in each)
    return [key for key in keys if register.standing(key) is not None]


def _body(call: Call, code: str, message: str | None = None) -> dict[str, object]:
    body = call.json()
    if not isinstance(body, dict):
        raise refused(code, message=message)
    return body


def _checked(
    twin: Twin,
    call: Call,
    body: Mapping[str, object],
    errors: list[Error],
    message: str | None = None,
) -> tuple[int, ...]:
    """Give the retailers of a body without errors; 422, then H353 and H180 otherwise."""
    if errors:
        raise RefusedError(422, errors)
    call.check_rights([body["type"]], to_write=True)
    access = body["retailerAccess"]
    codes = [_code(value) for value in access] if isinstance(access, list) else []
    missing = [
        error("H180", message=message, location=["retailerAccess", position], value=value)
        for position, value in enumerate(codes)
        if not twin.retailers.has(call.brand, value)
    ]
    if missing:
        raise RefusedError(403, missing)
    return tuple(dict.fromkeys(code for code in codes if isinstance(code, int)))


def _code(value: object) -> object:
    # The schema of removal has texts, its example numbers.
    is_text = isinstance(value, str) and value.isascii() and value.isdecimal()
    return int(str(value)) if is_text else value


def _kind_errors(body: Mapping[str, object]) -> list[Error]:
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
    errors = _kind_errors(body)
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
        errors += _address_errors(body.get("type"), recipient, ["recipients", position])
    return errors


def _address_errors(channel: object, recipient: object, location: list[object]) -> list[Error]:
    # Where the type itself is wrong nobody can say what the address should be.
    judges: dict[object, Callable[[object], bool]] = {
        "EPOSTA": is_email,
        "ARAMA": is_phone,
        "MESAJ": is_phone,
    }
    judge = judges.get(channel if isinstance(channel, str) else None)
    if judge is None or judge(recipient):
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
