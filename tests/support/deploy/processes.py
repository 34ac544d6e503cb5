"""What deployments start, what each process reads, and how long it takes to end: the facts with
which compose files, units, manifests and the image are compared.
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import certifi
from iys_simulator.commands.cli import app as simulator
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from typer.main import get_command

from izin.api import process as api
from izin.cli.cli import app as izin
from izin.feeds import endpoint as feeds
from izin.gate import receipts, server as gate
from izin.producers.intake import process as intake
from izin.producers.outbox import process as outbox
from izin.runtime import settings
from izin.runtime.setting_rules.group import SUFFIX, secret_variables
from izin.sinks import worker as sink
from izin.streams.engine import watches
from izin.web import process as console
from izin.webhooks import process as webhooks
from tests.support.secret_keys import key_setting

Environment = Mapping[str, str]

LISTENERS: Mapping[str, type[BaseSettings]] = {
    "order": settings.StreamSettings,
    "sink": settings.SinkSettings,
    "intake": settings.IntakeSettings,
    "feeds": settings.FeedsSettings,
    "gate": settings.GateSettings,
    "webhooks": settings.WebhookSettings,
    "api": settings.ApiSettings,
    "console": settings.ConsoleSettings,
    "outbox": settings.OutboxSettings,
}
"""Every process of izin: its command, and the settings that say where it listens."""
_OVER_THE_LEDGER = ("sink", "webhooks", "api", "console")
READS: Mapping[str, tuple[type[BaseSettings], ...]] = {
    **{
        command: (
            settings.KafkaSettings,
            *((settings.LedgerSettings,) if command in _OVER_THE_LEDGER else ()),
            *((settings.IysSettings,) if command == "sink" else ()),
            listens,
            settings.LogSettings,
        )
        for command, listens in LISTENERS.items()
    },
    "doctor": (
        *(settings.KafkaSettings, settings.LedgerSettings, settings.IysSettings),
        *(settings.StreamSettings, settings.SinkSettings),
        *(settings.IntakeSettings, settings.FeedsSettings),
        *(settings.GateSettings, settings.ApiSettings, settings.ConsoleSettings),
    ),
    "customers": (settings.LedgerSettings,),
    "brands": (settings.KafkaSettings, settings.LedgerSettings),
    "publish": (settings.KafkaSettings,),
    "explain": (settings.LedgerSettings,),
    "serve": (),
}
ENDS_WITHIN: Mapping[str, float] = {
    "order": watches.WITHIN,
    "sink": max(sink._DRAIN, sink._DRAIN_HTTP),
    "intake": intake._DRAIN + intake._DELIVERY.total_seconds(),
    "feeds": feeds._DRAIN,
    "gate": gate._DRAIN + receipts.DELIVERED_WITHIN,
    "webhooks": max(webhooks._DRAIN, webhooks._HTTP_DRAIN),
    "api": api._DRAIN + api._DELIVERY.total_seconds(),
    "console": console._DRAIN,
    "outbox": outbox._DELIVERY.total_seconds(),
}
"""Seconds that a process takes at most for what it has in hand, once it is told to stop."""
PROGRAMS = {"izin": get_command(izin), "iys-simulator": get_command(simulator)}
SAMPLES = {
    "DATABASE_URL": "postgresql://izin:sample@db.example.com/izin?sslmode=verify-full",
    "IZIN_OUTBOX_DATABASE_URL": "postgresql://izin:sample@crm.example.com/crm?sslmode=verify-full",
    "IZIN_SUPPRESSION_SECRETS": f'["{"sample" * 6}"]',
    "IZIN_SECRET_KEYS": key_setting(1),
}
"""Secrets that have a form."""


def leaf(argv: list[str]) -> tuple[Any, list[str]]:
    """Return the command that ``argv`` names, and the remaining arguments."""
    command: Any = PROGRAMS.get(argv[0])
    rest = list(argv[1:])
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def refusal(argv: list[str], environment: Environment) -> str | None:
    """Return why the command line would refuse ``argv``, or None."""
    command, rest = leaf(argv)
    if rest == ["--help"]:
        return None
    if command is PROGRAMS.get(argv[0]):
        return f"{shlex.join(argv)}: no such command"
    try:
        with patch.dict(os.environ, environment, clear=True):
            command.make_context(command.name, rest)
    except Exception as error:  # noqa: BLE001 - whatever the parser raises is its refusal
        return f"{shlex.join(argv)}: {error}"
    return None


def secrets_of(command: str) -> set[str]:
    """Return the variables of ``command`` that are secret."""
    return {name for group in READS[command] for name in secret_variables(group)}


def known_variables(argv: list[str]) -> set[str]:
    """Return the variables that this command line reads."""
    aliases = {
        str(field.validation_alias)
        for group in READS[argv[1]]
        for field in group.model_fields.values()
    }
    options = {param.envvar for param in leaf(argv)[0].params if isinstance(param.envvar, str)}
    return aliases | options | {f"{name}{SUFFIX}" for name in secrets_of(argv[1])}


def read(group: type[BaseSettings], environment: Environment) -> Any:  # noqa: ANN401 - any group
    """Return the settings as a process with this environment reads them."""
    with patch.dict(os.environ, environment, clear=True):
        return group()


def with_files(command: str, environment: Environment) -> dict[str, str]:
    """Return ``environment`` as on a host that has the files which it names: secrets with a value,
    and authorities.
    """
    secrets, found = secrets_of(command), {}
    for name, value in environment.items():
        variable = name.removesuffix(SUFFIX)
        if name.endswith(SUFFIX) and variable in secrets:
            found[variable] = SAMPLES.get(variable, "sample")
        else:
            found[name] = certifi.where() if value.endswith(".pem") else value
    return found


def unreadable(command: str, environment: Environment) -> Iterator[str]:
    """Yield what the process of ``command`` would refuse of ``environment``, or not read at all."""
    known = known_variables(["izin", command])
    yield from (f"{command}: nobody reads {name}" for name in environment if name not in known)
    for group in READS[command]:
        try:
            read(group, with_files(command, environment))
        except ValidationError as error:
            yield f"{command}: {', '.join(str(one['loc'][0]) for one in error.errors())}"
        except Exception as error:  # noqa: BLE001 - a file, or settings that contradict one another
            yield f"{command}: {error}"


def listening(command: str, environment: Environment) -> dict[str, tuple[str, int]]:
    """Return host and port of each listener of a process: ``http``, and mostly ``operations``."""
    found = read(LISTENERS[command], with_files(command, environment))
    ports = {"http": (found.host, found.port)}
    if hasattr(found, "operations_port"):
        ports["operations"] = (found.operations_host, found.operations_port)
    return ports
