"""Sink processes over one ledger and one simulator, and the decisions that they ingest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from izin.consent.admission import RefusedEvent, admit
from izin.consent.model import Consent, DecisionKind
from izin.consent.ordering import decide
from izin.local import Child, Command, free_port
from izin.runtime import kafka
from izin.schemas.codec import Codec
from tests.support.builders import BRAND, a_decision_record, an_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from izin.runtime.settings import KafkaSettings

USERNAME, PASSWORD = "ada@example.com", "not-a-password"
TIMEOUT = timedelta(seconds=1)
LEASE = timedelta(seconds=2)
"""Short, so that a process that is frozen for longer wakes as a zombie."""


def a_phone(number: int) -> str:
    """Return an obviously fake mobile number."""
    return f"+9055500{number:05d}"


@contextmanager
def running_simulator(folder: Path) -> Iterator[SimulatorControl]:
    """Run the İYS simulator in a process of its own, which logs into ``folder``."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    child = Child(
        Command(
            name="simulator",
            argv=(sys.executable, "-m", "iys_simulator", "serve", "--port", str(port)),
            log=folder / "simulator.log",
            ready=f"{address}/__simulator__/health",
        )
    )
    child.start()
    try:
        child.wait_ready()
        yield SimulatorControl(address=address)
    finally:
        child.kill()


@dataclass(kw_only=True)
class SimulatorControl:
    """The admin interface of a running simulator."""

    address: str

    def post(self, what: str, **fields: object) -> None:
        """Post to the admin interface; fail if that is refused."""
        answer = httpx.post(f"{self._admin}/{what}", json=fields, timeout=30, trust_env=False)
        assert answer.is_success, answer.text

    def clear_faults(self) -> None:
        """Remove every fault rule."""
        httpx.delete(f"{self._admin}/faults", timeout=30, trust_env=False)

    def rows(self, what: str) -> Iterator[dict[str, Any]]:
        """Yield what the simulator holds: its ``register`` or its ``movements``."""
        answer = httpx.get(f"{self._admin}/{what}", timeout=60, trust_env=False)
        yield from map(json.loads, answer.text.splitlines())

    def requests(self) -> dict[str, Any]:
        """Return what the simulator counted of its calls."""
        url = f"{self._admin}/requests"
        found: dict[str, Any] = httpx.get(url, timeout=30, trust_env=False).json()
        return found

    def configure(self, *, result_delay: float) -> None:
        """Give the simulator our account and brand, and İYS's limits with a shorter delay."""
        self.post("reset", everything=True)
        self.post(
            "settings",
            requestsPerSecond=10,
            requestWindow="sliding",
            tokenLimit=10,
            statusLimit=1000,
            resultDelay=result_delay,
            hiddenWindow=0,
        )
        self.post("accounts", username=USERNAME, password=PASSWORD, iysCode=BRAND)
        self.post(
            "brands",
            brandCode=BRAND,
            iysCode=BRAND,
            name="Örnek",
            activatedAt="2020-01-01 00:00:00",
        )

    @property
    def _admin(self) -> str:
        return f"{self.address}/__simulator__"


@dataclass(kw_only=True)
class DecisionSource:
    """The order stage in a few lines: what it would have decided, written to its topic."""

    settings: KafkaSettings
    states: dict[str, Consent] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    """How many of each recipient."""
    decisions: int = 0
    _codec: Codec = field(default_factory=Codec)
    _began: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
    )

    def publish(self, *events: tuple[str, str]) -> None:
        """Have recipients opt in or out, each a minute after their last event."""
        producer = kafka.producer(self.settings)
        for recipient, status in events:
            number = self.events[recipient] = self.events.get(recipient, 0) + 1
            at = self._began + timedelta(minutes=number)
            event = an_event(
                event_id=f"{recipient}-{number}",
                recipient=recipient,
                status=status,
                consent_date=at,
                received_at=at,
            )
            claim = admit(event, appended_at=datetime.now(UTC))
            assert not isinstance(claim, RefusedEvent)
            key = str(claim.key)
            decision = decide(self.states.get(key), claim)
            assert decision.kind is DecisionKind.APPLY
            self.states[key] = decision.consent
            record = a_decision_record(decision, offset=self.decisions)
            value = self._codec.encode("Decision", record)
            producer.produce(self.settings.topics.decisions.name, key=key.encode(), value=value)
            self.decisions += 1
        assert producer.flush(20) == 0


@dataclass(kw_only=True)
class SinkProcesses:
    """The sink processes; one that is killed is restarted under the same number."""

    count: int
    settings: KafkaSettings
    database_url: str
    simulator: SimulatorControl
    log: Path
    result_delay: float
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    frozen: set[int] = field(default_factory=set)

    def start(self) -> None:
        """Start every process that is not running."""
        for number in range(self.count):
            process = self.running.get(number)
            if process is None or process.poll() is not None:
                self.running[number] = self._start()

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

    def _start(self) -> subprocess.Popen[bytes]:
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
            "IZIN_SINK_PORT": str(free_port()),
            "IZIN_SINK_INTERVAL": "PT0.2S",
            "IZIN_LEASE": f"PT{LEASE.total_seconds()}S",
            "IZIN_BATCH_SIZE": "20",
            "IZIN_PULL_INTERVAL": "PT2S",
            "IZIN_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "izin.sinks"]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, env={**os.environ, **ours}, stdout=log, stderr=subprocess.STDOUT
            )
