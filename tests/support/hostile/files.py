"""Rows and files that no importer should meet, and meets: the same for the same seed.

A hostile row is bytes without a line break of its own making that closes it; it may hold several.
Malformed files are damaged, or made to do harm: mutated tables, and workbooks that claim too much.
"""

import codecs
import io
import random
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

from openpyxl import Workbook

HEADER = "ALICI;İZİN TÜRÜ;İZİN DURUMU;İZİN KAYNAĞI;İZİN TARİHİ;MARKA;REFERANS"
WIDTH = HEADER.count(";") + 1

_STATUSES = ("ONAY", "E", "H", "RET", "1", "0", "", "?", "EVET\0", "İ", "\u0131")
_FORMULAS = (
    '=HYPERLINK("http://example.com";"x")',
    "=1+1",
    "@SUM(A1)",
    "+905550000001",
    "-1",
    "=cmd|' /C calc'!A0",
    '="05550000001"',
    '="""',
    '="',
    "'",
    "''",
    '"',
    '""',
    '"""',
    "='",
    "\t=1",
)
_DATE_FORMS = (
    "{d:02}.{m:02}.{y:04} 10:00:00", "{y:04}-{m:02}-{d:02} 10:00:00", "{d}/{m}/{y:04} 1:00",
    "{y:04}/{m:02}/{d:02} 23:59", "{y:04}-{m:02}-{d:02}T00:00:00+14:00",
    "{y:04}-{m:02}-{d:02}T23:59:59-14:00", "{y:04}-{m:02}-{d:02}T00:00:00Z",
    "{d:02}-{m:02}-{y:04} 00:00",
)  # fmt: skip
_BROKEN = (
    b"\x81\x8d\x8f", b"\xc3", b"\xe2\x82", b"\xff\xfe", b"\xf0\x9f\x98", b"\xed\xa0\x80",
    b"\xc0\xaf", b"\x80", b"\xfe\xff\x00A", b"\xf4\x90\x80\x80", b"\xdd\xde\xf0",
)  # fmt: skip
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE)
_LONGEST_CELL = 600_000
_ROWS, _CLAIM_EVERY = 12, 50
_LINE = "05550{0:06};SMS;{1};HS_WEB;02.03.2026 10:00:00;100001;CRM-{0}"
_WIDE = "Cep;SMS İzni;E-Posta İzni;E-Posta;Marka;Tarih;Kaynak"
_WIDE_LINE = "05550{0:06};{1};{1};kisi.{0}@example.com;100001;02.03.2026 10:00:00;HS_WEB"
_ENCODINGS = ("utf-8", "utf-8-sig", "cp1254", "utf-16", "utf-16-le", "utf-16-be")
_SHEET = "xl/worksheets/sheet1.xml"
_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_HUGE = 1024 * 1024
_MEBIBYTE = 1024 * 1024
_BOMB = 512


Part = Sequence[bytes] | None
"""What a part of a workbook has, piece by piece; None: there is no such part."""


def hostile_rows(count: int, *, seed: int) -> Iterator[bytes]:
    """Return ``count`` rows; each kind of them in turn."""
    chance = random.Random(seed)
    return (_KINDS[number % len(_KINDS)](chance) for number in range(count))


def hostile_files(count: int, *, seed: int) -> Iterator[bytes]:
    """Yield the bytes of ``count`` files that are hostile as a whole."""
    chance = random.Random(seed)
    row = f"05550000001;SMS;RET;HS_WEB;02.03.2026 10:00;100001;{'x' * 9}"
    text = f"{HEADER}\r\n{row}\r\n"
    for _ in range(count):
        data = chance.choice(
            (
                text.encode(chance.choice(("utf-8", "cp1254", "utf-16", "utf-32", "cp857"))),
                chance.choice(_BOMS) * chance.randrange(1, 3) + text.encode(),
                chance.randbytes(chance.randrange(4000)),
                text.encode()[: chance.randrange(len(text))],
                b"sep=;" * chance.randrange(3) + b"\r\n" + text.encode(),
                text.replace("\r\n", chance.choice(("\r", "\n\r", "\v", "\u2028", ""))).encode(),
            )
        )
        at = chance.randrange(len(data) + 1)
        yield data[:at] + chance.choice((b"", b"\0", b'"', *_BROKEN)) + data[at:]


