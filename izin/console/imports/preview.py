"""``izin import --preview``: what each column holds, and how the first rows are read."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer

from izin.console.imports.result import say_words, warn_of_hidden
from izin.console.publish import utc_now
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    exit_if,
    kafka_settings,
    print_json,
    print_rows,
    say,
    warn,
)
from izin.producers.files.importer import Import
from izin.producers.files.preview import ImportPreview, PreviewedRow, preview_file
from izin.projections.brand_directory import BrandReader
from izin.runtime.kafka import access_of

_COLUMNS = {"column": "column", "holds": "what it holds"}
_ROWS = ("row", "recipient", "type", "status", "date", "result")


def show_preview(path: Path, how: Import, output: OutputFormat) -> None:
    """Print what an import of the file at ``path`` would make of its beginning, and exit: with 3
    where no row can be read, with 1 where rows are refused.
    """
    kafka = access_of(kafka_settings())
    brands = BrandReader(kafka, kafka.codec()).load()
    found = preview_file(path, brands, columns=how.columns, dates=how.dates, now=utc_now())
    print_preview(found, output)
    if found.problem is not None:
        raise typer.Exit(ExitCode.SOURCE)
    exit_if(found.refused)


def print_preview(found: ImportPreview, output: OutputFormat) -> None:
    """Print columns, first rows and counts; recipients are masked."""
    match output:
        case OutputFormat.JSON:
            columns = [
                {"column": one.name, "holds": None if one.held is None else str(one.held)}
                for one in found.columns
            ]
            print_json(
                {
                    "encoding": found.encoding,
                    "delimiter": found.delimiter,
                    "header_line": found.header_line,
                    "hidden_sheets": found.hidden_sheets,
                    "columns": columns,
                    "problem": found.problem,
                    "rows": [asdict(one) for one in found.rows],
                    "examined": found.examined,
                    "published": found.published,
                    "refused": found.refused,
                    "codes": found.codes,
                }
            )
        case OutputFormat.TABLE:
            warn_of_hidden(found.hidden_sheets)
            print_rows(output, _COLUMNS, _columns(found))
            if found.problem is not None:
                warn(found.problem)
                return
            print_rows(output, _ROWS, map(_cells, found.rows))
            for code, reason in _reasons(found.rows).items():
                say(f"{code}: {reason}")
            say_words(found.codes)
            say(
                f"{found.path.name}, {found.encoding}: of the first {found.examined} rows "
                f"{found.published} consents would be published, {found.refused} refused"
            )


def _columns(found: ImportPreview) -> Iterator[tuple[str, str]]:
    for one in found.columns:
        unknown = "left out" if one.is_left_out else "not known: --map or --ignore"
        yield one.name, unknown if one.held is None else str(one.held)


def _cells(row: PreviewedRow) -> tuple[object, ...]:
    codes = ", ".join(one.code for one in row.reasons)
    result = "published" if row.is_published else "refused"
    return (
        *(row.line, row.recipient, row.type, row.status, row.consent_date),
        f"{result}: {codes}" if codes else result,
    )


def _reasons(rows: tuple[PreviewedRow, ...]) -> dict[str, str]:
    return {reason.code: reason.reason for one in rows for reason in one.reasons}
