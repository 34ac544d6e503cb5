"""Compare docker-compose.yml and the Dockerfile with the code; a check lists its problems."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from iys_simulator.commands.cli import app as simulator
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from typer.main import get_command

from izin.cli.cli import app as izin
from izin.local import kafka
from izin.runtime import settings

ROOT = Path(__file__).parents[2]

_READS: dict[str, tuple[type[BaseSettings], ...]] = {
    "order": (settings.KafkaSettings, settings.StreamSettings, settings.LogSettings),
    "sink": (
        settings.KafkaSettings,
        settings.LedgerSettings,
        settings.IysSettings,
        settings.SinkSettings,
        settings.LogSettings,
    ),
    "intake": (settings.KafkaSettings, settings.IntakeSettings, settings.LogSettings),
    "feeds": (settings.KafkaSettings, settings.FeedsSettings, settings.LogSettings),
    "gate": (settings.KafkaSettings, settings.GateSettings, settings.LogSettings),
    "webhooks": (
        *(settings.KafkaSettings, settings.LedgerSettings),
        *(settings.WebhookSettings, settings.LogSettings),
    ),
    "doctor": (
        settings.KafkaSettings,
        settings.LedgerSettings,
        settings.IysSettings,
        settings.StreamSettings,
    ),
    "customers": (settings.LedgerSettings,),
    "brands": (settings.KafkaSettings, settings.LedgerSettings),
    "publish": (settings.KafkaSettings,),
    "explain": (settings.LedgerSettings,),
    "serve": (),
}
_FOREIGN_VARIABLES = {
    "apache/kafka": {"KAFKA_ADVERTISED_DOORSS", "KAFKA_HEAP_OPTS"},
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"},
    "apicurio/apicurio-registry": {
        "APICURIO_STORAGE_KIND",
        "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS",
        "QUARKUS_HTTP_PORT",
        "QUARKUS_LOG_LEVEL",
    },
}
"""What the images themselves read; Kafka's also takes every property of its broker."""
_WHERE = {
    "controller.quorum.voters",
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "inter.broker.listener.name",
    "log.dirs",
}
"""Broker properties in which a container has to differ from `izin local`."""

VARIABLE = re.compile(r"(?<!\$)\$(?:\{(?P<name>\w+)(?P<rest>[^}]*)\}|(?P<bare>\w+))")
_COMMANDS = {"izin": get_command(izin), "iys-simulator": get_command(simulator)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """The files that make the local stack in containers."""

    text: str
    compose: dict[str, Any]
    dockerfile: str
    ignored: str
    simulator_dockerfile: str
    simulator_ignored: str
    secrets: str

    @property
    def dockerfiles(self) -> dict[str, tuple[str, str]]:
        """Each Dockerfile by its path, with what its build leaves out."""
        return {
            "Dockerfile": (self.dockerfile, self.ignored),
            "simulator/Dockerfile": (self.simulator_dockerfile, self.simulator_ignored),
        }

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """Every service by its name."""
        found: dict[str, dict[str, Any]] = self.compose["services"]
        return found

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment that the service is started with."""
        declared = self.services[name].get("environment", {})
        return {one: self.filled(value) for one, value in declared.items()}

    def filled(self, value: str) -> str:
        """Return ``value`` with the variables of a filled-in .env."""
        sample = {"IZIN_SUPPRESSION_SECRETS": f'["{"sample" * 6}"]'}
        text = VARIABLE.sub(lambda m: sample.get(m["name"] or m["bare"], "sample"), value)
        return text.replace("$$", "$")


def papers() -> Papers:
    """Return the files of this project."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    return Papers(
        text=text,
        compose=yaml.safe_load(text),
        dockerfile=(ROOT / "Dockerfile").read_text(encoding="utf-8"),
        ignored=(ROOT / ".dockerignore").read_text(encoding="utf-8"),
        simulator_dockerfile=(ROOT / "simulator/Dockerfile").read_text(encoding="utf-8"),
        simulator_ignored=(ROOT / "simulator/Dockerfile.dockerignore").read_text(encoding="utf-8"),
        secrets=(ROOT / ".env.example").read_text(encoding="utf-8"),
    )


def is_ours(service: Mapping[str, Any]) -> bool:
    """Return whether the service runs an image that is built here."""
    return "build" in service


def image_of(service: Mapping[str, Any]) -> str:
    """Return the image's name without its tag."""
    return str(service.get("image", "")).rpartition(":")[0]


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and what follows each."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", dockerfile))
    parts = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, " ".join(rest[0].split()) if rest else "") for name, *rest in parts]


def argvs(service: Mapping[str, Any]) -> list[list[str]]:
    """Return the command lines that a service of ours runs: program, command, arguments."""
    if service.get("entrypoint") is None:
        program = "izin" if isinstance(service["build"], str) else "iys-simulator"
        return [[program, *service.get("command", [])]]
    script = "\n".join(service["command"]).replace("$$", "$")
    return [shlex.split(line) for line in script.splitlines()]


