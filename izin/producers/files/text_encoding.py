"""Which encoding a text file has: UTF-8, UTF-16 or Windows-1254, which Turkish programs write.

UTF-8 is certain where every byte fits. UTF-16 is where a BOM says so, or where the first bytes do:
most of them are ASCII with a NUL at each second place, and none has one at the other.
"""

import codecs
from typing import Final

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
