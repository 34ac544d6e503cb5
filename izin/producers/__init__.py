"""Producers: records of our own systems become consent events in Kafka.

    consent_publisher  the library for other teams: ``ConsentPublisher``, with ``new_event``
    publishing         lane, key, bytes, headers, acknowledgement; deterministic event ids
    mapping            the fields of a source read and validated
    files              a CRM export, imported and reported
    intake             the HTTP endpoint for signups: ``python -m izin.producers``

What is listed here is for programs of other teams, and needs none of the servers' packages.
"""

from izin.consent import (
    Channel,
    IzinError,
    OurError,
    RecipientType,
    Source,
    SourceError,
    Status,
    Violation,
)
from izin.kafka.access import KafkaAccess
from izin.producers.consent_publisher import ConsentPublisher
from izin.producers.new_event import NewEvent
from izin.producers.publishing.delivery_errors import (
    BackpressureError,
    EventRefusedError,
    OversizeError,
    PublisherClosedError,
    UnacknowledgedError,
    UndeliveredError,
)
from izin.producers.publishing.publisher import Published
from izin.runtime.errors import BrokerError, RegistryError, SettingError

__all__ = [
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
