"""The benchmark of the library measures correctly, on few events."""

from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from benchmarks.brands import register_brand
from benchmarks.publisher import BARE, BRAND, CUSTOMER, LIBRARY, bare, library, speeds
from izin.runtime.kafka import committed_ends, consumer
from izin.runtime.settings import KafkaSettings

pytestmark = pytest.mark.broker

Record = tuple[str, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


def written(settings: KafkaSettings) -> list[Record]:
    """Return what both lanes hold: topic, partition, key, value and headers of each record."""
    found: list[Record] = []
    for topic in (settings.topics.events.name, settings.topics.express.name):
        ends = committed_ends(settings, topic)
        client = consumer(settings, "test")
        client.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in ends])
        for _ in range(sum(ends.values())):
            one = client.poll(20)
            assert one is not None
            headers = tuple(one.headers() or ())
            found.append((topic, one.partition() or 0, one.key(), one.value(), headers))
        client.close()
    return found


def test_contenders_write_the_same_records(make_settings: Callable[[int], KafkaSettings]):
    """Byte by byte: each is on its partition twice, or the ratio would compare different work."""
    settings = make_settings(3)
    register_brand(settings, BRAND, CUSTOMER)
    assert library(settings, 50) > 0
    assert bare(settings, 50) > 0
    counts = Counter(written(settings))
    # The library publishes the first event once more, before its time begins.
    assert sorted(counts.values()) == [2] * 49 + [3]


def test_speeds_are_measured_for_both(make_settings: Callable[[int], KafkaSettings]):
    """How they compare is for the bar to judge."""
    found = {one.name: one for one in speeds(make_settings(1), events=200, trials=1)}
    assert found.keys() == {LIBRARY, BARE}
    assert min(one.least for one in found.values()) > 0
