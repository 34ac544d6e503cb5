"""A release is made only of what is whole: each reason against it is named."""

import subprocess
from pathlib import Path

import pytest

from tools.release import ROOT, entries, faults, version

_CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-03-02\n\n### Added\n\n- All.\n"
_PROJECT = '[project]\nversion = "1.2.0"\n'


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def commit(root: Path) -> None:
    """Commit all that ``root`` has."""
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "All"]):
        subprocess.run([*git, *words], cwd=root, check=True)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Give the folder of something that can be released, not committed yet."""
    write(tmp_path, "pyproject.toml", _PROJECT)
    write(tmp_path, "simulator/pyproject.toml", _PROJECT)
    write(tmp_path, "CHANGELOG.md", _CHANGELOG)
    write(tmp_path, "tests/fixtures/1.2.0/ledger.sql", "")
    return tmp_path


def test_what_is_whole_can_be_released(whole: Path) -> None:
    """Its notes are the entry of its version."""
    commit(whole)
    assert list(faults(whole)) == []
    assert entries(whole)["1.2.0"] == ("2026-03-02", "### Added\n\n- All.")


@pytest.mark.parametrize(
    ("name", "before", "after", "fault"),
    [
        ("simulator/pyproject.toml", "1.2.0", "1.1.0", "has version 1.1.0, not 1.2.0"),
        ("CHANGELOG.md", "[Unreleased]", "[Unreleased]\n\n- More.", "something under Unreleased"),
        ("CHANGELOG.md", "[1.2.0]", "[1.1.0]", "no entry"),
        ("CHANGELOG.md", " - 2026-03-02", "", "no entry"),
    ],
)
def test_reason_against_a_release_is_named(
    whole: Path, name: str, before: str, after: str, fault: str
) -> None:
    """Each with its place."""
    text = (whole / name).read_text("utf-8")
    assert before in text
    write(whole, name, text.replace(before, after))
    commit(whole)
    (found,) = faults(whole)
    assert fault in found


def test_what_is_not_committed_or_not_kept_is_no_release(whole: Path) -> None:
    """The source of a release is a commit, and what it writes is kept."""
    (whole / "tests/fixtures/1.2.0/ledger.sql").unlink()
    (whole / "tests/fixtures/1.2.0").rmdir()
    commit(whole)
    write(whole, "more", "")
    assert [one.split(":")[0] for one in faults(whole)] == [
        "something is not committed",
        "tests/fixtures/1.2.0 is not there",
    ]


def test_changelog_names_this_version_and_rolling_back_every_migration() -> None:
    """Whoever upgrades reads both."""
    assert version() in entries()
    page = (ROOT / "docs" / "deploying.md").read_text("utf-8")
    names = [path.stem for path in (ROOT / "izin/ledger/migrations").glob("*.sql")]
    numbers = {name[:4] for name in names} - {"0001"}
    assert {number for number in numbers if f"| `{number}_" not in page} == set()
