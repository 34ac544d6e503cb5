"""The topic table: names, contracts, dead letters, and the check of the real ones.

Keys live where Java and librdkafka put them.
The fast path through Avro, compared with fastavro byte by byte.

Records are read and written as Kafka's own clients read and write them.

Change the settings of a topic, as another program would.

The generated functions find where fields end, in every value that a contract allows.
"""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from io import BytesIO
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import given, strategies as st

from izin.consent import AdmittedEvent, decide
from izin.kafka import clients
from izin.kafka.clients import admin
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.schemas import contracts
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.contracts import RECORDS, Schema
from izin.schemas.fast.decision_writer import DecisionWriter
from izin.schemas.fast.reader import SHORT, long_of, long_text, reader_of, reader_of_some
from izin.schemas.fast.record_format import (
    BatchBuilder,
    header_bytes,
    headers_bytes,
    headers_of,
    varint,
)
from izin.schemas.fast.writer import EPOCH, long_bytes, writer_of
from izin.schemas.partitioning import last_slash, murmur2, partition_of
from izin.schemas.records import consent_to_avro, event_from_avro, event_to_avro
from izin.schemas.topics import Topics
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord, fetched_records
from izin.streams.ownership.transactional_producer import encoded
from tests.support.builders import a_decision_record, a_ret, an_admitted_event, an_iys_event
from tests.support.waiting import until
from tools.golden_records import golden
from tools.offset_codegen import generate

TOPICS = tuple(Topics())
_NAME = re.compile(r"[a-z]+(-[a-z]+)*")


def test_topic_names_are_kebab_case_plurals_without_dots() -> None:
    """Dots and underscores collide in Kafka's own metrics; a plural says it holds many."""
    for topic in TOPICS:
        assert _NAME.fullmatch(topic.name), topic.name
        assert any(word.endswith("s") for word in topic.name.split("-")), topic.name


def test_every_topic_attribute_is_iterated_once() -> None:
    """A topic that iteration forgets would be neither created nor checked."""
    table = Topics()
    attributes = [one for name, one in vars(table).items() if name != "prefix"]
    assert sorted(one.name for one in attributes) == sorted(one.name for one in table)
    assert len({one.name for one in table}) == len(tuple(table))


def test_every_input_topic_has_a_dead_letter_topic() -> None:
    """What publishers write may be unreadable, and has a place to go."""
    table = Topics("a-")
    names = {one.name for one in table}
    inputs = [one for one in table if one.record == "ConsentEvent"]
    assert len(inputs) == 2
    for one in inputs:
        assert one.dead_letters == table.dead_letters.name
        assert one.config["message.timestamp.type"] == "LogAppendTime"
    assert {one.dead_letters for one in table} - {None} <= names
    assert table.dead_letters.name.endswith("-dlq")


def test_both_lanes_and_the_state_are_keyed() -> None:
    """Their partition numbers must mean the same keys."""
    table = Topics()
    keyed = (table.events, table.express, table.desired_consents, table.decisions, table.opt_outs)
    assert all(one.is_partitioned for one in keyed)
    assert table.desired_consents.config["cleanup.policy"] == "compact"


def test_prefix_is_part_of_every_topic_name() -> None:
    """Tests and demos share a broker and meet nowhere."""
    assert all(one.name.startswith("demo-") for one in Topics("demo-"))


@pytest.mark.broker
def test_created_topics_have_no_faults(
    make_settings: Callable[[int], KafkaSettings],
) -> None:
    """What ensure_topics makes, topic_faults finds nothing against."""
    settings = make_settings(3)
    assert (clients.ensure_topics(settings), clients.topic_faults(settings)) == ((), ())


