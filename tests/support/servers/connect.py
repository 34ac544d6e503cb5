"""Kafka Connect on this machine: one standalone worker that writes topics into databases."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import httpx

from izin.local.java import QUICK_START, Progress, java_at_least, silent
from izin.local.kafka import JAVA, PROGRAM_OPTIONS, VERSION, fetch_connect, place_plugins
from izin.local.processes import Command
from izin.local.server import Server

PLUGINS = "plugins"
"""The folder of plugins beside the configuration; its worker names it as ``plugin.path``."""
PORT = "CONNECT_PORT"
"""The variable that gives the port to the configuration of the worker."""
_MAIN = "org.apache.kafka.connect.cli.ConnectStandalone"
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

    def __init__(  # what a worker is given, and how Java runs it
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
        return Command(
            name=self.name,
            argv=(str(java_at_least(JAVA)), *self._options, "-cp", classes, _MAIN, *self._files),
            environment={**os.environ, **self._environment, PORT: str(port)},
            folder=self._folder,
            log=self.log,
            ready=self._runs,
            ready_within=timedelta(seconds=300),
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
