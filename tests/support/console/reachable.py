"""Every page of the console that links lead to, and those that forms lead to, as requests."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.routing import compile_path

from izin.web.process import SCREENS
from tests.support.builders import PHONE
from tests.support.console.harness import Browser

_ROUTES: Sequence[tuple[str, re.Pattern[str]]] = [
    (screen.path, compile_path(screen.path)[0]) for screen in SCREENS if screen.method == "GET"
]
_LINK = re.compile(r'href="(/[^"#]*)')
STARTS = ("/", "/account")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A request for a page; with a form, which changes nothing."""

    name: str
    """The route, and what is posted to it."""
    path: str
    form: Mapping[str, str] | None = None

    async def ask(self, browser: Browser) -> httpx.Response:
        """Return the page."""
        if self.form is None:
            return await browser.get(self.path)
        return await browser.post(self.path, self.form)


FORMS: tuple[PageRequest, ...] = (
    PageRequest(name="recipient: found", path="/recipient", form={"recipient": PHONE}),
    PageRequest(name="worklist: of a kind", path="/worklist?kind=parked"),
    PageRequest(name="worklist: recipients", path="/worklist/people", form={"kind": "parked"}),
    PageRequest(
        name="worklist: plan",
        path="/worklist/plan",
        form={"kind": "parked", "reason": "reconsent", "act": "requeue", "every": "1"},
    ),
    PageRequest(name="months: of a customer", path="/months?customer=acme"),
)
"""Pages that only a form leads to, of the ledger of ``data``."""


def route_of(path: str) -> str | None:
    """Return the route of a screen by the path of its page."""
    return next((route for route, pattern in _ROUTES if pattern.match(path)), None)


async def pages_of(browser: Browser) -> list[PageRequest]:
    """Return a request for the first page of each route that a link leads to, and for those that
    forms lead to.
    """
    waiting, found = list(STARTS), dict[str, PageRequest]()
    while waiting:
        address = waiting.pop(0)
        path = urlsplit(address).path
        route = route_of(path) or path
        if route in found or path.startswith("/static/"):
            continue
        answer = await browser.get(address)
        assert answer.is_success, f"{address} answers {answer.status_code}"
        found[route] = PageRequest(name=route, path=address)
        waiting += links_of(answer)
    return [*found.values(), *FORMS]


def links_of(answer: httpx.Response) -> list[str]:
    """Return where the links of a page lead within the console."""
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return []
    return [html.unescape(one) for one in _LINK.findall(answer.text)]


def unreached(requests: Sequence[PageRequest]) -> set[str]:
    """Return the routes of screens that none of the requests is for."""
    asked = {route_of(urlsplit(one.path).path) for one in requests}
    return {route for route, _ in _ROUTES} - asked


def form_token(answer: httpx.Response, name: str) -> Any:  # noqa: ANN401  # a text, or None
    """Return the value of a hidden field of a page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.text)
    return None if found is None else html.unescape(found[1])
