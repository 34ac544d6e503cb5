"""Tables fit the terminal, and cut nothing that people copy."""

from io import StringIO

import pytest
from rich.console import Console

from izin.cli.terminal.output import print_table, widths_of

KEYS = ("100001/EPOSTA/BIREYSEL/ada.lovelace@example.com", "100002/MESAJ/TACIR/+905550000002")
REMEDY = (
    "once corrected, name it among its rights: izin brands rights 100001 --type ARAMA --execute"
)


def printed(
    titles: tuple[str, ...], *rows: tuple[str, ...], width: int = 80, below: bool = False
) -> list[str]:
    """Return the lines of a table on a terminal."""
    out = Console(file=StringIO(), width=width, color_system=None)
    print_table(out, titles, rows, below=below)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_table_of_any_width_cuts_no_word(width: int):
    """Keys are whole beside prose, whatever the width; the lines fit the screen."""
    lines = printed(
        ("id", "key", "why"), *(("1", key, "a court " * 9) for key in KEYS), width=width
    )
    for key in KEYS:
        assert any(key in line for line in lines)
    assert max(map(len, lines)) <= width


def test_table_too_wide_is_a_block_a_row():
    """A line a column, without the empty ones, and an empty line between."""
    titles = tuple(f"column {number}" for number in range(12))
    rows = [(*(f"{row}0000{number}" for number in range(11)), "") for row in (1, 2)]
    lines = [line.rstrip() for line in printed(titles, *rows)]
    assert lines[0].split() == ["column", "0", "100000"]
    assert lines[11] == ""
    assert lines[12].endswith("200000")
    assert len(lines) == 23


def test_table_last_column_below_is_in_whole_lines():
    """A command is copied as one line; in the table and in blocks alike."""
    row = ("100001", "MESAJ", "the right is missing", REMEDY)
    titles = ("brand", "channel", "why", "remedy")
    assert printed(titles, row, below=True)[-1] == f"100001 MESAJ: {REMEDY}"
    assert printed(titles, row, below=True, width=30)[-1] == REMEDY
    nothing = (*row[:-1], "")
    assert printed(titles, nothing, below=True) == printed(titles[:-1], row[:-1])


def test_table_without_rows_says_none():
    """Titles alone, or no line at all, would be ambiguous."""
    assert printed(("brand", "channel")) == ["none"]


def test_column_widths_follow_need():
    """A short column takes what it needs, the longest the rest."""
    columns = [["code", "H353"], ["why", "word " * 6], ["what", "word " * 30]]
    assert widths_of(columns, 100) == [4, 30, 56]
    assert widths_of(columns, 54) == [4, 20, 20]
    assert widths_of(columns, 53) is None
