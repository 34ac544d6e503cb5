"""The harness of the console's tests: browsers sign in, and post as pages do."""

import pytest

from izin.ledger.console.accounts import AccountRole
from tests.support.console import ConsoleHarness

pytestmark = pytest.mark.database


async def test_browser_of_an_account_is_shown_its_name(console: ConsoleHarness):
    """And one in which nobody has signed in is sent to the page for it."""
    browser = await console.signed_in(role=AccountRole.READER, name="ada")
    assert "ada" in (await browser.get("/account")).text
    assert (await console.browser().get("/account")).headers["Location"] == "/sign-in"


async def test_browser_posts_with_the_token_of_its_session(console: ConsoleHarness):
    """So that signing out is done, and the session has ended."""
    browser = await console.signed_in()
    done = await browser.post("/sign-out")
    assert (done.status_code, done.url.path) == (200, "/sign-in")
    assert (await browser.get("/")).status_code == 303
