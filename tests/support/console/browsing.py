"""The console in a real browser: every screen that links and forms lead to, and what is wrong with
a page.

A page is right where axe finds no violation of WCAG 2.2 AA, nothing of it is cut, and neither a
script failed nor the Content-Security-Policy refused anything.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.support.console.reachable import STARTS, route_of
from tests.support.console.site import Site
from tests.support.project_rules import ROOT

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = ROOT / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
NO_BROWSER = "no browser found: install chromium"
NO_AXE = "axe is not installed: run make axe"
NARROW, WIDE = 390, 1280
_HEIGHT = 900
_WITHIN = 15_000
"""Milliseconds until something that is waited for has failed."""
_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
_RUN_AXE = """async tags => {
  const rules = {"target-size": {enabled: true}}
  const found = await axe.run(document, {runOnly: {type: "tag", values: tags}, rules})
  return found.violations.flatMap(each => each.nodes.map(node =>
    `${each.id}: ${node.target.join(" ")}: ${node.failureSummary.replaceAll("\\n", " ")}`))
}"""
_CUT = """() => {
  const scrolls = one => /auto|scroll/.test(getComputedStyle(one).overflowX)
  const inside = one => {
    for (let up = one.parentElement; up; up = up.parentElement) if (scrolls(up)) return true
    return false
  }
  const name = one => [one.tagName.toLowerCase(), ...one.classList].join(".")
    + " " + (one.textContent || "").trim().slice(0, 40)
  const isWide = document.documentElement.scrollWidth > innerWidth
  const all = [...document.querySelectorAll("body *")]
  return (isWide ? ["the document is too wide"] : []).concat(all
    .filter(one => one.checkVisibility() && !one.closest(".skip") && !inside(one))
    .filter(one => !one.parentElement.closest("svg"))
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1
      || one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1 && !scrolls(one)
        && !one.matches("input, select, textarea, svg"))
    .map(one => "cut: " + name(one)))
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How somebody sees the console."""

    language: str = "tr"
    theme: str = "light"
    width: int = NARROW
    has_scripts: bool = True

    def __str__(self) -> str:
        return f"{self.language} {self.theme} {self.width}"


@dataclass(kw_only=True)
class Visitor:
    """Somebody with a browser window."""

    page: Page
    site: Site
    width: int
    problems: list[str] = field(default_factory=list)
    """What scripts and the policy of the page said, since the last check."""

    def hear(self, said: ConsoleMessage) -> None:
        """Keep an error; that the page itself was refused is none."""
        is_refusal = "status of 4" in said.text and said.location["url"] == self.page.url
        if said.type == "error" and not is_refusal:
            self.problems.append(f"console: {said.text}")

    def sign_in(self) -> None:
        """Sign in as the account that may do everything."""
        self.page.goto(self.site.link())
        self.page.get_by_role("button").last.click()
        self.page.wait_for_url(f"{self.site.url}/")

    def faults(self) -> list[str]:
        """Return what is wrong with the page that is shown."""
        self.page.evaluate(f"() => {{ {AXE.read_text(encoding='utf-8')} }}")
        found = list(self.page.evaluate(_RUN_AXE, list(_TAGS)))
        found += self.page.evaluate(_CUT)
        found += self.problems
        self.problems.clear()
        return found

    def path(self) -> str:
        """Return the path of the page."""
        return urlsplit(self.page.url).path

    def links(self) -> list[str]:
        """Return where the links of the page lead within the console, each once."""
        here = urlsplit(self.site.url).netloc
        found = self.page.locator("a[href]:not([download])").evaluate_all(
            "all => all.map(one => one.href)"
        )
        same = (one for one in found if urlsplit(one).netloc == here)
        return list(dict.fromkeys(one.partition("#")[0] for one in same))


def chromium_path() -> str | None:
    """Return the path of a Chromium on this machine."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@contextmanager
def visitor(browser: Browser, site: Site, look: Look) -> Iterator[Visitor]:
    """Yield a visitor with a new window, who is not signed in."""
    context = browser.new_context(
        base_url=site.url,
        viewport={"width": look.width, "height": _HEIGHT},
        color_scheme="dark" if look.theme == "dark" else "light",
        java_script_enabled=look.has_scripts,
        reduced_motion="reduce",
    )
    context.add_cookies([{"name": "izin_language", "value": look.language, "url": site.url}])
    context.set_default_timeout(_WITHIN)
    page = context.new_page()
    found = Visitor(page=page, site=site, width=look.width)
    page.on("pageerror", lambda error: found.problems.append(f"script: {error}"))
    page.on("console", found.hear)
    yield found
    context.close()


Reach = Callable[[Visitor], None]
"""How a page is reached that no link leads to."""


def screens(one: Visitor, posted: Mapping[str, Reach]) -> Iterator[str]:
    """Show every screen to ``one``, who is signed in: yield its name while it is shown.

    The first page of each route that a link leads to, and those that forms lead to.
    """
    waiting, seen = [f"{one.site.url}{path}" for path in STARTS], set[str]()
    while waiting:
        address = waiting.pop(0)
        path = urlsplit(address).path
        route = route_of(path) or path
        if route in seen or path.startswith("/static/"):
            continue
        seen.add(route)
        if not _is_page(one, address):
            continue
        one.page.goto(address)
        waiting += one.links()
        yield route
    for name, reach in posted.items():
        reach(one)
        yield name


def _is_page(one: Visitor, address: str) -> bool:
    """Whether an address has a page, and no file to download."""
    answer = one.page.request.get(address)
    is_html = answer.headers.get("content-type", "").startswith("text/html")
    if is_html and not answer.ok:
        one.problems.append(f"{address} answers {answer.status}")
    return is_html and answer.ok


def keep(one: Visitor, folder: Path, name: str) -> None:
    """Keep a picture of the page that is shown."""
    folder.mkdir(parents=True, exist_ok=True)
    one.page.screenshot(path=folder / f"console-{name}.png", full_page=False)


def focus(one: Visitor, what: str, *, role: str = "") -> None:
    """Move with the Tab key to what has this text or label; fail where no Tab leads there, or where
    the focus is not to be seen.
    """
    for _ in range(_MOST_TABS):
        one.page.keyboard.press("Tab")
        text, tag, outline = one.page.evaluate(_FOCUSED)
        if what.casefold() in text.casefold() and role in {"", tag}:
            assert outline, f"the focus on {what} is not to be seen"
            return
    raise AssertionError(f"no Tab leads to {what}")


_MOST_TABS = 120
_FOCUSED = """() => {
  const one = document.activeElement
  const labels = [...(one.labels || [])].map(each => each.innerText).join(" ")
  const texts = [labels, one.getAttribute("aria-label"), one.innerText, one.value]
  return [texts.filter(each => each).join(" "),
    one.tagName.toLowerCase(), getComputedStyle(one).outlineStyle !== "none"]
}"""
