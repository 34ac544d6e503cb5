"""The rows of an archive: those of ``movements`` in the format of PostgreSQL's binary COPY.

That format is documented and has not changed since 2003, and a row goes back as it came.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.history.hash_chain import Fact, commitment_of, content
from izin.sinks.record.errors import UnreadableArchiveError

WITHHELD = "withheld"
"""The kind of a row of another customer, or an erased one, in the archive of one customer: its
commitment alone is there."""
_COLUMNS = 15
_COUNT = struct.Struct(">h")
_SIZE = struct.Struct(">i")
_INSTANT = struct.Struct(">q")


class ArchivedRow(NamedTuple):
    """A row of ``movements``, in the order of ``copy-out``. Instants are microseconds since 1970.

    Of an erased row only the commitment is left.
    """

    recorded: int
    occurred: int
    place: int
    shard: int
    kind: str
    link: bytes
    salt: bytes | None
    key: str | None
    customer_id: str
    event_id: str | None
    status: str | None
    source: str | None
    data: bytes | None
    decision: bytes | None
    commitment: bytes | None

    @property
    def committed(self) -> bytes:
        """What its link covers."""
        if self.commitment is not None:
            return self.commitment
        fact = Fact(
            self.kind,
            self.customer_id,
            self.key or "",
            self.event_id,
            self.status,
            self.source,
            self.occurred,
            self.data,
            self.decision,
        )
        return commitment_of(self.salt or b"", content(self.place, fact, self.recorded))


def withheld(row: ArchivedRow) -> ArchivedRow:
    """Return a row that the archive of one customer does not show: its place on the chain."""
    return row._replace(
        recorded=copy_format.EPOCH,
        occurred=copy_format.EPOCH,
        kind=WITHHELD,
        salt=None,
        key=None,
        customer_id="",
        event_id=None,
        status=None,
        source=None,
        data=None,
        decision=None,
        commitment=row.committed,
    )


def copied(row: ArchivedRow) -> bytes:
    """Return a row as COPY has it; :func:`row_of` reads it."""
    return b"".join(
        (
            _COUNT.pack(_COLUMNS),
            copy_format.instant(row.recorded),
            copy_format.instant(row.occurred),
            copy_format.long(row.place),
            copy_format.small(row.shard),
            copy_format.word(row.kind),
            copy_format.text(row.link),
            copy_format.text(row.salt),
            copy_format.word(row.key),
            copy_format.word(row.customer_id),
            copy_format.word(row.event_id),
            copy_format.word(row.status),
            copy_format.word(row.source),
            copy_format.text(row.data),
            copy_format.text(row.decision),
            copy_format.text(row.commitment),
        )
    )


def rows_of(text: bytes) -> Iterator[ArchivedRow]:
    """Yield the rows of the whole of a COPY.

    Raises:
        UnreadableArchiveError: it is no COPY, or it is cut off.
    """
    at = len(copy_format.SIGNATURE)
    if not text.startswith(copy_format.SIGNATURE) or not text.endswith(copy_format.END):
        raise UnreadableArchiveError("the rows are cut off, or are no rows")
    end = len(text) - len(copy_format.END)
    try:
        while at < end:
            row, at = _row(text, at)
            yield row
    except (struct.error, UnicodeDecodeError, TypeError, ValueError) as error:
        raise UnreadableArchiveError(f"byte {at} begins no row") from error


def row_of(text: bytes) -> ArchivedRow:
    """Return the one row in ``text``."""
    return _row(text, 0)[0]


def _row(text: bytes, at: int) -> tuple[ArchivedRow, int]:
    (count,) = _COUNT.unpack_from(text, at)
    at += 2
    found: list[bytes | None] = []
    for _ in range(count):
        (size,) = _SIZE.unpack_from(text, at)
        at += 4
        if size < 0:
            found.append(None)
            continue
        found.append(text[at : at + size])
        at += size
    (recorded, occurred, place, shard, kind, link, salt, key, customer, event_id, status, source,
     data, decision, commitment) = found  # fmt: skip
    row = ArchivedRow(
        _long(recorded) + copy_format.EPOCH,
        _long(occurred) + copy_format.EPOCH,
        _long(place),
        _COUNT.unpack(shard or b"")[0],
        _text(kind) or "",
        link or b"",
        salt,
        _text(key),
        _text(customer) or "",
        _text(event_id),
        _text(status),
        _text(source),
        data,
        decision,
        commitment,
    )
    return row, at


def _long(column: bytes | None) -> int:
    (value,) = _INSTANT.unpack(column or b"")
    return int(value)


def _text(column: bytes | None) -> str | None:
    return None if column is None else column.decode()
