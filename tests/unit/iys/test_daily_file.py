"""Lines of İYS's daily file are read leniently, and what cannot be read is an error."""

from datetime import UTC, datetime

import pytest

from izin.iys.errors import UnreadableError
from izin.iys.wire_format.consents import IysMovement
from izin.iys.wire_format.daily_file import place_of, read_line

LINE = b"2026-03-02 12:00:07,ab12,Ada@Example.com,BIREYSEL,EPOSTA,RET,2026-03-01 10:00:00,IYS_WEB\n"


def test_line_is_read_as_a_movement_of_a_pull():
    """Turkish time becomes UTC, and an address lower case."""
    assert read_line(LINE, empty_date="") == IysMovement(
        recipient="ada@example.com",
        type="EPOSTA",
        recipient_type="BIREYSEL",
        status="RET",
        source="IYS_WEB",
        consent_date=datetime(2026, 3, 1, 7, tzinfo=UTC),
        creation_date=datetime(2026, 3, 2, 9, 0, 7, tzinfo=UTC),
        transaction_id="ab12",
    )


@pytest.mark.parametrize("written", ["", "null", "NULL", "-", "0000"])
def test_empty_consent_date_is_read(written: str):
    """A closed line of a merchant has none; the last notation is that of the settings."""
    line = LINE.replace(b"2026-03-01 10:00:00", written.encode())
    assert read_line(line, empty_date="0000").consent_date is None


def test_quoted_cells_are_read():
    """As a CSV writer may quote every cell."""
    quoted = b",".join(b'"%b"' % one for one in LINE.rstrip(b"\n").split(b",")) + b"\r\n"
    assert read_line(quoted, empty_date="") == read_line(LINE, empty_date="")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"erased\n",
        LINE.replace(b"2026-03-02 12:00:07", b"2.3.2026"),
        LINE.replace(b"2026-03-01 10:00:00", b"yesterday"),
        LINE.replace(b"Ada@Example.com", b""),
        LINE.replace(b"IYS_WEB", b"IYS_WEB,more"),
        LINE.replace(b"IYS_WEB", b'"IYS'),
        LINE.replace(b"Ada", b"\xff"),
    ],
)
def test_line_that_is_no_movement_is_unreadable(line: bytes):
    """Other columns, other dates, no recipient, no UTF-8."""
    with pytest.raises(UnreadableError):
        read_line(line, empty_date="")


def test_line_is_sorted_by_second_and_transaction():
    """And a NUL, which PostgreSQL has not, is none of its text."""
    assert place_of(LINE) == b"2026-03-02 12:00:07,ab12"
    assert read_line(LINE.replace(b"Ada", b"A\0da"), empty_date="") == read_line(
        LINE, empty_date=""
    )
