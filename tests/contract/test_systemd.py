"""The units of systemd match the code: commands, settings, secrets, and the time to end.

What systemd itself says of them is asked where it is installed.
"""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from izin.runtime.setting_rules.group import SUFFIX
from tests.support.deploy.processes import (
    ENDS_WITHIN,
    LISTENERS,
    listening,
    refusal,
    secrets_of,
    unreadable,
)
from tests.support.project_rules import ROOT

FOLDER = ROOT / "deploy" / "systemd"
DROP_IN = "izin-.service.d/10-izin.conf"
PROGRAM = "/opt/izin/bin/izin"
_STATE = "/var/lib/"
_CREDENTIALS = "/run/credentials/it"
_MARGIN = 2.0
"""Seconds beyond what a process takes to end."""
_ONCE = {
    "Unit": {"Description", "PartOf", "StartLimitIntervalSec"},
    "Service": {
        *("Type", "ExecStart", "Restart", "RestartSec", "KillMode", "TimeoutStopSec", "UMask"),
        *("LimitNOFILE", "WorkingDirectory", "StateDirectory", "StateDirectoryMode"),
    },
    "Install": {"WantedBy", "DefaultInstance"},
}
_MANY = {"Wants", "After", "Environment", "EnvironmentFile", "LoadCredential"}
"""The directives that we use: systemd ignores what it does not know."""
HARDENED = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RemoveIPC": "yes",
    "KeyringMode": "private",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "SystemCallErrorNumber": "EPERM",
}

Line = tuple[str, str, str]
"""Section, directive and value."""


def lines_of(text: str) -> list[Line]:
    """Return the directives of a unit or drop-in, in order."""
    section, found = "", list[Line]()
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.append((section, name, value))
    return found


