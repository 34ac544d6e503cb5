"""The servers a run needs, together: Kafka, PostgreSQL and, when asked for, the schema registry.

What the caller's environment already names is used as it is, and nothing is started for it. The
registry is Apicurio's, with Confluent's API; its schemas are kept in a file of H2.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Self

from izin.local.errors import LocalError
from izin.local.java import QUICK_START, FileSet, Progress, fetch_unpacked, java_at_least, silent
from izin.local.kafka import BROKER, CONVERTER, SINK, WORKER, Kafka
from izin.local.postgres import Postgres
from izin.local.processes import Command, Supervisor
from izin.local.reservations import HOST, free_port
from izin.local.server import Server

KAFKA = "KAFKA_BOOTSTRAP_SERVERS"
DATABASE = "DATABASE_URL"
REGISTRY = "SCHEMA_REGISTRY_URL"
_PROTOCOL, _PLAINTEXT = "KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"
VERSION = "3.3.3"
JAVA = 21

_REGISTRY = FileSet(
    name=f"apicurio-registry-{VERSION}",
    coordinates=(f"io.apicurio:apicurio-registry-app:{VERSION}:all:tar.gz:",),
    transitive=False,
)
FILE_SETS = (BROKER, WORKER, SINK, CONVERTER, _REGISTRY)
"""Everything that is downloaded for servers on one machine."""


class ApicurioRegistry(Server):
    """A schema registry whose data live in `state_dir/registry`.

    Records in Kafka name their schemas by the registry's ids, so both must be kept.
    """

    name = f"Apicurio Registry {VERSION}"
    folder = "registry"
    port_setting = "--port registry=NUMBER"

    _program: Path

    @property
    def url(self) -> str:
        """The root of Confluent's API, without a slash. Raises RuntimeError before the start."""
        return f"http://{self.address}/apis/ccompat/v7"

    def prepare(self) -> None:
        """Download the archive and unpack it."""
        home = fetch_unpacked(_REGISTRY, on_progress=self._on_progress)
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
            argv=(java, "-Xmx384m", *QUICK_START, "-jar", str(self._program)),
            environment={**os.environ, **settings},
            log=self.log,
            ready=f"{self.url}/subjects",
            ready_within=timedelta(seconds=90),
            inherited=(self._lock.descriptor,),
        )


class LocalServers:
    """Servers whose data lives in `state_dir`; a context manager.

    A port of None is any free one. `environ` is searched for servers of the caller's own.
    """

    def __init__(  # noqa: PLR0913 - a port a server
        self,
        state_dir: Path,
        *,
        kafka_port: int | None = None,
        postgres_port: int | None = None,
        registry_port: int | None = None,
        registry: bool = False,
        environ: Mapping[str, str] = os.environ,
        on_progress: Progress = silent,
    ) -> None:
        given = {name: environ[name] for name in (KAFKA, DATABASE, REGISTRY) if environ.get(name)}
        self.given = given
        """The caller's own servers, by the name of their setting."""
        self._protocol = (environ.get(_PROTOCOL) or _PLAINTEXT).upper()
        self._registry = registry
        self._on_progress = on_progress
        self.kafka = (
            None if KAFKA in given else Kafka(state_dir, kafka_port, on_progress=on_progress)
        )
        self.postgres = (
            None
            if DATABASE in given
            else Postgres(state_dir, postgres_port, on_progress=on_progress)
        )
        self.registry = (
            None
            if REGISTRY in given or not registry
            else ApicurioRegistry(state_dir, registry_port, on_progress=on_progress)
        )

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that are started here."""
        ours = (self.kafka, self.postgres, self.registry)
        return tuple(server for server in ours if server is not None)

    @property
    def not_started(self) -> tuple[str, ...]:
        """A line for each server that is not started, because the environment names one."""
        asked = {KAFKA: "Kafka", DATABASE: "PostgreSQL"}
        if self._registry:
            asked[REGISTRY] = "the schema registry"
        return tuple(
            f"{kind} is not started here: {name} names one, which is used; unset it to start one"
            for name, kind in asked.items()
            if name in self.given
        )

    def start(self) -> None:
        """Start the servers at the same time, and report those that are not; return when all
        answer.

        Raises what the first of them raised, after the others have been stopped, and LocalError
        where the environment has the protocol of brokers that it does not name.
        """
        if self.kafka is not None and self._protocol != _PLAINTEXT:
            raise LocalError(
                f"{_PROTOCOL}={self._protocol} is of brokers of your own, and the one started here "
                f"speaks {_PLAINTEXT}; name yours in {KAFKA}, or unset {_PROTOCOL} and what goes "
                "with it"
            )
        for line in self.not_started:
            self._on_progress(line)
        starts: list[Callable[[], None]] = [server.start for server in self.servers]
        try:
            with ThreadPoolExecutor(max(1, len(starts))) as pool:
                for started in [pool.submit(start) for start in starts]:
                    started.result()
        except BaseException:  # also Ctrl-C: what was started is stopped
            self.stop()
            raise

    def keep_up(self, supervisor: Supervisor) -> None:
        """Have ``supervisor`` start each server again when it dies, on its port and its data."""
        for server in self.servers:
            supervisor.keep_up(server.name, server.restart)

    def stop(self) -> None:
        """Stop the servers; do nothing for those that do not run."""
        for server in reversed(self.servers):
            server.stop()

    def environment(self) -> dict[str, str]:
        """Return the addresses under the names that our processes read.

        SCHEMA_REGISTRY_URL is absent where there is no registry. Raises RuntimeError before start.
        """
        found = dict(self.given)
        if self.kafka is not None:
            found[KAFKA] = self.kafka.bootstrap_servers
        if self.postgres is not None:
            found[DATABASE] = self.postgres.url
        if self.registry is not None:
            found[REGISTRY] = self.registry.url
        return found

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
