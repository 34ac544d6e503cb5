"""The first pages: README is short, and the index by role has every page."""

import re
from pathlib import Path

import pytest

from tests.support.acts import commands
from tests.support.source_tree import ROOT

ROLES = ["Publish", "Send", "Subscribe", "Operate", "Comply", "Onboard", "Inside"]
MOST_LINES = 150
COMMANDS = dict(commands())
PROSE = {"connect.md", "importing.md", "words.md"}
"""Pages on which izin is also a Turkish word, or stands in a sentence."""
GROUPS = {name.partition(" ")[0] for name in COMMANDS}


def test_readme_is_short() -> None:
    """What it says more is on pages that it names."""
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= MOST_LINES


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
