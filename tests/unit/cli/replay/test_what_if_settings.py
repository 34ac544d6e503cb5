"""The calendar that the options of a what-if make of the one in force."""

from collections.abc import Sequence
from datetime import date

import pytest

from izin.cli.replay.what_if import settings_of
from izin.consent import Calendar, SourceError
from izin.ledger.record import Brand
from tests.support.builders import BRAND, CUSTOMER

A_DAY, ANOTHER = date(2026, 5, 18), date(2026, 5, 20)
OURS = Brand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek")
CALENDAR = Calendar(extra_closed_days=frozenset({A_DAY}))


def test_options_vary_the_calendar_in_force():
    """Days of the environment, set and taken back; terms of brands stay."""
    before, after = settings_of([OURS], CALENDAR, closed=[ANOTHER], opened=[A_DAY])
    assert (before.closed_days, before.terms) == ({A_DAY}, {BRAND: OURS.clock})
    assert (after.closed_days, after.terms) == ({ANOTHER}, before.terms)


@pytest.mark.parametrize(
    ("closed", "opened", "why"),
    [
        ([], [], "nothing differs"),
        ([A_DAY], [], "nothing differs"),
        ([], [date(2026, 5, 19)], "fixed by law"),
    ],
    ids=["nothing", "closed already", "a public holiday"],
)
def test_options_that_vary_nothing_are_refused(
    closed: Sequence[date], opened: Sequence[date], why: str
):
    """Public holidays are the law's."""
    with pytest.raises(SourceError, match=why):
        settings_of([OURS], CALENDAR, closed=closed, opened=opened)
