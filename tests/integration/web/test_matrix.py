"""Every screen for every role and customer: what is refused is refused, and nothing of another
customer is shown or changed.

The ledger has forty customers with a hundred brands, and something of every kind of each.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from babel.support import Translations

from izin.ledger.console.accounts import AccountRole
from izin.views import i18n
from izin.views.i18n import Language
from izin.web.process import SCREENS
from izin.web.visit import RIGHTS, Permit, Screen
from tests.integration.sinks.sink_harness import SinkHarness
from tests.support.builders import CUSTOMER
from tests.support.console import Browser, ConsoleHarness, console_over
from tests.support.console.crawl import (
    UNMASKED,
    Asked,
    Party,
    asked,
    foreign_rows,
    parties,
    posted,
    text_of,
)
from tests.support.customers.cuts import traces
from tests.support.customers.installation import fill_days, fill_ledger

pytestmark = [pytest.mark.broker, pytest.mark.database]
FILE = ("a.csv", b"telefon;kanal;durum;kaynak;tarih;marka\n", "text/csv")
_MOST, _SOME = 5, 2
IMPOSSIBLE = (
    "\u011f",
    "9" * 5000,
    "\u0663",
    "-1",
    "1e9",
    "a\0b",
    "x" * 3000,
    "2026-99-99",
    "%s {0}",
)


class Crawl:
    """Browsers of each role, cut to our customer, and what they find."""

    def __init__(self, console: ConsoleHarness, ours: Party, theirs: Party) -> None:
        self.console, self.ours, self.theirs = console, ours, theirs
        self.browsers: dict[AccountRole, Browser] = {}

    async def begin(self, language: Language = Language.ENGLISH) -> None:
        """Sign in one browser of each role."""
        for role in AccountRole:
            self.browsers[role] = await self.console.signed_in(role, [CUSTOMER], language=language)

    async def ask(self, role: AccountRole, one: Asked, *, form: bool = True) -> httpx.Response:
        """Send a request as a browser of the role."""
        browser = self.browsers[role]
        if one.screen.method == "GET":
            return await browser.get(one.path, **one.query)
        files = dict.fromkeys(one.files, FILE) if form else None
        fields = one.form if form else {}
        return await browser.post(one.path, fields, query=one.query, files=files or None)


@pytest.fixture
async def crawl(with_topics: SinkHarness, tmp_path: Path) -> AsyncIterator[Crawl]:
    """Give browsers of each role in an installation of forty customers."""
    harness = with_topics
    await fill_days(harness, await fill_ledger(harness))
    given = {"kafka": harness.settings, "clock": harness.clock}
    async with console_over(harness.ledger, uploads=tmp_path / "uploads", **given) as console:
        crawl = Crawl(console, *await parties(harness.ledger))
        await crawl.begin()
        yield crawl


def parts_of(one: Asked) -> list[tuple[str, str]]:
    """Return each part of the path of a request, and of that of its screen."""
    return list(zip(one.path.split("/"), one.screen.path.split("/"), strict=True))


def faults_of(
    one: Asked, role: AccountRole, found: httpx.Response, given: Sequence[str]
) -> list[str]:
    """Return what is wrong with an answer to somebody of our customer."""
    shown = f"{role} {one.screen.method} {one.path}: {found.status_code}"
    faults = [shown] if found.status_code >= 500 else []
    # What is posted may plan with numbers of its own.
    others = traces(text_of(found.text), given, counts=not given and one.screen.method == "GET")
    others += traces(found.text, given, counts=False)
    faults += [f"{shown} shows {others[:_MOST]}"] if others else []
    has_right = one.screen.right in RIGHTS[role]
    if not has_right and found.status_code != 403:
        faults.append(f"{shown}, and {role} has no right to {one.screen.right}")
    if one.screen.method == "GET" and (plain := UNMASKED.findall(found.text)):
        faults.append(f"{shown} shows {plain[:_MOST]} unmasked")
    return faults


@pytest.mark.parametrize("language", Language)
async def test_screen_is_shown_by_right_and_without_others(
    crawl: Crawl, language: Language, monkeypatch: pytest.MonkeyPatch
):
    """To each role, of its own customer: never a mistake, nothing of another, no recipient as it
    is; and in Turkish every text that is shown has a translation.
    """
    untranslated: list[str] = []

    class Recorder(Translations):
        def gettext(self, message: str) -> str:
            untranslated.append(message)
            return message

        ugettext = gettext

    monkeypatch.setattr(i18n.translations(Language.TURKISH), "_fallback", Recorder())
    await crawl.begin(language)
    faults, allowed = [], 0
    for screen in SCREENS:
        for role in AccountRole:
            for one in asked(screen, crawl.ours):
                found = await crawl.ask(role, one, form=False)
                faults += faults_of(one, role, found, ())
                allowed += found.status_code == 200
    assert not faults, "\n".join(faults)
    assert allowed >= len(AccountRole)
    # Acts of this installation, which no code writes.
    assert {text for text in untranslated if not text.startswith("look at ")} == set()


async def test_screen_of_another_customer_is_refused_to_every_role(crawl: Crawl):
    """Whichever it is; what is not there is refused in the same words."""
    faults = []
    for screen in SCREENS:
        for role in AccountRole:
            for one in asked(screen, crawl.theirs):
                found = await crawl.ask(role, one)
                faults += faults_of(one, role, found, crawl.theirs.named)
                if found.status_code != 403:
                    faults.append(f"{role} {one.path}: {found.status_code}")
    assert not faults, "\n".join(faults)


async def test_what_is_anothers_is_neither_shown_nor_changed(crawl: Crawl):
    """Where our own customer is shown and what a form or an address names is of another."""
    before = await foreign_rows(crawl.console.ledger)
    faults = []
    for screen in SCREENS:
        for role in AccountRole:
            for one in asked(screen, crawl.theirs):
                query: Mapping[str, str] = {**one.query, "customer": CUSTOMER}
                named = Asked(
                    screen=screen, path=one.path, query=query, form=one.form, files=one.files
                )
                found = await crawl.ask(role, named)
                faults += faults_of(named, role, found, crawl.theirs.named)
    assert not faults, "\n".join(faults)
    assert await foreign_rows(crawl.console.ledger) == before


async def test_value_that_cannot_be_is_no_mistake_of_ours(crawl: Crawl):
    """In any field, part of a path or of a query, of whoever may do everything. Each screen gets
    two of the values; `make chaos STAGE=console` makes thousands more.
    """
    faults = []
    values = cycle(IMPOSSIBLE)
    for screen, value in ((screen, value) for screen in SCREENS for value in islice(values, _SOME)):
        one = next(asked(screen, crawl.ours))
        fields = {"customer": CUSTOMER, **dict.fromkeys(one.query, value)}
        spoilt = replace(one, query=fields, form=dict.fromkeys(one.form, value))
        parts = [quote(value, "") if part != kept else part for part, kept in parts_of(one)]
        for other in (spoilt, replace(one, path="/".join(parts))):
            found = await crawl.ask(
                AccountRole.ADMIN, replace(other, query={**other.query, "customer": CUSTOMER})
            )
            faults += faults_of(other, AccountRole.ADMIN, found, crawl.theirs.named)
    assert not faults, "\n".join(faults)


async def test_everybody_is_shown_to_who_sees_everybody(crawl: Crawl):
    """So the checks of traces can fail; somebody who is cut gets no more by asking for all."""
    whole = await crawl.console.signed_in(name="whole")
    found = [
        text
        for screen in SCREENS
        if screen.method == "GET"
        for one in asked(screen, crawl.ours)
        for text in traces((await whole.get(one.path, customer="*")).text, (), counts=False)
    ]
    assert found
    cut = crawl.browsers[AccountRole.ADMIN]
    for screen in SCREENS:
        for one in asked(screen, crawl.ours) if screen.method == "GET" else ():
            shown = await cut.get(one.path, **{**one.query, "customer": "*"})
            assert traces(shown.text, (), counts=False) == [], one.path


@pytest.mark.parametrize("screen", posted(), ids=lambda screen: screen.path)
async def test_form_of_elsewhere_changes_nothing(console: ConsoleHarness, screen: Screen):
    """Without the token of the session, or from another origin, it is refused before it is read."""
    browser = await console.signed_in()
    path = "/".join("1" if part.startswith("{") else part for part in screen.path.split("/"))
    ours, theirs = {"Origin": browser.origin}, {"Origin": "https://evil.example.com"}
    token = {"csrf": await browser.csrf()}
    for form, headers in (({}, ours), ({"csrf": "\u011f"}, ours), (token, theirs), (token, {})):
        found = await browser.client.post(path, data=form, headers=headers)
        assert found.status_code == 403, (form, headers)
    assert (await console.browser().post(path)).headers.get("Location", "/sign-in") == "/sign-in"


def test_every_role_has_its_rights_and_no_more():
    """A reader changes nothing, and only who has the right sees recipients or erases."""
    assert RIGHTS.keys() == {*AccountRole}
    assert RIGHTS[AccountRole.READER] == {Permit.SEE}
    assert RIGHTS[AccountRole.ADMIN] == {*Permit}
    for right in (Permit.COMPLAIN, Permit.ERASE):
        assert {role for role in AccountRole if right in RIGHTS[role]} == {
            AccountRole.COMPLIANCE,
            AccountRole.ADMIN,
        }
    for screen in posted():
        assert screen.right is not Permit.SEE or not screen.path.startswith("/acts"), screen.path
