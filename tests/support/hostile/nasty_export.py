"""A customer list as it leaves a company in Turkey, and how a person would read each row of it.

Every notation of phones, channels, statuses and dates is mixed. Titles stand above the header, the
header returns within, lines are empty, and lines of two encodings follow each other. What a row
means is decided first and then written, so the importer is not needed to know it. The same seed
gives the same rows.

Each text is one of those by which people and programs in Turkey write what a consent consists of.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

TURKEY = timezone(timedelta(hours=3))
MAPPED = {"MÜŞTERİ NO": "Referans"}
IGNORED = ("AD SOYAD", "NOT")
VALUES = {"Mağaza": "HS_FIZIKSEL_ORTAM", "status:Pasif": "RET", "P": "RET"}
"""What the person who imports it says of it."""
PHONE, MAIL, STATUS, DATE = "CEP TELEFONU", "E-POSTA ADRESİ", "İZİN DURUMU", "İZİN TARİHİ"
HEADER = (
    *("MÜŞTERİ NO", "AD SOYAD", PHONE, MAIL, "İLETİ TÜRÜ", STATUS, "KAYNAK", DATE),
    *("ALICI TİPİ", "MARKA KODU", "NOT"),
)
TITLES = (("İZİN LİSTESİ",), ("Hazırlayan: CRM", "Tarih: 02.03.2026 12:00"), ())
WIDE_HEADER = (
    *("MÜŞTERİ NO", "AD SOYAD", PHONE, MAIL, "SMS İZNİ", "ARAMA İZNİ", "E-POSTA İZNİ"),
    *("KAYNAK", DATE, "NOT"),
)
WIDE_COLUMNS = {"MESAJ": "SMS İZNİ", "ARAMA": "ARAMA İZNİ", "EPOSTA": "E-POSTA İZNİ"}
ONAYS = (
    *("ONAY", "Onay", "onaylı", "ONAYLANDI", "Evet", "EVET", "evet ", "e", "E", "1", "1,0", "1.0"),
    *("DOĞRU", "true", "True", "Yes", "var", "VAR", "İzinli", "IZINLI", "izni var", "Kabul"),
    *("kabul etti", "istiyor", "opt-in", "✓", '="ONAY"', "'1", "İzin Verdi", "onay\u00a0"),
)
RETS = (
    *("RET", "ret", "Red", "RED", "Reddedildi", "REDDETTİ", "Hayır", "HAYIR", "hayir", "h", "H"),
    *("0", "0,0", "0.0", "YANLIŞ", "false", "False", "No", "yok", "YOK", "İptal", "IPTAL"),
    *("iptal edildi", "vazgeçti", "VAZGEÇTİ", "izinsiz", "istemiyor", "kabul etmedi", "opt-out"),
    *("Pasif", "PASİF", "P", '="RET"', "'0", "onaysız", "listeden çıktı", "kara liste", "n"),
)
UNCLEAR = (
    *("X", "x", "Y", "?", "belki", "aktif", "2", "RET?", "onay ?", "T", "beklemede"),
    *("#YOK", "#AD?", "", "-"),
)
"""A person would have to ask, too. The last two say nothing."""
CHANNELS = {
    "MESAJ": ("SMS", "sms", "Kısa Mesaj", "MESAJ", "kisa mesaj", '="SMS"'),
    "ARAMA": ("ARAMA", "Çağrı", "Sesli Arama", "telefon", "Telefonla Arama"),
    "EPOSTA": ("E-POSTA", "EPOSTA", "e-mail", "Mail", "E-Posta"),
}
SOURCES = {
    "HS_WEB": ("HS_WEB", "hs_web", "Web", "Web Sitesi", "WEB SİTESİ"),
    "HS_FIZIKSEL_ORTAM": ("HS_FIZIKSEL_ORTAM", "Mağaza", "MAĞAZA", "Fiziksel Ortam"),
    "HS_CAGRI_MERKEZI": ("Çağrı Merkezi", "HS_CAGRI_MERKEZİ", "call center"),
}
_PHONES = (
    *("0{0}", "{0}", "+90{0}", "90{0}", "0090{0}", "0 ({1}) {2} {3} {4}", "0{1} {2} {3} {4}"),
    *("0{1}-{2}-{3}{4}", '="0{0}"', "'0{0}", "\u202a+90 {1} {2} {3} {4}\u202c", "0{0}\u00a0"),
)
_MAILS = ("{0}", " {0}", "{1}", '="{0}"', "{0}\u00a0", "'{0}")
LOST_DIGITS = ("5,55E+09", "5.55E+09", "########", "5550000000,5", "555 000", "")
_MONTHS = ("", "Ocak", "Şubat", "MART", "Nis")
_DAY_ZERO = datetime(1899, 12, 30, tzinfo=UTC)
_DATES: tuple[Callable[[datetime], str], ...] = (
    lambda at: f"{at:%d.%m.%Y %H:%M:%S}",
    lambda at: f"{at.day}.{at.month}.{at:%Y %H:%M:%S}",
    lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
    lambda at: f"{at:%Y/%m/%d %H:%M:%S}",
    lambda at: f"{at:%Y-%m-%dT%H:%M:%S}+03:00",
    lambda at: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z",
    lambda at: f"{at:%d-%m-%Y %H:%M:%S}",
    lambda at: f'="{at:%d.%m.%Y %H:%M:%S}"',
    lambda at: f"{at.day} {_MONTHS[at.month]} {at:%Y %H:%M:%S}",
    lambda at: f"{at:%d.%m.%Y %I:%M:%S} {'ÖS' if at.hour > 11 else 'ÖÖ'}",
    lambda at: f"{at:%d.%m.%Y\u00a0%H:%M:%S}",
)
_UNCERTAIN_DATES: tuple[Callable[[datetime], str], ...] = (
    lambda at: f"{at:%d/%m/%Y %H:%M:%S}",
    lambda at: f"{at.month}/{at.day}/{at:%Y %H:%M:%S}",
    lambda at: f"{at:%d.%m.%y %H:%M}",
    lambda at: f"{at:%d.%m.%Y}",
    lambda at: f"{(at.replace(tzinfo=UTC) - _DAY_ZERO) / timedelta(days=1):.5f}",
    lambda _: "geçen hafta",
)
NOTES = ("", "-", "VIP", "aradı; tekrar aranacak", 'kendi "sözü"', "iki\nsatır", "NULL", "ığüşöç")


class Person(NamedTuple):
    """Somebody with a phone and an e-mail address, as keys spell them."""

    phone: str
    mail: str

    @classmethod
    def numbered(cls, number: int) -> "Person":
        """Return one whom nobody else is."""
        return cls(f"+90555{number:07d}", f"kisi.{number}@example.com")

    def recipient(self, channel: str) -> str:
        """Return the recipient of messages of ``channel``."""
        return self.mail if channel == "EPOSTA" else self.phone


def a_phone(chance: random.Random, phone: str) -> str:
    """Return the number in one of the notations."""
    digits = phone.removeprefix("+90")
    groups = (digits, digits[:3], digits[3:6], digits[6:8], digits[8:])
    return chance.choice(_PHONES).format(*groups)


def a_mail(chance: random.Random, mail: str) -> str:
    """Return the address in one of the notations."""
    return chance.choice(_MAILS).format(mail, mail.title())


def a_date(chance: random.Random, at: datetime) -> str:
    """Return the instant so that everybody reads the same second."""
    return chance.choice(_DATES)(at)


def an_uncertain_date(chance: random.Random, at: datetime) -> str:
    """Return the instant so that nobody can tell which second it was."""
    return chance.choice(_UNCERTAIN_DATES)(at)


class ExpectedConsent(NamedTuple):
    """What a person reads in a row, or in the column of a channel."""

    line: int
    type: str
    recipient: str
    status: str
    at: datetime | None
    """None: no date can be read, so it counts from the import."""
    source: str


class ExpectedRefusal(NamedTuple):
    """What a person cannot read either."""

    line: int
    column: str
    """The column with the reason."""
    status: str
    """What it would be; nothing where that is what cannot be read."""


@dataclass(frozen=True, kw_only=True)
class NastyTruth:
    """How a person would read a file."""

    header_line: int
    rows: int
    repeated_headers: int
    consents: frozenset[ExpectedConsent]
    refused: frozenset[ExpectedRefusal]
    undated: frozenset[int]
    """The lines of opt-outs with a date that cannot be read: each counts, and is reported."""


class _Row(NamedTuple):
    """One row: its cells, and what a person reads in it; the lines are not known yet."""

    cells: Sequence[str]
    found: Sequence[ExpectedConsent | ExpectedRefusal]
    date: datetime | None = None
    """What its date cell says, where everybody can read it."""


class _Lines:
    """The lines of a file as they are written, and what is true of them."""

    def __init__(self, first: int, header: Sequence[str], rows: Sequence[_Row], seed: int) -> None:
        self._chance = random.Random(seed)
        self._line = first
        self._header, self._rows = header, rows
        self.header_line = first + len(TITLES)
        self.repeated_headers = 0
        self._found: list[ExpectedConsent | ExpectedRefusal] = []
        self._undated: set[int] = set()

    def __iter__(self) -> Iterator[_Row]:
        """Yield what stands in each line, or several where a cell has a line break."""
        for cells in (*TITLES, self._header):
            yield self._written(_Row(cells, ()))
        for row in self._rows:
            match self._chance.randrange(100):
                case 0:
                    self.repeated_headers += 1
                    yield self._written(_Row(self._header, ()))
                case 1:
                    yield self._written(_Row(self._chance.choice(((), (" ",), ("", "", ""))), ()))
            yield self._written(row)

    def _written(self, row: _Row) -> _Row:
        for one in row.found:
            self._found.append(one._replace(line=self._line))
            if isinstance(one, ExpectedConsent) and one.at is None and row.cells[_DATE_AT]:
                self._undated.add(self._line)
        self._line += 1 + sum(one.count("\n") for one in row.cells)
        return row

    @property
    def truth(self) -> NastyTruth:
        """What is true of the lines that were yielded."""
        return NastyTruth(
            header_line=self.header_line,
            rows=len(self._rows),
            repeated_headers=self.repeated_headers,
            consents=frozenset(one for one in self._found if isinstance(one, ExpectedConsent)),
            refused=frozenset(one for one in self._found if isinstance(one, ExpectedRefusal)),
            undated=frozenset(self._undated),
        )


def write_csv(path: Path, *, rows: int, brand: int, now: datetime, seed: int = 21) -> NastyTruth:
    """Write a CSV file of ``rows`` rows: a BOM of UTF-8, and most lines in Windows-1254."""
    chance = random.Random(seed)
    lines = _Lines(2, HEADER, [_row(chance, one, brand, now) for one in range(rows)], seed)
    out = [b"sep=;", *(_encoded(";".join(_in_csv(cell) for cell in row.cells)) for row in lines)]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(out))
    return lines.truth


def write_workbook(
    path: Path, *, rows: int, brand: int, now: datetime, seed: int = 22
) -> NastyTruth:
    """Write a workbook of ``rows`` rows, with numbers, dates and truth values in some cells."""
    chance = random.Random(seed)
    made = [_row(chance, one, brand, now) for one in range(rows)]
    flat = [one._replace(cells=[cell.replace("\n", " ") for cell in one.cells]) for one in made]
    lines = _Lines(1, HEADER, flat, seed)
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Liste")
    for row in lines:
        cells = [WriteOnlyCell(sheet, one) for one in _as_cells(chance, row)]
        for one in cells:
            if isinstance(one.value, str):
                one.data_type = "s"  # also what looks like a formula
        sheet.append(cells)
    book.save(path)
    return lines.truth


def write_wide(path: Path, *, rows: int, now: datetime, seed: int = 23) -> NastyTruth:
    """Write a file of ``rows`` customers, a column a channel: Excel's "Unicode text"."""
    chance = random.Random(seed)
    lines = _Lines(1, WIDE_HEADER, [_wide_row(chance, one, now) for one in range(rows)], seed)
    text = "\r\n".join("\t".join(_in_csv(cell) for cell in row.cells) for row in lines)
    path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    return lines.truth