def _cells(chance: random.Random) -> list[str]:
    """Return the cells of a row that would be accepted."""
    return [
        f"0555{chance.randrange(10**7):07}",
        chance.choice(("SMS", "ARAMA")),
        chance.choice(_STATUSES),
        "HS_WEB",
        "02.03.2026 10:00:00",
        "100001",
        "x",
    ]


def _with_cell(chance: random.Random, cell: str) -> bytes:
    """Return a row with ``cell`` in any place."""
    cells = _cells(chance)
    cells[chance.randrange(WIDTH)] = cell
    return ";".join(cells).encode("utf-8", "surrogatepass")


def _broken_encoding(chance: random.Random) -> bytes:
    row = ";".join(_cells(chance)).encode(chance.choice(("utf-8", "cp1254")))
    at = chance.randrange(len(row) + 1)
    return row[:at] + chance.choice(_BROKEN) + row[at:]


def _marked(chance: random.Random) -> bytes:
    row = ";".join(_cells(chance)).encode()
    at = chance.choice((0, 0, len(row), chance.randrange(len(row))))
    return row[:at] + chance.choice((*_BOMS, b"\0", b"\0\0\0")) + row[at:]


def _lone_quote(chance: random.Random) -> bytes:
    cells = _cells(chance)
    place = chance.randrange(WIDTH)
    cells[place] = chance.choice(
        (f'"{cells[place]}', f'{cells[place]}"', '"', f'"{cells[place]}"x', f'x"{cells[place]}"')
    )
    return ";".join(cells[: chance.randrange(1, WIDTH + 1)]).encode()


def _unbalanced(chance: random.Random) -> bytes:
    cells = _cells(chance)
    return ";".join(
        chance.choice(
            (cells[: chance.randrange(1, WIDTH)], cells * 2, [*cells, "", "x"], [""] * 99)
        )
    ).encode()


def _giant(chance: random.Random) -> bytes:
    if chance.random() < 0.9:  # one in ten is enough of these
        return _with_cell(chance, chance.choice("x9\"'=") * chance.randrange(20_000))
    size = chance.choice((131_071, 131_073, 256 * 1024, _LONGEST_CELL))
    return _with_cell(chance, chance.choice(("x", "9", '"', "a\u0301", "1|")) * size)


def _any_character(chance: random.Random) -> bytes:
    category = chance.choice(list(characters()))
    of_it = characters()[category]
    text = "".join(chance.choice(of_it) for _ in range(chance.randrange(1, 8)))
    cells = _cells(chance)
    place = chance.randrange(WIDTH)
    cells[place] = chance.choice((text, text + cells[place], cells[place] + text))
    return ";".join(cells).encode("utf-8", "surrogatepass")


def _any_date(chance: random.Random) -> bytes:
    cells = _cells(chance)
    cells[4] = chance.choice(_DATE_FORMS).format(
        d=chance.randrange(33),
        m=chance.randrange(14),
        y=chance.choice((1, 9999, 2014, chance.randrange(10_000))),
    )
    return ";".join(cells).encode()


def _formula(chance: random.Random) -> bytes:
    return _with_cell(chance, chance.choice(_FORMULAS))


def _many_lines(chance: random.Random) -> bytes:
    note = chance.choice(("a", '""', ";;", "x;" * WIDTH, "\0")) + chance.choice(
        ("\r\n", "\n", "\r")
    )
    return ";".join([*_cells(chance)[:-1], '"' + note * chance.randrange(1, 80)]).encode()


_KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _broken_encoding,
    _marked,
    _lone_quote,
    _unbalanced,
    _giant,
    _any_character,
    _any_date,
    _formula,
    _many_lines,
)


@cache
def characters() -> dict[str, list[str]]:
    """Return every character but line breaks, by its Unicode category."""
    found: dict[str, list[str]] = {}
    for code in range(sys.maxunicode + 1):
        one = chr(code)
        if one not in "\r\n":
            found.setdefault(unicodedata.category(one), []).append(one)
    return found


class MalformedFile(NamedTuple):
    """A file, and how it was made."""

    kind: str
    content: bytes


