"""Options that several commands take together."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from izin.cli.terminal import takes


def _filters(
    *,
    colour: Annotated[list[str] | None, typer.Option()] = None,
    size: Annotated[int, typer.Option(min=1)] = 1,
) -> str:
    return f"{colour} of {size}"


@takes("chosen", _filters)
def _meant(
    names: Annotated[list[str] | None, typer.Argument()] = None, *, chosen: str
) -> tuple[str, list[str] | None]:
    return chosen, names


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--by=ada"], "('None of 1', None) ada"),
        (["--by=ada", "--colour=red", "one", "two"], "(\"['red'] of 1\", ['one', 'two']) ada"),
        (["--by=ada", "--size=0"], "Invalid value for '--size'"),
        (["--colour=red"], "Missing option '--by'"),
    ],
)
def test_command_takes_the_options_of_a_set(words: list[str], shown: str) -> None:
    """Of a set within a set too, with their checks, beside its own."""
    app = typer.Typer()

    @app.command()
    @takes("letters", _meant)
    def show(*, letters: object, by: Annotated[str, typer.Option()]) -> None:
        typer.echo(f"{letters} {by}")

    assert shown in CliRunner().invoke(app, words).output
