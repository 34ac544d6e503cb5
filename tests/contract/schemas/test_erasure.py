"""Suppressions are keyed digests: the same for the same secret, and of no use without it."""

from izin.schemas.erasure import NO_SUPPRESSIONS, SUPPRESSED, SuppressionKeys

KEY = b"100001/MESAJ/BIREYSEL/+905550000001"
OLD, NEW = (
    "an old fake secret of 32 letters",
    "a new fake secret that is longer than BLAKE2b's sixty-four bytes",
)


def test_key_of_a_suppression_names_nobody() -> None:
    """It begins as no canonical key does, and has the version of its secret."""
    keys = SuppressionKeys([OLD])
    found = keys.of(KEY)
    assert found.startswith(keys.prefixes[0])
    assert found.startswith(SUPPRESSED)
    assert b"555" not in found
    assert found == SuppressionKeys([OLD]).of(KEY)
    assert found != keys.of(KEY + b"2")


def test_newest_secret_makes_and_every_secret_finds() -> None:
    """A secret of any length will do."""
    both, old = SuppressionKeys([NEW, OLD]), SuppressionKeys([OLD])
    assert both.of(KEY) == SuppressionKeys([NEW]).of(KEY)
    assert both.every(KEY) == [both.of(KEY), old.of(KEY)]
    assert len({*both.prefixes}) == 2


def test_installation_without_a_secret_has_no_keys() -> None:
    """Nothing can be erased there, and nothing is suppressed."""
    assert not NO_SUPPRESSIONS
    assert SuppressionKeys([OLD])
    assert NO_SUPPRESSIONS.every(KEY) == []
