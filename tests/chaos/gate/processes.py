"""The gates of the gate campaign."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings
from tests.chaos.gate.faults import GATE
from tests.chaos.order.network import Network
from tests.chaos.victims import Victim
from tests.support.order.workers import Worker

GATES = ("gate-0", "gate-1")
STALE_AFTER = timedelta(seconds=2)


class GateProcess(Worker):
    """``python -m izin.gate`` under ports of its own."""

    def __init__(self, name: str, settings: KafkaSettings, servers: str, folder: Path) -> None:
        port, operations_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._ready = f"http://127.0.0.1:{operations_port}/health/ready"
        super().__init__(
            name,
            settings,
            folder / f"{name}.log",
            module="izin.gate",
            environment={
                "KAFKA_BOOTSTRAP_SERVERS": servers,
                "IZIN_KAFKA_LOG_LEVEL": "2",
                "IZIN_LOG_LEVEL": "warning",
                "IZIN_GATE_PORT": str(port),
                "IZIN_GATE_OPERATIONS_PORT": str(operations_port),
                "IZIN_GATE_STALE_AFTER": f"PT{STALE_AFTER.total_seconds()}S",
            },
        )

    def is_ready(self) -> bool:
        """Return whether it has read its topics, and is current in every partition."""
        return answers(self._ready)


@contextmanager
def running_gates(
    settings: KafkaSettings, network: Network, folder: Path
) -> Iterator[list[GateProcess]]:
    """Run the gates, which reach Kafka over ``network``; they are killed at the end."""
    with ExitStack() as stack:
        gates = []
        for name in GATES:
            gate = GateProcess(name, settings, network.bootstrap_servers(name), folder)
            stack.callback(gate.kill)
            gates.append(gate)
        yield gates


def victim_of(gate: GateProcess) -> Victim:
    """Return a gate as what faults may hit."""
    return Victim(
        name=gate.name,
        part=GATE,
        process=lambda: gate.process,
        start=gate.start,
        kill=gate.kill,
        answers=gate.is_ready,
    )
