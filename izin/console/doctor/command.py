"""``izin doctor``: is every part there, is it as it must be, and if not, what is the remedy."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from izin.console.doctor.checks import CHECKS, OF_WORKERS
from izin.console.doctor.finding import CheckState, Finding
from izin.console.doctor.runner import findings
from izin.console.terminal.output import OutputFormat, OutputOption, exit_if, out, print_json

_CHECK_WIDTH, _STATE_WIDTH = 12, 7


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Create topics, correct their settings, run migrations.")
    ] = False,
    workers: Annotated[
        bool,
        typer.Option(
            help="Check that workers run. --no-workers says that none does: before their first "
            "start, or since you stopped them. Only then does --fix create a lost state topic."
        ),
    ] = True,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check every part of the installation, and say what to do about each fault.

    Checked are broker, topics, order workers, dead letters, database, migrations, sink workers, the
    intake, the feeds, the gate, pulls from İYS, deadlines, brands, missing events, schema registry
    and İYS, by a call with our account's token. Nothing is changed without --fix. Exit code 1 if
    anything is wrong.
    """
    found: list[Finding] = []
    made = [one for one in CHECKS if workers or one.name not in OF_WORKERS]
    for one in findings(made, fix=fix, stopped=not workers):
        found.append(one)
        if output is OutputFormat.TABLE:
            _print(one)
    if output is OutputFormat.JSON:
        print_json([asdict(one) for one in found])
    exit_if([one for one in found if one.state is CheckState.WRONG])


def _print(finding: Finding) -> None:
    """Print a finding at once; a whole table could be printed at the end only."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=_CHECK_WIDTH)
    row.add_column(width=_STATE_WIDTH)
    row.add_column()
    # As text: input is no markup.
    row.add_row(Text(finding.check), Text(finding.state), Text(finding.what))
    out.print(row)
