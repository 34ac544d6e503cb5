"""Kafka Streams in Java.

Settings are Kafka Streams' defaults, except those that its documentation advises for throughput: as
many threads as cores, compression, and a cache before the store, which saves writes to store and
changelog. ``exactly_once_v2`` commits every 100 ms, ``at_least_once`` every 30 s: the defaults.
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

VERSION = "4.3.1"
MEMORY, ROCKSDB = "memory", "rocksdb"
AT_LEAST_ONCE, EXACTLY_ONCE = "at_least_once", "exactly_once_v2"

PROGRAM = JavaProgram(
    name="StreamsLatestWins",
    jars=FileSet(
        name=f"kafka-streams-{VERSION}",
        digests=DIGESTS,
        coordinates=(f"org.apache.kafka:kafka-streams:{VERSION}", AVRO, LOGGING),
    ),
    options=("-Xmx1g",),
)


def main(task: Task, *, class_path: str, store: str, guarantee: str) -> None:
    """Replace this process with the Java process."""
    settings = {
        "application.id": task.app,
        "bootstrap.servers": task.bootstrap_servers,
        "state.dir": task.folder,
        "processing.guarantee": guarantee,
        "num.stream.threads": min(os.cpu_count() or 1, int(task.partitions)),
        "replication.factor": 1,
        "producer.compression.type": "lz4",
    }
    file = write_properties(Path(task.folder) / "streams.properties", settings)
    PROGRAM.replace_process(task, class_path, file, store)


if __name__ == "__main__":
    _, path, kind, promise, *words = sys.argv
    main(Task(*words), class_path=path, store=kind, guarantee=promise)
