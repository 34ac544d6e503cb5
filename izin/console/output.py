"""How the console speaks: tables for people, JSON for machines, and exit codes that mean something.

0   done, and all is well
1   something is wrong, and what was printed says what to do
2   wrong usage
3   the input cannot be used: its source must act
4   a server cannot be reached, or a part of this installation is at fault: an operator must act
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from izin.consent.errors import IzinError, SourceError
from izin.local import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

out = Console()
err = Console(stderr=True)


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    WRONG = 1
    USAGE = 2
    SOURCE = 3
    OURS = 4


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", help="How the result is printed.")]


def print_json(value: Any) -> None:  # noqa: ANN401  # any JSON
    """Print ``value`` as JSON on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_rows(output: Output, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print ``rows`` as a table, or as a JSON list of objects by column."""
    match output:
        case Output.JSON:
            print_json([dict(zip(columns, row, strict=True)) for row in rows])
        case Output.TABLE:
            table = Table(*columns)
            for row in rows:
                table.add_row(*("" if cell is None else str(cell) for cell in row))
            out.print(table)


@contextmanager
def told() -> Iterator[None]:
    """Turn the errors that a user can act on into one clear message and an exit code."""
    try:
        yield
    except SourceError as error:
        _fail(str(error), Exit.SOURCE)
    except (IzinError, LocalError) as error:
        _fail(str(error), Exit.OURS)
    except ValidationError as error:
        names = ", ".join(str(one["loc"][0]) for one in error.errors())
        _fail(f"settings: {names} missing or wrong; set it in the environment", Exit.OURS)


def _fail(message: str, code: Exit) -> None:
    err.print(f"[red]error[/red] {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)
