"""Kafka Connect, whose workers write topics into databases: what they need, downloaded.

All of it is as its makers publish it: Apache Kafka's worker, Debezium's JDBC sink connector with
its drivers, and Apicurio's converter of Avro records.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from izin.local.java import FileSet, Progress, fetch, fetch_unpacked, silent
from izin.local.kafka import VERSION

SINK_VERSION = "3.6.0.Final"
CONVERTER_VERSION = "2.6.13.Final"

_WORKER = FileSet(
    name=f"kafka-connect-{VERSION}",
    coordinates=(f"org.apache.kafka:connect-runtime:{VERSION}", "org.slf4j:slf4j-simple:1.7.36"),
)
_SINK = FileSet(
    name=f"debezium-connector-jdbc-{SINK_VERSION}",
    coordinates=(f"io.debezium:debezium-connector-jdbc:{SINK_VERSION}:plugin:tar.gz:",),
    transitive=False,
)
_CONVERTER = FileSet(
    name=f"apicurio-connect-converter-{CONVERTER_VERSION}",
    coordinates=(f"io.apicurio:apicurio-registry-utils-converter:{CONVERTER_VERSION}",),
)
_KAFKA = "/org/apache/kafka/"


def place_plugins(
    plugins: Mapping[str, Sequence[Path]], folder: Path, place: Callable[[Path, Path], object]
) -> None:
    """Put the jars of each plugin into a folder of its own in ``folder``, by ``place``: a link, or
    a copy. What was in these is removed.
    """
    for name, jars in plugins.items():
        home = folder / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for jar in jars:
            place(jar, home / jar.name)


def fetch_connect(*, on_progress: Progress = silent) -> tuple[list[Path], dict[str, list[Path]]]:
    """Return the jars of the worker, and those of each plugin by its name, downloading what is
    missing.

    Raises DownloadError, PackageMissingError or StateInUseError.
    """
    plugins = fetch_plugins(on_progress=on_progress)
    return fetch(_WORKER, on_progress=on_progress), plugins


def fetch_plugins(*, on_progress: Progress = silent) -> dict[str, list[Path]]:
    """Return the jars of each plugin by its name, downloading what is missing.

    Raises DownloadError, PackageMissingError or StateInUseError.
    """
    sink = fetch_unpacked(_SINK, on_progress=on_progress)
    converter = fetch(_CONVERTER, on_progress=on_progress)
    return {
        "jdbc-sink": sorted(sink.rglob("*.jar")),
        # Kafka's own classes are the worker's: a converter that brought others would not fit them.
        "avro-converter": [jar for jar in converter if _KAFKA not in jar.as_posix()],
    }
