"""The command ``izin``: the windows for people. Every command's work is elsewhere; here it is
named.

Exit codes are in ``izin.console.output``: 0 done, 1 something is wrong, 2 wrong usage, 3 the input
cannot be used, 4 a server or a part of this installation is at fault, 130 stopped before the end.
"""

from __future__ import annotations

import logging

import typer

from izin.console import (
    brands,
    dead_letters,
    demo,
    doctor,
    explain,
    publish,
    sequences,
    up,
    verify,
    workers,
)
from izin.local.cli import app as local
from izin.simulator.cli import app as simulator

app = typer.Typer(
    name="izin",
    help="Consent records and İYS telling the same story.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("publish")(publish.publish)
app.command("import")(publish.import_)
app.command("stream")(workers.stream)
app.command("sink")(workers.sink)
app.command("intake")(workers.intake)
app.command("explain")(explain.explain)
app.command("dead-letters")(dead_letters.dead_letters)
app.command("doctor")(doctor.doctor)
app.command("verify")(verify.verify)
app.add_typer(brands.app, name="brands")
app.add_typer(sequences.app, name="sequences")
app.add_typer(simulator, name="simulator")
app.add_typer(local, name="local")


def main() -> None:
    """Run the command line."""
    # Libraries' warnings are for the logs of the workers, who set logging up; a command tells
    # what went wrong once, in its own words.
    logging.getLogger().addHandler(logging.NullHandler())
    app()
