"""Recipients that are given in a file, or on standard input, so that no shell remembers them."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.terminal.arguments import normalised

STANDARD_INPUT = Path("-")
RecipientOption = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        "--key",
        help="Of this recipient, or of this canonical key; repeat it. A hyphen (-) reads them from "
        "standard input, one a line, so that no recipient is in the shell's history.",
    ),
]


def named_recipients(given: Iterable[str]) -> Iterator[str]:
    """Yield the recipients and keys that are ``given``, as keys spell them; a hyphen stands for
    those on standard input. Raises as :func:`recipients_in`.
    """
    for one in given:
        if one == str(STANDARD_INPUT):
            yield from recipients_in(STANDARD_INPUT)
        else:
            yield normalised(one)


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
            where = "standard input" if file == STANDARD_INPUT else file
            raise SourceError(f"{where}, line {number}: {error}") from error
