"""Sink workers as processes over one ledger and one simulator, to be killed and frozen."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from izin.local import free_port
from izin.runtime.settings import KafkaSettings
from tests.support.simulator import PASSWORD, USERNAME, SimulatorAdmin

TIMEOUT = timedelta(seconds=1)
LEASE = timedelta(seconds=2)
"""Short, so that a process that is frozen for longer wakes as a zombie."""


@dataclass(kw_only=True)
class SinkProcesses:
    """The sink processes; one that is killed is restarted under the same number."""

    count: int
    settings: KafkaSettings
    database_url: str
    simulator: SimulatorAdmin
    log: Path
    result_delay: float
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    frozen: set[int] = field(default_factory=set)
    ports: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each process: for everybody, and for operators."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What else is set for them."""

    def start(self) -> None:
        """Start every process that is not running."""
        for number in range(self.count):
            process = self.running.get(number)
            if process is None or process.poll() is not None:
                self.ports[number] = (free_port(), free_port())
                self.running[number] = self._start(*self.ports[number])

    def kill(self, number: int) -> None:
        """Kill one, frozen or not."""
        self.running[number].send_signal(signal.SIGKILL)
        self.running[number].wait(timeout=20)
        self.frozen.discard(number)

    def freeze(self, number: int) -> None:
        """Freeze one amid whatever it does."""
        self.running[number].send_signal(signal.SIGSTOP)
        self.frozen.add(number)

    def thaw(self, number: int) -> None:
        """Let one go on, as a zombie if it was frozen for long."""
        if number in self.frozen:
            self.running[number].send_signal(signal.SIGCONT)
            self.frozen.discard(number)

    def end(self) -> None:
        """End all."""
        for number, process in self.running.items():
            self.thaw(number)
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)

    def _start(self, port: int, operations_port: int) -> subprocess.Popen[bytes]:
        ours = {
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "IZIN_PARTITIONS": str(self.settings.partitions),
            "IZIN_KAFKA_LOG_LEVEL": "2",
            "DATABASE_URL": self.database_url,
            "IYS_BASE_URL": self.simulator.address,
            "IYS_USERNAME": USERNAME,
            "IYS_PASSWORD": PASSWORD,
            "IYS_TIMEOUT": f"PT{TIMEOUT.total_seconds()}S",
            "IYS_RESULT_DELAY": f"PT{self.result_delay * 1.5}S",
            "IZIN_SINK_PORT": str(port),
            "IZIN_SINK_OPERATIONS_PORT": str(operations_port),
            "IZIN_SINK_INTERVAL": "PT0.2S",
            "IZIN_LEASE": f"PT{LEASE.total_seconds()}S",
            "IZIN_BATCH_SIZE": "20",
            "IZIN_PULL_INTERVAL": "PT2S",
            "IZIN_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "izin.sinks"]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                env={**os.environ, **ours, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
