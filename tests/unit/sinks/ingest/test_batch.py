"""The size of the next batch of decisions."""

import pytest

from izin.sinks.ingest.batch import BATCH, FEW, most_after


@pytest.mark.parametrize(
    ("ruled", "of", "most"),
    [
        (0, 0, BATCH),
        (0, BATCH, BATCH),
        (FEW, BATCH, BATCH),
        (FEW + 1, BATCH, FEW),
        (FEW, FEW, FEW),
        (FEW // 2, FEW, FEW),
        (1, FEW, BATCH),
    ],
)
def test_most_after_limits_batches_of_known_keys(ruled: int, of: int, most: int) -> None:
    """The next batch is expected to be like the last one, whatever its size."""
    assert most_after(ruled, of) == most
