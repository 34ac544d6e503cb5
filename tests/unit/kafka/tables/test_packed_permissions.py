"""The packed table says of each key what a dict would, in a fraction of its memory.

The few fields of a permission, found in its bytes: what decoding says, for every version.
"""

import struct
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given, strategies as st

from izin.kafka.tables import permission_reader
from izin.kafka.tables.packed_permissions import (
    Known,
    PackedPermissions,
    PermissionFacts,
    digest_of,
)
from izin.kafka.tables.permission_reader import PermissionReader, facts_of
from izin.schemas import contracts
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.contracts import Contract, Schema

KEY = b"100001/MESAJ/BIREYSEL/+905550000001"
OTHER = b"100001/MESAJ/BIREYSEL/+905550000002"
VERSIONS: Sequence[Contract] = sorted(
    (one for one in contracts.known().values() if one.record == "Permission"),
    key=lambda one: len(one.schema["fields"]),
)
CURRENT = contracts.current()["Permission"]
CODEC = Codec()
INSTANTS = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001  # hypothesis adds the time zone
    datetime(2100, 1, 1),  # noqa: DTZ001  # the same
    timezones=st.just(UTC),
).map(lambda one: one.replace(microsecond=one.microsecond // 1000 * 1000))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
PERMISSIONS = st.fixed_dictionaries(
    {
        "customer_id": TEXTS,
        "brand_code": st.integers(-(2**31), 2**31 - 1),
        "type": TEXTS,
        "recipient_type": TEXTS,
        "recipient": TEXTS,
        "may_send": st.booleans(),
        "reason": TEXTS,
        "desired": st.none() | TEXTS,
        "registered": TEXTS,
        "registered_at": st.none() | INSTANTS,
        "consent_date": st.none() | INSTANTS,
        "since": INSTANTS,
        "previous_may_send": st.none() | st.booleans(),
        "retailers": st.none() | TEXTS,
    }
)
A_PERMISSION: dict[str, Any] = {
    "customer_id": "acme",
    "brand_code": 100001,
    "type": "MESAJ",
    "recipient_type": "BIREYSEL",
    "recipient": "+905550000001",
    "may_send": True,
    "reason": "registered",
    "desired": "ONAY",
    "registered": "ONAY",
    "registered_at": datetime(2026, 3, 2, tzinfo=UTC),
    "consent_date": None,
    "since": datetime(2026, 3, 3, tzinfo=UTC),
    "previous_may_send": None,
    "retailers": "1,2",
}


@pytest.fixture
def table() -> PackedPermissions:
    """Return a table of no key."""
    return PackedPermissions()


def test_unknown_key_is_not_known(table: PackedPermissions):
    """And removing it changes nothing."""
    assert table.find(KEY) is None
    assert not table.remove(KEY)


def test_permission_and_denial_replace_one_another(table: PackedPermissions):
    """What is returned says whether the answer, or its reason, is another."""
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
        assert known.may_send is may_send
        assert known.reason == ("registered" if may_send else "opted-out")


def test_opt_out_outlives_denials_and_erasure(table: PackedPermissions):
    """The ledger's reason is shown; its later permission by an old consent is not believed."""
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


def test_erased_permission_is_removed(table: PackedPermissions):
    """Nothing of the key is left, and its neighbours stay."""
    for key in (KEY, OTHER):
        table.permit(key, "registered", 5)
    assert table.remove(KEY)
    assert table.find(KEY) is None
    assert table.find(OTHER) is not None


def test_new_reasons_are_kept_until_there_are_too_many(table: PackedPermissions):
    """A later release may add some; a table of them has an end."""
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


def test_key_takes_few_bytes(table: PackedPermissions):
    """Of a hundred thousand keys, with what the buckets have reserved to grow."""
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


class Registry:
    """A schema registry that has every version, by its place."""

    def __init__(self, versions: Sequence[Contract] = VERSIONS) -> None:
        self._versions = versions

    def id_of(self, contract: Contract) -> int:
        """Return the id of a contract."""
        found = [place for place, one in enumerate(self._versions) if one is contract]
        return found[0] if found else 1000

    def schema_of(self, schema_id: int) -> Schema | None:
        """Return the schema of an id."""
        return self._versions[schema_id].schema if schema_id < len(self._versions) else None

    def close(self) -> None:
        """Do nothing."""


REGISTERED = Codec(Registry())
READERS = {codec: PermissionReader(codec) for codec in (CODEC, REGISTERED)}


def body(version: Contract, record: dict[str, Any]) -> bytes:
    """Return a record as a writer of that version writes it, without a frame."""
    out = BytesIO()
    schemaless_writer(out, version.parsed, record)
    return out.getvalue()


def refuse(*_: object) -> None:
    """Fail: the record was to be read without being decoded."""
    raise AssertionError("decoded")


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: str(len(one.schema["fields"])))
@given(record=PERMISSIONS)
def test_reader_agrees_with_the_codec(version: Contract, record: dict[str, Any]):
    """Whatever is in a record, in either framing."""
    written = body(version, record)
    single = b"\xc3\x01" + version.fingerprint + written
    confluent = struct.pack(">BI", 0, VERSIONS.index(version)) + written
    for codec, value in ((CODEC, single), (REGISTERED, single), (REGISTERED, confluent)):
        expected = facts_of(codec.decode("Permission", value))
        assert READERS[codec].read(value) == expected
    expected_at = [one for one in (record["registered_at"], record["consent_date"]) if one]
    assert expected.may_send is record["may_send"]
    assert expected.consent_at == int(min(expected_at, default=EPOCH).timestamp() // 1)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: str(len(one.schema["fields"])))
def test_no_known_version_is_decoded(version: Contract, monkeypatch: pytest.MonkeyPatch):
    """Decoding takes many times as long."""
    codec = Codec()
    monkeypatch.setattr(codec, "decode", refuse)
    value = b"\xc3\x01" + version.fingerprint + body(version, A_PERMISSION)
    at = int(A_PERMISSION["registered_at"].timestamp())
    retailers = "1,2" if version is VERSIONS[-1] else None
    assert PermissionReader(codec).read(value) == PermissionFacts(
        may_send=True, reason="registered", consent_at=at, retailers=retailers
    )


def test_other_versions_are_decoded():
    """One that has the fields in another order, and one that lacks any."""
    fields = CURRENT.schema["fields"]
    versions = [
        contracts.contract("Permission", {**CURRENT.schema, "fields": changed})
        for changed in ([fields[1], fields[0], *fields[2:]], [*fields, NEW_FIELD])
    ]
    codec = Codec(Registry(versions))
    for place, version in enumerate(versions):
        value = struct.pack(">BI", 0, place) + body(version, {**A_PERMISSION, "new": "new"})
        assert PermissionReader(codec).read(value).retailers == "1,2"


NEW_FIELD = {"name": "new", "type": "string", "default": ""}


@pytest.mark.parametrize("cut", [0, 4, 9, 10, 30, -1])
def test_cut_record_is_refused(cut: int):
    """Nothing is read of a record that is not whole, nor of one with something behind it."""
    value = b"\xc3\x01" + CURRENT.fingerprint + body(CURRENT, A_PERMISSION)
    for wrong in (value[:cut], value + b"\0"):
        with pytest.raises(UndecodableError):
            PermissionReader(CODEC).read(wrong)


@pytest.mark.interpreted
def test_new_contract_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """Who adds a field sees that the walk over the fields must know it."""
    monkeypatch.setattr(permission_reader, "_LATER", ("previous_may_send",))
    with pytest.raises(ValueError, match="must have the fields"):
        PermissionReader(CODEC)


def test_earlier_instant_of_a_consent_counts():
    """An opt-out must not be later than it."""
    later = A_PERMISSION["registered_at"] + timedelta(hours=1)
    assert (
        facts_of({**A_PERMISSION, "consent_date": later}).consent_at
        == facts_of(A_PERMISSION).consent_at
    )
