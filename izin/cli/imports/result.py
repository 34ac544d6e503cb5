"""What an import did, or with ``--preview`` would do, and with ``izin import changes`` what it has
changed, as the commands print it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated, Final

import typer

from izin.cli.terminal import (
    ByOption,
    ExitCode,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    digest_of,
    print_json,
    print_rows,
    say,
    turkish,
    warn,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import DecisionKind, Status
from izin.ledger.history.reports import ImportChanges, import_changes
from izin.producers.files import Import, ImportPreview, ImportReport, Start, preview_file
from izin.views.cut import Look
from izin.views.imports import NO_MEANING, counts_of

_RESTARTED = {
    Start.FILE_CHANGED: "the file is not the one whose import had stopped",
    Start.OPTIONS_CHANGED: "the options are not those of the import before",
    Start.REPORT_LOST: "the report's rows up to where the import had stopped are gone",
}
_COUNTED = {
    "reversals": ("reversals", "ONAY among them, given back: each reverses an opt-out"),
    "past_term": (
        "past their term",
        "ONAY among them: void unless İYS holds them; they need a new consent",
    ),
    "not_registrable": (
        "to be corrected",
        "opt-outs among them: else İYS gets them as HS_KARAR, or with the time of the import",
    ),
    "without_recipient": (
        "without recipient",
        "opt-outs of a channel for which the row has no address: they concern nobody",
    ),
    "silent": ("say nothing", "rows without a status, or a date, for any channel"),
    "repeated_headers": ("headers", "lines with the header once more, left out"),
    "refused": ("refused", ""),
    "refused_reversals": (
        "left out",
        (
            "ONAY among them would reverse an opt-out. Does the export write its own time as the "
            "consent's date? Correct it. Did they consent again? Give them back: --reversals FILE"
        ),
    ),
}
"""What the counts of an import are called, each with its note."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NOTES: Final = {
    (Status.RET, DecisionKind.APPLY): "changed the state of their recipient",
    (Status.ONAY, DecisionKind.APPLY): "changed the state of their recipient",
    (Status.RET, DecisionKind.ENRICHED): "were known, and have better evidence now",
    (Status.ONAY, DecisionKind.ENRICHED): "were known, and have better evidence now",
    (Status.RET, DecisionKind.STALE): "changed nothing: something newer stands",
    (Status.ONAY, DecisionKind.STALE): "changed nothing: something newer stands",
}


def print_result(done: ImportReport, output: OutputFormat) -> None:
    """Print what was done: refused opt-outs first."""
    if done.finished_before is not None:
        say(
            f"{done.path.name} was imported to its end at {turkish(done.finished_before)}: nothing "
            "was published now, the counts are of then; --again imports it once more"
        )
    elif done.restarted_because is not None:
        why = _RESTARTED[Start(done.restarted_because)]
        say(f"{done.path.name} was imported from its beginning: {why}")
    elif done.resumed_after:
        say(f"{done.path.name}: gone on after row {done.resumed_after}; the counts are of all rows")
    match output:
        case OutputFormat.JSON:
            known = {"run": done.digest, "report": done.report_path}
            counts = asdict(done) | known | {"seconds": round(done.seconds, 2)}
            left_out = {"path", "digest", "report_path"}
            print_json({name: counts[name] for name in counts if name not in left_out})
        case OutputFormat.TABLE:
            if done.lost_opt_outs:
                warn(
                    f"{done.refused_opt_outs} opt-outs (RET) were refused, and "
                    f"{done.refused_unclear} rows whose status cannot be read: these recipients "
                    "still count as they did before. The report begins with them; correct those "
                    "rows and import them.",
                    f"{done.refused_opt_outs} ret (RET) ve durumu okunamayan "
                    f"{done.refused_unclear} satır kabul edilmedi: bu alıcılar hâlâ eskisi gibi "
                    "sayılıyor. Rapor onlarla başlar; o satırları düzeltip içe aktarın.",
                )
            warn_of_hidden(done.hidden_sheets)
            print_rows(output, ("what", "count", "note"), _rows(done))
            if not NO_MEANING.isdisjoint(done.reasons):
                say(
                    "words that are not known are given a meaning: --value WORD=RET, a channel or "
                    "a source in its place, or --value status:WORD=RET for one column alone"
                )


