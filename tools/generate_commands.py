"""The reference of commands, from the command line itself."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from izin.cli.cli import COMMANDS, app

_INTRODUCTION = """# Commands

Every command, by what people do. `izin COMMAND --help` has effects and exit codes, `izin --version`
the release. Those with a result take `--output json`; what is dangerous says what it would do, and
does it with `--execute`. One option has one meaning everywhere.

| exit code | |
|---|---|
| 0 | done, and all is well |
| 1 | something is wrong, and the output says what to do |
| 2 | wrong usage |
| 3 | the input cannot be used: its source must act |
| 4 | a server cannot be reached, or a part of this installation is at fault: an operator must act |
| 5 | done, but opt-outs (RET) of the input were refused, or may be among what was refused |
| 6 | nothing is wrong with what could be verified, and something could not be |
| 130 | stopped by Ctrl-C or SIGTERM before it was done |
"""

_TITLES = "| command | what it does | options |\n|---|---|---|\n"


def commands_page(note: str) -> str:
    """Return the page of all commands, ``note`` first."""
    found: Mapping[str, Any] = vars(typer.main.get_command(app))["commands"]
    parts = [f"{note}\n{_INTRODUCTION}"]
    for group, names in COMMANDS.items():
        rows = [row for name in names for row in _rows(found[name], name)]
        parts.append(f"## {group}\n\n{_TITLES}{''.join(rows)}")
    return "\n".join(parts)


def summaries() -> str:
    """Return what each command does, as JSON by its name, for the list of all: to read it there
    must cost no import.
    """
    found: Mapping[str, Any] = vars(typer.main.get_command(app))["commands"]
    texts = {name: _first(found[name]) for names in COMMANDS.values() for name in names}
    return json.dumps(texts, ensure_ascii=False, indent=1) + "\n"


def _first(command: Any) -> str:  # noqa: ANN401  # Typer's command or group
    """Return the first sentence of what is said of a command."""
    first, *_ = re.split(r"(?<=[.:]) (?=[A-Z])|\n", command.help or "", maxsplit=1)
    return first


def _rows(command: Any, words: str) -> Iterator[str]:  # noqa: ANN401  # Typer's command or group
    """Yield a row for ``command``, or for each within it."""
    if not hasattr(command, "commands") or command.invoke_without_command:
        yield _row(command, words)
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _rows(inner, f"{words} {name}")


def _row(command: Any, words: str) -> str:  # noqa: ANN401  # the same
    given = [one for one in command.params if one.param_type_name == "argument"]
    arguments = "".join(f" {one.metavar or one.name.upper()}" for one in given)
    options = [one.opts[0] for one in command.params if one.param_type_name == "option"]
    listed = " ".join(f"`{one}`" for one in options if one != "--help")
    text = _first(command).replace("|", "\\|")
    return f"| `izin {words}{arguments}` | {text} | {listed} |\n"
