"""Signing in and out: by a link once, by a password, and for as long as a session lasts."""

import asyncio
import re
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from structlog.typing import EventDict

from izin.ledger.console import accounts, sessions
from izin.ledger.console.accounts import AccountRole
from izin.ledger.record import UnknownAccountError
from izin.views.i18n import Language
from izin.web.passwords import LONGEST
from tests.integration.sinks.sink_harness import acts
from tests.support.console import Browser, ConsoleHarness, console_over

pytestmark = pytest.mark.database
PASSWORD = "an obviously fake password"
OTHER = "another obviously fake one"
WRONG = "do not go together"
PAGES = ("/", "/account")
A_MINUTE = timedelta(minutes=1)


async def with_password(console: ConsoleHarness, name: str = "ada") -> Browser:
    """Return the browser in which an account has chosen its password."""
    browser = await console.signed_in(name=name)
    done = await browser.post("/account/password", {"password": PASSWORD})
    assert "The password is set" in done.text
    return browser


async def sign_in(browser: Browser, password: str, name: str = "ada") -> int:
    """Try a password; return the status of the answer."""
    form = {"name": name, "password": password}
    return (await browser.post("/sign-in", form, follow=False)).status_code


async def is_signed_in(browser: Browser) -> bool:
    """Return whether a browser is shown pages of an account."""
    return (await browser.get("/account")).status_code == 200


def session_of(browser: Browser) -> str:
    """Return the token of its session."""
    return browser.client.cookies["izin_session"]


@pytest.mark.parametrize("path", PAGES)
async def test_stranger_is_sent_to_sign_in(console: ConsoleHarness, path: str):
    """By a redirect, and where a script asks by a header for it."""
    browser = console.browser()
    found = await browser.get(path)
    assert (found.status_code, found.headers["Location"]) == (303, "/sign-in")
    asked = await browser.client.get(path, headers={"HX-Request": "true"})
    assert (asked.status_code, asked.headers["HX-Redirect"]) == (204, "/sign-in")


async def test_link_signs_in_once(console: ConsoleHarness):
    """By its button: a program that looks at it before a person does uses none up."""
    browser, other = console.browser(), console.browser()
    await console.account("ada")
    link = await console.link("ada")
    for _ in range(2):
        assert "signs you in once" in (await browser.get(link)).text
        assert not await is_signed_in(browser)
    assert (await browser.post(link)).status_code == 200
    assert await is_signed_in(browser)
    refused = await other.post(link)
    assert (refused.status_code, await is_signed_in(other)) == (410, False)
    assert "Ask for another" in refused.text


async def test_link_that_is_too_old_signs_nobody_in(console: ConsoleHarness):
    """After a quarter of an hour."""
    await console.account("ada")
    link = await console.link("ada")
    console.clock.ahead += sessions.LINK_LASTS + A_MINUTE
    assert (await console.browser().post(link)).status_code == 410


async def test_account_that_is_disabled_is_out_at_once(console: ConsoleHarness):
    """Its sessions, its links and its password; enabled again, it needs a link."""
    browser = await with_password(console)
    link = await console.link("ada")
    await accounts.disable(console.ledger, "ada", by="test", now=console.clock())
    assert not await is_signed_in(browser)
    assert (await console.browser().post(link)).status_code == 410
    with pytest.raises(UnknownAccountError):
        await console.link("ada")
    with pytest.raises(UnknownAccountError):
        await accounts.disable(console.ledger, "ada", by="test", now=console.clock())
    await console.account("ada")
    assert await sign_in(console.browser(), PASSWORD) == 401
    assert (await console.browser().post(await console.link("ada"))).status_code == 200


async def test_history_has_who_made_accounts_and_links(console: ConsoleHarness):
    """Whoever has a link acts as the account: so who made it is an act too."""
    await with_password(console)
    await accounts.disable(console.ledger, "ada", by="eve", now=console.clock())
    found = [(one["act"], one["by"]) for one in await acts(console.ledger, key="account/ada")]
    assert found == [
        ("save account", "test"),
        ("make link", "test"),
        ("set password", "ada"),
        ("disable account", "eve"),
    ]
    rows = await console.ledger.fetch("SELECT data::text FROM history WHERE key = 'account/ada'")
    assert not any("argon2" in row["data"] for row in rows)


async def test_session_is_not_one_that_somebody_planted(console: ConsoleHarness):
    """Signing in makes a token of its own, and the session before ends."""
    first, browser = await console.signed_in(name="ada"), console.browser()
    planted = session_of(first)
    browser.client.cookies.set("izin_session", planted, domain="127.0.0.1")
    await console.account("eve")
    done = await browser.post(await console.link("eve"), follow=False)
    assert done.cookies["izin_session"] != planted
    assert not await is_signed_in(first)