def _row(chance: random.Random, number: int, brand: int, now: datetime) -> _Row:
    """Return a row that is one consent."""
    kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
    person, channel = Person.numbered(number), chance.choice(list(CHANNELS))
    if kind.startswith("lost"):
        channel = chance.choice(("MESAJ", "ARAMA"))
    status = "RET" if "opt-out" in kind else "" if kind == "unclear" else "ONAY"
    source = chance.choice(list(SOURCES))
    at = now.astimezone(TURKEY).replace(microsecond=0) - timedelta(
        seconds=chance.randrange(3600, 150_000)
    )
    is_dated = not kind.endswith(("uncertain", "undated"))
    date = a_date(chance, at) if is_dated else ""
    if kind.endswith("uncertain"):
        date = an_uncertain_date(chance, at)
    phone, mail = a_phone(chance, person.phone), a_mail(chance, person.mail)
    if kind.startswith("lost"):
        phone, mail = chance.choice(LOST_DIGITS), ""
    cells = [
        f"M-{number}",
        chance.choice(("Ayşe Öğüt", "ALİ ŞEN", "Işıl Çağ", "Ad; Soyad")),
        phone if channel != "EPOSTA" else chance.choice((phone, "", "-")),
        mail if channel == "EPOSTA" else chance.choice((mail, "", "NULL")),
        chance.choice(CHANNELS[channel]),
        chance.choice({"RET": RETS, "ONAY": ONAYS, "": UNCLEAR}[status]),
        chance.choice(SOURCES[source]),
        date,
        chance.choice(("BİREYSEL", "Bireysel", "", "bireysel", "#YOK")),
        chance.choice((str(brand), f'="{brand}"', f"{brand},0", f"{brand}.0")),
        chance.choice(NOTES),
    ]
    column = {"lost": PHONE, "uncl": STATUS}.get(kind[:4], "")
    if status == "ONAY" and not is_dated:
        column = DATE
    if column:
        return _Row(cells, [ExpectedRefusal(0, column, status)])
    recipient = person.recipient(channel)
    stated = at if is_dated else None
    if date == f"{at:%d.%m.%Y}":
        # The day is certain, which is enough for an opt-out.
        stated = at.replace(hour=0, minute=0, second=0)
    found = ExpectedConsent(0, channel, recipient, status, stated, source)
    return _Row(cells, [found], at if is_dated else None)


