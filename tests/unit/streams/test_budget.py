"""How many dead letters are too many."""

import pytest

from izin.streams.budget import DeadLetterBudget, LatestRecords

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
        latest.add(0, 500)
    assert latest.records == 1000
    assert latest.would_exceed(301, 500)
    latest.add(150, 500)
    latest.add(0, 500)
    latest.add(0, 500)
    assert (latest.suspects, latest.records) == (0, 1000)


def test_batch_wider_than_the_window_counts_whole() -> None:
    """The window is never empty."""
    latest = LatestRecords(BUDGET)
    latest.add(0, 10)
    latest.add(7, 5000)
    assert (latest.suspects, latest.records) == (7, 5000)
