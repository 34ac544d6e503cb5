"""The project keeps its rules, and each rule can fail."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import project_rules
from tests.support.project_rules import (
    blameless_errors,
    environment_readers,
    foreign_consumers,
    foreign_orders,
    impure_law,
    machine_places,
    outdated_error_trees,
    shunned_names,
    silent_tests,
    stdlib_names,
    undone,
    unlisted_packages,
    unreasoned_exceptions,
)

ROOT = Path(__file__).parents[2]
RULES = (
    unreasoned_exceptions,
    undone,
    shunned_names,
    stdlib_names,
    silent_tests,
    unlisted_packages,
    environment_readers,
    foreign_consumers,
    foreign_orders,
    impure_law,
    blameless_errors,
    outdated_error_trees,
)
Rule = Callable[[Path], list[str]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_project_rule_holds(rule: Rule) -> None:
    """Nothing in the tree breaks the rule."""
    assert rule(ROOT) == [], rule.__doc__


@pytest.mark.parametrize(
    ("rule", "module", "text"),
    [
        (unreasoned_exceptions, "izin/a.py", "import os  # noqa\n"),
        (unreasoned_exceptions, "izin/a.py", "import os  # noqa: F401\n"),
        (unreasoned_exceptions, "izin/a.py", "import os  # type: ignore[x]  # a reason\n"),
        (unreasoned_exceptions, "tests/test_a.py", "import os  # type: ignore\n"),
        (undone, "izin/a.py", "x = 1  # TODO\n"),
        (undone, "tools/a.py", "x = 1  # TODO\n"),
        (undone, "izin/a.py", "raise NotImplementedError\n"),
        (shunned_names, "izin/utils/a.py", ""),
        (shunned_names, "izin/sinks/helpers.py", ""),
        (stdlib_names, "izin/sinks/token.py", ""),
        (stdlib_names, "izin/queue/a.py", ""),
        (silent_tests, "tests/test_a.py", "def test_a() -> None:\n    assert True\n"),
        (silent_tests, "tests/test_a.py", 'async def test_a() -> None:\n    """."""\n'),
        (unlisted_packages, "izin/a/__init__.py", '"""."""\n'),
        (unlisted_packages, "izin/a/__init__.py", '"""Says what it is."""\nfrom a import b\n'),
        (foreign_consumers, "izin/a.py", "x = kafka.consumer(settings, group)\n"),
        (
            foreign_consumers,
            "izin/sinks/a.py",
            "from confluent_kafka import Consumer\nConsumer({})",
        ),
        (foreign_orders, "izin/a.py", "x = one.order > other.order\n"),
        (foreign_orders, "izin/a.py", "x = row.desired_order <= order\n"),
        (environment_readers, "izin/a.py", 'import os\nx = os.environ["X"]\n'),
        (environment_readers, "izin/a.py", "from os import getenv\n"),
        (impure_law, "izin/consent/a.py", "import time\n"),
        (impure_law, "izin/consent/a.py", "from os.path import exists\n"),
        (impure_law, "izin/consent/a.py", "import structlog\n"),
        (impure_law, "izin/consent/a.py", "from izin.schemas import topics\n"),
        (impure_law, "izin/consent/a.py", "from uuid import uuid4\n"),
        (impure_law, "izin/consent/a.py", "import datetime\nx = datetime.datetime.now()\n"),
        (impure_law, "izin/consent/a.py", "from datetime import datetime\nx = datetime.utcnow\n"),
        (impure_law, "izin/consent/a.py", "from datetime import date\nx = date.today()\n"),
        (impure_law, "izin/consent/a.py", "import random\nx = random.shuffle([1])\n"),
        (impure_law, "izin/consent/a.py", "from random import Random\nx = Random()\n"),
        (impure_law, "izin/consent/a.py", 'x = open("a")\n'),
        (blameless_errors, "izin/a.py", "class AError(Exception): ...\n"),
        (
            blameless_errors,
            "izin/a.py",
            "class AError(IzinError): ...\nclass IzinError(OSError): ...",
        ),
        (
            blameless_errors,
            "izin/a.py",
            (
                "class OurError(Exception): ...\n"
                "class IysError(Exception): ...\n"
                "class AError(OurError, IysError): ...\n"
            ),
        ),
        (outdated_error_trees, "izin/errors.py", '"""A tree.\n\nOurError\n└── AError\n"""\n'),
        (outdated_error_trees, "izin/a/errors.py", '"""No tree."""\nclass AError(OurError): ...\n'),
    ],
)
def test_project_rule_broken_is_found(tmp_path: Path, rule: Rule, module: str, text: str) -> None:
    """A tree that breaks the rule is caught, and the same rule is silent without it."""
    assert rule(tmp_path) == []
    path = tmp_path / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert len(rule(tmp_path)) == 1


@pytest.mark.parametrize(
    ("rule", "module", "text"),
    [
        (unreasoned_exceptions, "izin/a.py", "x = 1  # noqa: A001, B002  # for a reason\n"),
        (unreasoned_exceptions, "izin/a.py", "x = 1  # noqa: A001 - for a reason\n"),
        (unreasoned_exceptions, "tests/test_a.py", "x = 1  # type: ignore[arg-type]\n"),
        (unlisted_packages, "izin/a/__init__.py", '"""Says what it is."""\n__all__ = []\n'),
        (unlisted_packages, "izin/a/__init__.py", '"""Says what it is."""\n'),
        (environment_readers, "izin/local/a.py", "import os\nx = os.environ\n"),
        (stdlib_names, "izin/__main__.py", ""),
        (impure_law, "izin/consent/a.py", "import phonenumbers, holidays, izin.consent.model\n"),
        (impure_law, "izin/consent/a.py", "from random import Random\nx = Random(7).random()\n"),
        (impure_law, "izin/schemas/a.py", "import os\n"),
        (blameless_errors, "izin/local/a.py", "class AError(Exception): ...\n"),
        (blameless_errors, "izin/a.py", "class AError(Exception, OurError): ...\n"),
        (
            outdated_error_trees,
            "izin/errors.py",
            (
                '"""A tree.\n\nOurError\n├── AError  what it is\n│   └── BError\n└── CError\n"""\n'
                "class AError(OurError): ...\nclass BError(AError): ...\n"
                "class CError(OurError): ...\n"
            ),
        ),
    ],
)
def test_project_rule_kept_is_silent(tmp_path: Path, rule: Rule, module: str, text: str) -> None:
    """A tree that follows the rule has no findings."""
    path = tmp_path / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert rule(tmp_path) == []


def test_exception_of_a_rule_names_an_existing_module() -> None:
    """An exception goes with its module."""
    for name in project_rules.ENVIRONMENT:
        assert (ROOT / name).exists(), name


def test_tracked_files_name_no_machine() -> None:
    """No tracked file names a path of one machine or the registry of one network."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = listed.stdout.decode().split("\0")
    assert machine_places(ROOT, [name for name in files if name]) == []


