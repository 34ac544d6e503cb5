"""The command ``izin``: the windows for people. Every command's work is elsewhere; ``commands``
names them.

Exit codes are in ``izin.console.terminal.output``: 0 done, 1 something is wrong, 2 wrong usage, 3 the input
cannot be used, 4 a server or a part of this installation is at fault, 130 stopped before the end.
"""

from __future__ import annotations

import logging

import typer

from izin.console.commands import CommandGroup

app = typer.Typer(
    name="izin", cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False
)


@app.callback()
def izin() -> None:
    """Consent records and İYS telling the same story."""


def main() -> None:
    """Run the command line."""
    # Libraries' warnings are for the logs of the workers, who set logging up; a command tells
    # what went wrong once, in its own words.
    logging.getLogger().addHandler(logging.NullHandler())
    app()
