"""Compare docker-compose.yml and the Dockerfile with the code; a check lists its problems.

The shape of docker-compose.yml and the Dockerfile: errors for Docker, and our rules.

Check the ports and addresses of docker-compose.yml against the listening services.

docker-compose.yml and the Dockerfile match the code; checked without Docker.
"""

import json
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema_rs
import pytest
import yaml
from pydantic import ValidationError

from izin.local import kafka, postgres, servers
from izin.runtime import settings
from izin.stack.stack_settings import PORTS
from tests.support.deploy.processes import (
    ENDS_WITHIN,
    LISTENERS,
    PROGRAMS,
    READS,
    known_variables,
    leaf,
    listening as listening_of,
    read,
    refusal,
)
from tests.support.secret_keys import key_setting

ROOT = Path(__file__).parents[2]

_FOREIGN_VARIABLES = {
    "apache/kafka": {"KAFKA_HEAP_OPTS"},
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
        return self.compose["services"]

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment that the service is started with."""
        declared = self.services[name].get("environment", {})
        return {one: self.filled(value) for one, value in declared.items()}

    def filled(self, value: str) -> str:
        """Return ``value`` with the variables of a filled-in .env."""
        sample = {
            "IZIN_SUPPRESSION_SECRETS": f'["{"sample" * 6}"]',
            "IZIN_SECRET_KEYS": key_setting(1),
        }
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
    """Return the image's name without its tag and digest."""
    return str(service.get("image", "")).partition("@")[0].rpartition(":")[0]


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


def commands(given: Papers) -> Iterator[str]:
    """Every command and option is one of the command line's."""
    calls: list[tuple[str, list[str], dict[str, str]]] = []
    for (path, (text, _)), program in zip(given.dockerfiles.items(), PROGRAMS, strict=True):
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


def variables(given: Papers) -> Iterator[str]:
    """Every variable is read by the process it is given to."""
    for name, service in given.services.items():
        if is_ours(service):
            calls = [argv for argv in argvs(service) if len(argv) > 1 and argv[1] in READS]
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
            for group in {group for argv in argvs(service) for group in READS.get(argv[1], ())}:
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


VERSIONS = {
    "apache/kafka": kafka.VERSION,
    "apicurio/apicurio-registry": servers.VERSION,
    "postgres": postgres.Postgres.name.rpartition(" ")[2],
}
"""The images we take, and the version that `izin local` starts."""
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_DURATION = {"type": "string", "pattern": r"^(\d+(ms|s|m|h))+$"}
_VOLUME = re.compile(r"([a-z][\w-]*):(/[\w/]+)")
_HEALTH = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "test": {"type": "array", "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}], "items": _TEXT},
        "interval": _DURATION,
        "timeout": _DURATION,
        "start_period": _DURATION,
        "retries": {"type": "integer"},
    },
}
_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "oneOf": [{"required": ["image"]}, {"required": ["build"]}],
    "properties": {
        "build": {"type": ["string", "object"]},
        "cap_drop": _TEXTS,
        "command": _TEXTS,
        "depends_on": {"type": "object"},
        "entrypoint": _TEXTS,
        "environment": {"type": "object", "additionalProperties": _TEXT},
        "healthcheck": _HEALTH,
        "image": _TEXT,
        "init": {"type": "boolean"},
        "ports": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^([\d.]+:)?\d{1,5}:\d{1,5}$"},
        },
        "read_only": {"type": "boolean"},
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "security_opt": _TEXTS,
        "stop_grace_period": _DURATION,
        "tmpfs": _TEXTS,
        "volumes": {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{_VOLUME.pattern}$"},
        },
    },
}
"""The keys of the compose specification that we use, in the form in which we write them."""
_COMPOSE = {
    "type": "object",
    "additionalProperties": False,
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": _TEXT,
        "services": {"type": "object", "additionalProperties": _SERVICE},
        **{one: {"type": "object"} for one in ("volumes", "networks", "configs", "secrets")},
    },
}
_CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
_TAG = re.compile(r"3\.11\.\d+-slim-[a-z]+(?:@sha256:[0-9a-f]{64})?")
"""Of the line that figures are measured on, by patch and Debian; with a digest, or without."""
_SECRET = re.compile(r"PASSWORD|TOKENS|SECRETS|ACCOUNT|DATABASE_URL")
_INSTRUCTIONS = {"FROM", "ARG", "LABEL", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE"} | {
    *("HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD")
}
_ADDRESS = re.compile(r"(?:^|//|@)([a-z][\w-]*):(\d+)")
_PROBE = re.compile(r'urlopen\("http://127\.0\.0\.1:(\d+)(/[\w/]+)"\)')