@pytest.mark.parametrize(
    "text",
    [
        "data: /home/ada/izin/data",
        "/root/.cache",
        "--index-url https://packages.example.com/simple",
        "index-url = https://packages.example.com/simple",
    ],
)
def test_machine_in_a_file_is_found(tmp_path: Path, text: str) -> None:
    """The rule of machines can fail."""
    (tmp_path / "a.cfg").write_text(text, encoding="utf-8")
    (tmp_path / "b.cfg").write_text("cache = ~/.cache; see https://kafka.apache.org/", "utf-8")
    assert machine_places(tmp_path, ["a.cfg", "b.cfg"]) == ["a.cfg"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_contracts_hold() -> None:
    """import-linter's contracts hold."""
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


UPWARDS = (
    ("izin.consent.ordering", "izin.streams.order"),
    ("izin.schemas.records", "izin.schemas.codec"),
    ("izin.streams.guard", "izin.streams.order"),
    ("izin.streams.order", "benchmarks.bars"),
    ("izin.local.processes", "tools.generate"),
)
"""An import that each contract of layers forbids."""


def test_import_of_an_upper_layer_is_found(tmp_path: Path) -> None:
    """The contracts can fail: neither layers nor the rooms in them may import what is above."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("izin", "benchmarks", "tools"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    for importer, imported in UPWARDS:
        with (tmp_path / f"{importer.replace('.', '/')}.py").open("a", encoding="utf-8") as module:
            module.write(f"\nimport {imported}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout
    for importer, imported in UPWARDS:
        assert f"{importer} -> {imported}" in done.stdout