def leaf(argv: list[str]) -> tuple[Any, list[str]]:
    """Return the command that ``argv`` names, and the remaining arguments."""
    command: Any = _COMMANDS.get(argv[0])
    rest = list(argv[1:])
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def refusal(argv: list[str], environment: Mapping[str, str]) -> str | None:
    """Return why the command line would refuse ``argv``, or None."""
    command, rest = leaf(argv)
    if rest == ["--help"]:
        return None
    if command is _COMMANDS.get(argv[0]):
        return f"{shlex.join(argv)}: no such command"
    try:
        with patch.dict(os.environ, environment, clear=True):
            command.make_context(command.name, rest)
    except Exception as error:  # noqa: BLE001 - whatever the parser raises is its refusal
        return f"{shlex.join(argv)}: {error}"
    return None


def commands(given: Papers) -> Iterator[str]:
    """Every command and option is one of the command line's."""
    calls: list[tuple[str, list[str], dict[str, str]]] = []
    for (path, (text, _)), program in zip(given.dockerfiles.items(), _COMMANDS, strict=True):
        found = dict(instructions(text))
        if json.loads(found.get("ENTRYPOINT", "[]")) != [program]:
            yield f"{path}: ENTRYPOINT is not {program}"
        calls.append((path, [program, *json.loads(found.get("CMD", "[]"))], {}))
    for name, service in given.services.items():
        if is_ours(service):
            calls += [(name, argv, given.environment(name)) for argv in argvs(service)]
    joined = re.sub(r"\\\n# *", "", given.text)
    for service, line in re.findall(r"(?m)^# +docker compose exec (\S+) izin (.*)$", joined):
        calls.append((service, ["izin", *shlex.split(line)], given.environment(service)))
    for name, argv, environment in calls:
        refused = refusal(argv, environment)
        if refused:
            yield f"{name}: {refused}"


def known_variables(argv: list[str]) -> set[str]:
    """Return the variables that this command line reads."""
    aliases = {
        str(field.validation_alias)
        for group in _READS[argv[1]]
        for field in group.model_fields.values()
    }
    options = {param.envvar for param in leaf(argv)[0].params if isinstance(param.envvar, str)}
    return aliases | options


def variables(given: Papers) -> Iterator[str]:
    """Every variable is read by the process it is given to."""
    for name, service in given.services.items():
        if is_ours(service):
            calls = [argv for argv in argvs(service) if len(argv) > 1 and argv[1] in _READS]
            known = set().union(*(known_variables(argv) for argv in calls))
        else:
            known = set(_FOREIGN_VARIABLES.get(image_of(service), ()))
            if image_of(service) == "apache/kafka":
                known |= set(_broker())
        for variable in given.environment(name):
            if variable not in known:
                yield f"{name}: nobody reads {variable}"


def _broker() -> dict[str, str]:
    """Return what `izin local` sets on its broker, under the image's names; "" where we differ."""
    properties = kafka.Kafka(Path("unused"))._settings(1)
    return {
        f"KAFKA_{name.upper().replace('.', '_')}": "" if name in _WHERE else str(value)
        for name, value in properties.items()
    }


def values(given: Papers) -> Iterator[str]:
    """Every value is one its reader accepts; the broker is set as `izin local` sets its own."""
    for name, service in given.services.items():
        environment = given.environment(name)
        if is_ours(service):
            for group in {group for argv in argvs(service) for group in _READS.get(argv[1], ())}:
                if group is settings.IysSettings and "IYS_USERNAME" not in environment:
                    continue  # the doctor then skips İYS
                try:
                    read(group, environment)
                except ValidationError as error:
                    yield f"{name}: {', '.join(str(one['loc'][0]) for one in error.errors())}"
        elif image_of(service) == "apache/kafka":
            for variable, value in _broker().items():
                if value and environment.get(variable, value) != value:
                    yield f"{name}: {variable} is not {value}"


def read(group: type[BaseSettings], environment: Mapping[str, str]) -> Any:  # noqa: ANN401 - any group
    """Return the settings as a process with this environment reads them."""
    with patch.dict(os.environ, environment, clear=True):
        return group()


def simulated_account(given: Papers) -> Iterator[str]:
    """Find where simulator and sink disagree on delays, account and brands."""
    environment = given.environment("simulator")
    (argv,) = argvs(given.services["simulator"])
    command, rest = leaf(argv)
    with patch.dict(os.environ, environment, clear=True):
        params = command.make_context("serve", rest).params
    iys = read(settings.IysSettings, given.environment("sink"))
    if params["result_delay"] != iys.result_delay.total_seconds():
        yield "result delays differ"
    if params["hidden_window"] != iys.hidden_window.total_seconds():
        yield "hidden windows differ"
    account = f"{iys.username}:{iys.password.get_secret_value()}:"
    if not any(one.startswith(account) for one in params["account"]):
        yield "the sink's account is unknown to the simulator"
    ours = {
        (argv[3], argv[argv.index("--iys-code") + 1], argv[argv.index("--name") + 1])
        for argv in argvs(given.services["migrate"])
        if argv[:3] == ["izin", "brands", "add"]
    }
    if ours != {tuple(one.split(":", 3)[:3]) for one in params["brand"]}:
        yield "brands differ"
