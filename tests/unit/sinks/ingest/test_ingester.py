"""How much the ingester takes at once."""

import pytest

from izin.sinks.ingest.ingester import BATCH, FEW, most_after


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
def test_as_few_as_are_ruled_one_by_one_in_a_moment(ruled: int, of: int, most: int) -> None:
    """What held of the batch before is taken to hold of the next, whatever its size: small batches
    of known keys are followed by small ones.
    """
    assert most_after(ruled, of) == most
