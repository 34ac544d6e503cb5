"""Every contract has its file, its example and its history, and nothing is an orphan.

The CloudEvents headers of a record.

Suppressions are keyed digests: the same for the same secret, and of no use without it.
Both framings, each read by every codec that may.
"""

import copy
import json
import struct
import time
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from itertools import permutations
from pathlib import Path
from typing import Any

import avro.schema
import httpx
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse
from hypothesis import given, strategies as st

from izin.consent import ConsentEvent
from izin.kafka.registry_client import RegistryClient
from izin.local import ApicurioRegistry
from izin.runtime.errors import RegistryError
from izin.schemas import contracts
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.contracts import RECORDS
from izin.schemas.erasure import NO_SUPPRESSIONS, SUPPRESSED, SuppressionKeys
from izin.schemas.records import (
    TIME,
    attributes,
    consent_from_avro,
    consent_to_avro,
    event_from_avro,
    event_to_avro,
    headers,
)
from izin.schemas.topics import Topics
from tests.support.builders import an_event, an_iys_origin
from tests.support.registry import MemoryRegistry
from tools.generate_schemas import FOLDER as FOLDER_OF_SCHEMAS, schema_files
from tools.golden_records import FOLDER, golden

SCHEMAS = resources.files("izin.schemas")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TURKEY = timezone(timedelta(hours=3))
KEY = b"100001/MESAJ/BIREYSEL/+905550000001"
OLD, NEW = (
    "an old fake secret of 32 letters",
    "a new fake secret that is longer than BLAKE2b's sixty-four bytes",
)


def conflicts(versions: Iterable[dict[str, Any]]) -> list[str]:
    """Return why a version of a record cannot read another; nothing where all can."""
    parsed = [avro.schema.parse(json.dumps(version)) for version in versions]
    found = []
    for reader, writer in permutations(parsed, 2):
        verdict = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        if verdict.compatibility is not SchemaCompatibilityType.compatible:
            found.append(f"{verdict.messages} at {verdict.locations}")
    return found


def names_in(folder: Any, suffix: str) -> set[str]:  # noqa: ANN401  # a Traversable
    return {one.name.removesuffix(suffix) for one in folder.iterdir() if one.name.endswith(suffix)}


def versions_of(record: str) -> list[dict[str, Any]]:
    """Return every version of `record` that was published, and the current one."""
    return [one.schema for one in contracts.known().values() if one.record == record]


def test_every_record_has_its_schema_example_and_version() -> None:
    """No file without a record, and no record without its files; what a record is written with now
    is among its versions.
    """
    assert names_in(SCHEMAS / "avro", ".avsc") == names_in(FOLDER, ".json") == set(RECORDS)
    assert {one.record for one in contracts.known().values()} == set(RECORDS)


def test_every_schema_is_used_by_a_topic() -> None:
    """Each record travels on a topic, or is part of one that does."""
    found = set()
    for topic in Topics():
        text = (SCHEMAS / "avro" / f"{topic.record}.avsc").read_text(encoding="utf-8")
        found |= {one for one in RECORDS if f'"name": "{one}"' in text}
    assert found == set(RECORDS)


def test_each_schema_file_is_loaded_by_a_parser_alone() -> None:
    """Of any language: here by Avro's own, which would refuse the name of a record elsewhere."""
    for record in RECORDS:
        text = (SCHEMAS / "avro" / f"{record}.avsc").read_text(encoding="utf-8")
        assert parse(text).fullname == f"izin.{record}"


