"""What a word means depends on the name above it: only a known name of a consent takes a yes.

A column that says who refused is never read as one that says who consented.

docs/words.md has every name and word that is read, and no other.
"""

import re
from collections.abc import Callable

import pytest

from izin.consent import Channel, SourceError, Status
from izin.producers.files import ColumnChoices, ColumnsError
from izin.producers.files.choices import ColumnChoiceError, channel_field_of, says_who_refused
from izin.producers.files.columns import column_meanings
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import FIELD_NAMES, NAME, Field, field_of
from izin.producers.mapping.records import read
from izin.schemas.words import MEANINGS, NameTable, _spaced, status_of, word_key
from tests.support.builders import BRAND
from tests.support.project_rules import ROOT
from tests.unit.producers.conftest import ImportOf
from tests.unit.producers.fakes import FakePublisher

NARROW = {"kanal": "SMS", "kaynak": "HS_WEB", "marka": str(BRAND)}
WIDE = {"kaynak": "HS_WEB", "marka": str(BRAND)}
DATE = "02.03.2026 12:00:00"


def a_file(name: str, *values: str) -> list[str]:
    """Return the lines of a file whose column ``name`` has these values."""
    rows = [f"0555 000 00 0{number};{one};{DATE}" for number, one in enumerate(values, 1)]
    return [f"telefon;{name};tarih", *rows]


@pytest.mark.parametrize(
    "text",
    [
        *("-1", "!onay", "~evet", "≠1", "<>1", "❌ Onay", "☐ Evet", "[ ] Evet", "¬ONAY", "(onay)"),
        *(
            "onay değil",
            "no consent",
            "not opted in",
            "\u041enay",
            "ＯＮＡＹ",
            "１",
            "ev\u200bet",
            "o\u0338nay",
        ),
        *("on ay", "ONAY.", "onay?", "on\u00aday", "EVET\0", "\ud83dONAY", "1-0", "✓✗"),
    ],
)
def test_word_with_anything_else_is_no_consent(text: str):
    """A sign, a symbol, another letter, something invisible, a space: by every way in."""
    assert status_of(text) == text
    assert read({Field.STATUS: text}, DateRules()).status != Status.ONAY


@pytest.mark.parametrize("text", ["İzin yok", "onaysız", "RE\0T", "\ud83dRET", "I\u0307PTAL"])
def test_word_of_an_opt_out_is_not_lost(text: str):
    """Neither for a character that no text may have nor for letters in two parts."""
    assert read({Field.STATUS: text}, DateRules()).status == Status.RET


@pytest.mark.parametrize("name", ["!onay", "❌ Onay", "≠ izin", "-izin", "On ay", "on\u0430y"])
def test_name_with_a_sign_is_unknown(name: str):
    """It could deny what its letters say."""
    assert field_of(name) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("Arama tarihi", DATE), ("SMS date", DATE), ("!SMS izni", "evet"), ("Arama sonucu", "1")],
)
def test_column_that_names_no_consent_stops_the_import(
    import_lines: ImportOf, name: str, value: str
):
    """It says which options answer."""
    with pytest.raises(ColumnsError, match=r"--map COLUMN=field, .* --value WORD=ONAY") as raised:
        import_lines(*a_file(name, value), columns=ColumnChoices(given=WIDE))
    assert "--mapping FILE" in str(raised.value)


@pytest.mark.parametrize("name", ["durum", "Status", "Arama durumu", "SMS status", "SMS", "arama"])
def test_generic_name_takes_onay_and_words_of_ret_alone(
    import_lines: ImportOf, fake: FakePublisher, name: str
):
    """A call, an account and an order have a status, too."""
    given = NARROW if name.lower() in {"durum", "status"} else WIDE
    words = ("Olumlu", "ACCEPTED", "1", "evet", "onaylandı", "✓")
    lines = a_file(name, *words, "ONAY", "Ret", "iptal")
    report = import_lines(*lines, columns=ColumnChoices(given=given))
    assert [(one.row, one.status) for one in fake.events] == [(9, "RET"), (10, "RET"), (8, "ONAY")]
    assert (report.refused_unclear, report.reasons) == (6, {"H115": 6})
    fake.events.clear()
    import_lines(*lines, columns=ColumnChoices(given=given, values={"status:Olumlu": "ONAY"}))
    assert [one.row for one in fake.events if one.status == "ONAY"] == [2, 8]


def test_date_in_place_of_a_status_needs_the_name_of_a_consent(
    import_lines: ImportOf, fake: FakePublisher
):
    """``SMS durumu`` may have the day on which a message arrived."""
    lines = a_file("SMS durumu", DATE)
    assert import_lines(*lines, columns=ColumnChoices(given=WIDE)).refused_unclear == 1
    import_lines(*a_file("SMS izni", DATE), columns=ColumnChoices(given=WIDE))
    assert [one.status for one in fake.events] == ["ONAY"]


