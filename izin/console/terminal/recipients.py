"""Recipients that are given in a file, or on standard input, so that no shell remembers them."""

import sys
from collections.abc import Iterator
from pathlib import Path

from izin.consent.errors import SourceError
from izin.console.terminal.arguments import normalised

STANDARD_INPUT = Path("-")


def recipients_in(file: Path) -> Iterator[str]:
    """Yield the recipients of a text ``file`` with one in each line, or of standard input (``-``),
    as keys spell them.

    Raises:
        SourceError: the file cannot be read, or a line, which it names, is no recipient.
    """
    try:
        if file == STANDARD_INPUT:
            lines = sys.stdin.read().removeprefix("\ufeff").splitlines()
        else:
            lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield normalised(line.strip())
        except SourceError as error:
            raise SourceError(f"{file}, line {number}: {error}") from error
