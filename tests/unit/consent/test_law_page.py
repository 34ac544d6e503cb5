import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "law.md"
ROW = re.compile(
    r"\| (?P<rule>[^|]+) \| (?P<source>[^|]+) \| `(?P<function>[\w.]+)` \| `(?P<test>[\w:.]+)` \|"
)


def rules() -> list[re.Match[str]]:
    """Return the rows of the page's tables."""
    return [row for line in PAGE.read_text().splitlines() if (row := ROW.fullmatch(line))]


def test_every_row_of_the_page_is_read():
    """A row that is not written like the others would not be checked."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    heads = [line for line in rows if line.startswith("| Rule")]
    assert len(rules()) == len(rows) - len(heads)
    assert len(rules()) > 30


@pytest.mark.parametrize("row", rules(), ids=lambda row: row["test"])
def test_every_rule_has_its_function_and_its_test(row: re.Match[str]):
    """What the page names exists."""
    module, _, function = row["function"].rpartition(".")
    assert hasattr(import_module(module), function)
    tests, _, test = row["test"].partition("::")
    folder = "tests.unit" if "." in tests else "tests.unit.consent"
    assert getattr(import_module(f"{folder}.{tests}"), test).__doc__


@pytest.mark.parametrize(
    "line",
    ["| A rule. | m.1 | no function | `test_x::test_y` |", "| A rule. | m.1 | `izin.x` | |"],
)
def test_row_without_function_or_test_is_not_read(line: str):
    """The check can fail."""
    assert ROW.fullmatch(line) is None
