"""The local stack on one machine: real servers, the simulator of İYS, and our processes.

``izin up`` keeps it running and ``izin demo`` runs on it. What has died is started again, and data,
ports and credentials are kept from run to run, those of the simulator too. On servers of the
caller's own, named in the environment, a stack has a topic prefix and a database of its own. İYS's
delays are shortened on both sides.
"""

import asyncio
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn, Self

import httpx
from pydantic import TypeAdapter

from izin.consent import SYNTHETIC_CUSTOMER, TURKEY
from izin.kafka import clients
from izin.kafka.clients import codec
from izin.ledger import brands as registry
from izin.ledger.console import accounts
from izin.ledger.console.accounts import AccountRole
from izin.ledger.console.sessions import make_link
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import Brand, MigrationError, TopicMessages
from izin.ledger.registry import api_keys, customers
from izin.local import Command, LocalError, LocalServers, Supervisor, ensure_database
from izin.local.processes import answers
from izin.local.reservations import HOST, claim
from izin.local.servers import DATABASE, KAFKA, REGISTRY
from izin.runtime.setting_rules.group import without_secret_files
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.api_keys import ApiKey, Scope, presented
from izin.stack.stack_settings import (
    CUSTOMER,
    PORTS,
    UPLOADS,
    Delays,
    RunRecord,
    StackCredentials,
    StateFolder,
    port_settings,
)

_BY = "izin up"
_SERVERS = ("kafka", "postgres", "registry")
_CRITICAL_ONLY = 2
"""What librdkafka may log to a person's terminal."""
_KEY = "local"
_ACCOUNT = "local"
"""Of the console; a link signs in with it."""
SIMULATOR = "iys_simulator"
"""The import package of the simulator: a distribution of its own (``simulator/`` in the repository)
that is started as a process and configured through its admin API, never imported."""
_ISO = TypeAdapter(timedelta)
_OF_ALL = (
    *("IZIN_EXTRA_CLOSED_DAYS", "IZIN_SCHEMA_FOLDER"),
    *("IZIN_INTAKE_SOURCES", "IZIN_INTAKE_FORMS"),
)
"""What commands need as the workers have it: they count terms, read records and try mappings."""


WORKERS = (
    ("order worker", "izin.streams", "order"),
    ("sink worker", "izin.sinks", "sink"),
    ("intake", "izin.producers", "intake"),
    ("feeds", "izin.feeds", "feeds"),
    ("gate", "izin.gate", "gate"),
    ("webhooks", "izin.webhooks", "webhooks"),
    ("api", "izin.api", "api"),
    ("console", "izin.web", "console"),
)
"""Our processes: the name of each, its package, and the part whose port it has."""


def check_installed(package: str = SIMULATOR) -> None:
    """Raise LocalError with the remedy where the simulator is not installed."""
    if find_spec(package) is None:
        raise LocalError(
            "the İYS simulator is not installed; run `make setup`, or `pip install ./simulator`, "
            "in a checkout of izin"
        )


def _register_at_simulator(
    url: str, brands: Sequence[Brand], credentials: StackCredentials
) -> None:
    """Register ``brands``, and an account for each of their providers, at the simulator.

    One that has them from an earlier run is left alone: a person may have changed them.
    """
    with httpx.Client(base_url=f"{url}/__simulator__", trust_env=False) as admin:
        if admin.get("/health").raise_for_status().json()["brands"] >= len(brands):
            return
        for iys_code in sorted({one.iys_code for one in brands}):
            account = {
                "username": credentials.username,
                "password": credentials.password,
                "iysCode": iys_code,
            }
            admin.post("/accounts", json=account).raise_for_status()
        for brand in brands:
            document = {
                "brandCode": brand.brand_code,
                "iysCode": brand.iys_code,
                "name": brand.name,
                "activatedAt": brand.activated_at
                and brand.activated_at.astimezone(TURKEY).strftime("%Y-%m-%d %H:%M:%S"),
            }
            admin.post("/brands", json=document).raise_for_status()


