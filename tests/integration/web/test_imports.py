"""Imports in the console before anything is published: whose a file is, what its columns hold, and
what nobody is shown.
"""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from izin.ledger.console import mappings
from izin.ledger.console.accounts import AccountRole
from izin.ledger.db import Ledger
from izin.ledger.record import Brand
from izin.views.i18n import Language
from izin.views.imports import ReportSummary
from izin.web.imports.store import ImportStage, ImportStore, refused_rows
from tests.support.builders import BRAND, CUSTOMER
from tests.support.console import Browser, ConsoleHarness, console_over
from tests.support.registration import register_brand

pytestmark = pytest.mark.database
OTHER, OTHER_BRAND = "globex", 100002
HEADER = "telefon;kanal;durum;kaynak;tarih;marka"
ROW = f"0555 000 00 01;SMS;ONAY;HS_WEB;02.03.2026 12:00:00;{BRAND}"
FILE = f"{HEADER}\n{ROW}\n"
UNKNOWN = (
    "gsm;kanal;Üyelik;kaynak;tarih;Şehir\n0555 000 00 01;SMS;Pasif;Mağaza;02.03.2026 12:00;X\n"
)
RECIPIENT = re.compile(r"555 ?000 ?00 ?01|5550000001")


@pytest.fixture
async def console(ledger: Ledger, tmp_path: Path) -> AsyncIterator[ConsoleHarness]:
    """Give the console with two customers, each with a brand."""
    uploads = tmp_path / "uploads"
    async with console_over(ledger, uploads=uploads) as console:
        for customer, code in ((CUSTOMER, BRAND), (OTHER, OTHER_BRAND)):
            brand = Brand(brand_code=code, iys_code=code, customer_id=customer, name="Example")
            messages = console.console.topic_messages
            await register_brand(ledger, messages, brand, now=console.clock())
        yield console


def store_of(console: ConsoleHarness) -> ImportStore:
    assert console.console.settings.uploads is not None
    return ImportStore(console.console.settings.uploads)


async def uploaded(
    browser: Browser, content: str | bytes = FILE, *, customer: str = CUSTOMER, name: str = "a.csv"
) -> str:
    """Upload a file, and return where its import is."""
    raw = content.encode() if isinstance(content, str) else content
    form = {"customer": customer}
    done = await browser.post("/imports", form, files={"file": (name, raw)})
    assert done.status_code == 200, done.text
    return done.url.path


@pytest.fixture
async def browser(console: ConsoleHarness) -> Browser:
    """Return the browser of an operator of the first customer."""
    return await console.signed_in(AccountRole.OPERATOR, [CUSTOMER])


async def test_first_rows_are_shown_with_masked_recipients(browser: Browser):
    """As an import would read them; nothing else of the page has the recipient either."""
    page = (await browser.get(await uploaded(browser))).text
    assert "+90***01" in page
    assert not RECIPIENT.search(page)
    assert "Check the whole file" in page


async def test_file_is_of_one_customer(console: ConsoleHarness, browser: Browser):
    """An account that does not see it is refused in the words for what is not there, whatever it
    asks for.
    """
    path = await uploaded(browser)
    other = await console.signed_in(AccountRole.ADMIN, [OTHER])
    nothing = f"/imports/{'0' * 32}"
    acts = ("mapping", "run", "delete", "rows", "corrections", "report")
    for address in (path, nothing, "/imports/..%2f..", f"{path}/live"):
        assert (await other.get(address)).status_code in {403, 404}
    for act in acts:
        refused = await other.post(f"{path}/{act}", {"stage": "importing"})
        assert (refused.status_code, "not among what" in refused.text) == (403, True), act
        assert (await other.post(f"{nothing}/{act}")).status_code == 403
    assert "a.csv" not in (await other.get("/imports")).text
    refused = await other.post("/imports", {"customer": CUSTOMER}, files={"file": ("a", b"x")})
    assert refused.status_code == 403
    assert [one.state.customer for one in store_of(console).every()] == [CUSTOMER]
    assert (await browser.get(path)).status_code == 200


async def test_brand_of_another_customer_is_none(browser: Browser):
    """Neither in a row nor for all rows: nothing is published in its name."""
    path = await uploaded(browser, FILE.replace(str(BRAND), str(OTHER_BRAND)))
    page = (await browser.get(path)).text
    assert f"brand {OTHER_BRAND} is not registered" in page
    path = await uploaded(browser, FILE.replace(";marka", "").replace(f";{BRAND}", ""))
    await browser.post(f"{path}/mapping", {"given-brand_code": str(OTHER_BRAND)})
    page = (await browser.get(path)).text
    assert f"Brand {OTHER_BRAND} is no registered brand of this customer" in page
    assert f'value="{OTHER_BRAND}"' not in page


