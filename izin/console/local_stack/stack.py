"""The whole house on one machine: real servers, İYS's twin, and our processes, kept up.

What ``izin up`` keeps running and what ``izin demo`` plays in. It begins empty each time, for the
twin remembers nothing: who has servers of their own names them in the environment, and gets a fresh
topic prefix and a fresh database there. İYS's own delays are shortened on both sides, and said so.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import shutil
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import TypeAdapter

from izin.consent.clocks import TURKEY
from izin.console.brands.command import upsert
from izin.local import Command, LocalError, LocalServers, Supervisor, create_database
from izin.local.child import answers
from izin.local.folders import FolderLock
from izin.local.ports import HOST, claim
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.sinks.ledger.brands import Brand
from izin.sinks.ledger.db.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

__all__ = (
    "ACTIVE",
    "LOADING",
    "Delays",
    "Household",
    "Ports",
    "SimulatedBrand",
    "brands_of_the_house",
)

ACTIVE = 100001
LOADING = 100002

_ISO = TypeAdapter(timedelta)
_LOADING_TIME = timedelta(days=30)
_MARK = ".izin-house"
"""Only in a folder that bears this file is anything ever removed."""
_LOCK = "lock"
_LEFT_BEHIND = ("kafka", "postgres", "registry", "logs", "environment")
"""What a run leaves in its folder, and the next one removes."""
_AT_ONCE = timedelta()
_PREDECESSOR_GONE_WITHIN = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where each part listens on 127.0.0.1; None: any free port."""

    kafka: int | None = None
    postgres: int | None = None
    registry: int | None = None
    intake: int | None = None
    sink: int | None = None
    stream: int | None = None
    simulator: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """İYS's own delays, as the twin keeps them and our sink respects them."""

    result: timedelta = timedelta(seconds=2)
    hidden: timedelta = timedelta(seconds=2)
    pull: timedelta = timedelta(seconds=1)
    """How often we pull (ours, not İYS's)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedBrand:
    """A brand of the house, as the twin and the ledger must both know it."""

    brand_code: int
    iys_code: int
    name: str
    activated_at: datetime | None
    """None: in first loading, which then has thirty days left."""
    push: bool
    """Whether İYS pushes what its citizens do; else we hear it by pull."""


def example_brands() -> tuple[SimulatedBrand, ...]:
    """Return two brands: one long active that pushes, one in first loading that must be pulled."""
    return (
        SimulatedBrand(
            brand_code=ACTIVE,
            iys_code=ACTIVE,
            name="Örnek Aktif",
            activated_at=datetime(2020, 1, 1, tzinfo=UTC),
            push=True,
        ),
        SimulatedBrand(
            brand_code=LOADING, iys_code=ACTIVE, name="Örnek Yükleme", activated_at=None, push=False
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secrets:
    """Made for one run, known to its processes only."""

    username: str = "izin-local"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    push_password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    intake_token: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)


class LocalStack:
    """Servers and processes of one run, under ``state_dir``; a context manager."""

    def __init__(
        self,
        state_dir: Path,
        *,
        brands: Sequence[SimulatedBrand],
        ports: Ports | None = None,
        delays: Delays | None = None,
        partitions: int = 12,
        registry: bool = False,
        environ: Mapping[str, str] = os.environ,
        on_progress: Callable[[str], None],
    ) -> None:
        self._state_dir = state_dir.resolve()
        self._lock = FolderLock(self._state_dir, within=_AT_ONCE)
        self._brands = tuple(brands)
        self._ports = ports or Ports()
        self.delays = delays or Delays()
        self._partitions = partitions
        self._environ = environ
        self._tell = on_progress
        self._secrets = _Secrets()
        self._house = LocalServers(
            self._state_dir,
            kafka_port=self._ports.kafka,
            postgres_port=self._ports.postgres,
            registry_port=self._ports.registry,
            registry=registry,
            environ=environ,
            on_progress=on_progress,
        )
        self.supervisor = Supervisor(on_event=on_progress)
        self._environment: dict[str, str] = {}
        self.simulator_url = ""
        self.intake_url = ""
        self.sink_url = ""
        self.stream_url = ""

    @property
    def intake_token(self) -> str:
        """The bearer token that the intake accepts."""
        return self._secrets.intake_token

    @property
    def environment(self) -> Mapping[str, str]:
        """What our processes of this house find in their environment."""
        return self._environment

    @property
    def logs(self) -> Path:
        """Where every process writes its log."""
        return self._state_dir / "logs"

    @property
    def environment_file(self) -> Path:
        """The same as lines for a shell; only its owner may read it."""
        return self._state_dir / "environment"

    @property
    def is_up(self) -> bool:
        """Whether each process of ours answers now."""
        return all(
            answers(f"{url}/health") for url in (self.stream_url, self.sink_url, self.intake_url)
        )

    def check(self) -> None:
        """Raise LocalError if a server of this house has ended."""
        for server in self._house.servers:
            if not server.is_alive:
                raise LocalError(f"{server.name} has ended; its log is {server.log}")

    def start(self) -> None:
        """Start everything; returns when each part answers. Raises LocalError, after stopping."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._claim_ports()
        self._begin_empty()
        self._tell("starting Kafka and PostgreSQL")
        self._house.start()
        self._environment = self._described()
        self._write_environment()
        self._tell("laying out the ledger and the topics")
        asyncio.run(migrate(self._environment["DATABASE_URL"]))
        kafka.ensure_topics(self.kafka_settings)
        asyncio.run(upsert(self.kafka_settings, self._ledger_settings, self._ledger_brands()))
        self._start_simulator()
        self._start_ours()

    def stop(self) -> None:
        """Stop every process this house started, ours first."""
        if any(server.is_alive for server in self._house.servers):
            self._tell("stopping every process of the house")
        self.supervisor.stop()
        self._house.stop()
        self._lock.release()

    @property
    def kafka_settings(self) -> KafkaSettings:
        """The Kafka settings of this house."""
        return KafkaSettings(
            bootstrap_servers=self._environment["KAFKA_BOOTSTRAP_SERVERS"],
            registry_url=self._environment.get("SCHEMA_REGISTRY_URL"),
            topic_prefix=self._environment["IZIN_TOPIC_PREFIX"],
            partitions=self._partitions,
        )

    @property
    def _ledger_settings(self) -> LedgerSettings:
        return LedgerSettings.model_validate({"DATABASE_URL": self._environment["DATABASE_URL"]})

    def _ledger_brands(self) -> list[Brand]:
        now = datetime.now(UTC)
        return [
            Brand(
                brand_code=one.brand_code,
                iys_code=one.iys_code,
                customer_id="ornek",
                name=one.name,
                activated_at=one.activated_at,
                loading_deadline=None if one.activated_at else now + _LOADING_TIME,
            )
            for one in self._brands
        ]

    def _claim_ports(self) -> None:
        given = self._ports
        self._ports = replace(
            given,
            intake=claim(given.intake, name="intake", setting="--intake-port"),
            sink=claim(given.sink, name="sink", setting="--sink-port"),
            stream=claim(given.stream, name="order worker", setting="--stream-port"),
            simulator=claim(given.simulator, name="simulator", setting="--simulator-port"),
        )
        self.simulator_url = f"http://{HOST}:{self._ports.simulator}"
        self.intake_url = f"http://{HOST}:{self._ports.intake}"
        self.sink_url = f"http://{HOST}:{self._ports.sink}"
        self.stream_url = f"http://{HOST}:{self._ports.stream}"

    def _begin_empty(self) -> None:
        """Hold the folder and remove what an earlier run left there, and nothing else."""
        folder, mark = self._state_dir, self._state_dir / _MARK
        if folder.exists() and not mark.exists() and any(folder.iterdir()):
            raise LocalError(
                f"{folder} holds what izin did not put there, and a run begins in an empty folder; "
                "name another, which need not exist, with --state-dir"
            )
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
        self._lock.acquire()
        left_behind = [folder / name for name in _LEFT_BEHIND if (folder / name).exists()]
        if left_behind:
            self._tell(f"removing the ledger, topics and logs of the run before, in {folder}")
        for left in left_behind:
            if (left / _LOCK).exists():
                # After a kill -9 a server of that run may still be on its way out.
                with FolderLock(left, within=_PREDECESSOR_GONE_WITHIN):
                    pass
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)

    def _described(self) -> dict[str, str]:
        """Return the environment of our processes; on servers of the caller's, under a fresh
        name.
        """
        servers = self._house.environment()
        run = secrets.token_hex(3)
        ours = {
            **servers,
            "IZIN_TOPIC_PREFIX": "" if self._house.kafka else f"run-{run}-",
            "IZIN_PARTITIONS": str(self._partitions),
            "IZIN_SINK_PORT": str(self._ports.sink),
            "IZIN_INTAKE_PORT": str(self._ports.intake),
            "IZIN_STREAM_PORT": str(self._ports.stream),
            "IZIN_INSTANCE_ID": "order-1",
            "IZIN_INTAKE_TOKENS": f'["{self._secrets.intake_token}"]',
            "IYS_BASE_URL": self.simulator_url,
            "IYS_USERNAME": self._secrets.username,
            "IYS_PASSWORD": self._secrets.password,
            "IYS_RESULT_DELAY": _iso(self.delays.result),
            "IYS_HIDDEN_WINDOW": _iso(self.delays.hidden),
            "IZIN_PULL_INTERVAL": _iso(self.delays.pull),
            "IZIN_PUSH_URL": f"{self.sink_url}/iys/push",
            "IZIN_PUSH_USERNAME": "iys",
            "IZIN_PUSH_PASSWORD": self._secrets.push_password,
            "IZIN_PUSH_BRANDS": str([one.brand_code for one in self._brands if one.push]),
        }
        if self._house.postgres is None:
            ours["DATABASE_URL"] = create_database(servers["DATABASE_URL"], f"izin_{run}")
        return ours

    def _write_environment(self) -> None:
        self.environment_file.touch(mode=0o600)
        lines = (f"{name}={shlex.quote(value)}" for name, value in self._environment.items())
        self.environment_file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _start_simulator(self) -> None:
        self._tell("starting İYS's twin")
        twin = self._command(
            "simulator",
            "izin.simulator",
            ready=f"{self.simulator_url}/__simulator__/health",
            extra={
                "IYS_SIMULATOR_PORT": str(self._ports.simulator),
                "IYS_SIMULATOR_RESULT_DELAY": str(self.delays.result.total_seconds()),
                "IYS_SIMULATOR_HIDDEN_WINDOW": str(self.delays.hidden.total_seconds()),
                "IYS_SIMULATOR_ALLOW_HTTP_PUSH": "true",
            },
        )
        self.supervisor.start(twin)
        with httpx.Client(base_url=f"{self.simulator_url}/__simulator__", trust_env=False) as admin:
            for iys_code in sorted({one.iys_code for one in self._brands}):
                account = {
                    "username": self._secrets.username,
                    "password": self._secrets.password,
                    "iysCode": iys_code,
                }
                admin.post("/accounts", json=account).raise_for_status()
            for brand in self._brands:
                told = {
                    "brandCode": brand.brand_code,
                    "iysCode": brand.iys_code,
                    "name": brand.name,
                    "activatedAt": brand.activated_at
                    and brand.activated_at.astimezone(TURKEY).strftime("%Y-%m-%d %H:%M:%S"),
                }
                admin.post("/brands", json=told).raise_for_status()

    def _start_ours(self) -> None:
        self._tell("starting the order worker, the sink worker and the intake")
        ours = (
            ("order worker", "izin.streams", self.stream_url),
            ("sink worker", "izin.sinks", self.sink_url),
            ("intake", "izin.producers", self.intake_url),
        )
        self.supervisor.start_together(
            *(self._command(name, module, ready=f"{url}/health") for name, module, url in ours),
            keep_up=True,
        )

    def _command(
        self, name: str, module: str, *, ready: str, extra: Mapping[str, str] | None = None
    ) -> Command:
        return Command(
            name=name,
            argv=(sys.executable, "-m", module),
            log=self.logs / f"{name.replace(' ', '-')}.log",
            environment={**self._environ, **self._environment, **(extra or {})},
            ready=ready,
        )

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


def _iso(duration: timedelta) -> str:
    text: str = _ISO.dump_python(duration, mode="json")
    return text
