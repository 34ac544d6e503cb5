"""Imports in the console that publish: checked, imported, stopped, corrected, each row once."""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from izin.consent import TURKEY
from izin.kafka.bounded_reader import TopicRecord, read_all
from izin.ledger.console.accounts import AccountRole
from izin.ledger.db import Ledger
from izin.ledger.record import Brand
from izin.producers.files import importer
from izin.producers.publishing.event_ids import FileIds
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.web.imports.runs import ImportRuns
from izin.web.imports.store import StoredImport
from tests.integration.web.test_imports import RECIPIENT, store_of, uploaded
from tests.support.builders import BRAND, CUSTOMER, a_key
from tests.support.console import Browser, ConsoleHarness, console_over
from tests.support.published import an_opt_out, produce
from tests.support.registration import register_brand

pytestmark = [pytest.mark.broker, pytest.mark.database]
GIVEN_AT = (datetime.now(UTC) - timedelta(hours=3)).astimezone(TURKEY)
DATE = f"{GIVEN_AT:%d.%m.%Y %H:%M:%S}"
HEADER = "telefon;kanal;durum;kaynak;tarih;marka"
GOOD = f"0555 000 00 01;SMS;ONAY;HS_WEB;{DATE};{BRAND}"
BAD = f"0555 12;SMS;ONAY;HS_WEB;{DATE};{BRAND}"
LOST = f"0555 13;SMS;RET;HS_WEB;{DATE};{BRAND}"
FILE = f"{HEADER}\n{GOOD}\n{BAD}\n{LOST}\n"
_PLAN = re.compile(r'name="plan" value="([^"]+)"')


@pytest.fixture
async def console(
    ledger: Ledger, kafka_settings: KafkaSettings, tmp_path: Path
) -> AsyncIterator[ConsoleHarness]:
    """Give the console over this test's topics, with one customer and its brand."""
    uploads = tmp_path / "uploads"
    async with console_over(ledger, kafka=kafka_settings, uploads=uploads) as console:
        brand = Brand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Example")
        await register_brand(ledger, console.console.topic_messages, brand, now=console.clock())
        yield console


@pytest.fixture
async def browser(console: ConsoleHarness) -> Browser:
    """Return the browser of an operator of the customer."""
    return await console.signed_in(AccountRole.OPERATOR, [CUSTOMER])


def events(settings: KafkaSettings) -> list[TopicRecord]:
    """Return every event on both lanes."""
    topics = settings.topics
    return [
        one for lane in (topics.events, topics.express) for one in read_all(settings, Codec(), lane)
    ]


async def ended(console: ConsoleHarness, browser: Browser, path: str) -> str:
    """Return the page of an import once its task has ended."""
    number = path.rpartition("/")[2]
    while (task := console.console.imports.find(number)) is not None:
        assert task.work is not None
        await asyncio.wait([task.work], timeout=30)
        await asyncio.sleep(0)
    return (await browser.get(path)).text


async def run(console: ConsoleHarness, browser: Browser, path: str, stage: str) -> str:
    """Begin a task as a person does, by the button of the page, and return the page behind it."""
    found = _PLAN.search((await browser.get(path)).text)
    assert found is not None
    done = await browser.post(f"{path}/run", {"stage": stage, "plan": found[1]})
    assert done.status_code == 200, done.text
    return await ended(console, browser, path)


def stored_of(console: ConsoleHarness, path: str) -> StoredImport:
    found = store_of(console).find(path.rpartition("/")[2])
    assert found is not None
    return found


async def test_file_is_checked_then_imported_then_corrected(
    console: ConsoleHarness, browser: Browser, kafka_settings: KafkaSettings, ledger: Ledger
):
    """The plan publishes nothing; the refused rows are corrected in the page, and are rows of the
    file: with its digest, their lines, and their ids.
    """
    path = await uploaded(browser, FILE)
    page = await run(console, browser, path, "checking")
    assert "Would be published" in page
    assert "import now, and correct them first" in page
    assert events(kafka_settings) == []
    page = await run(console, browser, path, "importing")
    assert "1 rows are opt-outs (RET) that are refused, or may be" in page
    assert not RECIPIENT.search(page)
    assert [one.value["row"] for one in events(kafka_settings)] == [2]
    rows = (await browser.post(f"{path}/rows")).text
    assert rows.index("0555 13") < rows.index("0555 12")
    cells = {"cell-3-0": "0555 000 00 03", "cell-4-0": "0555 000 00 04"}
    done = await browser.post(f"{path}/corrections", {"page": "1", "then": "import", **cells})
    assert done.url.path == path
    page = await ended(console, browser, path)
    assert "No row is left to be corrected" in page
    assert "Published at first" in page
    assert "Published as corrected" in page
    found = {one.value["row"]: one.value for one in events(kafka_settings)}
    digest = stored_of(console, path).state.digest
    assert {row: one["event_id"] for row, one in found.items()} == {
        row: FileIds(digest).of(row) for row in (2, 3, 4)
    }
    assert {one["import_id"] for one in found.values()} == {digest}
    acts = await ledger.fetch(
        "SELECT data FROM history WHERE kind = 'act' AND data->>'by' = %(by)s "
        "ORDER BY recorded_at, place",
        {"by": browser.name},
    )
    said = [row["data"]["act"] for row in acts]
    assert said.count("look") >= 1
    assert [one for one in said if one != "look"] == ["import file", "import corrected rows"]


