"""Daily files as people and programs read them: pure."""

from collections.abc import Iterator
from datetime import date

from izin.schemas.timestamps import TimestampState
from izin.sinks.ledger.daily.files import DailyFile, FileState

COLUMNS = ("brand", "day", "state", "lines", "İYS/here", "time stamp", "agreed")
"""``İYS/here``: how many lines only İYS's file has, and only ours."""
_HASH, _SHOWN = 96, 24
FINDING_COLUMNS = ("check", "result", "detail")


def row_of(file: DailyFile) -> tuple[object, ...]:
    """Return a file as a row of ``COLUMNS``."""
    is_compared = file.state is FileState.COMPARED
    return (
        file.brand_code,
        str(file.day),
        ("equal" if file.is_equal else "differs") if is_compared else str(file.state),
        file.lines,
        f"{file.only_at_iys}/{file.only_here}" if is_compared else None,
        file.timestamp_state,
        file.agreed_at is not None,
    )


def needs_person(file: DailyFile, today: date) -> bool:
    """Whether a person must look at a file."""
    return (
        file.is_late(today)
        or file.state is FileState.GONE
        or bool(file.only_at_iys)
        or file.timestamp_state is TimestampState.WRONG
    )


def note_on(file: DailyFile, today: date) -> str | None:
    """Return what a person should know of a file; None: nothing."""
    where = f"izin iys daily verify --brand {file.brand_code} --day {file.day}"
    is_wrong = file.timestamp_state is TimestampState.WRONG
    notes = (
        (file.state is FileState.GONE, "İYS shows it no more, and it was never fetched"),
        (file.error is not None, file.error),
        (is_wrong, f"the time stamp proves nothing: {where}"),
        (bool(file.only_at_iys), f"neither push nor pull brought all: {where}"),
        (bool(file.only_here), f"İYS's file lacks what its streams showed: {where}"),
        (file.is_late(today), f"İYS has not made it (processStatus {file.process_status})"),
    )
    return next((note for holds, note in notes if holds), None)


def is_awaited(file: DailyFile) -> bool:
    """Whether a worker still does something about a file by itself."""
    is_ordered = file.agree_ordered_by is not None and file.agreed_at is None
    return is_ordered or file.state in {FileState.WAITING, FileState.FETCHED}


def shortened(value: object) -> object:
    """Return a value as a table shows it: of a hash the beginning."""
    return f"{value[:_SHOWN]}…" if isinstance(value, str) and len(value) == _HASH else value


def fields_of(file: DailyFile) -> Iterator[tuple[str, object]]:
    """Yield what is known of a file, by name."""
    yield from (
        ("brand_code", file.brand_code),
        ("day", str(file.day)),
        ("state", str(file.state)),
        ("process_status", file.process_status),
        ("counted_by_iys", file.total),
        ("lines", file.lines),
        ("hash", file.hash_value),
        ("own_hash", file.own_hash),
        ("is_equal", file.is_equal if file.state is FileState.COMPARED else None),
        ("only_at_iys", file.only_at_iys),
        ("only_here", file.only_here),
        ("entered", file.entered),
        ("erased", file.redacted),
        ("timestamp", None if file.timestamp_state is None else str(file.timestamp_state)),
        ("timestamped_at", file.timestamped_at),
        ("fetched_at", file.fetched_at),
        ("compared_at", file.compared_at),
        ("agree_ordered_by", file.agree_ordered_by),
        ("agreed_at", file.agreed_at),
        ("next_attempt_at", file.next_attempt_at if is_awaited(file) else None),
        ("error", file.error),
    )
