"""İYS's file of a day: CSV with one line for each movement, in UTF-8 (reference 2.12).

Sorted by creation date, then by transaction id; the movements of one second share a transaction id.
Whether a byte order mark and column names stand before the lines, and belong to the hashed bytes,
is not documented, nor is how an empty consent date is written.
"""

import csv
from typing import Final

from izin.consent import RecipientType
from izin.iys.errors import UnreadableError
from izin.iys.wire_format.consents import IysMovement
from izin.iys.wire_format.json_reader import from_turkish, lower_case_email

COLUMNS: Final = (
    "creationDate",
    "transactionId",
    "recipient",
    "recipientType",
    "type",
    "status",
    "consentDate",
    "source",
)
HEADER: Final = (",".join(COLUMNS) + "\n").encode()
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DATE: Final = len("YYYY-MM-DD HH:mm:ss")
_EMPTY: Final = frozenset({"", "null", "none", "-"})
"""How programs write a date that is none."""


def prefix_of(start: bytes) -> bytes:
    """Return what stands before the lines at the ``start`` of a file, which has its first line.

    Raises:
        UnreadableError: it has column names, and they are not İYS's.
    """
    mark = BYTE_ORDER_MARK if start.startswith(BYTE_ORDER_MARK) else b""
    first, _, _ = start.removeprefix(mark).partition(b"\n")
    names = [one.strip(' "').lower() for one in first.decode("utf-8", "replace").split(",")]
    if names[0] != COLUMNS[0].lower():
        return mark
    if [one.strip() for one in names] != [one.lower() for one in COLUMNS]:
        raise UnreadableError(f"a daily file with other columns than {','.join(COLUMNS)}")
    return mark + first + b"\n"


def known_prefixes(found: bytes) -> tuple[bytes, ...]:
    """Return what may stand before the lines where İYS makes its hash, ``found`` first."""
    ours = (b"", HEADER, BYTE_ORDER_MARK, BYTE_ORDER_MARK + HEADER)
    return tuple(dict.fromkeys((found, *ours)))


def place_of(line: bytes) -> bytes:
    """Return by what a line is sorted: creation date and transaction id, as they are written."""
    return line[: line.find(b",", _DATE + 1)]


def read_line(line: bytes, *, empty_date: str) -> IysMovement:
    """Return the movement in a line; ``empty_date`` is how an empty consent date is written.

    Raises:
        UnreadableError: it has other columns, or a value that is none of theirs.
    """
    try:
        # PostgreSQL has no NUL.
        text = line.decode().replace("\0", "").rstrip("\r\n")
        cells = next(csv.reader([text], strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        raise UnreadableError("a line of a daily file that is not CSV in UTF-8") from None
    if len(cells) != len(COLUMNS):
        raise UnreadableError(f"a line of a daily file with {len(cells)} columns")
    created, transaction_id, recipient, recipient_type, type_, status, consented, source = (
        one.strip() for one in cells
    )
    if not (recipient and type_ and status):
        raise UnreadableError("a line of a daily file without recipient, type or status")
    is_empty = consented == empty_date or consented.lower() in _EMPTY
    return IysMovement(
        recipient=lower_case_email(recipient),
        type=type_,
        recipient_type=recipient_type or str(RecipientType.BIREYSEL),
        status=status,
        source=source or None,
        consent_date=None if is_empty else from_turkish(consented),
        creation_date=from_turkish(created),
        transaction_id=transaction_id,
    )
