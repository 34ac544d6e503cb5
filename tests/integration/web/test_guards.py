"""What every answer of the console has, and what is answered where there is no page."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response

from izin.consent import OurError
from izin.ledger.console.accounts import AccountRole
from izin.ledger.record import RefusedValueError
from izin.ledger.registry import customers
from izin.runtime.http_server.problems import public_app
from izin.web.app import ConsoleApp, ConsoleMetrics
from izin.web.pages import HEADERS
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit
from tests.integration.sinks.sink_harness import acts
from tests.support.builders import PHONE
from tests.support.console import Browser, ConsoleHarness, console_over

pytestmark = pytest.mark.database
HTML = "text/html; charset=utf-8"


def without(found: httpx.Response) -> set[str]:
    """Return which headers of every page an answer does not have."""
    return {name for name, value in HEADERS.items() if found.headers.get(name) != value}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sign-in", 200),
        ("GET", "/", 303),
        ("POST", "/sign-in", 403),
        ("GET", "/no-such-page", 404),
        ("GET", "/sign-in/", 404),
        ("GET", "//sign-in", 404),
        ("GET", "/static/../pages.py", 404),
        ("GET", "/static/no-such.css", 404),
        ("PUT", "/sign-in", 405),
        ("DELETE", "/", 405),
        ("OPTIONS", "/", 405),
        ("BREW", "/sign-in", 405),
        ("GET", "/sign-out", 405),
    ],
)
async def test_every_answer_has_the_headers_of_a_page(
    console: ConsoleHarness, method: str, path: str, status: int
):
    """Also where there is no page: nothing runs, frames, caches or follows it."""
    browser = console.browser()
    found = await browser.client.request(method, f"{browser.origin}{path}")
    assert (found.status_code, without(found)) == (status, set())
    if status in {404, 405} and not path.startswith("/static/"):
        assert found.headers["Content-Type"] == HTML
        assert "There is no such page" in found.text
    assert ("Allow" in found.headers) is (status == 405)


async def test_policy_allows_nothing_inline(console: ConsoleHarness):
    """Neither scripts nor styles; and no page has any."""
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    browser = await console.signed_in()
    for path in ("/", "/account", "/no-such-page"):
        page = (await browser.get(path)).text
        assert not any(one in page for one in ("<style", " style=", "onclick", "javascript:"))
        assert page.count("<script") == page.count("<script src=")


async def test_referrer_keeps_the_origin_of_forms(console: ConsoleHarness):
    """With "no-referrer" a browser says of them that their origin is null, and each is refused."""
    assert HEADERS["Referrer-Policy"] == "same-origin"


async def test_scripts_and_styles_are_there_and_kept(console: ConsoleHarness):
    """From the packages that ship them."""
    browser = console.browser()
    for name, kind in (
        ("console.css", "text/css"),
        ("htmx.js", "text/javascript"),
        ("sse.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ):
        found = await browser.get(f"/static/{name}")
        assert (found.status_code, found.headers["Content-Type"].split(";")[0]) == (200, kind)
        assert found.headers["Cache-Control"] == "public, max-age=3600"
        assert without(found) == {"Cache-Control"}


async def test_head_is_answered_as_get_without_a_body(console: ConsoleHarness):
    """Also of a page that would send events for a minute."""
    browser = await console.signed_in()
    found = await browser.client.head("/account")
    assert (found.status_code, without(found)) == (200, set())


def with_screens(console: ConsoleHarness, *screens: Screen) -> Starlette:
    """Return the application of these screens over the same accounts."""
    app = ConsoleApp(console.console, ConsoleMetrics())
    return public_app([*map(app.route, screens)], dict, app.unserved)


async def shown(
    console: ConsoleHarness,
    *screens: Screen,
    role: AccountRole = AccountRole.ADMIN,
    raises: bool = True,
) -> Browser:
    """Return a signed-in browser of these screens."""
    browser = await console.signed_in(role)
    app = with_screens(console, *screens)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=raises)
    client = httpx.AsyncClient(transport=transport, base_url=browser.origin)
    client.cookies = browser.client.cookies
    console._browsers.append(client)
    return Browser(client=client, origin=browser.origin)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (RefusedVisitError(403, "There is no such page."), 403, "There is no such page."),
        (RefusedValueError("a value"), 422, "There is a value that cannot be"),
        (OurError("away"), 503, "The ledger does not answer"),
        (ZeroDivisionError(), 500, "The console has made a mistake"),
    ],
)
async def test_error_is_answered_by_a_page(
    console: ConsoleHarness, error: Exception, status: int, text: str
):
    """Which says what to do; a mistake of ours shows nothing of itself."""

    async def fail(_: Visit) -> Response:
        raise error

    browser = await shown(console, Screen(path="/a", run=fail, right=Permit.SEE), raises=False)
    found = await browser.get("/a")
    assert (found.status_code, text in found.text, without(found)) == (status, True, set())
    assert "ZeroDivision" not in found.text


async def test_error_that_quotes_markup_shows_it_as_text(console: ConsoleHarness):
    """And a per cent sign is no format."""

    async def fail(_: Visit) -> Response:
        raise RefusedVisitError(422, "<b>100%</b> %(x)s")

    browser = await shown(console, Screen(path="/a", run=fail, right=Permit.SEE))
    assert "&lt;b&gt;100%&lt;/b&gt; %(x)s" in (await browser.get("/a")).text


async def test_form_is_not_read_before_who_posts_it_may(console: ConsoleHarness):
    """A reader cannot have the console keep a large file in memory."""
    read: list[bytes] = []

    async def body() -> object:
        read.append(b"x")
        yield b"csrf="

    async def take(_: Visit) -> Response:
        return Response("taken")

    screen = Screen(path="/a", method="POST", run=take, right=Permit.IMPORT, largest=10**9)
    browser = await shown(console, screen, role=AccountRole.READER)
    found = await browser.client.post("/a", content=body(), headers={"Origin": browser.origin})
    assert (found.status_code, read) == (403, [])
    browser = await shown(console, screen)
    found = await browser.client.post("/a", content=body(), headers={"Origin": "null"})
    assert (found.status_code, read) == (403, [])


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "[::"},
        {"Host": "evil.example.com"},
        {"Host": ""},
        {"Cookie": "izin_language=\xff; izin_said=%zz%f0"},
        {"Accept-Language": "\xff"},
        {"Origin": "http://[::"},
        {"X-Forwarded-Host": "evil.example.com"},
    ],
)
async def test_header_that_cannot_be_is_no_mistake_of_ours(
    console: ConsoleHarness, headers: dict[str, str]
):
    """Whatever a client says of itself; and no link leads to the host that it names."""
    browser = await console.signed_in()
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    if "Cookie" in encoded:
        session = f"izin_session={browser.client.cookies['izin_session']}; ".encode()
        encoded["Cookie"] = session + encoded["Cookie"]
    for path in ("/account", "/sign-in", "/nothing"):
        found = await browser.client.get(path, headers=encoded)
        assert found.status_code in {200, 404}
        assert "evil" not in found.text + found.headers.get("Location", "")


@pytest.mark.parametrize("query", ["customer=%00", "a=%00", "customer=%ff", "customer=", "a=%f0"])
async def test_query_that_cannot_be_is_refused(console: ConsoleHarness, query: str):
    """A NUL is a value of no table."""
    browser = await console.signed_in()
    found = await browser.client.get(f"/account?{query}")
    assert found.status_code in {200, 400, 403}
    assert (found.status_code == 400) is query.endswith("%00")


async def test_look_at_a_recipient_is_in_the_history_first(console: ConsoleHarness):
    """Whom it names is a digest; where it cannot be written, nothing is shown."""

    async def unmask(visit: Visit) -> Response:
        await visit.look("recipient", [PHONE])
        return Response(visit.masked(PHONE, is_shown=True))

    screen = Screen(path="/a", run=unmask, right=Permit.SEE)
    browser = await shown(console, screen)
    assert (await browser.get("/a")).text == PHONE
    (act,) = await acts(console.ledger, "look")
    assert act["by"] == "admin"
    assert act["after"]["command"] == "console recipient"
    assert PHONE not in repr(await console.ledger.fetch("SELECT key, data FROM history"))
    reader = await shown(console, screen, role=AccountRole.READER)
    assert (await reader.get("/a")).status_code == 403
    await console.ledger.execute("ALTER TABLE chains RENAME TO chains_away")
    refused = await browser.get("/a")
    assert (refused.status_code, PHONE in refused.text) == (503, False)
    assert "Nothing is shown" in refused.text


async def test_page_that_was_said_something_says_it_once(console: ConsoleHarness):
    """Whatever a text it is, and whoever set the cookie."""

    async def say(visit: Visit) -> Response:
        return visit.redirect("/account", said="<b>Kaydedildi</b>; 100 %\r\nSet-Cookie: a=b")

    browser = await shown(console, Screen(path="/a", run=say, right=Permit.SEE))
    found = await browser.get("/a")
    assert found.headers["Location"] == "/account"
    assert [value.partition("=")[0] for value in found.headers.get_list("set-cookie")] == [
        "izin_said"
    ]
    owner = console.browser()
    owner.client.cookies = browser.client.cookies
    first, second = await owner.get("/account"), await owner.get("/account")
    assert "&lt;b&gt;Kaydedildi&lt;/b&gt;; 100 %" in first.text
    assert "Kaydedildi" not in second.text


async def test_customer_that_is_shown_is_one_of_the_account(console: ConsoleHarness):
    """The first where none is named, all only for who sees all, and none is a refusal."""

    async def who(visit: Visit) -> Response:
        return Response(str(visit.customer))

    for name in ("acme", "beta", "gamma"):
        await customers.add(console.ledger, name, name, by="test", now=console.clock())
    screen = Screen(path="/a", run=who, right=Permit.SEE)
    app = with_screens(console, screen)
    for own, asked, found in (
        (None, {}, "None"),
        (None, {"customer": "*"}, "None"),
        (None, {"customer": "beta"}, "beta"),
        (None, {"customer": "delta"}, 403),
        (["beta", "acme"], {}, "acme"),
        (["beta", "acme"], {"customer": "*"}, "acme"),
        (["beta", "acme"], {"customer": "beta"}, "beta"),
        (["beta", "acme"], {"customer": "gamma"}, 403),
        (["beta", "acme"], {"customer": "delta"}, 403),
    ):
        browser = await console.signed_in(AccountRole.READER, own)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url=browser.origin,
            cookies=browser.client.cookies,
        )
        async with client:
            answer = await client.get("/a", params=asked)
        shown = answer.status_code if answer.status_code == 403 else answer.text
        assert shown == found, (own, asked)


async def test_console_over_tls_takes_forms_of_its_address_alone(console: ConsoleHarness):
    """Whatever host the proxy in front passes on."""
    async with console_over(console.ledger, url="https://console.example.com") as secure:
        browser = await secure.signed_in()
        own, token = browser.origin, {"csrf": await browser.csrf()}
        for headers, status in (
            ({"Origin": own, "Host": "10.0.0.1:8090"}, 303),
            ({"Origin": "http://console.example.com", "Host": "console.example.com"}, 403),
            ({"Origin": "https://10.0.0.1:8090", "Host": "10.0.0.1:8090"}, 403),
        ):
            form = {"language": "en", "back": "/", **token}
            found = await browser.client.post("/language", data=form, headers=headers)
            assert found.status_code == status
