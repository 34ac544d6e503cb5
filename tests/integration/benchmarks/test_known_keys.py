"""The benchmark of known keys changes each of its keys once, in bulk."""

import pytest

from benchmarks.sink.known_keys import measure_known_keys
from izin.ledger.unit_of_work import UnitOfWork

pytestmark = pytest.mark.database


async def test_changes_of_known_keys_are_measured(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one of them takes the general path."""

    def one_by_one(*_: object) -> None:
        raise AssertionError("a key was changed one by one")

    monkeypatch.setattr(UnitOfWork, "put", one_by_one)
    found = await measure_known_keys(database_url, keys=2000, changed=900, seen=600)
    assert (found.keys, found.decisions, found.entries) == (2000, 900, 600)
    assert min(found.decided_a_second, found.observed_a_second) > 0