class LocalStack:
    """Servers and processes of one run, under ``state_dir``; a context manager."""

    def __init__(  # noqa: PLR0913 - what may differ between the stacks of tests and people
        self,
        state_dir: Path,
        *,
        brands: Sequence[Brand],
        ports: Mapping[str, int] = MappingProxyType({}),
        delays: Delays | None = None,
        partitions: int = 12,
        registry: bool = False,
        fresh: bool = False,
        servers_only: bool = False,
        environ: Mapping[str, str] = os.environ,
        settings: Mapping[str, str] = MappingProxyType({}),
        on_progress: Callable[[str], None],
    ) -> None:
        self._folder = StateFolder(state_dir)
        self.logs = self._folder.path / "logs"
        """The folder of every process's log."""
        self.environment_file = self._folder.path / "environment"
        """The settings as lines for a shell; only the owner may read the file."""
        self._fresh = fresh
        self._servers_only = servers_only
        self._record = (None if fresh else self._folder.record()) or RunRecord()
        self._brands = tuple(brands)
        self._ports = self._record.ports_for(ports)
        self.delays = delays or Delays()
        self._partitions = partitions
        self._environ = environ = self._of_the_caller(without_secret_files(environ))
        self._report = on_progress
        self._credentials = self._record.credentials
        self.api_key = self._credentials.api_key
        """The API key of the intake, the feeds, the gate and the API."""
        self._servers = LocalServers(
            self._folder.path,
            kafka_port=self._ports["kafka"],
            postgres_port=self._ports["postgres"],
            registry_port=self._ports["registry"],
            registry=registry,
            environ=environ,
            on_progress=on_progress,
        )
        self.supervisor = Supervisor(on_event=on_progress)
        # Of its own: a server may take longer to start than a worker may be down.
        self._server_supervisor = Supervisor(on_event=on_progress)
        self._given = settings
        self.environment: Mapping[str, str] = {}
        """The settings of our processes."""

    def _of_the_caller(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return ``environ`` without what a shell has from our own environment file, but with the
        caller's servers as they were named to the last run.
        """
        kept = self._folder.record()
        if kept is None or not self.environment_file.exists():
            return dict(environ)
        lines = shlex.split(self.environment_file.read_text("utf-8"))
        ours = {name: value for name, _, value in (line.partition("=") for line in lines)}
        if str(kept.ports.get("registry")) not in ours.get(REGISTRY, ""):
            ours.pop(REGISTRY, None)
        loaded = {name for name, value in ours.items() if environ.get(name) == value} - {*_OF_ALL}
        given = {name: value for name, value in kept.given.items() if name in loaded}
        return {name: value for name, value in environ.items() if name not in loaded} | given

    def url(self, part: str) -> str:
        """Return the root of the URLs of one of our processes, without a slash at its end."""
        return f"http://{HOST}:{self._ports[part]}"

    def operations_port(self, part: str) -> int:
        """Return the port at which one of our processes shows its health and metrics."""
        return self._ports.get(f"{part}-operations", self._ports[part])

    @property
    def is_up(self) -> bool:
        """Whether each process of ours answers now."""
        return all(answers(f"{self.url(part)}/health/ready") for _, _, part in WORKERS)

    def wait(self) -> NoReturn:
        """Wait until a server died too often in a row to be started again.

        Raises:
            LocalError: Then.
        """
        self._server_supervisor.gave_up.wait()
        raise LocalError(f"a server stays down; what was stored is kept in {self._folder.path}")

    def start(self) -> None:
        """Start everything; return when each part answers. Raises LocalError, after stopping."""
        try:
            self._start()
        except BaseException:  # also Ctrl-C: what was started is stopped
            self.stop()
            raise

    def _start(self) -> None:
        check_installed()
        self._check_ports()
        self._claim_folder()
        self._report("starting the servers")
        self._servers.start()
        self._servers.keep_up(self._server_supervisor)
        self._link_logs()
        self.environment = self._settings()
        self._write_environment()
        self._report("creating the ledger and the topics")
        self._migrate()
        clients.ensure_topics(self.kafka_settings)
        asyncio.run(self._register())
        if not self._servers_only:
            self._start_simulator()
            self._start_workers()
        self._folder.succeeded()

    def _link_logs(self) -> None:
        """Have the logs of the servers stand beside ours, too."""
        self.logs.mkdir(exist_ok=True)
        for name in _SERVERS:
            log, link = self._folder.path / name / f"{name}.log", self.logs / f"{name}.log"
            if log.exists() and not link.is_symlink():
                link.symlink_to(Path("..", name, log.name))

    def _migrate(self) -> None:
        try:
            asyncio.run(migrate(self.environment["DATABASE_URL"]))
        except MigrationError as error:
            raise LocalError(
                f"the ledger in {self._folder.path}: {error}; if another version of izin made it, "
                "run that one on it, or name another folder with --state-dir"
            ) from error

    async def _register(self) -> None:
        """Register what is not registered; an operator may have changed what is.

        Raises:
            LocalError: the API key of the record has not the form of one.
        """
        kafka, now = self.kafka_settings, datetime.now(UTC)
        messages = TopicMessages(codec(kafka), kafka.topics)
        url = {"DATABASE_URL": self.environment["DATABASE_URL"]}
        settings, owner = LedgerSettings.model_validate(url), secrets.randbelow(2**31 - 1) + 1
        async with Ledger(settings, owner=owner) as ledger:
            known = {customer.customer_id for customer in await customers.every(ledger)}
            names = {CUSTOMER: "Acme", SYNTHETIC_CUSTOMER: "Synthetic opt-outs"}
            for customer_id in sorted(names.keys() - known):
                await customers.add(ledger, customer_id, names[customer_id], by=_BY, now=now)
            registered = {one.brand_code for one in await registry.every(ledger)}
            for brand in self._brands:
                if brand.brand_code not in registered:
                    await registry.upsert(ledger, messages, brand, by=_BY, now=now)
            if _ACCOUNT not in {one.name for one in await accounts.every(ledger)}:
                await accounts.save(ledger, _ACCOUNT, AccountRole.ADMIN, None, by=_BY, now=now)
            every = {one.id for one in await api_keys.every(ledger)}
            for key in self._keys(now):
                if key.id not in every:
                    await api_keys.create(ledger, messages, key, by=_BY, now=now)

    def _keys(self, now: datetime) -> Iterator[ApiKey]:
        """Yield the API keys of this stack; raises LocalError where the record has none."""
        scopes = (Scope.PUBLISH, Scope.SUBSCRIBE)
        for name, text, customer, more in (
            (_KEY, self.api_key, CUSTOMER, (Scope.ASK,)),
            ("synthetic", self._credentials.synthetic_key, SYNTHETIC_CUSTOMER, ()),
        ):
            given = presented(text)
            if given is None:
                raise LocalError(
                    "the record of this stack has no API key; name another folder with --state-dir"
                )
            yield ApiKey(
                id=given.id,
                name=name,
                secret_hash=given.secret_hash,
                scopes=frozenset(scope.value for scope in (*scopes, *more)),
                customers=frozenset({customer}),
                created_at=now,
            )

    def sign_in_link(self) -> str:
        """Return a link by which the console's account of this stack signs in once."""

        async def made() -> str:
            url = {"DATABASE_URL": self.environment["DATABASE_URL"]}
            owner = secrets.randbelow(2**31 - 1) + 1
            async with Ledger(LedgerSettings.model_validate(url), owner=owner) as ledger:
                return await make_link(ledger, _ACCOUNT, by=_BY, now=datetime.now(UTC))

        return f"{self.url('console')}/sign-in/link/{asyncio.run(made())}"

    def stop(self) -> None:
        """Stop every process of this stack, ours first."""
        if any(server.is_alive for server in self._servers.servers):
            self._report("stopping every process")
        self.supervisor.stop()
        self._server_supervisor.stop()
        self._servers.stop()
        self._folder.release()

    @property
    def kafka_settings(self) -> KafkaSettings:
        """The Kafka settings of this stack."""
        return KafkaSettings(
            bootstrap_servers=self.environment["KAFKA_BOOTSTRAP_SERVERS"],
            registry_url=self.environment.get("SCHEMA_REGISTRY_URL"),
            topic_prefix=self.environment["IZIN_TOPIC_PREFIX"],
            partitions=self._partitions,
            client_log_level=_CRITICAL_ONLY,
        )

    def _check_ports(self) -> None:
        """Raise PortTakenError where a process of ours could not listen."""
        for part in {*PORTS} - {*_SERVERS}:
            setting = f"--port {part}=NUMBER"
            claim(self._ports[part], name=part.replace("-", " "), setting=setting)

    def _claim_folder(self) -> None:
        given = {name: value for name, value in self._servers.given.items() if name != REGISTRY}
        kept = self._folder.record()
        if kept is not None and self._fresh and kept.given:
            self._report(
                f"your own servers ({', '.join(kept.given)}) keep what this stack stored there: "
                f"database izin_{kept.name}, topics run-{kept.name}-…"
            )
        elif kept is not None and not self._fresh and kept.given != given:
            raise LocalError(
                f"{self._folder.path} was made with other servers in the environment "
                f"({', '.join(kept.given) or 'none'}, now {', '.join(given) or 'none'}); set or "
                f"unset {KAFKA} and {DATABASE} as they were, or name another folder with "
                "--state-dir"
            )
        self._record = replace(self._record, given=given, ports=self._ports)
        self._folder.claim(self._record, self._report, fresh=self._fresh)

    def _settings(self) -> dict[str, str]:
        """Return the settings of our processes; on the caller's servers, under our own name."""
        servers = self._servers.environment()
        run = self._record.name
        if self._servers.postgres is None:
            servers[DATABASE] = ensure_database(servers[DATABASE], f"izin_{run}")
        return {
            **servers,
            "IZIN_TOPIC_PREFIX": "" if self._servers.kafka else f"run-{run}-",
            "IZIN_PARTITIONS": str(self._partitions),
            **port_settings(self._ports),
            "IZIN_WEBHOOK_ALLOWED": '["127.0.0.0/8", "::1/128"]',
            "IZIN_CONSOLE_URL": self.url("console"),
            "IZIN_CONSOLE_UPLOADS": str(self._folder.path / UPLOADS),
            "IZIN_INSTANCE_ID": "order-1",
            "IZIN_SUPPRESSION_SECRETS": f'["{self._credentials.suppression_secret}"]',
            "IZIN_SECRET_KEYS": f'["{self._credentials.secret_key}"]',
            "IZIN_SYNTHETIC_KEY": self._credentials.synthetic_key,
            "IZIN_SYNTHETIC_INTAKE": self.url("intake"),
            "IZIN_SYNTHETIC_FEEDS": self.url("feeds"),
            "IYS_BASE_URL": self.url("simulator"),
            "IYS_USERNAME": self._credentials.username,
            "IYS_PASSWORD": self._credentials.password,
            "IYS_RESULT_DELAY": _iso(self.delays.result),
            "IYS_HIDDEN_WINDOW": _iso(self.delays.hidden),
            "IZIN_PULL_INTERVAL": _iso(self.delays.pull),
            "IZIN_PULL_REQUESTS_PER_SECOND": "5",
            "IZIN_PUSH_URL": f"{self.url('sink')}/iys/push",
            "IZIN_PUSH_USERNAME": "iys",
            "IZIN_PUSH_PASSWORD": self._credentials.push_password,
            "IZIN_PUSH_BRANDS": str(
                [brand.brand_code for brand in self._brands if brand.activated_at]
            ),
            **self._given,
        }

    def _write_environment(self) -> None:
        self.environment_file.touch(mode=0o600)
        # For whoever posts, reads and asks: none of our processes needs them.
        of_clients = {"IZIN_API_KEY": self.api_key, "IZIN_GATE_URL": self.url("gate")}
        given = {name: self._environ[name] for name in _OF_ALL if name in self._environ}
        settings = {**given, **self.environment, **of_clients}
        lines = (f"{name}={shlex.quote(value)}" for name, value in settings.items())
        self.environment_file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _start_simulator(self) -> None:
        self._report("starting the simulator of İYS")
        command = self._command(
            "simulator",
            SIMULATOR,
            "serve",
            ready=f"{self.url('simulator')}/__simulator__/health",
            extra={
                "IYS_SIMULATOR_PORT": str(self._ports["simulator"]),
                "IYS_SIMULATOR_RESULT_DELAY": str(self.delays.result.total_seconds()),
                "IYS_SIMULATOR_HIDDEN_WINDOW": str(self.delays.hidden.total_seconds()),
                "IYS_SIMULATOR_ALLOW_HTTP_PUSH": "true",
                "IYS_SIMULATOR_STATE": str(self._folder.simulator_state),
            },
        )
        self.supervisor.start(command, keep_up=True)
        _register_at_simulator(self.url("simulator"), self._brands, self._credentials)

    def _start_workers(self) -> None:
        self._report("starting the workers, the endpoints, the webhooks and the console")
        self.supervisor.start_together(
            *(
                self._command(name, module, ready=f"{self.url(part)}/health/ready")
                for name, module, part in WORKERS
            ),
            keep_up=True,
        )

    def _command(
        self, name: str, *module: str, ready: str, extra: Mapping[str, str] | None = None
    ) -> Command:
        return Command(
            name=name,
            # The folder where the command was typed is not searched for modules.
            argv=(sys.executable, "-P", "-m", *module),
            log=self.logs / f"{name.replace(' ', '-')}.log",
            environment={**self._environ, **self.environment, **(extra or {})},
            ready=ready,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _iso(duration: timedelta) -> str:
    return str(_ISO.dump_python(duration, mode="json"))
