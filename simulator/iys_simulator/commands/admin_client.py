"""A client of a running simulator's admin API for the commands, and how they print.

Exit codes: 0 done, 1 a negative result (a case failed, the rules refuse a consent), 2 wrong usage,
3 the simulator cannot use the request, 4 the simulator cannot be reached.
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
    str, typer.Option("--base-url", envvar="IYS_SIMULATOR_URL", help="Address of the simulator.")
]


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", help="How the result is printed.")]


class Exit(IntEnum):
    """The exit codes of the commands."""

    DONE = 0
    WRONG = 1
    USAGE = 2
    SOURCE = 3
    UNREACHABLE = 4


class AdminClient:
    """A client of the admin API at `base_url`; a context manager.

    A refusal or a failed connection is printed on standard error and ends the command with its exit
    code.
    """

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = base_url.rstrip("/")
        self._http = httpx.Client(transport=transport, timeout=_TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        """Return the response to `GET /__simulator__/{path}`."""
        return self._send("GET", path, query=query)

    def post(self, path: str, body: object) -> httpx.Response:
        """Return the response to `POST /__simulator__/{path}`."""
        return self._send("POST", path, body=body)

    def delete(self, path: str) -> httpx.Response:
        """Return the response to `DELETE /__simulator__/{path}`."""
        return self._send("DELETE", path)

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            response = self._http.request(
                method, f"{self._url}/__simulator__/{path}", json=body, params=query
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise failed(
                f"no simulator responds at {self._url} ({type(problem).__name__}); start one with "
                "`iys-simulator serve`, or give its address with --base-url",
                Exit.UNREACHABLE,
            ) from None
        if response.is_success:
            return response
        if response.headers.get("content-type", "").startswith("application/json"):
            raise failed(str(response.json().get("error", response.text)), Exit.SOURCE)
        raise failed(f"{self._url} has no admin API", Exit.UNREACHABLE)


def failed(message: str, code: Exit) -> typer.Exit:
    """Print `message` on standard error; return what, raised, ends the command with `code`."""
    Console(stderr=True).print(Text.assemble(("error", "red"), " ", message), soft_wrap=True)
    return typer.Exit(code)


def print_json(value: object) -> None:
    """Print `value` as JSON on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print `rows` under `titles`; cells are texts, not markup."""
    table = Table()
    for title in titles:
        # A cell wider than the screen is wrapped, so that no recipient or id is truncated.
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
