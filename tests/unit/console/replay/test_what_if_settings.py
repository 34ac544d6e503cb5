"""The settings that the options of a what-if make of those in force."""

from datetime import UTC, date, datetime

import pytest
import typer

from izin.consent.business_days import Calendar
from izin.consent.errors import SourceError
from izin.console.replay.what_if import BrandInstant, VariedSettings, brand_instant
from izin.sinks.record.brand import Brand
from tests.support.builders import BRAND, CUSTOMER

A_DAY, ANOTHER = date(2026, 5, 18), date(2026, 5, 20)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
OURS = Brand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek")
CALENDAR = Calendar(extra_closed_days=frozenset({A_DAY}))


def test_options_vary_the_settings_in_force():
    """Days of the environment and terms of the brands: set and taken back."""
    before, after = VariedSettings(
        closed=[ANOTHER],
        opened=[A_DAY],
        activated=[BrandInstant(BRAND, MAY)],
        loading=[BrandInstant(BRAND, None)],
    ).settings([OURS], CALENDAR)
    assert (before.closed_days, before.terms) == ({A_DAY}, {BRAND: OURS.clock})
    assert after.closed_days == {ANOTHER}
    assert after.terms[BRAND].activated_at == MAY


@pytest.mark.parametrize(
    ("varied", "why"),
    [
        (VariedSettings(), "nothing differs"),
        (VariedSettings(closed=[A_DAY]), "nothing differs"),
        (VariedSettings(opened=[date(2026, 5, 19)]), "fixed by law"),
        (VariedSettings(activated=[BrandInstant(7, MAY)]), "brand 7 is not registered"),
    ],
    ids=["nothing", "closed already", "a public holiday", "another brand"],
)
def test_options_that_vary_nothing_are_refused(varied: VariedSettings, why: str):
    """Public holidays are the law's, and brands the ledger's."""
    with pytest.raises(SourceError, match=why):
        varied.settings([OURS], CALENDAR)


@pytest.mark.parametrize("text", ["", "100001", "100001=", "acme=2026-05-01", "100001=soon"])
def test_other_than_brand_and_instant_is_wrong_usage(text: str):
    """A brand needs its instant, or that there is none."""
    assert brand_instant("100001=none") == BrandInstant(100001, None)
    assert brand_instant("100001=2026-05-01T03:00").at == MAY
    with pytest.raises(typer.BadParameter):
        brand_instant(text)
