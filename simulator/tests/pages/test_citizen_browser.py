"""The citizen's pages in a real browser: a person's click arrives at the brand's push address, and
the page behind a reject link asks before it rejects.
"""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import loads

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from simulator_harness import browser
from simulator_harness.client import IYS_CODE, PATH, PHONE, SimulatorHarness, a_brand
from simulator_harness.live import listening, new_state

pytestmark = pytest.mark.skipif(browser.found() is None, reason=browser.HOW_TO)

WIDE, NARROW = {"width": 1000, "height": 800}, {"width": 390, "height": 800}


class Receiver(ThreadingHTTPServer):
    """A brand's push address."""

    def __init__(self) -> None:
        self.rejected: list[str] = []
        super().__init__(("127.0.0.1", 0), Push)


class Push(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        right = "Basic " + base64.b64encode(b"receiver:fake").decode()
        is_right = self.headers.get("authorization") == right
        if is_right:
            items = loads(body)["list"]
            self.server.rejected += [item["recipient"] for item in items if item["status"] == "RET"]
        self.send_response(200 if is_right else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Yield a push address that listens."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def url(receiver: Receiver) -> Iterator[str]:
    """Yield a simulator with a brand that has an opt-in and a push address, and one without."""
    state = new_state()
    state.directory.add_brand(a_brand(code=660102, name="Başka Marka"))
    with listening(state) as url, httpx.Client(base_url=url) as http:
        right = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
        token = http.post("/oauth2/token", json=right).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        now = http.get("/__simulator__/health").json()["nowTurkey"]
        for channel in ("MESAJ", "ARAMA"):
            item = SimulatorHarness.consent(type=channel, consentDate=now)
            http.post(f"{PATH}/consents", json=item).raise_for_status()
        connection = {
            "url": f"http://127.0.0.1:{receiver.server_port}/iys/a/long/path/to/the/address/of/a/brand",
            "type": "MESAJ",
            "username": "receiver",
            "password": "fake",
        }
        body = {"connection": [connection]}
        http.post(f"{PATH}/push/registration", json=body).raise_for_status()
        assert http.get(f"/sps/{IYS_CODE}/brands").json()[0]["stats"]["consents"]["approval"] == 2
        yield url


@pytest.fixture(scope="module")
def opt_out_link() -> Iterator[str]:
    """Return an opt-out link of a brand with a long name, for a long address."""
    state = new_state()
    state.directory.add_brand(a_brand(name="Ö <Marka> & Ortakları"))
    with listening(state) as url, httpx.Client(base_url=url) as http:
        right = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
        token = http.post("/oauth2/token", json=right).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        now = http.get("/__simulator__/health").json()["nowTurkey"]
        address = f"{'uzun' * 15}@example.com"
        item = SimulatorHarness.consent(type="EPOSTA", recipient=address, consentDate=now)
        http.post(f"{PATH}/consents", json=item).raise_for_status()
        asked = {"recipients": [{"recipient": address, "recipientType": "BIREYSEL"}]}
        (link,) = http.post(f"{PATH}/via-hash-links", json=asked).json()
        yield link["url"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Yield the browser of this file."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=browser.found(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    """Yield the page, open; a script error or a failed load would fail the test."""
    page = chromium.new_page(base_url=url, viewport=WIDE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda found: problems.append(found.text) if found.type == "error" else None)
    page.goto("/citizen")
    yield page
    page.close()
    assert problems == []


def test_click_is_pushed_to_the_brand(page: Page, receiver: Receiver):
    """Looked up, opted out by keyboard, shown on the page, received by the brand, then undone."""
    page.get_by_label("Telefon ya da e-posta").fill("0555 000 00 01")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=PHONE).wait_for()
    page.get_by_role("button", name="Örnek Marka, Mesaj: Reddet").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Örnek Marka: Mesaj izni reddedildi.").wait_for()
    # The page came back when the delivery had ended, so it is here already.
    assert receiver.rejected == [PHONE]
    delivery_entry = page.get_by_role("region", name="Bildirimler").get_by_role("row").nth(1)
    assert delivery_entry.get_by_role("cell").last.inner_text() == "Ulaştı"
    page.get_by_role("button", name="Örnek Marka, Mesaj: Onayla").click()
    page.get_by_text("Örnek Marka: Mesaj izni onaylandı.").wait_for()
    page.get_by_role("button", name="Hattı kapat").click()
    page.get_by_text("Hat kapatıldı: 2 izin kaldırıldı.").wait_for()
    assert receiver.rejected == [PHONE, PHONE]


def test_every_control_has_a_name_and_nothing_overflows(page: Page):
    """Fields and buttons are named, headings descend in order, and a phone scrolls only down."""
    page.goto(f"/citizen?recipient={PHONE.replace('+', '%2B')}")
    page.set_viewport_size(NARROW)
    nameless = page.locator("button:visible, input:visible, select:visible").evaluate_all(
        "all => all.filter(one => !(one.labels?.length || one.ariaLabel || one.innerText)).length"
    )
    assert nameless == 0
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(one => one.tagName)")
    assert levels[:3] == ["H1", "H2", "H3"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.lang") == "tr"


@pytest.mark.parametrize("width", [320, 390, 700, 1280])
def test_tables_are_not_cut_at_any_width(page: Page, width: int):
    """Every cell of every table is inside the window, and nothing needs to be scrolled sideways."""
    page.goto(f"/citizen?recipient=%2B90555000{width:04}")
    page.get_by_role("button", name="Örnek Marka, Mesaj: Onayla").click()
    page.get_by_role("region", name="Bildirimler").wait_for()
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate(_CUT) == []
    # Where the heads of the columns have no room, each cell has its own.
    head = page.get_by_role("columnheader", name="Kaynak").bounding_box()
    assert head is not None
    assert (head["x"] > 0) is (width >= 700)
    assert ("Kaynak" in page.evaluate(_LABELS)) is (width < 700)


def test_contrast_is_sufficient_in_both_schemes(page: Page):
    """Text and marks have a contrast of at least WCAG's 4.5, light and dark."""
    page.goto(f"/citizen?recipient={PHONE.replace('+', '%2B')}")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(_WEAKEST_CONTRAST) >= 4.5, scheme


def test_opt_out_link_shows_a_button_and_then_opts_out(page: Page, opt_out_link: str):
    """On a phone, in both schemes: the brand, the address, one button, and the result."""
    page.set_viewport_size(NARROW)
    page.goto(opt_out_link)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(_WEAKEST_CONTRAST) >= 4.5, scheme
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") == "12px"
    page.get_by_text("Ö <Marka> & Ortakları").wait_for()
    page.get_by_role("button", name="Reddet").click()
    page.get_by_role("status").get_by_text("İzniniz kaldırıldı.").wait_for()
    assert page.evaluate(_WEAKEST_CONTRAST) >= 4.5


_CUT = """() => [...document.querySelectorAll("section, table, td, time, code")]
  .filter(one => one.checkVisibility())
  .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline"
    || one.getBoundingClientRect().right > innerWidth)
  .map(one => one.outerHTML)"""

_LABELS = """() => [...document.querySelectorAll("td")]
  .map(one => getComputedStyle(one, "::before").content.replaceAll('"', ""))"""

_WEAKEST_CONTRAST = """() => {
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const found = rgb(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const chosen = "h1, h2, h3, p, th, td, button, .mark, .quiet, summary";
  const all = [...document.querySelectorAll(chosen)];
  return Math.min(...all.filter(one => one.innerText?.trim()).map(one => {
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(behind(one))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }));
}"""
