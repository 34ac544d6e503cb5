"""Columns and words: what is known, what the caller says, and what is refused.

Choices that are kept in a file are read as those of the command line.

A preview says what an import would make of the columns, and shows no recipient.

What a word means depends on the name above it: only a known name of a consent takes a yes.

A column that says who refused is never read as one that says who consented.

docs/words.md has every name and word that is read, and no other.

Files with a row for each customer and a column for each channel.

Rows that say nothing are counted; those whose status cannot be read are refused.
"""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from openpyxl import Workbook
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.consent import Channel, SourceError, Status
from izin.producers.files import (
    ColumnChoices,
    ColumnsError,
    ImportPreview,
    preview_file,
    read_mapping,
)
from izin.producers.mapping.choices import (
    ChannelField,
    ColumnChoiceError,
    channel_field_of,
    says_who_refused,
    words_of,
)
from izin.producers.mapping.columns import column_meanings, resolve
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import FIELD_NAMES, NAME, Field, field_of
from izin.producers.mapping.records import read
from izin.producers.mapping.saved import MappingError
from izin.producers.publishing.event_ids import FileIds
from izin.schemas.words import (
    CHANNEL_WORDS,
    MEANINGS,
    NameTable,
    _spaced,
    channel_of,
    status_of,
    word_key,
)
from tests.support.builders import BRAND, EMAIL, NOON, PHONE
from tests.support.project_rules import ROOT
from tests.unit.producers.conftest import FakePublisher, ImportOf

IYS_DAILY = "creationDate,transactionId,recipient,recipientType,type,status,consentDate,source"
IYS_TURKISH = (
    "Kayıt Tarihi;İşlem No;Alıcı;Alıcı Tipi;İzin Türü;İzin Durumu;İzin Tarihi;İzin Kaynağı"
)
OTHER = "PUAN;İZİN;TARİH;KAYNAK;KANAL;MARKA"


@pytest.mark.parametrize("header", [IYS_DAILY.split(","), IYS_TURKISH.split(";")])
def test_export_of_iys_is_known(header: list[str]):
    """The brand is given: no such file names it. İYS's own date is not that of the consent."""
    row = ("2026-03-02 13:00:00", "t-1", "+905550000001", "BIREYSEL", "MESAJ", "RET")
    (part,) = resolve(header, ColumnChoices(given={"marka": "100001"})).parts(
        (*row, "2026-03-02 12:00:00", "HS_WEB")
    )
    assert part.values == {
        Field.BRAND_CODE: "100001",
        Field.ORIGIN_REF: "t-1",
        Field.RECIPIENT: "+905550000001",
        Field.RECIPIENT_TYPE: "BIREYSEL",
        Field.TYPE: "MESAJ",
        Field.STATUS: "RET",
        Field.CONSENT_DATE: "2026-03-02 12:00:00",
        Field.SOURCE: "HS_WEB",
    }


def test_date_of_registration_alone_is_unknown():
    """It is not the date of the consent, and nobody said that it is nothing."""
    with pytest.raises(ColumnsError, match='unknown column "creationDate"'):
        resolve(["recipient", "creationDate", "type", "status", "brandCode"], ColumnChoices())


@pytest.mark.parametrize(
    "name", ["recipient", "ALICI", "alıcı bilgisi", "Telefon", "phone", "İLETİŞİM ADRESİ"]
)
def test_map_takes_every_name_that_messages_offer(name: str):
    """Turkish and English, folded; and so does --set."""
    columns = resolve(OTHER.split(";"), ColumnChoices(mapped={"PUAN": name}))
    assert columns.places[0][0] in {Field.RECIPIENT, Field.PHONE}
    given = ColumnChoices(ignored=["puan"], given={name: "0555 000 00 01"})
    assert next(iter(resolve(OTHER.split(";"), given).given)) is columns.places[0][0]


