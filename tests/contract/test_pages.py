"""The first pages: README is short, and the index by role has every page.

Each command that changes the ledger or shows people names its actor; each new command says
whether it does.
Every problem that an endpoint can answer with has its section in docs/problems.md.
SECURITY.md promises what a test holds, and says what is not promised.

docs/subscribing.md says what the code says.
"""

import ast
import inspect
import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import click
import pytest
from structlog.testing import capture_logs

from izin.consent.may_send import PermissionReason
from izin.runtime.http_server.problems import ProblemText
from izin.schemas import contracts
from izin.schemas.topics import Topics
from izin.subscribers import Change, OutcomeKind
from tests.support.acts import ACTS, ELSEWHERE, LOOKS, OTHERS, ROUTES, commands
from tests.support.customers.cuts import routes
from tests.support.project_rules import ROOT

ROLES = ["Publish", "Send", "Subscribe", "Operate", "Comply", "Onboard", "Inside"]
MOST_LINES = 150
COMMANDS = dict(commands())
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


def test_every_route_is_known_as_recorded_or_not() -> None:
    """A route that is added is added here too, with its reason."""
    assert ROUTES.keys() == routes(ROOT)
    assert all(ROUTES.values())


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


HEADINGS = re.findall(
    r"^## (.*)$", (ROOT / "docs" / "problems.md").read_text("utf-8"), re.MULTILINE
)


def titles() -> set[str]:
    """Return the title of each ``ProblemText`` that the code makes."""
    return {
        ast.literal_eval(call.args[1])
        for path in (ROOT / "izin").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
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
    assert isinstance(declared, ast.ClassDef)
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