def test_topics_are_ready_once_they_have_leaders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller is ahead of the broker: who reads at once would find no such topic."""
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", partitions=1)
    names = [topic.name for topic in settings.topics]

    def listed(leader: int) -> SimpleNamespace:
        led = SimpleNamespace(partitions={0: SimpleNamespace(leader=leader)})
        return SimpleNamespace(topics=dict.fromkeys(names, led))

    nothing = SimpleNamespace(topics={})
    client = Mock()
    client.list_topics.side_effect = [nothing, nothing, listed(-1), listed(1)]
    client.create_topics.return_value = {}
    monkeypatch.setattr(clients, "admin", lambda _: client)
    assert clients.ensure_topics(settings) == tuple(names)
    assert client.list_topics.call_count == 4


@pytest.mark.broker
def test_wrong_topics_are_listed_as_faults(make_settings: Callable[[int], KafkaSettings]) -> None:
    """A missing topic, another partition count and another setting are each a sentence."""
    settings = make_settings(3)
    topics, admin = settings.topics, clients.admin(settings)
    admin.delete_topics([topics.permissions.name])[topics.permissions.name].result(10)
    set_of_topic(settings, topics.desired_consents.name, "cleanup.policy", "delete")
    set_of_topic(settings, topics.events.name, "retention.ms", "1000")
    wider = settings.model_copy(update={"partitions": 4, "production": True})
    faults = "\n".join(clients.topic_faults(wider))
    for expected in (
        f"topic {topics.permissions.name} does not exist",
        f"topic {topics.events.name} has 3 partitions, not 4",
        f"topic {topics.desired_consents.name} has cleanup.policy=delete, not compact",
        f"topic {topics.events.name} has retention.ms=1000",
        f"topic {topics.events.name} has 1 replicas; production needs 3",
        f"topic {topics.events.name}: min.insync.replicas must be 2",
    ):
        assert expected in faults


@pytest.mark.broker
def test_longer_retention_is_no_fault(make_settings: Callable[[int], KafkaSettings]) -> None:
    """An operator may raise how long records are kept, or keep them for ever."""
    settings = make_settings(1)
    set_of_topic(settings, settings.topics.events.name, "retention.ms", "-1")
    set_of_topic(settings, settings.topics.decisions.name, "retention.ms", str(400 * 86_400_000))
    assert clients.topic_faults(settings) == ()


@pytest.mark.broker
def test_committed_end_excludes_an_open_transaction(
    make_settings: Callable[[int], KafkaSettings],
) -> None:
    """Records of an open transaction are not yet there."""
    settings = make_settings(1)
    name = settings.topics.desired_consents.name
    producer = clients.producer(settings, **{"transactional.id": f"{name}-open"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(name, key=b"key", value=b"open", partition=0)
    producer.flush(10)
    assert clients.committed_ends(settings, name) == {0: 0}
    producer.commit_transaction(10)
    # The broker answers once it will commit; the marker follows.
    until(lambda: clients.committed_ends(settings, name) == {0: 2})


def test_committed_end_without_leader_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic made a moment ago may have no leader yet; nobody has to act on that."""
    refused = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
    _ends_answered_by(monkeypatch, *refused, None)
    assert clients.committed_ends(KafkaSettings(), "any") == {0: 7}


def test_committed_end_without_permission_raises_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waiting does not remedy is not waited for."""
    _ends_answered_by(monkeypatch, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(BrokerError):
        clients.committed_ends(KafkaSettings(), "any")


def _ends_answered_by(monkeypatch: pytest.MonkeyPatch, *answers: int | None) -> None:
    """Let the broker answer for the end of the one partition with each of ``answers`` in turn."""
    client = Mock()
    topics = {"any": SimpleNamespace(partitions={0: None}, error=None)}
    client.list_topics.return_value = SimpleNamespace(topics=topics)
    client.get_watermark_offsets.side_effect = [
        (0, 7) if code is None else KafkaException(KafkaError(code)) for code in answers
    ]
    monkeypatch.setattr("izin.kafka.connections.consumer", lambda *_, **__: client)


def test_broker_out_of_reach_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreign errors stop at the wall, and name the place."""
    monkeypatch.setattr(clients, "TIMEOUT", 0.5)
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    for asked in (clients.ensure_topics, clients.topic_faults):
        with pytest.raises(BrokerError, match="KAFKA_BOOTSTRAP_SERVERS"):
            asked(settings)


@pytest.mark.broker
def test_wrong_topic_settings_are_repaired(make_settings: Callable[[int], KafkaSettings]) -> None:
    """Settings that differ are set again; what was right is left alone."""
    settings = make_settings(1)
    assert clients.repair_topics(settings) == ()
    name = settings.topics.desired_consents.name
    set_of_topic(settings, name, "cleanup.policy", "delete")
    assert [clients.repair_topics(settings) for _ in range(2)] == [(name,), ()]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_matches_kafkas_vectors(data: bytes, expected: int) -> None:
    """The vectors of Kafka's own test of it, as signed numbers."""
    assert murmur2(data) == expected % 2**32


