"""The application pack: what a provider registers, the checklist, the page.

İYS is asked about the opt-ins that nobody is known to have registered, a thousand at a time.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from time import monotonic

import pytest

from izin.consent import Registered
from izin.iys.errors import MisconfiguredError, RefusedError
from izin.ledger.record import NationalIdError
from izin.ledger.registry.application_items import (
    OF_BRANDS,
    ApplicationItem,
    GivenItem,
    ItemFormError,
    NewItem,
)
from izin.ledger.registry.customers import Customer, PersonKind
from izin.onboarding.address_book import (
    AddressBook,
    AddressCount,
    IysQuery,
    StoredKey,
    requests_to_ask,
)
from izin.onboarding.pack import (
    ApplicationPack,
    checklist,
    page_of,
    providers_of,
)
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.request_budget import RequestBudget
from tests.support.builders import CUSTOMER, EMAIL, NOON, PHONE
from tests.unit.onboarding.test_preview import ACTIVE, BRANDS, LOADING, a_record, noted

ACME = Customer(
    customer_id=CUSTOMER,
    name="Örnek <Ticaret> A.Ş.",
    created_at=NOON,
    brake_share=None,
    brake_at_least=None,
    kind=PersonKind.LEGAL,
    mersis="0123456789000015",
    iys_code=200001,
)
NATIONAL_ID = "10000000146"
"""Obviously made up, and its check digits are right."""


def items(*left_out: str, **values: str) -> list[GivenItem]:
    """Return every item as given, but for some."""
    return [
        GivenItem(
            item=item,
            brand_code=code,
            value=values.get(item, "jointly" if item == "signature" else "verildi"),
            given_by="ada",
            given_at=NOON,
        )
        for item in ApplicationItem
        for code in (BRANDS if item in OF_BRANDS else [0])
        if item not in left_out
    ]


def a_pack(given: Collection[GivenItem] = (), customer: Customer = ACME) -> ApplicationPack:
    """Return the pack of two brands with these items."""
    counts = {
        LOADING: AddressCount(phones=100_000, emails=60_000),
        ACTIVE: AddressCount(phones=1, emails=0),
    }
    return ApplicationPack(
        customer=customer,
        brands=BRANDS,
        counts=counts,
        counted_in=(),
        providers=providers_of(BRANDS, counts),
        checklist=checklist(customer, BRANDS.values(), given),
        made_at=NOON,
    )


def test_provider_has_the_addresses_of_all_its_brands():
    """And what its subscription does not allow is refused by İYS (H525)."""
    (found,) = a_pack().providers
    assert (found.addresses, found.is_above_threshold, found.beyond_limit) == (160_001, True, 0)
    limited = {code: replace(one, consent_limit=150_000) for code, one in BRANDS.items()}
    (found,) = providers_of(limited, a_pack().counts)
    assert (found.limit, found.beyond_limit) == (150_000, 10_001)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (items(), []),
        (items("second-signatory"), ["second-signatory"]),
        (items("second-signatory", signature="alone"), []),
        (items("signature", "second-signatory"), ["signature"]),
        (items("trade-mark"), [f"trade-mark:{LOADING}", f"trade-mark:{ACTIVE}"]),
        (items("undertaking", "opt-out-url"), ["undertaking", "opt-out-url"]),
    ],
)
def test_missing_items_are_named(given: list[GivenItem], missing: list[str]):
    """The second signatory only where they sign jointly; a trade mark for each brand."""
    assert [one.name for one in a_pack(given).missing] == missing


def test_mersis_number_is_missing_of_a_company_alone():
    """That of a natural person begins with the T.C. number: the customer enters it at İYS."""
    company = replace(ACME, mersis=None)
    assert [one.name for one in a_pack(items(), company).missing] == ["mersis"]
    merchant = replace(company, kind=PersonKind.MERCHANT)
    assert a_pack(items(), merchant).missing == ()


def test_national_id_is_refused_as_an_item():
    """Wherever it stands in the value."""
    with pytest.raises(NationalIdError):
        NewItem(item=ApplicationItem.SIGNATORY, value=f"Ada Örnek {NATIONAL_ID}")


@pytest.mark.parametrize(
    ("item", "right", "wrong"),
    [
        ("signature", ["alone", "jointly"], ["birlikte"]),
        ("undertaking", ["2026-03-02"], ["dün", "02.03.2026", "2026-02-30", "20260302"]),
        ("authorisation", ["2026-03-03"], ["evet"]),
        (
            "opt-out-number",
            ["08500000000", "0850 000 00 00", "(0212) 000 00 00", "+90-850-0000000", "4440000"],
            ["ret", "12", "0850 yazın", "0" * 16],
        ),
        (
            "opt-out-url",
            ["https://example.com/ret", "http://ret.example"],
            ["ret", "example.com/ret", "javascript:ret()", "https://", "https://[", "https://a b"],
        ),
        ("opt-out-sms", ["RET yazıp 0000"], []),
    ],
)
def test_item_has_the_form_of_what_it_is(item: str, right: list[str], wrong: list[str]):
    """An empty value takes it away, and a wrong one is named with a right one."""
    for value in (*right, ""):
        assert NewItem(item=ApplicationItem(item), value=value).value == value
    for value in wrong:
        with pytest.raises(ItemFormError, match=f"^{item} is "):
            NewItem(item=ApplicationItem(item), value=value)


def test_page_has_days_and_numbers_as_turkish_writes_them():
    """Also where a value was noted before its form was checked."""
    limited = {code: replace(one, consent_limit=150_000) for code, one in BRANDS.items()}
    given = items(undertaking="2026-03-02", authorisation="imzalı")
    pack = replace(a_pack(given), providers=providers_of(limited, a_pack().counts))
    text = page_of(pack).decode()
    for words in ("02.03.2026", "imzalı", "en fazla 150.000 adres", "10.001 adres sığmaz"):
        assert words in text, words


def test_page_names_counts_and_what_is_missing():
    """In Turkish, with Turkish numbers; what people typed is no markup."""
    text = page_of(a_pack(items("undertaking", signatory="Ada <b>Örnek"))).decode()
    assert "Örnek &lt;Ticaret&gt; A.Ş." in text
    assert "Ada &lt;b&gt;Örnek" in text
    for shown in ("160.000", "160.001", "üzerinde", "müşterek"):
        assert shown in text, shown
    assert "1 belge veya bilgi eksik" in text
    assert text.count("EKSİK") == 1
    assert "<script" not in text
    assert "Belge ve bilgiler tamam." in page_of(a_pack(items())).decode()


REFUSED = "+905550000003"


class FakeIys:
    """An İYS that holds one consent, refuses one recipient, and may refuse to be asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, str, list[str]]] = []

    async def statuses(
        self,
        path: object,
        channel: object,
        _recipient_type: object,
        recipients: Iterable[str],
        *,
        call_class: object,  # noqa: ARG002  # of the real one
    ) -> frozenset[str]:
        """Return who is at ONAY."""
        self.asked.append((str(path), str(channel), list(recipients)))
        if self.error is not None:
            raise self.error
        if REFUSED in recipients:
            raise RefusedError("no recipient")
        return frozenset({PHONE, EMAIL})


