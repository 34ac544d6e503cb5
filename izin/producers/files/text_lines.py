"""The lines of a text file, each decoded by itself: what is wrong with one costs that one."""

import io
from collections import deque
from itertools import chain
from pathlib import Path
from typing import Final, Self

from izin.producers.files.text_encoding import BOM, WINDOWS_1254, is_utf_16

MAX_LINE: Final = 256 * 1024
"""The most characters of a line, or of a row of several."""
_COUNTED_EVERY: Final = 100
"""Lines: to ask the system at each would take a seventh of the time of reading."""
_RAW_BOM: Final = BOM.encode().decode("latin-1")


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