@given(st.binary(max_size=40), st.integers(1, 1000))
def test_partition_of_any_key_is_in_range(key: bytes, partitions: int) -> None:
    """Whatever the bytes, the partition is one of those there are."""
    assert 0 <= partition_of(key, partitions) < partitions


@given(st.binary(max_size=40))
def test_last_slash_is_found(key: bytes) -> None:
    """As ``rfind`` finds it, in any bytes."""
    assert last_slash(key) == key.rfind(b"/")


@pytest.mark.broker
def test_partition_matches_librdkafka(kafka_settings: KafkaSettings) -> None:
    """Where our producer puts a key is where the order stage looks for it."""
    placed: dict[bytes, int] = {}
    producer = clients.producer(kafka_settings)
    keys = [f"100001/MESAJ/BIREYSEL/+90555{number:07d}".encode() for number in range(200)]
    keys += [b"100001/EPOSTA/BIREYSEL/ada@example.com"[:size] for size in range(1, 39)]
    for key in keys:
        producer.produce(
            kafka_settings.topics.events.name,
            key=key,
            value=b"",
            on_delivery=lambda _, message: placed.update({message.key(): message.partition()}),
        )
    assert producer.flush(20) == 0
    assert placed == {key: partition_of(key, kafka_settings.partitions) for key in keys}


@pytest.fixture
def kafka_settings(make_settings: Callable[[int], KafkaSettings]) -> KafkaSettings:
    """Return topics with seven partitions, a number without a pattern."""
    return make_settings(7)


CODEC = Codec()
_PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=80),
    "bytes": st.binary(max_size=80),
    "boolean": st.booleans(),
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    "long": st.integers(-(1 << 63), (1 << 63) - 1),
}
_INSTANTS = st.integers(-(10**12), 10**13).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
HEADER_SIZE = 61
some_bytes = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(st.text(max_size=20), some_bytes), max_size=4)
records = st.lists(st.tuples(some_bytes, some_bytes, headers), min_size=1, max_size=200)


def values(schema: Schema | list[Schema | str] | str) -> st.SearchStrategy[Any]:
    """Return whatever fits ``schema``."""
    match schema:
        case str():
            return _PRIMITIVES[schema]
        case list():
            return st.one_of(*(st.none() if one == "null" else values(one) for one in schema))
        case {"logicalType": "timestamp-millis"}:
            return _INSTANTS
        case {"type": "array", "items": items}:
            return st.lists(values(items), max_size=3)
        case {"type": "map", "values": of}:
            return st.dictionaries(st.text(max_size=5), values(of), max_size=3)
        case {"fields": fields}:
            return st.fixed_dictionaries({one["name"]: values(one["type"]) for one in fields})
        case _:
            raise AssertionError(schema)


def by_fastavro(record: str, value: object) -> bytes:
    """Return ``value`` as fastavro encodes it."""
    out = BytesIO()
    schemaless_writer(out, contracts.current()[record].parsed, value)
    return out.getvalue()


@pytest.mark.parametrize("record", RECORDS)
@given(data=st.data())
def test_fast_writer_and_reader_match_fastavro(record: str, data: st.DataObject) -> None:
    """Whatever fits a contract is written and read alike."""
    contract = contracts.current()[record]
    value = data.draw(values(contract.schema))
    body = writer_of(contract.schema)(value)
    assert body == by_fastavro(record, value)
    assert reader_of(contract.schema, {})(body, 0) == (value, len(body))
    assert schemaless_reader(BytesIO(body), contract.parsed, None) == value


@pytest.mark.parametrize("schema", ["string", ["null", "string"]])
@pytest.mark.parametrize("length", [0, 1, 63, 64, 8191, 8192])
def test_text_of_any_length_is_written_as_by_fastavro(schema: Schema, length: int) -> None:
    """Its length takes one, two or three bytes."""
    out = BytesIO()
    schemaless_writer(out, schema, "x" * length)
    assert writer_of(schema)("x" * length) == out.getvalue()


