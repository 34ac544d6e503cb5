"""``izin import``: a CRM export into Kafka, with a report of the rows that are refused."""

from dataclasses import replace
from typing import Any

import typer
from typer.core import TyperGroup

from izin.console.imports.changes import changes
from izin.console.imports.options import (
    AgainOption,
    DryRunOption,
    FileArgument,
    PreviewOption,
    ReportOption,
    reading_options,
    reversal_options,
)
from izin.console.imports.preview import show_preview
from izin.console.imports.result import print_result
from izin.console.imports.session import import_session
from izin.console.terminal.arguments import takes
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    say,
)
from izin.console.terminal.progress import showing_steps
from izin.producers.files.importer import Import
from izin.producers.files.importing.reversals import ReversalRules

_ONLY_SHOWN = (
    "it publishes nothing and writes no report: leave out --report, --dry-run, --again and "
    "--reversals"
)
_STOPPED = "stopped before its end; the same command goes on where it was"
_STOPPED_DRY = "stopped before its end; nothing was published: --dry-run"


_FILE = "file"


class FileOrCommand(TyperGroup):
    """The group ``izin import``: what is none of its commands is the file to import."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # Typer's own
        """Have the arguments of an import begin with its command."""
        is_command = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if is_command else [_FILE, *args])


app = typer.Typer(cls=FileOrCommand, invoke_without_command=True)
app.command("changes")(changes)


@app.command(_FILE, hidden=True)
@takes("reading", reading_options)
@takes("reversals", reversal_options)
def import_(
    path: FileArgument,
    *,
    reading: Import,
    report: ReportOption = None,
    preview: PreviewOption = False,
    dry_run: DryRunOption = False,
    again: AgainOption = False,
    reversals: ReversalRules,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Publish the consents and opt-outs of a file; write a report of the rows that are refused.

    An import that was stopped, by whatever, goes on where it was when the command is repeated.
    The opt-outs (RET) of the file go first. An opt-in (ONAY) that would reverse one that stands is
    left out, and listed beside the report, to be looked through and given back (--reversals).
    Importing a file again has no effect. What it changed: izin import changes FILE.

    Exit code 5 if opt-outs are among the refused rows, or may be because a status cannot be read; 1
    if only other rows were refused, or left out; 3 if the file as a whole cannot be used. With
    --preview 1 if rows of the first thousand are refused, and 3 if no row can be read with these
    columns.
    """
    imports = report or dry_run or again or reversals != ReversalRules()
    if preview and imports:
        raise typer.BadParameter(_ONLY_SHOWN, param_hint="--preview")
    with exit_on_signals(), exit_on_error():
        if preview:
            show_preview(path, reading, output)
            return
        how = replace(
            reading,
            report_path=report,
            dry_run=dry_run,
            resumable=True,
            again=again,
            reversals=reversals,
        )
        try:
            with import_session() as session, showing_steps() as begin:
                done = session.run(
                    path, how, begin, opt_outs=lambda brands: session.opt_outs(brands, begin)
                )
        except KeyboardInterrupt:
            say(f"{path.name}: {_STOPPED_DRY if dry_run else _STOPPED}")
            raise
    print_result(done, output)
    if done.lost_opt_outs:
        raise typer.Exit(ExitCode.OPT_OUTS_REFUSED)
    exit_if(done.refused)
