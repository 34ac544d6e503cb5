"""The options of all commands: one meaning has one name, and one name one meaning.

Each command and route says how it is run for one customer, so that none is forgotten.
"""

import re
from collections import Counter
from collections.abc import Mapping

import click
import typer

from izin.cli import cli
from tests.support.acts import commands
from tests.support.customers.cuts import CUTS, ROUTES, WITHOUT_DATA, routes
from tests.support.project_rules import ROOT

TYPERS_OWN = {"--help", "--install-completion", "--show-completion"}
MOST_COMMANDS = 35

MEANINGS: Mapping[str, str] = {
    "--accept-loss": "although the archive ends too early",
    "--account": "API user that submits it",
    "--activated-at": "is active at İYS",
    "--address": "[Aa]ddress it is submitted from",
    "--again": "once more|[Aa]lso letters",
    "--all": "Every dead letter",
    "--all-customers": "everybody's",
    "--anchors": "file of anchors",
    "--any-ports": "Any free ports",
    "--archive": "Verify this archive",
    "--ask": "Ask İYS",
    "--at": "The instant in question",
    "--at-least": "A token",
    "--basis": "exempt class rests on",
    "--because": "[Oo]nly those with this reason",
    "--brand": "[Bb]rand",
    "--by": "Who does it",
    "--campaign": "name of the campaign",
    "--chaos": "kill -9",
    "--class": "What the message is",
    "--closed": "closed too",
    "--closed-day": "no business day",
    "--column": "column of the recipients",
    "--confirm": "on purpose",
    "--connect": "Kafka Connect and its plugins",
    "--connect-plugins": "plugins of Kafka Connect alone",
    "--content": "What the message says",
    "--corrects": "dead letter .* that this corrects",
    "--customer": "[Cc]ustomer|Whose|For whom",
    "--date": "When it was given",
    "--day": "The day, Turkish time",
    "--day-order": "in dates with slashes",
    "--dry-run": "publish nothing",
    "--due": "to be answered",
    "--event": "events of this kind",
    "--exactly": "exactly so many",
    "--excel-epoch": "Excel's date numbers",
    "--execute": "[Dd]o it|Execute the plan",
    "--expires": "From when on it is refused",
    "--file": "a recipient in each line",
    "--file-number": "number of the file at the authority",
    "--fix": "Create topics",
    "--for-import": "for izin import",
    "--for-tool": "for the tool to import",
    "--fresh": "start empty",
    "--from": "Who has the brand now",
    "--grace": "stays valid too",
    "--header-row": "names the columns",
    "--hidden-window": "pull hides a change",
    "--ignore": "column to skip",
    "--iys-code": "iysCode",
    "--kind": "before the law",
    "--limit": "At most so many",
    "--list": "as izin scrub wrote it",
    "--loading-deadline": "first loading",
    "--map": "what a column holds",
    "--mapping": "TOML file",
    "--mersis": "MERSİS",
    "--minimum": "fewer opt-outs than this",
    "--most-reversals": "may reverse by opt-ins",
    "--name": "Name of the",
    "--none": "no channel",
    "--note": "More about the outcome",
    "--of-topic": "records of this topic",
    "--off": "No limit",
    "--only": "rows with this answer",
    "--open-day": "is a business day",
    "--opt-ins": "opt-ins over opt-outs",
    "--opt-outs": "Do not wait for opt-outs",
    "--origin": "origin|Which of your systems",
    "--out": "[Ww]rite|The (file|archive|folder)",
    "--outcome": "What became of it",
    "--output": "Table for people, JSON for programs",
    "--parallel": "Requests at a time",
    "--permutations": "Number of permutations",
    "--plan": "written",
    "--port": "Where a part listens",
    "--post": "An endpoint of others",
    "--preview": "what each column holds",
    "--processes": "Number of processes",
    "--reason": "[Ww]hy|needed for",
    "--receipt": "Keep a receipt",
    "--recheck": "FILE is scrubbed",
    "--recipient": "[Rr]ecipient|Phone number",
    "--recipient-type": "BIREYSEL",
    "--reference": "Your own reference",
    "--refused": "would be refused again",
    "--registry": "schema registry",
    "--report": "Report of refused rows",
    "--reports": "Folder of the reports",
    "--result-delay": "results of a batch",
    "--retailer": "Code of the retailer",
    "--reversals": "which reverse an opt-out",
    "--roots": "roots \\(PEM\\)",
    "--rows": "Rows of the CRM export",
    "--running": "Check that workers run",
    "--scope": "What it may do",
    "--seed": "Seed of",
    "--sender": "name or number that the message shows",
    "--sent": "When the message was sent",
    "--servers-only": "Kafka and PostgreSQL alone",
    "--set": "for every row",
    "--share": "Percent of a brand's recipients",
    "--since": "since then|then or later",
    "--source": "source of İYS",
    "--state-dir": "Folder of data and logs",
    "--status": "ONAY .* or RET",
    "--stopped": "Send nothing of this brand",
    "--time-of-day": "whose date has none",
    "--timestamp": "time-stamp authority",
    "--topic": "anchors in the topic",
    "--type": "[Cc]hannel|ARAMA",
    "--unmasked": "personal data",
    "--until": "before",
    "--up-to": "last number to close",
    "--url": "URL|posted",
    "--username": "user that it was registered with",
    "--value": "what a word of the file means",
    "--vkn": "VKN",
    "--wait": "waits for the order workers",
    "--waiting": "nobody has acknowledged",
    "--what": "Calls to İYS",
}
"""By option, what the help of every command that has it says of it."""


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
    assert [
        f"{words} {name}: {text}"
        for name, words, text in options()
        if name not in MEANINGS or not re.search(MEANINGS[name], text)
    ] == []


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
    assert [
        f"{words}: {' '.join(one.opts)}"
        for words, command in dict(commands()).items()
        for one in command.params
        if one.param_type_name == "option" and len(one.opts) > 1
    ] == []


def test_top_level_is_small_and_in_groups() -> None:
    """The help shows the commands by what people do."""
    found = typer.main.get_command(cli.app).commands
    assert len(found) <= MOST_COMMANDS
    shown = {name: command.rich_help_panel for name, command in found.items()}
    assert shown == {name: group for group, names in cli.COMMANDS.items() for name in names}


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