def test_fast_event_reader_returns_the_written_event() -> None:
    """The order stage reads events without a dictionary between."""
    for event in (an_admitted_event().event, an_iys_event(retailer_access=(11111111, 22222222))):
        data = CODEC.encode("ConsentEvent", event_to_avro(event))
        assert (
            CODEC.decode_event(data) == event == event_from_avro(CODEC.decode("ConsentEvent", data))
        )


@pytest.mark.parametrize("admitted", [an_admitted_event(), a_ret(), a_ret(consent_date=None)])
def test_decision_writer_matches_the_codec(admitted: AdmittedEvent) -> None:
    """A subscriber cannot tell how it was encoded."""
    decision = decide(None, admitted)
    row = CODEC.encode("Consent", consent_to_avro(decision.consent))
    event = CODEC.encode("ConsentEvent", event_to_avro(admitted.event))
    written = DecisionWriter(CODEC.header("Decision")).encode(
        kind=decision.kind,
        reason=decision.reason,
        opted_out=decision.opted_out,
        effective_at=long_bytes((admitted.effective_at - EPOCH) // timedelta(milliseconds=1)),
        violations=admitted.violations,
        topic="consent-events",
        partition=3,
        offset=70_000,
        consent=row[len(CODEC.header("Consent")) :],
        event=event[len(CODEC.header("ConsentEvent")) :],
    )
    whole = a_decision_record(decision, partition=3, offset=70_000)
    assert written == CODEC.encode("Decision", whole)
    assert CODEC.decode("Decision", written)["event"] == event_to_avro(admitted.event)


def test_missing_field_gets_the_contracts_default() -> None:
    """What the fast path cannot write, fastavro can."""
    value = golden("Decision")
    del value["violations"]
    assert CODEC.decode("Decision", CODEC.encode("Decision", value))["violations"] == []


def test_array_in_sized_blocks_is_decoded() -> None:
    """Other writers may; the fast path leaves it to fastavro."""
    value = golden("ConsentEvent") | {"retailer_access": [11111111, 22222222]}
    data = CODEC.encode("ConsentEvent", value)
    number = writer_of("int")
    items = number(11111111) + number(22222222)
    unsized, sized = number(2) + items, number(-2) + number(len(items)) + items
    assert data.count(unsized) == 1
    again = data.replace(unsized, sized)
    assert CODEC.decode("ConsentEvent", again) == CODEC.decode("ConsentEvent", data)
    assert CODEC.decode_event(again) == CODEC.decode_event(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-1],
        lambda body: body + b"\x00",
        lambda _: b"\xff" * 100_000,
        lambda body: b"\x03" + body[1:],
        lambda body: body.replace(b"ONAY", b"\xff\xff\xff\xff"),
    ],
    ids=["cut short", "left over", "an endless number", "a negative size", "no text"],
)
def test_changed_event_is_undecodable(spoil: Callable[[bytes], bytes]) -> None:
    """The fast path is no way around the checks."""
    header = CODEC.header("ConsentEvent")
    body = CODEC.encode("ConsentEvent", golden("ConsentEvent"))[len(header) :]
    for decode in (CODEC.decode_event, lambda data: CODEC.decode("ConsentEvent", data)):
        with pytest.raises(UndecodableError):
            decode(header + spoil(body))


def test_large_text_is_read_as_a_small_one_is() -> None:
    """Without a copy: whole, with letters of several bytes, and never what is no text."""
    value = golden("ConsentEvent") | {"evidence": {"page": "ş" * 40_000}}
    data = CODEC.encode("ConsentEvent", value)
    assert CODEC.decode_event(data).evidence == value["evidence"]
    for spoilt in (data.replace("ş".encode(), b"\xff\xff"), data[:-40_000]):
        with pytest.raises(UndecodableError):
            CODEC.decode_event(spoilt)


@pytest.mark.parametrize("value", [1 << 31, -(1 << 31) - 1])
def test_number_out_of_bounds_is_not_written(value: int) -> None:
    """It could not be read back."""
    with pytest.raises((ValueError, OverflowError)):
        writer_of("int")(value)
    with pytest.raises((ValueError, OverflowError)):
        writer_of("long")(value << 32)