def structure(given: Papers) -> Iterator[str]:
    """Every key is the specification's, every value has its form."""
    for error in jsonschema_rs.validator_for(_COMPOSE).iter_errors(given.compose):
        yield f"{' '.join(map(str, error.instance_path))}: {error.message}"
    mounted = {
        found[1]
        for service in given.services.values()
        for one in service.get("volumes", [])
        if (found := _VOLUME.fullmatch(one))
    }
    if mounted != set(given.compose.get("volumes", {})):
        yield "the volumes mounted are not those declared"


def order(given: Papers) -> Iterator[str]:
    """Every service waits for others that exist, on a reachable condition, without a cycle."""
    for name, service in given.services.items():
        for other, how in service.get("depends_on", {}).items():
            target = given.services.get(other)
            if target is None:
                yield f"{name}: waits for {other}, which does not exist"
                continue
            condition = how.get("condition")
            if condition not in _CONDITIONS:
                yield f"{name}: {other} has no condition"
            if condition == "service_healthy" and "healthcheck" not in target:
                yield f"{name}: {other} has no health check to wait for"
            ends = target.get("restart", "no") == "no"
            if (condition == "service_completed_successfully") != ends:
                yield f"{name}: {other} {'ends' if ends else 'never ends'}"
    try:
        TopologicalSorter(
            {name: service.get("depends_on", {}) for name, service in given.services.items()}
        ).prepare()
    except CycleError as error:
        yield f"a circle: {error.args[1]}"


def images(given: Papers) -> Iterator[str]:
    """Every image has a fixed tag, of the version that `izin local` starts."""
    for name, service in given.services.items():
        if is_ours(service):
            continue
        image, _, tag = service["image"].partition("@")[0].rpartition(":")
        if image not in VERSIONS:
            yield f"{name}: {service['image']} is not one of ours"
        elif not f"{tag}.".startswith(f"{VERSIONS[image]}."):
            yield f"{name}: {image} {tag}, where `izin local` has {VERSIONS[image]}"
        elif "." not in tag:
            yield f"{name}: {image} {tag} is no exact tag"
    for path, (text, _) in given.dockerfiles.items():
        for instruction, rest in instructions(text):
            if instruction == "FROM" and not _TAG.fullmatch(rest.split()[0].partition(":")[2]):
                yield f"{path}: FROM {rest} has no exact tag of Python 3.11"


def secrets(given: Papers) -> Iterator[str]:
    """Every secret comes from .env, where it has no value, and nothing starts without it."""
    lines = [
        line.partition("=")
        for line in given.secrets.splitlines()
        if line and not line.startswith("#")
    ]
    declared = {name for name, _, _ in lines}
    yield from (f".env.example: {name} has a value" for name, _, value in lines if value)
    used = set()
    for name, service in given.services.items():
        for variable, value in service.get("environment", {}).items():
            found = list(VARIABLE.finditer(value))
            used |= {one["name"] or one["bare"] for one in found}
            for one in found:
                if not (one["rest"] or "").startswith(":?"):
                    yield f"{name}: {variable} may be left empty"
            if _SECRET.search(variable) and not found:
                yield f"{name}: {variable} does not come from .env"
    outside = VARIABLE.findall(
        str([{**one, "environment": None} for one in given.services.values()])
    )
    yield from (f"{one[0] or one[2]} stands outside an environment" for one in outside)
    yield from (f"{name} is not in .env.example" for name in sorted(used - declared))
    yield from (f".env.example: nobody uses {name}" for name in sorted(declared - used))