def a_query(iys: FakeIys) -> IysQuery:
    """Return what asks ``iys``, without pauses."""
    budget = RequestBudget(10**6, clock=monotonic)
    query = PageQuery(client=iys, clock=lambda: NOON, budget=budget)  # type: ignore[arg-type]
    return IysQuery(query=query)


async def test_iys_is_asked_group_by_group_about_what_is_not_known():
    """Opt-outs and what the ledger knows are left out; one bad recipient harms only itself."""
    numbers = [PHONE, "+905550000002", REFUSED, "+905550000004", "+905550000005"]
    with AddressBook() as book:
        noted(
            book,
            *(a_record(event_id=one, recipient=one) for one in numbers),
            a_record(type="EPOSTA", recipient=EMAIL, brand_code=ACTIVE),
            a_record(status="RET", recipient="+905550000009"),
        )
        keys = {one.recipient: one.number for page in book.pages(10) for one in page}
        known = [(Registered.RET, keys[numbers[3]]), (Registered.ONAY, keys[numbers[4]])]
        book.note_ledger(StoredKey(str(value), None, None, number) for value, number in known)
        assert requests_to_ask(book) == 2
        iys = FakeIys()
        assert await a_query(iys)(book, BRANDS) == 1
        assert {path for path, _, _ in iys.asked} == {
            f"/sps/200001/brands/{code}" for code in BRANDS
        }
        asked = [one for _, _, recipients in iys.asked for one in recipients]
        assert set(asked) == {PHONE, "+905550000002", REFUSED, EMAIL}
        held = {
            record.key.recipient: book.holds_onay(record.key)
            for record in (a_record(), a_record(recipient="+905550000002"))
        }
        assert held == {PHONE: True, "+905550000002": False}
        assert requests_to_ask(book) == 1


async def test_iys_that_does_not_let_us_ask_is_an_error():
    """A missing right is named at once, and not asked again."""
    with AddressBook() as book:
        noted(book, a_record())
        iys = FakeIys(MisconfiguredError("no right"))
        with pytest.raises(MisconfiguredError, match="no right"):
            await a_query(iys)(book, BRANDS)
        assert len(iys.asked) == 1
