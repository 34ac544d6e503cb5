"""The benchmark of redriven letters measures correctly, on few of them."""

import pytest

from benchmarks.worker.redrive import redrive


@pytest.mark.broker
@pytest.mark.database
def test_every_letter_comes_back_once(kafka: str, empty_database: str) -> None:
    """The preview is the result, and what is newer stands."""
    found = redrive(letters=70, partitions=1, bootstrap_servers=kafka, database_url=empty_database)
    assert not found.failures
    assert found.data["result"] == {"applied": 56, "stale": 14}
    assert found.figures["redrive"]
