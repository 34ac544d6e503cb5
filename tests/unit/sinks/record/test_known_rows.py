"""What becomes of rows in many cases is as it was read and agreed to."""

import json

from tests.unit.sinks.record import known_rows


def test_rows_become_what_they_became():
    """Where this is meant to differ: ``python -m tests.unit.sinks.record.known_rows``."""
    expected = json.loads(known_rows.FILE.read_text(encoding="utf-8"))
    found = known_rows.known()
    assert found.keys() == expected.keys()
    assert [name for name, one in found.items() if one != expected[name]] == []
