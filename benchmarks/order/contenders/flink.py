"""Apache Flink in Java, in one process, exactly once.

Settings are Flink's defaults, except those that its documentation advises for throughput and for
exactly-once sinks: a subtask a core, objects reused between chained operators, incremental
checkpoints where the state backend has them, compression and batches of 64 KiB in the sink's
producer, and a transaction time-out above the checkpoint interval. What the sink writes can be read
once a checkpoint has completed.
"""

import os
import sys
from pathlib import Path

from benchmarks.order.contenders.java_program import (
    AVRO,
    DIGESTS,
    LOGGING,
    JavaProgram,
    write_properties,
)
from benchmarks.order.contenders.task import Task
from izin.local.java import FileSet

VERSION = "2.2.0"
HEAP, ROCKSDB = "hashmap", "rocksdb"

_CONNECTOR = "5.0.0-2.2"
PROGRAM = JavaProgram(
    name="FlinkLatestWins",
    jars=FileSet(
        name=f"flink-{VERSION}",
        digests=DIGESTS,
        coordinates=(
            f"org.apache.flink:flink-streaming-java:{VERSION}",
            f"org.apache.flink:flink-clients:{VERSION}",
            f"org.apache.flink:flink-statebackend-rocksdb:{VERSION}",
            f"org.apache.flink:flink-connector-base:{VERSION}",
            f"org.apache.flink:flink-connector-kafka:{_CONNECTOR}",
            AVRO,
            LOGGING,
        ),
    ),
    options=(
        "-Xmx1g",
        # Flink's own start scripts open these to its serializers.
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "--add-opens=java.base/java.util=ALL-UNNAMED",
        "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    ),
)


def main(task: Task, *, class_path: str, backend: str, interval: str) -> None:
    """Replace this process with the Java process, which checkpoints every ``interval``."""
    folder = Path(task.folder)
    parallelism = min(os.cpu_count() or 1, int(task.partitions))
    flink = {
        "state.backend.type": backend,
        "execution.checkpointing.dir": f"file://{folder / 'checkpoints'}",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.interval": interval,
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "pipeline.object-reuse": "true",
        "taskmanager.numberOfTaskSlots": parallelism,
        "taskmanager.memory.managed.size": "256m",
        "taskmanager.memory.network.max": "128m",
        "rest.port": "0",
    }
    producer = {
        "transaction.timeout.ms": "15000",
        "compression.type": "lz4",
        "linger.ms": "5",
        "batch.size": "65536",
    }
    words = (task.bootstrap_servers, task.app, str(parallelism))
    files = (
        write_properties(folder / "flink.properties", flink),
        write_properties(folder / "producer.properties", producer),
    )
    PROGRAM.replace_process(task, class_path, *words, *files)


if __name__ == "__main__":
    _, path, kind, every, *rest = sys.argv
    main(Task(*rest), class_path=path, backend=kind, interval=every)
