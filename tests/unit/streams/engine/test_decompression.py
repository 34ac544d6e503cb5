"""Batches are unpacked as far as they go, whatever was unpacked before them."""

import pytest

from izin.streams.engine.unpacking import MOST, unpacked
from tests.support.hostile.batches import compressed

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
SIZES = (0, 1, 100, 64 * 1024, 64 * 1024 + 1, 3_000_000)


@pytest.fixture(params=CODECS.values(), ids=CODECS)
def codec(request: pytest.FixtureRequest) -> int:
    """Return the number of a codec."""
    return int(request.param)


@pytest.mark.parametrize("size", SIZES)
def test_content_is_unpacked_whole_after_a_larger_one(codec: int, size: int) -> None:
    """All batches share the room: nothing of another one is in it."""
    unpacked(codec, compressed(codec, b"x" * 5_000_000))
    content = bytes(range(1, 251)) * (size // 250 + 1)
    assert unpacked(codec, compressed(codec, content[:size])) == content[:size]


@pytest.mark.parametrize("size", SIZES[2:])
@pytest.mark.parametrize("cut", [1, 4])
def test_beginning_is_unpacked_of_what_ends_too_early(codec: int, size: int, cut: int) -> None:
    """And nothing of what was unpacked before."""
    unpacked(codec, compressed(codec, b"x" * 5_000_000))
    content = bytes(range(1, 251)) * (size // 250 + 1)
    found = unpacked(codec, compressed(codec, content)[:-cut])
    begun = found.rstrip(b"\0")
    assert content.startswith(begun)
    assert len(found) <= 8 * max(len(content), 64 * 1024)


@pytest.mark.parametrize("codec_of_tail", [1, 4])
@pytest.mark.parametrize("size", SIZES[1:])
def test_what_is_before_a_tail_is_unpacked_whole(codec_of_tail: int, size: int) -> None:
    """A library fails over it, when it has unpacked what the broker has read."""
    content = b"y" * size
    assert unpacked(codec_of_tail, compressed(codec_of_tail, content) + b"tail").startswith(content)


def test_content_beyond_the_most_is_cut(codec: int) -> None:
    """However small it is while it is packed."""
    found = unpacked(codec, compressed(codec, b"z" * (MOST + 1_000_000)))
    assert len(found) <= MOST