def _wide_row(chance: random.Random, number: int, now: datetime) -> _Row:
    """Return a row of a customer, which says something of up to three channels."""
    person, source = Person.numbered(number), chance.choice(list(SOURCES))
    at = now.astimezone(TURKEY).replace(microsecond=0) - timedelta(
        seconds=chance.randrange(3600, 150_000)
    )
    given = at - timedelta(seconds=chance.randrange(3600))
    cells, found = [], list[ExpectedConsent | ExpectedRefusal]()
    for channel, column in WIDE_COLUMNS.items():
        status = chance.choice(("ONAY", "ONAY", "RET", "RET", "date", "unclear", ""))
        recipient = person.recipient(channel)
        match status:
            case "":
                cells.append(chance.choice(("", " ", "-", "NULL")))
            case "unclear":
                cells.append(chance.choice(UNCLEAR[:-2]))
                found.append(ExpectedRefusal(0, column, ""))
            case "date":
                cells.append(a_date(chance, given))
                found.append(ExpectedConsent(0, channel, recipient, "ONAY", given, source))
            case _:
                cells.append(chance.choice(RETS if status == "RET" else ONAYS))
                found.append(ExpectedConsent(0, channel, recipient, status, at, source))
    start = [f"M-{number}", "Ayşe Öğüt", a_phone(chance, person.phone), a_mail(chance, person.mail)]
    end = [chance.choice(SOURCES[source]), a_date(chance, at), chance.choice(NOTES)]
    return _Row([*start, *cells, *end], found)