def test_names_that_messages_offer_are_known():
    """Each of them, Turkish or English."""
    with pytest.raises(ColumnsError) as caught:
        resolve(["PUAN"], ColumnChoices())
    offered = str(caught.value).partition("known names: ")[2].partition(";")[0]
    names = re.split(r", or with a column a channel |, |/", offered)
    assert len(names) == 25
    assert all(column_meanings([one], ColumnChoices())[0].held for one in names)


def test_map_takes_the_columns_of_a_channel():
    """By their own names, or as channel and field."""
    for name in ("SMS İzni", "MESAJ.status"):
        values = {"5": "RET"}
        choices = ColumnChoices(mapped={"puan": name}, given={"marka": "1"}, values=values)
        assert resolve(["Cep", "PUAN"], choices).channels[0].places == {Field.STATUS: 1}


def test_file_without_a_header_is_named():
    """Its first row has a recipient, which is not shown."""
    with pytest.raises(ColumnsError, match="one is a recipient: give the file a first row") as one:
        resolve(["EPOSTA", "HS_WEB", "ada@example.com", "ONAY"], ColumnChoices())
    assert "ada@" not in str(one.value)


def test_words_of_the_caller_go_before_the_known():
    """In the field whose value they mean, or in the one that is named."""
    words = words_of(
        {"Mağaza": "HS_FIZIKSEL_ORTAM", "status:Pasif": "ret", "x": "ONAY", "marka:Ana Mağaza": "1"}
        | {"type:0": "sms", "✗": "RET"}
    )
    assert words == {
        Field.SOURCE: {"magaza": "HS_FIZIKSEL_ORTAM"},
        Field.STATUS: {"pasif": "RET", "x": "ONAY", "✗": "RET"},
        Field.BRAND_CODE: {"ana magaza": "1"},
        Field.TYPE: {"0": "MESAJ"},
    }


def test_words_are_read_in_their_fields_alone():
    """Also where nothing stands in a cell; and in a column of a channel."""
    values = {"durum:": "RET", "status:Pasif": "RET", "PASİF": "HS_WEB"}
    choices = ColumnChoices(values=values, ignored=["puan"], given={"alıcı": "x"})
    columns = resolve(OTHER.split(";"), choices)
    for cell in ("pasif", "", "-"):
        (part,) = columns.parts(("5", cell, "", "Pasif", "sms", "1"))
        assert (part.values[Field.STATUS], part.values[Field.SOURCE]) == ("RET", "HS_WEB")
    wide = ColumnChoices(values=values | {"1": "ONAY"}, given={"marka": "1"})
    for cell, status in (("Pasif", "RET"), ("", "RET"), ("1,0", "ONAY")):
        (part,) = resolve(["Cep", "SMS"], wide).parts(("0555", cell))
        assert part.values[Field.STATUS] == status


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"Mağaza": "HS_MAGAZA"}, "there is no such value; values: ONAY, RET, .*HS_FIZIKSEL"),
        ({"status:Mağaza": "HS_WEB"}, "there is no such value; values: ONAY, RET$"),
        ({"marka:Ana": "bir"}, "only a number can be given"),
        ({"ref:Ana": "1"}, "origin_ref has no words; fields that have: status, type"),
        ({"M": "e-posta"}, "write type:M=e-posta or source:M=e-posta"),
        ({"A": "100001"}, "write brand_code:A=100001 or retailer_code:A=100001"),
        ({"status:Pasif": "RET", "status:PASİF": "ONAY"}, "two meanings"),
    ],
)
def test_unfitting_word_is_an_error(values: dict[str, str], what: str):
    """It names the values that there are."""
    with pytest.raises(ColumnChoiceError, match=what):
        words_of(values)