@pytest.mark.parametrize("name", ["Pasif", "Bloke", "withdrawn", "İzin Reddi", "İptal"])
def test_mapped_name_needs_the_meaning_of_its_words(
    import_lines: ImportOf, fake: FakePublisher, name: str
):
    """Else a yes in it would be a consent; what names an opt-out is one all the same."""
    lines = a_file(name, "Evet", "1", "onaylandı", "reddedildi", "hayır")
    mapped = {name: "status"}
    with pytest.raises(ColumnsError, match=r"is no known name of a consent, .* --value status:"):
        import_lines(*lines, columns=ColumnChoices(mapped=mapped, given=NARROW))
    choices = ColumnChoices(mapped=mapped, given=NARROW, values={"status:Evet": "RET"})
    report = import_lines(*lines, columns=choices)
    assert [(one.row, one.status) for one in fake.events] == [(2, "RET"), (5, "RET")]
    assert report.refused_unclear == 3


def test_mapped_date_is_no_consent(import_lines: ImportOf):
    """Where no column says that it is one."""
    lines = a_file("Arama tarihi", DATE)
    mapped = {"Arama tarihi": "ARAMA.consent_date"}
    with pytest.raises(ColumnsError, match="no known name of the date of a consent"):
        import_lines(*lines, columns=ColumnChoices(mapped=mapped, given=WIDE))


def test_choice_that_loses_opt_outs_is_confirmed(import_lines: ImportOf, fake: FakePublisher):
    """By name: a column that may have them, and a word of theirs that would be a consent."""
    lines = a_file("İptal Tarihi;İzin", f"{DATE};Hayır")
    ignoring = {"ignored": ["İptal Tarihi"], "given": NARROW}
    refused: list[tuple[dict[str, object], type[SourceError], str]] = [
        ({}, ColumnsError, "--confirm 'İptal Tarihi'"),
        ({"confirmed": ["Kara Liste"]}, ColumnsError, "İptal Tarihi"),
        (
            {"confirmed": ["iptal tarihi"], "values": {"Hayır": "ONAY"}},
            ColumnChoiceError,
            "--confirm 'Hayır'",
        ),
    ]
    for given, error, what in refused:
        with pytest.raises(error, match=what):
            import_lines(*lines, columns=ColumnChoices(**ignoring, **given))  # type: ignore[arg-type]
    assert fake.events == []
    import_lines(
        *lines,
        columns=ColumnChoices(
            ignored=["İptal Tarihi"],
            given=NARROW,
            values={"Hayır": "ONAY"},
            confirmed=["İptal Tarihi", "HAYIR"],
        ),
    )
    assert [one.status for one in fake.events] == ["ONAY"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((one, True) for one in ("Kara Liste", "SMS istemiyor", "RET", "Ret Durumu", "Red")),
        *((one, True) for one in ("İzin İptali", "opt-out", "Unsubscribed", "İzinsiz", "Engelli")),
        *((one, False) for one in ("Durum", "İzin", "onay/ret", "İzin-Ret", "Onay(1)-Ret(0)")),
        *((one, False) for one in ("izin/ret tarihi", "consent", "SMS izni")),
    ],
)
def test_name_says_who_refused(name: str, expected: bool):
    """Or which of the two statuses a row has."""
    assert says_who_refused(name) is expected


def test_no_name_that_is_known_says_who_refused():
    """Else its words would have no meaning."""
    for channel in Channel:
        for held in ("izni", "izin durumu", "onay tarihi"):
            name = f"{channel} {held}"
            assert channel_field_of(name) is not None
            assert not says_who_refused(name)
    known = ("izin durumu", "durum", "onay durumu", "onay(1)-ret(0)", "onay/ret", "izin var mı")
    for name in known:
        (found,) = column_meanings([name], ColumnChoices())
        assert found.held is Field.STATUS
        assert not says_who_refused(name)


@pytest.mark.parametrize("yes", ["Evet", "1", "✓", "E", "TRUE"])
def test_yes_among_refusals_is_what_the_caller_says(
    import_lines: ImportOf, fake: FakePublisher, yes: str
):
    """Without that nothing is read; words that name an opt-out have their meaning."""
    lines = a_file("Kara Liste", yes, "RET", "onaylı")
    mapped = {"Kara Liste": "durum"}
    with pytest.raises(ColumnsError, match='"Kara Liste" is no known name of a consent'):
        import_lines(*lines, columns=ColumnChoices(mapped=mapped, given=NARROW))
    choices = ColumnChoices(mapped=mapped, given=NARROW, values={f"status:{yes}": "RET"})
    done = import_lines(*lines, columns=choices)
    assert (done.refused_unclear, done.reasons) == (1, {"H115": 1})
    assert [one.status for one in fake.events] == ["RET", "RET"]


@pytest.mark.parametrize("held", ["SMS izni", "SMS izin tarihi"])
def test_column_of_refusals_is_of_no_channel(import_lines: ImportOf, held: str):
    """There a date alone is a consent."""
    lines = a_file("SMS iptal", DATE)
    choices = ColumnChoices(mapped={"SMS iptal": held}, given=WIDE)
    with pytest.raises(ColumnsError, match='"SMS iptal" is no known name'):
        import_lines(*lines, columns=choices)


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
