"""The processes of the gate campaign: two gates, an order worker and a sink."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from izin.local import free_port
from izin.local.child import answers
from izin.runtime.settings import KafkaSettings
from tests.chaos.gate.faults import GATE, ORDER, SINK, Victim
from tests.chaos.order.network import Network
from tests.support.order.workers import Worker
from tests.support.sink_processes import SinkProcesses

GATES = ("gate-0", "gate-1")


class GateProcess(Worker):
    """``python -m izin.gate`` under ports of its own."""

    def __init__(
        self, name: str, settings: KafkaSettings, servers: str, folder: Path, stale_after: timedelta
    ) -> None:
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
                "IZIN_GATE_STALE_AFTER": f"PT{stale_after.total_seconds()}S",
            },
        )

    def is_ready(self) -> bool:
        """Return whether it has read its topics, and is current in every partition."""
        return answers(self._ready)


@contextmanager
def running_gates(
    settings: KafkaSettings, network: Network | None, folder: Path, *, stale_after: timedelta
) -> Iterator[list[GateProcess]]:
    """Run the gates, which reach Kafka over ``network``; they are killed at the end."""
    with ExitStack() as stack:
        gates = []
        for name in GATES:
            servers = network.bootstrap_servers(name) if network else settings.bootstrap_servers
            gate = GateProcess(name, settings, servers, folder, stale_after)
            stack.callback(gate.kill)
            gates.append(gate)
        yield gates


@contextmanager
def running_order_worker(settings: KafkaSettings, folder: Path) -> Iterator[Worker]:
    """Run an order worker; it is killed at the end."""
    worker = Worker("order", settings, folder / "order.log")
    try:
        yield worker
    finally:
        worker.kill()


@contextmanager
def running_sink(sinks: SinkProcesses) -> Iterator[SinkProcesses]:
    """Run the processes of ``sinks`` until the end."""
    sinks.start()
    try:
        yield sinks
    finally:
        sinks.end()


def victims(gates: list[GateProcess], order: Worker, sinks: SinkProcesses) -> list[Victim]:
    """Return what faults may hit: each gate, the order worker, and the only sink."""
    of_gates = [
        Victim(
            name=one.name,
            part=GATE,
            process=lambda one=one: one.process,
            start=one.start,
            kill=one.kill,
            answers=one.is_ready,
        )
        for one in gates
    ]
    return [
        *of_gates,
        Victim(
            name=order.name,
            part=ORDER,
            process=lambda: order.process,
            start=order.start,
            kill=order.kill,
            answers=lambda: bool(order.health()["ready"]),
        ),
        Victim(
            name=SINK,
            part=SINK,
            process=lambda: sinks.running[0],
            start=sinks.start,
            kill=lambda: sinks.kill(0),
            answers=lambda: sinks.is_ready(0),
        ),
    ]
