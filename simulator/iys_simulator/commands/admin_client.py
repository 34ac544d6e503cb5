"""A running twin from outside: its admin API for the commands, and how they print.

Exit codes: 0 done, 1 the answer is no (a case failed, the rules refuse a consent), 2 wrong usage,
3 the twin cannot use the order, 4 the twin cannot be reached.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import Annotated, Self

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

DEFAULT_URL = "http://127.0.0.1:8085"
_TIMEOUT = 30.0

BaseUrl = Annotated[
    str, typer.Option("--base-url", envvar="IYS_SIMULATOR_URL", help="Where the twin listens.")
]


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", help="How the result is printed.")]


class Exit(IntEnum):
    """The exit codes of the twin's commands."""

    DONE = 0
    WRONG = 1
    USAGE = 2
    SOURCE = 3
    UNREACHED = 4


class Admin:
    """The admin API of the twin at `base_url`; a context manager.

    A refusal or silence is told on standard error and ends the command with its exit code.
    """

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = base_url.rstrip("/")
        self._http = httpx.Client(transport=transport, timeout=_TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, what: str, asked: Mapping[str, str] | None = None) -> httpx.Response:
        """Give the answer of `GET /__simulator__/{what}`."""
        return self._send("GET", what, asked=asked)

    def post(self, what: str, body: object) -> httpx.Response:
        """Give the answer of `POST /__simulator__/{what}`."""
        return self._send("POST", what, body=body)

    def delete(self, what: str) -> httpx.Response:
        """Give the answer of `DELETE /__simulator__/{what}`."""
        return self._send("DELETE", what)

    def _send(
        self,
        method: str,
        what: str,
        *,
        body: object = None,
        asked: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            answer = self._http.request(
                method, f"{self._url}/__simulator__/{what}", json=body, params=asked
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise failed(
                f"no twin answers at {self._url} ({type(problem).__name__}); start one with "
                "`iys-simulator serve`, or name its address with --base-url",
                Exit.UNREACHED,
            ) from None
        if answer.is_success:
            return answer
        if answer.headers.get("content-type", "").startswith("application/json"):
            raise failed(str(answer.json().get("error", answer.text)), Exit.SOURCE)
        raise failed(f"what answers at {self._url} has no admin API", Exit.UNREACHED)


def failed(message: str, code: Exit) -> typer.Exit:
    """Tell `message` on standard error; what is given, raised, ends the command with `code`."""
    Console(stderr=True).print(Text.assemble(("error", "red"), " ", message), soft_wrap=True)
    return typer.Exit(code)


def print_json(value: object) -> None:
    """Print `value` as JSON on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print `rows` under `titles`; cells are texts, not markup."""
    table = Table()
    for title in titles:
        # Longer than the screen is wide, an address or an id goes on in the next line: none is cut.
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    Console().print(table)


def print_facts(facts: Mapping[str, object], output: Output) -> None:
    """Print names with their values."""
    match output:
        case Output.JSON:
            print_json(facts)
        case Output.TABLE:
            print_table(("", ""), list(facts.items()))
