"""What the commands of all stages share."""

from itertools import count

import pytest

from tests.chaos import command


def test_progress_without_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The first text at once, and then one in ten seconds; standard output is for the report."""
    seconds = count(0, 4)
    monkeypatch.setattr(command.time, "monotonic", lambda: next(seconds))
    with command.showing("starting") as show:
        for number in range(8):
            show(f"{number} files")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert next(line for line in shown.err.splitlines() if "files" in line) == "0 files"
    assert 1 < shown.err.count("files") < 8
