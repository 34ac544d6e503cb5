"""Rows and files that no importer should meet, and meets: the same for the same seed.

A hostile row is bytes without a line break of its own making that closes it; it may hold several.
"""

import codecs
import random
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache

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


def hostile_rows(count: int, *, seed: int) -> Iterator[bytes]:
    """Yield ``count`` rows; each kind of them in turn."""
    chance = random.Random(seed)
    for number in range(count):
        yield _KINDS[number % len(_KINDS)](chance)


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
