"""The wheel has the product and nothing else.

The light install: what other teams' processes import needs no package of an extra.

The links at the root are for readers: nothing imports by them, and no tool reads files twice.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from setuptools import find_packages

from tests.contract.light_imports import HEAVY
from tests.support import project_rules
from tests.support.source_tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIGHT = (
    *("izin.producers", "izin.subscribers"),
    *("izin.runtime.registry_client", "izin.subscribers.gate.connection", "izin.cli.entry"),
    "izin.evidence.__main__",
)
WITHOUT = "from tests.contract.light_imports import refuse; refuse(); "
LINKS = ("producers", "schemas", "sinks", "streams")
PRODUCT = sorted(one.parent.name for one in (ROOT / "izin").glob("*/__init__.py"))
IMPORTED = f"""
import importlib, pkgutil, sys
sys.path.insert(0, {str(ROOT)!r})
for package in {PRODUCT!r}:
    root = importlib.import_module("izin." + package)
    for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
{{more}}
print([name for name in sys.modules if name.partition(".")[0] in {LINKS!r}])
"""
RUFF = Path(sys.executable).with_name("ruff")


def packaged(root: Path, patterns: Iterable[str]) -> set[str]:
    """Return the top-level packages under ``root`` that setuptools takes by ``patterns``."""
    found = {path.parent.name for path in root.glob("*/__init__.py")}
    return {name for name in found if any(fnmatch(name, pattern) for pattern in patterns)}


def test_izin_alone_is_in_the_wheel() -> None:
    """Benchmarks, tools and tests are packages of the repository, and none of the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    assert packaged(ROOT, patterns) == {"izin"}
    assert packaged(ROOT, ["*"]) >= {"izin", "benchmarks", "tools", "tests"}


def test_the_image_is_built_without_benchmarks_and_tools() -> None:
    """Docker's context holds what the wheel is built from, and nothing else."""
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in kept
    assert not {"!benchmarks", "!tools", "!tests"} & set(kept)


def run(*words: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in the root of the project."""
    return subprocess.run(words, cwd=ROOT, input=given, capture_output=True, text=True, check=False)


def ran(code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` where the packages of the extras are refused."""
    return run(sys.executable, "-c", WITHOUT + code)


def names(requirements: list[str]) -> set[str]:
    """Return the distributions that ``requirements`` name, as they are compared."""
    found = (re.split(r"[>\[]", one)[0] for one in requirements)
    return {one.lower().replace("_", "-") for one in found} - {"izin"}


def test_refused_modules_are_those_of_the_extras() -> None:
    """Every package that an extra adds has a module that is refused, and no package of the base."""
    extras = PROJECT["optional-dependencies"]
    known = packages_distributions()
    refused = {name.lower().replace("_", "-") for one in HEAVY for name in known.get(one, ())}
    assert names(extras["server"]) | names(extras["local"]) <= refused | {"h11"}
    assert refused.isdisjoint(names(PROJECT["dependencies"]))


@pytest.mark.parametrize("module", LIGHT)
def test_light_module_imports_without_the_extras(module: str) -> None:
    """Whole, and its list of names is the list that it has."""
    code = f"import {module} as one; [getattr(one, name) for name in getattr(one, '__all__', [])]"
    done = ran(code)
    assert done.returncode == 0, done.stderr


def test_http_library_is_imported_only_by_those_who_ask() -> None:
    """It would make a third of the time in which a subscriber starts."""
    done = ran("import izin.subscribers, sys; print('httpx' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("module", ["izin.runtime.settings", "izin.sinks.worker"])
def test_import_of_an_extra_is_refused(module: str) -> None:
    """The check above can fail."""
    assert "ModuleNotFoundError" in ran(f"import {module}").stderr


def test_command_without_its_packages_names_the_extra() -> None:
    """In one line, with the exit code of a fault of the installation."""
    done = ran("import sys; sys.argv = ['izin', 'doctor']; from izin.cli.entry import main; main()")
    assert (done.returncode, done.stdout, done.stderr) == (
        4,
        "",
        (
            "error: the command line needs packages that are not installed (structlog); "
            "run: pip install 'izin[server]'\n"
        ),
    )


def test_missing_module_of_ours_is_no_missing_package() -> None:
    """It would be a fault of the code, and is shown as one."""
    broken = "import sys; sys.modules['izin.cli.cli'] = None; "
    done = ran(broken + "from izin.cli.entry import main; main()")
    assert done.returncode == 1
    assert "izin.cli.cli" in done.stderr


@pytest.mark.parametrize("name", LINKS)
def test_root_link_leads_to_its_package(name: str) -> None:
    """The link is relative, so it works in any checkout."""
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
