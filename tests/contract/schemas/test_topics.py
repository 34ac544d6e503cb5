"""The topic table: names, contracts, dead letters, and the check of the real ones.

Keys live where Java and librdkafka put them.
"""

import re
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from izin.runtime import kafka, topic_admin
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.schemas.contracts import RECORDS
from izin.schemas.partitioning import last_slash, murmur2, partition_of
from izin.schemas.topics import Topics
from tests.contract.schemas.topic_settings import set_of_topic
from tests.support.waiting import until

TOPICS = tuple(Topics())
_NAME = re.compile(r"[a-z]+(-[a-z]+)*")


def test_every_topic_has_a_record_with_a_contract() -> None:
    """No topic without a schema."""
    assert {topic.record for topic in TOPICS} <= set(RECORDS)


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
    assert (topic_admin.ensure_topics(settings), topic_admin.topic_faults(settings)) == ((), ())


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
    monkeypatch.setattr(topic_admin, "admin", lambda _: client)
    assert topic_admin.ensure_topics(settings) == tuple(names)
    assert client.list_topics.call_count == 4


@pytest.mark.broker
def test_wrong_topics_are_listed_as_faults(make_settings: Callable[[int], KafkaSettings]) -> None:
    """A missing topic, another partition count and another setting are each a sentence."""
    settings = make_settings(3)
    topics, admin = settings.topics, kafka.admin(settings)
    admin.delete_topics([topics.permissions.name])[topics.permissions.name].result(10)
    set_of_topic(settings, topics.desired_consents.name, "cleanup.policy", "delete")
    set_of_topic(settings, topics.events.name, "retention.ms", "1000")
    wider = settings.model_copy(update={"partitions": 4, "production": True})
    faults = "\n".join(topic_admin.topic_faults(wider))
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
    assert topic_admin.topic_faults(settings) == ()


@pytest.mark.broker
def test_committed_end_excludes_an_open_transaction(
    make_settings: Callable[[int], KafkaSettings],
) -> None:
    """Records of an open transaction are not yet there."""
    settings = make_settings(1)
    name = settings.topics.desired_consents.name
    producer = kafka.producer(settings, **{"transactional.id": f"{name}-open"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(name, key=b"key", value=b"open", partition=0)
    producer.flush(10)
    assert kafka.committed_ends(settings, name) == {0: 0}
    producer.commit_transaction(10)
    # The broker answers once it will commit; the marker follows.
    until(lambda: kafka.committed_ends(settings, name) == {0: 2})


def test_committed_end_without_leader_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic made a moment ago may have no leader yet; nobody has to act on that."""
    refused = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
    _ends_answered_by(monkeypatch, *refused, None)
    assert kafka.committed_ends(KafkaSettings(), "any") == {0: 7}


def test_committed_end_without_permission_raises_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waiting does not remedy is not waited for."""
    _ends_answered_by(monkeypatch, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(BrokerError):
        kafka.committed_ends(KafkaSettings(), "any")


def _ends_answered_by(monkeypatch: pytest.MonkeyPatch, *answers: int | None) -> None:
    """Let the broker answer for the end of the one partition with each of ``answers`` in turn."""
    client = Mock()
    topics = {"any": SimpleNamespace(partitions={0: None}, error=None)}
    client.list_topics.return_value = SimpleNamespace(topics=topics)
    client.get_watermark_offsets.side_effect = [
        (0, 7) if code is None else KafkaException(KafkaError(code)) for code in answers
    ]
    monkeypatch.setattr("izin.runtime.kafka_clients.consumer", lambda *_, **__: client)


def test_broker_out_of_reach_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreign errors stop at the wall, and name the place."""
    monkeypatch.setattr(topic_admin, "TIMEOUT", 0.5)
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    for asked in (topic_admin.ensure_topics, topic_admin.topic_faults):
        with pytest.raises(BrokerError, match="KAFKA_BOOTSTRAP_SERVERS"):
            asked(settings)


@pytest.mark.broker
def test_wrong_topic_settings_are_repaired(make_settings: Callable[[int], KafkaSettings]) -> None:
    """Settings that differ are set again; what was right is left alone."""
    settings = make_settings(1)
    assert topic_admin.repair_topics(settings) == ()
    name = settings.topics.desired_consents.name
    set_of_topic(settings, name, "cleanup.policy", "delete")
    assert [topic_admin.repair_topics(settings) for _ in range(2)] == [(name,), ()]


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
    producer = kafka.producer(kafka_settings)
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
