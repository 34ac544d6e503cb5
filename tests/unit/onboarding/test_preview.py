"""What İYS would take beside what is lawful, and how long it takes.

A first loading of two brands: one in its first loading, one that İYS activated long ago.
The application pack: what a provider registers, the checklist, the page.

İYS is asked about the opt-ins that nobody is known to have registered, a thousand at a time.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from izin.consent import TURKEY_CALENDAR, Registered, Status
from izin.consent.forecast import DueGroup
from izin.iys.errors import MisconfiguredError
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.ledger.brands import OtherBrandsError
from izin.ledger.record import Brand, NationalIdError
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
    LaneCount,
    StoredKey,
    requests_to_ask,
)
from izin.onboarding.pack import (
    ApplicationPack,
    checklist,
    page_of,
    providers_of,
)
from izin.onboarding.preview import (
    BookReview,
    FirstLoading,
    LawfulReview,
    Limits,
    LoadingPreview,
    check_brands,
    loading_time,
    preview,
    review_of,
)
from izin.producers.mapping.records import AcceptedRecord, judge
from tests.support.builders import BRAND, CUSTOMER, EMAIL, NOON, PHONE, an_event
from tests.unit.reconcile.test_judging import REFUSED, FakeIys, pages_of

LOADING, ACTIVE = BRAND, BRAND + 1
ENDS_AT = NOON + timedelta(days=30)
LIMITS = Limits(
    requests_per_second=10,
    batch_size=1000,
    result_delay=timedelta(seconds=300),
    sweep_share=0.2,
)
YESTERDAY, LONG_AGO = NOON - timedelta(days=1), NOON - timedelta(days=400)
BEFORE_IYS = datetime(2019, 3, 4, 9, tzinfo=UTC)


def a_brand(code: int) -> Brand:
    """Return one of the two brands."""
    is_active = code == ACTIVE
    return Brand(
        brand_code=code,
        iys_code=200001,
        customer_id=CUSTOMER,
        name="Örnek",
        activated_at=datetime(2020, 1, 1, tzinfo=UTC) if is_active else None,
        loading_deadline=None if is_active else ENDS_AT,
    )


BRANDS = {code: a_brand(code) for code in (LOADING, ACTIVE)}
DIRECTORY = BrandDirectory(
    RegisteredBrand(
        brand_code=one.brand_code,
        iys_code=one.iys_code,
        customer_id=one.customer_id,
        name=one.name,
        activated_at=one.activated_at,
        loading_deadline=one.loading_deadline,
    )
    for one in BRANDS.values()
)


def a_loading(**overrides: object) -> FirstLoading:
    """Return the loading of both brands at noon."""
    return FirstLoading(
        **{
            "brands": BRANDS,
            "limits": LIMITS,
            "now": NOON,
        }
        | overrides
    )  # type: ignore[arg-type]


def a_record(**overrides: object) -> AcceptedRecord:
    """Return a record that would be published, received at noon."""
    event = an_event(**{"consent_date": YESTERDAY, "received_at": NOON, **overrides})
    return judge(event, DIRECTORY.get(event.brand_code), (), received_at=NOON)


def noted(book: AddressBook, *records: AcceptedRecord) -> AddressBook:
    """Return ``book`` with these records."""
    review = BookReview(book=book, directory=DIRECTORY, now=NOON)
    for one in records:
        assert review(one) == ()
    book.finish()
    return book


def reviewed(book: AddressBook, loading: FirstLoading) -> LawfulReview:
    """Return what decides about the rows of ``book``."""
    return review_of(book, BRANDS, now=loading.now, calendar=TURKEY_CALENDAR)


@pytest.fixture
def book() -> Iterator[AddressBook]:
    with AddressBook() as book:
        yield book


def lane(book: AddressBook, brand_code: int, **loading: object) -> LaneCount:
    """Return what the loading counts for one brand, of one channel."""
    found = judged(book, a_loading(**loading))
    (lane,) = [one for one in found.lanes if one.brand_code == brand_code]
    return lane


@pytest.mark.parametrize(
    ("brand", "given_at", "taken", "lawful"),
    [
        (LOADING, YESTERDAY, 1, 1),
        (LOADING, LONG_AGO, 1, 0),
        (LOADING, BEFORE_IYS, 1, 0),
        (ACTIVE, YESTERDAY, 1, 1),
        (ACTIVE, LONG_AGO, 0, 0),
        (ACTIVE, BEFORE_IYS, 0, 0),
    ],
)
def test_iys_takes_more_than_is_lawful_before_activation(
    book: AddressBook, brand: int, given_at: object, taken: int, lawful: int
):
    """After the activation both columns are the same."""
    noted(book, a_record(brand_code=brand, consent_date=given_at))
    found = lane(book, brand)
    assert (found.taken, found.lawful, found.void) == (taken, lawful, 1 - lawful)
    assert found.to_send == lawful


def test_latest_row_of_a_key_counts(book: AddressBook):
    """In whatever order they come; the others are duplicates, and an opt-out wins its second."""
    noted(
        book,
        a_record(event_id="3", status="RET", consent_date=YESTERDAY),
        a_record(event_id="1", consent_date=YESTERDAY),
        a_record(event_id="2", consent_date=LONG_AGO),
        a_record(event_id="4", recipient="+905550000002"),
    )
    found = lane(book, LOADING)
    assert (found.rows, found.keys, found.duplicates) == (4, 2, 2)
    assert (found.opt_outs, found.consents, found.to_send) == (1, 1, 1)


def test_what_is_known_of_a_key_is_not_sent_again(book: AddressBook):
    """What İYS holds, whose recipient opted out, and what the ledger has already."""
    numbers = [f"+90555000000{one}" for one in range(5)]
    noted(book, *(a_record(event_id=one, recipient=one) for one in numbers))
    keys = {one.recipient: one.number for page in book.pages(2) for one in page}
    stored = [
        (Registered.ONAY, "ONAY", LONG_AGO),
        (Registered.RET, "RET", LONG_AGO),
        (Registered.UNKNOWN, "ONAY", YESTERDAY),
        (Registered.UNKNOWN, "ONAY", LONG_AGO),
    ]
    book.note_ledger(
        StoredKey(str(registered), desired, at, keys[number])
        for number, (registered, desired, at) in zip(numbers, stored, strict=False)
    )
    found = lane(book, LOADING)
    assert (found.held, found.refused, found.stored, found.in_ledger) == (1, 1, 1, 4)
    assert (found.lawful, found.to_send) == (5, 2)
    book.note_iys([(Registered.ONAY, keys[numbers[4]]), (Registered.NOT_ONAY, keys[numbers[3]])])
    found = lane(book, LOADING)
    assert (found.held, found.to_send, found.asked, found.in_ledger) == (2, 1, 2, 3)


def test_void_consent_that_iys_holds_is_lawful(book: AddressBook):
    """It was registered in time then: it is published, and nothing is sent."""
    old = a_record(consent_date=BEFORE_IYS)
    void = a_record(consent_date=LONG_AGO, recipient="+905550000002")
    noted(book, old, void)
    review = reviewed(book, a_loading())
    codes = [[one.code for one in review(record)] for record in (old, void)]
    assert codes == [["IZIN-TRANSFER-ENDED"], ["IZIN-VOID"]]
    ((page,),) = [list(book.pages(10))]
    book.note_iys((Registered.ONAY, one.number) for one in page)
    assert [review(record) for record in (old, void)] == [(), ()]
    found = lane(book, LOADING)
    assert (found.lawful, found.void, found.held, found.to_send) == (2, 0, 2, 0)


def test_review_names_the_day_on_which_a_consent_became_void(book: AddressBook):
    """By its own term, and by the general transfer of a provider of that size."""
    noted(book)
    review = reviewed(book, a_loading())
    for addresses, given, day in (
        (10, {"consent_date": LONG_AGO}, "29.01.2025"),
        (10, {"consent_date": BEFORE_IYS}, "31.05.2021"),
        (150_001, {"consent_date": BEFORE_IYS}, "31.12.2020"),
    ):
        of_size = replace(review, addresses=dict.fromkeys(BRANDS, addresses))
        (found,) = of_size(a_record(**given))
        assert day in found.reason_tr
    assert review(a_record(consent_date=LONG_AGO, status="RET")) == ()


def test_row_of_another_brand_refuses_the_files(book: AddressBook):
    """Nothing is published for a customer whose brand it is not, or that was not named."""
    noted(book, a_record(brand_code=LOADING), a_record(brand_code=ACTIVE))
    check_brands(book, CUSTOMER, BRANDS)
    with pytest.raises(OtherBrandsError, match=str(ACTIVE)):
        check_brands(book, CUSTOMER, {LOADING: BRANDS[LOADING]})


def test_addresses_are_counted_over_all_brands_of_a_provider(book: AddressBook):
    """Distinct within a brand; phones of two channels are one address."""
    noted(
        book,
        a_record(type="ARAMA"),
        a_record(type="MESAJ"),
        a_record(type="EPOSTA", recipient="ada@example.com"),
        a_record(type="MESAJ", status="RET", recipient="+905550000009"),
        a_record(brand_code=ACTIVE),
    )
    counted = book.addresses()
    assert (counted[LOADING].phones, counted[LOADING].emails, counted[LOADING].total) == (1, 1, 2)
    assert counted[ACTIVE].total == 1
    assert dict(reviewed(book, a_loading()).addresses) == {LOADING: 3, ACTIVE: 3}


@pytest.mark.parametrize(
    ("to_send", "waiting", "requests", "seconds"),
    [
        (0, 0, 0, 0),
        (1, 0, 1, 300.1),
        (1001, 0, 2, 300.2),
        (1_000_000, 0, 1000, 400),
        (1_000_000, 3_000_000, 1000, 800),
    ],
)
def test_loading_takes_its_requests_or_the_last_result(
    to_send: int, waiting: int, requests: int, seconds: float
):
    """At İYS's ten requests a second; what waits already only makes it take longer."""
    groups = [group(waiting)] if waiting else []
    found = loading_time([a_lane(to_send=to_send)], [], groups, LIMITS, now=NOON)
    assert (found.submissions, found.results) == (requests, requests)
    assert found.takes == timedelta(seconds=seconds)


