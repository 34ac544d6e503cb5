"""``izin iys daily``: İYS's files of each day, how they compare with ours, and agreement.

A file is written with its time stamp for others: a court, or tools that verify both.
``openssl ts -verify -data DAY.csv -in DAY.tsr -CAfile ROOTS`` needs nothing of this project.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.x509 import Certificate

from izin.cli.terminal import (
    BrandOption,
    ByOption,
    ExecuteOption,
    OneBrandOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    SinceOption,
    day_of,
    end_dry_run,
    exit_if,
    json_text,
    new_file,
    print_rows,
    say,
    turkish,
    write_new,
)
from izin.cli.terminal.ledger_session import named_brand, run_cut, run_on_ledger
from izin.consent import SourceError
from izin.ledger.brands import registered_brand
from izin.ledger.daily import files, lines
from izin.ledger.daily.files import REVIEWED_FOR, SHOWN_FOR, Compared, DailyFile, FileState
from izin.ledger.db import Ledger
from izin.runtime.masking import mask_text
from izin.runtime.settings import SinkSettings
from izin.schemas import timestamps
from izin.schemas.timestamps import Timestamp, TimestampState
from izin.sinks.inbound.daily.content import FileCheck
from izin.sinks.inbound.daily.loop import trusted_roots
from izin.views.cut import Look

COLUMNS = ("brand", "day", "state", "lines", "İYS/here", "time stamp", "agreed")
"""``İYS/here``: how many lines only İYS's file has, and only ours."""
_HASH, _SHOWN = 96, 24
_SHOWN_LINES = 100
"""Of so many differing lines a command prints the first."""


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


def note_on(file: DailyFile, now: datetime) -> str | None:
    """Return what a person should know of a file; None: nothing."""
    where = f"izin iys daily verify --brand {file.brand_code} --day {file.day}"
    is_wrong = file.timestamp_state is TimestampState.WRONG
    notes = (
        (file.state is FileState.GONE, "İYS shows it no more, and it was never fetched"),
        (file.error is not None, file.error),
        (is_wrong, f"the time stamp proves nothing: {where}"),
        (bool(file.only_at_iys), f"neither push nor pull brought all: {where}"),
        (bool(file.only_here), f"İYS's file lacks what its streams showed: {where}"),
        (file.is_late(now), f"İYS has not made it (processStatus {file.process_status})"),
    )
    return next((note for holds, note in notes if holds), None)


def is_awaited(file: DailyFile) -> bool:
    """Whether a worker still does something about a file by itself."""
    return file.is_open or (file.agree_ordered_by is not None and file.agreed_at is None)


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


