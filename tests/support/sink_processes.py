"""Sink workers as processes over one ledger and one simulator, to be killed and frozen."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket
from typing import Any

from izin.local import free_port
from izin.runtime.settings import KafkaSettings
from tests.support.simulator import PASSWORD, USERNAME, SimulatorAdmin
from tests.support.skewed_process import JUMPS

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
    timeout: timedelta = TIMEOUT
    lease: timedelta = LEASE
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    frozen: set[int] = field(default_factory=set)
    ports: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each process: for everybody, and for operators."""
    keeps_ports: bool = False
    """Whether one that is started again has the ports that it had."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What else is set for them."""
    environments: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """What else is set for one of them."""
    skews: dict[int, float] = field(default_factory=dict)
    """By how many seconds the clock of one is wrong when it starts; not listed: it is right."""
    failed: list[str] = field(default_factory=list)
    """Those that ended with an error though nobody had ended them, after they were ready."""

    def __post_init__(self) -> None:
        self._ready: set[int] = set()

    def start(self) -> None:
        """Start every process that is not running."""
        for number in range(self.count):
            process = self.running.get(number)
            if process is None or process.poll() is not None:
                if process is not None and process.returncode and number in self._ready:
                    self.failed.append(f"worker {number} ended with {process.returncode}")
                self._ready.discard(number)
                self.running[number] = self._start(number)

    def is_ready(self, number: int) -> bool:
        """Whether one serves, or has served since it was started last."""
        if number not in self._ready and self.running[number].poll() is None:
            with closing(socket(AF_INET, SOCK_STREAM)) as client:
                if client.connect_ex(("127.0.0.1", self.ports[number][0])) == 0:
                    self._ready.add(number)
        return number in self._ready

    def kill(self, number: int) -> None:
        """Kill one, frozen or not."""
        self._ready.discard(number)
        self.running[number].send_signal(signal.SIGKILL)
        self.running[number].wait(timeout=20)
        self.frozen.discard(number)

    def terminate(self, number: int) -> None:
        """Have one end by itself."""
        self._ready.discard(number)
        self.thaw(number)
        self.running[number].terminate()

    def freeze(self, number: int) -> None:
        """Freeze one amid whatever it does."""
        self.running[number].send_signal(signal.SIGSTOP)
        self.frozen.add(number)

    def thaw(self, number: int) -> None:
        """Let one go on, as a zombie if it was frozen for long."""
        if number in self.frozen:
            self.running[number].send_signal(signal.SIGCONT)
            self.frozen.discard(number)

    def jump(self, number: int, how: signal.Signals) -> None:
        """Set the clock of one that was started with a wrong one, by a signal of ``JUMPS``."""
        assert how in JUMPS
        self.running[number].send_signal(how)

    def logged(self) -> list[dict[str, Any]]:
        """Return what was logged, by ``event``, ``level`` and fields."""
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]

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

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        if not (self.keeps_ports and number in self.ports):
            self.ports[number] = free_port(), free_port()
        port, operations_port = self.ports[number]
        ours = {
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "IZIN_PARTITIONS": str(self.settings.partitions),
            "IZIN_KAFKA_LOG_LEVEL": "2",
            "DATABASE_URL": self.database_url,
            "IYS_BASE_URL": self.simulator.address,
            "IYS_USERNAME": USERNAME,
            "IYS_PASSWORD": PASSWORD,
            "IYS_TIMEOUT": f"PT{self.timeout.total_seconds()}S",
            "IYS_RESULT_DELAY": f"PT{self.result_delay * 1.5}S",
            "IZIN_SINK_PORT": str(port),
            "IZIN_SINK_OPERATIONS_PORT": str(operations_port),
            "IZIN_SINK_INTERVAL": "PT0.2S",
            "IZIN_LEASE": f"PT{self.lease.total_seconds()}S",
            "IZIN_BATCH_SIZE": "20",
            "IZIN_PULL_INTERVAL": "PT2S",
            "IZIN_LOG_LEVEL": "warning",
        }
        module = ["izin.sinks"]
        if number in self.skews:
            module = ["tests.support.skewed_process", str(self.skews[number]), *module]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *module],
                env={
                    **os.environ,
                    **ours,
                    **self.environment,
                    **self.environments.get(number, {}),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