@pytest.mark.parametrize("value", ["x", 1.5, None, b"1"])
@pytest.mark.parametrize("schema", ["int", "long"])
def test_value_that_is_no_number_is_not_written(schema: str, value: object) -> None:
    """It raises at once."""
    with pytest.raises(TypeError):
        writer_of(schema)(value)


@pytest.mark.parametrize(
    "schema",
    [
        "double",
        ["string", "null"],
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "record", "name": "R", "fields": [{"name": "f", "type": ["int", "null"]}]},
    ],
)
def test_type_that_no_contract_uses_is_refused(schema: object) -> None:
    """A contract that grows one is found when the codec is made, not by a record."""
    with pytest.raises(ValueError, match="no contract"):
        writer_of(schema)
    with pytest.raises(ValueError, match="no contract"):
        reader_of({"type": "record", "name": "R", "fields": [{"name": "f", "type": schema}]}, {})


def fields(record: Any) -> tuple[Any, ...]:  # noqa: ANN401  # aiokafka publishes no types
    """Return what a record has, whoever read it."""
    return record.offset, record.timestamp, record.key, record.value, list(record.headers)


async def written(of: list[Any], *, producer: int = 7) -> bytes:
    """Return the batch of `of` as a producer sends it."""
    batch = BatchBuilder("rows", 0)
    for key, value, some in of:
        batch.add(key, value, headers_bytes(some))
    made = await encoded(batch)
    made._set_producer_state(producer, 3, 21)
    return made._build()


@given(records)
async def test_written_batch_is_read_by_aiokafka(of: list[Any]) -> None:
    """Its records, its checksum, and what a broker needs to know each one once."""
    reader = MemoryRecords(await written(of))
    batch = reader.next_batch()
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 3, 21)
    assert (batch.is_transactional, batch.is_control_batch) == (True, False)
    assert batch.next_offset == len(of)
    at = batch.first_timestamp
    expected = [(number, at, *one[:2], list(one[2])) for number, one in enumerate(of)]
    assert [fields(one) for one in batch] == expected
    assert not reader.has_next()


async def test_batch_sent_again_is_the_same() -> None:
    """A broker knows it by its sequence number, and drops the second."""
    batch = BatchBuilder("rows", 0)
    batch.add(b"key", b"value", headers_bytes([]))
    made = await encoded(batch)
    made._set_producer_state(1, 0, 5)
    assert made._build() == made._build()
    assert (made.record_count(), made.closed()) == (1, True)


@given(records, st.integers(0, 5))
def test_batch_of_aiokafka_is_read(of: list[Any], start: int) -> None:
    """Every record from an offset on, with its headers, at its own instant."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 24,
    )
    for number, (key, value, some) in enumerate(of):
        builder.append(number * 2, 1000 - number, key, value, some)
    data = bytes(builder.build())[HEADER_SIZE:]
    last, count = max(0, 2 * len(of) - 2), len(of)
    found, read = fetched_records("events", 3, data, 0, last, count, 1000, -1, start)
    expected = [(number * 2, 1000 - number, *one[:2], one[2]) for number, one in enumerate(of)]
    assert [fields(one) for one in found] == [one for one in expected if one[0] >= start]
    assert read == last + 1
    appended, _ = fetched_records("events", 3, data, 10, 10 + last, count, 1000, 555, 0)
    assert [(one.offset, one.timestamp) for one in appended] == [
        (10 + number * 2, 555) for number in range(len(of))
    ]


@given(st.integers(-(1 << 62), (1 << 62) - 1))
def test_varint_reads_what_is_written(number: int) -> None:
    """Kafka's numbers are Avro's."""
    data = long_bytes(number)
    assert varint(data, 0) == (number, len(data))


def test_name_that_is_no_text_harms_nothing_else() -> None:
    """A producer may name a header in any bytes."""
    data = long_bytes(2) + header_bytes("ab", b"1").replace(b"ab", b"\xff\xfe")
    assert headers_of(data + header_bytes("c", None)) == [("\ufffd\ufffd", b"1"), ("c", None)]


@pytest.mark.parametrize(
    ("of", "is_again"),
    [
        ([(APPENDED_AT, b"1")], True),
        ([("ce_id", b"1"), (APPENDED_AT, b"1")], True),
        ([(APPENDED_AT, b"1"), ("ce_id", b"1")], False),
        ([("ce_id", APPENDED_AT.encode())], False),
        ([], False),
    ],
)
def test_record_appended_before_is_known_by_its_last_header(
    of: list[tuple[str, bytes | None]], *, is_again: bool
) -> None:
    """In bytes as in values; the name alone, elsewhere in a record, says nothing."""
    for given_headers in (of, headers_bytes([*of])):
        record = FetchedRecord("events", 0, 0, 0, b"key", b"value", given_headers)
        assert (record.was_appended_before, record.headers) == (is_again, of)


def set_of_topic(settings: KafkaSettings, topic: str, name: str, value: str) -> None:
    """Set ``name`` of ``topic``, and wait until the broker shows it."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(settings)  # gone, it would take the answer with it
    client.incremental_alter_configs([resource])[resource].result(10)

    def shown() -> bool:
        asked = ConfigResource(ResourceType.TOPIC, topic)
        return bool(client.describe_configs([asked])[asked].result(10)[name].value == value)

    until(shown)


