"""The encoding of a text file, and its lines, each decoded by itself: what is wrong with one costs
that one.

Encodings are UTF-8, UTF-16 and Windows-1254, which Turkish programs write. UTF-8 is certain where
every byte fits. UTF-16 is where a BOM says so, or where the first bytes do: most of them are ASCII
with a NUL at each second place, and none has one at the other.
"""

import codecs
import io
from collections import deque
from itertools import chain
from pathlib import Path
from typing import Final, Self

UTF_8: Final = "utf-8-sig"
WINDOWS_1254: Final = "cp1254"
BOM: Final = "\ufeff"
_UTF_16: Final = {
    codecs.BOM_UTF16_LE: ("utf-16-le", 1),
    codecs.BOM_UTF16_BE: ("utf-16-be", 0),
}
"""Of each BOM: the encoding, and at which of two bytes an ASCII character has its NUL."""
BOMS: Final = (codecs.BOM_UTF8, *_UTF_16)
_EXAMINED: Final = 4096
_TO_CSV: Final = "save the table as CSV (UTF-8) or .xlsx"
_MAGIC: Final = {
    b"PK\x03\x04": f"a damaged Excel workbook or another archive; {_TO_CSV}",
    b"\xd0\xcf\x11\xe0": (
        "a workbook of an old Excel (.xls), or one with a password; save it as .xlsx without one"
    ),
    codecs.BOM_UTF32_LE: f"UTF-32 text; {_TO_CSV}",
    codecs.BOM_UTF32_BE: f"UTF-32 text; {_TO_CSV}",
    b"%PDF": f"a PDF; {_TO_CSV}",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
}
_MARKUP: Final = (b"<html", b"<!doctype", b"<table", b"<?xml", b"<meta")
_WEB_PAGE: Final = f"a web page, whatever its name ends with; open it in Excel and {_TO_CSV}"
MAX_LINE: Final = 256 * 1024
"""The most characters of a line, or of a row of several."""
_COUNTED_EVERY: Final = 100
"""Lines: to ask the system at each would take a seventh of the time of reading."""
_RAW_BOM: Final = BOM.encode().decode("latin-1")


def is_utf_16(encoding: str) -> bool:
    """Whether ``encoding`` is one of UTF-16."""
    return encoding.startswith("utf-16")


def what_else(head: bytes) -> str | None:
    """Return what a file that begins with ``head`` is, if it is no text, and the remedy."""
    if head.lstrip().lower().startswith(_MARKUP):
        return _WEB_PAGE
    return next((what for magic, what in _MAGIC.items() if head.startswith(magic)), None)


class EncodingDetector:
    """Finds the encoding of a file whose bytes it is fed, in order."""

    def __init__(self, head: bytes) -> None:
        self._certain = _utf_16_of(head)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_utf_8 = True

    def feed(self, chunk: bytes, *, final: bool = False) -> None:
        """Take the next bytes."""
        if self._is_utf_8 and self._certain is None:
            try:
                self._decoder.decode(chunk, final)
            except UnicodeDecodeError:
                self._is_utf_8 = False

    @property
    def encoding(self) -> str:
        """The encoding of what was fed."""
        return self._certain or (UTF_8 if self._is_utf_8 else WINDOWS_1254)


def _utf_16_of(head: bytes) -> str | None:
    for bom, (encoding, high) in _UTF_16.items():
        if head.startswith(bom):
            return encoding
        nuls, others = head[high:_EXAMINED:2], head[1 - high : _EXAMINED : 2]
        if nuls.count(0) * 2 > len(nuls) and not others.count(0):
            return encoding
    return None


def is_cut(line: str) -> bool:
    """Whether ``line`` was too long, and the rest of it was skipped."""
    return len(line) >= MAX_LINE and not line.endswith("\n")


def _decoded(line: str) -> str:
    """Return ``line``, whose characters are bytes, as the text that they encode."""
    if line.isascii():
        return line
    raw = line.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(WINDOWS_1254, errors="replace")


class TextLines:
    """The lines of a file, numbered from 1, with push-back."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._binary = path.open("rb", buffering=0)
        self._is_decoded = is_utf_16(encoding)
        # In Latin-1 every byte is a character, so lines are found before they are decoded.
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._binary),
            encoding=encoding if self._is_decoded else "latin-1",
            errors="replace",
        )
        self._pushed_back: deque[str] = deque()
        self.number = 0
        self._counted, self._counted_at = 0, 0

    def read(self) -> str:
        """Return the next line including its line break, or "" at the end.

        One that is longer than the maximum is cut there, not decoded, and has no line break.
        """
        if self._pushed_back:
            line = self._pushed_back.popleft()
        else:
            line = self._text.readline(MAX_LINE)
            if self.number == 0:
                line = line.removeprefix(BOM if self._is_decoded else _RAW_BOM)
            if is_cut(line):
                while is_cut(self._text.readline(MAX_LINE)):
                    pass
            elif not self._is_decoded:
                line = _decoded(line)
        if line:
            self.number += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        """Push back ``lines``, the last ones read."""
        self._pushed_back = deque(chain(lines, self._pushed_back))
        self.number -= len(lines)

    @property
    def position(self) -> int:
        """How many bytes were read from the file, as of some lines ago."""
        if self.number >= self._counted_at + _COUNTED_EVERY:
            self._counted_at, self._counted = self.number, self._binary.tell()
        return self._counted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()
