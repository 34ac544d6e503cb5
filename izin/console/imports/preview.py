"""What ``izin import --preview`` prints: what each column is taken for, and how rows are read."""

from dataclasses import asdict

from izin.console.terminal.output import OutputFormat, print_json, print_rows, say, warn
from izin.producers.files.columns import ColumnMeaning
from izin.producers.files.preview import ImportPreview, PreviewedRow

_COLUMNS = ("column", "holds")
_ROWS = ("row", "brand", "type", "recipient", "status", "date", "result")


def print_preview(found: ImportPreview, output: OutputFormat) -> None:
    """Print ``found``: the columns, the first rows, and why rows of them are refused."""
    if output is OutputFormat.JSON:
        print_json(_as_json(found))
        return
    about = f", delimiter {found.delimiter!r}" if found.delimiter else ""
    say(f"{found.path.name}: {found.encoding}{about}, columns named in row {found.header_line}")
    print_rows(output, _COLUMNS, [(one.name, _meaning(one)) for one in found.columns])
    if found.problem is not None:
        warn(found.problem)
        return
    print_rows(output, _ROWS, map(_cells, found.rows))
    for code, reason in {one.code: one.reason for row in found.rows for one in row.reasons}.items():
        say(f"{code}: {reason}")
    counts = ", ".join(f"{code} {count}" for code, count in sorted(found.codes.items()))
    say(
        f"of the first {found.examined} rows {found.published} consents would be published and "
        f"{found.refused} refused" + (f" ({counts})" if counts else "")
    )


def _meaning(column: ColumnMeaning) -> str:
    if column.held is not None:
        return str(column.held)
    return "(left out)" if column.is_left_out else "unknown"


def _cells(row: PreviewedRow) -> tuple[object, ...]:
    codes = " ".join(dict.fromkeys(one.code for one in row.reasons))
    result = "published" if row.is_published else "refused"
    return (
        row.line,
        row.brand_code,
        row.type,
        row.recipient,
        row.status,
        row.consent_date,
        f"{result} {codes}".rstrip(),
    )


def _as_json(found: ImportPreview) -> dict[str, object]:
    columns = [{"column": one.name, "holds": _meaning(one)} for one in found.columns]
    return asdict(found) | {"path": found.path.name, "columns": columns}