def malformed_files(count: int, *, seed: int, book_every: int = 3) -> Iterator[MalformedFile]:
    """Yield ``count`` files; one of ``book_every`` is a workbook."""
    chance = random.Random(seed)
    book = _book()
    for number in range(count):
        if number % book_every:
            kind = chance.choice(list(_TEXT_KINDS))
            yield MalformedFile(kind, _TEXT_KINDS[kind](chance, _text(chance)))
        elif number % (book_every * _CLAIM_EVERY) == 0:
            kind = list(_CLAIMS)[number // (book_every * _CLAIM_EVERY) % len(_CLAIMS)]
            yield MalformedFile(kind, claiming(kind))
        else:
            kind = chance.choice(list(_BOOK_KINDS))
            yield MalformedFile(kind, _BOOK_KINDS[kind](chance, book))


def _text(chance: random.Random) -> bytes:
    header, line = chance.choice(((HEADER, _LINE), (_WIDE, _WIDE_LINE)))
    lines = [
        header,
        *(line.format(one, chance.choice(("RET", "ONAY", "X"))) for one in range(_ROWS)),
    ]
    text = chance.choice(("\r\n", "\n", "\r")).join(lines)
    return text.replace(";", chance.choice((";", ",", "\t", "|"))).encode(chance.choice(_ENCODINGS))


def _book() -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADER.split(";"))
    for one in range(_ROWS):
        cells: list[object] = [*_LINE.format(one, "RET").split(";")]
        cells[4] = datetime(2026, 3, 2, 10)  # noqa: DTZ001  # a workbook's dates have no zone
        cells[5] = 100001
        sheet.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _flipped(chance: random.Random, content: bytes) -> bytes:
    out = bytearray(content)
    for _ in range(chance.choice((1, 2, 8, 64))):
        out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def _truncated(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content))]


def _inserted(piece: Callable[[random.Random], bytes]) -> Callable[[random.Random, bytes], bytes]:
    def mutated(chance: random.Random, content: bytes) -> bytes:
        out = content
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(out) + 1)
            out = out[:at] + piece(chance) + out[at:]
        return out

    return mutated


def _shuffled(chance: random.Random, content: bytes) -> bytes:
    cuts = sorted(chance.randrange(len(content)) for _ in range(4))
    parts = [content[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    chance.shuffle(parts)
    return b"".join(parts)


def _mixed(chance: random.Random, content: bytes) -> bytes:
    return content + chance.choice((b"\r\n", b"", b"\n")) + _text(chance)


def _repeated(chance: random.Random, content: bytes) -> bytes:
    piece = content[chance.randrange(len(content)) :][: chance.choice((1, 2, 40))]
    return content + piece * chance.choice((100, 2000))


_PIECES: dict[str, Callable[[random.Random], bytes]] = {
    "nul": lambda chance: b"\0" * chance.choice((1, 3, 500)),
    "surrogate": lambda chance: chance.choice((b"\xed\xa0\x80", b"\x00\xd8", b"\xd8\x00")),
    "quotes": lambda chance: b'"' * chance.choice((1, 2, 3, 999)),
    "delimiters": lambda chance: chance.choice((b";", b",", b"|")) * chance.choice((1, 5000)),
    "line ends": lambda chance: chance.choice((b"\r", b"\n", b"\r\r\n", b"\x85", b"\x1a")) * 40,
    "bom": lambda chance: chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")),
    "formula": lambda _: b'=HYPERLINK("http://example.com")',
    "noise": lambda chance: chance.randbytes(chance.choice((1, 30, 4000))),
    "lines": lambda chance: chance.choice((b"\n;", b"\nx", b"\n")) * 2000,
    "huge": lambda chance: chance.choice((b"x", b"5", b"\xfd", b'"')) * _HUGE,
}
_TEXT_KINDS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "flipped": _flipped,
    "truncated": _truncated,
    "shuffled": _shuffled,
    "mixed": _mixed,
    "repeated": _repeated,
    **{name: _inserted(piece) for name, piece in _PIECES.items() if name != "huge"},
    "huge": lambda chance, content: content + _PIECES["huge"](chance),
}


def _part_flipped(chance: random.Random, content: bytes) -> bytes:
    """Return a sound archive with damaged XML."""
    with ZipFile(io.BytesIO(content)) as book:
        name = chance.choice(book.namelist())
        damage = chance.choice((_flipped, _truncated, _shuffled, _inserted(_PIECES["noise"])))
        return _with_parts(content, {name: [damage(chance, book.read(name))]})


def _part_missing(chance: random.Random, content: bytes) -> bytes:
    with ZipFile(io.BytesIO(content)) as book:
        return _with_parts(content, {chance.choice(book.namelist()): None})


def _size_wrong(chance: random.Random, content: bytes) -> bytes:
    """Return an archive whose directory says other sizes than there are."""
    out, at = bytearray(content), content.find(b"PK\x01\x02")
    field = at + chance.choice((16, 20, 24))
    out[field : field + 4] = chance.choice((b"\xff\xff\xff\x7f", b"\0\0\0\0", chance.randbytes(4)))
    return bytes(out)


_BOOK_KINDS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "book flipped": _flipped,
    "book truncated": _truncated,
    "book shuffled": _shuffled,
    "part flipped": _part_flipped,
    "part missing": _part_missing,
    "size wrong": _size_wrong,
}