@pytest.mark.parametrize(
    ("channel", "word"),
    [(Channel(one), word) for one, words in CHANNEL_WORDS.items() for word in words.split(", ")],
)
def test_word_of_a_channel_is_a_value_and_begins_a_column(channel: Channel, word: str):
    """Whoever writes ``phone`` in a column of channels may have a column ``phone consent``."""
    assert channel_of(word.upper()) == channel
    assert channel_field_of(f"{word} izni") == ChannelField(channel, Field.STATUS)
    assert channel_field_of(f"{word} consent date") == ChannelField(channel, Field.CONSENT_DATE)


FILE = """
ignore = ["Şehir"]
confirm = ["İptal Tarihi"]
[columns]
"Müşteri No" = "ref"
[constants]
marka = 100001
[values]
"Mağaza" = "HS_FIZIKSEL_ORTAM"
[values.status]
Pasif = "RET"
"""


def test_mapping_of_a_file_is_as_its_options(tmp_path: Path):
    """Columns, constants and words, of all fields or of one."""
    path = tmp_path / "crm.toml"
    path.write_text(FILE, "utf-8")
    assert read_mapping(path).choices == ColumnChoices(
        mapped={"Müşteri No": "ref"},
        ignored=("Şehir",),
        given={"marka": "100001"},
        values={"Mağaza": "HS_FIZIKSEL_ORTAM", "status:Pasif": "RET"},
        confirmed=("İptal Tarihi",),
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[column]\na = 'b'", "column: Extra inputs"),
        (b"[columns]\na = [1]", "columns.a: "),
        (b"columns", "crm.toml: no mapping: "),
        (b"\xff", "crm.toml: no mapping: "),
    ],
)
def test_file_that_is_no_mapping_is_an_error(tmp_path: Path, content: bytes, what: str):
    """It says what is wrong with it."""
    path = tmp_path / "crm.toml"
    path.write_bytes(content)
    with pytest.raises(MappingError, match=what):
        read_mapping(path)


HEADER = "Telefon;Kanal;İzin;Kaynak;Tarih;Puan;Marka"


def preview(folder: Path, *lines: str, **choices: object) -> ImportPreview:
    """Preview the lines given."""
    path = folder / "export.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return preview_file(path, ColumnChoices(**choices))  # type: ignore[arg-type]


def test_preview_shows_what_each_column_holds(tmp_path: Path):
    """And where they are named."""
    found = preview(tmp_path, "", HEADER, "0555 000 00 01", ignored=["puan"])
    assert (found.encoding, found.delimiter, found.header_line) == ("utf-8-sig", ";", 2)
    assert [(one.held, one.is_left_out) for one in found.columns] == [
        *((one, False) for one in (Field.PHONE, Field.TYPE, Field.STATUS, Field.SOURCE)),
        *((Field.CONSENT_DATE, False), (None, True), (Field.BRAND_CODE, False)),
    ]
    assert found.problem is None


def test_preview_names_what_is_wrong_with_the_columns(tmp_path: Path):
    """And what the others hold."""
    found = preview(tmp_path, "Cep;SMS İzni;Puan", "0555 000 00 01;1;5")
    assert [one.held for one in found.columns] == [
        *(Field.PHONE, ChannelField(Channel.MESAJ, Field.STATUS), None),
    ]
    assert "--ignore" in str(found.problem)


def test_preview_of_an_unknown_choice_is_an_error(tmp_path: Path):
    """As the import would say."""
    with pytest.raises(ColumnChoiceError, match='"YOK"'):
        preview(tmp_path, HEADER, ignored=["YOK"])


def test_preview_of_a_file_without_a_header_shows_no_recipient(tmp_path: Path):
    """Its first row is none of names."""
    found = preview(tmp_path, "EPOSTA;HS_WEB;ada@example.com;ONAY")
    assert "ada@" not in str(found)
    assert "first row that names its columns" in str(found.problem)


