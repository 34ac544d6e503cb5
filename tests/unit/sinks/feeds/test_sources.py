"""Where the feeds read from: which topic it is, and whether everything was read."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.runtime.topic_admin import TopicIdentities
from izin.sinks.feeds import sources as module
from izin.sinks.feeds.sources import CURRENT_FOR, Sources, Tail
from tests.unit.sinks.feeds.fakes import CODEC, OPT_OUTS, a_message, an_end, give, known_brands

PARTITIONS = 2


class Kafka:
    """The topics of a cluster, as far as they are asked for; and a clock."""

    def __init__(self) -> None:
        self.topic_id = "one"
        self.is_away = False
        self.now = 1000.0

    def identities(self, _client: object, names: list[str], **_: object) -> TopicIdentities:
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return TopicIdentities(
            cluster_id="cluster",
            topic_ids=dict.fromkeys(names, self.topic_id),
            partitions=dict.fromkeys(names, PARTITIONS),
        )


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """Stand in for a cluster; nobody follows its topics."""
    found = Kafka()
    monkeypatch.setattr(module, "identities", found.identities)
    monkeypatch.setattr(module, "monotonic", lambda: found.now)
    monkeypatch.setattr(Tail, "start", lambda _: None)
    return found


def unopened() -> Sources:
    """Return the sources of a process."""
    return Sources(KafkaSettings(), FeedsSettings(), CODEC, known_brands({}))


def test_tail_that_reads_nothing_is_not_current(kafka: Kafka):
    """A partition without a leader, or a broker that is away: what is there is not seen."""
    tail = Tail(KafkaSettings(), OPT_OUTS.topic, PARTITIONS, most_bytes=1000)
    complete_at = {0: float("-inf"), 1: float("-inf")}
    tail._follower = SimpleNamespace(complete_at=complete_at.get)  # type: ignore[assignment]
    assert tail.is_current(), "it has just begun"
    kafka.now += CURRENT_FOR
    assert not tail.is_current()
    complete_at.update({0: kafka.now, 1: kafka.now})
    kafka.now += CURRENT_FOR - 1
    assert tail.is_current()
    complete_at[0] = kafka.now
    kafka.now += 1
    assert not tail.is_current(), "one partition is not read"


async def test_faults_name_the_feed(kafka: Kafka):
    """Its end is not known, or it is behind."""
    async with unopened() as sources:
        assert set(sources.faults().values()) == {"its end is not known yet"}
        for feed in sources.feeds:
            tail = sources.of(feed).tail
            give(tail, [an_end(0, 0), an_end(1, 0)])
            tail._thread = SimpleNamespace(is_alive=lambda: True, join=lambda _: None)  # type: ignore[assignment]
        assert sources.faults() == {}
        kafka.now += CURRENT_FOR + 1
        assert sources.faults() == dict.fromkeys(
            ("feed opt-outs", "feed permissions", "feed outcomes"), "is behind its topic"
        )


async def test_recreated_topic_is_read_from_another_place(kafka: Kafka):
    """What was read of the former one is forgotten; while Kafka is away it stays."""
    async with unopened() as sources:
        feed = sources.feeds[0]
        before = sources.of(feed)
        kafka.is_away = True
        await sources.look()
        assert sources.of(feed) is before
        kafka.is_away, kafka.topic_id = False, "two"
        await sources.look()
        assert sources.of(feed) is not before
        assert sources.of(feed).identity.topic_id == "two"


async def test_old_records_are_dropped_from_memory(kafka: Kafka):
    """By the time at which they were written."""
    async with unopened() as sources:
        tail = sources.of(sources.feeds[0]).tail
        give(tail, [a_message(0, 0), a_message(0, 1)])
        written = tail.recent[0].read(0, 1).records[0].timestamp / 1000
        sources.drop_older(written)
        assert tail.recent[0].start == 0
        sources.drop_older(written + 1)
        assert tail.recent[0].start == 2
