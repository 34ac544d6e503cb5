"""The settings of a what-if, cut to the brands that it concerns."""

from izin.consent.due_dates import BrandTerms
from izin.replay.what_if.settings import LawSettings
from tests.support.builders import BRAND, CUSTOMER


def test_settings_within_brands_have_nothing_of_others():
    """Neither terms of their brands nor what is set for their merchants; days are everybody's."""
    both = frozenset({CUSTOMER, "beta"})
    whole = LawSettings(
        terms={BRAND: BrandTerms(), BRAND + 1: BrandTerms()},
        merchants_apart=both,
        unregistered_merchants=both,
    )
    ours = whole.within({BRAND: CUSTOMER})
    assert "beta" not in repr(ours.as_json())
    assert ours == LawSettings(
        terms={BRAND: BrandTerms()},
        merchants_apart=frozenset({CUSTOMER}),
        unregistered_merchants=frozenset({CUSTOMER}),
    )
