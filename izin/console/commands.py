"""Subcommands of ``izin``, each imported when it is called.

A command starts in the time that its own imports take: ``izin publish`` loads no stream engine,
and ``izin explain`` no simulator. Only the list of all commands imports all of them.
"""

import inspect
from collections import UserDict
from pkgutil import resolve_name
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from izin.console.terminal.output import exit_on_error

COMMANDS = {
    "demo": "izin.console.up:demo",
    "up": "izin.console.up:up",
    "publish": "izin.console.publish:publish",
    "import": "izin.console.imports.command:app",
    "may-send": "izin.console.sending.may_send:may_send",
    "scrub": "izin.console.sending.scrub:scrub_file",
    "order": "izin.console.workers:order",
    "sink": "izin.console.workers:sink",
    "intake": "izin.console.workers:intake",
    "feeds": "izin.console.workers:feeds",
    "gate": "izin.console.workers:gate",
    "webhooks": "izin.console.workers:webhooks",
    "explain": "izin.console.explain:explain",
    "evidence": "izin.console.evidence.command:app",
    "complaints": "izin.console.evidence.complaints:app",
    "report": "izin.console.reports:app",
    "dead-letters": "izin.console.dead_letters.command:app",
    "reconcile": "izin.console.reconcile.command:reconcile",
    "rate-limits": "izin.console.iys:rate_limits",
    "iys": "izin.console.iys:app",
    "deadlines": "izin.console.deadlines:app",
    "doctor": "izin.console.doctor.checks:doctor",
    "verify": "izin.console.verify.command:verify",
    "customers": "izin.console.customers.command:app",
    "brands": "izin.console.brands.command:app",
    "keys": "izin.console.keys:app",
    "subscribers": "izin.console.subscribers.command:app",
    "ledger": "izin.console.ledger:app",
    "privacy": "izin.console.privacy:app",
    "replay": "izin.console.replay.command:app",
    "receipts": "izin.console.receipts:app",
    "retention": "izin.console.retention:app",
    "sequences": "izin.console.sequences:app",
    "local": "izin.local.cli:app",
}
"""Where each command is: a function, or a Typer app where it is a group."""


class LazyCommands(UserDict[str, Any]):
    """Commands by name; each is imported at its first use."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer's command or group
        found = super().__getitem__(name)
        if isinstance(found, str):
            found = self[name] = _command(name, resolve_name(found))
        return found


class CommandGroup(TyperGroup):
    """The group ``izin``."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - Typer's own
        super().__init__(**attributes)
        self.commands = LazyCommands(COMMANDS)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer's context, and what a command returns
        """Run a command; an error that a user can act on is one message and an exit code."""
        with exit_on_error():
            return super().invoke(ctx)


def _command(name: str, found: Any) -> Any:  # noqa: ANN401 - Typer's command or group
    """Return ``found``, a function or a Typer app, as the command that Typer makes of it."""
    group = typer.Typer()
    if isinstance(found, typer.Typer):
        group.add_typer(found, name=name)
    else:
        group.command(name)(found)
    return _unwrapped(get_group(group).commands[name])


def _unwrapped(command: Any) -> Any:  # noqa: ANN401 - Typer's command or group
    """Return ``command`` and its subcommands with each paragraph of help in one line: Typer would
    keep the line ends of the source, and break sentences on terminals of another width.
    """
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(one.split()) for one in paragraphs)
    for inner in getattr(command, "commands", {}).values():
        _unwrapped(inner)
    return command
