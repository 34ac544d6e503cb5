"""The settings that the options of a what-if make of those in force."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
import typer

from izin.consent.business_days import Calendar
from izin.consent.errors import SourceError
from izin.console.replay.what_if_settings import BrandInstant, VariedSettings, brand_instant
from izin.sinks.record.brand import Brand
from tests.support.builders import BRAND, CUSTOMER

A_DAY, ANOTHER = date(2026, 5, 18), date(2026, 5, 20)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
OURS = Brand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek")
CALENDAR = Calendar(extra_closed_days=frozenset({A_DAY}))


def varied(**options: Any) -> VariedSettings:  # noqa: ANN401  # a pair of options each
    """Return what options vary; by default nothing."""
    none = (None, None)
    given: dict[str, Any] = {"days": none, "terms": none, "apart": none, "free": none}
    return VariedSettings.of(**given | options)


def test_options_vary_the_settings_in_force(monkeypatch: pytest.MonkeyPatch):
    """Days of the environment, terms of the brands, customers of the gate: set and taken back."""
    monkeypatch.setenv("IZIN_GATE_MERCHANTS_APART", '["acme"]')
    before, after = varied(
        days=([ANOTHER], [A_DAY]),
        terms=([BrandInstant(BRAND, MAY)], [BrandInstant(BRAND, None)]),
        apart=(["beta"], ["acme"]),
        free=(["beta"], None),
    ).settings([OURS], CALENDAR)
    assert (before.closed_days, before.merchants_apart) == ({A_DAY}, {"acme"})
    assert before.terms == {BRAND: OURS.clock}
    assert (after.closed_days, after.merchants_apart) == ({ANOTHER}, {"beta"})
    assert after.unregistered_merchants == {"beta"}
    assert after.terms[BRAND].activated_at == MAY


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "nothing differs"),
        ({"days": ([A_DAY], None)}, "nothing differs"),
        ({"days": (None, [date(2026, 5, 19)])}, "fixed by law"),
        ({"terms": ([BrandInstant(7, MAY)], None)}, "brand 7 is not registered"),
    ],
    ids=["nothing", "closed already", "a public holiday", "another brand"],
)
def test_options_that_vary_nothing_are_refused(options: dict[str, Any], why: str):
    """Public holidays are the law's, and brands the ledger's."""
    with pytest.raises(SourceError, match=why):
        varied(**options).settings([OURS], CALENDAR)


@pytest.mark.parametrize("text", ["", "100001", "100001=", "acme=2026-05-01", "100001=soon"])
def test_other_than_brand_and_instant_is_wrong_usage(text: str):
    """A brand needs its instant, or that there is none."""
    assert brand_instant("100001=none") == BrandInstant(100001, None)
    assert brand_instant("100001=2026-05-01T03:00").at == MAY
    with pytest.raises(typer.BadParameter):
        brand_instant(text)
