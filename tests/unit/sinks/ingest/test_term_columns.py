"""Terms that are computed by the day are those of each event."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from izin.consent.business_days import TURKEY_CALENDAR
from izin.consent.due_dates import due_and_expiry
from izin.consent.model import Status
from izin.sinks.ingest.bulk_rows import TermColumns
from izin.sinks.ledger.db import copy_format
from izin.sinks.record.brand import Brand
from tests.support.builders import BRAND, CUSTOMER, NOON

BRANDS = [
    Brand(
        brand_code=BRAND,
        iys_code=1,
        customer_id=CUSTOMER,
        name="Örnek",
        activated_at=activated_at,
        loading_deadline=deadline,
    )
    for activated_at in (None, NOON - timedelta(days=900), NOON + timedelta(days=9))
    for deadline in (None, NOON, NOON + timedelta(days=30))
]
_INSTANTS = st.datetimes(datetime(2014, 1, 1), datetime(2026, 6, 1)) | st.sampled_from(  # noqa: DTZ001  # made aware below
    [datetime(2026, 3, 19, 20, 59, 59, 999_999), datetime(2026, 3, 19, 21)]  # noqa: DTZ001  # as above
)


@given(st.sampled_from(BRANDS), st.sampled_from(Status), st.lists(_INSTANTS, min_size=1))
def test_terms_by_the_day_equal_terms_of_each_event(
    brand: Brand, status: Status, instants: list[datetime]
) -> None:
    """On business days, half days and others; active brands, and those that are loaded."""
    terms = TermColumns(now=NOON, calendar=TURKEY_CALENDAR)
    for instant in instants:
        at = instant.replace(tzinfo=UTC)
        due, expires = due_and_expiry(at, brand.clock, status=status, now=NOON)
        columns = copy_format.moment(due) + copy_format.moment(expires)
        has_ended = expires is not None and expires < NOON
        assert terms.at(brand, status, copy_format.microseconds(at)) == (columns, has_ended)
