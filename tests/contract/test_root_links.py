"""The links at the root are for readers: nothing imports by them, and no tool reads files twice."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

from tests.support import project_rules

ROOT = Path(__file__).parents[2]
LINKS = ("producers", "schemas", "sinks", "streams")
PRODUCT = ("consent", "schemas", "runtime", "iys", "producers", "streams", "sinks", "console")
IMPORTED = f"""
import importlib, pkgutil, sys
sys.path.insert(0, {str(ROOT)!r})
for package in {(*PRODUCT, "local", "demo")!r}:
    root = importlib.import_module("izin." + package)
    for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
{{more}}
print([name for name in sys.modules if name.partition(".")[0] in {LINKS!r}])
"""

RUFF = Path(sys.executable).with_name("ruff")


def run(*words: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in the root of the project."""
    return subprocess.run(words, cwd=ROOT, input=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", LINKS)
def test_root_link_leads_to_its_package(name: str) -> None:
    """The link is relative, so it works in any checkout."""
    assert (ROOT / name).is_symlink()
    assert (ROOT / name).readlink() == Path("izin", name)


@pytest.mark.parametrize(
    ("more", "found"), [("", "[]\n"), ("import schemas.topics", "['schemas', 'schemas.topics']\n")]
)
def test_product_imports_no_root_link(more: str, found: str) -> None:
    """A module under two names would be two modules; the second case shows that it is seen."""
    done = run(sys.executable, "-c", IMPORTED.format(more=more))
    assert done.stdout == found, done.stderr


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("import izin.streams\n", 0)] + [(f"import {one}\n", 1) for one in LINKS],
)
def test_ruff_refuses_the_bare_names(code: str, exit_code: int) -> None:
    """Only izin's name is importable by our rules."""
    options = ("--select", "TID251", "--stdin-filename", "izin/example.py", "-")
    assert run(RUFF, "check", *options, given=code).returncode == exit_code


def test_tools_read_no_file_by_a_link() -> None:
    """Linter, packaging, project rules and the Makefile name each file once."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    include = settings["setuptools"]["packages"]["find"]["include"]
    linted = run(RUFF, "check", "--show-files", ".").stdout.splitlines()
    read = {
        *(Path(one).relative_to(ROOT).parts[0] for one in linted),
        *(one.partition(".")[0] for one in find_packages(str(ROOT), include=include)),
        *(one.partition("/")[0] for one, _ in project_rules._modules(ROOT, "izin", "tests")),
        *re.findall(r"find (\S+)", (ROOT / "Makefile").read_text("utf-8")),
        *settings["mypy"]["packages"],
        *settings["pytest"]["ini_options"]["testpaths"],
        *(one.partition(".")[0] for one in settings["coverage"]["run"]["source"]),
    }
    assert "izin" in read
    assert read.isdisjoint(LINKS)