def warn_of_hidden(sheets: Sequence[str]) -> None:
    """Say that hidden ``sheets`` are not read: consents could be in them, unrecognised."""
    if sheets:
        names = ", ".join(f'"{sheet}"' for sheet in sheets)
        warn(
            f"left out: hidden sheets that have rows: {names}. If consents or opt-outs are in "
            "them, save each as a file of its own, and import it."
        )


def _rows(done: ImportReport) -> Iterator[tuple[object, ...]]:
    delimiter = f", delimiter {done.delimiter!r}" if done.delimiter else ""
    notes = {
        **_COUNTED,
        "rows": ("rows", f"{done.encoding}{delimiter}"),
        "published": (
            "would be published" if done.dry_run else "published",
            f"opt-outs among them: {done.opt_outs}",
        ),
    }
    for name, count in counts_of(done).items():
        what, note = notes[name]
        yield what, count, note
    if done.refused_reversals:
        yield "FILE", "", f"{done.reversals_path}: delete the rows that are not to be published"
    if done.reasons:
        ranked = sorted(done.reasons.items(), key=lambda one: -one[1])
        yield "reasons", "", ", ".join(f"{code} {count}" for code, count in ranked)
    if done.report_path is not None:
        yield "report", "", f"{done.report_path}: each of these rows, its reason and its remedy"
    if not done.dry_run:
        yield "changes", "", f"izin import changes {quote(str(done.path))}"
    seconds = "nothing was published: --dry-run" if done.dry_run else ""
    yield "seconds", f"{done.seconds:.1f}", seconds


def show_preview(path: Path, how: Import, output: OutputFormat) -> None:
    """Print what an import would make of the columns of the file at ``path``, and exit with 3 where
    no row can be read with them.
    """
    found = preview_file(path, how.columns)
    if output is OutputFormat.TABLE:
        warn_of_hidden(found.hidden_sheets)
    problem = None if found.problem is None else str(found.problem)
    columns = [
        {"column": column.name, "holds": None if column.held is None else str(column.held)}
        for column in found.columns
    ]
    print_rows(
        output,
        {"column": "column", "holds": "what it holds"},
        _columns(found),
        as_json=asdict(found) | {"path": path.name, "columns": columns, "problem": problem},
    )
    if problem is not None:
        if output is OutputFormat.TABLE:
            warn(problem)
        raise typer.Exit(ExitCode.SOURCE)


def _columns(found: ImportPreview) -> Iterator[tuple[str, str]]:
    for column in found.columns:
        unknown = "left out" if column.is_left_out else "not known: --map or --ignore"
        yield column.name, unknown if column.held is None else str(column.held)


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
    if path.is_file():
        run = digest_of(path)
    found = run_on_ledger(
        lambda ledger: import_changes(ledger, run, customer_id=customer),
        look=Look(command="import changes", by=by, customer=customer)
        if output is OutputFormat.JSON
        else None,
    )
    decided = [
        {"status": status, "kind": kind, "count": count}
        for (status, kind), count in sorted(found.decided.items())
    ]
    known = {
        "run": run,
        "decided": decided,
        "opt_outs_behind": found.opt_outs_behind,
        "changes": [change._asdict() for change in found.changes],
    }
    print_rows(output, ("what", "count", "note"), _decided(found), as_json=known)
    if not found.decided:
        warn("nothing is known of this import: were its events decided, and taken by the ledger?")


def _decided(found: ImportChanges) -> Iterator[tuple[object, ...]]:
    for (status, kind), note in _NOTES.items():
        if count := found.decided[status, kind]:
            yield f"{status} {kind}", count, note
    note = "opt-outs (RET) that changed nothing: a newer opt-in (ONAY) stands"
    yield "behind", found.opt_outs_behind, note
