"""The command ``izin``: its subcommands, by what people do, each imported when it is called.

A command starts in the time that its own imports take: ``izin publish`` loads no stream engine,
and ``izin explain`` no simulator. The list of all commands imports none of them: what each does is
in ``summaries.json``, which ``make docs`` writes.
"""

import inspect
import json
import logging
from collections import UserDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from importlib.resources import files
from pkgutil import resolve_name
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "Start": {
        "demo": "izin.cli.up:demo",
        "up": "izin.cli.up:up",
        "doctor": "izin.cli.doctor.checks:doctor",
        "download": "izin.cli.up:download",
    },
    "Run the processes": {
        "order": "izin.streams.__main__:main",
        "sink": "izin.sinks.__main__:main",
        "intake": "izin.producers.__main__:main",
        "outbox": "izin.producers.outbox.__main__:main",
        "feeds": "izin.feeds.__main__:main",
        "gate": "izin.gate.__main__:main",
        "webhooks": "izin.webhooks.__main__:main",
        "api": "izin.api.__main__:main",
        "console": "izin.web.__main__:main",
    },
    "Publish consents and opt-outs": {
        "publish": "izin.cli.publish:publish",
        "import": "izin.cli.imports.command:app",
        "sources": "izin.cli.sources:app",
        "links": "izin.cli.links:app",
        "via": "izin.cli.via:app",
        "sequences": "izin.cli.held_back:sequences_app",
    },
    "Send messages": {
        "may-send": "izin.cli.sending.may_send:may_send",
        "scrub": "izin.cli.sending.scrub:scrub_file",
        "receipts": "izin.cli.explain:receipts_app",
    },
    "Answer about a person": {
        "explain": "izin.cli.explain:explain",
        "evidence": "izin.cli.evidence.command:app",
        "complaints": "izin.cli.evidence.command:complaints_app",
        "privacy": "izin.cli.privacy:app",
    },
    "Keep İYS's terms": {
        "deadlines": "izin.cli.deadlines:app",
        "held-back": "izin.cli.held_back:app",
        "iys": "izin.cli.iys:app",
        "worklist": "izin.cli.worklist:worklist",
        "report": "izin.cli.deadlines:reports_app",
    },
    "Repair": {
        "dead-letters": "izin.cli.dead_letters.command:app",
        "reconcile": "izin.cli.reconcile.command:reconcile",
        "replay": "izin.cli.replay.command:app",
        "ledger": "izin.cli.ledger:app",
        "verify": "izin.cli.verify.command:verify",
    },
    "Administer": {
        "customers": "izin.cli.customers.command:app",
        "brands": "izin.cli.brands.command:app",
        "keys": "izin.cli.keys:app",
        "accounts": "izin.cli.accounts:app",
        "subscribers": "izin.cli.subscribers.command:app",
        "retention": "izin.cli.privacy:retention_app",
    },
}
"""Where each command is, by what people do: a function, or a Typer app where it is a group."""
_GROUPS = {name: group for group, commands in COMMANDS.items() for name in commands}
_HELP = (
    "Manage consents to commercial messages, and register them at İYS within the legal term.\n\n"
    "İYS is Turkey's national register of consents to commercial messages. A consent is ONAY "
    "(opt-in) or RET (opt-out) and belongs to a brand (a sender registered at İYS), a channel "
    "(ARAMA: calls, MESAJ: text messages, EPOSTA: e-mail) and a recipient.\n\n"
    "Exit codes: 0 done, 1 something is wrong and the output says what to do, 2 wrong usage, 3 the "
    "input cannot be used, 4 a server or this installation is at fault, 5 opt-outs of the input "
    "were refused, 6 something could not be verified, 130 stopped by a signal."
)


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
        self.commands = LazyCommands(
            {name: where for commands in COMMANDS.values() for name, where in commands.items()}
        )

    def format_help(self, *context: Any) -> None:  # noqa: ANN401 - Typer's own
        """Write the help, with what each command does."""
        with self._summarised():
            super().format_help(*context)

    def shell_complete(self, *context: Any) -> Any:  # noqa: ANN401 - Typer's own
        """Return what may follow."""
        with self._summarised():
            return super().shell_complete(*context)

    @contextmanager
    def _summarised(self) -> Iterator[None]:
        """Have commands that only say what they do in place of them all."""
        kept, texts = self.commands, files(__package__).joinpath("summaries.json").read_bytes()
        try:
            self.commands = {
                name: TyperCommand(name, help=text, rich_help_panel=_GROUPS[name])
                for name, text in json.loads(texts).items()
            }
            yield
        finally:
            self.commands = kept

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer's context, and what a command returns
        """Run a command; an error that a user can act on is one message and an exit code."""
        from izin.cli.terminal import (  # noqa: PLC0415  # not for the list of commands
            ExitCode,
            exit_on_error,
        )

        try:
            with exit_on_error():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _command(name: str, found: Any) -> Any:  # noqa: ANN401 - Typer's command or group
    """Return ``found``, a function or a Typer app, as the command that Typer makes of it."""
    group = typer.Typer()
    if isinstance(found, typer.Typer):
        group.add_typer(found, name=name, rich_help_panel=_GROUPS[name])
    else:
        group.command(name, rich_help_panel=_GROUPS[name])(found)
    return _unwrapped(get_group(group).commands[name])


def _unwrapped(command: Any) -> Any:  # noqa: ANN401 - Typer's command or group
    """Return ``command`` and its subcommands with each paragraph of help in one line: Typer would
    keep the line ends of the source, and break sentences on terminals of another width.
    """
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for inner in getattr(command, "commands", {}).values():
        _unwrapped(inner)
    return command


app = typer.Typer(
    name="izin", cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"izin {metadata.version('izin')}")
        raise typer.Exit


@app.callback(help=_HELP)
def izin(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the release, and end."
        ),
    ] = False,
) -> None:
    """Print help where no command is given."""
    from izin.cli.terminal.command_logs import configure  # noqa: PLC0415  # not for the list of commands

    configure()


def main() -> None:
    """Run the command line."""
    # Warnings of libraries belong to the logs of the workers, which configure logging; a command
    # reports what went wrong once, by itself.
    logging.getLogger().addHandler(logging.NullHandler())
    app()
