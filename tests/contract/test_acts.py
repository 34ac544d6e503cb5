"""Each command that changes the ledger names its actor; each new command says whether it does."""

import pytest

from tests.support.acts import ACTS, ELSEWHERE, OTHERS, commands

COMMANDS = dict(commands())


def test_every_command_is_known_as_changing_or_not() -> None:
    """A command that is added is added here too, with its movement or its reason."""
    assert ACTS.keys() | ELSEWHERE.keys() | OTHERS.keys() == COMMANDS.keys()
    assert len(ACTS) + len(ELSEWHERE) + len(OTHERS) == len(COMMANDS)


@pytest.mark.parametrize("name", [*ACTS, *ELSEWHERE])
def test_changing_command_takes_its_actor_the_same_way(name: str) -> None:
    """By --by or IZIN_ACTOR; tests/integration/console/test_acts.py runs each of them."""
    (by,) = [one for one in COMMANDS[name].params if one.name == "by"]
    assert by.opts == ["--by"]
    assert by.envvar == "IZIN_ACTOR"
    assert by.default is not None


@pytest.mark.parametrize("name", OTHERS)
def test_other_command_takes_no_actor(name: str) -> None:
    """Where nothing is ordered, nobody is asked who orders it."""
    assert "by" not in {one.name for one in COMMANDS[name].params}
