"""Each command that changes the ledger or shows people names its actor; each new command says
whether it does.
"""

import click
import pytest

from tests.support.acts import ACTS, ELSEWHERE, LOOKS, OTHERS, ROUTES, commands
from tests.support.customers.cuts import routes
from tests.support.source_tree import ROOT

COMMANDS = dict(commands())


def test_every_command_is_known_as_changing_or_not() -> None:
    """A command that is added is added here too, with its entry or its reason."""
    recorded = ACTS.keys() | ELSEWHERE.keys() | LOOKS.keys()
    assert recorded | OTHERS.keys() == COMMANDS.keys()
    assert not recorded & OTHERS.keys()
    assert not ACTS.keys() & ELSEWHERE.keys()


def test_every_route_is_known_as_recorded_or_not() -> None:
    """A route that is added is added here too, with its reason."""
    assert ROUTES.keys() == routes(ROOT)
    assert all(ROUTES.values())


def test_command_that_says_its_output_is_personal_is_a_look() -> None:
    """Its help tells of personal data, so who reads it is recorded."""
    says = {name for name, one in COMMANDS.items() if "personal data" in _help(one)}
    assert says <= LOOKS.keys()


@pytest.mark.parametrize("name", sorted({*ACTS, *ELSEWHERE, *LOOKS}))
def test_changing_command_takes_its_actor_the_same_way(name: str) -> None:
    """By --by or IZIN_ACTOR; tests/integration/cli/test_acts.py runs each of them."""
    (by,) = [one for one in COMMANDS[name].params if one.name == "by"]
    assert (by.opts, by.envvar, by.default is None) == (["--by"], "IZIN_ACTOR", False)


@pytest.mark.parametrize("name", OTHERS)
def test_other_command_takes_no_actor(name: str) -> None:
    """Where nothing is ordered, nobody is asked who orders it."""
    assert "by" not in {one.name for one in COMMANDS[name].params}


def _help(command: click.Command) -> str:
    """Return all that a command says of itself."""
    options = (getattr(one, "help", None) or "" for one in command.params)
    return " ".join([command.help or "", *options])
