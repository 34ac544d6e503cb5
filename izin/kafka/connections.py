"""Kafka clients with the defaults of this project, for whoever knows how to reach the brokers; and
what is wrong where Kafka does not answer, and the remedy: by the error's code, not its text.

Producers write with ``acks=all`` and idempotence, and partition keys as Java's default partitioner
does. Consumers read committed records only. It needs confluent-kafka alone, so that the libraries
for other teams' processes need no more.

A batch that Kafka's client fetched and cannot unpack is fetched again twice a second, and never
passed: what is behind it in its partition is not read, and the other partitions are. Whoever only
reads for others must not pass it either. So it is noted (``runtime.unreadable``).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from operator import methodcaller
from typing import Any, ParamSpec, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from izin.runtime.errors import BrokerError
from izin.runtime.unreadable import note_unreadable, unreadable_batches

_CAUSE_WITHIN = 5.0
"""Seconds in which a client may find out why no broker can be used."""
_LEADERS_WITHIN = 15.0
_POLL = 0.1
_ADDRESS = "is it running, and are KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL right?"

_UNREACHED = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001  # librdkafka's name for it
        KafkaError._TIMED_OUT,  # noqa: SLF001  # the same
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001  # the same
    }
)
"""The codes of a request that reached no broker, whatever kept it."""

_DISTINCT = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001  # librdkafka's name for it
        KafkaError._SSL,  # noqa: SLF001  # the same
        KafkaError._RESOLVE,  # noqa: SLF001  # the same
    }
)
"""The codes that say which setting is at fault."""


_UNREADABLE = frozenset(
    {
        KafkaError._BAD_COMPRESSION,  # noqa: SLF001  # librdkafka's name for it
        KafkaError._BAD_MSG,  # noqa: SLF001  # the same
        KafkaError.INVALID_MSG,
    }
)
P = ParamSpec("P")
T = TypeVar("T")

_librdkafka = logging.getLogger("librdkafka")
# A process that sets no logging up must not write a library's lines to its terminal.
_librdkafka.addHandler(logging.NullHandler())


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
        "logger": _librdkafka,
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


def missing_topic(name: str) -> BrokerError:
    """Return the error of a topic that does not exist, with the remedy."""
    return BrokerError(f"topic {name} does not exist; run: izin up, or izin doctor --fix")


def is_transient(error: BaseException) -> bool:
    """Whether ``error`` is due to a leader or coordinator that is being elected or has moved."""
    return isinstance(error, KafkaException) and error.args[0].code() in {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._NOENT,  # noqa: SLF001  # librdkafka's name for "no leader known"
    }


def while_leaders_move(
    ask: Callable[P, T], *, between: Callable[[], object] = lambda: None
) -> Callable[P, T]:
    """Return what asks as ``ask`` does, and again, after ``between``, where a leader is being
    elected or has moved, as those of a new topic are; for 15 seconds.
    """

    @wraps(ask)
    def repeated(*arguments: P.args, **options: P.kwargs) -> T:
        until = time.monotonic() + _LEADERS_WITHIN
        while True:
            try:
                return ask(*arguments, **options)
            except KafkaException as error:
                if not is_transient(error) or time.monotonic() >= until:
                    raise
            time.sleep(_POLL)  # an election wakes nobody
            between()

    return repeated


@contextmanager
def broker_errors(connection: Brokers) -> Iterator[None]:
    """Raise BrokerError, with the address, the cause and a remedy, where the block raises
    KafkaException.
    """
    try:
        yield
    except KafkaException as error:
        fault = error.args[0]
        if fault.code() in _UNREACHED:
            fault = _cause(connection) or fault
        raise BrokerError(
            f"Kafka at {connection.bootstrap_servers}: {reason(connection, fault)}"
        ) from error


def _cause(connection: Brokers) -> KafkaError | None:
    """Connect once more and return why that fails, None if it does not.

    librdkafka keeps the cause from whoever made a request: it repeats silently, and reports a
    refused password, a certificate or an address to its error callback alone.
    """
    causes: list[KafkaError] = []
    client = admin(connection, error_cb=causes.append)
    limit = time.monotonic() + _CAUSE_WITHIN
    # With TLS a failed handshake may look like a broken connection at the first attempt.
    is_enough = connection.options.get("security.protocol", "PLAINTEXT") == "PLAINTEXT"
    found = None
    while time.monotonic() < limit and not (is_enough and found):
        client.poll(_POLL)
        found = cause_among(causes)
        is_enough = is_enough or (found is not None and found.code() in _DISTINCT)
    return found


def cause_among(errors: Iterable[KafkaError]) -> KafkaError | None:
    """Return which of ``errors``, of a client's error callback, says most of what is wrong."""
    causes = [error for error in errors if error.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001  # librdkafka's name for it
    return max(causes, key=lambda one: one.code() in _DISTINCT, default=None)


def reason(connection: Brokers, fault: KafkaError) -> str:
    """Return what is wrong, in librdkafka's words, and which setting to look at."""
    return f"{fault.str()}; {_remedy(connection, fault)}"


def _remedy(connection: Brokers, error: KafkaError) -> str:
    """Return the question that leads to the setting at fault, by the error's code."""
    match error.code():
        case KafkaError._AUTHENTICATION | KafkaError.SASL_AUTHENTICATION_FAILED:  # noqa: SLF001  # librdkafka's name for it
            if connection.options.get("sasl.mechanism") == "OAUTHBEARER":
                return "are the settings KAFKA_SASL_OAUTHBEARER_… right?"
            return "are KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD right?"
        case KafkaError._SSL:  # noqa: SLF001  # the same
            return (
                "is the broker's certificate valid, of this host, and of an authority in "
                "KAFKA_SSL_CA_FILE?"
            )
        case KafkaError.UNKNOWN_TOPIC_OR_PART | KafkaError._UNKNOWN_TOPIC:  # noqa: SLF001  # the same
            return "a topic is missing: izin doctor says what creates it"
        case _:
            return _ADDRESS


def is_unreadable(message: Message) -> bool:
    """Whether ``message``, as it was polled, stands for such a batch, which is then noted."""
    fault = message.error()
    if fault is None or fault.code() not in _UNREADABLE:
        return False
    note_unreadable(message.topic() or "", message.partition() or 0, message.offset() or 0)
    return True


def unreadable_error(topic: str, *why: str) -> BrokerError:
    """Return the error that ``topic`` cannot be read, with ``why`` and its unreadable batches."""
    return BrokerError("; ".join([*why, *map(": ".join, unreadable_batches(topic).items())]))
