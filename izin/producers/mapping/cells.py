"""A cell of a spreadsheet's export, read as the text that the sheet shows.

Excel reads ``05550000001`` in a CSV file as a number and drops its zero, so exports write it as a
formula of one text (``="05550000001"``) or with the prefix of a text cell (``'05550000001``). Cells
also carry blanks and invisible marks from copying, and words for "nothing". No formula is computed:
any other one is kept as it stands, for the law to refuse.
"""

import re
from typing import Final

from izin.consent import Channel, as_written, read_recipient

_BLANKS: Final = (
    " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_MARKS: Final = (
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069"
    "\ufeff"
)
_EDGES: Final = _BLANKS + _MARKS
_AS_SPACES: Final = str.maketrans(dict.fromkeys("\u00a0\u2007\u202f", " "))
_PREFIXES: Final = {"'": "'", "\u2018": "\u2019", "\u2019": "\u2019"}
"""Each apostrophe of a text cell, and the one that may close it."""
_QUOTED: Final = re.compile(r'(?:=\s*)?"((?:[^"]++|"")*+)"')
_WHOLE: Final = re.compile(r"([0-9]+)[.,]0+")
_STARTS: Final = ("=", '"', *_PREFIXES)
_NOTHING: Final = frozenset({"-", "NULL", "#YOK", "#N/A"})
"""Placeholders for an empty cell; #YOK is the Turkish Excel's #N/A."""
_LONGEST_NOTHING: Final = 4


def cell_text(cell: str) -> str:
    """Return the text that ``cell`` shows; "" for a placeholder."""
    if len(cell) > _LONGEST_NOTHING and cell.isalnum():
        return cell  # letters and digits are neither notation nor blanks
    text = notation_text(cell)
    return "" if len(text) <= _LONGEST_NOTHING and text.upper() in _NOTHING else text


def whole_number(text: str) -> str:
    """Return ``text`` without the fraction of a whole number (``1,0``, ``1.0``)."""
    found = _WHOLE.fullmatch(text)
    return text if found is None else found[1]


def notation_text(cell: str) -> str:
    """Return ``cell`` without text notation, blanks around it and marks of copying."""
    text = as_written(cell).strip(_EDGES) if "\\u" in cell else cell.strip(_EDGES)
    if text.startswith(_STARTS):
        text = _unquoted(_unprefixed(text))
    return text if text.isascii() else text.translate(_AS_SPACES)


def _unprefixed(text: str) -> str:
    closing = _PREFIXES.get(text[0])
    return text if closing is None else text[1:].removesuffix(closing).strip(_EDGES)


def _unquoted(text: str) -> str:
    found = _QUOTED.fullmatch(text)
    return text if found is None else found[1].replace('""', '"').strip(_EDGES)


def is_recipient(text: str) -> bool:
    """Whether ``text`` is an address."""
    return any(isinstance(read_recipient(text, channel), str) for channel in Channel)
