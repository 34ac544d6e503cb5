"""The worklist on a screen: masked, and each act first shown and then done; the month beside it."""

import io
import re

import httpx
import pytest
from openpyxl import load_workbook

from izin.ledger.console.accounts import AccountRole
from izin.ledger.registry import customers
from izin.views.i18n import Language
from tests.integration.sinks.automatic_suspension.suspension_harness import suspend
from tests.integration.sinks.sink_harness import SinkHarness, acts, onay, ret
from tests.integration.views.test_months import this_month
from tests.integration.views.test_worklist import park
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_phone
from tests.support.console import Browser, ConsoleHarness

pytestmark = pytest.mark.database
_FIELD = re.compile(r'name="(\w+)" value="([^"]*)"')
REQUEUE = "requeue"


def fields(page: httpx.Response, *names: str) -> dict[str, list[str]]:
    """Return the values of these fields of a page."""
    found = _FIELD.findall(page.text)
    return {name: [value for field, value in found if field == name] for name in names}


async def rows_of(browser: Browser, **query: str) -> list[str]:
    """Return what names the rows of the worklist that can be chosen."""
    return fields(await browser.get("/worklist", **query), "row")["row"]


async def carry_out(browser: Browser, plan: httpx.Response, **more: str) -> httpx.Response:
    """Do what a page with a plan shows."""
    form: dict[str, object] = {
        **fields(plan, "row"),
        **{name: values[0] for name, values in fields(plan, "act", "digest").items()},
        **{name: values[0] for name, values in fields(plan, "every", "kind").items() if values},
        **more,
    }
    return await browser.post("/worklist/act", form)


async def test_worklist_masks_recipients_until_a_look_is_recorded(
    harness: SinkHarness, console: ConsoleHarness
):
    """Neither the page nor what its forms carry has them; showing them is a look."""
    await park(harness, PHONE, a_phone(2))
    browser = await console.signed_in(AccountRole.OPERATOR, name="ada")
    page = await browser.get("/worklist")
    assert "+90***01" in page.text
    assert PHONE not in page.text
    assert PHONE.strip("+") not in page.text
    shown = await browser.post("/worklist/people", {"kind": "parked"})
    assert PHONE in shown.text
    looks = await acts(console.ledger, "look")
    assert [one["by"] for one in looks] == ["ada", "ada"]
    assert {one["after"]["command"] for one in looks} == {"console worklist"}


async def test_recipient_of_a_row_is_one_click_away(harness: SinkHarness, console: ConsoleHarness):
    """Masked and sealed, for a reader too, beside what its brand is called; what is parked is the
    first of its keys.
    """
    await park(harness, PHONE)
    await harness.ingest(onay(type="ARAMA", event_id="call"))
    reader = await console.signed_in(AccountRole.READER)
    page = await reader.get("/worklist")
    assert f"{BRAND} {(await harness.brand()).name}" in page.text
    (person,) = fields(page, "person")["person"]
    found = await reader.post("/recipient", {"person": person})
    assert (found.status_code, PHONE in found.text) == (200, False)
    assert found.text.index("· MESAJ ·") < found.text.index("· ARAMA ·")
    other = await console.signed_in(AccountRole.READER, name="okur")
    assert (await other.post("/recipient", {"person": person})).status_code == 403


async def test_reader_sees_the_list_and_neither_people_nor_acts(
    harness: SinkHarness, console: ConsoleHarness
):
    """Its file is masked, too."""
    await park(harness, PHONE)
    browser = await console.signed_in(AccountRole.READER)
    page = await browser.get("/worklist")
    assert (page.status_code, "/worklist/people" in page.text) == (200, False)
    assert fields(page, "row", "one") == {"row": [], "one": []}
    for path in ("people", "plan", "act"):
        assert (await browser.post(f"/worklist/{path}", {"act": REQUEUE})).status_code == 403
    assert (await browser.post("/worklist/file", {"shown": "1"})).status_code == 403
    file = await browser.post("/worklist/file")
    assert (file.status_code, PHONE in file.text, "+90***01" in file.text) == (200, False, True)


async def test_one_parked_consent_is_released_after_its_plan(
    harness: SinkHarness, console: ConsoleHarness
):
    """By who is signed in; nothing is done by the plan alone."""
    await park(harness, PHONE, a_phone(2))
    browser = await console.signed_in(AccountRole.COMPLIANCE, name="ada", language=Language.TURKISH)
    first = fields(await browser.get("/worklist", kind="parked"), "one")["one"][0]
    plan = await browser.post("/worklist/plan", {"one": first})
    assert "yeni bir onay verdiğini siz doğrulamış olursunuz" in plan.text
    assert set(await harness.states_of([PHONE, a_phone(2)])) == {"parked"}
    done = await carry_out(browser, plan)
    assert f"{BRAND} markasının 1 kaydı yeniden işleme alındı" in done.text
    assert sorted(await harness.states_of([PHONE, a_phone(2)])) == ["parked", "pending"]
    assert [one["by"] for one in await acts(console.ledger, "requeue")] == ["ada"]


async def test_all_that_match_a_filter_are_requeued(harness: SinkHarness, console: ConsoleHarness):
    """And those that are chosen; without a choice nothing is planned."""
    recipients = [a_phone(number) for number in range(1, 5)]
    await park(harness, *recipients)
    browser = await console.signed_in()
    nothing = await browser.post("/worklist/plan", {"act": REQUEUE})
    assert (nothing.status_code, "Nothing is chosen" in nothing.text) == (422, True)
    rows = await rows_of(browser, kind="parked")
    assert len(rows) == 4
    await carry_out(
        browser, await browser.post("/worklist/plan", {"act": REQUEUE, "row": rows[:2]})
    )
    assert sorted(await harness.states_of(recipients)) == ["parked", "parked", "pending", "pending"]
    every = {"act": REQUEUE, "every": "1", "kind": "parked"}
    await carry_out(browser, await browser.post("/worklist/plan", every))
    assert set(await harness.states_of(recipients)) == {"pending"}
    assert "Nothing needs a person" in (await browser.get("/worklist")).text


