"""A time stamp is verified by RFC 3161, against the roots of the settings alone.

A daily file is hashed as İYS may have: with or without what stands before its lines.

İYS's daily file and ours are compared line by line; where it states no order, none counts.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificates
from hypothesis import given, strategies as st
from iys_simulator.timestamp_authority import TimestampAuthority

from izin.iys.errors import UnreadableError
from izin.iys.wire_format.consents import BYTE_ORDER_MARK, HEADER
from izin.ledger.daily.files import Compared
from izin.ledger.daily.lines import ERASED
from izin.runtime.errors import SettingError
from izin.schemas.timestamps import Timestamp, TimestampState, verify
from izin.sinks.inbound.daily.content import (
    Download,
    HeldBy,
    LineDifference,
    blocks_of,
    by_place,
    compare,
)
from izin.sinks.inbound.daily.loop import trusted_roots

AUTHORITY, STRANGER = TimestampAuthority(), TimestampAuthority()
AT = datetime(2026, 3, 3, 3, tzinfo=UTC)
HASH = hashlib.sha384(b"a day").hexdigest()
REPLY = AUTHORITY.reply(HASH, AT, 7)
ROOTS = load_pem_x509_certificates(AUTHORITY.root_pem)
CONTENT = b"2026-03-02 09:00:01,aa,x,y\n2026-03-02 09:00:02,ab,x,y\n"
PREFIX = b"names\n"


@pytest.mark.parametrize(
    ("reply", "roots", "found"),
    [
        (REPLY, ROOTS, Timestamp(TimestampState.VERIFIED, AT)),
        (REPLY, (), Timestamp(TimestampState.UNVERIFIED, AT)),
        (None, ROOTS, Timestamp(TimestampState.MISSING, None)),
    ],
    ids=["of a trusted root", "without roots", "none"],
)
def test_reply_is_verified_by_trusted_roots(
    reply: bytes | None, roots: Sequence[Any], found: Timestamp
):
    """With the time that it states. Without roots it is kept, and nobody says that it is right;
    İYS may answer 204.
    """
    assert verify(reply, HASH, roots) == found


def altered(part: bytes) -> bytes:
    """Return the reply with another bit in the middle of this part."""
    place = REPLY.index(part) + len(part) // 2
    return REPLY[:place] + bytes([REPLY[place] ^ 1]) + REPLY[place + 1 :]


@pytest.mark.parametrize(
    ("reply", "text", "roots", "said"),
    [
        (REPLY, b"a day", load_pem_x509_certificates(STRANGER.root_pem), ""),
        *((REPLY, b"another day", roots, "it is of another hash") for roots in (ROOTS, [])),
        *(
            (altered(part), b"a day", ROOTS, "")
            for part in (bytes.fromhex(HASH), b"20260303030000Z", REPLY[-40:])
        ),
        *((content, b"a day", ROOTS, "") for content in (b"", b"no reply", REPLY[:-1])),
    ],
    ids=[
        *("of an unknown root", "other hash", "other hash, no roots", "hash", "time", "signature"),
        *("empty", "page", "half"),
    ],
)
def test_reply_of_somebody_or_something_else_is_wrong(
    reply: bytes, text: bytes, roots: Sequence[Any], said: str
):
    """By a signer that our settings do not trust, of another file, altered, or no reply at all."""
    found = verify(reply, hashlib.sha384(text).hexdigest(), roots)
    assert (found.state, said in str(found.error)) == (TimestampState.WRONG, True)


def test_roots_come_from_the_file_of_the_settings(tmp_path: Path):
    """Several in one file; no setting, no roots."""
    file = tmp_path / "roots.pem"
    file.write_bytes(AUTHORITY.root_pem + STRANGER.root_pem)
    assert len(trusted_roots(file)) == 2
    assert trusted_roots(None) == ()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_file_without_roots_stops_the_process(tmp_path: Path, content: bytes | None):
    """It names the setting: stamps would else be called unverified for ever."""
    file = tmp_path / "roots.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingError, match="IZIN_TIMESTAMP_ROOTS"):
        trusted_roots(file)


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
    with downloaded(served + CONTENT) as download:
        assert b"".join(blocks_of(download.lines)) == CONTENT
        assert download.prefix_with(hashlib.sha384(hashed + CONTENT).hexdigest()) == hashed
        assert download.count == 2


def test_names_with_another_line_end_are_hashed_as_served():
    """A header of a Windows program."""
    names = HEADER.replace(b"\n", b"\r\n")
    with downloaded(names + CONTENT) as download:
        assert download.prefix_with(hashlib.sha384(names + CONTENT).hexdigest()) == names


@pytest.mark.parametrize("change", [CONTENT[:-1], CONTENT[:30], CONTENT.replace(b"ab", b"ba"), b""])
def test_altered_file_has_no_known_hash(change: bytes):
    """A byte less, half of it, another letter, or nothing."""
    with downloaded(HEADER + change) as download:
        assert download.prefix_with(hashlib.sha384(HEADER + CONTENT).hexdigest()) is None


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", b"\n", HEADER])
def test_every_line_is_counted(content: bytes):
    """The last line may lack its end."""
    with downloaded(content, size=1000) as download:
        assert download.count == len(b"".join(blocks_of(download.lines)).splitlines())


def test_other_columns_are_refused():
    """A file with a column more is not read as if it had none."""
    with Download() as download, pytest.raises(UnreadableError, match="other columns"):
        download.write(HEADER.replace(b"source", b"source,retailer") + CONTENT)


def a_line(second: int = 1, transaction: str = "aa", recipient: int = 1) -> bytes:
    """Return a line of a daily file."""
    person = f"+9055500{recipient:05d}"
    at = f"2026-03-02 09:00:{second:02d}"
    return f"{at},{transaction},{person},BIREYSEL,MESAJ,RET,{at},IYS_WEB\n".encode()


def compared(theirs: list[bytes], ours: list[bytes]) -> tuple[Compared, list[LineDifference]]:
    """Return what a comparison finds, and how the files differ."""
    notes = [one for _, some in by_place(theirs, ours) for one in some]
    return compare(theirs, ours, prefix=PREFIX), notes


def hash_of(lines: list[bytes]) -> str:
    """Return the SHA-384 of a file."""
    return hashlib.sha384(PREFIX + b"".join(lines)).hexdigest()


def test_lines_of_one_second_are_equal_in_any_order():
    """İYS sorts by second and transaction id, and all of a second may share one."""
    theirs = [a_line(recipient=2), a_line(recipient=1), a_line(2)]
    found, notes = compared(theirs, sorted(theirs))
    assert found == Compared(own_hash=hash_of(theirs), only_at_iys=0, only_here=0)
    assert not notes


def test_line_that_iys_has_twice_is_one_movement():
    """The same recipient, status and second: nothing of it is missing here."""
    theirs = [a_line(), a_line(), a_line(2)]
    found, notes = compared(theirs, [a_line(), a_line(2)])
    assert (found.own_hash, notes) == (hash_of(theirs), [])


def test_changed_line_is_one_on_each_side():
    """A date that differs: İYS's line is numbered, ours has no number."""
    changed = a_line(2).replace(b"RET", b"ONAY")
    found, notes = compared([a_line(), a_line(2)], [a_line(), changed])
    assert notes == [
        LineDifference(HeldBy.IYS, 2, a_line(2)),
        LineDifference(HeldBy.HERE, 0, changed),
    ]
    assert (found.only_at_iys, found.only_here) == (1, 1)
    assert found.own_hash == hash_of([a_line(), changed])