def image(given: Papers) -> Iterator[str]:
    """Images are built from existing files, with pinned versions, and need no root."""
    for path, (text, ignored) in given.dockerfiles.items():
        yield from (f"{path}: {problem}" for problem in _image(text, ignored))


def _image(dockerfile: str, ignored: str) -> Iterator[str]:
    found = instructions(dockerfile)
    yield from (name for name, _ in found if name not in _INSTRUCTIONS)
    rules = [one for one in ignored.splitlines() if one and not one.startswith("#")]
    let_in = {one[1:] for one in rules if one.startswith("!")}
    if rules[:1] != ["*"]:
        yield ".dockerignore: does not begin with everything"
    yield from (f".dockerignore: lets {one} in" for one in let_in if one.startswith((".", "*")))
    for name, rest in found:
        if name == "COPY" and not rest.startswith("--from="):
            for source in rest.split()[:-1]:
                path = source.removeprefix("./")
                if not (ROOT / path).exists():
                    yield f"COPY {source}, which does not exist"
                if path not in let_in:
                    yield f"COPY {source}, which .dockerignore keeps out"
        if name == "RUN":
            yield from _installed(rest)
        if name == "FROM" and rest.startswith("python:"):
            yield from _too_old(rest)
    yield from _user([rest for name, rest in found if name == "USER"])


def _user(users: list[str]) -> Iterator[str]:
    if not users or users[-1].split(":")[0] in {"root", "0"}:
        yield "runs as root"
    elif not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]):
        yield f"USER {users[-1]} is no number"


BY_HASH = ("--require-hashes", "--only-binary :all:", "--wheel-dir /pins", "-r constraints.txt")


def _installed(rest: str) -> Iterator[str]:
    if "pip wheel" in rest and not all(words in rest for words in BY_HASH):
        yield "pip wheel without the hashes of constraints.txt"
    if "pip install" in rest and "--no-index --find-links /pins" not in rest:
        yield "pip install from elsewhere than the verified wheels"
    if "'.[server]'" in rest and "IZIN_COMPILE=1" not in rest:
        yield "pip install of an interpreted hot path"


def _too_old(rest: str) -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    major_minor = tuple(map(int, re.findall(r"\d+", rest.split(maxsplit=1)[0])[:2]))
    if major_minor < least:
        yield f"FROM {rest} is older than {'.'.join(map(str, least))}"


def listening(given: Papers, name: str) -> set[int]:
    """Return the ports on which the service answers other containers."""
    service, environment = given.services[name], given.environment(name)
    if not is_ours(service):
        return {
            "apache/kafka": {
                int(port) for port in re.findall(r":(\d+)", environment.get("KAFKA_LISTENERS", ""))
            },
            "postgres": {5432},
            "apicurio/apicurio-registry": {int(environment.get("QUARKUS_HTTP_PORT", 8080))},
        }[image_of(service)]
    argv = argvs(service)[0]
    if argv[0] == "iys-simulator":
        command, rest = leaf(argv)
        with patch.dict(os.environ, environment, clear=True):
            host, port = map(command.make_context("serve", rest).params.get, ("host", "port"))
    elif argv[1] in LISTENERS:
        found = listening_of(argv[1], environment).values()
        return {port for host, port in found if host == "0.0.0.0"}
    else:
        return set()
    return {port} if host == "0.0.0.0" else set()


def ports(given: Papers) -> Iterator[str]:
    """Every port is published on 127.0.0.1 alone, as `izin up` does, and in use."""
    for name, service in given.services.items():
        listened = listening(given, name)
        for one in service.get("ports", []):
            address, outside, inside = ["", *one.split(":")][-3:]
            if address != "127.0.0.1":
                yield f"{name}: {one} is open to the network"
            if int(inside) not in listened:
                yield f"{name}: nobody listens on {inside}"
            usual = {PORTS.get(f"{name}{part}") for part in ("", "-operations")}
            if int(outside) not in usual:
                yield f"{name}: {outside} is not the port of `izin up`"
        if is_ours(service) and listened:
            probe = _PROBE.search(service["healthcheck"]["test"][-1])
            path = "/__simulator__/health" if name == "simulator" else "/health/ready"
            if probe is None or int(probe[1]) not in listened or probe[2] != path:
                yield f"{name}: the health check asks elsewhere"


