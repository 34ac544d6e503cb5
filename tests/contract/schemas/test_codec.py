"""Both framings, each read by every codec that may."""

import struct
import time
from contextlib import closing
from itertools import permutations
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.local import ApicurioRegistry
from izin.runtime.errors import RegistryError
from izin.runtime.registry_client import RegistryClient
from izin.schemas import contracts
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.contracts import RECORDS
from izin.schemas.topics import Topics
from tests.contract.schemas.examples import golden
from tests.support.registry import MemoryRegistry

CODEC = Codec()
TOPICS = Topics("acme-")


@pytest.mark.parametrize("record", RECORDS)
def test_example_in_single_object_encoding_round_trips(record: str) -> None:
    """Marker, fingerprint, body; and back to the same values."""
    data = CODEC.encode(record, golden(record))
    assert data[:2] == b"\xc3\x01"
    assert data[2:10] == contracts.current()[record].fingerprint
    assert CODEC.decode(record, data) == golden(record)


@pytest.mark.parametrize("record", RECORDS)
def test_example_in_confluent_framing_round_trips(record: str) -> None:
    """A zero, the registry's id, body; and back to the same values."""
    ids = MemoryRegistry()
    codec = Codec(ids)
    data = codec.encode(record, golden(record))
    schema_id = struct.unpack(">I", data[1:5])[0]
    assert data[0] == 0
    assert ids.schemas[schema_id] == contracts.current()[record].schema
    assert data[5:] == CODEC.encode(record, golden(record))[10:]
    assert codec.decode(record, data) == golden(record)


def test_codec_with_registry_reads_both_framings() -> None:
    """What was written before a registry was set stays readable."""
    value = golden("Consent")
    assert Codec(MemoryRegistry()).decode("Consent", CODEC.encode("Consent", value)) == value


def test_registry_is_requested_once_for_an_id() -> None:
    """Ids never change their meaning."""
    ids = MemoryRegistry()
    codec = Codec(ids)
    ids.schemas[4242] = contracts.current()["Consent"].schema
    data = b"\x00" + struct.pack(">I", 4242) + CODEC.encode("Consent", golden("Consent"))[10:]
    for _ in range(3):
        codec.decode("Consent", data)
    assert ids.asked == [4242]


def test_confluent_framing_without_registry_names_the_remedy() -> None:
    """A worker without SCHEMA_REGISTRY_URL says what is missing."""
    data = Codec(MemoryRegistry()).encode("Consent", golden("Consent"))
    with pytest.raises(UnknownSchemaError, match="SCHEMA_REGISTRY_URL"):
        CODEC.decode("Consent", data)


def test_unknown_schema_id_raises_unknown_schema() -> None:
    """An id from another registry is distinguished from rubbish."""
    with pytest.raises(UnknownSchemaError, match="4242"):
        Codec(MemoryRegistry()).decode("Consent", b"\x00" + struct.pack(">I", 4242))


@pytest.mark.parametrize(("written", "asked"), list(permutations(RECORDS, 2)))
def test_record_decoded_as_another_is_undecodable(written: str, asked: str) -> None:
    """A record on the wrong topic is refused, however alike the two look."""
    with pytest.raises(UndecodableError):
        CODEC.decode(asked, CODEC.encode(written, golden(written)))


@pytest.mark.parametrize(
    "broken", [{}, {"field": 1, "code": "", "reason": "", "reason_tr": ""}, {"field": None}]
)
def test_value_that_does_not_fit_is_not_encoded(broken: dict[str, Any]) -> None:
    """A fault of ours is raised where it is made."""
    with pytest.raises((ValueError, TypeError, AttributeError)):
        CODEC.encode("Violation", broken)


@given(st.binary(max_size=200), st.sampled_from(RECORDS), st.integers(0, 200))
def test_changed_bytes_are_undecodable_or_another_value(
    rubbish: bytes, record: str, cut: int
) -> None:
    """Nothing but UndecodableError comes out of a decoder, whatever goes in."""
    data = CODEC.encode(record, golden(record))
    try:
        value = CODEC.decode(record, data[: 10 + cut] + rubbish)
    except UndecodableError:
        return
    assert isinstance(value, dict)


def test_registry_out_of_reach_raises_our_error_with_its_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No error of an HTTP library gets past the wall."""
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the tries of the client
    with closing(RegistryClient("http://127.0.0.1:9/apis", Topics())) as registry:
        with pytest.raises(RegistryError, match=r"127\.0\.0\.1:9"):
            registry.id_of(contracts.current()["Violation"])
        with pytest.raises(RegistryError, match="out of reach"):
            registry.schema_of(1)


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_real_registry_accepts_every_contract(registry: ApicurioRegistry) -> None:
    """Ids are given, schemas come back by id, and an incompatible one is refused."""
    with (
        closing(RegistryClient(registry.url, TOPICS)) as writer,
        closing(RegistryClient(registry.url, TOPICS)) as reader,
    ):
        _examine(writer, reader)
        _examine_subjects(registry.url, writer)


def _examine(registry: RegistryClient, other: RegistryClient) -> None:
    writer, reader = Codec(registry), Codec(other)
    for record in RECORDS:
        data = writer.encode(record, golden(record))
        assert data[0] == 0
        assert reader.decode(record, data) == golden(record)
    with pytest.raises(UnknownSchemaError):
        reader.decode("Consent", b"\x00\x00\xff\xff\xff")
    current = contracts.current()["Violation"].schema
    added = {"name": "must", "type": "string"}
    grown = contracts.contract("Violation", {**current, "fields": [*current["fields"], added]})
    with pytest.raises(RegistryError, match="compatible"):
        registry.id_of(grown)


def _examine_subjects(url: str, registry: RegistryClient) -> None:
    """Every topic has its subject, with the id that records carry and the same compatibility."""
    records = {f"{topic.name}-value": topic.record for topic in TOPICS}
    records |= {f"izin.{record}": record for record in RECORDS}
    with httpx.Client(base_url=url) as client:
        assert set(client.get("/subjects").json()) == set(records)
        for subject, record in records.items():
            latest = client.get(f"/subjects/{subject}/versions/latest").json()
            assert latest["id"] == registry.id_of(contracts.current()[record])
            level = client.get(f"/config/{subject}").json()["compatibilityLevel"]
            assert level == "FULL_TRANSITIVE"
