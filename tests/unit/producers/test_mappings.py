"""Mappings of files, as they are saved: what is written is read again, whatever is in it."""

from datetime import time
from pathlib import Path

from hypothesis import given
from hypothesis.strategies import (
    builds,
    characters,
    dictionaries,
    integers,
    lists,
    none,
    sampled_from,
    text,
    times,
    tuples,
)

from izin.producers.mapping.dates import DayOrder, ExcelEpoch
from izin.producers.mapping.saved import FileMapping, mapping_in, read_mapping

TEXTS = text(characters(exclude_categories=("Cs",)), max_size=20)
MAPPINGS = builds(
    FileMapping,
    columns=dictionaries(TEXTS, TEXTS, max_size=3),
    ignore=lists(TEXTS, max_size=3).map(tuple),
    constants=dictionaries(TEXTS, TEXTS | integers(-5, 2**40), max_size=3),
    values=dictionaries(
        TEXTS, TEXTS | dictionaries(TEXTS, TEXTS | integers(0, 9), max_size=2), max_size=3
    ),
    confirm=lists(TEXTS, max_size=2).map(tuple),
    header_row=none() | integers(1, 99),
    day_order=none() | sampled_from(DayOrder),
    excel_epoch=none() | sampled_from(ExcelEpoch),
    time_of_day=none() | times(),
    origin=TEXTS,
)


@given(MAPPINGS)
def test_mapping_that_is_written_is_read_again(mapping: FileMapping):
    """With every name that a column may have, quotes and controls too."""
    assert mapping_in(mapping.text, FileMapping, "crm") == mapping


@given(tuples(TEXTS, TEXTS))
def test_word_of_one_field_stays_of_that_field(words: tuple[str, str]):
    """It is what the form of the console makes."""
    word, meaning = words
    mapping = FileMapping(values={"status": {word: meaning}, "source": {word: meaning}})
    assert mapping_in(mapping.text, FileMapping, "crm").choices == mapping.choices


def test_mapping_says_how_dates_are_read_and_who_wrote_the_file(tmp_path: Path):
    """So that a command and the console read the same file alike."""
    path = tmp_path / "crm.toml"
    path.write_text('day_order = "mdy"\ntime_of_day = 09:30:00\norigin = "crm"\n', "utf-8")
    found = read_mapping(path)
    assert (found.dates.day_order, found.origin) == (DayOrder.MONTH_FIRST, "crm")
    assert found.dates.time_of_day == time(9, 30)