def addresses(given: Papers) -> Iterator[str]:
    """Every address names a service that listens there and is waited for."""
    for name, service in given.services.items():
        for variable, value in given.environment(name).items():
            for host, port in _ADDRESS.findall(value):
                if host not in given.services or int(port) not in listening(given, host):
                    yield f"{name}: {variable} leads nowhere: {host}:{port}"
                elif host != name and host not in service.get("depends_on", {}):
                    yield f"{name}: {variable} names {host}, which is not waited for"
            if is_ours(service) and re.search(r"localhost|127\.0\.0\.1", value):
                yield f"{name}: {variable} would find the container itself"


def ends(given: Papers) -> Iterator[str]:
    """Every process has the time that it may take to end."""
    for name, service in given.services.items():
        seconds = float(service.get("stop_grace_period", "10s").removesuffix("s"))
        if name in LISTENERS and seconds < ENDS_WITHIN[name] + 2:
            yield f"{name}: it may take {ENDS_WITHIN[name]} s to end, and has {seconds}"


Check = Callable[[Papers], Iterator[str]]

CHECKS = (
    structure,
    order,
    images,
    secrets,
    image,
    commands,
    variables,
    values,
    simulated_account,
    ports,
    addresses,
    ends,
)

YAML, DOCKERFILE, SECRETS, IGNORED = "text", "dockerfile", "secrets", "ignored"

