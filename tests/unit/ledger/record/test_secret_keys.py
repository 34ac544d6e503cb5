"""Secrets as the ledger has them: under which key, of which row, and read from before there was a
key.
"""

import pytest

from izin.ledger.record import UndecryptableSecretError, key_of_secret
from tests.support.secret_keys import a_key, id_of, some_keys

SECRET = "whsec_fake"
ROW, OTHER = "subscribers/crm", "subscribers/till"


def test_encrypted_secret_is_decrypted_by_its_row_alone() -> None:
    """The same text in another row is refused, whoever copied it there."""
    keys = some_keys(1)
    text = keys.encrypt(SECRET, ROW)
    assert SECRET not in text
    assert keys.decrypt(text, ROW) == SECRET
    with pytest.raises(UndecryptableSecretError, match=f"of {OTHER} .* copied from another row"):
        keys.decrypt(text, OTHER)


def test_same_secret_is_never_encrypted_to_the_same_text() -> None:
    """Who reads the ledger does not see that two have one secret."""
    keys = some_keys(1)
    assert len({keys.encrypt(SECRET, ROW) for _ in range(100)}) == 100


@pytest.mark.parametrize("place", [10, 13, 19, 20, 40, -1])
def test_changed_text_is_refused(place: int) -> None:
    """Whichever character of key and ciphertext it is, no secret and no other error comes out."""
    keys = some_keys(1)
    text = keys.encrypt(SECRET, ROW)
    at = place % len(text)
    with pytest.raises(UndecryptableSecretError):
        keys.decrypt(f"{text[:at]}!{text[at + 1 :]}", ROW)


@pytest.mark.parametrize("text", ["aes256gcm:", f"aes256gcm:{id_of(1)}", "aes256gcm:x:y:z"])
def test_text_that_was_cut_is_refused(text: str) -> None:
    """It is not taken for a readable secret, which would be sent to İYS."""
    with pytest.raises(UndecryptableSecretError):
        some_keys(1).decrypt(text, ROW)


def test_missing_key_is_named_with_its_remedy() -> None:
    """By its id, which says nothing of the key."""
    text = some_keys(2).encrypt(SECRET, ROW)
    with pytest.raises(UndecryptableSecretError) as refused:
        some_keys(1).decrypt(text, ROW)
    for said in (ROW, id_of(2), "IZIN_SECRET_KEYS", "add it"):
        assert said in str(refused.value)


def test_first_key_encrypts_and_every_one_decrypts() -> None:
    """So a key is replaced in two steps, while processes run with either order."""
    before, both = some_keys(1), some_keys(2, 1)
    text = before.encrypt(SECRET, ROW)
    assert both.decrypt(text, ROW) == SECRET
    renewed = both.renew(text, ROW)
    assert renewed is not None
    assert (key_of_secret(text), key_of_secret(renewed)) == (id_of(1), id_of(2))
    assert some_keys(1, 2).decrypt(renewed, ROW) == SECRET
    assert both.renew(renewed, ROW) == renewed, "it is under the first already"


def test_readable_secret_from_before_is_read_and_renewed() -> None:
    """It is encrypted when it is written next; without a key it stays readable."""
    keys, none = some_keys(1), some_keys()
    assert keys.decrypt(SECRET, ROW) == SECRET
    assert key_of_secret(SECRET) is None
    renewed = keys.renew(SECRET, ROW)
    assert renewed not in {None, SECRET}
    assert keys.decrypt(str(renewed), ROW) == SECRET
    assert none.encrypt(SECRET, ROW) == none.renew(SECRET, ROW) == SECRET


def test_keys_show_neither_themselves_nor_a_secret() -> None:
    """Wherever they are printed by mistake."""
    keys = some_keys(1)
    assert a_key(1) not in f"{keys!r}{vars(keys)!r}"
