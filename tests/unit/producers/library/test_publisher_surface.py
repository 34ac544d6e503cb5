"""What other teams may import, exactly."""

import inspect

import izin.producers
from izin.producers import ConsentPublisher, IzinError

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


def test_errors_are_one_tree():
    """Whoever catches its root catches all of them."""
    errors = [getattr(izin.producers, one) for one in SURFACE if one.endswith("Error")]
    assert all(issubclass(one, IzinError) for one in errors)
