"""The shape of docker-compose.yml and the Dockerfile: errors for Docker, and our rules.

Check the ports and addresses of docker-compose.yml against the listening services.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from unittest.mock import patch

import jsonschema_rs

from izin.local import kafka, postgres, servers
from izin.runtime import settings
from izin.stack.stack_settings import PORTS
from tests.contract.compose import (
    ROOT,
    VARIABLE,
    Papers,
    argvs,
    image_of,
    instructions,
    is_ours,
    leaf,
    read,
)

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
_TAG = re.compile(r"\d+(?:\.\d+)*(?:-[a-z]+)?")
_SECRET = re.compile(r"PASSWORD|TOKENS|SECRETS|ACCOUNT|DATABASE_URL")
_INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}
_LISTENERS = {
    "order": settings.StreamSettings,
    "sink": settings.SinkSettings,
    "intake": settings.IntakeSettings,
    "feeds": settings.FeedsSettings,
    "gate": settings.GateSettings,
    "webhooks": settings.WebhookSettings,
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
        image, _, tag = service["image"].rpartition(":")
        if image not in VERSIONS:
            yield f"{name}: {service['image']} is not one of ours"
        elif tag != VERSIONS[image]:
            yield f"{name}: {image} {tag}, where `izin local` has {VERSIONS[image]}"
    for path, (text, _) in given.dockerfiles.items():
        for instruction, rest in instructions(text):
            if instruction == "FROM" and not _TAG.fullmatch(rest.split()[0].partition(":")[2]):
                yield f"{path}: FROM {rest} has no fixed tag"


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
        if name == "RUN" and "pip install" in rest and "-c constraints.txt" not in rest:
            yield "pip install without constraints.txt"
        if name == "FROM" and rest.startswith("python:"):
            yield from _too_old(rest)
    users = [rest for name, rest in found if name == "USER"]
    if not users or users[-1].split(":")[0] in {"root", "0"}:
        yield "runs as root"


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
    elif argv[1] in _LISTENERS:
        listener = read(_LISTENERS[argv[1]], environment)
        addresses = [(listener.host, listener.port)]
        if hasattr(listener, "operations_port"):
            addresses.append((listener.operations_host, listener.operations_port))
        return {port for host, port in addresses if host == "0.0.0.0"}
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
