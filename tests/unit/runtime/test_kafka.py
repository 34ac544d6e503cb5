"""The Kafka clients' logs are the process's own."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.runtime import kafka
from izin.runtime.broker_faults import while_leaders_move
from izin.runtime.settings import KafkaSettings

NOBODY = KafkaSettings(bootstrap_servers="127.0.0.1:1")
"""No broker listens there: librdkafka reports it at once."""


@pytest.mark.parametrize(
    "client",
    [kafka.producer, lambda settings: kafka.consumer(settings, "group"), kafka.admin],
    ids=["producer", "consumer", "admin"],
)
def test_a_clients_errors_are_logged_and_never_written_to_stderr(
    client: Callable[[KafkaSettings], Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A line of a library on a terminal would look like something a person must act on."""
    made = client(NOBODY)
    for _ in range(100):
        made.poll(0.1)
        if caplog.records:
            break
    assert {(one.name, one.levelno) for one in caplog.records} == {("librdkafka", logging.ERROR)}
    assert "127.0.0.1:1" in caplog.text
    assert capfd.readouterr().err == ""


def test_librdkafka_is_silent_where_nothing_sets_logging_up() -> None:
    """Python writes warnings without any handler to standard error: there is one."""
    assert any(
        isinstance(one, logging.NullHandler) for one in logging.getLogger("librdkafka").handlers
    )


def test_request_is_repeated_while_a_leader_is_elected() -> None:
    """A topic that was just created has none yet; any other error is the caller's."""
    errors = [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE]

    def request(name: str) -> str:
        if errors:
            raise KafkaException(KafkaError(errors.pop()))
        return name

    assert while_leaders_move(request)("topic") == "topic"
    errors.append(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        while_leaders_move(request)("topic")
    assert errors == []
