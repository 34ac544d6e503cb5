"""The citizen's page at `/citizen`: what brands may send to an address, and buttons to change it.

A person looks an address up, sees each brand's consents, approves or rejects by channel, or closes
a line as a carrier would; what is clicked travels by push as İYS sends it, and the page tells where
to. It needs no login and no script, so it belongs on a loopback address, as the admin API does.
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
    act,
    channels_of,
    citizens_consent,
)
from iys_simulator.pages.citizen_view import (
    CHANNEL_NAMES,
    KIND_NAMES,
    STATUS_NAMES,
    address_in,
    cards,
    source_in_words,
    steps,
    trips,
)
from iys_simulator.pages.templates import HEADERS, template
from iys_simulator.rules.fields import STATUSES
from iys_simulator.state import Twin

PATH: Final = "/citizen"
_SHOWN: Final = 50
_PATIENCE: Final = 1.0
_LOOK: Final = 0.01
_WORDS: Final = {"ONAY": "izni onaylandı", "RET": "izni reddedildi"}
_CLOSED: Final = "closed"

Form = Mapping[str, str]


class WrongFormError(ValueError):
    """A form that this page did not make; the message names the field."""


def citizen_routes(twin: Twin) -> list[Route]:
    """Give the page's routes."""

    async def show(request: Request) -> Response:
        return _page(twin, request.query_params)

    async def decide(request: Request) -> Response:
        return await _done(twin, request, _decide)

    async def close_line(request: Request) -> Response:
        return await _done(twin, request, _close_line)

    return [
        Route(PATH, show, methods=["GET"]),
        Route(f"{PATH}/decision", decide, methods=["POST"]),
        Route(f"{PATH}/closing", close_line, methods=["POST"]),
    ]


def _page(twin: Twin, asked: Form) -> Response:
    text, kind = asked.get("recipient", ""), asked.get("kind", "BIREYSEL")
    kind = kind if kind in KIND_NAMES else "BIREYSEL"
    address = address_in(text)
    is_wrong = bool(text.strip()) and address is None
    found = list(cards(twin, address, kind)) if address else []
    known = [card for card in found if card.is_known]
    unknown = [card for card in found if not card.is_known]
    content = template("citizen.html").render(
        path=PATH,
        text=text,
        kind=kind,
        kind_names=KIND_NAMES,
        channel_names=CHANNEL_NAMES,
        status_names=STATUS_NAMES,
        source_in_words=source_in_words,
        address=address,
        is_wrong=is_wrong,
        may_close=any(line.status == "ONAY" for card in known for line in card.lines)
        and bool(address and "@" not in address),
        known=known,
        unknown=unknown[:_SHOWN],
        more=max(0, len(unknown) - _SHOWN),
        steps=steps(twin, known)[:_SHOWN],
        trips=trips(twin, address)[:_SHOWN] if address else [],
        notice=_notice(twin, asked.get("done", "")) if address else "",
        now=twin.now_text(),
    )
    return HTMLResponse(content, 422 if is_wrong else 200, headers=HEADERS)


async def _done(twin: Twin, request: Request, work: Callable[[Twin, Form], str]) -> Response:
    body = (await request.body()).decode(errors="replace")
    form = {name: values[0] for name, values in parse_qs(body).items()}
    try:
        done = work(twin, form)
    except WrongFormError as problem:
        return HTMLResponse(f"<!doctype html><p>{problem}</p>", 400, headers=HEADERS)
    await _deliveries_ended(twin)
    asked = {"recipient": form["recipient"], "kind": form["kind"], "done": done}
    return RedirectResponse(f"{PATH}?{urlencode(asked)}", 303)


def _decide(twin: Twin, form: Form) -> str:
    address, kind = _whom(form)
    code = form.get("brand", "")
    brand = twin.directory.brands.get(int(code)) if code.isdecimal() else None
    if brand is None:
        raise WrongFormError("brand")
    channel, status = form.get("type", ""), form.get("status", "")
    if channel not in channels_of(address):
        raise WrongFormError("type")
    if status not in STATUSES:
        raise WrongFormError("status")
    is_first = not twin.register_of(brand.code).knows_address(address)
    consent = citizens_consent(
        twin,
        brand,
        channel=channel,
        recipient_type=kind,
        recipient=address,
        status=status,
        source=FIRST_ON_THE_WEB if is_first else ON_THE_WEB,
    )
    act(twin, brand, consent)
    return f"{status}.{brand.code}.{channel}"


def _close_line(twin: Twin, form: Form) -> str:
    address, kind = _whom(form)
    if "@" in address:
        raise WrongFormError("recipient")
    open_lines = [
        (card.brand, line)
        for card in cards(twin, address, kind)
        for line in card.lines
        if line.status == "ONAY"
    ]
    for brand, line in open_lines:
        consent = citizens_consent(
            twin,
            brand,
            channel=line.channel,
            recipient_type=kind,
            recipient=address,
            status="RET",
            source=LINE_CLOSED,
        )
        act(twin, brand, consent)
    return f"{_CLOSED}.{len(open_lines)}"


def _notice(twin: Twin, done: str) -> str:
    # Codes, not words, so that nobody's link can put words into the page.
    match done.split("."):
        case ["ONAY" | "RET" as status, code, channel] if code.isdecimal():
            brand = twin.directory.brands.get(int(code))
            if brand is not None and channel in CHANNEL_NAMES:
                return f"{brand.name}: {CHANNEL_NAMES[channel]} {_WORDS[status]}."
        case [closed, count] if closed == _CLOSED and count.isdecimal():
            return f"Hat kapatıldı: {count} izin kaldırıldı."
    return ""


def _whom(form: Form) -> tuple[str, str]:
    address, kind = address_in(form.get("recipient", "")), form.get("kind", "")
    if address is None:
        raise WrongFormError("recipient")
    if kind not in KIND_NAMES:
        raise WrongFormError("kind")
    return address, kind


async def _deliveries_ended(twin: Twin) -> None:
    # The page that follows tells what became of the push, unless that takes too long.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while twin.push.has_work:  # noqa: ASYNC110 - deliveries end one by one
                await asyncio.sleep(_LOOK)
