"""Apache Kafka on this machine: one node, broker and KRaft controller in one, no Docker."""

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from izin.local.child import Child, Command
from izin.local.errors import StartFailed
from izin.local.folders import FolderLock
from izin.local.java import java_at_least
from izin.local.maven import FileSet, Progress, bring, silent
from izin.local.ports import HOST, claim, free_port, is_listening

VERSION = "4.3.1"
JAVA = 17

_JARS = FileSet(
    name=f"kafka-{VERSION}",
    # The second one prints Kafka's log to its standard error; without it a failure is mute.
    coordinates=(f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36"),
)
_NODE = 1
_FORMAT_SECONDS = 60
_PREDECESSOR_GONE_WITHIN = timedelta(seconds=15)


class Kafka:
    """A broker whose data lives in `state_dir/kafka`; a context manager.

    `port` None takes any free port, a new one a start. `heap` is Java's notation.
    """

    def __init__(
        self,
        state_dir: Path,
        port: int | None = None,
        *,
        heap: str = "512m",
        on_progress: Progress = silent,
    ) -> None:
        self._folder = state_dir.absolute() / "kafka"
        self._asked_port = port
        self._heap = heap
        self._on_progress = on_progress
        self._lock = FolderLock(self._folder, within=_PREDECESSOR_GONE_WITHIN)
        self._port: int | None = None
        self._child: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:port`. Raises RuntimeError before the start."""
        if self._port is None:
            raise RuntimeError("Kafka has not been started")
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id, None when it was never started."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Bring the jars if need be, format, start, and wait until the broker answers.

        Raises DownloadFailed, JavaMissing, PortTaken, StateInUse, StartFailed.
        """
        if self._child is not None and self._child.is_alive:
            return
        classpath = os.pathsep.join(map(str, bring(_JARS, on_progress=self._on_progress)))
        self._lock.acquire()
        try:
            self._port = claim(self._asked_port, name="Kafka", setting="--kafka-port")
            settings = self._folder / "server.properties"
            settings.write_text(_as_properties(self._settings(self._port)))
            java = (str(java_at_least(JAVA)), f"-Xmx{self._heap}", *_JAVA_OPTIONS, "-cp", classpath)
            self._format(java, settings)
            self._child = Child(
                Command(
                    name="Kafka",
                    argv=(*java, "kafka.Kafka", str(settings)),
                    log=self._folder / "kafka.log",
                    ready=self._answers,
                    ready_within=timedelta(seconds=90),
                    inherited=(self._lock.descriptor,),
                )
            )
            self._child.start()
            self._child.wait_ready()
        except BaseException:
            self.stop()
            raise
        self._on_progress(f"Kafka {VERSION} answers on {self.bootstrap_servers}")

    def stop(self) -> None:
        """Stop the broker; nothing happens when it does not run."""
        if self._child is not None:
            self._child.stop()
        self._lock.release()

    def kill(self) -> None:
        """End the broker with SIGKILL, as a crash would."""
        if self._child is not None:
            self._child.kill()
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

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
            # After a kill -9 the controller waits this long before it takes the broker for gone,
            # and the new start waits with it.
            "broker.session.timeout.ms": 4000,
            "broker.heartbeat.interval.ms": 1000,
        }

    def _format(self, java: tuple[str, ...], settings: Path) -> None:
        data, formatted = self._folder / "data", self._folder / "formatted"
        if formatted.exists():
            return
        # Without the mark a format was cut short: start over.
        shutil.rmtree(data, ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        argv = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"]
        done = subprocess.run(  # noqa: S603 - runs what was resolved above
            [*argv, "--config", str(settings)],
            capture_output=True,
            text=True,
            timeout=_FORMAT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise StartFailed(
                name="Kafka",
                why=f"formatting {data} ended with exit code {done.returncode}",
                log=settings,
                log_tail=(done.stdout + done.stderr).strip(),
            )
        formatted.write_text(f"{cluster}\n")

    def _answers(self) -> bool:
        if self._port is None or not is_listening(self._port):
            return False
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


_JAVA_OPTIONS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Djava.awt.headless=true",
)


def _as_properties(settings: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())
