"""Where the feeds read from: which topic it is, and whether everything was read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.runtime.topic_admin import TopicIdentities
from izin.sinks.feeds import sources as module
from izin.sinks.feeds.items import Brands
from izin.sinks.feeds.sources import CURRENT_FOR, Sources
from izin.sinks.feeds.tail import Tail
from tests.unit.sinks.feeds.fakes import CODEC, a_message, an_end, give

PARTITIONS = 2


class Kafka:
    """The topics of a cluster and their ends, as far as they are asked for; and a clock."""

    def __init__(self) -> None:
        self.topic_id = "one"
        self.end = 0
        self.is_away = False
        self.now = 1000.0

    def identities(self, _client: object, names: list[str], **_: object) -> TopicIdentities:
        self._answer()
        return TopicIdentities(
            cluster_id="cluster",
            topic_ids=dict.fromkeys(names, self.topic_id),
            partitions=dict.fromkeys(names, PARTITIONS),
        )

    def offsets(self, *_: object) -> Mapping[int, int]:
        self._answer()
        return {0: self.end, 1: 0}

    def _answer(self) -> None:
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """Stand in for a cluster; nobody follows its topics."""

    @contextmanager
    def following(_: Tail) -> Iterator[None]:
        yield

    found = Kafka()
    monkeypatch.setattr(module, "identities", found.identities)
    monkeypatch.setattr(module, "offsets", found.offsets)
    monkeypatch.setattr(
        module, "time", SimpleNamespace(monotonic=lambda: found.now, time=lambda: found.now)
    )
    monkeypatch.setattr(Tail, "following", following)
    return found


def unopened() -> Sources:
    """Return the sources of a process."""
    return Sources(KafkaSettings(), FeedsSettings(), CODEC, Brands())


def current(sources: Sources) -> list[bool]:
    """Return of each feed whether it is current."""
    return [sources.is_current(feed) for feed in sources.feeds]


async def test_feed_that_reads_nothing_is_not_current(kafka: Kafka):
    """A partition without a leader, or a broker that is away: what is there is not seen."""
    async with unopened() as sources:
        tails = [sources.of(feed).tail for feed in sources.feeds]
        for step in range(20):
            for tail in tails:
                give(tail, [an_end(0, kafka.end), an_end(1, 0)])
            await sources.look_at_ends()
            assert all(current(sources)), step
            kafka.now += 2
        kafka.end = 5
        await sources.look_at_ends()
        for _ in range(int(CURRENT_FOR)):
            kafka.now += 2
            await sources.look_at_ends()
        assert not any(current(sources))
        give(tails[0], [a_message(0, 4), an_end(0, 5)])
        await sources.look_at_ends()
        assert current(sources) == [True, False, False]
        kafka.is_away = True
        for _ in range(int(CURRENT_FOR)):
            kafka.now += 2
            await sources.look_at_ends()
        assert not any(current(sources))


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
