"""The report of one day of a brand: its file, the hash of the file, its statistics.

The file has one line for each movement of the day, in order of creation date and transactionId, and
is complete when the day is over. Pure: movements are arguments.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from iys_simulator.clock import day_start
from iys_simulator.errors.responses import refused
from iys_simulator.rules.consent import CHANNELS
from iys_simulator.settings import Settings
from iys_simulator.store.movements import Movement, WritePath

COLUMNS: Final = "creationDate,transactionId,recipient,recipientType,type,status,consentDate,source"
_DAYS_BACK: Final = timedelta(days=7)
_DATE_LENGTH: Final = len("YYYY-MM-DD")
_LINES_AT_ONCE: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """A day in Turkish time, from `start` to before `end` (epoch seconds)."""

    text: str
    start: int
    end: int


def day_of(text: str, today: str) -> Day:
    """Return the day of a report; `today` is a wire text.

    Raises:
        RefusedError: H501 if it is no date, H502 if it is more than seven days ago.
    """
    try:
        day = date.fromisoformat(text) if len(text) == _DATE_LENGTH else None
    except ValueError:
        day = None
    if day is None or text != day.isoformat():
        raise refused("H501", location=["reportDate"], value=text)
    if day < date.fromisoformat(today[:_DATE_LENGTH]) - _DAYS_BACK:
        raise refused("H502", location=["reportDate"], value=text)
    if day == date.max:
        raise refused("H501", location=["reportDate"], value=text)
    return Day(text=text, start=day_start(day), end=day_start(day + timedelta(days=1)))


def file_chunks(movements: Iterable[Movement], settings: Settings) -> Iterator[bytes]:
    """Yield the day's file in chunks; `movements` are in the order of their seconds."""
    lines = [f"{COLUMNS}\n"] if settings.csv_header else []
    for _, group in itertools.groupby(movements, key=lambda movement: movement.second):
        rows = [(movement.transaction_id, movement) for movement in group]
        rows.sort(key=lambda row: (row[0], row[1].sequence))
        if settings.day_file_lines == "one":
            rows = list(dict(rows).items())
        lines += [_line(transaction_id, movement) for transaction_id, movement in rows]
        if len(lines) >= _LINES_AT_ONCE:
            yield "".join(lines).encode()
            lines = []
    if lines:
        yield "".join(lines).encode()


def file_hash(chunks: Iterable[bytes]) -> str:
    """Return the SHA-384 of a file in lower-case hex digits."""
    digest = hashlib.sha384()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def statistics(
    movements: Iterable[Movement], recipient_type: str, pending: Mapping[str, int]
) -> list[dict[str, object]]:
    """Return a day's movements of one recipient type, counted by type and by writer (HS or IYS).

    An approval is a first ONAY or one after RET, a rejection a RET after ONAY. The total includes
    renewals and waiting items (`pending`, by type).
    """
    counts = {
        (channel, source): {"approval": 0, "rejection": 0, "pending": 0, "total": 0}
        for channel in CHANNELS
        for source in ("HS", "IYS")
    }
    for movement in movements:
        if movement.recipient_type != recipient_type:
            continue
        is_citizens = movement.origin.path is WritePath.CITIZEN
        count = counts[movement.type, "IYS" if is_citizens else "HS"]
        count["total"] += 1
        if movement.is_change:
            count["approval" if movement.status == "ONAY" else "rejection"] += 1
    for channel, waiting in pending.items():
        counts[channel, "HS"]["pending"] += waiting
        counts[channel, "HS"]["total"] += waiting
    return [
        {
            "type": channel,
            "consents": [{"source": source, **counts[channel, source]} for source in ("HS", "IYS")],
        }
        for channel in CHANNELS
    ]


def _line(transaction_id: str, movement: Movement) -> str:
    return (
        f"{movement.creation_date},{transaction_id},{movement.recipient},"
        f"{movement.recipient_type},{movement.type},{movement.status},"
        f"{movement.consent_date},{movement.source}\n"
    )
