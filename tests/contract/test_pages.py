"""The first pages: README is short, and the index by role has every page."""

import re

from tests.support.source_tree import ROOT

ROLES = ["Publish", "Send", "Subscribe", "Operate", "Comply", "Onboard", "Inside"]
MOST_LINES = 150


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