async def test_password_signs_in_and_begins_another_session(console: ConsoleHarness):
    """To choose one ends every session, and the browser in which it was chosen has a new one."""
    first = await console.signed_in(name="ada")
    second = await console.signed_in(name="ada")
    before = session_of(second)
    await second.post("/account/password", {"password": PASSWORD})
    assert session_of(second) != before
    assert (await is_signed_in(first), await is_signed_in(second)) == (False, True)
    third = console.browser()
    assert await sign_in(third, PASSWORD) == 303
    assert await is_signed_in(third)


@pytest.mark.parametrize("password", ["", "short", "x" * (LONGEST + 1)])
async def test_password_of_another_length_is_refused(console: ConsoleHarness, password: str):
    """And nothing is changed."""
    browser = await console.signed_in(name="ada")
    done = await browser.post("/account/password", {"password": password})
    assert (done.status_code, "12 characters" in done.text) == (422, True)
    assert await sessions.attempt(console.ledger, "ada", now=console.clock()) is None


async def test_password_is_changed_by_who_knows_it(console: ConsoleHarness):
    """An unattended browser is not enough."""
    browser = await with_password(console)
    done = await browser.post("/account/password", {"password": OTHER, "former": OTHER})
    assert (done.status_code, "former password is wrong" in done.text) == (403, True)
    done = await browser.post("/account/password", {"password": OTHER, "former": PASSWORD})
    assert "The password is set" in done.text
    assert await sign_in(console.browser(), PASSWORD) == 401
    assert await sign_in(console.browser(), OTHER) == 303


async def test_account_is_locked_after_five_wrong_passwords(console: ConsoleHarness):
    """Also for the right one, for a minute, then twice as long; the right one then forgets them."""
    await with_password(console)
    browser = console.browser()
    for _ in range(5):
        assert await sign_in(browser, "wrong") == 401
    assert await sign_in(browser, PASSWORD) == 401
    console.clock.ahead += A_MINUTE
    assert await sign_in(browser, "wrong") == 401
    console.clock.ahead += A_MINUTE
    assert await sign_in(browser, PASSWORD) == 401
    console.clock.ahead += A_MINUTE
    assert await sign_in(browser, PASSWORD) == 303
    rows = await console.ledger.fetch("SELECT failures, locked_until FROM console_accounts")
    assert [tuple(row.values()) for row in rows] == [(0, None)]


async def test_lock_is_no_longer_than_an_hour(console: ConsoleHarness):
    """However many wrong ones there were; and a link signs in all the while."""
    await with_password(console)
    await console.ledger.fetch("UPDATE console_accounts SET failures = 100000 RETURNING 1")
    assert await sessions.attempt(console.ledger, "ada", now=console.clock()) is not None
    assert await sessions.attempt(console.ledger, "ada", now=console.clock()) is None
    assert (await console.browser().post(await console.link("ada"))).status_code == 200
    console.clock.ahead += timedelta(hours=1, seconds=1)
    assert await sign_in(console.browser(), PASSWORD) == 303


async def test_wrong_passwords_at_once_are_no_more_than_one_by_one(console: ConsoleHarness):
    """Each counts before it is verified."""
    await with_password(console)
    tried = [sessions.attempt(console.ledger, "ada", now=console.clock()) for _ in range(12)]
    assert sum(one is not None for one in await asyncio.gather(*tried)) == 5


async def test_stranger_cannot_tell_which_accounts_there_are(
    console: ConsoleHarness, monkeypatch: pytest.MonkeyPatch
):
    """One that is none, without a password or locked is answered alike, after a hash each."""
    verified: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, stored: str, password: str) -> bool:
        verified.append(stored)
        return bool(verify(self, stored, password))

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    await with_password(console)
    await console.account("without")
    texts = set()
    for name in ("ada", "without", "nobody", "a\0b", "x" * 5000, "ad\u0131"):
        form = {"name": name, "password": "wrong"}
        found = await console.browser().post("/sign-in", form)
        assert (found.status_code, WRONG in found.text) == (401, True)
        texts.add(re.sub(r'value="[^"]*"', "", found.text))
    assert len(texts) == 1
    assert len(verified) == 6
    assert len(set(verified)) == 2  # of ada, and of nobody


async def test_weak_hash_is_renewed_by_signing_in(console: ConsoleHarness):
    """Without an entry of the history or the end of a session: nobody chose anything."""
    browser = await console.signed_in(name="ada")
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    values = {"hash": weak}
    await console.ledger.fetch(
        "UPDATE console_accounts SET password_hash = %(hash)s RETURNING 1", values
    )
    assert await sign_in(console.browser(), PASSWORD) == 303
    stored = await sessions.attempt(console.ledger, "ada", now=console.clock())
    assert stored is not None
    assert not PasswordHasher().check_needs_rehash(stored)
    assert await is_signed_in(browser)