BROKEN = [
    (structure, YAML, "\nservices:", "\nverison: '3'\nservices:", "verison"),
    (structure, YAML, "restart: unless-stopped", "restarts: no", "restarts"),
    (structure, YAML, "restart: unless-stopped", "restart: sometimes", "sometimes"),
    (structure, YAML, "build: .", "build: [.]", "build: "),
    (structure, YAML, "image: postgres:18.6", "hostname: db", "hostname"),
    (
        structure,
        YAML,
        'IZIN_SINK_PORT: "8082"',
        "IZIN_SINK_PORT: 8082",
        "IZIN_SINK_PORT: 8082",
    ),
    (structure, YAML, "[order]", "[1]", "command 0: 1"),
    (structure, YAML, '["127.0.0.1:8081:8081", ', '["8081", ', "ports 0"),
    (structure, YAML, "kafka-data:/var", "./data:/var", "./data"),
    (structure, YAML, "\n  postgres-data:", "", "not those declared"),
    (structure, YAML, "retries: 12", "retry: 12", "retry"),
    (structure, YAML, "test: [CMD, pg_isready", "test: [pg_isready", "CMD-SHELL"),
    (structure, YAML, "interval: 5s", "interval: 5", "interval: 5"),
    (order, YAML, "simulator: {condition", "missing: {condition", "does not exist"),
    (order, YAML, "{condition: service_healthy}", "{}", "has no condition"),
    (
        order,
        YAML,
        "healthcheck:\n      <<: *health\n      # Over",
        "unhealthy:\n      # Over",
        "no health check",
    ),
    (order, YAML, 'restart: "no"', "restart: always", "migrate never ends"),
    (
        order,
        YAML,
        "service_completed_successfully",
        "service_started",
        "migrate ends",
    ),
    (order, YAML, "kafka: {condition", "order: {condition", "a circle"),
    (images, YAML, "kafka:4.2.2", "kafka:latest", "apache/kafka latest"),
    (images, YAML, "kafka:4.2.2", "kafka:4.2.1", "where `izin local` has"),
    (images, YAML, "registry:3.3.3", "registry:3", "apicurio-registry 3,"),
    (images, YAML, "image: postgres:18.6", "image: mysql:9.1", "not one of ours"),
    (images, YAML, "image: postgres:18.6", "image: postgres:18", "no exact tag"),
    (images, YAML, "image: postgres:18.6", "image: postgres:180.6", "where `izin local` has"),
    (images, DOCKERFILE, "python:3.11.16-slim-trixie\n", "python:3.11-slim\n", "no exact tag"),
    (images, DOCKERFILE, "python:3.11.16-slim-trixie AS", "python AS", "no exact tag"),
    (images, DOCKERFILE, "python:3.11.16-slim-trixie\n", "python:latest\n", "no exact tag"),
    (secrets, SECRETS, "IYS_PASSWORD=", "IYS_PASSWORD=made-up", "has a value"),
    (secrets, SECRETS, "\nIYS_PASSWORD=", "", "IYS_PASSWORD is not in .env"),
    (secrets, SECRETS, "\nIYS_PASSWORD=", "\nIYS_PASSWORD=\nOTHER=", "uses OTHER"),
    (secrets, YAML, "${IYS_PASSWORD:?set it in .env}", "${IYS_PASSWORD}", "empty"),
    (secrets, YAML, "${IYS_PASSWORD:?set it in .env}", "made-up", "not come from"),
    (secrets, YAML, "[order]", "['${WHAT}']", "WHAT stands outside"),
    (image, DOCKERFILE, "USER 10001:10001", "", "runs as root"),
    (image, DOCKERFILE, "USER 10001:10001", "USER root", "runs as root"),
    (image, DOCKERFILE, "USER 10001:10001", "USER izin", "is no number"),
    (image, DOCKERFILE, "--require-hashes ", "", "without the hashes"),
    (image, DOCKERFILE, "--no-index --find-links /pins '.[server]'", ".", "from elsewhere"),
    (image, DOCKERFILE, "IZIN_COMPILE=1 ", "", "an interpreted hot path"),
    (image, DOCKERFILE, "README.md", "LIESMICH.md", "which does not exist"),
    (image, DOCKERFILE, "WORKDIR /src", "WORKING /src", "WORKING"),
    (image, DOCKERFILE, "python:3.11.16-slim", "python:3.9.16-slim", "older than"),
    (image, IGNORED, "!izin\n", "", "keeps out"),
    (image, IGNORED, "!izin\n", "!izin\n!.env\n", "lets .env in"),
    (image, IGNORED, "*\n", "", "begin with everything"),
    (commands, DOCKERFILE, '["izin"]', '["python"]', "ENTRYPOINT"),
    (commands, DOCKERFILE, '["--help"]', '["serve"]', "serve: no such command"),
    (commands, YAML, "[order]", "[orders]", "orders: no such command"),
    (commands, YAML, "doctor --fix", "doctor --mend", "--mend"),
    (commands, YAML, "--iys-code 100001", "", "iys_code"),
    (commands, YAML, "2020-01-01 00:00:00'", "new year'", "new year"),
    (commands, YAML, "izin doctor --fix", "rm doctor", "rm doctor"),
    (commands, YAML, "intake izin publish", "intake izin send", "send"),
    (commands, YAML, 'SIMULATOR_PORT: "8085"', 'SIMULATOR_PORT: "here"', "valid integer"),
    (variables, YAML, "IZIN_SINK_PORT", "IZIN_SINK_PROT", "reads IZIN_SINK_PROT"),
    (variables, YAML, "IZIN_INTAKE_PORT:", "IZIN_SINK_PORT:", "intake: nobody reads"),
    (variables, YAML, "IYS_SIMULATOR_HOST", "IYS_SIMULATOR_HOME", "reads IYS_SIMULATOR_HO"),
    (variables, YAML, "POSTGRES_DB", "POSTGRES_DATABASE", "reads POSTGRES_DATABASE"),
    (variables, YAML, "KAFKA_NODE_ID", "KAFKA_NODE", "reads KAFKA_NODE"),
    (variables, YAML, "QUARKUS_LOG_LEVEL", "LOG_LEVEL", "reads LOG_LEVEL"),
    (values, YAML, 'IZIN_PARTITIONS: "12"', "IZIN_PARTITIONS: many", "IZIN_PARTITIONS"),
    (values, YAML, "IYS_RESULT_DELAY: PT5S", "IYS_RESULT_DELAY: soon", "IYS_RESULT_DELAY"),
    (values, YAML, 'ENABLE: "false"', 'ENABLE: "true"', "AUTO_CREATE_TOPICS_ENABLE is not"),
    (
        simulated_account,
        YAML,
        "RESULT_DELAY: PT5S",
        "RESULT_DELAY: PT300S",
        "result delays",
    ),
    (
        simulated_account,
        YAML,
        "HIDDEN_WINDOW: PT5S",
        "HIDDEN_WINDOW: PT1H",
        "hidden windows",
    ),
    (
        simulated_account,
        YAML,
        "IYS_USERNAME: izin",
        "IYS_USERNAME: other",
        "unknown to the simulator",
    ),
    (simulated_account, YAML, "brands add 100002", "brands add 100003", "brands differ"),
    (
        ports,
        YAML,
        "127.0.0.1:8081:8081",
        "0.0.0.0:8081:8081",
        "open to the network",
    ),
    (ports, YAML, "127.0.0.1:8081:8081", "8081:8081", "open to the network"),
    (ports, YAML, "127.0.0.1:8081:8081", "127.0.0.1:8081:80", "listens on 80"),
    (
        ports,
        YAML,
        "127.0.0.1:8081:8081",
        "127.0.0.1:9081:8081",
        "9081 is not the port",
    ),
    (
        ports,
        YAML,
        "IZIN_SINK_HOST: 0.0.0.0",
        "IZIN_SINK_HOST: 127.0.0.1",
        "listens on 8082",
    ),
    (
        ports,
        YAML,
        "IZIN_SINK_OPERATIONS_HOST: 0.0.0.0",
        "IZIN_SINK_OPERATIONS_HOST: 127.0.0.1",
        "listens on 8092",
    ),
    (
        ports,
        YAML,
        "127.0.0.1:8083/health/ready",
        "127.0.0.1:8082/health/ready",
        "asks elsewhere",
    ),
    (
        ports,
        YAML,
        "127.0.0.1:8083/health/ready",
        "127.0.0.1:8083/",
        "asks elsewhere",
    ),
    (ends, YAML, "stop_grace_period: 40s", "stop_grace_period: 30s", "intake: it may take 30"),
    (addresses, YAML, "@postgres:5432", "@database:5432", "leads nowhere"),
    (addresses, YAML, "@postgres:5432", "@postgres:15432", "leads nowhere"),
    (addresses, YAML, "http://simulator:8085", "http://localhost:8085", "itself"),
    (
        addresses,
        YAML,
        "simulator: {condition",
        "order: {condition",
        "not waited for",
    ),
]


def broken(part: str, old: str, new: str) -> Papers:
    """Return the papers with ``old`` made ``new`` in one of them."""
    text = str(getattr(papers(), part))
    assert old in text, f"{old} is not there to be broken"
    text = text.replace(old, new)
    changed = replace(papers(), **{part: text})
    return replace(changed, compose=yaml.safe_load(text)) if part == YAML else changed


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_compose_files_match_the_code(check: Check) -> None:
    """Docker starts what the code describes."""
    assert list(check(papers())) == []


@pytest.mark.parametrize(("check", "part", "old", "new", "found"), BROKEN)
def test_compose_check_finds_what_differs(
    check: Check, part: str, old: str, new: str, found: str
) -> None:
    """A check that finds nothing in a broken copy would guard nothing."""
    assert any(found in one for one in check(broken(part, old, new)))


def test_compose_checks_all_fire() -> None:
    """A check that finds nothing in any broken copy could be empty."""
    assert {check for check, *_ in BROKEN} == set(CHECKS)


def test_secrets_are_ignored_by_git() -> None:
    """A filled-in .env would be committed by the next `git add`."""
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
