"""The console in a real browser, over a ledger that has something for every screen: as a Turkish
phone shows it, by keyboard alone, and without scripts. ``make browser`` shows it in every look.
"""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient
from playwright.sync_api import Browser

from izin.kafka.clients import ensure_topics
from izin.runtime.settings import KafkaSettings
from tests.e2e.console.tasks import REACHED, TASKS, sign_in_by_keyboard
from tests.support.console.browsing import (
    AXE,
    NO_AXE,
    NO_BROWSER,
    WIDE,
    Look,
    chromium,
    chromium_path,
    screens,
    visitor,
)
from tests.support.console.data import ADMIN, PASSWORD
from tests.support.console.site import Site, console, filled
from tests.support.servers.distribution import copy_database, drop_database

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(chromium_path() is None, reason=NO_BROWSER),
    pytest.mark.skipif(not AXE.exists(), reason=NO_AXE),
]


@pytest.fixture(scope="module")
def site(
    kafka: str, postgres: str, ledger_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Yield a console over a filled ledger."""
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=f"t{uuid4().hex[:8]}-", partitions=1
    )
    ensure_topics(settings)
    name, folder = f"t{uuid4().hex[:12]}", tmp_path_factory.mktemp("console")
    url = copy_database(postgres, name, ledger_template)
    filled(url, settings, folder)
    with console(url, settings, folder) as site:
        yield site
    drop_database(postgres, name)
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    for deleted in admin.delete_topics([topic.name for topic in settings.topics]).values():
        deleted.result(timeout=10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield the browser of this file."""
    with chromium() as browser:
        yield browser


def test_every_screen_is_accessible_and_whole_on_a_phone(browser: Browser, site: Site):
    """In Turkish: axe finds nothing, nothing is cut, no script fails and nothing is refused."""
    with visitor(browser, site, Look()) as one:
        one.page.goto("/sign-in")
        found = {"sign-in": one.faults()}
        one.sign_in()
        for name in screens(one, REACHED):
            found[name] = one.faults()
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_faults_of_a_page_are_found(browser: Browser, site: Site):
    """A field without a label, a text that is too wide and a script that fails are three."""
    with visitor(browser, site, Look()) as one:
        one.page.goto("/sign-in")
        one.page.evaluate(
            """() => {
              const added = `<input name="x"><p>${"w".repeat(200)}</p>`
              document.body.insertAdjacentHTML("beforeend", added)
              console.error("lost")
            }"""
        )
        found = one.faults()
    assert any(fault.startswith("label: ") for fault in found)
    assert any(fault.startswith("cut: p") for fault in found)
    assert "console: lost" in found


def test_tasks_are_done_by_keyboard_alone(browser: Browser, site: Site):
    """From signing in on; wherever the focus is, it is to be seen."""
    with visitor(browser, site, Look(width=WIDE)) as one:
        sign_in_by_keyboard(one, ADMIN, PASSWORD)
        for task in TASKS.values():
            task(one)
        assert one.problems == []


def test_console_works_without_scripts(browser: Browser, site: Site):
    """Signing in, every entry of the navigation, and the language: by links and forms alone."""
    with visitor(browser, site, Look(width=WIDE, has_scripts=False)) as one:
        sign_in_by_keyboard(one, ADMIN, PASSWORD)
        links = one.page.locator("nav a")
        for place in range(links.count()):
            name = links.nth(place).inner_text()
            links.nth(place).click()
            assert one.page.locator("nav a[aria-current=page]").inner_text() == name
            assert one.page.locator("h1").inner_text()
        one.page.get_by_role("button", name="English").click()
        assert one.page.get_by_role("button", name="Sign out").is_visible()


def test_log_of_the_console_has_no_error(site: Site):
    """Everything above was answered."""
    assert site.log.read_text(encoding="utf-8") == ""
