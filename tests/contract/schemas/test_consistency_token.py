"""Consistency tokens, and the opaque text that they and cursors are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.schemas.consistency_token import (
    LogPosition,
    MalformedTokenError,
    OpaqueTextError,
    PackedReader,
    PackedWriter,
    positions_of,
    token_of,
)

POSITIONS = st.builds(
    LogPosition,
    topic=st.sampled_from(("consent-events", "consent-events-express", "ö-events")),
    partition=st.integers(0, 200),
    offset=st.integers(0, 2**62),
)


@given(st.lists(POSITIONS, max_size=60))
def test_token_names_the_highest_offset_of_each_partition(positions: list[LogPosition]) -> None:
    """Whatever the order: what is at the highest offset is behind all others of its partition."""
    highest: dict[tuple[str, int], int] = {}
    for topic, partition, offset in positions:
        highest[topic, partition] = max(offset, highest.get((topic, partition), 0))
    found = positions_of(token_of(positions))
    assert {(one.topic, one.partition): one.offset for one in found} == highest
    assert len(found) == len(highest)
    assert token_of(reversed(positions)) == token_of(positions)


def test_token_of_a_thousand_records_fits_into_a_url() -> None:
    """On both lanes of 48 partitions, after a billion records in each."""
    records = [
        LogPosition(topic, number % 48, 10**9 + number)
        for topic in ("consent-events", "consent-events-express")
        for number in range(500)
    ]
    token = token_of(records)
    assert len(positions_of(token)) == 96
    assert len(token) < 1000
    assert token.isascii()
    assert set("=+/&?# ").isdisjoint(token)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_changed_or_cut_token_is_refused(place: int) -> None:
    """It would wait for another place than what was posted."""
    token = token_of([LogPosition("consent-events", 3, 7)])
    other = "A" if token[place] != "A" else "B"
    changed = token[:place] + other + token[place:][1:]
    for text in (changed, token[:-3], token + "AAAA", "", "é", "a b", token * 3000):
        with pytest.raises(MalformedTokenError):
            positions_of(text)


def test_text_of_another_kind_is_no_token() -> None:
    """A cursor, or a token of a newer release, is well formed and means something else."""
    other = PackedWriter(0x43)
    other.number(0)
    with pytest.raises(MalformedTokenError, match="another kind"):
        positions_of(other.opaque())


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        ((1,), "cut"),
        ((1, 200, 65), "cut"),
        ((1, 1, 0xFF, 0), "no text"),
        ((0, 0), "longer"),
        ((1, 1, 65, 1, 3), "without an offset"),
        ((0xFF,) * 12, "without an end"),
        ((1, 1, 65, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F), "cut"),
    ],
)
def test_token_with_wrong_content_is_refused(packed: tuple[int, ...], why: str) -> None:
    """The checksum is no secret: whoever makes one up gets a refusal, and no error of ours."""
    out = PackedWriter(0x54)
    out._out.extend(packed)
    with pytest.raises(MalformedTokenError, match=why):
        positions_of(out.opaque())


def test_token_with_too_many_positions_is_refused() -> None:
    """One that no intake gives: it would be much work for one request."""
    token = token_of(LogPosition("consent-events", number, 1) for number in range(5000))
    with pytest.raises(MalformedTokenError, match="too many"):
        positions_of(token)


@given(st.lists(st.integers(0, 2**63 - 1)), st.text())
def test_what_was_packed_is_read(numbers: list[int], text: str) -> None:
    """Numbers of any size, and any text that has a notation in UTF-8."""
    if any("\ud800" <= one <= "\udfff" for one in text):
        return
    out = PackedWriter(1)
    out.numbers(numbers)
    out.text(text)
    packed = PackedReader(1, out.opaque())
    assert packed.numbers() == numbers
    assert packed.text() == text
    packed.end()
    with pytest.raises(OpaqueTextError):
        packed.number()


@pytest.mark.parametrize("offset", [(1 << 63), (1 << 69)])
def test_offset_beyond_kafkas_is_no_token(offset: int) -> None:
    """No client of Kafka takes it: whoever made it up gets the error of any malformed token."""
    assert positions_of(token_of([LogPosition("a", 0, (1 << 63) - 1)]))
    with pytest.raises(MalformedTokenError):
        positions_of(token_of([LogPosition("a", 0, offset)]))
