"""The screen of deadlines: what its command says, in Turkish too, with recipients masked."""

import csv
import io
from collections.abc import AsyncIterator

import pytest

from izin.ledger.console.accounts import AccountRole
from izin.ledger.registry import customers
from izin.views.i18n import Language
from tests.integration.sinks.monitor.test_alerts import pass_term
from tests.integration.sinks.sink_harness import SinkHarness, acts, onay, ret
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_phone
from tests.support.console import ConsoleHarness, console_over

pytestmark = pytest.mark.database
OPT_OUTS = "/deadlines/opt-outs"


@pytest.fixture
async def console(harness: SinkHarness) -> AsyncIterator[ConsoleHarness]:
    """Give the console over the ledger of the sinks."""
    async with console_over(harness.ledger, clock=harness.clock) as console:
        yield console


async def add_beta(harness: SinkHarness) -> None:
    """Register a customer of which nothing is due."""
    await customers.add(harness.ledger, "beta", "Beta", by="ada", now=harness.clock())


def rows_of(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a file that Turkish Excel opens."""
    assert content.startswith(b"\xef\xbb\xbf")
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    return list(csv.DictReader(text, delimiter=";"))


async def test_page_has_terms_forecast_and_breaches(harness: SinkHarness, console: ConsoleHarness):
    """What is missed is counted, and what was sent too late is listed, masked."""
    await harness.register_onay(a_phone(2))
    await harness.ingest(onay(a_phone(3)), ret(a_phone(2)))
    await pass_term(harness, a_phone(3), 1.2)
    browser = await console.signed_in(AccountRole.READER)
    page = (await browser.get("/deadlines")).text
    assert "1 will be late" in page
    assert f'href="{OPT_OUTS}?brand={BRAND}"' in page
    assert '<svg class="plot"' in page
    assert a_phone(2) not in page
    (opt_out, opt_in) = rows_of((await browser.get("/deadlines.csv")).content)
    assert (opt_out["ONAY or RET"], opt_out["Unsettled"], opt_out["Missed"]) == ("RET", "1", "0")
    assert (opt_in["ONAY or RET"], opt_in["Missed"]) == ("ONAY", "1")
    assert opt_in["Brand"] == f"{BRAND} Örnek"


async def test_page_in_turkish_has_no_english_text(harness: SinkHarness, console: ConsoleHarness):
    """Its sentence of the forecast too."""
    await harness.ingest(onay())
    browser = await console.signed_in(AccountRole.READER, language=Language.TURKISH)
    page = (await browser.get("/deadlines")).text
    assert "hepsi zamanında gönderilecek, sonuncusu en geç" in page
    assert "Süresi geçmiş" in page
    assert "Deadlines" not in page


async def test_breach_is_listed_with_its_recipient_masked(
    harness: SinkHarness, console: ConsoleHarness
):
    """When it was due and when it was sent."""
    await harness.ingest_opt_out()
    await pass_term(harness, PHONE, 1.5)
    assert await harness.opt_out()
    page = (await (await console.signed_in(AccountRole.READER)).get("/deadlines")).text
    assert "None was sent too late." not in page
    assert PHONE not in page


async def test_opt_outs_are_shown_once_the_look_is_recorded(
    harness: SinkHarness, console: ConsoleHarness
):
    """Masked to whoever may see but not look; the file is the one that the command writes."""
    await harness.ingest_opt_out()
    reader = await console.signed_in(AccountRole.READER)
    page = (await reader.get(OPT_OUTS, brand=str(BRAND))).text
    assert "Show the recipients" not in page
    assert PHONE not in page
    for path in (OPT_OUTS, f"{OPT_OUTS}/file"):
        assert (await reader.post(path, {"brand": BRAND})).status_code == 403
    assert await acts(harness.ledger, "look") == []

    operator = await console.signed_in(AccountRole.OPERATOR, name="ada")
    assert PHONE not in (await operator.get(OPT_OUTS, brand=str(BRAND))).text
    assert PHONE in (await operator.post(OPT_OUTS, {"brand": BRAND})).text
    file = await operator.post(f"{OPT_OUTS}/file", {"brand": BRAND})
    assert file.headers["Content-Disposition"].endswith(f'"opt-outs-{BRAND}.csv"')
    (row,) = rows_of(file.content)
    assert (row["recipient"], row["type"], row["status"]) == (f"'{PHONE}", "MESAJ", "RET")
    looks = await acts(harness.ledger, "look", key=f"brand/{BRAND}")
    assert [(one["by"], one["after"]["command"]) for one in looks] == [
        ("ada", "console deadlines opt-outs"),
        ("ada", "console deadlines opt-outs file"),
    ]


@pytest.mark.parametrize("brand", ["", "x", "999", "-1", "9" * 30])
async def test_brand_that_is_not_seen_is_refused(
    console: ConsoleHarness, harness: SinkHarness, brand: str
):
    """In the words in which one is refused that there is not."""
    browser = await console.signed_in(AccountRole.OPERATOR, [CUSTOMER])
    for answer in (
        await browser.get(OPT_OUTS, brand=brand),
        await browser.post(OPT_OUTS, {"brand": brand}),
        await browser.post(f"{OPT_OUTS}/file", {"brand": brand}),
    ):
        assert answer.status_code == 403
        assert "This is not among what your account may see or do." in answer.text
    assert await acts(harness.ledger, "look") == []


async def test_customer_sees_its_own_deadlines_alone(harness: SinkHarness, console: ConsoleHarness):
    """Whatever waits of others, and whoever asked before."""
    await harness.ingest(onay())
    await add_beta(harness)
    whole = (await (await console.signed_in()).get("/deadlines")).text
    assert f"{BRAND} Örnek" in whole
    browser = await console.signed_in(AccountRole.READER, ["beta"])
    page = (await browser.get("/deadlines")).text
    assert "Everything is registered." in page
    assert "Örnek" not in page
    assert rows_of((await browser.get("/deadlines.csv")).content) == []
    assert (await browser.get("/deadlines", customer=CUSTOMER)).status_code == 403
