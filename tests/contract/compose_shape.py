"""The shape of docker-compose.yml and the Dockerfile: errors for Docker, and our rules."""

import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from izin.local import kafka, postgres, registry
from tests.contract.compose import ROOT, VARIABLE, Papers, instructions, is_ours

VERSIONS = {
    "apache/kafka": kafka.VERSION,
    "apicurio/apicurio-registry": registry.VERSION,
    "postgres": postgres.Postgres.name.rpartition(" ")[2],
}
"""The images we take, and the version that `izin local` starts."""

_TOP = {"name", "services", "volumes", "networks", "configs", "secrets"}
_SERVICE = {
    "build": str | dict,
    "cap_drop": list,
    "command": list,
    "depends_on": dict,
    "entrypoint": list,
    "environment": dict,
    "healthcheck": dict,
    "image": str,
    "init": bool,
    "ports": list,
    "read_only": bool,
    "restart": str,
    "security_opt": list,
    "stop_grace_period": str,
    "tmpfs": list,
    "volumes": list,
}
"""The keys of the compose specification that we use, in the form in which we write them."""
_HEALTH = {"test", "interval", "timeout", "retries", "start_period"}
_CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
_RESTARTS = {"no", "always", "on-failure", "unless-stopped"}
_PORT = re.compile(r"(?:[\d.]+:)?\d{1,5}:\d{1,5}")
_VOLUME = re.compile(r"([a-z][\w-]*):(/[\w/]+)")
_DURATION = re.compile(r"(?:\d+(?:ms|s|m|h))+")
_TAG = re.compile(r"\d+(?:\.\d+)*(?:-[a-z]+)?")
_SECRET = re.compile(r"PASSWORD|TOKENS|SECRETS|ACCOUNT|DATABASE_URL")
_INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}


def structure(given: Papers) -> Iterator[str]:
    """Every key is the specification's, every value has its form."""
    for key in given.compose:
        if key not in _TOP and not key.startswith("x-"):
            yield f"{key}: no such part of a compose file"
    for name, service in given.services.items():
        yield from (f"{name}: {fault}" for fault in _service(service))
    mounted = {
        found[1]
        for service in given.services.values()
        for one in service.get("volumes", [])
        if (found := _VOLUME.fullmatch(one))
    }
    if mounted != set(given.compose.get("volumes", {})):
        yield "the volumes mounted are not those declared"


def _service(service: dict[str, Any]) -> Iterator[str]:
    for key, value in service.items():
        if key not in _SERVICE:
            yield f"{key}: no such key of a service"
        elif not isinstance(value, _SERVICE[key]):
            yield f"{key} is no {getattr(_SERVICE[key], '__name__', 'path or object')}"
    if ("image" in service) == ("build" in service):
        yield "needs either an image or a build"
    if service.get("restart", "no") not in _RESTARTS:
        yield f"restart: {service['restart']}"
    for key in ("command", "entrypoint", "cap_drop", "tmpfs", "security_opt"):
        if not all(isinstance(one, str) for one in service.get(key, [])):
            yield f"{key} holds more than texts"
    for name, value in service.get("environment", {}).items():
        if not isinstance(value, str):
            yield f"{name} is no text; quote it"
    yield from _malformed(service)


def _malformed(service: dict[str, Any]) -> Iterator[str]:
    """Yield values without the form that their key requires."""
    health = service.get("healthcheck", {"test": ["CMD", "true"]})
    unknown = sorted(health.keys() - _HEALTH)
    if unknown:
        yield f"healthcheck: {', '.join(unknown)}"
    if health.get("test", [""])[0] not in {"CMD", "CMD-SHELL"}:
        yield "healthcheck: test begins with neither CMD nor CMD-SHELL"
    durations = [health[key] for key in ("interval", "timeout", "start_period") if key in health]
    for key, form, found in (
        ("ports", _PORT, service.get("ports", [])),
        ("volumes", _VOLUME, service.get("volumes", [])),
        ("duration", _DURATION, [*durations, service.get("stop_grace_period", "10s")]),
    ):
        yield from (f"{key}: {one}" for one in found if not form.fullmatch(str(one)))


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
