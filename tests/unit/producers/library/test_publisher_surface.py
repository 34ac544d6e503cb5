"""What other teams may import, exactly."""

import inspect
import pickle
from datetime import timedelta

import pytest

import izin.producers
from izin.consent import violation
from izin.producers import (
    BackpressureError,
    ConsentPublisher,
    EventRefusedError,
    IzinError,
    OversizeError,
    Published,
    PublisherClosedError,
    UnacknowledgedError,
    UndeliveredError,
)
from izin.schemas.consistency_token import positions_of

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


def test_surface_is_exactly_this():
    """A name that is added or removed is decided here."""
    assert izin.producers.__all__ == SURFACE
    assert {
        name for name, _ in inspect.getmembers(ConsentPublisher) if not name.startswith("_")
    } == METHODS


def test_token_names_where_the_event_is():
    """A feed takes it as ``at_least``."""
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
