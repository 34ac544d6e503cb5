"""The few fields of a permission, found in its bytes: what decoding says, for every version."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from izin.kafka.tables import permission_reader
from izin.kafka.tables.packed_permissions import PermissionFacts
from izin.kafka.tables.permission_reader import PermissionReader, facts_of
from izin.schemas import contracts
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.contracts import Contract, Schema

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
