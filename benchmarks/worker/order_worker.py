"""The order worker as the product runs it, in a process of its own."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from benchmarks import ROOT
from izin.local import Child, Command, free_port
from izin.runtime.settings import KafkaSettings, StateKind

_WITHIN = timedelta(minutes=5)


def order_worker(
    settings: KafkaSettings,
    folder: Path,
    *,
    state: StateKind = StateKind.MEMORY,
    program: Sequence[str] = ("izin.streams",),
) -> Child:
    """Return a worker, not yet started; it is ready when it owns every partition.

    ``program`` is a module and its arguments.
    """
    port = free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": settings.partitions,
        "IZIN_KAFKA_LOG_LEVEL": settings.client_log_level,
        "IZIN_APP_ID": "bench",
        "IZIN_INSTANCE_ID": "bench",
        "IZIN_STREAM_PORT": port,
        "IZIN_STATE": state,
        "IZIN_STATE_FOLDER": folder / "state",
    }
    given = (f"{name}={value}" for name, value in environment.items())
    return Child(
        Command(
            name="order worker",
            argv=("env", "-u", "SCHEMA_REGISTRY_URL", *given, sys.executable, "-m", *program),
            folder=ROOT,
            log=folder / "worker.log",
            ready=f"http://127.0.0.1:{port}/health/ready",
            ready_within=_WITHIN,
        )
    )
