"""A large day at İYS: its movements in the history of a ledger, and its file."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from pathlib import Path

from izin.consent import TURKEY
from izin.iys.wire_format.consents import HEADER
from izin.ledger.db import Ledger

BRAND = 100001
_SECONDS = 86400
_AT_ONCE = 10_000


def yesterday() -> date:
    """Return the latest day that is over, in Turkish time."""
    return datetime.now(TURKEY).date() - timedelta(days=1)


async def record(ledger: Ledger, day: date, rows: int) -> None:
    """Write so many movements of a day into the history."""
    statement = (resources.files("benchmarks.daily") / "movements.sql").read_text("utf-8")
    first = datetime.combine(day, time(), TURKEY)
    values = {"brand": str(BRAND), "first": first, "rows": rows}
    async with ledger.session() as connection:
        for month in {first.astimezone(UTC).date(), first.astimezone(UTC).date() + timedelta(2)}:
            await connection.execute("SELECT create_month(%(month)s)", {"month": month})
        await connection.execute(statement.encode(), values)
        await connection.execute("VACUUM ANALYZE history")


def write_file(path: Path, day: date, rows: int) -> None:
    """Write the same movements as İYS's file of the day."""
    with path.open("wb") as out:
        out.write(HEADER)
        for lines in _lines(day, rows):
            out.write(lines)


def _lines(day: date, rows: int) -> Iterator[bytes]:
    for start in range(0, rows, _AT_ONCE):
        yield b"".join(
            _line(day, number, rows) for number in range(start, min(start + _AT_ONCE, rows))
        )


def _line(day: date, number: int, rows: int) -> bytes:
    second = number * _SECONDS // rows
    digest = hashlib.md5(str(second).encode(), usedforsecurity=False).hexdigest()
    at = f"{day} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    status = "RET" if number % 2 else "ONAY"
    source = "HS_WEB" if number % 3 else "IYS_WEB"
    person = f"+9055{number:08d}"
    return f"{at},{digest}{digest},{person},BIREYSEL,MESAJ,{status},{at},{source}\n".encode()