async def test_reader_sees_the_list_and_no_row(console: ConsoleHarness, browser: Browser):
    """Without the right to import there is no form, and no first row."""
    path = await uploaded(browser)
    reader = await console.signed_in(AccountRole.READER, [CUSTOMER])
    listed, page = (await reader.get("/imports")).text, (await reader.get(path)).text
    assert "a.csv" in listed
    assert 'type="file"' not in listed
    assert "***" not in page
    for act in ("mapping", "run", "delete", "rows", "corrections", "report"):
        assert (await reader.post(f"{path}/{act}")).status_code == 403
    assert (await reader.post("/imports", files={"file": ("a", b"x")})).status_code == 403


async def test_columns_and_words_get_a_meaning(browser: Browser):
    """Step by step: a column that is not known, a status under another name, words without a
    meaning; then the file can be checked.
    """
    path = await uploaded(browser, UNKNOWN)
    page = (await browser.get(path)).text
    assert "Unknown column: &#34;Üyelik&#34;" in page
    assert "In no column: BIREYSEL" in page
    assert page.count("In no column: choose") == 2  # the brand, and the status under another name
    assert "In no column: Brand code, Status (ONAY, RET)." in page
    chosen = {"column-2": "status", "column-5": "-", "given-brand_code": str(BRAND)}
    page = (await browser.post(f"{path}/mapping", chosen)).text
    assert "In no column: Brand" not in page
    assert "“Üyelik” is no known name of a consent" in page
    assert "Pasif" in page
    chosen |= {"of-0": "status:Pasif", "word-0": "RET"}
    page = (await browser.post(f"{path}/mapping", chosen)).text
    assert "Words that are not known: Mağaza. Their rows are refused." in page
    assert page.count("In no column: choose") == 1
    chosen |= {"of-1": "source:Mağaza", "word-1": "HS_FIZIKSEL_ORTAM"}
    page = (await browser.post(f"{path}/mapping", chosen)).text
    assert "HS_FIZIKSEL_ORTAM</td>" in page
    assert "Words that are not known" not in page
    assert "Check the whole file" in page


async def test_column_that_may_have_opt_outs_is_left_out_on_purpose_alone(browser: Browser):
    """Else they would be lost: whoever leaves it out says that there are none."""
    path = await uploaded(browser, FILE.replace("marka", "marka;İptal Tarihi").replace("\n", "\n"))
    page = (await browser.post(f"{path}/mapping", {"column-6": "-"})).text
    assert "“İptal Tarihi” is left out, and may say who refused" in page
    page = (await browser.post(f"{path}/mapping", {"column-6": "-", "confirm-6": "on"})).text
    assert "may say who refused" not in page


async def test_mapping_is_saved_for_its_customer_alone(
    console: ConsoleHarness, browser: Browser, ledger: Ledger
):
    """And used for the next file; the history has who saved it."""
    path = await uploaded(browser, UNKNOWN)
    chosen = {"column-2": "status", "column-5": "-", "given-brand_code": str(BRAND)}
    words = {"of-0": "status:Pasif", "word-0": "RET"}
    await browser.post(f"{path}/mapping", {**chosen, **words, "save_as": "CRM"})
    assert '"Pasif" = "RET"' in (await mappings.every(ledger, CUSTOMER))["CRM"]
    again = await uploaded(browser, UNKNOWN)
    page = (await browser.post(f"{again}/mapping", {"saved": "CRM"})).text
    assert "Check the whole file" in page
    assert await mappings.every(ledger, OTHER) == {}
    other = await console.signed_in(AccountRole.OPERATOR, [OTHER])
    page = await uploaded(other, UNKNOWN, customer=OTHER)
    assert "CRM" not in (await other.get(page)).text
    acts = await ledger.fetch("SELECT data FROM history WHERE data->>'act' = 'save mapping'")
    assert [row["data"]["by"] for row in acts] == [browser.name]


async def test_recipient_is_not_saved_as_the_name_of_a_column(browser: Browser, ledger: Ledger):
    """A file without a header has one where a name would be."""
    path = await uploaded(browser, ROW)
    refused = await browser.post(f"{path}/mapping", {"column-0": "phone", "save_as": "CRM"})
    assert refused.status_code == 422
    assert await mappings.every(ledger, CUSTOMER) == {}
    assert not RECIPIENT.search((await browser.get(path)).text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%PDF-1.7", "Bir PDF"),
        (b"PK\x03\x04nothing", "Bozuk bir Excel dosyası"),
        (b"\n\n", "Bütün satırlar boş"),
        (f"{ROW}\n".encode(), "Sütun adları yerinde alıcılar var"),
    ],
)
async def test_file_that_is_none_says_so_in_turkish(
    console: ConsoleHarness, content: bytes, said: str
):
    """With what to do about it; the page is there, so that the row of the header can be named."""
    browser = await console.signed_in(AccountRole.OPERATOR, [CUSTOMER], language=Language.TURKISH)
    page = (await browser.get(await uploaded(browser, content))).text
    assert said in page
    assert "Sütun adlarının satırı" in page


