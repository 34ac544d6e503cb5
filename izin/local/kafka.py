"""Apache Kafka on this machine: one node that is broker and KRaft controller, no Docker.

And Kafka Connect, whose workers write topics into databases. What it needs is
downloaded: Apache Kafka's worker, Debezium's JDBC sink connector with its drivers, and Apicurio's
converter of Avro records.
"""

import base64
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from izin.local.errors import StartError
from izin.local.java import (
    QUICK_START,
    FileSet,
    Progress,
    class_archive,
    fetch,
    fetch_unpacked,
    java_at_least,
    silent,
)
from izin.local.processes import Command
from izin.local.reservations import HOST, free_port, is_listening
from izin.local.server import Server

VERSION = "4.2.2"
JAVA = 17

BROKER = FileSet(
    name=f"kafka-{VERSION}",
    # The second one prints Kafka's log to standard error; without it a failure is silent.
    coordinates=(f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36"),
)
PROGRAM_OPTIONS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Djava.awt.headless=true",
)
"""Of each program of Kafka: its log, in the format of one line an event."""

_NODE = 1
_FORMAT_SECONDS = 60
SINK_VERSION = "3.6.0.Final"
CONVERTER_VERSION = "2.6.13.Final"

WORKER = FileSet(
    name=f"kafka-connect-{VERSION}",
    coordinates=(f"org.apache.kafka:connect-runtime:{VERSION}", "org.slf4j:slf4j-simple:1.7.36"),
)
SINK = FileSet(
    name=f"debezium-connector-jdbc-{SINK_VERSION}",
    coordinates=(f"io.debezium:debezium-connector-jdbc:{SINK_VERSION}:plugin:tar.gz:",),
    transitive=False,
)
CONVERTER = FileSet(
    name=f"apicurio-connect-converter-{CONVERTER_VERSION}",
    coordinates=(f"io.apicurio:apicurio-registry-utils-converter:{CONVERTER_VERSION}",),
)
_KAFKA = "/org/apache/kafka/"


class Kafka(Server):
    """A broker whose data lives in `state_dir/kafka`.

    `heap` is in Java's notation; `java_options=()` suits a long run at full speed.
    """

    name = f"Kafka {VERSION}"
    folder = "kafka"
    port_setting = "--port kafka=NUMBER"

    def __init__(
        self,
        state_dir: Path,
        port: int | None = None,
        *,
        heap: str = "512m",
        java_options: Sequence[str] = QUICK_START,
        on_progress: Progress = silent,
    ) -> None:
        super().__init__(state_dir, port, on_progress=on_progress)
        self._java: tuple[str, ...] = ()
        self._options = (f"-Xmx{heap}", *java_options, *PROGRAM_OPTIONS)

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:port`. Raises RuntimeError before the start."""
        return self.address

    def prepare(self) -> None:
        """Download the jars of broker and log, and make the archive of their classes."""
        jars = fetch(BROKER, on_progress=self._on_progress)
        java = java_at_least(JAVA)
        sharing = self._sharing(java)
        self._java = (str(java), *sharing, *self._options, "-cp", os.pathsep.join(map(str, jars)))

    def _sharing(self, java: Path) -> tuple[str, ...]:
        return class_archive(BROKER.name, java, _rehearse, on_progress=self._on_progress)

    def _command(self, port: int) -> Command:
        settings = self._folder / "server.properties"
        lines = (f"{name}={value}\n" for name, value in self._settings(port).items())
        settings.write_text("".join(lines))
        self._format(self._java, settings)
        return Command(
            name=self.name,
            argv=(*self._java, "kafka.Kafka", str(settings)),
            log=self.log,
            ready=self._answers,
            ready_within=timedelta(seconds=90),
            inherited=(self._lock.descriptor,),
        )

    def _settings(self, port: int) -> Mapping[str, object]:
        controller = f"{HOST}:{free_port()}"
        return {
            "process.roles": "broker,controller",
            "node.id": _NODE,
            "controller.quorum.voters": f"{_NODE}@{controller}",
            "listeners": f"CLIENT://{HOST}:{port},CONTROLLER://{controller}",
            "advertised.listeners": f"CLIENT://{HOST}:{port}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self._folder / "data",
            # One node holds every replica.
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            # Few partitions inside, so that the first group and transaction come up fast.
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            # A transaction left open holds back the opt-outs behind it for so long; Kafka's own
            # limit is 15 minutes.
            "transaction.max.timeout.ms": 15_000,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
            # After a kill -9 the controller waits this long before it considers the broker gone,
            # and the new start waits with it.
            "broker.session.timeout.ms": 4000,
            "broker.heartbeat.interval.ms": 1000,
        }

    def _format(self, java: tuple[str, ...], settings: Path) -> None:
        data, formatted = self._folder / "data", self._folder / "formatted"
        if formatted.exists():
            return
        # Without the marker a format was interrupted: start over.
        shutil.rmtree(data, ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        argv = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"]
        done = subprocess.run(  # noqa: S603 - runs what was resolved above
            [*argv, "--config", str(settings), *self._format_options()],
            capture_output=True,
            text=True,
            timeout=_FORMAT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise StartError(
                name=self.name,
                why=f"formatting {data} ended with exit code {done.returncode}",
                log=settings,
                log_tail=(done.stdout + done.stderr).strip(),
            )
        formatted.write_text(f"{cluster}\n")

    def _format_options(self) -> Sequence[str]:
        """Return more options of the format, such as users."""
        return ()

    def _client_options(self) -> Mapping[str, str]:
        """Return more of librdkafka's options, with which the broker may be used."""
        return {}

    def _answers(self) -> bool:
        if not is_listening(self.address):
            return False
        admin = AdminClient(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "log_level": 0,
                **self._client_options(),
            }
        )
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


class _Rehearsal(Kafka):
    """A broker that writes the archive of its classes when it ends."""

    def __init__(self, state_dir: Path, option: str) -> None:
        super().__init__(state_dir)
        self._option = option

    def _sharing(self, java: Path) -> tuple[str, ...]:  # noqa: ARG002 - there is none to share yet
        return ()

    def _command(self, port: int) -> Command:
        command = super()._command(port)
        java, *rest = command.argv
        return replace(command, argv=(java, self._option, *rest), stop_within=_ARCHIVED_WITHIN)

    def run(self) -> None:
        """Start and stop. Raises StartError where it had to be killed: its archive is
        incomplete.
        """
        with self:
            pass
        if self._child is not None and self._child.exit_code == -signal.SIGKILL:
            raise self._child.failure("it did not end by itself")


def _rehearse(option: str) -> None:
    with tempfile.TemporaryDirectory(prefix="izin-", ignore_cleanup_errors=True) as folder:
        _Rehearsal(Path(folder), option).run()


_ARCHIVED_WITHIN = timedelta(seconds=90)


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

    Raises DigestError, DownloadError, PackageMissingError or StateInUseError.
    """
    plugins = fetch_plugins(on_progress=on_progress)
    return fetch(WORKER, on_progress=on_progress), plugins


def fetch_plugins(*, on_progress: Progress = silent) -> dict[str, list[Path]]:
    """Return the jars of each plugin by its name, downloading what is missing.

    Raises DigestError, DownloadError, PackageMissingError or StateInUseError.
    """
    sink = fetch_unpacked(SINK, on_progress=on_progress)
    converter = fetch(CONVERTER, on_progress=on_progress)
    return {
        "jdbc-sink": sorted(sink.rglob("*.jar")),
        # Kafka's own classes are the worker's: a converter that brought others would not fit them.
        "avro-converter": [jar for jar in converter if _KAFKA not in jar.as_posix()],
    }
