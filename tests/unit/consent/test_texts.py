"""Controls in texts are shown, and written back."""

import json

from izin.consent.texts import as_written, visible


def test_control_is_shown_as_json_writes_it() -> None:
    """Tab and newline stay, and JSON stays JSON of the same value."""
    text = "a\x1b[31m\u202e\tb\n"
    assert visible(text) == "a\\u001b[31m\\u202e\tb\n"
    assert json.loads(visible('"a\x1b"')) == "a\x1b"


def test_text_is_returned_as_it_was_written() -> None:
    """What only looks like a control that was shown stays."""
    for text in ("a\x1b[31m\u202eb", "plain", "\\u0041", "\\u00zz"):
        assert as_written(visible(text)) == text
