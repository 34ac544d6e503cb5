"""Opt-out links: a recipient at ONAY gets a link that withdraws the consent without a login.

The links lead to the simulator itself (`pages.opt_out_page`) and are valid for 90 days.
"""

import secrets
from typing import Final

from starlette.responses import Response

from iys_simulator.api.retailer_access import key_errors
from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import (
    Error,
    RefusedError,
    error,
    error_at,
    json_response,
    refused,
)
from iys_simulator.gateway.call import Call
from iys_simulator.rules.recipients import stored_recipient
from iys_simulator.state import SimulatorState
from iys_simulator.store.opt_out_links import CHANNEL, OptOutLink

_LARGEST: Final = 100
_LIFETIME: Final = 90 * 86400.0


async def create_links(state: SimulatorState, call: Call) -> Response:
    """Create a link for each recipient at ONAY: `POST …/via-hash-links`; H568 for the others.

    Raises:
        RefusedError: H097, H127, H164, H168, H353, H478, or one of `key_errors`.
    """
    body = call.json()
    if not isinstance(body, dict):
        raise refused("H097")
    entries = _entries(body)
    call.check_rights([CHANNEL], to_write=False)
    register = state.register_of(call.brand.code)
    base = str(call.request.base_url)
    links: list[dict[str, object]] = []
    for entry in entries:
        recipient_type, recipient = str(entry["recipientType"]), str(entry["recipient"])
        stored = stored_recipient(CHANNEL, recipient)
        record = register.find((CHANNEL, recipient_type, stored))
        if record is None or record.status != "ONAY":
            links.append({"recipient": recipient, **error("H568")})
            continue
        name = secrets.token_urlsafe(12)
        link = OptOutLink(
            brand_code=call.brand.code,
            recipient_type=recipient_type,
            recipient=stored,
            expires=state.clock.seconds() + _LIFETIME,
        )
        state.add_opt_out_link(name, link)
        links.append({"url": f"{base}RET/{name}", "recipient": recipient})
    return json_response(links)


def _entries(body: dict[str, object]) -> list[dict[str, object]]:
    if "recipients" not in body:
        raise refused("H168", location=["recipients"])
    entries = body["recipients"]
    if not isinstance(entries, list):
        raise refused("H478", location=["recipients"], value=entries)
    if not entries:
        raise refused("H164", location=["recipients"], value=entries)
    if len(entries) > _LARGEST:
        text = REFUSALS["H127"].message.format(limit=_LARGEST)
        raise RefusedError(422, [error_at("H127", "recipients", entries, message=text)])
    errors: list[Error] = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise refused("H097")
        errors += key_errors({**entry, "type": CHANNEL})
    if errors:
        raise RefusedError(422, errors)
    return entries