_KINDS = {
    "opt-in": 45,
    "opt-out": 36,
    "opt-out undated": 3,
    "opt-out uncertain": 3,
    "opt-in undated": 2,
    "opt-in uncertain": 4,
    "lost opt-in": 2,
    "lost opt-out": 2,
    "unclear": 3,
}
"""Each kind of row with its share in percent."""
_DATE_AT = HEADER.index(DATE)
_NOT_QUOTED = ("=", "'")


def _in_csv(cell: str) -> str:
    """Return a cell as a spreadsheet writes it; a formula of a text often stands there bare."""
    if any(one in cell for one in ";\n\t") or ('"' in cell and not cell.startswith(_NOT_QUOTED)):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _encoded(line: str) -> bytes:
    """Return a line in Windows-1254, or where that has not all of its characters, in UTF-8."""
    try:
        return line.encode("cp1254")
    except UnicodeEncodeError:
        return line.encode()


def _as_cells(chance: random.Random, row: _Row) -> list[object]:
    """Return the cells of a row, some as numbers, dates and truth values."""
    cells: list[object] = list(row.cells)
    for place, cell in enumerate(row.cells):
        if cell.isdecimal() and not cell.startswith("0") and chance.random() < 0.5:
            cells[place] = int(cell)
        elif cell.lower() in {"true", "false"} and chance.random() < 0.5:
            cells[place] = cell.lower() == "true"
    if row.date is not None and chance.random() < 0.5:
        cells[_DATE_AT] = row.date.replace(tzinfo=None)
    return cells
