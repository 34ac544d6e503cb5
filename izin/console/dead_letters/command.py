"""``izin dead-letters``: records that could not be processed, where they are, why, what became of
them, and how they come back.
"""

from datetime import timedelta
from typing import Annotated

import typer

from izin.console.dead_letters.acknowledging import acknowledge_letters
from izin.console.dead_letters.listing import print_letter, print_list
from izin.console.dead_letters.options import filters, meant
from izin.console.dead_letters.redriving import RedriveOptions, redrive_letters
from izin.console.terminal.arguments import (
    ByIfKnownOption,
    ByOption,
    ExecuteOption,
    duration,
    filled,
    takes,
)
from izin.console.terminal.output import OutputFormat, OutputOption, exit_on_error
from izin.replay.letters.selection import Selection

app = typer.Typer()

ReasonOption = Annotated[
    str,
    typer.Option(
        help="Why: what was done about them, or why nothing is; the history keeps it.",
        callback=filled,
    ),
]


@app.callback(
    invoke_without_command=True,
    help="List, acknowledge and redrive records that could not be processed. Alone it does `list`.",
)
def dead_letters(
    context: typer.Context, *, by: ByIfKnownOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Run ``list`` where no subcommand is given."""
    command = context.invoked_subcommand
    if command is None:
        with exit_on_error():
            print_list(Selection(), output, waiting=False, limit=None, by=by)
    elif output is not OutputFormat.TABLE:
        raise typer.BadParameter(
            f"write it after the command: izin dead-letters {command} --output"
        )


@app.command("list")
@takes("chosen", filters)
def list_(
    *,
    chosen: Selection,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that nobody has acknowledged.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many, the newest. Default: 1,000 in a table."),
    ] = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List dead letters: where the record was, why it could not be processed, and what became of
    it: acknowledged, redriven or corrected, by whom and when.

    The JSON also has the original bytes in base64; they are personal data, and who
    looked is written to the history.
    """
    with exit_on_error():
        print_list(chosen, output, waiting=waiting, limit=limit, by=by)


@app.command()
def show(
    letter: Annotated[
        str,
        typer.Argument(metavar="LETTER", help="As izin dead-letters names it: partition/offset."),
    ],
    *,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Show recipient and evidence: personal data.")
    ] = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print everything that can be read of a dead letter: what is wrong with it in English and
    Turkish, its event, where it was, its headers, and what became of it.

    Who looked at one --unmasked is written to the history. Exit code 3 if there is no such letter.
    """
    with exit_on_error():
        print_letter(letter, output, unmasked=unmasked, by=by)


@app.command()
@takes("letters", meant)
def acknowledge(
    *,
    letters: Selection,
    reason: ReasonOption,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Acknowledge dead letters, so that izin doctor no longer reports them.

    They stay where they are. Who acknowledged which, and why, is written to the history. Exit code
    3 if a letter that is named does not exist, or is acknowledged already.
    """
    with exit_on_error():
        acknowledge_letters(letters, by=by, reason=reason, execute=execute)


@app.command()
@takes("letters", meant)
def redrive(
    *,
    letters: Selection,
    reason: ReasonOption,
    again: Annotated[
        bool, typer.Option("--again", help="Also letters that were acknowledged, or redriven.")
    ] = False,
    refused: Annotated[
        bool,
        typer.Option(
            "--refused",
            help="Also letters that would be refused again here: the order workers may have a "
            "newer release, a schema or a secret that this machine lacks.",
        ),
    ] = False,
    wait: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default="PT10M",
            help="How long it waits for the order workers, as PT10M; PT0S: not at all.",
        ),
    ] = timedelta(minutes=10),
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Write dead letters into the input topics again, as they were, where their cause is gone.

    Without --execute the law is run over the present state, and the command says how many would
    land, be superseded by something newer, or still be refused. Each has its old instant, so none
    wins over anything newer. With --execute the command also waits until they are decided, and
    compares.
    Redriven letters are acknowledged, with who, why and the result. A command that ended too early
    is run again: it goes on from there.

    Exit code 1 if letters are left as they are or wait to be decided, 3 if a letter that is named
    does not exist, is acknowledged already, or cannot be redriven.
    """
    options = RedriveOptions(
        by=by, reason=reason, wait=wait, again=again, refused=refused, execute=execute
    )
    redrive_letters(letters, options, output)
