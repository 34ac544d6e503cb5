"""Each command and route says how it is cut to one customer, so that none is forgotten."""

from tests.support.acts import commands
from tests.support.customers.cuts import CUT, ELSEWHERE, NAMED, OPERATORS, ROUTES, WHOLE, routes
from tests.support.source_tree import ROOT

COMMANDS = dict(commands())


def test_every_command_says_how_it_is_cut() -> None:
    """A command that is added is added here too: run among others' data, or with its reason."""
    tables = (CUT, NAMED, ELSEWHERE, WHOLE)
    assert sorted(name for table in tables for name in table) == sorted(COMMANDS)


def test_command_that_takes_a_customer_is_cut() -> None:
    """What takes whose data it shows is run with that, here or elsewhere."""
    takes = {
        name
        for name, command in COMMANDS.items()
        if {"--customer", "--brand"} & {opt for one in command.params for opt in one.opts}
    }
    assert takes & WHOLE.keys() == set()


def test_tests_elsewhere_cut_by_customer_or_brand() -> None:
    """The file is there, and does so."""
    for path in {*ELSEWHERE.values(), *(one for one in ROUTES.values() if one.endswith(".py"))}:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert "--customer" in text or "--brand" in text or "customer" in text, path


def test_every_route_says_how_it_is_cut() -> None:
    """A route that is added is added here too; an API key is cut to its customers."""
    assert routes(ROOT) == ROUTES.keys()
    assert all(why == OPERATORS or why for why in ROUTES.values())
