"""Signing in at a real identity provider: who has an account here, and who has none."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from izin.ledger.db import Ledger
from tests.support.console import Browser, ConsoleHarness, console_over
from tests.support.console.oidc_provider import (
    OidcProvider,
    needs_provider,
    running_provider,
)

pytestmark = [pytest.mark.database, needs_provider]
ADA = "ada@example.com"
AWAY = "sign-in does not answer"


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """Give a provider whose user info has the claims."""
    with running_provider() as provider:
        yield provider


@pytest.fixture
async def console(ledger: Ledger, provider: OidcProvider) -> AsyncIterator[ConsoleHarness]:
    """Give a console that signs people in there, with an account of ada's."""
    async with console_over(ledger, **provider.settings) as console:
        await console.account(ADA)
        yield console


async def sent(browser: Browser) -> str:
    """Return where a browser is sent to sign in."""
    found = await browser.get("/sign-in/oidc")
    assert found.status_code == 303, found.text
    return str(found.headers["Location"])


async def signed_in(browser: Browser, provider: OidcProvider, login: str = ADA) -> tuple[int, str]:
    """Sign in there and come back; return status and text of what is shown."""
    back = await provider.signed_in(await sent(browser), login)
    found = await browser.get(back)
    return found.status_code, found.text


async def test_account_signs_in_at_the_provider(console: ConsoleHarness, provider: OidcProvider):
    """By the button of the page; a session is one like any other, and what bound it is gone."""
    browser = console.browser()
    assert "/sign-in/oidc" in (await browser.get("/sign-in")).text
    assert await signed_in(browser, provider) == (303, "")
    assert ADA in (await browser.get("/account")).text
    assert "izin_provider" not in browser.client.cookies


async def test_stranger_has_no_account_by_signing_in(
    console: ConsoleHarness, provider: OidcProvider
):
    """The page says what the provider calls them, so that an administrator can add that."""
    browser = console.browser()
    status, text = await signed_in(browser, provider, "eve@example.com")
    assert (status, "eve@example.com; no account here" in text) == (403, True)
    assert (await browser.get("/account")).status_code == 303


@pytest.mark.parametrize("name", ["new@example.com", ADA.upper(), "<b>x</b>@example.com"])
async def test_name_must_be_verified_and_exact(
    console: ConsoleHarness, provider: OidcProvider, name: str
):
    """An address that nobody has verified could be anybody's, and what is another is another."""
    await console.account("new@example.com")
    status, text = await signed_in(console.browser(), provider, name)
    assert (status, "<b>" in text) == (403, False)


async def test_disabled_account_does_not_sign_in(console: ConsoleHarness, provider: OidcProvider):
    """Though the provider knows it still."""
    values = {"name": ADA}
    query = "UPDATE console_accounts SET disabled_at = now() WHERE name = %(name)s"
    await console.ledger.execute(query, values)
    assert (await signed_in(console.browser(), provider))[0] == 403


async def test_code_of_another_browser_is_worth_nothing(
    console: ConsoleHarness, provider: OidcProvider
):
    """So nobody is signed in as somebody else by an address that was sent to them."""
    thief, victim = console.browser(), console.browser()
    back = await provider.signed_in(await sent(thief), ADA)
    for browser in (victim, console.browser()):
        found = await browser.get(back)
        assert (found.status_code, "begin again" in found.text) == (400, True)
        await sent(victim)  # with a cookie of its own, too
    assert (await victim.get("/account")).status_code == 303
    assert (await thief.get(back)).status_code == 303


async def test_code_is_good_once(console: ConsoleHarness, provider: OidcProvider):
    """And only with the cookie, which is gone."""
    browser = console.browser()
    secret = await sent(browser), browser.client.cookies["izin_provider"]
    back = await provider.signed_in(secret[0], ADA)
    assert (await browser.get(back)).status_code == 303
    assert (await browser.get(back)).status_code == 400
    browser.client.cookies.set("izin_provider", secret[1], domain="127.0.0.1")
    found = await browser.get(back)
    assert (found.status_code, "begin again" in found.text) == (400, True)


@pytest.mark.parametrize(
    "query", ["", "?code=x", "?state=x&code=x", "?error=access_denied", "?state=\u011f&code=%00"]
)
async def test_answer_that_nobody_asked_for_is_refused(console: ConsoleHarness, query: str):
    """Whatever it says."""
    browser = console.browser()
    await sent(browser)
    found = await browser.get(f"/sign-in/oidc/back{query}")
    assert (found.status_code, "begin again" in found.text) == (400, True)


async def test_person_who_gives_up_is_shown_the_page_again(
    console: ConsoleHarness, provider: OidcProvider
):
    """And may sign in otherwise on that page."""
    browser = console.browser()
    found = await browser.get(await provider.refused(await sent(browser)))
    assert (found.status_code, "did not sign you in" in found.text) == (403, True)
    assert 'name="password"' in found.text


@pytest.mark.parametrize(
    ("ahead", "status"),
    [
        (timedelta(seconds=-50), 303),
        (timedelta(seconds=50), 303),
        (timedelta(minutes=-3), 403),
        (timedelta(hours=2), 403),
    ],
)
async def test_clocks_may_differ_by_a_minute(
    console: ConsoleHarness, provider: OidcProvider, ahead: timedelta, status: int
):
    """A token of the past or the future is refused."""
    console.clock.ahead += ahead
    assert (await signed_in(console.browser(), provider))[0] == status


async def test_provider_that_is_away_leaves_passwords(ledger: Ledger):
    """At each step the page says so; a link still signs in; with its new key it is known again."""
    with running_provider(in_token=True) as provider:
        async with console_over(ledger, **provider.settings) as console:
            await console.account(ADA)
            browser = console.browser()
            back = await provider.signed_in(await sent(browser), ADA)
            provider.stop()
            found = await browser.get(back)
            assert (found.status_code, AWAY in found.text) == (503, True)
            assert 'name="password"' in found.text
            console.clock.ahead += timedelta(hours=2)
            found = await browser.get("/sign-in/oidc")
            assert (found.status_code, AWAY in found.text) == (503, True)
            assert (await browser.post(await console.link(ADA))).status_code == 200
            provider.start()
            console.clock.ahead = timedelta(0)
            assert (await signed_in(browser, provider))[0] == 303
            provider.stop()
            provider.start()  # with another key, before the first is an hour old
            assert (await signed_in(browser, provider))[0] == 303


async def test_other_claim_is_the_name_where_it_is_said(ledger: Ledger, provider: OidcProvider):
    """It needs no verified address."""
    settings = {**provider.settings, "oidc_claim": "preferred_username"}
    async with console_over(ledger, **settings) as console:
        await console.account("new.ada")
        assert (await signed_in(console.browser(), provider, "new.ada"))[0] == 303


async def test_console_without_a_provider_has_no_page_for_it(ledger: Ledger):
    """Neither a button nor an address."""
    async with console_over(ledger) as console:
        assert "oidc" not in (await console.browser().get("/sign-in")).text
        assert (await console.browser().get("/sign-in/oidc")).status_code == 404