@pytest.mark.parametrize(("header", "code"), [(HEADER.replace("Puan", "Ref"), 0), (HEADER, 3)])
def test_preview_is_printed(tmp_path: Path, header: str, code: int):
    """As a table, and as JSON with the same facts; by the exit code whether rows can be read."""
    path = tmp_path / "export.csv"
    path.write_text(header, "utf-8")
    shown = CliRunner().invoke(app, ["import", str(path), "--preview"])
    assert shown.exit_code == code
    assert "consent_date" in shown.output
    assert ("not known: --map or --ignore" in shown.output) is (code == 3)
    as_json = CliRunner().invoke(app, ["import", str(path), "--preview", "--output=json"])
    assert json.loads(as_json.stdout)["columns"][0] == {"column": "Telefon", "holds": "phone"}


@pytest.mark.parametrize("option", ["--dry-run", "--again"])
def test_preview_with_an_option_of_the_import_is_refused(tmp_path: Path, option: str):
    """It would do nothing."""
    path = tmp_path / "export.csv"
    path.write_text(HEADER, "utf-8")
    shown = CliRunner().invoke(app, ["import", str(path), "--preview", option])
    assert shown.exit_code == 2
    assert "publishes nothing" in " ".join(shown.stderr.replace("│", " ").split())


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


WIDE_HEADER = "Müşteri No;Cep;E-Posta;SMS İzni;Arama İzni;E-Posta İzni;İzin Tarihi;Kaynak"
CHOICES = ColumnChoices(
    mapped={"Müşteri No": "ref"}, given={"marka": str(BRAND), "alıcı tipi": "BIREYSEL"}
)
DATED = "02.03.2026 12:00"


def published(fake: FakePublisher) -> list[tuple[str, str, str]]:
    """Return channel, recipient and status of each event."""
    return [(one.type, one.recipient, one.status) for one in fake.events]


def test_each_channel_of_a_row_is_an_event(import_lines: ImportOf, fake: FakePublisher):
    """The recipient by the channel; an empty cell says nothing of its channel."""
    report = import_lines(
        WIDE_HEADER,
        f"C-1;0555 000 00 01;Ada@Example.com;evet;hayır;1;{DATED};HS_WEB",
        f"C-2;0555 000 00 01;Ada@Example.com;;0;;{DATED};HS_WEB",
        f"C-3;0555 000 00 01;Ada@Example.com;;-;;{DATED};HS_WEB",
        columns=CHOICES,
    )
    assert published(fake) == [
        ("ARAMA", PHONE, "RET"),
        ("ARAMA", PHONE, "RET"),
        ("MESAJ", PHONE, "ONAY"),
        ("EPOSTA", EMAIL, "ONAY"),
    ]
    assert (report.rows, report.published, report.opt_outs, report.refused) == (3, 4, 2, 0)
    assert [one.origin_ref for one in fake.events] == ["C-1", "C-2", "C-1", "C-1"]
    assert report.silent == 1


def test_ids_of_the_parts_do_not_depend_on_other_columns(
    import_lines: ImportOf, fake: FakePublisher
):
    """Whoever leaves a channel out and imports it later has each event once."""
    row = f"C-1;0555 000 00 01;{EMAIL};evet;hayır;1;{DATED};HS_WEB"
    report = import_lines(WIDE_HEADER, row, columns=CHOICES)
    assert [one.event_id for one in fake.events] == [
        FileIds(report.digest).of(2, channel) for channel in ("ARAMA", "MESAJ", "EPOSTA")
    ]
    assert len({one.event_id for one in fake.events}) == 3
    fake.events.clear()
    import_lines(
        WIDE_HEADER,
        row,
        columns=ColumnChoices(
            mapped=CHOICES.mapped,
            given=CHOICES.given,
            ignored=("Arama İzni", "e-posta izni"),
            confirmed=("Arama İzni", "e-posta izni"),
        ),
    )
    assert [one.event_id for one in fake.events] == [FileIds(report.digest).of(2, "MESAJ")]