def test_erased_lines_are_skipped_and_counted_as_lines():
    """What was erased says nothing; the numbers of the others stay."""
    _, notes = compared([a_line(), ERASED, a_line(3)], [a_line()])
    assert notes == [LineDifference(HeldBy.IYS, 3, a_line(3))]


LINES = st.sets(
    st.builds(
        a_line,
        st.integers(1, 4),
        st.sampled_from(["aa", "ab"]),
        st.integers(1, 3),
    )
)


@given(LINES, LINES, st.randoms())
def test_differences_are_those_of_the_sets(theirs: set[bytes], ours: set[bytes], random: Random):
    """For any two files: what only one has, each once; the hash is equal only where none is."""
    at_iys = sorted(theirs, key=lambda one: (one[:22], random.random()))
    found, notes = compared(at_iys, sorted(ours))
    expected = [(HeldBy.IYS, one) for one in theirs - ours] + [
        (HeldBy.HERE, one) for one in ours - theirs
    ]
    assert Counter((one.side, one.line) for one in notes) == Counter(expected)
    assert all(at_iys[one.number - 1] == one.line for one in notes if one.side is HeldBy.IYS)
    numbers = [one.number for one in notes if one.side is HeldBy.IYS]
    assert numbers == sorted(numbers)
    assert (found.own_hash == hash_of(at_iys)) == (theirs == ours)
