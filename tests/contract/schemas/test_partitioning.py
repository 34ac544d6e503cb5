"""Keys live where Java and librdkafka put them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.partitioning import last_slash, murmur2, partition_of


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
