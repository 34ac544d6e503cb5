"""Apicurio Registry on this machine, with Confluent's API; schemas are kept in a file of H2."""

import os
from datetime import timedelta
from pathlib import Path

from izin.local.java import QUICK_START, FileSet, Progress, fetch_unpacked, java_at_least, silent
from izin.local.processes import Command
from izin.local.reservations import HOST, free_port
from izin.local.server import Server

VERSION = "3.3.3"
JAVA = 21

_ARCHIVE = FileSet(
    name=f"apicurio-registry-{VERSION}",
    coordinates=(f"io.apicurio:apicurio-registry-app:{VERSION}:all:tar.gz:",),
    transitive=False,
)


class ApicurioRegistry(Server):
    """A schema registry whose data live in `state_dir/registry`. `heap` is in Java's notation.

    Records in Kafka name their schemas by the registry's ids, so both must be kept.
    """

    name = f"Apicurio Registry {VERSION}"
    folder = "registry"
    port_setting = "--port registry=NUMBER"

    def __init__(
        self,
        state_dir: Path,
        port: int | None = None,
        *,
        heap: str = "384m",
        on_progress: Progress = silent,
    ) -> None:
        super().__init__(state_dir, port, on_progress=on_progress)
        self._heap = heap
        self._program = Path()

    @property
    def url(self) -> str:
        """The root of Confluent's API, without a slash. Raises RuntimeError before the start."""
        return f"http://{self.address}/apis/ccompat/v7"

    def prepare(self) -> None:
        """Download the archive and unpack it."""
        home = fetch_unpacked(_ARCHIVE, on_progress=self._on_progress)
        self._program = home / "quarkus-run.jar"

    def _command(self, port: int) -> Command:
        settings = {
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(port),
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            # Health and metrics have a port of their own, by default on all interfaces.
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(free_port()),
            "QUARKUS_LOG_LEVEL": "WARN",
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "h2",
            # A schema is on the disk before its writer has the id.
            "APICURIO_DATASOURCE_URL": (
                f"jdbc:h2:file:{self._folder / 'data' / 'schemas'};WRITE_DELAY=0"
            ),
        }
        java = str(java_at_least(JAVA))
        return Command(
            name=self.name,
            argv=(java, f"-Xmx{self._heap}", *QUICK_START, "-jar", str(self._program)),
            environment={**os.environ, **settings},
            log=self.log,
            ready=f"{self.url}/subjects",
            ready_within=timedelta(seconds=90),
            inherited=(self._lock.descriptor,),
        )
