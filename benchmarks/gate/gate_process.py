"""The gate as a process under measurement."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import ROOT
from benchmarks.gate.questions import HOST
from izin.local import Child, Command, free_port
from izin.runtime.settings import KafkaSettings


@contextmanager
def running_gate(settings: KafkaSettings, folder: Path) -> Iterator[tuple[Child, int]]:
    """Run a gate; yield it once it is ready, and its port."""
    port = free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": settings.partitions,
        "IZIN_KAFKA_LOG_LEVEL": settings.client_log_level,
        "IZIN_GATE_PORT": port,
        "IZIN_GATE_OPERATIONS_PORT": free_port(),
    }
    given = (f"{name}={value}" for name, value in environment.items())
    command = Command(
        name="gate",
        argv=("env", "-u", "SCHEMA_REGISTRY_URL", *given, sys.executable, "-m", "izin.gate"),
        folder=ROOT,
        log=folder / "gate.log",
        ready=f"http://{HOST}:{port}/health/ready",
    )
    gate = Child(command)
    gate.start()
    try:
        gate.wait_ready()
        yield gate, port
    finally:
        gate.kill()
