"""The options of all commands: one meaning has one name, and one name one meaning."""

import re
from collections import Counter

import typer

from izin.console.cli import COMMANDS, app
from tests.support.acts import commands
from tests.support.options import MEANINGS

TYPERS_OWN = {"--help", "--install-completion", "--show-completion"}
MOST_COMMANDS = 35


def options() -> list[tuple[str, str, str]]:
    """Return each option with its command and its help; one with two names twice."""
    return [
        (name, words, getattr(one, "help", None) or "")
        for words, command in dict(commands()).items()
        for one in command.params
        for name in one.opts
        if name.startswith("-") and name not in TYPERS_OWN
    ]


def test_every_option_says_what_its_name_means() -> None:
    """An option that is added has a meaning of its own, or is that one everywhere."""
    others = [
        f"{words} {name}: {text}"
        for name, words, text in options()
        if name not in MEANINGS or not re.search(MEANINGS[name], text)
    ]
    assert others == []


def test_every_meaning_has_one_option() -> None:
    """No meaning is listed twice, and none of an option that is gone."""
    assert [one for one, count in Counter(MEANINGS.values()).items() if count > 1] == []
    assert MEANINGS.keys() - {name for name, _, _ in options()} == set()


def test_same_help_has_the_same_name() -> None:
    """What is said in the same words is the same option."""
    names: dict[str, set[str]] = {}
    for name, _, text in options():
        names.setdefault(text, set()).add(name)
    assert [sorted(found) for found in names.values() if len(found) > 1] == []


def test_options_have_no_second_name() -> None:
    """Nor a short one: scripts and documentation then have the same words."""
    counted = [
        f"{words}: {' '.join(one.opts)}"
        for words, command in dict(commands()).items()
        for one in command.params
        if one.param_type_name == "option" and len(one.opts) > 1
    ]
    assert counted == []


def test_top_level_is_small_and_in_groups() -> None:
    """The help shows the commands by what people do."""
    found = typer.main.get_command(app).commands
    assert len(found) <= MOST_COMMANDS
    shown = {name: command.rich_help_panel for name, command in found.items()}
    assert shown == {name: group for group, names in COMMANDS.items() for name in names}
