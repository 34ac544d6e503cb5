"""Topics under a prefix of their own, and what they hold.

The intake as a process, for a brand that it knows.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO

import httpx
import pytest

from izin.kafka.clients import access_of, ensure_topics
from izin.local import free_port
from izin.local.processes import answers
from izin.producers.publishing.publisher import KafkaPublisher, KafkaRecord
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import AUTHORIZATION, NOON, an_api_key
from tests.support.order.verdict import committed_records
from tests.support.published import publish_brand, publish_key
from tests.support.waiting import until


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> KafkaSettings:
    found = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=3)
    ensure_topics(found)
    return found


@pytest.fixture
def publisher(settings: KafkaSettings) -> Iterator[KafkaPublisher]:
    with KafkaPublisher(
        access_of(settings), Codec(), clock=lambda: NOON + timedelta(hours=1)
    ) as one:
        yield one


@pytest.fixture
def written(settings: KafkaSettings) -> Callable[[], Sequence[KafkaRecord]]:
    """Return all records of both lanes, by the broker's time."""

    def written() -> Sequence[KafkaRecord]:
        found = [
            message
            for topic in (settings.topics.events, settings.topics.express)
            for message in committed_records(settings, topic.name)
        ]
        return [
            KafkaRecord(
                topic=str(message.topic()),
                key=message.key() or b"",
                value=message.value() or b"",
                headers=message.headers() or [],
            )
            for message in sorted(found, key=lambda one: (one.timestamp()[1], one.offset()))
        ]

    return written


class IntakeProcess:
    """`python -m izin.producers` on ports of its own."""

    def __init__(self, settings: KafkaSettings, **environment: str) -> None:
        self.port, self.operations_port = free_port(), free_port()
        self._environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": settings.topic_prefix,
            "IZIN_INTAKE_PORT": str(self.port),
            "IZIN_INTAKE_OPERATIONS_PORT": str(self.operations_port),
            **environment,
        }

    @contextmanager
    def running(
        self, *, log: IO[bytes] | None = None, script: str | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run it, or the ``script`` that does, until the context ends; it is ready then.

        It logs to ``log``, else as we do.
        """
        what = ["-m", "izin.producers"] if script is None else ["-c", script]
        command = [sys.executable, *what]
        with subprocess.Popen(command, env=self._environment, stderr=log) as process:
            try:
                until(lambda: process.poll() is not None or self.is_ready())
                assert process.poll() is None, "the intake did not start"
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def is_ready(self) -> bool:
        """Whether it can publish."""
        return answers(f"http://127.0.0.1:{self.port}/health/ready")

    def client(self) -> httpx.Client:
        """Return a client that may publish."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers=AUTHORIZATION,
            timeout=20,
            trust_env=False,
        )

    def metrics(self) -> str:
        """Return its metrics."""
        url = f"http://127.0.0.1:{self.operations_port}/metrics"
        return httpx.get(url, trust_env=False).raise_for_status().text


def publish_brand_and_key(settings: KafkaSettings) -> None:
    """Publish the brand and the API key of the builders to the topics that an intake reads."""
    publish_key(settings, an_api_key())
    publish_brand(settings)
