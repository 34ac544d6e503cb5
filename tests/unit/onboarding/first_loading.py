"""A first loading of two brands: one in its first loading, one that İYS activated long ago."""

from datetime import UTC, datetime, timedelta

from izin.consent import TURKEY_CALENDAR
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.ledger.record import Brand
from izin.onboarding.address_book import AddressBook
from izin.onboarding.preview import BookReview, FirstLoading, LawfulReview, Limits, review_of
from izin.producers.mapping.records import AcceptedRecord, judge
from tests.support.builders import BRAND, CUSTOMER, NOON, an_event

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
    fields: dict[str, object] = {
        "brands": BRANDS,
        "limits": LIMITS,
        "now": NOON,
    }
    return FirstLoading(**fields | overrides)  # type: ignore[arg-type]


def a_record(**overrides: object) -> AcceptedRecord:
    """Return a record that would be published, received at noon."""
    event = an_event(**{"consent_date": YESTERDAY, "received_at": NOON, **overrides})
    found = judge(event, DIRECTORY.get(event.brand_code), (), received_at=NOON)
    assert isinstance(found, AcceptedRecord), found
    return found


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
