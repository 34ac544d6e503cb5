"""An address that fails too often takes care long before İYS takes it off its list."""

import pytest

from izin.iys.rate_limit import CallClass, HourLimit, Reputation, ReputationPolicy


@pytest.mark.parametrize(
    ("calls", "failures", "standing"),
    [
        (0, 0, Reputation.GOOD),
        (9_999, 9_999, Reputation.GOOD),
        (10_000, 2_000, Reputation.GOOD),
        (10_000, 2_001, Reputation.WARNING),
        (10_000, 2_500, Reputation.WARNING),
        (10_000, 2_501, Reputation.CRITICAL),
    ],
)
def test_success_rate_of_a_day_decides(calls: int, failures: int, standing: Reputation):
    """From half of İYS's number of calls on, and well above its threshold of 70 %."""
    assert ReputationPolicy().of(calls, failures) is standing


def test_address_without_good_reputation_is_slower():
    """Half the pace, in both."""
    fastest = [ReputationPolicy().fastest(one) for one in Reputation]
    assert fastest == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("call_class", CallClass)
def test_last_fifth_of_an_hour_is_for_opt_outs(call_class: CallClass):
    """Other classes stop at four fifths."""
    room = HourLimit(calls=1000).room(call_class)
    assert room == (1000 if call_class is CallClass.RET else 800)