def test_date_in_place_of_the_status_is_a_consent(import_lines: ImportOf, fake: FakePublisher):
    """As where a system notes when each consent was given."""
    import_lines(
        "GSM;SMS Onay;Arama Onay Tarihi;Kaynak",
        f"0555 000 00 01;{DATED};{DATED};HS_WEB",
        columns=ColumnChoices(given={"brandCode": str(BRAND)}),
    )
    assert published(fake) == [("ARAMA", PHONE, "ONAY"), ("MESAJ", PHONE, "ONAY")]
    assert [one.consent_date for one in fake.events] == [NOON, NOON]


def test_date_and_source_of_a_channel_go_before_those_of_the_row(
    import_lines: ImportOf, fake: FakePublisher
):
    """Those of the row count where the channel has none."""
    import_lines(
        "GSM;SMS İzni;SMS İzin Tarihi;SMS İzin Kaynağı;Arama İzni;Arama İzin Tarihi;Tarih;Kaynak",
        f"0555 000 00 01;1;{DATED};HS_MOBIL;1;;01.03.2026 10:00;HS_WEB",
        columns=ColumnChoices(given={"brandCode": str(BRAND)}),
    )
    call, message = fake.events
    assert (message.consent_date, message.source) == (NOON, "HS_MOBIL")
    assert (call.consent_date, call.source) == (NOON - timedelta(hours=26), "HS_WEB")


def test_opt_out_of_a_channel_without_address_concerns_nobody(
    import_lines: ImportOf, fake: FakePublisher
):
    """It is counted, and no bad row; a consent without an address is one."""
    report = import_lines(
        WIDE_HEADER,
        f"C-1;0555 000 00 01;;hayır;hayır;hayır;{DATED};HS_WEB",
        f"C-2;0555 000 00 02;;hayır;;evet;{DATED};HS_WEB",
        columns=CHOICES,
    )
    assert (report.without_recipient, report.refused, report.refused_opt_outs) == (1, 1, 0)
    assert report.reasons == {"H114": 1}
    assert len(fake.events) == 3


def test_shared_recipient_is_for_the_channels_that_it_fits(
    import_lines: ImportOf, fake: FakePublisher
):
    """An opt-out of another channel concerns nobody; a consent there is an error."""
    header = "Alıcı;SMS İzni;E-Posta İzni;İzin Tarihi;Kaynak"
    rows = [f"0555 000 00 01;0;0;{DATED};HS_WEB", f"{EMAIL};1;1;{DATED};HS_WEB"]
    report = import_lines(header, *rows, columns=ColumnChoices(given={"marka": str(BRAND)}))
    assert published(fake) == [("MESAJ", PHONE, "RET"), ("EPOSTA", EMAIL, "ONAY")]
    assert (report.without_recipient, report.reasons) == (1, {"H464": 1})


def test_report_names_the_columns_of_the_channels(import_lines: ImportOf):
    """The row once, as it stands, with all that is wrong in it."""
    row = f"C-1;0555;{EMAIL};evet;belki;1;{DATED};HS_WEB"
    report = import_lines(WIDE_HEADER, row, columns=CHOICES)
    (line,) = report.report_path.read_text(encoding="utf-8-sig").splitlines()[1:]
    assert line.startswith(f"{row};2;Arama İzni, Cep;H115, H121;")


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ("Cep;SMS İzni;E-posta İzni", "no column holds email"),
        ("Cep;SMS İzni;SMS Onayı", '"SMS İzni" and "SMS Onayı" both hold MESAJ.status'),
        ("Cep;SMS İzni;Durum", '"Durum" holds status for the whole row, and "SMS İzni"'),
        ("Cep;SMS İzni;Kanal", '"Kanal" holds type for the whole row, and "SMS İzni"'),
    ],
)
def test_columns_of_channels_that_contradict_are_refused(headers: str, what: str):
    """Nothing is guessed."""
    choices = ColumnChoices(given={"brandCode": str(BRAND)})
    with pytest.raises(ColumnsError, match=what):
        resolve(headers.split(";"), choices)


