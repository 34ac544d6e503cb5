"""Kafka clients with the defaults of this project, for whoever knows how to reach the brokers.

Producers write with ``acks=all`` and idempotence, and partition keys as Java's default partitioner
does. Consumers read committed records only. It needs confluent-kafka alone, so that the libraries
for other teams' processes need no more.
"""

import logging
from collections.abc import Mapping
from operator import methodcaller
from typing import Any, Protocol

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient

_log = logging.getLogger("librdkafka")
# A process that sets no logging up must not write a library's lines to its terminal.
_log.addHandler(logging.NullHandler())


class Brokers(Protocol):
    """Who knows how brokers are reached: a ``KafkaAccess``, or the settings of a process."""

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` of some brokers, with commas between them."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Further options of librdkafka."""


def producer(connection: Brokers, **overrides: Any) -> Producer:  # noqa: ANN401  # librdkafka's values
    """Return an idempotent producer that partitions as Java does."""
    bound = {"transaction.timeout.ms": 10_000} if "transactional.id" in overrides else {}
    return Producer(
        {
            **_options(connection),
            **bound,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": 2,
            "compression.type": "lz4",
            **overrides,
        }
    )


def consumer(connection: Brokers, group: str, **overrides: Any) -> Consumer:  # noqa: ANN401  # the same
    """Return a consumer that reads committed records only and never commits by itself."""
    return Consumer(
        {
            **_options(connection),
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            **overrides,
        }
    )


def admin(connection: Brokers, **overrides: Any) -> AdminClient:  # noqa: ANN401  # the same
    """Return an admin client."""
    return AdminClient({**_options(connection), **overrides})


def _options(connection: Brokers) -> dict[str, Any]:
    """Return the options of every client: without a logger librdkafka writes to standard error."""
    return {
        "bootstrap.servers": connection.bootstrap_servers,
        "logger": _log,
        **connection.options,
    }


_headers = methodcaller("headers")
"""Called so, for the client returns a value with an error set where a name is no text: a call that
the interpreter has specialized lets that error come up anywhere later.
"""


def headers_of(message: Message) -> list[tuple[str, str | bytes | None]]:
    """Return the headers of a record that was read; none where a name among them is no text."""
    try:
        found = _headers(message) or ()
    except SystemError:
        # It gives such names as null pointers if it is asked again: forget them.
        message.set_headers([])
        return []
    return list(found.items() if isinstance(found, dict) else found)