async def write_files(ledger: Ledger, file: DailyFile, folder: Path) -> list[Path]:
    """Write İYS's file as it was hashed, its time stamp, and what is known of both; return where.

    Raises:
        SourceError: its lines are not in the ledger, or a file of that name exists, or cannot be
            written.
    """
    if file.lines is None:
        raise SourceError(f"the file of {file.day} is not here: it is {file.state}")
    name = f"{file.brand_code}-{file.day}"
    csv = folder / f"{name}.csv"
    with new_file(csv) as out:
        out.write(file.hashed_prefix or b"")
        async for block in lines.read(ledger, file):
            out.write(block)
    written = [csv]
    if file.timestamp_reply is not None:
        written.append(write_new(folder / f"{name}.tsr", file.timestamp_reply))
    known = json_text(dict(fields_of(file))).encode()
    return [*written, write_new(folder / f"{name}.json", known)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the checks of a file found."""

    file: DailyFile
    hash_value: str
    """The SHA-384 of the file as it is stored, in hex."""
    compared: Compared
    timestamp: Timestamp
    differences: Sequence[tuple[str, str]]
    """The first lines that only one side has, by side, with masked recipients."""

    @property
    def is_whole(self) -> bool:
        """Whether the stored file is the one that İYS has hashed."""
        return self.hash_value == self.file.hash_value

    @property
    def is_wrong(self) -> bool:
        """Whether a check failed. Of a file with erased lines only hash and timestamp are left."""
        is_broken = not self.is_whole and not self.file.redacted
        return is_broken or self.compared.differs or self.timestamp.state is TimestampState.WRONG

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield each check with its result and what is known."""
        erased = f"{self.file.redacted} lines were erased; İYS's hash is of the file before"
        integrity = "erased" if self.file.redacted else "ok" if self.is_whole else "wrong"
        yield "integrity", integrity, erased if self.file.redacted else self.hash_value
        compared, timestamp = self.compared, self.timestamp
        if compared.differs:
            what = f"{compared.only_at_iys} lines only at İYS, {compared.only_here} only here"
            yield "agreement", "differs", what
        else:
            yield "agreement", "ok", compared.own_hash
        yield "time stamp", str(timestamp.state), timestamp.error or turkish(timestamp.at)

    def to_json(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {
            "brand_code": self.file.brand_code,
            "day": str(self.file.day),
            "is_whole": self.is_whole,
            "erased": self.file.redacted,
            "hash": self.file.hash_value,
            "stored_hash": self.hash_value,
            **asdict(self.compared),
            "timestamp": str(self.timestamp.state),
            "timestamped_at": self.timestamp.at,
            "timestamp_error": self.timestamp.error,
            "differences": [{"side": side, "line": line} for side, line in self.differences],
        }


async def check(
    ledger: Ledger, file: DailyFile, roots: Sequence[Certificate], *, empty_date: str
) -> Findings:
    """Return what the checks of a stored file find.

    Raises:
        SourceError: its lines are not in the ledger.
    """
    if file.lines is None or file.hash_value is None:
        raise SourceError(f"the file of {file.day} is not here: it is {file.state}")
    with FileCheck(ledger, file, empty_date=empty_date) as both:
        compared = await both.compare()
        return Findings(
            file=file,
            hash_value=both.hash_value(),
            compared=compared,
            timestamp=timestamps.verify(file.timestamp_reply, file.hash_value, roots),
            differences=[
                (str(difference.side), mask_text(difference.line.decode("utf-8", "replace")))
                for difference in islice(both.differences(), _SHOWN_LINES)
            ],
        )


app = typer.Typer(
    help="Show İYS's files of each day (mutabakat), and agree with them.\n\n"
    "The sink workers fetch the file of a brand the next morning, check its hash and its time "
    "stamp, record what neither push nor pull brought, and compare it with our own of that day, "
    "which is made from the history.",
    no_args_is_help=True,
)


DayOption = Annotated[
    date, typer.Option("--day", parser=day_of, metavar="YYYY-MM-DD", help="The day, Turkish time.")
]


@app.command("list")
def list_(
    *,
    customer: OneCustomerOption = None,
    brand: OneBrandOption = None,
    since: SinceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the daily files of the last days, or since a time: how each compares with ours.

    The column İYS/here has how many lines only İYS's file has, and only ours. Exit code 1 if one
    needs a person: it is late or lost, has lines that neither push nor pull brought, or a wrong
    time stamp.
    """
    now = datetime.now(UTC)
    first = files.today_in_turkey(since or now - timedelta(days=REVIEWED_FOR))
    found = run_cut(
        customer,
        lambda ledger: files.since(ledger, first, brand_code=brand),
        attrgetter("brand_code"),
        only=named_brand(brand),
    )
    noted = [(one, note_on(one, now)) for one in found]
    print_rows(
        output,
        COLUMNS,
        map(row_of, found),
        as_json=[dict(fields_of(one)) for one in found],
        notes=(f"{one.brand_code} {one.day}: {note}" for one, note in noted if note is not None),
    )
    exit_if([one for one in found if one.needs_person(now)])


@app.command()
def show(
    *,
    brand: BrandOption,
    day: DayOption,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write İYS's file, its time stamp and what is known of both into this "
            "folder. They have recipients in full.",
        ),
    ] = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show what is known of a daily file: counts, hashes, time stamp, agreement.

    Times are Turkish. Who wrote files is in the history. Exit code 1 if it needs a person, 3 if
    there is no file of that day.
    """
    file = run_on_ledger(lambda ledger: _found(ledger, brand, day))
    if out is not None:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = run_on_ledger(
            lambda ledger: write_files(ledger, file, out),
            look=Look(command="iys daily show", by=by, brand=brand),
        )
        say(*(f"wrote {path}" for path in written))
    rows = [
        (name.replace("_", " "), shortened(value))
        for name, value in fields_of(file)
        if value is not None
    ]
    print_rows(output, ("field", "value"), rows, as_json=dict(fields_of(file)))
    exit_if(file.needs_person(datetime.now(UTC)))


@app.command()
def fetch(*, brand: BrandOption, day: DayOption) -> None:
    """Have a sink worker fetch a daily file now, or compare again one that is here.

    The file of a day is here once: İYS does not change it. Exit code 3 if the day is none that İYS
    shows, or the brand is not registered.
    """
    now = datetime.now(UTC)
    today = files.today_in_turkey(now)
    if not today - timedelta(days=SHOWN_FOR) <= day < today:
        raise SourceError(
            f"İYS shows the files of {SHOWN_FOR} days that are over, and {day} is none of them"
        )
    state = run_on_ledger(
        lambda ledger: files.order_fetch(ledger, brand, day, now=now), brand=brand
    )
    does = "fetches" if state is files.FileState.WAITING else "compares"
    say(
        f"a sink worker {does} the file of {day} for brand {brand} within a minute; see: izin iys "
        f"daily show --brand {brand} --day {day}"
    )


@app.command()
def verify(
    *, brand: BrandOption, day: DayOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Check a stored daily file again: its hash, its time stamp, and each line against ours.

    Lines that only İYS's file or only ours has are printed with masked recipients. What only the
    daily file brought is no part of ours. Roots of time stamps are those of IZIN_TIMESTAMP_ROOTS.
    Exit code 1 if a check fails, 3 if the ledger does not have the file.
    """
    settings = SinkSettings()
    roots = trusted_roots(settings.timestamp_roots)

    async def checked(ledger: Ledger) -> Findings:
        return await check(
            ledger, await _found(ledger, brand, day), roots, empty_date=settings.daily_empty_date
        )

    findings = run_on_ledger(checked)
    print_rows(
        output,
        ("check", "result", "detail"),
        [(one, result, shortened(detail)) for one, result, detail in findings.rows()],
        as_json=findings.to_json(),
    )
    if findings.differences and output is OutputFormat.TABLE:
        print_rows(output, ("side", "line"), findings.differences)
    exit_if(findings.is_wrong)


@app.command()
def agree(
    *,
    brand: BrandOption,
    day: DayOption,
    execute: ExecuteOption = False,
    by: ByOption,
) -> None:
    """Declare to İYS that we agree with a daily file (mutabakat).

    That cannot be taken back: İYS takes no other value. It is possible only where our own file of
    the day has the hash of İYS's, and a business partner needs agreementControl of the brand. A
    sink worker declares it within a minute. Who ordered it is written to the history. Exit code 3
    if both files differ, or agreement was declared or ordered before.
    """
    file = run_on_ledger(lambda ledger: _found(ledger, brand, day))
    _may_be_agreed(file)
    end_dry_run(
        f"would agree with the file of {day} for brand {brand} ({file.lines} lines), which cannot "
        "be taken back",
        execute=execute,
    )
    ordered = run_on_ledger(lambda ledger: _order(ledger, file, by))
    if not ordered:
        raise SourceError("the file has changed meanwhile; see: izin iys daily show")
    say(f"a sink worker agrees with the file of {day} for brand {brand} within a minute")


async def _found(ledger: Ledger, brand_code: int, day: date) -> DailyFile:
    """Return the file of a day.

    Raises:
        UnregisteredBrandError: the brand is not registered.
        SourceError: there is none.
    """
    await registered_brand(ledger, brand_code)
    file = await files.one(ledger, brand_code, day)
    if file is None:
        raise SourceError(
            f"no file of {day} was fetched for brand {brand_code}; see izin iys daily list, or: "
            f"izin iys daily fetch --brand {brand_code} --day {day}"
        )
    return file


async def _order(ledger: Ledger, file: DailyFile, by: str) -> bool:
    brand = await registered_brand(ledger, file.brand_code)
    return await files.order_agreement(
        ledger, file, by=by, customer_id=brand.customer_id, now=datetime.now(UTC)
    )


def _may_be_agreed(file: DailyFile) -> None:
    """Raise SourceError where agreement with a file is not possible, or declared."""
    if file.agreed_at is not None or file.agree_ordered_by is not None:
        raise SourceError(f"agreement with the file of {file.day} was declared or ordered before")
    if file.lines is None:
        raise SourceError(f"there is no file of {file.day} to agree with; it is {file.state}")
    if not file.is_equal:
        raise SourceError(
            f"our own file of {file.day} does not have the hash of İYS's: {file.only_at_iys} lines "
            f"are only in İYS's, {file.only_here} only in ours; izin iys daily verify --brand "
            f"{file.brand_code} --day {file.day} prints them"
        )
