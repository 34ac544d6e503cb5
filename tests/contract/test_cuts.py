"""Each command and route says how it is run for one customer, so that none is forgotten."""

import click

from tests.support.acts import commands
from tests.support.customers.cuts import CUTS, ROUTES, WITHOUT_DATA, routes
from tests.support.source_tree import ROOT

COMMANDS = dict(commands())
BRAND, CUSTOMER = {"--brand", "brand_code"}, {"--customer", "customer_id"}
"""How commands take a brand and a customer."""


def test_every_command_says_how_it_is_cut() -> None:
    """A command that is added is added here too, with the lines by which it is run."""
    assert sorted([*CUTS, *WITHOUT_DATA]) == sorted(COMMANDS)
    assert [name for name, cut in CUTS.items() if not cut.lines and not cut.refused] == []


def test_command_without_data_takes_no_customer_or_brand() -> None:
    """What takes whose data it shows has data to show; and two commands alone show everybody's."""
    takes = {name for name, one in COMMANDS.items() if _options(one) & {"--customer", "--brand"}}
    assert takes & WITHOUT_DATA.keys() == set()
    assert {name for name, cut in CUTS.items() if cut.whole} == {"doctor", "ledger archive"}


def test_command_of_a_customer_is_asked_for_anothers() -> None:
    """What takes a customer and a brand is run with a brand of another."""
    for name, cut in CUTS.items():
        takes = _options(COMMANDS[name]) | _arguments(COMMANDS[name])
        if BRAND & takes and CUSTOMER & takes:
            asked = [one for one in (*cut.refused, *cut.selects_none) if "{their_brand}" in one]
            assert asked, name


def test_every_route_says_what_it_is_asked() -> None:
    """A route that is added is added here too, with requests with the API key of one customer."""
    assert routes(ROOT) == ROUTES.keys()
    assert all(ROUTES.values())


def _options(command: click.Command) -> set[str]:
    return {opt for one in command.params for opt in one.opts if opt.startswith("-")}


def _arguments(command: click.Command) -> set[str]:
    return {one.name or "" for one in command.params if one.param_type_name == "argument"}
