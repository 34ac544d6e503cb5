"""Customers and brands in the console: onboarding, rights, suspensions, and whose they are."""

from collections.abc import Mapping
from typing import Any

import pytest

from izin.iys.wire_format import BrandSummary
from izin.ledger import brands, suspensions
from izin.ledger.console.accounts import AccountRole
from izin.ledger.record import Brand
from izin.ledger.registry import application_items, customers, granted
from izin.views.i18n import Language
from tests.integration.web.two_customers import ACME, BETA, REFUSED, acts, hidden_field
from tests.support.console import ConsoleHarness

pytestmark = pytest.mark.database

COMPANY = "1234567890"
"""A VKN whose check digit is right."""
SAME = {"brand": "100001", "iys_code": "200001", "name": "Örnek"}
"""The form of the brand of acme, unchanged."""


async def suspend(console: ConsoleHarness, brand: Brand = ACME) -> None:
    """Have İYS refuse the text messages of a brand for a missing right."""
    async with console.ledger.transaction() as connection:
        await suspensions.suspend(
            *(connection, brand),
            account="ada",
            channel="MESAJ",
            status="*",
            code="H353",
            reason="no right to write MESAJ",
            now=console.clock(),
        )


async def listed_by_iys(console: ConsoleHarness, code: int, iys_code: int) -> None:
    """Have İYS list a brand that is not registered here."""
    summary = BrandSummary(
        brand_code=code, name="Yeni Marka", is_master=False, approvals=0, rejections=0
    )
    await granted.store_own(console.ledger, "ada", iys_code, [summary], now=console.clock())


async def test_list_and_page_have_the_customers_of_the_account(registered: ConsoleHarness):
    """And what each brand may write; in Turkish too."""
    browser = await registered.signed_in(AccountRole.READER)
    shown = (await browser.get("/customers")).text
    assert all(text in shown for text in ("acme", "beta", "Örnek (100001)", "Deneme (100002)"))
    page = (await browser.get("/customers/acme")).text
    assert "ARAMA, MESAJ, EPOSTA" in page
    assert "Deneme" not in page
    assert '<form method="post" action="/customers' not in page
    turkish = await registered.signed_in(AccountRole.ADMIN, language=Language.TURKISH, name="ela")
    assert "İYS başvurusu" in (await turkish.get("/customers/acme")).text


ACTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("details", {"name": "Changed"}),
    ("items", {"item.signatory": "Ada"}),
    ("pack", {}),
    ("brands", {"brand": "100002", "iys_code": "200002", "name": "Changed"}),
    ("rights", {"brand": "100002"}),
    ("retry", {"brand": "100002"}),
)


async def test_customer_that_is_registered_elsewhere_is_seen_by_its_own(registered: ConsoleHarness):
    """At once, though the customers that were read before are kept for some seconds."""
    ledger, now = registered.ledger, registered.clock()
    await (await registered.signed_in(AccountRole.READER, ["acme"])).get("/customers")
    await customers.add(ledger, "gamma", "Gamma", by="ada", now=now)
    own = await registered.signed_in(AccountRole.READER, ["gamma"])
    assert (await own.get("/customers/gamma")).status_code == 200


async def test_other_customer_is_refused_as_one_that_is_not_there(registered: ConsoleHarness):
    """Its page, every act on it, and its brand on the page of one's own; nothing is changed."""
    await suspend(registered, BETA)
    browser = await registered.signed_in(AccountRole.ADMIN, customers=["acme"])
    assert "beta" not in (await browser.get("/customers")).text
    before = await acts(registered.ledger)
    for customer in ("beta", "nobody"):
        answers = [await browser.get(f"/customers/{customer}")]
        answers += [await browser.post(f"/customers/{customer}/{one}", form) for one, form in ACTS]
        assert {one.status_code for one in answers} == {403}
        assert all(REFUSED in one.text for one in answers)
    for what, form in ACTS[3:]:
        assert (await browser.post(f"/customers/acme/{what}", form)).status_code == 403
    strange = {"item.trade-mark:100002": "2019-1"}
    assert (await browser.post("/customers/acme/items", strange)).status_code == 403
    assert (
        await browser.post("/customers", {"customer_id": "new", "name": "New"})
    ).status_code == 403
    assert await acts(registered.ledger) == before