async def test_upload_without_a_customer_is_refused(console: ConsoleHarness):
    """Whoever sees every customer says of whom the file is."""
    browser = await console.signed_in(AccountRole.ADMIN)
    page = (await browser.get("/imports")).text
    assert f'<option value="{OTHER}">' in page
    refused = await browser.post("/imports", files={"file": ("a.csv", FILE.encode())})
    assert refused.status_code == 403
    path = await uploaded(browser, customer=OTHER)
    assert "a.csv" in (await browser.get("/imports")).text
    assert (await browser.get(path)).status_code == 200


async def test_folder_and_files_are_private_and_deleted(console: ConsoleHarness, browser: Browser):
    """By whoever imports, or some days after the last work; also what is left of another time."""
    path = await uploaded(browser)
    store = store_of(console)
    (stored,) = store.every()
    modes = {one.stat().st_mode & 0o777 for one in (stored.file, stored.folder / "state.json")}
    assert (stored.folder.stat().st_mode & 0o777, modes) == (0o700, {0o600})
    assert CUSTOMER not in path
    await browser.post(f"{path}/delete")
    assert not stored.folder.exists()
    await uploaded(browser)
    (stored,) = store.every()
    (stored.folder.parent / ("f" * 32)).mkdir()
    store.sweep(console.clock() - timedelta(days=1))
    assert len([*stored.folder.parent.iterdir()]) == 2
    store.sweep(console.clock() + timedelta(days=1))
    assert [*stored.folder.parent.iterdir()] == []


async def test_plan_that_moved_is_not_executed(console: ConsoleHarness, browser: Browser):
    """An import follows a check of the same mapping; without one there is none."""
    path = await uploaded(browser)
    assert (await browser.post(f"{path}/run", {"stage": "importing"})).status_code == 409
    (stored,) = store_of(console).every()
    stored.save(stage=ImportStage.CHECKED)
    form = {"stage": "importing", "plan": "2026-01-01T00:00:00+00:00"}
    assert (await browser.post(f"{path}/run", form)).status_code == 409
    for act in ("rows", "corrections", "report"):
        assert (await browser.post(f"{path}/{act}")).status_code == 409
    assert (await browser.post(f"{path}/run", {"stage": "imported"})).status_code == 409


async def test_refused_rows_are_in_the_worklist_of_their_customer(
    console: ConsoleHarness, browser: Browser
):
    """As one item a file, until none is left; another customer does not see it."""
    number = (await uploaded(browser, name="kampanya.csv")).rpartition("/")[2]
    stored = store_of(console).find(number)
    assert stored is not None
    folder, unreadable = console.console.settings.uploads, console.console.unreadable
    left = ReportSummary(outcomes={"NOT_IMPORTED": 3}, reasons=())
    stored.save(stage=ImportStage.IMPORTED, left=left)
    unreadable._files = refused_rows(folder)
    page = (await browser.get("/worklist")).text
    assert "refused rows of the file kampanya.csv" in page
    assert re.search(r'href="/imports/[^"]+">Correct rows</a>', page)
    stranger = await console.signed_in(AccountRole.OPERATOR, [OTHER])
    assert "kampanya" not in (await stranger.get("/worklist")).text
    stored.save(stage=ImportStage.IMPORTED, left=ReportSummary(outcomes={}, reasons=()))
    assert refused_rows(folder) == refused_rows(None) == []


async def test_console_without_a_folder_imports_nothing(ledger: Ledger):
    """The page says which setting names one."""
    async with console_over(ledger) as console:
        browser = await console.signed_in(AccountRole.ADMIN)
        assert "IZIN_CONSOLE_UPLOADS" in (await browser.get("/imports")).text
        assert (await browser.get(f"/imports/{'0' * 32}")).status_code == 403


async def test_mapping_that_nobody_has_or_could_keep_is_refused(browser: Browser, ledger: Ledger):
    """One that is gone, one that is too long to be kept, and numbers that are none."""
    path = await uploaded(browser)
    for form, status in (
        ({"saved": "gone"}, 409),
        ({"save_as": "CRM", "of-0": f"status:{'x' * 120_000}", "word-0": "RET"}, 422),
        ({"header_row": "first"}, 422),
        ({"header_row": "9" * 5000}, 200),
        ({"time_of_day": "noon"}, 422),
    ):
        assert (await browser.post(f"{path}/mapping", form)).status_code == status, form
    assert await mappings.every(ledger, CUSTOMER) == {}
