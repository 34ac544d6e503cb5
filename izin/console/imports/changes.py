"""``izin import changes``: which keys one import has changed, and what changed nothing."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from izin.consent.enums import DecisionKind, Status
from izin.console.terminal.arguments import ByOption, OneCustomerOption
from izin.console.terminal.ledger_session import Look, run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    print_json,
    print_rows,
    warn,
)
from izin.sinks.ledger.history.imports import ImportChanges, import_changes

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NOTES: Final = {
    (Status.RET, DecisionKind.APPLY): "changed the state of their recipient",
    (Status.ONAY, DecisionKind.APPLY): "changed the state of their recipient",
    (Status.RET, DecisionKind.ENRICHED): "were known, and have better evidence now",
    (Status.ONAY, DecisionKind.ENRICHED): "were known, and have better evidence now",
    (Status.RET, DecisionKind.STALE): "changed nothing: something newer stands",
    (Status.ONAY, DecisionKind.STALE): "changed nothing: something newer stands",
}


def changes(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="The run that the import has named, or its file."),
    ],
    *,
    customer: OneCustomerOption = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print what one import changed, and how many opt-outs changed nothing: a newer opt-in stands.

    With --output json each key that was changed, with its row: personal data, and who
    looked is written to the history. The ledger knows what the order stage has decided so far.
    """
    path = Path(run)
    if not _DIGEST.fullmatch(run) and not path.is_file():
        raise typer.BadParameter(f"{run} is neither a run nor a file", param_hint="RUN")
    with exit_on_error():
        if path.is_file():
            with path.open("rb") as stream:
                run = hashlib.file_digest(stream, "sha256").hexdigest()
        found = run_on_ledger(
            lambda ledger: import_changes(ledger, run, customer_id=customer),
            look=Look(command="import changes", by=by, customer=customer)
            if output is OutputFormat.JSON
            else None,
        )
    match output:
        case OutputFormat.JSON:
            decided = [
                {"status": status, "kind": kind, "count": count}
                for (status, kind), count in sorted(found.decided.items())
            ]
            print_json(
                {
                    "run": run,
                    "decided": decided,
                    "opt_outs_behind": found.opt_outs_behind,
                    "changes": [one._asdict() for one in found.changes],
                }
            )
        case OutputFormat.TABLE:
            print_rows(output, ("what", "count", "note"), _rows(found))
    if not found.decided:
        warn("nothing is known of this import: were its events decided, and taken by the ledger?")


def _rows(found: ImportChanges) -> Iterator[tuple[object, ...]]:
    for (status, kind), note in _NOTES.items():
        if count := found.decided[status, kind]:
            yield f"{status} {kind}", count, note
    note = "opt-outs (RET) that changed nothing: a newer opt-in (ONAY) stands"
    yield "behind", found.opt_outs_behind, note
