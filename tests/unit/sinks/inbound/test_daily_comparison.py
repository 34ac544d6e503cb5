"""İYS's daily file and ours are compared line by line; where it states no order, none counts."""

import hashlib
from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from izin.sinks.inbound.daily.content import LineDifference, Side, compare
from izin.sinks.ledger.daily.files import Compared
from izin.sinks.ledger.daily.lines import ERASED

PREFIX = b"names\n"


def a_line(second: int = 1, transaction: str = "aa", recipient: int = 1) -> bytes:
    """Return a line of a daily file."""
    person = f"+9055500{recipient:05d}"
    at = f"2026-03-02 09:00:{second:02d}"
    return f"{at},{transaction},{person},BIREYSEL,MESAJ,RET,{at},IYS_WEB\n".encode()


def compared(theirs: list[bytes], ours: list[bytes]) -> tuple[Compared, list[LineDifference]]:
    """Return what a comparison finds, and what it notes."""
    notes: list[LineDifference] = []
    return compare(theirs, ours, prefix=PREFIX, note=notes.append), notes


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
    assert notes == [LineDifference(Side.IYS, 2, a_line(2)), LineDifference(Side.HERE, 0, changed)]
    assert (found.only_at_iys, found.only_here) == (1, 1)
    assert found.own_hash == hash_of([a_line(), changed])


def test_erased_lines_are_skipped_and_counted_as_lines():
    """What was erased says nothing; the numbers of the others stay."""
    _, notes = compared([a_line(), ERASED, a_line(3)], [a_line()])
    assert notes == [LineDifference(Side.IYS, 3, a_line(3))]


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
    expected = [(Side.IYS, one) for one in theirs - ours] + [
        (Side.HERE, one) for one in ours - theirs
    ]
    assert Counter((one.side, one.line) for one in notes) == Counter(expected)
    assert all(at_iys[one.number - 1] == one.line for one in notes if one.side is Side.IYS)
    numbers = [one.number for one in notes if one.side is Side.IYS]
    assert numbers == sorted(numbers)
    assert (found.own_hash == hash_of(at_iys)) == (theirs == ours)