async def test_role_without_the_right_sees_and_changes_nothing(registered: ConsoleHarness):
    """A reader and a compliance officer are refused by every act."""
    await suspend(registered)
    for role in (AccountRole.READER, AccountRole.COMPLIANCE):
        browser = await registered.signed_in(role)
        before = await acts(registered.ledger)
        for what, form in ACTS:
            given = {**form, "brand": "100001"}
            assert (await browser.post(f"/customers/acme/{what}", given)).status_code == 403
        assert await acts(registered.ledger) == before


async def test_customer_is_added_and_changed_by_who_is_signed_in(console: ConsoleHarness):
    """An empty number takes it away; a number that is another's is said."""
    browser = await console.signed_in(AccountRole.OPERATOR, name="ada")
    form = {"customer_id": "acme", "name": "Acme", "kind": "legal", "vkn": COMPANY, "iys_code": "7"}
    added = await browser.post("/customers", form)
    assert "The customer is saved." in added.text
    found = await customers.find(console.ledger, "acme")
    assert (found.name, found.kind, found.vkn, found.iys_code) == ("Acme", "legal", COMPANY, 7)
    assert (await acts(console.ledger))[-1]["by"] == "ada"
    again = await browser.post("/customers", form)
    assert (again.status_code, "choose another" in again.text) == (409, True)
    second = await browser.post("/customers", {**form, "customer_id": "beta"})
    assert "that of acme, too" in second.text
    await browser.post("/customers/acme/details", {"name": "Acme A.Ş.", "kind": "", "vkn": ""})
    found = await customers.find(console.ledger, "acme")
    assert (found.name, found.kind, found.vkn, found.iys_code) == ("Acme A.Ş.", "legal", None, None)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"vkn": "1234567891"}, "numaralardan biri"),
        ({"name": "Ada 10000000146"}, "hiç saklanmaz"),
        ({"customer_id": "a/b"}, "64 harf"),
        ({"name": ""}, "gerekli bir alan"),
        ({"kind": "king"}, "seçeneklerden"),
        ({"iys_code": "-1"}, "rakamla"),
    ],
)
async def test_wrong_customer_is_refused_in_turkish(
    console: ConsoleHarness, form: dict[str, str], said: str
):
    """What is wrong is said, and nothing is stored."""
    browser = await console.signed_in(AccountRole.ADMIN, language=Language.TURKISH)
    refused = await browser.post("/customers", {"customer_id": "acme", "name": "Acme", **form})
    assert refused.status_code == 422
    assert said in refused.text.replace("İ", "i").lower()
    assert await customers.every(console.ledger) == ()


async def test_limited_account_does_not_change_whose_provider_it_is(registered: ConsoleHarness):
    """By it İYS's list says whose brands are: those of another customer would become its own."""
    browser = await registered.signed_in(AccountRole.OPERATOR, customers=["acme"])
    given = {"name": "Acme", "iys_code": "200002"}
    assert (await browser.post("/customers/acme/details", given)).status_code == 200
    assert (await customers.find(registered.ledger, "acme")).iys_code is None


async def test_application_has_what_was_given_and_its_pack(registered: ConsoleHarness):
    """What is missing is said; the pack is a page to print, and counts addresses."""
    browser = await registered.signed_in(AccountRole.OPERATOR, name="ada")
    given = {"item.signature": "alone", "item.trade-mark:100001": "2019-1", "item.signatory": ""}
    page = await browser.post("/customers/acme/items", given)
    assert "2019-1" in page.text
    found = await application_items.of_customer(registered.ledger, "acme")
    assert [(one.item, one.brand_code, one.given_by) for one in found] == [
        ("signature", 0, "ada"),
        ("trade-mark", 100001, "ada"),
    ]
    wrong = await browser.post("/customers/acme/items", {"item.undertaking": "soon"})
    assert (wrong.status_code, "see the example" in wrong.text) == (422, True)
    pack = await browser.post("/customers/acme/pack")
    assert "attachment" in pack.headers["Content-Disposition"]
    assert "İYS başvuru dosyası" in pack.text


