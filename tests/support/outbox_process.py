"""The relay of an outbox as a process, which is started, killed and started again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings
from tests.support.waiting import until


class OutboxProcess:
    """`python -m izin.producers.outbox` on ports of its own."""

    def __init__(
        self, settings: KafkaSettings, url: str, log: Path | None = None, **environment: str
    ) -> None:
        self.port, self.operations_port = free_port(), free_port()
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": settings.topic_prefix,
            "IZIN_OUTBOX_DATABASE_URL": url,
            "IZIN_OUTBOX_PORT": str(self.port),
            "IZIN_OUTBOX_OPERATIONS_PORT": str(self.operations_port),
            **environment,
        }

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        command = [sys.executable, "-m", "izin.producers.outbox"]
        with Path(self.log or os.devnull).open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environment, stderr=log if self.log else None
            )

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until the context ends; it is ready then."""
        self.start()
        assert self.process is not None
        try:
            until(lambda: self.has_ended() or self.is_ready())
            assert not self.has_ended(), "the relay did not start"
            yield self.process
        finally:
            self.kill()

    def has_ended(self) -> bool:
        """Whether it ended, or never ran."""
        return self.process is None or self.process.poll() is not None

    def is_ready(self) -> bool:
        """Whether it relays."""
        return answers(f"http://127.0.0.1:{self.port}/health/ready")