def test_opt_outs_are_asked_about_and_withdrawn(book: AddressBook):
    """A thousand of unknown state in a request; one alone is sent; those held go by batch."""
    many = a_lane(opt_outs=2500, opt_outs_held=500)
    found = loading_time([many, a_lane(opt_outs=1)], [], [], LIMITS, now=NOON)
    assert (found.submissions, found.queries, found.results) == (2, 2, 1)


def test_deadline_of_a_brand_that_cannot_hold_is_named(book: AddressBook):
    """Against the end of its first loading; a brand that is active has no such deadline."""
    noted(book, a_record(), a_record(brand_code=ACTIVE))
    for now, missed in ((NOON, ()), (ENDS_AT - timedelta(seconds=200), (LOADING,))):
        found = judged(book, a_loading(now=now), [group(10**9)] if missed else [])
        assert found.missed == missed
        assert found.loading_ends == {LOADING: ENDS_AT, ACTIVE: None}


def test_consent_that_becomes_void_before_its_turn_is_lost(book: AddressBook):
    """Its lawful term ends before İYS's: the forecast counts by it."""
    noted(book, a_record(consent_date=YESTERDAY))
    loading = a_loading()
    behind = group(100_000_000, due_at=YESTERDAY)
    found = judged(book, loading, [behind])
    assert found.time.forecast.lost == 0
    loading = a_loading(limits=replace(LIMITS, requests_per_second=0.1))
    found = judged(book, loading, [behind])
    assert found.time.forecast.lost == 1