def test_header_in_between_is_no_row(import_lines: ImportOf, fake: FakePublisher):
    """Of files that were put one behind another."""
    row = f"C-1;0555 000 00 01;;evet;;;{DATED};HS_WEB"
    report = import_lines(WIDE_HEADER, row, WIDE_HEADER, row, columns=CHOICES)
    assert (report.rows, report.repeated_headers, report.refused) == (2, 1, 0)
    assert [one.row for one in fake.events] == [2, 4]


@pytest.mark.parametrize("headers", ["Telefon", "Telefon;;", "Alıcı"])
def test_list_without_dates_is_of_opt_outs_alone(
    import_lines: ImportOf, fake: FakePublisher, headers: str
):
    """Each counts from the import; a consent needs its instant."""
    given = {"marka": str(BRAND), "kanal": "sms", "kaynak": "HS_EORTAM"}
    report = import_lines(
        *(headers, "0555 000 00 01", "", "0555 000 00 02;"),
        columns=ColumnChoices(given=given | {"durum": "Hayır"}),
    )
    assert (report.opt_outs, report.refused, report.not_registrable) == (2, 0, 0)
    assert {(one.status, one.consent_date, one.date_basis) for one in fake.events} == {
        ("RET", None, "received")
    }
    refused = import_lines(
        "Telefon", "0555 000 00 01", columns=ColumnChoices(given=given | {"durum": "1"})
    )
    assert (refused.published, refused.reasons) == (0, {"H112": 1})


GIVEN = ColumnChoices(given={"kaynak": "HS_WEB", "marka": str(BRAND)})
ASKED = ("Cep", "SMS izni", "Arama izni", "Tarih")


@pytest.mark.parametrize("empty", ["", "-", "NULL", " ", "null"])
def test_row_that_says_nothing_is_counted(import_lines: ImportOf, empty: str):
    """Nobody would know else why fewer were published than the file has rows."""
    rows = (
        ASKED,
        ("0555 000 00 01", empty, empty, DATED),
        ("0555 000 00 02", "1", empty, DATED),
    )
    report = import_lines(*map(";".join, rows), columns=GIVEN)
    assert (report.rows, report.silent, report.published, report.refused) == (2, 1, 1, 0)


@pytest.mark.parametrize("error", ["#N/A", "#YOK", "#NAME?", "#REF!", "#DEĞER!", "=A1"])
def test_value_that_was_not_computed_is_a_status_that_cannot_be_read(
    import_lines: ImportOf, fake: FakePublisher, error: str
):
    """It could have been an opt-out: exit code 5."""
    rows = (ASKED, ("0555 000 00 01", error, "", DATED))
    report = import_lines(*map(";".join, rows), columns=GIVEN)
    assert (report.silent, report.refused_unclear, report.lost_opt_outs) == (0, 1, True)
    assert fake.events == []


@pytest.mark.parametrize("left", [0, 3])
def test_cell_of_a_workbook_without_its_value_cannot_be_read(
    tmp_path: Path, import_of: ImportOf, left: int
):
    """A formula that was never computed, and one that gives an error, wherever the table begins."""
    book = Workbook()
    sheet = book.worksheets[0]
    rows = (
        ASKED,
        ("0555 000 00 01", "=1+1", None, DATED),
        ("0555 000 00 02", "#N/A", "RET", DATED),
        ("0555 000 00 03", None, "#NAME?", DATED),
        ("0555 000 00 04", None, None, DATED),
    )
    for row, cells in enumerate(rows, 1):
        for column, value in enumerate(cells, left + 1):
            cell = sheet.cell(row, column, value)
            if str(value).startswith("#"):
                cell.data_type = "e"
    book.save(path := tmp_path / "customers.xlsx")
    report = import_of(path, columns=GIVEN)
    assert (report.rows, report.silent, report.opt_outs) == (4, 1, 1)
    assert (report.refused_unclear, report.reasons) == (3, {"H115": 3})
