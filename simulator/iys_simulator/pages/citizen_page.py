"""The citizen's page at `/citizen`: what brands may send to a recipient, and buttons to change it.

A person enters a phone number or e-mail address, sees each brand's consents, opts in or out by
channel, or closes a line as a carrier does. Each change is pushed as İYS pushes it, and the page
shows the deliveries. It has no login and no script and, like the admin API, belongs on a loopback
address.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from iys_simulator.other_writers import (
    FIRST_ON_THE_WEB,
    LINE_CLOSED,
    ON_THE_WEB,
    citizen_consent,
    save_citizen_change,
)
from iys_simulator.pages.citizen_rows import (
    CHANNEL_NAMES,
    RECIPIENT_TYPE_NAMES,
    STATUS_NAMES,
    brand_cards,
    date_in_words,
    delivery_entries,
    history,
    source_in_words,
)
from iys_simulator.pages.templates import HEADERS, template
from iys_simulator.rules.consent import STATUSES
from iys_simulator.rules.recipients import channels_of, parse_recipient
from iys_simulator.state import SimulatorState

PATH: Final = "/citizen"
_SHOWN: Final = 50
_DELIVERIES_WITHIN: Final = 1.0
_CHECK_EVERY: Final = 0.01
_NOTICES: Final = {"ONAY": "izni onaylandı", "RET": "izni reddedildi"}
_CLOSED: Final = "closed"

Form = Mapping[str, str]


class InvalidFormError(ValueError):
    """A form that this page did not create; the message names the field."""


def citizen_routes(state: SimulatorState) -> list[Route]:
    """Return the page's routes."""

    async def show(request: Request) -> Response:
        return _page(state, request.query_params)

    async def decide(request: Request) -> Response:
        return await _done(state, request, _decide)

    async def close_line(request: Request) -> Response:
        return await _done(state, request, _close_line)

    return [
        Route(PATH, show, methods=["GET"]),
        Route(f"{PATH}/decision", decide, methods=["POST"]),
        Route(f"{PATH}/closing", close_line, methods=["POST"]),
    ]


def _page(state: SimulatorState, query: Form) -> Response:
    text, recipient_type = query.get("recipient", ""), query.get("recipientType", "BIREYSEL")
    recipient_type = recipient_type if recipient_type in RECIPIENT_TYPE_NAMES else "BIREYSEL"
    recipient = parse_recipient(text)
    is_invalid = bool(text.strip()) and recipient is None
    cards = list(brand_cards(state, recipient, recipient_type)) if recipient else []
    known = [card for card in cards if card.is_known]
    unknown = [card for card in cards if not card.is_known]
    content = template("citizen.html").render(
        path=PATH,
        text=text,
        recipient_type=recipient_type,
        recipient_type_names=RECIPIENT_TYPE_NAMES,
        channel_names=CHANNEL_NAMES,
        status_names=STATUS_NAMES,
        source_in_words=source_in_words,
        date_in_words=date_in_words,
        recipient=recipient,
        is_invalid=is_invalid,
        may_close=any(line.status == "ONAY" for card in known for line in card.lines)
        and bool(recipient and "@" not in recipient),
        known=known,
        unknown=unknown[:_SHOWN],
        more=max(0, len(unknown) - _SHOWN),
        history=history(state, known)[:_SHOWN],
        delivery_entries=delivery_entries(state, recipient)[:_SHOWN] if recipient else [],
        notice=_notice(state, query.get("done", "")) if recipient else "",
        now=state.now_text(),
    )
    return HTMLResponse(content, 422 if is_invalid else 200, headers=HEADERS)


async def _done(
    state: SimulatorState, request: Request, change: Callable[[SimulatorState, Form], str]
) -> Response:
    body = (await request.body()).decode(errors="replace")
    form = {name: values[0] for name, values in parse_qs(body).items()}
    try:
        done = change(state, form)
    except InvalidFormError as problem:
        return HTMLResponse(f"<!doctype html><p>{problem}</p>", 400, headers=HEADERS)
    await _wait_for_deliveries(state)
    query = {"recipient": form["recipient"], "recipientType": form["recipientType"], "done": done}
    return RedirectResponse(f"{PATH}?{urlencode(query)}", 303)


def _decide(state: SimulatorState, form: Form) -> str:
    recipient, recipient_type = _recipient_of(form)
    code = form.get("brand", "")
    brand = state.directory.brands.get(int(code)) if code.isdecimal() else None
    if brand is None:
        raise InvalidFormError("brand")
    channel, status = form.get("type", ""), form.get("status", "")
    if channel not in channels_of(recipient):
        raise InvalidFormError("type")
    if status not in STATUSES:
        raise InvalidFormError("status")
    is_first = not state.register_of(brand.code).has_recipient(recipient)
    consent = citizen_consent(
        state,
        brand,
        channel=channel,
        recipient_type=recipient_type,
        recipient=recipient,
        status=status,
        source=FIRST_ON_THE_WEB if is_first else ON_THE_WEB,
    )
    save_citizen_change(state, brand, consent)
    return f"{status}.{brand.code}.{channel}"


def _close_line(state: SimulatorState, form: Form) -> str:
    recipient, recipient_type = _recipient_of(form)
    if "@" in recipient:
        raise InvalidFormError("recipient")
    open_lines = [
        (card.brand, line)
        for card in brand_cards(state, recipient, recipient_type)
        for line in card.lines
        if line.status == "ONAY"
    ]
    for brand, line in open_lines:
        consent = citizen_consent(
            state,
            brand,
            channel=line.channel,
            recipient_type=recipient_type,
            recipient=recipient,
            status="RET",
            source=LINE_CLOSED,
        )
        save_citizen_change(state, brand, consent)
    return f"{_CLOSED}.{len(open_lines)}"


def _notice(state: SimulatorState, done: str) -> str:
    # Codes, not text, so that no link can put text into the page.
    match done.split("."):
        case ["ONAY" | "RET" as status, code, channel] if code.isdecimal():
            brand = state.directory.brands.get(int(code))
            if brand is not None and channel in CHANNEL_NAMES:
                return f"{brand.name}: {CHANNEL_NAMES[channel]} {_NOTICES[status]}."
        case [closed, count] if closed == _CLOSED and count.isdecimal():
            return f"Hat kapatıldı: {count} izin kaldırıldı."
    return ""


def _recipient_of(form: Form) -> tuple[str, str]:
    recipient, recipient_type = (
        parse_recipient(form.get("recipient", "")),
        form.get("recipientType", ""),
    )
    if recipient is None:
        raise InvalidFormError("recipient")
    if recipient_type not in RECIPIENT_TYPE_NAMES:
        raise InvalidFormError("recipientType")
    return recipient, recipient_type


async def _wait_for_deliveries(state: SimulatorState) -> None:
    # The next page shows the result of the push, unless that takes too long.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DELIVERIES_WITHIN):
            while state.push.is_busy:  # noqa: ASYNC110 - deliveries end one by one
                await asyncio.sleep(_CHECK_EVERY)
