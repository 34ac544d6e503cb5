"""How many dead letters are too many."""

import pytest

from izin.runtime.dead_letter_budget import DeadLetterBudget, LatestRecords

BUDGET = DeadLetterBudget(share=0.2, window=1000, least=100)


@pytest.mark.parametrize(
    ("suspects", "records", "exceeded"),
    [
        (99, 99, False),  # too few to decide
        (100, 100, True),
        (100, 500, False),  # a fifth exactly
        (101, 500, True),
    ],
)
def test_budget_is_exceeded_above_share_and_least(
    suspects: int, records: int, exceeded: bool
) -> None:
    """A handful is never too many, a fifth is allowed."""
    assert BUDGET.is_exceeded(suspects, records) is exceeded


def test_budget_with_share_of_one_is_unbounded() -> None:
    """The operator confirms that the records are unusable."""
    assert not DeadLetterBudget(share=1).is_exceeded(5000, 5000)


def test_records_before_the_window_are_dropped() -> None:
    """Long good days do not hide a bad deploy, and old poison is forgiven."""
    latest = LatestRecords(BUDGET)
    for _ in range(100):
        latest.add({}, 500)
    assert latest.records == 1000
    assert latest.exceeded_by({"acme/web": 301}, 500) == "acme/web"
    latest.add({"acme/web": 150}, 500)
    latest.add({}, 500)
    latest.add({}, 500)
    assert (+latest.suspects, latest.records) == ({}, 1000)


def test_sources_are_counted_one_by_one() -> None:
    """Ten sources with a few poison records each are no bad deploy."""
    latest = LatestRecords(BUDGET)
    latest.add({"acme/web": 90, "acme/crm": 90}, 100)
    assert latest.exceeded_by({"acme/web": 9, "acme/crm": 9}, 20) is None
    assert latest.exceeded_by({"acme/web": 9, "acme/crm": 10}, 20) == "acme/crm"


def test_batch_wider_than_the_window_counts_whole() -> None:
    """The window is never empty."""
    latest = LatestRecords(BUDGET)
    latest.add({}, 10)
    latest.add({"acme/web": 7}, 5000)
    assert (latest.suspects["acme/web"], latest.records) == (7, 5000)
