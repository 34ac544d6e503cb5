"""``python -m tools.release``: whether a release may be made, and the notes of it.

``check`` ends with exit code 1 and names what is missing: what is not committed, a version that is
not the same everywhere, a changelog without an entry for it or with something unreleased, a ledger,
records and state of this version that are not kept as fixtures. ``notes`` prints the entry of the
changelog, ``version`` the version.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PROJECTS = ("pyproject.toml", "simulator/pyproject.toml")
_ENTRY = re.compile(r"(?m)^## \[(?P<name>[^]]+)\](?: - (?P<day>\d{4}-\d\d-\d\d))?$")


def version(root: Path = ROOT, project: str = _PROJECTS[0]) -> str:
    """Return the version in a project's file."""
    read = tomllib.loads((root / project).read_text(encoding="utf-8"))
    return str(read["project"]["version"])


def entries(root: Path = ROOT) -> dict[str, tuple[str | None, str]]:
    """Return, by the name of each entry of the changelog, its day and its text."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = list(_ENTRY.finditer(text))
    ends = [one.start() for one in found[1:]] + [len(text)]
    return {
        one["name"]: (one["day"], text[one.end() : end].strip())
        for one, end in zip(found, ends, strict=True)
    }


def faults(root: Path = ROOT) -> Iterator[str]:
    """Yield why no release can be made of what is there."""
    command = ["git", "status", "--porcelain"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603  # git
    if done.stdout.strip():
        yield "something is not committed: git status"
    number = version(root)
    for project in _PROJECTS[1:]:
        if version(root, project) != number:
            yield f"{project} has version {version(root, project)}, not {number}"
    found = entries(root)
    if found.get("Unreleased", (None, ""))[1]:
        yield "CHANGELOG.md has something under Unreleased: move it to the entry of the version"
    if found.get(number, (None, ""))[0] is None:
        yield f"CHANGELOG.md has no entry [{number}] with a day"
    if not (root / "tests" / "fixtures" / number).is_dir():
        remedy = "make test PYTEST_ARGS=tests/integration/upgrades, and commit it"
        yield f"tests/fixtures/{number} is not there: {remedy}"


def main(what: str) -> int:
    """Do ``what``: ``check``, ``notes`` or ``version``; return the exit code."""
    match what:
        case "check":
            found = list(faults())
            sys.stderr.writelines(f"{fault}\n" for fault in found)
            return 1 if found else 0
        case "notes":
            day, text = entries()[version()]
            sys.stdout.write(f"# izin {version()} ({day})\n\n{text}\n")
        case "version":
            sys.stdout.write(f"{version()}\n")
        case _:
            sys.stderr.write("usage: python -m tools.release check|notes|version\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else ""))  # noqa: PLR2004  # the program and one word