def test_consents_of_others_that_become_void_are_not_counted(book: AddressBook):
    """A customer's forecast says nothing of what another's backlog loses."""
    noted(book, a_record(consent_date=YESTERDAY))
    others = group(10**9, due_at=NOON, expires_at=NOON)
    found = judged(book, a_loading(), [others])
    assert (found.time.forecast.lost, found.time.forecast.first_lost_at) == (0, None)
    assert not found.is_short


def judged(
    book: AddressBook, loading: FirstLoading, waiting: list[DueGroup] | None = None
) -> LoadingPreview:
    """Return what a loading would do."""
    reviewed(book, loading)
    return preview(book, loading, waiting or [])


def group(count: int, **overrides: object) -> DueGroup:
    """Return what waits for İYS already."""
    return DueGroup(
        status=Status.ONAY, count=count, **{"due_at": None, "expires_at": None} | overrides
    )  # type: ignore[arg-type]


def a_lane(**counts: int) -> LaneCount:
    """Return the counts of a lane, zero but for those given."""
    names = LaneCount.__dataclass_fields__.keys() - {"brand_code", "channel"}
    return LaneCount(
        brand_code=LOADING, channel="MESAJ", **{one: counts.get(one, 0) for one in names}
    )


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
        iys = FakeIys(held=[PHONE, EMAIL])
        assert await IysQuery(query=pages_of(iys, 10**6))(book, BRANDS) == 1
        assert {path for path, *_ in iys.asked} == {f"/sps/200001/brands/{code}" for code in BRANDS}
        asked = [one for _, _, recipients, _ in iys.asked for one in recipients]
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
            await IysQuery(query=pages_of(iys))(book, BRANDS)
        assert len(iys.asked) == 1