async def test_plan_that_changed_is_shown_again(harness: SinkHarness, console: ConsoleHarness):
    """Nothing is done that was not looked at."""
    await park(harness, PHONE, a_phone(2))
    browser = await console.signed_in()
    every = {"act": REQUEUE, "every": "1", "kind": "parked"}
    plan = await browser.post("/worklist/plan", every)
    await harness.ingest(ret(a_phone(2), minutes=1))
    again = await carry_out(browser, plan)
    assert "It has changed since you looked" in again.text
    assert (await harness.row()).state == "parked"
    await carry_out(browser, again)
    assert (await harness.row()).state == "pending"


async def test_what_is_held_back_is_released_with_a_reason(
    harness: SinkHarness, console: ConsoleHarness
):
    """The history has the reason, so that it must be said."""
    await suspend(harness)
    browser = await console.signed_in(name="ada")
    every = {"act": "release", "every": "1", "kind": "held-back"}
    plan = await browser.post("/worklist/plan", every)
    assert "are held back since" in plan.text
    assert (await carry_out(browser, plan)).status_code == 422
    done = await carry_out(browser, plan, why="a closed branch")
    assert f"5 opt-outs of crm for brand {BRAND} are released" in done.text
    (entry,) = await acts(console.ledger, "release opt-outs")
    assert (entry["by"], entry["after"]["why"]) == ("ada", "a closed branch")


async def test_row_of_another_customer_or_session_is_not_acted_on(
    harness: SinkHarness, console: ConsoleHarness
):
    """Names of rows are sealed under a session, and cut to its customers."""
    await park(harness, PHONE)
    await customers.add(console.ledger, "beta", "Beta", by="ada", now=console.clock())
    admin, theirs = await console.signed_in(), await console.signed_in(customers=["beta"])
    (row,) = await rows_of(admin)
    assert await rows_of(theirs) == []
    plan = await admin.post("/worklist/plan", {"act": REQUEUE, "row": row})
    for form, status in (
        ({"act": REQUEUE, "row": row}, 403),
        ({"act": REQUEUE, "every": "1", "kind": "parked"}, 422),
        ({"act": "dance", "row": row}, 422),
    ):
        assert (await theirs.post("/worklist/plan", form)).status_code == status
    assert (await carry_out(theirs, plan)).status_code == 403
    assert (await harness.row()).state == "parked"


async def test_pages_of_the_worklist_follow_one_another(
    harness: SinkHarness, console: ConsoleHarness
):
    """Each row is on one of them, and no link names a recipient."""
    await park(harness, *(a_phone(number) for number in range(60)))
    browser = await console.signed_in()
    first = await browser.get("/worklist", kind="parked")
    (following,) = re.findall(r'href="(/worklist\?[^"]*after=[^"]*)"', first.text)
    second = await browser.get(following.replace("&amp;", "&"))
    counts = [len(fields(page, "row")["row"]) for page in (first, second)]
    assert counts == [50, 10]
    assert "after=" not in second.text.replace('name="after"', "")
    assert (await browser.get("/worklist", after="nonsense")).status_code == 403
    assert (await browser.get("/worklist", brand="x")).status_code == 200


async def test_download_is_a_file_for_excel_and_a_look(
    harness: SinkHarness, console: ConsoleHarness
):
    """In the language of the page, of what the filter lists."""
    await park(harness, PHONE)
    await harness.suspend("H353", channel="ARAMA")
    browser = await console.signed_in(language=Language.TURKISH)
    file = await browser.post("/worklist/file", {"shown": "1", "kind": "parked"})
    assert file.headers["Content-Disposition"] == 'attachment; filename="worklist.csv"'
    header, row = file.content.decode("utf-8-sig").splitlines()
    assert header.startswith("tür;marka;kanal;alıcı")
    assert PHONE in row
    assert len(await acts(console.ledger, "look")) == 1


@pytest.mark.parametrize("language", list(Language))
async def test_month_is_made_shown_and_downloaded(
    harness: SinkHarness, console: ConsoleHarness, language: Language
):
    """By everybody who sees the customer; nobody else."""
    await harness.ingest(onay())
    await customers.add(console.ledger, "beta", "Beta", by="ada", now=console.clock())
    month = f"{this_month():%Y-%m}"
    browser = await console.signed_in(AccountRole.READER, [CUSTOMER], language=language)
    assert (await browser.get("/months/file", month=month)).status_code == 404
    page = await browser.post("/months/make", {"month": month})
    assert page.url.params["month"] == month
    assert {Language.TURKISH: "toplam", Language.ENGLISH: "in all"}[language] in page.text
    file = await browser.get("/months/file", month=month)
    assert load_workbook(io.BytesIO(file.content)).worksheets[0]["C5"].value == 1
    theirs = await console.signed_in(AccountRole.READER, ["beta"], language=language)
    assert (await theirs.get("/months/file", month=month, customer=CUSTOMER)).status_code == 403
    assert (await theirs.get("/months/file", month=month)).status_code == 404


async def test_month_of_everybody_asks_for_a_customer(console: ConsoleHarness):
    """And one that is none of those to choose from is the last that is over."""
    browser = await console.signed_in()
    assert "Customer of the report" in (await browser.get("/months", month="1999-01")).text
    assert (await browser.post("/months/make", {"month": "x"})).status_code == 422