async def test_brand_is_registered_and_changed_once_the_plan_is_seen(registered: ConsoleHarness):
    """A name concerns no record, and is changed at once; what does is shown, and shown again where
    it has become something else meanwhile.
    """
    browser = await registered.signed_in(AccountRole.OPERATOR, name="ada")
    new = {"brand": "100003", "iys_code": "200001", "name": "İkinci"}
    assert "The brand is saved." in (await browser.post("/customers/acme/brands", new)).text
    renamed = await browser.post("/customers/acme/brands", {**SAME, "name": "Yeni ad"})
    assert "The brand is saved." in renamed.text
    stop = {**SAME, "stopped": "1", "account": "ada"}
    plan = await browser.post("/customers/acme/brands", stop)
    assert "Change the brand" in plan.text
    assert (await brands.registered_brand(registered.ledger, 100001)).status == "active"
    planned = hidden_field(plan, "planned")
    other = await browser.post(
        "/customers/acme/brands", {**SAME, "planned": planned, "account": "x"}
    )
    assert "has changed since you looked" in other.text
    done = await browser.post("/customers/acme/brands", {**stop, "planned": planned})
    assert "The brand is saved." in done.text
    changed = await brands.registered_brand(registered.ledger, 100001)
    assert (changed.status, changed.account, changed.activated_at) == (
        *("stopped", "ada"),
        ACME.activated_at,
    )
    assert (await acts(registered.ledger))[-1]["by"] == "ada"


async def test_limited_account_registers_what_iys_lists_for_it(registered: ConsoleHarness):
    """Another brand may have records of another customer, which would become its own."""
    browser = await registered.signed_in(AccountRole.OPERATOR, customers=["acme"])
    for code, iys_code in ((100004, 200001), (100005, 200002)):
        await listed_by_iys(registered, code, iys_code)
    page = (await browser.get("/customers/acme")).text
    assert ("100004" in page, "100005" in page) == (True, False)
    for code, iys_code, status in ((100004, 200001, 200), (100005, 200002, 403), (7, 7, 403)):
        form = {"brand": str(code), "iys_code": str(iys_code), "name": "Yeni Marka"}
        assert (await browser.post("/customers/acme/brands", form)).status_code == status


async def test_brand_of_another_customer_is_not_moved(registered: ConsoleHarness):
    """Whoever sees both reads by which command it is."""
    browser = await registered.signed_in(AccountRole.ADMIN)
    form = {"brand": "100002", "iys_code": "200002", "name": "Deneme"}
    refused = await browser.post("/customers/acme/brands", form)
    assert (refused.status_code, "izin brands add" in refused.text) == (422, True)
    assert (await brands.registered_brand(registered.ledger, 100002)).customer_id == "beta"


async def test_rights_are_changed_once_the_plan_is_seen(registered: ConsoleHarness):
    """With how much waits for it; what somebody has changed meanwhile is shown again."""
    browser = await registered.signed_in(AccountRole.OPERATOR, name="ada")
    form = {"brand": "100001", "type": ["ARAMA", "EPOSTA"]}
    plan = await browser.post("/customers/acme/rights", form)
    assert "MESAJ: write -&gt; no; 0 opt-outs and 0 consents wait" in plan.text
    planned = hidden_field(plan, "planned")
    await suspensions.set_rights(registered.ledger, 100001, [], by="x", now=registered.clock())
    again = await browser.post("/customers/acme/rights", {**form, "planned": planned})
    assert "has changed since you looked" in again.text
    form["planned"] = hidden_field(again, "planned")
    assert "has these rights" in (await browser.post("/customers/acme/rights", form)).text
    found = await suspensions.every(registered.ledger)
    assert [one.channel for one in found] == ["MESAJ"]
    assert (await acts(registered.ledger))[-1]["by"] == "ada"


async def test_suspension_is_shown_with_its_remedy_and_tried(registered: ConsoleHarness):
    """Not one that a person declared: others have to act first."""
    await suspend(registered)
    browser = await registered.signed_in(AccountRole.OPERATOR, name="ada")
    page = (await browser.get("/customers/acme")).text
    assert "have İYS give back the right to write MESAJ" in page
    assert "Try now" in page
    tried = await browser.post("/customers/acme/retry", {"brand": "100001"})
    assert "is sent now" in tried.text
    assert (await acts(registered.ledger))[-1]["act"] == "retry suspension MESAJ/*"
    idle = await browser.post("/customers/beta/retry", {"brand": "100002"})
    assert idle.status_code == 409
