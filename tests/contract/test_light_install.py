"""The light install: what other teams' processes import needs no package of an extra."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.contract.light_imports import HEAVY

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIGHT = (
    *("izin.producers", "izin.subscribers"),
    *("izin.runtime.registry_client", "izin.subscribers.gate.connection", "izin.console.entry"),
    "izin.evidence.__main__",
)
WITHOUT = "from tests.contract.light_imports import refuse; refuse(); "


def ran(code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` where the packages of the extras are refused."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def names(requirements: list[str]) -> set[str]:
    """Return the distributions that ``requirements`` name, as they are compared."""
    found = set()
    for one in requirements:
        name = one.partition(">")[0].partition("[")[0]
        found.add(name.lower().replace("_", "-"))
    return found - {"izin"}


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
    done = ran(
        "import sys; sys.argv = ['izin', 'doctor']; from izin.console.entry import main; main()"
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "error: the command line needs packages that are not installed (structlog); "
        "run: pip install 'izin[server]'\n"
    )


def test_missing_module_of_ours_is_no_missing_package() -> None:
    """It would be a fault of the code, and is shown as one."""
    broken = "import sys; sys.modules['izin.console.cli'] = None; "
    done = ran(broken + "from izin.console.entry import main; main()")
    assert done.returncode == 1
    assert "izin.console.cli" in done.stderr