def _with_parts(book: bytes, parts: dict[str, Part]) -> bytes:
    """Return the workbook with other ``parts``; None leaves one out."""
    out = io.BytesIO()
    with ZipFile(io.BytesIO(book)) as old, ZipFile(out, "w", ZIP_DEFLATED) as new:
        for name in {**dict.fromkeys(old.namelist()), **parts}:
            content = parts[name] if name in parts else [old.read(name)]
            if content is not None:
                with new.open(name, "w", force_zip64=True) as part:
                    part.writelines(content)
    return out.getvalue()


def _sheet(*rows: bytes) -> dict[str, Part]:
    start = f'<?xml version="1.0"?><worksheet xmlns="{_NAMESPACE}"><sheetData>'.encode()
    return {_SHEET: [start, *rows, b"</sheetData></worksheet>"]}


def _cell(name: str, text: str) -> str:
    return f'<c r="{name}" t="inlineStr"><is><t>{text}</t></is></c>'


def _shared(repeats: int) -> dict[str, Part]:
    """Return a text of a megabyte that ``repeats`` cells share."""
    cells = "".join(
        f'<row r="{one}"><c r="A{one}" t="s"><v>0</v></c></row>' for one in range(1, repeats)
    )
    text = f'<sst xmlns="{_NAMESPACE}"><si><t>{"x" * 2**20}</t></si></sst>'
    return {**_sheet(cells.encode()), "xl/sharedStrings.xml": [text.encode()]}


def _rows(*cells: tuple[int, str, str]) -> dict[str, Part]:
    """Return a sheet with one cell a row: its number, the name of the cell, the text."""
    rows = "".join(f'<row r="{row}">{_cell(name, text)}</row>' for row, name, text in cells)
    return _sheet(rows.encode())


def _entities() -> dict[str, Part]:
    """Return a sheet with a text that would be twenty to the eighth times as long."""
    nested = "".join(
        f'<!ENTITY {name} "{f"&{last};" * 20}">' for last, name in pairwise("abcdefghi")
    )
    start = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "{"y" * 999}">{nested}]>'
    rows = f'<row r="1">{_cell("A1", "&i;")}</row>'
    sheet = f'<worksheet xmlns="{_NAMESPACE}"><sheetData>{rows}</sheetData></worksheet>'
    return {_SHEET: [f"{start}{sheet}".encode()]}


def _long_text() -> dict[str, Part]:
    start, end = _cell("A1", "|").encode().split(b"|")
    return _sheet(b'<row r="1">', start, *[b"x" * _MEBIBYTE] * _BOMB, end, b"</row>")


_CLAIMS: dict[str, Callable[[], dict[str, Part]]] = {
    "far cell": lambda: _rows((1, "A1", "x"), (1048576, "XFD1048576", "y")),
    "wide": lambda: _rows((1, "XFD1", "x"), (200000, "A200000", "y")),
    "spaces": lambda: _sheet(*[b" " * _MEBIBYTE] * _BOMB),
    "long text": _long_text,
    "shared text": lambda: _shared(50_000),
    "entities": _entities,
    "styles": lambda: {"xl/styles.xml": [b"<" * _MEBIBYTE] * _BOMB},
    "deep": lambda: _sheet(b"<row>" * 2_000_000),
}
"""Workbooks that are small and would take the memory of the machine."""


@cache
def claiming(kind: str) -> bytes:
    """Return a workbook of one of the kinds that claim too much."""
    return _with_parts(_book(), _CLAIMS[kind]())
