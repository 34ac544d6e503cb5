"""The form of an API key, and its record."""

import hashlib
from datetime import timedelta

import pytest

from izin.schemas.api_keys import (
    ApiKey,
    is_key_id,
    is_key_name,
    new_api_key,
    new_family,
    presented,
)
from izin.schemas.codec import Codec
from tests.contract.schemas.examples import golden
from tests.support.api_keys import API_KEY, KEY_ID, SECRET_HASH, an_api_key
from tests.support.builders import NOON

SECRET = API_KEY.removeprefix(f"izin_{KEY_ID}_")


def test_new_key_has_id_and_secret_of_32_bytes() -> None:
    """Base64url without padding; the stored hash is that of the text that is sent."""
    text, secret_hash = new_api_key(KEY_ID, lambda count: b"\xff" * count)
    assert text == f"izin_{KEY_ID}_{'_' * 42}8"
    assert secret_hash == hashlib.sha256(text.removeprefix(f"izin_{KEY_ID}_").encode()).digest()
    assert presented(text) == (KEY_ID, secret_hash)


def test_family_is_twelve_digits_and_counts_its_keys() -> None:
    """The key that replaces another has the next number."""
    assert new_family(bytes) == f"{'0' * 12}-1"
    assert an_api_key(id="0a1b2c3d4e5f-9").next_id == "0a1b2c3d4e5f-10"


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
    second = timedelta(seconds=1)
    assert an_api_key().is_valid(NOON)
    assert an_api_key(expires_at=NOON + second).is_valid(NOON)
    assert not an_api_key(expires_at=NOON).is_valid(NOON)
    assert not an_api_key(revoked_at=NOON + second).is_valid(NOON)


def test_name_is_no_id() -> None:
    """A command that takes either must know which it was given."""
    assert is_key_id(KEY_ID)
    assert not is_key_id("shop")
    for name in ("shop", "Web-Form.2_b", "7", "a" * 64):
        assert is_key_name(name)
    for name in ("", "-shop", "a b", "şube", "a" * 65, "a\n"):
        assert not is_key_name(name)


def test_hash_differs_from_the_secret() -> None:
    """What is stored opens nothing."""
    assert SECRET.encode() != SECRET_HASH
    assert SECRET_HASH.hex() not in API_KEY
