"""The packed table says of each key what a dict would, in a fraction of its memory."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.kafka.tables.packed_permissions import Known, PackedPermissions, digest_of

KEY = b"100001/MESAJ/BIREYSEL/+905550000001"
OTHER = b"100001/MESAJ/BIREYSEL/+905550000002"


def test_unknown_key_is_not_known():
    """And removing it changes nothing."""
    table = PackedPermissions()
    assert table.find(KEY) is None
    assert not table.remove(KEY)


def test_permission_and_denial_replace_one_another():
    """What is returned says whether the answer, or its reason, is another."""
    table = PackedPermissions()
    assert table.permit(KEY, "registered", 10)
    assert not table.permit(KEY, "registered", 20)
    assert table.find(KEY) == Known(may_send=True, reason="registered", at=20)
    assert table.deny(KEY, "void")
    assert not table.deny(KEY, "void")
    assert table.find(KEY) == Known(may_send=False, reason="void", at=0)
    assert len(table) == 1
    assert not table.remove(KEY)
    assert (table.find(KEY), len(table)) == (None, 0)


@pytest.mark.parametrize(("consent_at", "may_send"), [(9, False), (10, False), (11, True)])
def test_consent_must_be_newer_than_the_opt_out(consent_at: int, may_send: bool):
    """In whichever order they are read; the same second is not newer."""
    first, second = PackedPermissions(), PackedPermissions()
    first.opt_out(KEY, 10)
    first.permit(KEY, "registered", consent_at)
    second.permit(KEY, "registered", consent_at)
    second.opt_out(KEY, 10)
    for table in (first, second):
        known = table.find(KEY)
        assert known is not None
        assert known.may_send is may_send
        assert known.reason == ("registered" if may_send else "opted-out")


def test_opt_out_outlives_denials_and_erasure():
    """The ledger's reason is shown; its later permission by an old consent is not believed."""
    table = PackedPermissions()
    table.permit(KEY, "registered", 5)
    assert table.opt_out(KEY, 10)
    assert not table.opt_out(KEY, 8)
    assert table.deny(KEY, "awaiting-iys")
    assert table.remove(KEY), "nothing but the opt-out is known of an erased key"
    assert table.find(KEY) == Known(may_send=False, reason="opted-out", at=10)
    assert not table.remove(KEY)
    assert not table.permit(KEY, "registered", 7)
    assert table.find(KEY) == Known(may_send=False, reason="opted-out", at=10)
    assert table.opt_out(KEY, 12) is False
    assert not table.permit(KEY, "registered", 12)
    assert table.permit(KEY, "registered", 13)


def test_erased_permission_is_removed():
    """Nothing of the key is left, and its neighbours stay."""
    table = PackedPermissions()
    for key in (KEY, OTHER):
        table.permit(key, "registered", 5)
    assert table.remove(KEY)
    assert table.find(KEY) is None
    assert table.find(OTHER) is not None


def test_new_reasons_are_kept_until_there_are_too_many():
    """A later release may add some; a table of them has an end."""
    table = PackedPermissions()
    for number in range(200):
        table.deny(str(number).encode(), f"reason-{number}")
    reasons = [known.reason for one in range(200) if (known := table.find(str(one).encode()))]
    assert reasons[0] == "reason-0"
    assert reasons[-1] == ""
    assert len(set(reasons)) > 100


Step = tuple[str, int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["permit", "deny", "opt_out", "remove"]),
            st.integers(0, 3),
            st.integers(1, 5),
        )
    )
)
def test_table_agrees_with_a_dict(steps: list[Step]):
    """Whatever comes in whatever order."""
    table = PackedPermissions()
    model: dict[bytes, tuple[bool, int]] = {}
    for step, number, at in steps:
        key = b"key-%d" % number
        may_send, known_at = model.get(key, (False, 0))
        match step:
            case "permit":
                table.permit(key, "registered", at)
                if may_send or at > known_at:
                    model[key] = (True, at)
            case "deny":
                table.deny(key, "void")
                model[key] = (False, 0 if may_send else known_at)
            case "opt_out":
                table.opt_out(key, at)
                if at >= known_at:
                    model[key] = (False, at)
            case _:
                table.remove(key)
                if may_send or not known_at:
                    model.pop(key, None)
    for number in range(4):
        key = b"key-%d" % number
        known = table.find(key)
        assert (known.may_send if known else False) == model.get(key, (False, 0))[0]
    assert len(table) == len(model)


def test_key_takes_few_bytes():
    """Of a hundred thousand keys, with what the buckets have reserved to grow."""
    table = PackedPermissions()
    for number in range(100_000):
        table.permit(b"100001/MESAJ/BIREYSEL/+905550%06d" % number, "registered", 5)
    assert 21 < sys.getsizeof(table) / 100_000 < 30
    assert table.size == pytest.approx(sys.getsizeof(table), rel=0.2)


def test_more_buckets_say_the_same():
    """They make a search shorter."""
    table = PackedPermissions(1 << 16)
    keys = [str(number).encode() for number in range(1000)]
    for key in keys:
        table.permit(key, "registered", 5)
    assert all(table.find_digest(digest_of(key)) == Known(True, "registered", 5) for key in keys)
    assert len(table) == 1000


def test_forgotten_key_has_no_opt_out_either():
    """Unlike one that is removed."""
    table = PackedPermissions(buckets=1)
    for key in (KEY, OTHER):
        table.opt_out(key, 10)
    table.forget(KEY)
    table.forget(KEY)
    assert (table.find(KEY), len(table)) == (None, 1)
    assert table.find(OTHER) == Known(may_send=False, reason="opted-out", at=10)