def offsets_of(
    schema: Schema, ends: Sequence[str], instants: Sequence[str] = ()
) -> Callable[[bytes, int], tuple[Any, ...]]:
    """Return the function that is generated for these fields of `schema`."""
    source = generate(schema, ends, instants)
    types = {field["name"]: field["type"] for field in schema["fields"]}
    names: dict[str, Any] = {"short": SHORT, "long_text": long_text, "long_of": long_of}
    names |= {f"read_{name}": reader_of_some(types[name]) for name in source.readers}
    exec(f"def find(data, at):\n{source.body}\n", names)
    return names["find"]


@pytest.mark.parametrize("record", sorted(contracts.current()))
@given(data=st.data())
def test_offsets_are_the_ends_of_the_fields(record: str, data: st.DataObject) -> None:
    """The fields between them are the record's; the instants are its own."""
    contract = contracts.current()[record]
    fields = contract.schema["fields"]
    names = [field["name"] for field in fields]
    timestamp = {"type": "long", "logicalType": "timestamp-millis"}
    instants = [one["name"] for one in fields if one["type"] in (timestamp, ["null", timestamp])]
    value = data.draw(values(contract.schema))
    body = writer_of(contract.schema)(value)
    try:
        found = offsets_of(contract.schema, names, instants)(body, 0)
    except ValueError:
        # Unusual, and left to others: a map in which a count or a size takes several bytes.
        assert any(isinstance(one, dict) for one in value.values())
        return
    assert found[-1] == len(body)
    edges = [0, *found[: len(names)]]
    for field, (start, end) in zip(fields, pairwise(edges), strict=True):
        assert body[start:end] == writer_of(field["type"])(value[field["name"]])
    for name, millis in zip(instants, found[len(names) : -1], strict=True):
        at = value[name]
        assert millis == (None if at is None else (at - EPOCH) // timedelta(milliseconds=1))


@given(st.data())
def test_offsets_of_unreadable_bytes_are_not_found(data: st.DataObject) -> None:
    """Bytes changed or cut short anywhere: offsets are found only of what can be read."""
    contract = contracts.current()["ConsentEvent"]
    body = bytearray(CODEC.encode("ConsentEvent", golden("ConsentEvent")))
    start = len(CODEC.header("ConsentEvent"))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(start, len(body) - 1))
        body[place] = data.draw(st.integers(0, 255))
    broken = bytes(body[: data.draw(st.sampled_from([len(body), len(body) - 1, len(body) // 2]))])
    try:
        *_, end = offsets_of(contract.schema, ["iys"])(broken, start)
    except Exception:  # noqa: BLE001  # whatever it stumbles on
        return
    if end == len(broken):
        CODEC.decode("ConsentEvent", broken)


def test_offsets_of_a_missing_field_are_refused() -> None:
    """A field that the contract lost is found when the worker starts."""
    schema = contracts.current()["Consent"].schema
    with pytest.raises(ValueError, match="nowhere"):
        offsets_of(schema, ["nowhere"])
    with pytest.raises(ValueError, match="status"):
        offsets_of(schema, [], ["status"])
