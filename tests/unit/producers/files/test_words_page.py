"""docs/words.md has every name and word that is read, and no other."""

import re
from collections.abc import Callable

import pytest

from izin.producers.mapping.field_names import FIELD_NAMES, NAME
from izin.schemas.words import MEANINGS, NameTable, _spaced, word_key
from tests.support.source_tree import ROOT

PAGE = (ROOT / "docs" / "words.md").read_text("utf-8")


def listed(heading: str) -> dict[str, list[str]]:
    """Return the words of each row of the table below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?:^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = [re.findall("`(.+?)`", line) for line in section.splitlines() if line.startswith("| `")]
    return {value: [value, *others] for value, *others in rows}


def check(table: NameTable, page: dict[str, list[str]], key: Callable[[str], str]) -> None:
    """Check that a table of the page is one of the code."""
    for value, words in page.items():
        assert {table[one] for one in words} == {value}
        known = {word for word, meaning in table.spelled.items() if meaning == value}
        assert set(map(key, words)) == known
    assert set(page) == set(table.spelled.values())


@pytest.mark.parametrize("field", MEANINGS)
def test_page_has_every_word_of_a_field(field: str) -> None:
    """In the row of its meaning."""
    check(MEANINGS[field], listed(rf"[^\n]* \(`{field}`\)"), word_key)


def test_page_has_every_name_of_a_column() -> None:
    """In the row of its field."""
    check(FIELD_NAMES, listed("Columns of a file"), lambda one: _spaced(one, NAME))


def test_no_word_of_an_opt_out_is_one_of_an_opt_in() -> None:
    """Nor the other way round, in any spelling."""
    page = listed(r"[^\n]* \(`status`\)")
    joined = {status: {word_key(one).replace(" ", "") for one in page[status]} for status in page}
    assert joined["ONAY"].isdisjoint(joined["RET"])
