"""What a spreadsheet adds to a cell to keep its text is taken off again, and nothing else."""

import pytest

from izin.producers.files import cell_text

NUMBER = (
    "05550000001",
    '="05550000001"',
    '= "05550000001" ',
    "'05550000001",
    "\u201805550000001",
    "\u201905550000001",
    "'05550000001'",
    '"05550000001"',
    ' "05550000001" ',
    '\'="05550000001"',
    "\t05550000001",
    "05550000001\u00a0",
    "\u202a05550000001\u202c",
    "\ufeff05550000001\u200b",
    '="\u200e05550000001"',
)
"""A formula of one text, the text prefix, quotes, blanks and marks of copying."""
KEPT = (
    "=HYPERLINK(1)",
    '=T("05550000001")',
    '="05"&"55"',
    '="05550000001',
    '05550000001"',
    'a "b" c',
    "O'Hara",
    "=05550000001",
    "-1",
    "nullable",
)
"""No formula is computed, and an unbalanced quote is the source's to correct."""


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        *((one, "05550000001") for one in NUMBER),
        *((one, one) for one in KEPT),
        ('="5"" boru"', '5" boru'),
        ('="a""""b"', 'a""b'),
        ('=""', ""),
        ("'", ""),
        ("02.03.2026\u00a012:00", "02.03.2026 12:00"),
        ("NULL", ""),
        ("null", ""),
        ("#YOK", ""),
        ("#N/A", ""),
        ("-", ""),
        ('="-"', ""),
    ],
)
def test_cell_means_what_the_sheet_shows(cell: str, text: str):
    """Doubled quotes are one, a placeholder is empty, and what is no text notation is kept."""
    assert cell_text(cell) == text