def settings_of(text: str) -> dict[str, str]:
    """Return the variables of an environment file, which shells read too."""
    found = (shlex.split(line, comments=True) for line in text.splitlines())
    return dict(one.split("=", 1) for words in found for one in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The files of deploy/systemd, by their path in it."""

    texts: Mapping[str, str]

    @property
    def commands(self) -> dict[str, str]:
        """The file of each process's unit, by the command that it is named after."""
        found = {name: re.fullmatch(r"izin-(\w+)@\.service", name) for name in self.texts}
        return {match[1]: name for name, match in found.items() if match}

    def lines(self, command: str) -> list[Line]:
        """Return the directives of a process, those of the drop-in first."""
        return lines_of(self.texts[DROP_IN]) + lines_of(self.texts[self.commands[command]])

    def values(self, command: str, directive: str) -> list[str]:
        """Return the values of a directive, as they are for the instance ``it`` on ``host``."""
        known = {"%i": "it", "%H": "host", "%d": _CREDENTIALS, "%p": f"izin-{command}"}
        return [
            re.sub(r"%\w", lambda m: known[m[0]], value)
            for _, name, value in self.lines(command)
            if name == directive
        ]

    def environment(self, command: str) -> dict[str, str]:
        """Return the environment of a process, with that of the example files."""
        found = dict(one.split("=", 1) for one in self.values(command, "Environment"))
        for name in ("izin.env", f"izin-{command}.env"):
            found.update(settings_of(self.texts.get(name, "")))
        return found


def units() -> Units:
    """Return the files as they are."""
    paths = sorted(one for one in FOLDER.rglob("*") if one.is_file())
    return Units(
        texts={str(one.relative_to(FOLDER)): one.read_text(encoding="utf-8") for one in paths}
    )


def directives(given: Units) -> Iterator[str]:
    """Look for directives that systemd would ignore, and for a second one that replaces a first."""
    for path, text in given.texts.items():
        if path.endswith(".env"):
            continue
        found = lines_of(text)
        for section, name, _ in found:
            once = _ONCE.get(section, set()) | (HARDENED.keys() if section == "Service" else set())
            if name not in once | _MANY:
                yield f"{path}: {name} in [{section}] is unknown"
        names = [name for _, name, _ in found if name not in _MANY]
        yield from (f"{path}: {name} twice" for name in {*names} if names.count(name) > 1)


def commands(given: Units) -> Iterator[str]:
    """Look for processes without a unit, and for commands that izin does not have."""
    for command in LISTENERS.keys() ^ given.commands.keys():
        yield f"{command}: it has no unit, or there is no such process"
    for command in given.commands:
        for line in given.values(command, "ExecStart"):
            program, *rest = shlex.split(line)
            if program != PROGRAM or rest != [command]:
                yield f"{command}: ExecStart is not {PROGRAM} {command}"
            elif refused := refusal(["izin", *rest], given.environment(command)):
                yield f"{command}: {refused}"


def variables(given: Units) -> Iterator[str]:
    """Look for variables that a process does not read, or whose value it refuses."""
    common = settings_of(given.texts["izin.env"])
    for command in given.commands:
        found = given.environment(command)
        # What all have alike is read by most.
        own = {name: value for name, value in found.items() if name not in common}
        yield from (one for one in unreadable(command, own) if "nobody reads" in one)
        yield from (one for one in unreadable(command, found) if "nobody reads" not in one)


def secrets(given: Units) -> Iterator[str]:
    """Look for secrets that are no credentials, and for credentials that nobody reads."""
    for command in given.commands:
        loaded = dict(one.split(":", 1) for one in given.values(command, "LoadCredential"))
        read = set[str]()
        for name, value in given.environment(command).items():
            if name in secrets_of(command):
                yield f"{command}: {name} is in the environment"
            if value.startswith("/run/credentials/"):
                read.add(Path(value).name)
            elif name.removesuffix(SUFFIX) in secrets_of(command):
                yield f"{command}: {name} is no credential"
        yield from (f"{command}: credential {one} is not loaded" for one in read - loaded.keys())
        yield from (f"{command}: nobody reads credential {one}" for one in loaded.keys() - read)
        for path in loaded.values():
            if not path.startswith("/etc/izin/secrets/"):
                yield f"{command}: {path} is not where secrets are"


def ends(given: Units) -> Iterator[str]:
    """Look for processes that would be killed while they end, or kept down after they ended."""
    for command in given.commands:
        (seconds,) = given.values(command, "TimeoutStopSec")
        if float(seconds) < ENDS_WITHIN[command] + _MARGIN:
            yield f"{command}: it may take {ENDS_WITHIN[command]} s to end, and has {seconds}"
        if given.values(command, "Restart") != ["always"]:
            yield f"{command}: it stays down once it has ended"
        if given.values(command, "StartLimitIntervalSec") != ["0"]:
            yield f"{command}: it stays down where Kafka is away for long"


def hardened(given: Units) -> Iterator[str]:
    """Look for rights that no process needs, and for folders that it needs and may not write."""
    found = {name: value for _, name, value in lines_of(given.texts[DROP_IN])}
    yield from (
        f"{name} is not {value}" for name, value in HARDENED.items() if found.get(name) != value
    )
    for command in given.commands:
        own = {name for _, name, _ in lines_of(given.texts[given.commands[command]])}
        yield from (f"{command}: {name} is set again" for name in sorted(own & HARDENED.keys()))
        folders = {f"{_STATE}{one}" for one in given.values(command, "StateDirectory")}
        for name, value in given.environment(command).items():
            if value.startswith("/var") and not any(
                value == folder or value.startswith(f"{folder}/") for folder in folders
            ):
                yield f"{command}: {name} is in no folder of its own"
        for folder in folders:
            if not folder.endswith("-it"):
                yield f"{command}: {folder} is that of all its instances"


def together(given: Units) -> Iterator[str]:
    """Look for processes that do not start and stop with the target, or whose ports differ."""
    for command in given.commands:
        if given.values(command, "WantedBy") != ["izin.target"]:
            yield f"{command}: nothing starts it"
        if given.values(command, "PartOf") != ["izin.target"]:
            yield f"{command}: it does not stop with the target"
        for name, (_, port) in listening(command, given.environment(command)).items():
            fields = LISTENERS[command].model_fields
            if port != fields["port" if name == "http" else f"{name}_port"].default:
                yield f"{command}: it listens on another port than its default"
    if ("Install", "WantedBy", "multi-user.target") not in lines_of(given.texts["izin.target"]):
        yield "izin.target is not started with the host"


Check = Callable[[Units], Iterator[str]]
CHECKS: tuple[Check, ...] = (directives, commands, variables, secrets, ends, hardened, together)
BROKEN = [
    (directives, DROP_IN, "ProtectClock", "ProtectClok", "ProtectClok in [Service]"),
    (directives, DROP_IN, "UMask=0077", "UMask=0077\nUMask=0022", "UMask twice"),
    (directives, "izin.target", "[Install]", "[Instal]", "WantedBy in [Instal]"),
    (commands, "izin-gate@.service", "izin gate\n", "izin gates\n", "gate: ExecStart"),
    (commands, "izin-gate@.service", "izin gate\n", "izin gate --fast\n", "gate: ExecStart"),
    (variables, "izin-order@.service", "IZIN_STATE=", "IZIN_STAT=", "nobody reads IZIN_STAT"),
    (variables, "izin-order@.service", "=rocksdb", "=rocks", "order: IZIN_STATE"),
    (variables, "izin.env", "SASL_SSL", "PLAINTEXT", "order: KAFKA"),
    (variables, "izin.env", "PARTITIONS=48", "PARTITIONS=many", "IZIN_PARTITIONS"),
    (variables, "izin-sink.env", "IZIN_PUSH_URL=https", "IZIN_PUSH_URL=http", "IZIN_PUSH_URL"),
    (variables, "izin-sink.env", "IYS_USERNAME", "IYS_USER", "nobody reads IYS_USER"),
    (secrets, "izin-api@.service", "%d/database-url", "%d/database", "database is not loaded"),
    (secrets, "izin-api@.service", "=%d/", "=/etc/izin/", "is no credential"),
    (secrets, "izin-api@.service", "URL_FILE=%d", "URL=%d", "is in the environment"),
    (secrets, "izin-api@.service", "/etc/izin/secrets/api", "/tmp/api", "not where secrets are"),
    (ends, "izin-intake@.service", "StopSec=40", "StopSec=25", "intake: it may take 30"),
    (ends, DROP_IN, "Restart=always", "Restart=no", "stays down once"),
    (ends, DROP_IN, "IntervalSec=0", "IntervalSec=10", "where Kafka is away"),
    (
        hardened,
        DROP_IN,
        "ProtectSystem=strict",
        "ProtectSystem=full",
        "ProtectSystem is not strict",
    ),
    (hardened, "izin-sink@.service", "[Service]", "[Service]\nPrivateTmp=no", "set again"),
    (hardened, "izin-sink@.service", "StateDirectory=izin/sink-%i", "", "in no folder of its own"),
    (hardened, "izin-order@.service", "izin/order-%i", "izin/order", "that of all its instances"),
    (together, "izin-feeds@.service", "WantedBy=izin.target", "", "nothing starts it"),
    (together, DROP_IN, "PartOf=izin.target", "PartOf=a.target", "does not stop with"),
    (
        together,
        "izin-gate@.service",
        "[Install]",
        "Environment=IZIN_GATE_PORT=1\n[Install]",
        "port",
    ),
    (together, "izin.target", "WantedBy=multi-user.target", "", "not started with the host"),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_units_match_the_code(check: Check) -> None:
    """Systemd starts what the code describes."""
    assert list(check(units())) == []


@pytest.mark.parametrize(("check", "path", "old", "new", "found"), BROKEN)
def test_broken_unit_is_found(check: Check, path: str, old: str, new: str, found: str) -> None:
    """A check that finds nothing in a broken copy would guard nothing."""
    given = units()
    assert old in given.texts[path]
    broken = {**given.texts, path: given.texts[path].replace(old, new)}
    assert any(found in one for one in check(replace(given, texts=broken)))


def test_checks_of_units_all_fire() -> None:
    """A check that finds nothing in any broken copy could be empty."""
    assert {check for check, *_ in BROKEN} == set(CHECKS)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_has_nothing_to_say_of_the_units(tmp_path: Path) -> None:
    """It would ignore a directive that it does not know, and says so here."""
    given = units()
    for path, text in given.texts.items():
        target = tmp_path / path.replace("@.service", "@it.service")
        target.parent.mkdir(exist_ok=True)
        target.write_text(text.replace(PROGRAM, shutil.which("true") or ""), encoding="utf-8")
    names = [f"izin-{command}@it.service" for command in given.commands]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "izin.target", *names],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_page_says_where_each_unit_runs() -> None:
    """A process that is added is placed: on one host, on three, and what it may not."""
    page = (ROOT / "docs" / "deploying.md").read_text("utf-8")
    found = re.findall(r"^\| `izin (\w+)` \| `izin-(\w+)@\w+` \|", page, re.MULTILINE)
    assert sorted(found) == sorted((command, command) for command in LISTENERS)
    paths = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page)
    assert [one for one in paths if not (ROOT / "docs" / one).exists()] == []
