"""What becomes of rows in many cases is as it was read and agreed to."""

import json

import pytest

from tests.unit.sinks.record import known_rows

EXPECTED = json.loads(known_rows.FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    """Provide every case of today."""
    return known_rows.known()


def test_the_same_cases_are_known(found: dict[str, object]):
    """None was left out."""
    assert found.keys() == EXPECTED.keys()


def test_rows_become_what_they_became(found: dict[str, object]):
    """Where this is meant to differ: ``python -m tests.unit.sinks.record.known_rows``."""
    assert [name for name, one in found.items() if one != EXPECTED.get(name)] == []
