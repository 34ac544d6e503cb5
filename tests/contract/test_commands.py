"""The options of all commands: one meaning has one name, and one name one meaning.

Each command and route says how it is run for one customer, so that none is forgotten.

The first pages: README is short, and the index by role has every page.

Each command that changes the ledger or shows people names its actor; each new command says
whether it does.
Every problem that an endpoint can answer with has its section in docs/problems.md.
SECURITY.md promises what a test holds, and says what is not promised.

docs/subscribing.md says what the code says.
"""

import ast
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import click
import pytest
import typer
from structlog.testing import capture_logs

from izin.cli import cli
from izin.consent.may_send import PermissionReason
from izin.runtime.http_server.problems import ProblemText
from izin.schemas import contracts
from izin.schemas.topics import Topics
from izin.subscribers import Change, OutcomeKind
from tests.support import acts
from tests.support.acts import ACTS, ELSEWHERE, LOOKS, OTHERS, commands
from tests.support.customers import cuts
from tests.support.customers.cuts import CUTS, WITHOUT_DATA, routes
from tests.support.project_rules import ROOT, nodes_of

TYPERS_OWN = {"--help", "--install-completion", "--show-completion"}
MOST_COMMANDS = 42

MEANINGS: Mapping[str, str] = {
    "--accept-loss": "although the archive ends too early",
    "--account": "API user that submits it",
    "--activated-at": "is active at İYS",
    "--actor": "who did it",
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
    "--every-customer": "of every customer",
    "--exactly": "exactly so many",
    "--excel-epoch": "Excel's date numbers",
    "--execute": "[Dd]o it|Execute the plan",
    "--expires": "From when on it is refused",
    "--file": "a recipient in each line",
    "--file-number": "number of the file at the authority",
    "--fix": "Create topics",
    "--folder": "IZIN_INTAKE_SOURCES",
    "--for-import": "for izin import",
    "--for-tool": "for the tool to import",
    "--form": "NAME is a form",
    "--form-id": "İYS's portal",
    "--fresh": "start empty",
    "--from": "Who has the brand now",
    "--from-history": "whole history",
    "--grace": "stays valid too",
    "--header": "of the delivery",
    "--header-row": "names the columns",
    "--hidden-window": "pull hides a change",
    "--ignore": "column to skip",
    "--iys-code": "iysCode",
    "--iys": "Check İYS alone",
    "--key": "consent of this key",
    "--kind": "before the law",
    "--letter": "dead letter .* in its place",
    "--limit": "At most so many",
    "--links": "the column opt_out",
    "--list": "as izin scrub wrote it",
    "--loading-deadline": "first loading",
    "--map": "what a column holds",
    "--mapping": "TOML file",
    "--mersis": "MERSİS",
    "--minimum": "fewer opt-outs than this",
    "--month": "The month",
    "--most-reversals": "may reverse by opt-ins",
    "--name": "Name of the",
    "--needs": "needs a person",
    "--none": "no channel",
    "--note": "More about the outcome",
    "--occasion": "doing just now",
    "--of-topic": "records of this topic",
    "--off": "No limit",
    "--only": "rows with this answer",
    "--open-day": "is a business day",
    "--opt-ins": "opt-ins over opt-outs",
    "--opt-outs": "Do not wait for opt-outs",
    "--origin": "origin|Which of your systems",
    "--out": "[Ww]rite|The (file|archive|folder)",
    "--outcome": "What became of it",
    "--language": "In which language reasons and remedies are said",
    "--output": "Table for people, JSON for programs",
    "--parallel": "Requests at a time",
    "--permutations": "Number of permutations",
    "--plan": "written",
    "--port": "Where a part listens",
    "--ports": "on consecutive ports",
    "--post": "An endpoint of others",
    "--preview": "what each column holds",
    "--processes": "Number of processes",
    "--programs": "PostgreSQL's programs",
    "--query": "behind the URL",
    "--reason": "[Ww]hy|needed for",
    "--receipt": "Keep a receipt",
    "--recheck": "FILE is scrubbed",
    "--recipient": "[Rr]ecipient|Phone number",
    "--recipient-type": "BIREYSEL",
    "--reference": "Your own reference",
    "--refused": "would be refused again",
    "--registry": "schema registry",
    "--reject-links": "a link of İYS itself",
    "--report": "Report of refused rows",
    "--reports": "Folder of the reports",
    "--result-delay": "results of a batch",
    "--retailer": "Code of the retailer",
    "--returned": "have come back",
    "--reversals": "which reverse an opt-out",
    "--role": "Role of the account",
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
    "--sql": "Print the SQL",
    "--state-dir": "Folder of data and logs",
    "--status": "ONAY .* or RET",
    "--stopped": "Send nothing of this brand",
    "--test": "nothing that it sends is published",
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
    "--wal": "archive of the server's WAL",
    "--way": "How İYS asks",
    "--what": "Calls to İYS",
    "--which": "looks at people",
    "--with": "of the same person",
    "--work": "copy is made",
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


PRINTS = re.compile(r"typer\.echo|\bout\.print|\bprint_(json|rows|table)|\b_print|sys\.stdout")
ONE_TEXT = {
    *("keys create", "keys rotate", "accounts save", "accounts link", "links make"),
    *("sources show", "outbox", "privacy export"),
}
"""Their standard output is one text for a shell or a file: a key, a link, a mapping, SQL, JSON."""


def test_results_are_printed_as_json_too() -> None:
    """What has no ``--output`` only acts, and says what it did on standard error; or is a process,
    or prints one text.
    """
    printing = {
        words
        for words, command in commands()
        if "--output" not in {name for one in command.params for name in one.opts}
        and PRINTS.search(inspect.getsource(inspect.unwrap(command.callback)))
    }
    assert printing == ONE_TEXT | {"up"}


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
    assert takes & WITHOUT_DATA.keys() == {"links make"}  # which only writes down what it gets
    assert {name for name, cut in CUTS.items() if cut.whole} == {"doctor", "ledger archive"}


def test_command_of_a_customer_is_asked_for_anothers() -> None:
    """What takes a customer and a brand is run with a brand of another."""
    for name, cut in CUTS.items():
        takes = _options(COMMANDS[name]) | _arguments(COMMANDS[name])
        if BRAND & takes and CUSTOMER & takes:
            asked = [one for one in (*cut.refused, *cut.selects_none) if "{their_brand}" in one]
            assert asked, name


@pytest.mark.parametrize("reasons", [cuts.ROUTES, acts.ROUTES], ids=["cut", "recorded"])
def test_every_route_says_how_it_is_cut_and_recorded(reasons: Mapping[str, object]) -> None:
    """A route that is added is added there too: with requests with the API key of one customer, and
    with why it is recorded or not.
    """
    assert routes(ROOT) == reasons.keys()
    assert all(reasons.values())


def _options(command: click.Command) -> set[str]:
    return {opt for one in command.params for opt in one.opts if opt.startswith("-")}


def _arguments(command: click.Command) -> set[str]:
    return {one.name or "" for one in command.params if one.param_type_name == "argument"}


ROLES = [
    *("Publish", "Send", "Subscribe", "Operate", "Comply", "Look up", "Look and decide", "Onboard"),
    "Inside",
]
MOST_LINES = 150
PROSE = {"connect.md", "importing.md", "words.md"}
"""Pages on which izin is also a Turkish word, or stands in a sentence."""
GROUPS = {name.partition(" ")[0] for name in COMMANDS}


def test_readme_is_short() -> None:
    """What it says more is on pages that it names."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MOST_LINES


def test_index_lists_every_page_by_role() -> None:
    """A page that is added is listed for whom it is."""
    text = (ROOT / "docs" / "index.md").read_text("utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ROLES
    listed = set(re.findall(r"\(([\w-]+\.md)\)", text))
    assert listed == {one.name for one in (ROOT / "docs").glob("*.md")} - {"index.md"}


def test_pages_of_the_readme_exist() -> None:
    """Each link to a file of the repository leads somewhere."""
    for page in ("README.md", "docs/index.md"):
        folder = (ROOT / page).parent
        links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text("utf-8"))
        assert links
        assert [one for one in links if not (folder / one).exists()] == []


def command_of(words: list[str]) -> str | None:
    """Return the longest command that ``words`` begin with; None: they name none."""
    found = [" ".join(words[:length]) for length in range(1, len(words) + 1)]
    return next((one for one in reversed(found) if one in COMMANDS), None)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda one: one.name)
def test_options_that_a_page_names_exist(page: Path) -> None:
    """Of each command line that is whole: a renamed option is renamed on the pages."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    wrong = []
    for line in re.findall(r"(?:^|`|\$ )izin ([a-z][^`\n|#]*)", text, re.MULTILINE):
        words = line.split()
        name = command_of([*words, "file"] if words[0] == "import" else words)
        name = "import file" if words[0] == "import" and name is None else name
        if name is None:
            assert words[0] in GROUPS or page.name in PROSE, line
            continue
        known = {
            one for param in COMMANDS[name].params for one in (*param.opts, *param.secondary_opts)
        }
        given = {one.partition("=")[0].rstrip(",.;:)") for one in words if one.startswith("--")}
        wrong += [f"izin {line.strip()}: {one}" for one in given - known - {"--help"}]
    assert wrong == []


def test_every_command_is_known_as_changing_or_not() -> None:
    """A command that is added is added here too, with its entry or its reason."""
    recorded = ACTS.keys() | ELSEWHERE.keys() | LOOKS.keys()
    assert recorded | OTHERS.keys() == COMMANDS.keys()
    assert not recorded & OTHERS.keys()
    assert not ACTS.keys() & ELSEWHERE.keys()


def test_command_that_says_its_output_is_personal_is_a_look() -> None:
    """Its help tells of personal data, so who reads it is recorded."""
    assert {name for name, one in COMMANDS.items() if "personal data" in _help(one)} <= LOOKS.keys()


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


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_word_in_brackets(name: str) -> None:
    """The terminal would take it for markup, and leave it out."""
    assert re.findall(r"\[[a-z/#@]", _help(COMMANDS[name])) == []


HEADINGS = re.findall(
    r"^## (.*)$", (ROOT / "docs" / "problems.md").read_text("utf-8"), re.MULTILINE
)


def titles() -> set[str]:
    """Return the title of each ``ProblemText`` that the code makes."""
    return {
        ast.literal_eval(call.args[1])
        for path in (ROOT / "izin").rglob("*.py")
        for call in nodes_of(path)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "ProblemText"
        if isinstance(call.args[1], ast.Constant)
    }


def test_page_has_a_section_for_each_title_and_no_other() -> None:
    """In the order of the alphabet."""
    assert sorted(titles()) == HEADINGS


@pytest.mark.parametrize("title", HEADINGS)
def test_type_of_a_problem_is_the_anchor_of_its_section(title: str) -> None:
    """As renderers of Markdown make them."""
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    assert ProblemText(400, title, "").type == f"docs/problems.md#{anchor}"


def test_log_has_the_id_of_a_refused_request() -> None:
    """One for each; the detail is for the client."""
    text = ProblemText(503, "Busy", "send this again", 1)
    with capture_logs() as logs:
        first, second = (text.response() for _ in range(2))
    assert [
        one["request_id"].encode() in bytes(r.body)
        for one, r in zip(logs, (first, second), strict=True)
    ] == [True] * 2
    assert logs[0]["request_id"] != logs[1]["request_id"]
    assert {one["event"] for one in logs} == {"request refused"}
    assert first.headers["retry-after"] == "1"


PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
PROMISES = [
    line.strip("|").split("|")
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("| promised |", "|---"))
]
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")
SUBSCRIBING = (ROOT / "docs" / "subscribing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("promise", "named"), PROMISES)
def test_promise_names_a_test_that_exists(promise: str, named: str) -> None:
    """One that was renamed or removed is a promise that nothing holds."""
    found = NAMED.fullmatch(named.strip())
    assert found, promise
    source = (ROOT / found[1]).read_text(encoding="utf-8")
    assert re.search(rf"^(?:async )?def {found[2]}\(", source, re.MULTILINE), named


def test_each_part_of_the_page_says_what_is_not_promised() -> None:
    """A list of promises alone reads as if there were nothing else."""
    parts = PAGE.split("\n## ")[1:]
    with_promises = [part for part in parts if "| promised |" in part]
    assert len(with_promises) == len(parts) - 1  # all but how to report
    assert all("Not promised:" in part for part in with_promises)
    assert len(PROMISES) == len({promise for promise, _ in PROMISES})


def test_threat_model_names_everyone_and_is_one_page() -> None:
    """Each with what stops them; the page is linked where promises are."""
    model = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    whose = {line.split("|")[1].strip() for line in model.splitlines() if line.startswith("| ")}
    asked = {"customer", "subscriber", "operator", "owner of the database", "owner of the host"}
    assert whose >= {*asked, "receiver of an archive"}
    assert len(model.split()) < 1100
    assert "docs/threat-model.md" in PAGE


def test_page_has_every_reason_with_its_meaning():
    """In the words of the law's own documentation."""
    (declared,) = ast.parse(inspect.getsource(PermissionReason)).body
    meanings = [
        " ".join(node.value.value.split())
        for node in declared.body[1:]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    assert len(meanings) == len(PermissionReason)
    for reason, meaning in zip(PermissionReason, meanings, strict=True):
        assert f"| `{reason}` | {meaning} |\n" in SUBSCRIBING


def test_page_has_every_change_with_its_fields():
    """In the order of the classes, which a reader looks up there."""
    rows = re.findall(r"^\| `(\w+)` \| [^|`]* \| (.*) \|$", SUBSCRIBING, re.MULTILINE)
    named = {name: re.findall(r"`(\w+)`", words) for name, words in rows}
    shared = {one.name for one in fields(Change)}
    assert named == {
        one.__name__: [each.name for each in fields(one) if each.name not in shared]
        for one in Change.__subclasses__()
    }


def test_page_names_topics_and_subjects_as_they_are():
    """The names and the retention that the code has."""
    topics = Topics()
    for topic in (topics.opt_outs, topics.permissions, topics.outcomes):
        assert f"`{topic.name}`" in SUBSCRIBING
        assert f"`izin.{topic.record}`" in SUBSCRIBING
    for topic in (topics.opt_outs, topics.outcomes):
        assert int(topic.config["retention.ms"]) == timedelta(days=90) / timedelta(milliseconds=1)
    assert topics.permissions.config["cleanup.policy"] == "compact"


def test_outcomes_are_those_of_the_contract():
    """The words in the schema's documentation, which the ledger writes."""
    (field,) = [
        one for one in contracts.current()["Outcome"].schema["fields"] if one["name"] == "outcome"
    ]
    assert field["doc"] == f"{', '.join(OutcomeKind)}."
