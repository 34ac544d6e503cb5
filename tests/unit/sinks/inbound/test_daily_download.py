"""A daily file is hashed as İYS may have: with or without what stands before its lines."""

import hashlib

import pytest

from izin.iys.errors import UnreadableError
from izin.iys.wire_format.daily_file import BYTE_ORDER_MARK, HEADER
from izin.sinks.inbound.daily.content import Download, blocks_of

LINES = b"2026-03-02 09:00:01,aa,x,y\n2026-03-02 09:00:02,ab,x,y\n"


def downloaded(content: bytes, *, size: int = 7) -> Download:
    """Return a download of ``content`` in small chunks."""
    download = Download()
    for start in range(0, len(content), size):
        download.write(content[start : start + size])
    download.finish()
    return download


@pytest.mark.parametrize("served", [b"", HEADER, BYTE_ORDER_MARK, BYTE_ORDER_MARK + HEADER])
@pytest.mark.parametrize("hashed", [b"", HEADER, BYTE_ORDER_MARK, BYTE_ORDER_MARK + HEADER])
def test_hash_is_found_with_whatever_stands_before(served: bytes, hashed: bytes):
    """What İYS serves before the lines need not be what it hashes."""
    with downloaded(served + LINES) as download:
        assert b"".join(blocks_of(download.lines)) == LINES
        assert download.prefix_with(hashlib.sha384(hashed + LINES).hexdigest()) == hashed
        assert download.count == 2


def test_names_with_another_line_end_are_hashed_as_served():
    """A header of a Windows program."""
    names = HEADER.replace(b"\n", b"\r\n")
    with downloaded(names + LINES) as download:
        assert download.prefix_with(hashlib.sha384(names + LINES).hexdigest()) == names


@pytest.mark.parametrize("change", [LINES[:-1], LINES[:30], LINES.replace(b"ab", b"ba"), b""])
def test_altered_file_has_no_known_hash(change: bytes):
    """A byte less, half of it, another letter, or nothing."""
    with downloaded(HEADER + change) as download:
        assert download.prefix_with(hashlib.sha384(HEADER + LINES).hexdigest()) is None


@pytest.mark.parametrize("content", [LINES[:-1], b"", b"\n", HEADER])
def test_every_line_is_counted(content: bytes):
    """The last line may lack its end."""
    with downloaded(content, size=1000) as download:
        stored = b"".join(blocks_of(download.lines))
        assert download.count == len(stored.splitlines())


def test_other_columns_are_refused():
    """A file with a column more is not read as if it had none."""
    with Download() as download, pytest.raises(UnreadableError, match="other columns"):
        download.write(HEADER.replace(b"source", b"source,retailer") + LINES)