def test_record_within_another_is_renewed_from_its_own_file(tmp_path: Path) -> None:
    """One that differs would be another record under the same name: `make docs` writes it anew."""
    for record in RECORDS:
        text = (SCHEMAS / "avro" / f"{record}.avsc").read_text(encoding="utf-8")
        path = tmp_path / FOLDER_OF_SCHEMAS / f"{record}.avsc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    before = schema_files(tmp_path)
    assert {Path(one).stem for one in before} == {"Decision", "DeadLetter"}
    own = tmp_path / FOLDER_OF_SCHEMAS / "Violation.avsc"
    own.write_text(own.read_text("utf-8").replace("Turkish.", "In Turkish."), encoding="utf-8")
    for name, text in schema_files(tmp_path).items():
        assert "In Turkish." in text
        assert text.replace("In Turkish.", "Turkish.") == before[name]


FLAT = ("Consent", "Permission", "Outcome")
"""What other systems write into tables."""


def nested(schema: contracts.Schema) -> list[str]:
    """Return the fields that are no single value: a record, a map or a list, or one of several."""
    found = []
    for field in schema["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        kinds = [one["type"] if isinstance(one, dict) else one for one in kinds if one != "null"]
        if len(kinds) != 1 or kinds[0] in {"record", "map", "array"} or "izin." in kinds[0]:
            found.append(field["name"])
    return found


@pytest.mark.parametrize("record", FLAT)
def test_record_for_tables_is_flat(record: str) -> None:
    """A sink of Kafka Connect writes it as a row without a transformation; the check can fail, by a
    list, a map, and a record.
    """
    assert nested(contracts.current()[record].schema) == []
    event = contracts.current()["ConsentEvent"].schema
    assert nested(event) == ["retailer_access", "evidence", "iys"]


@pytest.mark.parametrize("record", RECORDS)
def test_current_schema_is_among_the_versions(record: str) -> None:
    """What is published is kept: later releases must read what this one writes."""
    current = contracts.current()[record]
    name = f"{record}.{current.fingerprint.hex()}.avsc"
    path = SCHEMAS / "versions" / name
    assert path.is_file(), (
        f"the schema of {record} changed: write the expanded schema to "
        f"izin/schemas/versions/{name} and keep the older ones"
    )
    assert json.loads(path.read_text(encoding="utf-8")) == current.schema


def test_version_file_is_named_by_its_fingerprint() -> None:
    """A version that was edited in place would no longer read what was written with it."""
    for path in (SCHEMAS / "versions").iterdir():
        record, _, rest = path.name.partition(".")
        schema = json.loads(path.read_text(encoding="utf-8"))
        found = contracts.contract(record, schema)
        assert (schema["name"], rest) == (record, f"{found.fingerprint.hex()}.avsc")


def test_fingerprint_is_that_of_avros_specification() -> None:
    """Avro's specification gives this value for "null"; the header carries it little-endian."""
    fingerprint = contracts.contract("null", "null").fingerprint  # type: ignore[arg-type]  # a schema is any JSON
    assert fingerprint == bytes.fromhex("63dd24e7cc258f8a")[::-1]


@pytest.mark.parametrize("record", RECORDS)
def test_versions_of_a_record_read_each_other(record: str) -> None:
    """FULL_TRANSITIVE: old and new releases work side by side, whichever writes."""
    assert conflicts(versions_of(record)) == []


def changed(record: str, change: str) -> dict[str, Any]:
    schema = copy.deepcopy(contracts.current()[record].schema)
    match change:
        case "a field that must be there":
            schema["fields"].append({"name": "new", "type": "string"})
        case "a field taken away":
            schema["fields"] = [one for one in schema["fields"] if one["name"] != "status"]
        case "another type":
            schema["fields"][0]["type"] = "long"
        case "a field that may be there":
            schema["fields"].append({"name": "new", "type": ["null", "string"], "default": None})
    return schema


@pytest.mark.parametrize(
    ("change", "is_compatible"),
    [
        ("a field that must be there", False),
        ("a field taken away", False),
        ("another type", False),
        ("a field that may be there", True),
    ],
)
def test_incompatible_change_is_found(change: str, is_compatible: bool) -> None:
    """The check can fail, and the way in which contracts grow is open."""
    found = conflicts([contracts.current()["Consent"].schema, changed("Consent", change)])
    assert (found == []) is is_compatible


@pytest.mark.parametrize("written_by", ["an older release", "a newer release"])
def test_record_of_another_version_is_resolved_to_the_current(
    monkeypatch: pytest.MonkeyPatch, written_by: str
) -> None:
    """What another release wrote is resolved into what this one knows."""
    event, schema = golden("ConsentEvent"), contracts.current()["ConsentEvent"].schema
    other = copy.deepcopy(schema)
    expected = dict(event)
    if written_by == "an older release":
        other["fields"] = [one for one in schema["fields"] if one["name"] != "notice_version"]
        expected["notice_version"] = None
    else:
        other["fields"].insert(3, {"name": "new", "type": ["null", "string"], "default": None})
        event |= {"new": "a text of tomorrow"}
    assert conflicts([schema, other]) == []
    version = contracts.contract("ConsentEvent", other)
    known = {**contracts.known(), version.fingerprint: version}
    monkeypatch.setattr(contracts, "known", lambda: known)
    reader = Codec()
    monkeypatch.setattr(contracts, "current", lambda: {"ConsentEvent": version})
    assert reader.decode("ConsentEvent", Codec().encode("ConsentEvent", event)) == expected


def test_schema_names_no_record_of_another_file() -> None:
    """Each record is complete: it names nothing outside itself. A record and its file bear the same
    name, in our namespace.
    """
    for record, current in contracts.current().items():
        assert (current.schema["namespace"], current.schema["name"]) == ("izin", record)
        text = json.dumps(current.schema)
        assert [one for one in RECORDS if f'"izin.{one}"' in text] == []


def test_event_contract_has_the_fields_of_the_model() -> None:
    """Each field of the law's event travels, and nothing else does."""
    fields = {one["name"] for one in contracts.current()["ConsentEvent"].schema["fields"]}
    assert fields == set(ConsentEvent.__slots__)


@pytest.mark.parametrize(
    "event",
    [
        an_event(),
        an_event(evidence={"a": "b"}, retailer_access=(10000001, 10000002), sequence=2**40),
        an_event(iys=an_iys_origin(transaction_id="1"), consent_date=None, received_at=None),
    ],
)
def test_event_encoded_and_decoded_is_unchanged(event: ConsentEvent) -> None:
    """Encoding and decoding change nothing of an event."""
    codec = Codec()
    decoded = codec.decode("ConsentEvent", codec.encode("ConsentEvent", event_to_avro(event)))
    assert event_from_avro(decoded) == event


def test_examples_are_values_of_the_law() -> None:
    """The examples are no mere Avro: the law's types take them and give them back."""
    event, consent = golden("ConsentEvent"), golden("Consent")
    assert event_to_avro(event_from_avro(event)) == event
    assert consent_to_avro(consent_from_avro(consent)) == consent
    assert event_from_avro(golden("Decision")["event"]).iys is not None


def test_headers_are_the_attributes_encoded() -> None:
    """Two notations of one instant are equal, and each record has its own."""
    for at in (NOON, NOON.astimezone(TURKEY), NOON):
        named = {"record": "ConsentEvent", "event_id": "e-1", "source": "/crm", "at": at}
        found = dict(headers(**named))
        assert found == {name: value.encode() for name, value in attributes(**named).items()}
        assert found[TIME] == at.isoformat().encode()


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
    """A secret of any length will do; without one nothing can be erased or suppressed."""
    both, old = SuppressionKeys([NEW, OLD]), SuppressionKeys([OLD])
    assert both.of(KEY) == SuppressionKeys([NEW]).of(KEY)
    assert both.every(KEY) == [both.of(KEY), old.of(KEY)]
    assert len({*both.prefixes}) == 2
    assert [bool(one) for one in (old, NO_SUPPRESSIONS)] == [True, False]
    assert NO_SUPPRESSIONS.every(KEY) == []


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
