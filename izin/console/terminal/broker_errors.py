"""Kafka's errors as a person can act on them."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException

from izin.runtime.kafka import BrokerError
from izin.runtime.settings import KafkaSettings


@contextmanager
def broker_errors(settings: KafkaSettings) -> Iterator[None]:
    """Raise the errors of Kafka's client as BrokerError, with the broker's address and setting."""
    try:
        yield
    except KafkaException as error:
        raise BrokerError(
            f"Kafka at {settings.bootstrap_servers}: {error.args[0].str()}; is it running, and is "
            "KAFKA_BOOTSTRAP_SERVERS right?"
        ) from error
