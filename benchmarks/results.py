"""Print the results of a run as tables or JSON, write them to a file, and check their bars."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.bars import BARS
from benchmarks.machine import describe_machine

RESULTS = Path(".izin/bench")
"""Where results are written, a JSON file a run."""

_WIDTH = 130


class ResultFormat(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The results of one run."""

    tables: Sequence[Table | str]
    """For people."""
    data: Mapping[str, Any]
    """Everything measured, for JSON."""
    figures: Mapping[str, float | None]
    """By name of its bar; None where it could not be measured."""
    failures: Sequence[str] = field(default=())
    """What went wrong, whatever the figures."""


def tables() -> Console:
    """Return the console for tables, wide enough for them where there is no terminal, too."""
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    return console


def progress() -> Console:
    """Return the console for progress, which is standard error: standard output is for results."""
    return Console(stderr=True, highlight=False)


def publish(report: RunReport, *, bars: Iterable[str], results: Path, as_json: bool = False) -> int:
    """Print ``report``, write it to ``results``, end with one line for each of ``bars``.

    As JSON, only the results go to standard output, and the lines to standard error. Return the
    exit code: 0, or 1 where a figure misses its bar or something went wrong.
    """
    found = [(BARS[name], report.figures.get(name)) for name in bars]
    machine = describe_machine()
    content = {
        "machine": machine,
        **report.data,
        "failures": list(report.failures),
        "figures": [
            {
                "name": bar.name,
                "value": value,
                "bar": bar.bar,
                "unit": bar.unit,
                "ok": bar.is_met(value),
            }
            for bar, value in found
        ],
    }
    text = json.dumps(content, ensure_ascii=False, indent=2)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(f"{text}\n", encoding="utf-8")
    if as_json:
        typer.echo(text)
    else:
        console = tables()
        for one in (*report.tables, machine, f"written to {results}"):
            console.print(one)
    for failure in report.failures:
        typer.echo(f"failed: {failure}", err=as_json)
    for bar, value in found:
        typer.echo(bar.verdict(value), err=as_json)
    is_met = all(bar.is_met(value) for bar, value in found)
    return 0 if is_met and not report.failures else 1


def register(app: typer.Typer, commands: Mapping[str, Callable[..., RunReport]]) -> None:
    """Add ``commands`` by name to ``app``, each with the options that all of them have.

    The exit code is 1 if a figure misses its bar or a part of the run failed.
    """
    for name, function in commands.items():
        app.command(name)(_published(name, function))


def _published(name: str, function: Callable[..., RunReport]) -> Callable[..., None]:
    """Return ``function`` with the common options, so that its report is published."""

    def publishing(
        *,
        output: Annotated[
            ResultFormat, typer.Option(help="json: the results alone, on standard output.")
        ] = ResultFormat.TABLE,
        results: Annotated[Path, typer.Option(help="The JSON file to write.")] = (
            RESULTS / f"{name}.json"
        ),
        figure: Annotated[
            list[str] | None, typer.Option(help="Judge this figure; may be repeated.")
        ] = None,
        **options: object,
    ) -> None:
        report = function(**options)
        as_json = output is ResultFormat.JSON
        raise typer.Exit(publish(report, bars=figure or (), results=results, as_json=as_json))

    common = inspect.signature(publishing, eval_str=True).parameters.values()
    own = inspect.signature(function).parameters.values()
    hints = get_type_hints(function, include_extras=True)
    parameters = [
        *(one.replace(annotation=hints[one.name], kind=one.KEYWORD_ONLY) for one in own),
        *(one for one in common if one.kind is one.KEYWORD_ONLY),
    ]
    # Typer reads the signature.
    publishing.__dict__["__signature__"] = inspect.Signature(parameters)
    publishing.__annotations__ = {one.name: one.annotation for one in parameters}
    publishing.__doc__ = function.__doc__
    return publishing