async def test_session_ends_when_it_is_idle(console: ConsoleHarness):
    """A page that updates itself does not keep it; a person who looks does."""
    browser = await console.signed_in()
    for _ in range(3):
        console.clock.ahead += timedelta(minutes=20)
        assert await is_signed_in(browser)
    console.clock.ahead += timedelta(minutes=20)
    watching = await browser.client.get("/account", headers={"Accept": "text/event-stream"})
    assert watching.status_code == 200
    console.clock.ahead += timedelta(minutes=11)
    assert not await is_signed_in(browser)


async def test_session_ends_after_its_longest_time(console: ConsoleHarness):
    """However busy it is; and it is forgotten when the next one begins."""
    browser = await console.signed_in()
    for _ in range(23):
        console.clock.ahead += timedelta(minutes=29)
        assert await is_signed_in(browser)
    console.clock.ahead += timedelta(hours=1)
    assert not await is_signed_in(browser)
    await console.signed_in(name="eve")
    assert len(await console.ledger.fetch("SELECT FROM console_sessions")) == 1


async def test_signing_out_ends_the_session_everywhere(console: ConsoleHarness):
    """Its cookie goes, and one who kept it has nothing; what the browser kept of pages goes too."""
    browser, thief = await console.signed_in(), console.browser()
    thief.client.cookies.set("izin_session", session_of(browser), domain="127.0.0.1")
    assert await is_signed_in(thief)
    done = await browser.post("/sign-out", follow=False)
    assert done.headers["Clear-Site-Data"] == '"cache"'
    assert "izin_session" not in browser.client.cookies
    assert not await is_signed_in(thief)


async def test_ledger_alone_lets_nobody_in(console: ConsoleHarness):
    """It has digests of sessions and links, and a hash of a password."""
    browser = await with_password(console)
    link = (await console.link("ada")).rpartition("/")[2]
    tables = ("console_accounts", "console_links", "console_sessions")
    rows = [await console.ledger.fetch(f"SELECT * FROM {one}") for one in tables]  # type: ignore[arg-type]
    stored = repr(rows)
    assert all(rows)
    assert not any(one in stored for one in (session_of(browser), link, PASSWORD))


async def test_log_says_who_signed_in_and_no_name_that_is_none(
    console: ConsoleHarness, logged: list[EventDict]
):
    """What somebody typed for a name may be the password."""
    await with_password(console)
    logged.clear()
    await sign_in(console.browser(), "wrong")
    await sign_in(console.browser(), "wrong", name=PASSWORD)
    await sign_in(console.browser(), PASSWORD)
    events = [(one["event"], one["account"]) for one in logged if "account" in one]
    assert events == [("wrong password", "ada"), ("signed in", "ada")]
    assert PASSWORD not in repr(logged)


async def test_language_is_chosen_and_leads_back(console: ConsoleHarness):
    """Within the console only; Turkish is what nobody has chosen."""
    browser = console.browser()
    browser.client.cookies.clear()
    page = await browser.get("/sign-in")
    assert ('lang="tr"' in page.text, page.headers["Content-Language"]) == (True, "tr")
    done = await browser.post("/language", {"language": "en", "back": "/sign-in"})
    assert (done.headers["Content-Language"], done.url.path) == ("en", "/sign-in")
    done = await browser.post("/language", {"language": "xx", "back": "/sign-in"})
    assert done.headers["Content-Language"] == Language.ENGLISH


@pytest.mark.parametrize(
    "back",
    [
        "",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/\t/evil.example",
        "/\n/evil",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: a=b",
        "\\\\evil.example",
        "/%5c/evil.example",
    ],
)
async def test_redirect_stays_in_the_console(console: ConsoleHarness, back: str):
    """A path of our own is where it leads, whatever the form says."""
    form = {"language": "en", "back": back}
    done = await console.browser().post("/language", form, follow=False)
    target = done.headers["Location"]
    assert done.status_code == 303
    assert re.match(r"/(?![/\\\t])", target)
    assert not {"\r", "\n", "\t"} & set(target)
    assert "set-cookie" not in target.lower() or "%0d" in target.lower()


async def test_cookies_of_a_console_behind_tls_are_its_own(console: ConsoleHarness):
    """With the prefix that keeps other hosts from setting them; and browsers keep to TLS."""
    async with console_over(console.ledger, url="https://console.example.com") as secure:
        browser = await secure.signed_in(role=AccountRole.READER)
        page = await browser.get("/account")
        assert page.status_code == 200
        assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
        names = {cookie.name for cookie in browser.client.cookies.jar if cookie.secure}
        assert names == {"__Host-izin_session"}
        await browser.post("/sign-out")
        assert not await is_signed_in(browser)
        assert "__Host-izin_session" not in browser.client.cookies
    assert "Strict-Transport-Security" not in (await console.browser().get("/sign-in")).headers
