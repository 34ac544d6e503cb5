"""Kafka Streams in Java: compile it, then replace this process with it.

Its jars come from Maven Central like the broker's, and so does a compiler (Eclipse's, which needs
no JDK). Settings are Kafka Streams' defaults, except those that its documentation advises for
throughput: as many threads as cores, compression, and a cache before the store, which saves writes
to store and changelog. ``exactly_once_v2`` commits every 100 ms, ``at_least_once`` every 30 s: the
defaults.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib import resources
from pathlib import Path

from benchmarks.order.contenders.task import Task
from izin.consent.model import LAW_VERSION
from izin.local.errors import LocalError
from izin.local.folders import cache_folder
from izin.local.java import java_at_least
from izin.local.maven import FileSet, Progress, fetch, silent
from izin.schemas import contracts

VERSION = "4.3.1"
MEMORY, ROCKSDB = "memory", "rocksdb"
AT_LEAST_ONCE, EXACTLY_ONCE = "at_least_once", "exactly_once_v2"

_JAVA = 17
_JARS = FileSet(
    name=f"kafka-streams-{VERSION}",
    coordinates=(
        f"org.apache.kafka:kafka-streams:{VERSION}",
        "org.apache.avro:avro:1.12.0",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
)
_COMPILER = FileSet(
    name="ecj-3.38.0", coordinates=("org.eclipse.jdt:ecj:3.38.0",), transitive=False
)
_NAME = "LatestWins"
_HEAP = "1g"
_COMPILE_WITHIN = 120.0


class NotCompiledError(LocalError):
    """The Java source cannot be compiled on this machine."""


def prepare(on_progress: Progress = silent, *, cache: Path | None = None) -> str:
    """Download the jars, compile the source, and return the class path.

    Raises DownloadError, JavaMissingError, PackageMissingError, NotCompiledError.
    """
    cache = cache or cache_folder()
    jars = [str(path) for path in fetch(_JARS, on_progress=on_progress, cache=cache)]
    compiler = [str(path) for path in fetch(_COMPILER, on_progress=on_progress, cache=cache)]
    source = resources.files("benchmarks.order.contenders") / f"{_NAME}.java"
    digest = sha256(source.read_bytes()).hexdigest()[:16]
    classes = cache / f"kafka-streams-{VERSION}-{digest}"
    if not (classes / f"{_NAME}.class").exists():
        with resources.as_file(source) as path:
            compile_source(path, classes, jars=jars, compiler=compiler)
    return os.pathsep.join([str(classes), *jars])


def compile_source(
    source: Path, classes: Path, *, jars: Sequence[str], compiler: Sequence[str]
) -> None:
    """Compile ``source`` into ``classes``; raises NotCompiledError, JavaMissingError."""
    java = str(java_at_least(_JAVA))
    argv = (java, "-cp", os.pathsep.join(compiler), "org.eclipse.jdt.internal.compiler.batch.Main")
    options = (f"-{_JAVA}", "-nowarn", "-cp", os.pathsep.join(jars), "-d", str(classes))
    try:
        done = subprocess.run(  # noqa: S603 - what was resolved above
            (*argv, *options, str(source)),
            capture_output=True,
            text=True,
            timeout=_COMPILE_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiledError(f"the compiler did not end: {error}") from error
    if done.returncode != 0:
        raise NotCompiledError(f"{source.name} does not compile: {done.stderr.strip()[-2000:]}")


def main(task: Task, *, class_path: str, store: str, guarantee: str) -> None:
    """Replace this process with the Java process."""
    folder = Path(task.folder)
    settings = folder / "streams.properties"
    settings.write_text(
        "".join(f"{name}={value}\n" for name, value in _settings(task, guarantee).items())
    )
    files = []
    for record in ("ConsentEvent", "Consent"):
        files.append(folder / f"{record}.avsc")
        files[-1].write_text(json.dumps(contracts.current()[record].schema), encoding="utf-8")
    header = "c301" + contracts.current()["Consent"].fingerprint.hex()
    words = (str(settings), task.events, task.output, store, *map(str, files), header)
    java = str(java_at_least(_JAVA))
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    os.execv(  # noqa: S606 - replaced by it
        java, [java, f"-Xmx{_HEAP}", quiet, "-cp", class_path, _NAME, *words, str(LAW_VERSION)]
    )


def _settings(task: Task, guarantee: str) -> dict[str, object]:
    return {
        "application.id": task.app,
        "bootstrap.servers": task.bootstrap_servers,
        "state.dir": task.folder,
        "processing.guarantee": guarantee,
        "num.stream.threads": min(os.cpu_count() or 1, int(task.partitions)),
        "replication.factor": 1,
        "producer.compression.type": "lz4",
    }


if __name__ == "__main__":
    _, path, kind, promise, *words = sys.argv
    main(Task(*words), class_path=path, store=kind, guarantee=promise)
