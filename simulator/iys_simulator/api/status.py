"""Asking: a batch's results, one status, many statuses, and what changed.

Absence has no record of its own at İYS: many statuses list only ONAY, and how one status answers
for an unknown address is not documented (a switch).
"""

import uuid

from starlette.responses import Response

from iys_simulator.api.batch_responses import check_request_id, results
from iys_simulator.api.pull import Window, page_of
from iys_simulator.errors.messages import PHONE_IN_QUERY, REFUSALS
from iys_simulator.errors.responses import Error, RefusedError, error, json_answer, refused
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
from iys_simulator.store.movements import Movement

_PAGE_SIZE = 1000


async def result(twin: Twin, call: Call) -> Response:
    """`GET …/consents/request/{requestId}`: what became of each item of a batch."""
    return _results(twin, call, is_v2=False)


async def result_v2(twin: Twin, call: Call) -> Response:
    """`GET /v2/…/consents/request/{requestId}`: the same, and the first request of a resend."""
    return _results(twin, call, is_v2=True)


async def status(twin: Twin, call: Call) -> Response:
    """`POST …/consents/status`: the record of one address."""
    if not twin.limits.statuses.admits(
        call.client, twin.clock.seconds(), twin.settings.status_limit, twin.settings.hour
    ):
        raise refused("H086")
    body = call.json()
    if not isinstance(body, dict):
        raise refused("H097")
    errors = _status_errors(body)
    if errors:
        raise RefusedError(422, errors)
    channel = body["type"]
    call.check_rights([channel], to_write=False)
    key = (channel, body["recipientType"], saved_recipient(channel, body["recipient"]))
    register = twin.register_of(call.brand.code)
    record = register.find(key)
    if record is None:
        return json_answer({}, 404 if twin.settings.unknown_status == "not_found" else 200)
    answer = dated(record)
    code = register.access.taker_of(key)
    if code is not None:
        answer["retailerCode"] = code
        taker = twin.retailers.find(call.brand, code)
        if taker is not None:
            answer["retailerTitle"] = taker.title
    answer["retailerAccessCount"] = len(register.access.of(key, with_taker=False))
    return json_answer(answer)


async def statuses(twin: Twin, call: Call) -> Response:
    """`POST …/consents/{recipientType}/status/{type}`: which of the addresses stand at ONAY."""
    recipient_type = call.request.path_params["recipientType"]
    channel = call.request.path_params["type"]
    errors: list[Error] = []
    if recipient_type not in RECIPIENT_TYPES:
        errors.append(error("H116", location=["recipientType"], value=recipient_type))
    if channel not in CHANNELS:
        errors.append(error("H117", location=["type"], value=channel))
    if errors:
        raise RefusedError(422, errors)
    recipients = _recipients(twin, call.json(), channel)
    call.check_rights([channel], to_write=False)
    known = twin.register_of(call.brand.code).known_of_all(recipients)
    wanted = (channel, recipient_type)
    standings = ((one, known.get(one, {}).get(wanted)) for one in recipients)
    approved = [one for one, standing in standings if standing and standing.status == "ONAY"]
    return json_answer({"requestId": str(uuid.uuid4()), "list": approved})


async def changes(twin: Twin, call: Call) -> Response:
    """`GET …/consents/changes`: a page of stream HS or IYS; 204 where there is none."""
    asked = call.request.query_params
    source = asked.get("source", "IYS")
    if source not in ("HS", "IYS"):
        raise refused("H506", location=["source"], value=source)
    register = twin.register_of(call.brand.code)
    now = twin.clock.seconds()
    page = page_of(
        register,
        is_citizens=source == "IYS",
        after=asked.get("after"),
        limit=_limit(asked.get("limit")),
        window=Window(
            earliest=now - twin.settings.pull_window, latest=now - twin.settings.hidden_window
        ),
        channels=frozenset(call.brand.rights),
        in_milliseconds=twin.settings.cursor_unit == "milliseconds",
    )
    if not page.movements:
        return Response(status_code=204)
    items = []
    for movement in page.movements:
        item = dated(movement)
        if movement.citizen_name:
            item["citizenName"] = movement.citizen_name
        items.append(item)
    return json_answer({"after": page.after, "list": items})