async def test_rows_are_not_shown_where_the_look_cannot_be_recorded(
    console: ConsoleHarness, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    """Neither in the page nor as a file."""
    path = await uploaded(browser, FILE)
    await run(console, browser, path, "checking")
    await run(console, browser, path, "importing")

    async def fail(*_: object) -> None:
        raise BrokerError("a disk that is full")

    monkeypatch.setattr("izin.web.visit.record_look", fail)
    for act in ("rows", "report"):
        refused = await browser.post(f"{path}/{act}")
        assert refused.status_code == 503
        assert "0555 12" not in refused.text


async def test_refused_rows_are_taken_along_as_a_file(console: ConsoleHarness, browser: Browser):
    """As Excel in Turkey opens it, the opt-out first."""
    path = await uploaded(browser, FILE)
    await run(console, browser, path, "checking")
    await run(console, browser, path, "importing")
    got = await browser.post(f"{path}/report")
    assert got.headers["Content-Disposition"].startswith("attachment")
    rows = list(csv.reader(io.StringIO(got.content.decode("utf-8-sig")), delimiter=";"))
    assert [row[0] for row in rows[1:]] == ["0555 13", "0555 12"]


async def test_row_that_is_refused_again_stays_with_its_new_reason(
    console: ConsoleHarness, browser: Browser, kafka_settings: KafkaSettings
):
    """What is not changed is not imported, and what was corrected before is shown as it is now."""
    path = await uploaded(browser, FILE)
    await run(console, browser, path, "checking")
    await run(console, browser, path, "importing")
    form = {"page": "1", "then": "save", "cell-3-4": "gestern", "cell-4-0": "0555 13"}
    page = (await browser.post(f"{path}/corrections", form)).text
    assert "1 corrected rows are not imported yet" in page
    assert 'value="gestern"' in (await browser.post(f"{path}/rows")).text
    page = await run(console, browser, path, "correcting")
    state = stored_of(console, path).state
    assert state.left is not None
    assert (state.left.rows, state.corrections[0].rows, state.corrections[0].refused) == (2, 1, 1)
    assert {one.code for one in state.left.reasons} == {"H121", "H158"}
    assert len(events(kafka_settings)) == 1
    form = {"page": "1", "cell-9-0": "x"}
    assert (await browser.post(f"{path}/corrections", form)).status_code == 409


async def test_opt_in_that_reverses_an_opt_out_is_given_back_in_the_page(
    console: ConsoleHarness, browser: Browser, kafka_settings: KafkaSettings
):
    """It is left out until somebody says that the recipient has consented again: with the name."""
    topic = kafka_settings.topics.desired_consents
    key = a_key(recipient="+905550000001")
    opted_out = an_opt_out(key, GIVEN_AT.astimezone(UTC) - timedelta(days=1))
    value = Codec().encode(topic.record, opted_out)
    produce(kafka_settings, topic.name, value, key=key.encode())
    path = await uploaded(browser, f"{HEADER}\n{GOOD}\n")
    page = await run(console, browser, path, "checking")
    assert "Opt-ins left out: they would reverse an opt-out" in page
    await run(console, browser, path, "importing")
    assert events(kafka_settings) == []
    assert "has consented again since" in (await browser.post(f"{path}/rows")).text
    form = {"page": "1", "then": "import", "back-2": "on"}
    await browser.post(f"{path}/corrections", form)
    assert "No row is left" in await ended(console, browser, path)
    (one,) = events(kafka_settings)
    assert (one.value["actor"], one.value["row"]) == (browser.name, 2)


async def test_import_that_stopped_goes_on_where_it_was(
    console: ConsoleHarness,
    browser: Browser,
    kafka_settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
):
    """A console that was killed has a page that says so; the events are those of one import."""
    path = await uploaded(browser, FILE)
    await run(console, browser, path, "checking")
    monkeypatch.setattr(importer, "CHECKPOINT_ROWS", 1)
    complete = importer.ReportRows.complete

    def fail(*_: object) -> None:
        raise BrokerError("gone")

    monkeypatch.setattr(importer.ReportRows, "complete", fail)
    page = await run(console, browser, path, "importing")
    assert "Kafka cannot be reached" in page
    assert "Continue" in page
    assert (await browser.post(f"{path}/mapping", {"column-0": "-"})).status_code == 409
    monkeypatch.setattr(importer.ReportRows, "complete", complete)
    object.__setattr__(console.console, "imports", ImportRuns())  # as a process that was restarted
    assert "interrupted" in (await browser.get("/imports")).text
    page = await run(console, browser, path, "importing")
    assert "imported" in page
    ids = [one.value["event_id"] for one in events(kafka_settings)]
    assert len(set(ids)) == 1
    counts = stored_of(console, path).state.found
    assert counts is not None
    assert (counts.counts["rows"], counts.counts["published"]) == (3, 1)


async def test_file_that_is_uploaded_twice_is_published_once(
    console: ConsoleHarness, browser: Browser, kafka_settings: KafkaSettings
):
    """Its events have the ids that they had."""
    for _ in range(2):
        path = await uploaded(browser, FILE)
        await run(console, browser, path, "checking")
        await run(console, browser, path, "importing")
    ids = [one.value["event_id"] for one in events(kafka_settings)]
    assert (len(ids), len(set(ids))) == (2, 1)


async def test_page_of_a_task_shows_how_far_it_is(console: ConsoleHarness, browser: Browser):
    """Without JavaScript by a link, with it by events, of which the last asks for the page."""
    path = await uploaded(browser, FILE)
    found = _PLAN.search((await browser.get(path)).text)
    assert found is not None
    hold = console.console.imports._turn
    async with hold:
        page = (await browser.post(f"{path}/run", {"stage": "checking", "plan": found[1]})).text
        assert "Waits for another import to end" in page
        assert f'sse-connect="{path}/live' in page
        assert (await browser.post(f"{path}/delete")).status_code == 409
        watched = (await browser.get(f"{path}/live")).text
        assert "Waits for another import" in watched
    await ended(console, browser, path)
    assert f'hx-get="{path}' in (await browser.get(f"{path}/live")).text
