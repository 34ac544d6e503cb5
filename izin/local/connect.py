"""Kafka Connect on this machine: one standalone worker that writes topics into databases.

All of it is as its makers publish it: Apache Kafka's worker, Debezium's JDBC sink connector with
its drivers, and Apicurio's converter of Avro records.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import httpx

from izin.local.java import QUICK_START, java_at_least
from izin.local.kafka import JAVA, PROGRAM_OPTIONS, VERSION
from izin.local.maven import FileSet, Progress, fetch, fetch_unpacked, silent
from izin.local.processes import Command
from izin.local.server import Server

SINK_VERSION = "3.6.0.Final"
CONVERTER_VERSION = "2.6.13.Final"

PLUGINS = "plugins"
"""The folder of plugins beside the configuration; its worker names it as ``plugin.path``."""

PORT = "CONNECT_PORT"
"""The variable that gives the port to the configuration of the worker."""

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
_MAIN = "org.apache.kafka.connect.cli.ConnectStandalone"
_KAFKA = "/org/apache/kafka/"
_RUNNING = "RUNNING"


class KafkaConnect(Server):
    """A worker whose files are in `state_dir/connect`.

    `files` are configurations by name: first the worker's, then one for each connector. What they
    name as `${env:…}` is in `environment`, and `CONNECT_PORT` is set here. It is ready once every
    task of every connector runs. `heap` is in Java's notation; `java_options=()` suits a long run
    at full speed.
    """

    name = f"Kafka Connect {VERSION}"
    folder = "connect"
    port_setting = PORT

    def __init__(  # noqa: PLR0913  # what a worker is given, and how Java runs it
        self,
        state_dir: Path,
        files: Mapping[str, str],
        *,
        environment: Mapping[str, str],
        heap: str = "512m",
        java_options: tuple[str, ...] = QUICK_START,
        on_progress: Progress = silent,
    ) -> None:
        super().__init__(state_dir, on_progress=on_progress)
        self._files = dict(files)
        self._environment = dict(environment)
        self._options = (f"-Xmx{heap}", *java_options, *PROGRAM_OPTIONS)
        self._jars: list[Path] = []
        self._plugins: dict[str, list[Path]] = {}

    @property
    def url(self) -> str:
        """The root of the worker's REST API. Raises RuntimeError before the start."""
        return f"http://{self.address}"

    def prepare(self) -> None:
        """Download the worker and its plugins."""
        self._jars, self._plugins = fetch_connect(on_progress=self._on_progress)

    def _command(self, port: int) -> Command:
        place_plugins(self._plugins, self._folder / PLUGINS, os.symlink)
        for name, content in self._files.items():
            (self._folder / name).write_text(content, encoding="utf-8")
        classes = os.pathsep.join(map(str, self._jars))
        java = str(java_at_least(JAVA))
        return Command(
            name=self.name,
            argv=(java, *self._options, "-cp", classes, _MAIN, *self._files),
            environment={**os.environ, **self._environment, PORT: str(port)},
            folder=self._folder,
            log=self.log,
            ready=self._runs,
            ready_within=timedelta(seconds=120),
            inherited=(self._lock.descriptor,),
        )

    def states(self) -> dict[str, str]:
        """Return the state of each task, by `connector/number`; empty while there are none.

        Raises httpx.HTTPError where the worker does not answer.
        """
        reply = httpx.get(f"{self.url}/connectors?expand=status", timeout=5, trust_env=False)
        reply.raise_for_status()
        return {
            f"{name}/{task['id']}": task["state"]
            for name, connector in reply.json().items()
            for task in connector["status"]["tasks"]
        }

    def _runs(self) -> bool:
        try:
            states = self.states()
        except httpx.HTTPError:
            return False
        connectors = {name.rpartition("/")[0] for name in states}
        return len(connectors) == len(self._files) - 1 and set(states.values()) == {_RUNNING}


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
