"""The image of izin: its labels, what it may write, and the health check, which is run for real."""

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from runpy import run_path

import pytest

from tests.contract.test_compose import ROOT, instructions
from tests.support.deploy.processes import LISTENERS, known_variables

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
HEALTHCHECK = ROOT / "deploy" / "healthcheck.py"
_LABELS = "org.opencontainers.image."
_LEAST = {"title", "description", "version", "revision", "licenses", "base.name"}
_OWN = {"PATH", "HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
"""Variables that are not ours; the last two keep Python from writing."""


def stages(dockerfile: str) -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions(dockerfile):
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def pairs(dockerfile: str, instruction: str) -> dict[str, str]:
    """Return what LABEL or ENV of the last stage sets."""
    texts = [rest for name, rest in stages(dockerfile)[-1] if name == instruction]
    return {
        name: quoted or bare
        for text in texts
        for name, quoted, bare in re.findall(r'([\w.]+)=(?:"([^"]*)"|(\S+))', text)
    }


def labels(dockerfile: str) -> Iterator[str]:
    """Compare the labels of OCI with what the project says of itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {
        name.removeprefix(_LABELS): value for name, value in pairs(dockerfile, "LABEL").items()
    }
    yield from (f"no label {name}" for name in sorted(_LEAST - found.keys()))
    wanted = {
        "title": project["name"],
        "description": project["description"],
        "version": project["version"],
        "licenses": project["license"],
        "revision": "${REVISION}",
        "base.name": dict(stages(dockerfile)[-1])["FROM"].partition("@")[0],
    }
    for name, value in wanted.items():
        if found.get(name, value) != value:
            yield f"label {name} is not {value}"


def bases(dockerfile: str) -> Iterator[str]:
    """Look for a base that differs from the one on which the hot paths were compiled."""
    found = {dict(one)["FROM"].split()[0] for one in stages(dockerfile)}
    if len(found) != 1:
        yield f"several bases: {', '.join(sorted(found))}"


def health(dockerfile: str) -> Iterator[str]:
    """Look whether the health check is a program of the image, and has its times."""
    last = stages(dockerfile)[-1]
    checks = [rest for name, rest in last if name == "HEALTHCHECK"]
    if len(checks) != 1:
        yield "no HEALTHCHECK"
        return
    options, _, command = checks[0].partition(" CMD ")
    if sorted(re.findall(r"--([\w-]+)=\d+s?", options)) != [
        *("interval", "retries", "start-period", "timeout")
    ]:
        yield "HEALTHCHECK lacks a time"
    copied = {rest.split()[-1] for name, rest in last if name == "COPY"}
    if json.loads(command)[-1] not in copied:
        yield "HEALTHCHECK runs what is not in the image"


def read_only(dockerfile: str) -> Iterator[str]:
    """Look for what would be written outside /tmp and what is mounted."""
    last, environment = stages(dockerfile)[-1], pairs(dockerfile, "ENV")
    if environment.get("HOME") != "/tmp" or dict(last).get("WORKDIR") != "/tmp":
        yield "home and working folder are not /tmp"
    if environment.get("PYTHONDONTWRITEBYTECODE") != "1":
        yield "Python would write beside its modules"
    runs = " ".join(rest for name, rest in last if name == "RUN")
    if "apt-get" in runs or "pip" in runs:
        yield "something is installed in the last stage"
    folder = environment.get("IZIN_STATE_FOLDER", "nowhere")
    if f"--owner=10001 --group=10001 --mode=0700 {folder}" not in runs:
        yield "the folder of the state is not its user's alone"
    if "USER 10001:10001" not in {f"{name} {rest}" for name, rest in last}:
        yield "user and group are not those of the manifests"


def settings(dockerfile: str) -> Iterator[str]:
    """Look for variables that are neither Python's nor settings of ours."""
    known = set().union(*(known_variables(["izin", command]) for command in LISTENERS))
    found = pairs(dockerfile, "ENV").keys() - _OWN - known
    yield from (f"nobody reads {name}" for name in sorted(found))


Check = Callable[[str], Iterator[str]]
CHECKS: tuple[Check, ...] = (labels, bases, health, read_only, settings)
BROKEN = [
    (labels, 'image.title="izin"', 'image.titel="izin"', "no label title"),
    (labels, 'image.version="', 'image.version="9.', "label version is not"),
    (labels, "${REVISION}", "main", "label revision is not"),
    (labels, 'base.name="python:3.11', 'base.name="python:3.12', "label base.name is not"),
    (bases, "python:3.11.16-slim-trixie AS", "python:3.11.15-slim-trixie AS", "several bases"),
    (health, "HEALTHCHECK", "HEALTCHECK", "no HEALTHCHECK"),
    (health, "--retries=6", "", "lacks a time"),
    (
        health,
        "COPY deploy/healthcheck.py",
        "COPY README.md /opt/izin/README.md\n#",
        "not in the image",
    ),
    (read_only, "HOME=/tmp", "HOME=/home", "are not /tmp"),
    (read_only, "WORKDIR /tmp", "WORKDIR /srv", "are not /tmp"),
    (read_only, "PYTHONDONTWRITEBYTECODE=1", "PYTHONOPTIMIZE=0", "beside its modules"),
    (read_only, "RUN groupadd", "RUN apt-get update && groupadd", "in the last stage"),
    (read_only, "--mode=0700", "--mode=0755", "not its user's alone"),
    (read_only, "USER 10001:10001", "USER 10001:0", "not those of the manifests"),
    (settings, "IZIN_STATE_FOLDER=", "IZIN_STATE_FLODER=", "nobody reads IZIN_STATE_FLODER"),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_image_keeps_its_rules(check: Check) -> None:
    """An image is built from the file as it is."""
    assert list(check(DOCKERFILE)) == []


@pytest.mark.parametrize(("check", "old", "new", "found"), BROKEN)
def test_broken_image_is_found(check: Check, old: str, new: str, found: str) -> None:
    """A check that finds nothing in a broken copy would guard nothing."""
    assert old in DOCKERFILE
    assert any(found in one for one in check(DOCKERFILE.replace(old, new)))


def test_checks_of_the_image_all_fire() -> None:
    """A check that finds nothing in any broken copy could be empty."""
    assert {check for check, *_ in BROKEN} == set(CHECKS)


class _Process(BaseHTTPRequestHandler):
    """Answers as a process that lives and is not ready."""

    def do_GET(self) -> None:
        """Answer a probe."""
        self.send_response(200 if self.path == "/health/live" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Give the port of a process that lives."""
    server = HTTPServer(("127.0.0.1", 0), _Process)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_healthcheck_of_a_living_process_ends_with_zero(port: int) -> None:
    """A process that lives is healthy, even while it is not ready."""
    command = [sys.executable, "-I", str(HEALTHCHECK)]
    found = subprocess.run(command, env={"IZIN_GATE_PORT": str(port)}, check=False)
    assert found.returncode == 0


def test_healthcheck_asks_no_proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is not asked about this container."""
    lives = run_path(str(HEALTHCHECK))["lives"]
    assert lives(port)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    assert not lives(1)


def test_healthcheck_looks_at_settings_then_defaults() -> None:
    """The port of operators is not asked; a process without a setting is found at its default."""
    found = list(
        run_path(str(HEALTHCHECK))["ports"](
            {"IZIN_GATE_PORT": "1", "IZIN_GATE_OPERATIONS_PORT": "2", "KAFKA_PORT": "3"}
        )
    )
    defaults = {group.model_fields["port"].default for group in LISTENERS.values()}
    assert found[0] == 1
    assert not {2, 3} & set(found)
    assert defaults <= set(found)
