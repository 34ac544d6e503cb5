"""The intake as a process, for a brand that it knows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import httpx

from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings
from tests.support.builders import AUTHORIZATION, an_api_key
from tests.support.published import publish_brand, publish_key
from tests.support.waiting import until


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
