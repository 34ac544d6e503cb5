"""The real publisher passes the suite, and reports an unreachable broker."""

import socket
import statistics
from datetime import timedelta
from time import perf_counter

import pytest

from izin.producers.publishing.publisher import BackpressureError, KafkaPublisher, UndeliveredError
from izin.runtime.kafka_environment import KafkaAccess
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from tests.support.builders import NOON, a_key, an_event
from tests.unit.producers.publisher_suite import PublisherSuite

pytestmark = pytest.mark.broker


class TestPublisher(PublisherSuite):
    """Against a real Kafka."""


@pytest.fixture
def nobody() -> str:
    """Return an address without a listener."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_key_goes_to_the_partition_of_java(publisher: KafkaPublisher):
    """Both lanes of a recipient have the same partition number."""
    for status in ("ONAY", "RET"):
        done = publisher.publish(an_event(status=status), a_key()).result(20)
        assert done.partition == partition_of(a_key().encode(), 3)


def test_single_publication_takes_milliseconds(publisher: KafkaPublisher):
    """A person waits for it; the bound is generous, for machines are shared."""
    publisher.publish(an_event(), a_key()).result(20)
    taken = []
    for _ in range(20):
        began = perf_counter()
        publisher.publish(an_event(), a_key()).result(20)
        taken.append(perf_counter() - began)
    assert statistics.median(taken) < 0.1


def test_unreachable_broker_gives_undelivered(nobody: str):
    """The future fails in time, with what may be done."""
    away = KafkaAccess(bootstrap_servers=nobody)
    with KafkaPublisher(
        away, Codec(), clock=lambda: NOON, delivery_timeout=timedelta(milliseconds=300)
    ) as one:
        future = one.publish(an_event(), a_key())
        with pytest.raises(UndeliveredError):
            future.result(20)


def test_full_queue_is_backpressure(nobody: str):
    """Memory is bounded: without a wait, the error says when to retry."""
    away = KafkaAccess(bootstrap_servers=nobody)
    large = an_event(evidence={"page": "x" * 900_000})
    with KafkaPublisher(
        away, Codec(), clock=lambda: NOON, delivery_timeout=timedelta(seconds=3)
    ) as one:

        def fill() -> None:
            for _ in range(200):
                one.send(large, a_key(), lambda _answer: None, wait=timedelta(0))

        with pytest.raises(BackpressureError) as caught:
            fill()
        assert caught.value.retry_after > timedelta(0)
