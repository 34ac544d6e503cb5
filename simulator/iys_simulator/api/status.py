"""Status queries: the record of one recipient, and which of many recipients have opted in.

İYS has no record of an absent consent: the query of many lists only ONAY, and the response to a
query of one unknown recipient is not documented (switch `unknownStatus`).
"""

import uuid

from starlette.responses import Response

from iys_simulator.api.movement_fields import movement_fields
from iys_simulator.errors.messages import PHONE_IN_QUERY, REFUSALS
from iys_simulator.errors.responses import Error, RefusedError, error, json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.rules.consent import CHANNELS, RECIPIENT_TYPES
from iys_simulator.rules.recipients import PHONE_LENGTH, is_email, is_phone, stored_recipient
from iys_simulator.state import SimulatorState


async def show_status(state: SimulatorState, call: Call) -> Response:
    """Return the record of one recipient: `POST …/consents/status`.

    Raises:
        RefusedError: H086, H097, H111, H114, H116, H117, H120, H121, H166, H170 or H353.
    """
    if not state.limits.statuses.admits(
        call.client, state.clock.seconds(), state.settings.status_limit, state.settings.hour
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
    key = (channel, body["recipientType"], stored_recipient(channel, body["recipient"]))
    register = state.register_of(call.brand.code)
    record = register.find(key)
    if record is None:
        return json_response({}, 404 if state.settings.unknown_status == "not_found" else 200)
    item = movement_fields(record)
    code = register.access.collector_of(key)
    if code is not None:
        item["retailerCode"] = code
        collector = state.retailers.find(call.brand, code)
        if collector is not None:
            item["retailerTitle"] = collector.title
    item["retailerAccessCount"] = len(register.access.of(key))
    return json_response(item)


async def list_opted_in(state: SimulatorState, call: Call) -> Response:
    """List the recipients at ONAY: `POST …/consents/{recipientType}/status/{type}`.

    Raises:
        RefusedError: H116, H117, H127, H164, H168, H193, H353, H464 or H478.
    """
    recipient_type = call.request.path_params["recipientType"]
    channel = call.request.path_params["type"]
    errors: list[Error] = []
    if recipient_type not in RECIPIENT_TYPES:
        errors.append(error("H116", location=["recipientType"], value=recipient_type))
    if channel not in CHANNELS:
        errors.append(error("H117", location=["type"], value=channel))
    if errors:
        raise RefusedError(422, errors)
    recipients = _recipients(state, call.json(), channel)
    call.check_rights([channel], to_write=False)
    known = state.register_of(call.brand.code).records_of_all(recipients)
    wanted = (channel, recipient_type)
    summaries = ((one, known.get(one, {}).get(wanted)) for one in recipients)
    approved = [one for one, summary in summaries if summary and summary.status == "ONAY"]
    return json_response({"requestId": str(uuid.uuid4()), "list": approved})


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


def _recipients(state: SimulatorState, body: object, channel: str) -> list[str]:
    if not isinstance(body, dict) or "recipients" not in body:
        raise refused("H168", location=["recipients"])
    recipients = body["recipients"]
    if not isinstance(recipients, list):
        raise refused("H478", location=["recipients"], value=recipients)
    if not recipients:
        raise refused("H164", location=["recipients"], value=recipients)
    if len(recipients) > state.settings.recipients_size:
        text = REFUSALS["H127"].message.format(limit=state.settings.recipients_size)
        raise refused("H127", message=text, location=["recipients"])
    is_valid = is_email if channel == "EPOSTA" else is_phone
    expected = "e-posta" if channel == "EPOSTA" else "telefon"
    text = REFUSALS["H464"].message.format(type=channel, format=expected)
    errors: list[Error] = []
    stored: list[str] = []
    seen: set[str] = set()
    for position, value in enumerate(recipients):
        if not is_valid(value):
            errors.append(error("H464", message=text, location=["recipient"], value=value))
            continue
        recipient = stored_recipient(channel, value)
        if recipient in seen:
            errors.append(error("H193", location=["recipients", position], value=value))
        seen.add(recipient)
        stored.append(recipient)
    if errors:
        raise RefusedError(422, errors)
    return stored
