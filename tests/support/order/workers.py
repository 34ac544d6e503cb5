"""Real order workers, one process each, and their faults."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from izin.local import free_port
from izin.runtime.settings import KafkaSettings

_ROOT = Path(__file__).parents[3]


def until(effect: Callable[[], bool], *, within: float, what: str) -> None:
    """Return once the effect is there; fail the test after `within` seconds."""
    limit = time.monotonic() + within
    while not effect():
        assert time.monotonic() < limit, f"in {within:.0f} s there was no {what}"
        time.sleep(0.05)


class Worker:
    """`python -m izin.streams` under an instance id of its own, or a test's own program."""

    def __init__(
        self,
        name: str,
        settings: KafkaSettings,
        log: Path,
        *,
        module: str = "izin.streams",
        environment: Mapping[str, str] | None = None,
        folder: Path = _ROOT,
    ) -> None:
        self.name = name
        self.log = log
        self._module = module
        self._folder = folder
        self._port = free_port()
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": settings.topic_prefix,
            "IZIN_PARTITIONS": str(settings.partitions),
            "IZIN_INSTANCE_ID": name,
            "IZIN_STREAM_PORT": str(self._port),
            **(environment or {}),
        }
        self._environment.pop("SCHEMA_REGISTRY_URL", None)
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def move(self) -> None:
        """Let its next start serve at another address."""
        self._port = free_port()
        self._environment["IZIN_STREAM_PORT"] = str(self._port)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Stop it, and return its exit status."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def health(self) -> dict[str, Any]:
        """Return its health report; empty if it does not respond."""
        try:
            url = f"http://127.0.0.1:{self._port}/health/ready"
            with urllib.request.urlopen(url, timeout=1) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)
        except (OSError, http.client.HTTPException, ValueError):
            # It has ended, perhaps in the middle of its response.
            return {"ready": [], "assigned": []}

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            return answer.read().decode()


def all_held(workers: list[Worker], partitions: int) -> bool:
    """Return whether every partition is owned and fresh, by one worker each."""
    held = [number for worker in workers for number in worker.health()["ready"]]
    return sorted(held) == list(range(partitions))
