"""The İYS simulator in a process of its own, with a client of its admin API; and sink workers as
processes over one ledger and one simulator, to be killed and frozen.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket
from typing import Any

import httpx

from izin.local import Child, Command, free_port
from izin.runtime.settings import KafkaSettings
from tests.support.builders import BRAND, PHONE
from tests.support.skewed_process import JUMPS

USERNAME, PASSWORD, IYS_CODE = "ada@example.com", "not-a-password", BRAND


class SimulatorAdmin:
    """Configures the simulator at an address, acts as the citizen and injects faults."""

    def __init__(self, address: str, admin: httpx.Client) -> None:
        self.address = address
        self._admin = admin

    def post(self, what: str, **fields: object) -> None:
        """Post to the admin API, and fail unless it succeeds."""
        answer = self._admin.post(f"/{what}", json=fields)
        assert answer.is_success, answer.text

    def configure(self, **settings: object) -> None:
        """Reset the simulator to one account and one brand, under these settings."""
        self.post("reset", everything=True)
        self.post("settings", **settings)
        self.post("accounts", username=USERNAME, password=PASSWORD, iysCode=IYS_CODE)
        self.brand()

    def brand(self, **more: object) -> None:
        """Describe our brand, active since 2020 unless ``more`` says otherwise."""
        fields = {"brandCode": BRAND, "iysCode": IYS_CODE, "name": "Örnek"}
        self.post("brands", **fields | {"activatedAt": "2020-01-01 00:00:00", **more})

    def inject_fault(self, operation: str, **fault: object) -> None:
        """Inject a fault into the next call of an operation."""
        self.post("faults", operation=operation, **fault)

    def clear_faults(self) -> None:
        """Remove every fault rule."""
        self._admin.delete("/faults")

    def faults_left(self) -> dict[str, int | None]:
        """Return how many faults are left of each operation that has any; None: no end."""
        return dict(self._admin.get("/faults").json()["faults"])

    def advance(self, seconds: float) -> None:
        """Advance the clock of the simulator."""
        self.post("clock", advance=seconds)

    def citizen(self, status: str, recipient: str = PHONE, **more: object) -> None:
        """Change a consent as a citizen does at İYS."""
        self.post("citizen", movements=[a_change(status, recipient, **more)])

    def other_writer(self, status: str, recipient: str = PHONE, **more: object) -> None:
        """Change a consent as a person does in İYS's portal."""
        self.post("writers", writer="portal", movements=[a_change(status, recipient, **more)])

    def rows(self, what: str) -> Iterator[dict[str, Any]]:
        """Yield what the simulator holds: its ``register`` or its ``movements``."""
        yield from map(json.loads, self._admin.get(f"/{what}").text.splitlines())

    def register(self) -> dict[str, str]:
        """Return the status of each recipient."""
        return {row["recipient"]: row["status"] for row in self.rows("register")}

    def movements(self, recipient: str = PHONE) -> list[str]:
        """Return the statuses that were saved for a recipient, in order."""
        return [one["status"] for one in self.rows("movements") if one["recipient"] == recipient]

    def via_requests(self) -> list[dict[str, Any]]:
        """Return the requests for consent (ViA), in order, each with its code."""
        return list(self._admin.get("/via").json()["requests"])

    def timestamp_root(self) -> bytes:
        """Return the root (PEM) of the authority that signs time stamps."""
        return self._admin.get("/timestamp-root").content

    def requests(self) -> dict[str, Any]:
        """Return what the simulator counted of its calls."""
        return dict(self._admin.get("/requests").json())

    def calls(self, operation: str) -> int:
        """Return how often an operation was called."""
        return int(self.requests()["operations"].get(operation, {}).get("total", 0))


def a_change(status: str, recipient: str, **more: object) -> dict[str, object]:
    """Return a change of a consent to text messages, as the admin API takes it."""
    fields = {"brandCode": BRAND, "type": "MESAJ", "recipient": recipient, "status": str(status)}
    return fields | more


@contextmanager
def running_simulator(folder: Path) -> Iterator[SimulatorAdmin]:
    """Run the simulator in a process of its own, which logs into ``folder``."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    child = Child(
        Command(
            name="simulator",
            argv=(sys.executable, "-m", "iys_simulator", "serve", "--port", str(port)),
            log=folder / "simulator.log",
            ready=f"{address}/__simulator__/health",
        )
    )
    child.start()
    url = f"{address}/__simulator__"
    try:
        child.wait_ready()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as admin:
            yield SimulatorAdmin(address, admin)
    finally:
        child.kill()


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
