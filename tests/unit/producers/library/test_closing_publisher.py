"""A publisher whose broker does not answer: bounded waits, typed errors, and what close says.

What other teams may import, exactly.
"""

import asyncio
import inspect
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

import izin.producers
from izin.consent import violation
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers import (
    BackpressureError,
    ConsentPublisher,
    EventRefusedError,
    IzinError,
    KafkaAccess,
    OversizeError,
    Published,
    PublisherClosedError,
    SettingError,
    UnacknowledgedError,
    UndeliveredError,
    consent_publisher as sessions,
)
from izin.producers.publishing import publisher
from izin.schemas.consistency_token import positions_of
from tests.unit.producers.library.test_new_event import a_new_event

SHORT = timedelta(milliseconds=300)
SURFACE = [
    "BackpressureError",
    "BrokerError",
    "Channel",
    "ConsentPublisher",
    "EventRefusedError",
    "IzinError",
    "KafkaAccess",
    "NewEvent",
    "OurError",
    "OversizeError",
    "Published",
    "PublisherClosedError",
    "RecipientType",
    "RegistryError",
    "SettingError",
    "Source",
    "SourceError",
    "Status",
    "UnacknowledgedError",
    "UndeliveredError",
    "Violation",
]
METHODS = {"publish", "publish_async", "submit", "flush", "close", "close_async", "forked"}


@pytest.fixture
def away(directory: BrandDirectory, monkeypatch: pytest.MonkeyPatch) -> KafkaAccess:
    """Return the way to a broker that went away once the brands were read."""

    class Reader:
        def __init__(self, *_: object) -> None:
            pass

        @contextmanager
        def follow(self) -> Iterator[BrandDirectory]:
            yield directory

    monkeypatch.setattr(sessions, "BrandReader", Reader)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return KafkaAccess(bootstrap_servers=address, options={"log_level": 0})


def test_event_that_is_not_acknowledged_in_time_is_undelivered(away: KafkaAccess):
    """With its id; the same event may be published again."""
    event = a_new_event(origin_ref="r", version=1)
    with ConsentPublisher("shop", away, delivery_timeout=SHORT) as one:
        with pytest.raises(UndeliveredError) as first:
            one.publish(event)
        with pytest.raises(UndeliveredError) as second:
            asyncio.run(one.publish_async(event))
        assert first.value.event_id == second.value.event_id


def test_full_queue_raises_after_a_bounded_wait(away: KafkaAccess, monkeypatch: pytest.MonkeyPatch):
    """Memory is bounded, and nobody waits for ever: neither a thread nor a loop."""
    monkeypatch.setattr(publisher, "_QUEUED_EVENTS", 10)
    one = ConsentPublisher("shop", away, max_wait=SHORT)

    def fill() -> None:
        for _ in range(100):
            one.submit(a_new_event())

    with pytest.raises(BackpressureError) as caught:
        fill()
    assert caught.value.retry_after > timedelta(0)
    with pytest.raises(BackpressureError):
        asyncio.run(one.publish_async(a_new_event()))
    with pytest.raises(UnacknowledgedError):
        one.close(timedelta(0))


def test_close_names_what_was_not_acknowledged(away: KafkaAccess):
    """Each by its id, and its future has the error too; closed again, there is nothing."""
    one = ConsentPublisher("shop", away)
    pending = [one.submit(a_new_event(origin_ref="r", version=each)) for each in range(3)]
    assert one.flush(timedelta(0)) == 3
    with pytest.raises(UnacknowledgedError, match="3 events") as caught:
        one.close(timedelta(0))
    lost = [each.exception(0) for each in pending]
    assert all(isinstance(each, UndeliveredError) for each in lost)
    assert sorted(caught.value.event_ids) == sorted(each.event_id for each in lost)  # type: ignore[union-attr]  # as above
    one.close()
    with pytest.raises(PublisherClosedError):
        one.publish(a_new_event())


def test_leaving_the_block_reports_what_was_not_acknowledged(away: KafkaAccess):
    """But an error of the block itself is the one that is seen."""
    publisher = ConsentPublisher("shop", away, delivery_timeout=SHORT)
    with pytest.raises(UnacknowledgedError), publisher as one:
        one.submit(a_new_event())

    def fail() -> None:
        with ConsentPublisher("shop", away, delivery_timeout=SHORT) as one:
            one.submit(a_new_event())
            raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_publisher_that_never_published_closes_at_once(away: KafkaAccess):
    """It has no client."""
    one = ConsentPublisher("shop", away)
    assert one.flush() == 0
    one.close()


def test_threads_wait_for_the_first_connection_within_bounds(
    away: KafkaAccess, monkeypatch: pytest.MonkeyPatch
):
    """One thread connects; another one that waits too long gets the error of a full queue."""
    connecting, proceed = threading.Event(), threading.Event()
    real = sessions.PublisherSession.__init__

    def slow(self: sessions.PublisherSession, *given: Any) -> None:  # noqa: ANN401  # the real ones
        connecting.set()
        assert proceed.wait(20)
        real(self, *given)

    monkeypatch.setattr(sessions.PublisherSession, "__init__", slow)
    one = ConsentPublisher("shop", away, max_wait=SHORT, delivery_timeout=SHORT)
    first = threading.Thread(target=lambda: one.submit(a_new_event()))
    first.start()
    assert connecting.wait(20)
    with pytest.raises(BackpressureError):
        one.submit(a_new_event())
    proceed.set()
    first.join(20)
    with pytest.raises(UnacknowledgedError):
        one.close()


@pytest.mark.parametrize("origin", ["", " "])
def test_origin_must_be_named(origin: str, away: KafkaAccess):
    """Ids and reports are distinguished by it."""
    with pytest.raises(SettingError, match="origin is empty"):
        ConsentPublisher(origin, away)


def test_surface_is_exactly_this():
    """A name that is added or removed is decided here."""
    assert izin.producers.__all__ == SURFACE
    assert {
        name for name, _ in inspect.getmembers(ConsentPublisher) if not name.startswith("_")
    } == METHODS


def test_token_names_where_the_event_is():
    """The gate takes it as ``at_least``."""
    published = Published(event_id="event-1", topic="consent-events", partition=3, offset=17)
    assert positions_of(published.token) == (("consent-events", 3, 17),)


@pytest.mark.parametrize(
    "error",
    [
        BackpressureError(timedelta(seconds=1)),
        EventRefusedError((violation("source", "H113"),)),
        OversizeError("event-1"),
        PublisherClosedError(),
        UnacknowledgedError(("event-1",)),
        UndeliveredError("event-1", "away"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_error_is_the_same_in_another_process(error: IzinError):
    """Task queues and pools pickle what a task raises, and break where that fails."""
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_errors_are_one_tree():
    """Whoever catches its root catches all of them."""
    errors = [getattr(izin.producers, one) for one in SURFACE if one.endswith("Error")]
    assert all(issubclass(one, IzinError) for one in errors)
