"""E-mail reject links: an address that stands at ONAY gets a link that rejects without a login.

The links lead to the twin itself. Opening one shows a page with a button, so that no mail scanner
rejects for anybody; the button saves RET with source IYS_EPOSTA. A link lives 90 days.
"""

import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from iys_simulator.api.retailer_access import key_errors
from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import (
    Error,
    RefusedError,
    error,
    error_at,
    json_answer,
    refused,
)
from iys_simulator.gateway.gateway import Call
from iys_simulator.pages.templates import HEADERS, template
from iys_simulator.rules.fields import Consent, saved_recipient
from iys_simulator.state import Twin
from iys_simulator.store.movements import Origin, Path
from iys_simulator.store.reject_links import RejectLink

_LARGEST: Final = 100
_LIFETIME: Final = 90 * 86400.0
_CHANNEL: Final = "EPOSTA"


async def make_links(twin: Twin, call: Call) -> Response:
    """`POST …/via-hash-links`: a link each; H568 in its place for what is not at ONAY."""
    body = call.json()
    if not isinstance(body, dict):
        raise refused("H097")
    entries = _entries(body)
    call.check_rights([_CHANNEL], to_write=False)
    register = twin.register_of(call.brand.code)
    base = str(call.request.base_url)
    answer: list[dict[str, object]] = []
    for entry in entries:
        kind, recipient = str(entry["recipientType"]), str(entry["recipient"])
        kept = saved_recipient(_CHANNEL, recipient)
        record = register.find((_CHANNEL, kind, kept))
        if record is None or record.status != "ONAY":
            answer.append({"recipient": recipient, **error("H568")})
            continue
        name = secrets.token_urlsafe(12)
        link = RejectLink(
            brand_code=call.brand.code,
            recipient_type=kind,
            recipient=kept,
            expires=twin.clock.seconds() + _LIFETIME,
        )
        twin.add_reject_link(name, link)
        answer.append({"url": f"{base}RET/{name}", "recipient": recipient})
    return json_answer(answer)


def link_routes(twin: Twin) -> list[Route]:
    """Give the pages the links lead to: no method of İYS's API, so no limit and no token."""

    async def show(request: Request) -> Response:
        return _show(twin, request)

    async def follow(request: Request) -> Response:
        return _follow(twin, request)

    path = "/RET/{name}"
    return [Route(path, show, methods=["GET"]), Route(path, follow, methods=["POST"])]


def _show(twin: Twin, request: Request) -> Response:
    link = _link(twin, request)
    if link is None:
        return _gone()
    brand = twin.directory.brands[link.brand_code]
    return _page(asked=True, brand=brand.name, address=link.recipient)


def _follow(twin: Twin, request: Request) -> Response:
    link = _link(twin, request)
    if link is None:
        return _gone()
    key = (_CHANNEL, link.recipient_type, link.recipient)
    record = twin.register_of(link.brand_code).find(key)
    if record is not None and record.status == "ONAY":
        consent = Consent(
            type=_CHANNEL,
            recipient_type=link.recipient_type,
            recipient=link.recipient,
            status="RET",
            source="IYS_EPOSTA",
            consent_date=twin.now_text(),
        )
        origin = Origin(path=Path.CITIZEN, client="citizen", request_id=twin.call_id("link"))
        twin.save(twin.directory.brands[link.brand_code], consent, origin)
    return _page(done=True)


def _link(twin: Twin, request: Request) -> RejectLink | None:
    link = twin.reject_link(str(request.path_params["name"]))
    if link is None or link.expires <= twin.clock.seconds():
        return None
    return link if link.brand_code in twin.directory.brands else None


def _gone() -> Response:
    return _page(404)


def _page(
    status: int = 200,
    *,
    asked: bool = False,
    done: bool = False,
    brand: str = "",
    address: str = "",
) -> Response:
    content = template("reject.html").render(asked=asked, done=done, brand=brand, address=address)
    return HTMLResponse(content, status, headers=HEADERS)


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
        errors += key_errors({**entry, "type": _CHANNEL})
    if errors:
        raise RefusedError(422, errors)
    return entries
