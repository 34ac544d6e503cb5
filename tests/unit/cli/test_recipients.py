"""Recipients come from a file or from standard input, so that no shell remembers them."""

import io
from pathlib import Path

import pytest

from izin.cli.terminal import recipients_in
from izin.consent import SourceError

LINES = "\ufeff0555 000 00 01\n\n  100001/MESAJ/BIREYSEL/0555 000 00 02 \nA@Example.com\n"
READ = ["+905550000001", "100001/MESAJ/BIREYSEL/+905550000002", "a@example.com"]


@pytest.mark.parametrize("is_input", [False, True], ids=["file", "input"])
def test_recipients_are_read_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_input: bool
):
    """In any notation, as keys spell them; empty lines are none."""
    file = Path("-") if is_input else tmp_path / "list"
    if is_input:
        monkeypatch.setattr("sys.stdin", io.StringIO(LINES))
    else:
        file.write_text(LINES, "utf-8")
    assert list(recipients_in(file)) == READ


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "cannot be read"), (b"0555 000 00 01\nnobody", "line 2: ")],
    ids=["no-text", "no-recipient"],
)
def test_unreadable_list_names_file_and_line(tmp_path: Path, content: bytes, message: str):
    """A person has to correct it."""
    file = tmp_path / "list"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=f"list.*{message}"):
        list(recipients_in(file))