def _results(twin: Twin, call: Call, *, is_v2: bool) -> Response:
    request_id = str(call.request.path_params["requestId"])
    check_request_id(request_id)
    register = twin.register_of(call.brand.code)
    now, settings = twin.clock.seconds(), twin.settings
    batch = twin.batches.find(request_id, call.brand.code, now, settings.result_days)
    return json_answer(results(batch, register, now, is_v2=is_v2, settings=settings))


def _status_errors(body: dict[str, object]) -> list[Error]:
    errors = []
    channel, recipient = body.get("type"), body.get("recipient")
    if channel not in CHANNELS:
        errors.append(
            error("H117", location=["type"], value=channel)
            if "type" in body
            else error("H111", location=["type"])
        )
    if "recipientType" not in body:
        errors.append(error("H170", location=["recipientType"]))
    elif body["recipientType"] not in RECIPIENT_TYPES:
        errors.append(error("H116", location=["recipientType"], value=body["recipientType"]))
    if "recipient" not in body:
        errors.append(error("H114", location=["recipient"]))
    elif channel == "EPOSTA" and not is_email(recipient):
        errors.append(error("H120", location=["recipient"], value=recipient))
    elif channel in ("ARAMA", "MESAJ") and not is_phone(recipient):
        if isinstance(recipient, str) and len(recipient) > PHONE_LENGTH:
            errors.append(error("H166", location=["recipient"], value=recipient))
        else:
            errors.append(
                error("H121", message=PHONE_IN_QUERY, location=["recipient"], value=recipient)
            )
    return errors


def _recipients(twin: Twin, body: object, channel: str) -> list[str]:
    if not isinstance(body, dict) or "recipients" not in body:
        raise refused("H168", location=["recipients"])
    recipients = body["recipients"]
    if not isinstance(recipients, list):
        raise refused("H478", location=["recipients"], value=recipients)
    if not recipients:
        raise refused("H164", location=["recipients"], value=recipients)
    if len(recipients) > twin.settings.recipients_size:
        text = REFUSALS["H127"].message.format(limit=twin.settings.recipients_size)
        raise refused("H127", message=text, location=["recipients"])
    is_right = is_email if channel == "EPOSTA" else is_phone
    expected = "e-posta" if channel == "EPOSTA" else "telefon"
    wrong = REFUSALS["H464"].message.format(type=channel, format=expected)
    errors: list[Error] = []
    kept: list[str] = []
    seen: set[str] = set()
    for position, value in enumerate(recipients):
        if not is_right(value):
            errors.append(error("H464", message=wrong, location=["recipient"], value=value))
            continue
        recipient = saved_recipient(channel, value)
        if recipient in seen:
            errors.append(error("H193", location=["recipients", position], value=value))
        seen.add(recipient)
        kept.append(recipient)
    if errors:
        raise RefusedError(422, errors)
    return kept


def _limit(value: str | None) -> int:
    if value is None:
        return _PAGE_SIZE
    if not (value.isascii() and value.isdecimal()) or int(value) == 0:
        raise refused("H183", location=["limit"], value=value)
    if int(value) > _PAGE_SIZE:
        text = REFUSALS["H507"].message.format(limit=_PAGE_SIZE)
        raise refused("H507", message=text, location=["limit"], value=value)
    return int(value)


def dated(movement: Movement) -> dict[str, object]:
    """Give a movement as queries tell it."""
    return {
        "consentDate": movement.consent_date,
        "creationDate": movement.creation_date,
        "source": movement.source,
        "recipient": movement.recipient,
        "recipientType": movement.recipient_type,
        "status": movement.status,
        "type": movement.type,
        "transactionId": movement.transaction_id,
    }
