"""The local stack on one machine: real servers, the simulator of İYS, and our processes.

``izin up`` keeps it running and ``izin demo`` runs on it. It starts empty each time, because the
simulator stores nothing: servers of the caller's own, named in the environment, get a fresh topic
prefix and a fresh database. İYS's delays are shortened on both sides.
"""

import asyncio
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import TypeAdapter

from izin.console.brands.command import upsert
from izin.console.local_stack import simulator
from izin.console.local_stack.settings import Delays, ExampleBrand, Ports, StackCredentials
from izin.console.local_stack.state_folder import StateFolder
from izin.console.terminal.output import CRITICAL_ONLY
from izin.local import Command, LocalServers, Supervisor, create_database
from izin.local.child import answers
from izin.local.ports import HOST, claim
from izin.runtime import topic_admin
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.sinks.ledger.db.migrate import migrate

Part = Literal["intake", "intake_operations", "sink", "sink_operations", "order", "simulator"]


_ISO = TypeAdapter(timedelta)


class LocalStack:
    """Servers and processes of one run, under ``state_dir``; a context manager."""

    def __init__(
        self,
        state_dir: Path,
        *,
        brands: Sequence[ExampleBrand],
        ports: Ports | None = None,
        delays: Delays | None = None,
        partitions: int = 12,
        registry: bool = False,
        environ: Mapping[str, str] = os.environ,
        on_progress: Callable[[str], None],
    ) -> None:
        self._folder = StateFolder(state_dir)
        self._brands = tuple(brands)
        self._ports = ports or Ports()
        self.delays = delays or Delays()
        self._partitions = partitions
        self._environ = environ
        self._report = on_progress
        self._credentials = StackCredentials()
        self._servers = LocalServers(
            self._folder.path,
            kafka_port=self._ports.kafka,
            postgres_port=self._ports.postgres,
            registry_port=self._ports.registry,
            registry=registry,
            environ=environ,
            on_progress=on_progress,
        )
        self.supervisor = Supervisor(on_event=on_progress)
        self._environment: dict[str, str] = {}

    def url(self, part: Part) -> str:
        """Return the root of the URLs of one of our processes, without a slash at its end."""
        return f"http://{HOST}:{getattr(self._ports, part)}"

    @property
    def intake_token(self) -> str:
        """The bearer token that the intake accepts."""
        return self._credentials.intake_token

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of our processes."""
        return self._environment

    @property
    def logs(self) -> Path:
        """The folder of every process's log."""
        return self._folder.path / "logs"

    @property
    def environment_file(self) -> Path:
        """The settings as lines for a shell; only the owner may read the file."""
        return self._folder.path / "environment"

    @property
    def is_up(self) -> bool:
        """Whether each process of ours answers now."""
        parts: tuple[Part, ...] = ("order", "sink", "intake")
        return all(answers(f"{self.url(part)}/health/ready") for part in parts)

    def check(self) -> None:
        """Raise LocalError if a server of this stack has ended."""
        self._servers.check()

    def start(self) -> None:
        """Start everything; return when each part answers. Raises LocalError, after stopping."""
        try:
            self._start()
        except BaseException:  # also Ctrl-C: what was started is stopped
            self.stop()
            raise

    def _start(self) -> None:
        simulator.check_installed()
        self._claim_ports()
        self._folder.claim(self._report)
        self._report("starting Kafka and PostgreSQL")
        self._servers.start()
        self._environment = self._settings()
        self._write_environment()
        self._report("creating the ledger and the topics")
        asyncio.run(migrate(self._environment["DATABASE_URL"]))
        topic_admin.ensure_topics(self.kafka_settings)
        ledger = LedgerSettings.model_validate({"DATABASE_URL": self._environment["DATABASE_URL"]})
        now = datetime.now(UTC)
        brands = [one.in_ledger(now) for one in self._brands]
        asyncio.run(upsert(self.kafka_settings, ledger, brands))
        self._start_simulator()
        self._start_workers()

    def stop(self) -> None:
        """Stop every process of this stack, ours first."""
        if any(server.is_alive for server in self._servers.servers):
            self._report("stopping every process")
        self.supervisor.stop()
        self._servers.stop()
        self._folder.release()

    @property
    def kafka_settings(self) -> KafkaSettings:
        """The Kafka settings of this stack."""
        return KafkaSettings(
            bootstrap_servers=self._environment["KAFKA_BOOTSTRAP_SERVERS"],
            registry_url=self._environment.get("SCHEMA_REGISTRY_URL"),
            topic_prefix=self._environment["IZIN_TOPIC_PREFIX"],
            partitions=self._partitions,
            client_log_level=CRITICAL_ONLY,
        )

    def _claim_ports(self) -> None:
        given = self._ports
        self._ports = replace(
            given,
            intake=claim(given.intake, name="intake", setting="--intake-port"),
            intake_operations=claim(
                given.intake_operations,
                name="intake's operations listener",
                setting="--intake-operations-port",
            ),
            sink=claim(given.sink, name="sink", setting="--sink-port"),
            sink_operations=claim(
                given.sink_operations,
                name="sink's operations listener",
                setting="--sink-operations-port",
            ),
            order=claim(given.order, name="order worker", setting="--order-port"),
            simulator=claim(given.simulator, name="simulator", setting="--simulator-port"),
        )

    def _settings(self) -> dict[str, str]:
        """Return the settings of our processes; on the caller's servers, under a fresh name."""
        servers = self._servers.environment()
        run = secrets.token_hex(3)
        if self._servers.postgres is None:
            servers["DATABASE_URL"] = create_database(servers["DATABASE_URL"], f"izin_{run}")
        return {
            **servers,
            "IZIN_TOPIC_PREFIX": "" if self._servers.kafka else f"run-{run}-",
            "IZIN_PARTITIONS": str(self._partitions),
            "IZIN_SINK_PORT": str(self._ports.sink),
            "IZIN_SINK_OPERATIONS_PORT": str(self._ports.sink_operations),
            "IZIN_INTAKE_PORT": str(self._ports.intake),
            "IZIN_INTAKE_OPERATIONS_PORT": str(self._ports.intake_operations),
            "IZIN_STREAM_PORT": str(self._ports.order),
            "IZIN_INSTANCE_ID": "order-1",
            "IZIN_INTAKE_TOKENS": f'["{self.intake_token}"]',
            "IYS_BASE_URL": self.url("simulator"),
            "IYS_USERNAME": self._credentials.username,
            "IYS_PASSWORD": self._credentials.password,
            "IYS_RESULT_DELAY": _iso(self.delays.result),
            "IYS_HIDDEN_WINDOW": _iso(self.delays.hidden),
            "IZIN_PULL_INTERVAL": _iso(self.delays.pull),
            "IZIN_PUSH_URL": f"{self.url('sink')}/iys/push",
            "IZIN_PUSH_USERNAME": "iys",
            "IZIN_PUSH_PASSWORD": self._credentials.push_password,
            "IZIN_PUSH_BRANDS": str([one.brand_code for one in self._brands if one.push]),
        }

    def _write_environment(self) -> None:
        self.environment_file.touch(mode=0o600)
        lines = (f"{name}={shlex.quote(value)}" for name, value in self._environment.items())
        self.environment_file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _start_simulator(self) -> None:
        self._report("starting the simulator of İYS")
        command = self._command(
            "simulator",
            simulator.SIMULATOR,
            "serve",
            ready=f"{self.url('simulator')}/__simulator__/health",
            extra={
                "IYS_SIMULATOR_PORT": str(self._ports.simulator),
                "IYS_SIMULATOR_RESULT_DELAY": str(self.delays.result.total_seconds()),
                "IYS_SIMULATOR_HIDDEN_WINDOW": str(self.delays.hidden.total_seconds()),
                "IYS_SIMULATOR_ALLOW_HTTP_PUSH": "true",
            },
        )
        self.supervisor.start(command)
        simulator.register(self.url("simulator"), self._brands, self._credentials)

    def _start_workers(self) -> None:
        self._report("starting the order worker, the sink worker and the intake")
        workers: tuple[tuple[str, str, Part], ...] = (
            ("order worker", "izin.streams", "order"),
            ("sink worker", "izin.sinks", "sink"),
            ("intake", "izin.producers", "intake"),
        )
        self.supervisor.start_together(
            *(
                self._command(name, module, ready=f"{self.url(part)}/health/ready")
                for name, module, part in workers
            ),
            keep_up=True,
        )

    def _command(
        self, name: str, *module: str, ready: str, extra: Mapping[str, str] | None = None
    ) -> Command:
        return Command(
            name=name,
            argv=(sys.executable, "-m", *module),
            log=self.logs / f"{name.replace(' ', '-')}.log",
            environment={**self._environ, **self._environment, **(extra or {})},
            ready=ready,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _iso(duration: timedelta) -> str:
    text: str = _ISO.dump_python(duration, mode="json")
    return text
