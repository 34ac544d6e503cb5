"""Topics followed into memory: what is known, and for how long that may lack the latest."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from izin.kafka.clients import access_of, ensure_topics, producer
from izin.kafka.follower import RecordFollower, TopicFollower
from izin.kafka.tables.api_keys import ApiKeyReader, Freshness
from izin.local import Kafka, free_port
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import API_KEY, KEY_ID, NOON, a_second_key, an_api_key, known
from tests.support.published import publish_key
from tests.support.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def settings(make_settings: Callable[[int], KafkaSettings]) -> KafkaSettings:
    return make_settings(1)


def write(settings: KafkaSettings, value: bytes | None) -> None:
    """Write a value about the key."""
    client = producer(settings)
    client.produce(settings.topics.api_keys.name, key=KEY_ID.encode(), value=value)
    assert client.flush(20) == 0


def test_revocation_is_seen_at_every_endpoint_within_two_seconds(settings: KafkaSettings):
    """A record of the key, which every follower of the topic reads."""
    publish_key(settings, an_api_key())
    first, second = (ApiKeyReader(settings, Codec()) for _ in range(2))
    with first.follow() as one, second.follow() as other:
        until(lambda: {one.freshness, other.freshness} == {Freshness.FRESH})
        assert one.find(API_KEY) == other.find(API_KEY) == an_api_key()
        publish_key(settings, an_api_key(revoked_at=NOON))
        later = NOON + timedelta(seconds=1)
        for keys in (one, other):
            until(lambda keys=keys: not keys.find(API_KEY).is_valid(later), within=2)  # type: ignore[misc]


def test_directory_says_that_it_was_not_read(settings: KafkaSettings):
    """From the start it exists, and knows that it is empty only because nothing was read."""
    publish_key(settings, an_api_key())
    reader = ApiKeyReader(settings, Codec())
    assert (reader.directory.freshness, len(reader.directory)) == (Freshness.NOT_READ, 0)
    with reader.follow() as keys:
        until(lambda: keys.freshness is Freshness.FRESH)
        assert len(keys) == 1


def test_topic_ends_behind_the_mark_of_a_transaction(settings: KafkaSettings):
    """The outbox writes in transactions: the topic's end is no record, and is reached."""
    client = producer(settings, **{"transactional.id": settings.topic_prefix})
    client.init_transactions(20)
    client.begin_transaction()
    value = Codec().encode("ApiKey", an_api_key().to_avro())
    client.produce(settings.topics.api_keys.name, key=KEY_ID.encode(), value=value)
    client.commit_transaction(20)
    table = known()
    follower = TopicFollower(access_of(settings), Codec(), settings.topics.api_keys, table)
    until(lambda: load(follower, table) == 1)
    assert follower.age() is not None


def load(follower: TopicFollower, table: Any) -> int:  # noqa: ANN401  # a table with a length
    """Load the topic; return how many records are known."""
    follower.load()
    return len(table)


def test_tombstone_and_unreadable_record_remove_a_key(
    settings: KafkaSettings, caplog: pytest.LogCaptureFixture
):
    """A revocation by a newer release may be what cannot be read."""
    text, second = a_second_key()
    publish_key(settings, second)
    with ApiKeyReader(settings, Codec()).follow() as keys:
        for value in (b"{}", None):
            publish_key(settings, an_api_key())
            until(lambda: keys.find(API_KEY) is not None)
            write(settings, value)
            until(lambda: keys.find(API_KEY) is None)
        assert keys.find(text) == second
    (error,) = [one for one in caplog.records if "record not readable" in one.getMessage()]
    assert error.levelname == "ERROR"


def test_record_whose_schema_is_out_of_reach_is_read_later(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """It is not skipped: nothing behind it is read before, and the table is not complete."""
    publish_key(settings, an_api_key())
    codec, faults = Codec(), [BrokerError("the registry is away")] * 2
    decode = codec.decode

    def failing(record: str, data: bytes) -> dict[str, Any]:
        if faults:
            raise faults.pop()
        return decode(record, data)

    monkeypatch.setattr(codec, "decode", failing)
    with ApiKeyReader(settings, codec).follow() as keys:
        until(lambda: len(faults) < 2)
        assert keys.freshness is Freshness.NOT_READ
        until(lambda: keys.freshness is Freshness.FRESH)
        assert keys.find(API_KEY) == an_api_key()


def test_age_grows_while_the_broker_is_away(tmp_path: Path):
    """Nothing is read then, so nothing else would show it; and what is known stays known."""
    with Kafka(tmp_path / "kafka", free_port()) as kafka:
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=1)
        ensure_topics(settings)
        publish_key(settings, an_api_key())
        table = known()
        follower = TopicFollower(access_of(settings), Codec(), settings.topics.api_keys, table)
        with follower.follow():
            assert age(follower) < 3
            kafka.kill()
            until(lambda: age(follower) > 4)
            assert table.find(API_KEY) is not None
            kafka.start()
            until(lambda: age(follower) < 3)


def age(follower: TopicFollower) -> float:
    found = follower.age()
    assert found is not None
    return found


def test_missing_topic_names_the_remedy(kafka: str, topic_prefix: str):
    """Nothing is created behind the operator's back."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    with pytest.raises(BrokerError, match=r"api-keys does not exist.*izin doctor --fix"):
        ApiKeyReader(settings, Codec()).follow().__enter__()


def test_table_that_fails_once_gets_the_same_records_again(settings: KafkaSettings):
    """Our own fault ends no reading: nothing is passed that was not taken."""
    for value in (b"1", b"2", b"3"):
        write(settings, value)
    taken, faults = list[bytes | None](), [ZeroDivisionError()]

    class Table:
        def take(self, records: Sequence[Message]) -> int:
            if len(taken) == 1 and faults:
                raise faults.pop()
            taken.append(records[0].value())
            return 1

    follower = RecordFollower(access_of(settings), settings.topics.api_keys, Table())
    with follower.follow(complete=False):
        until(lambda: len(taken) == 3, within=20)
        write(settings, b"4")
        until(lambda: len(taken) == 4, within=20)
    assert taken == [b"1", b"2", b"3", b"4"]
