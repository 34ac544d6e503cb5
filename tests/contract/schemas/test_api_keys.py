"""The form of an API key, and its record.

Consistency tokens, and the opaque text that they and cursors are.
"""

import hashlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.schemas.api_keys import (
    ApiKey,
    is_key_id,
    is_key_name,
    new_api_key,
    new_family,
    presented,
)
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import (
    LogPosition,
    OpaqueTextError,
    PackedReader,
    PackedWriter,
    positions_of,
    token_of,
)
from tests.contract.schemas.examples import golden
from tests.support.api_keys import API_KEY, KEY_ID, SECRET_HASH, an_api_key
from tests.support.builders import NOON

SECRET = API_KEY.removeprefix(f"izin_{KEY_ID}_")
POSITIONS = st.builds(
    LogPosition,
    topic=st.sampled_from(("consent-events", "consent-events-express", "ö-events")),
    partition=st.integers(0, 200),
    offset=st.integers(0, 2**62),
)


def test_new_key_has_id_and_secret_of_32_bytes() -> None:
    """Base64url without padding; the stored hash is that of the text that is sent."""
    text, secret_hash = new_api_key(KEY_ID, lambda count: b"\xff" * count)
    assert text == f"izin_{KEY_ID}_{'_' * 42}8"
    assert secret_hash == hashlib.sha256(text.removeprefix(f"izin_{KEY_ID}_").encode()).digest()
    assert presented(text) == (KEY_ID, secret_hash)


def test_family_is_twelve_digits_and_counts_its_keys() -> None:
    """The key that replaces another has the next number."""
    following = an_api_key(id="0a1b2c3d4e5f-9").next_id
    assert (new_family(bytes), following) == (f"{'0' * 12}-1", "0a1b2c3d4e5f-10")


@pytest.mark.parametrize(
    ("customers", "brands", "left"),
    [
        ({"acme"}, (), None),
        ({"acme"}, {1}, None),
        ({"acme", "beta"}, (), ({"beta"}, frozenset())),
        ({"acme", "beta"}, {1, 3}, ({"beta"}, {3})),
        ({"acme", "beta"}, {3}, ({"beta"}, {3})),
        ({"acme", "beta"}, {1, 2}, None),
    ],
)
def test_key_without_a_customer_is_never_wider(
    customers: set[str], brands: set[int], left: tuple[set[str], set[int]] | None
) -> None:
    """Of its brands alone nothing is left: without any, the key would be for every brand."""
    key = an_api_key(customers=frozenset(customers), brands=frozenset(brands))
    narrowed = key.without("acme", [1, 2])
    assert (narrowed and (narrowed.customers, narrowed.brands)) == left
    if narrowed is not None:
        assert (narrowed.id, narrowed.scopes) == (key.id, key.scopes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "izin",
        SECRET,
        f"izin_{KEY_ID}",
        f"izin_{KEY_ID}_",
        f"izin_{KEY_ID}_{SECRET[:-1]}",
        f"izin_{KEY_ID}_{SECRET}A",
        f"izin_{KEY_ID}_{SECRET[:-1]}=",
        f"izin_{KEY_ID}_{SECRET}\n",
        f"other_{KEY_ID}_{SECRET}",
        f"izin_{KEY_ID.upper()}_{SECRET}",
        f"izin_0a1b2c3d4e5f-0_{SECRET}",
        f"izin_0a1b2c3d4e5f_{SECRET}",
    ],
)
def test_text_of_another_form_is_no_key(text: str) -> None:
    """It is not even looked up."""
    assert presented(text) is None


def test_record_is_read_as_it_was_written() -> None:
    """From Avro and from its example; a word of a newer release is kept, and permits nothing."""
    codec = Codec()
    key = an_api_key(
        scopes=frozenset({"publish", "shred"}),
        brands=frozenset({100002, 100001}),
        channels=frozenset({"MESAJ"}),
        expires_at=NOON,
    )
    assert ApiKey.of(codec.decode("ApiKey", codec.encode("ApiKey", key.to_avro()))) == key
    assert key.to_avro()["scopes"] == ["publish", "shred"]
    assert ApiKey.of(golden("ApiKey")).to_avro() == golden("ApiKey")


def test_key_is_valid_until_it_expires_or_is_revoked() -> None:
    """The instant of its end is no longer its own."""
    later = NOON + timedelta(seconds=1)
    ends = ({}, {"expires_at": later}, {"expires_at": NOON}, {"revoked_at": later})
    assert [an_api_key(**one).is_valid(NOON) for one in ends] == [True, True, False, False]


def test_name_is_no_id() -> None:
    """A command that takes either must know which it was given."""
    assert [is_key_id(one) for one in (KEY_ID, "shop")] == [True, False]
    assert all(map(is_key_name, ("shop", "Web-Form.2_b", "7", "a" * 64)))
    assert not any(map(is_key_name, ("", "-shop", "a b", "şube", "a" * 65, "a\n")))


def test_hash_differs_from_the_secret() -> None:
    """What is stored opens nothing."""
    assert SECRET.encode() != SECRET_HASH
    assert SECRET_HASH.hex() not in API_KEY


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
    assert (len(positions_of(token)), len(token) < 1000, token.isascii()) == (96, True, True)
    assert set("=+/&?# ").isdisjoint(token)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_changed_or_cut_token_is_refused(place: int) -> None:
    """It would wait for another place than what was posted."""
    token = token_of([LogPosition("consent-events", 3, 7)])
    other = "A" if token[place] != "A" else "B"
    changed = token[:place] + other + token[place:][1:]
    for text in (changed, token[:-3], token + "AAAA", "", "é", "a b", token * 3000):
        with pytest.raises(OpaqueTextError):
            positions_of(text)


def test_text_of_another_kind_is_no_token() -> None:
    """A cursor, or a token of a newer release, is well formed and means something else."""
    other = PackedWriter(0x43)
    other.number(0)
    with pytest.raises(OpaqueTextError, match="another kind"):
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
    with pytest.raises(OpaqueTextError, match=why):
        positions_of(out.opaque())


def test_token_with_too_many_positions_is_refused() -> None:
    """One that no intake gives: it would be much work for one request."""
    token = token_of(LogPosition("consent-events", number, 1) for number in range(5000))
    with pytest.raises(OpaqueTextError, match="too many"):
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
    assert (packed.numbers(), packed.text()) == (numbers, text)
    packed.end()
    with pytest.raises(OpaqueTextError):
        packed.number()


@pytest.mark.parametrize("offset", [(1 << 63), (1 << 69)])
def test_offset_beyond_kafkas_is_no_token(offset: int) -> None:
    """No client of Kafka takes it: whoever made it up gets the error of any malformed token."""
    assert positions_of(token_of([LogPosition("a", 0, (1 << 63) - 1)]))
    with pytest.raises(OpaqueTextError):
        positions_of(token_of([LogPosition("a", 0, offset)]))
