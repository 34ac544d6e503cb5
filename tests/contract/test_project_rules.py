"""The project keeps its rules, and each rule can fail.

Figures of the tree only improve, and each can be exceeded.

The words that the glossary refuses are found in every place.
The wheel has the product and nothing else.

The light install: what other teams' processes import needs no package of an extra.

The links at the root are for readers: nothing imports by them, and no tool reads files twice.

Every code that is reported is in one table, in two languages; every code of İYS is handled.

Every named statement of ``sql/*.sql`` is used by Python code, and every file is loaded.

The generated files are current, and the page of retention forgets no topic.
The verdict on a run of mutation testing.
The rooms that a call goes through.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from setuptools import find_packages

from izin.consent import violations as law
from izin.ledger.record import messages
from izin.producers.mapping import field_names as producers
from izin.schemas import contracts
from izin.schemas.topics import Topics
from izin.streams import guard
from tests.contract.light_imports import HEAVY
from tests.support import project_rules
from tests.support.iys import CORE_CODES, NOT_A_VIOLATION, OF_A_RECORD
from tests.support.project_rules import (
    ROOT,
    blameless_errors,
    environment_readers,
    foreign_consumers,
    foreign_orders,
    impure_law,
    machine_places,
    outdated_error_trees,
    product_modules,
    shunned_names,
    silent_tests,
    stdlib_names,
    text_of,
    tracked_files,
    undone,
    unlisted_packages,
    unreasoned_exceptions,
)
from tests.support.ratchet import (
    FINDERS,
    GLOSSARY,
    WORDS,
    allowed,
    check,
    counted,
    cyclic_modules,
    exceptions,
    raised,
    refused_names,
    refused_topics,
    refused_words,
    statements,
    words,
)
from tools.generate import pages
from tools.hand_overs import Way
from tools.mutants import check as of_mutants

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
WORD = min(WORDS.in_names)
PHRASE = next(one for one in WORDS.anywhere if " " in one and one.replace(" ", "").isalpha())
CAPITAL = WORD.capitalize()


def plant(folder: Path, name: str, text: str) -> None:
    """Write a file of a tree."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


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
    plant(tmp_path, module, text)
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
    plant(tmp_path, module, text)
    assert rule(tmp_path) == []


def test_exception_of_a_rule_names_an_existing_module() -> None:
    """An exception goes with its module."""
    for name in project_rules.ENVIRONMENT:
        assert (ROOT / name).exists(), name


def test_tracked_files_name_no_machine() -> None:
    """No tracked file names a path of one machine or the registry of one network, or installs
    izin by its name: it is on no index, so anybody could publish another under it.
    """
    files = tracked_files(ROOT) or pytest.skip("no git checkout")
    assert machine_places(ROOT, files) == []


@pytest.mark.parametrize(
    "text",
    [
        "data: /home/ada/izin/data",
        "/root/.cache",
        "--index-url https://packages.example.com/simple",
        "index-url = https://packages.example.com/simple",
        "run: pip install 'izin[server]'",
        "`python -m pip install --upgrade izin`",
        "uv pip install iys-simulator==0.1.0",
    ],
)
def test_machine_in_a_file_is_found(tmp_path: Path, text: str) -> None:
    """The rule of machines can fail."""
    (tmp_path / "a.cfg").write_text(text, encoding="utf-8")
    (tmp_path / "b.cfg").write_text(
        "cache = ~/.cache; see https://kafka.apache.org/; pip install '.[server]' in a checkout of "
        "izin; pip install dist/izin-0.1.0-py3-none-any.whl ./simulator; pip install fastavro",
        "utf-8",
    )
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


@pytest.mark.parametrize("name", FINDERS)
def test_figure_is_what_the_ratchet_allows(name: str) -> None:
    """Neither above nor below the limit. If below, run `python -m tests.support.ratchet`."""
    files = tracked_files(ROOT) or pytest.skip("no git checkout")
    assert counted(FINDERS[name](ROOT, files)) == allowed()[name]


def test_statements_of_the_product_stay_within_the_ratchet() -> None:
    """The product does not grow unnoticed."""
    files = tracked_files(ROOT) or pytest.skip("no git checkout")
    assert statements(ROOT, files) <= allowed()["statements"]["product"]


def test_check_counts_what_the_tree_has(tmp_path: Path) -> None:
    """Without docstrings, comments and generated code; nothing is written."""
    text = '"""Doc."""\n\n\nclass OnePlan:\n    """Doc."""\n\n    x = 1  # why\n'
    files = {"izin/a.py": text, "izin/generated/b.py": text, "tests/c.py": "x = 1\n"}
    files |= {"izin/sql/a.sql": "-- name: a\n\nSELECT 1\n"}
    for name, content in files.items():
        plant(tmp_path, name, content)
    product, tests, *places = check(tmp_path, list(files)).splitlines()
    assert (product, tests) == (
        "izin: 2 statements, 6 tokens, 1 modules, 1 lines of SQL",
        "tests: 1 statements, 3 tokens, 1 modules, 0 lines of SQL",
    )
    assert "  izin/a.py: OnePlan" in places


def test_writer_of_the_ratchet_refuses_to_raise_a_figure() -> None:
    """A figure that fell may be written, and statements may rise."""
    none: dict[str, dict[str, int]] = {name: {} for name in FINDERS}
    limits = {**none, "long_modules": {"izin/iys": 1}, "statements": {"product": 1}}
    today = {**none, "long_modules": {"izin/sinks": 1}, "statements": {"product": 2}}
    assert (raised(today, limits), raised(none, limits)) == (["long_modules: izin/sinks, 1"], [])


@pytest.mark.parametrize(
    ("finder", "names", "text"),
    [
        ("refused_words", ["izin/a/a.py"], f"# {WORDS.anywhere[0]}\n"),
        ("refused_names", ["izin/a/a.py"], "is_told = True\n"),
        ("crowded_folders", [f"izin/a/m{number}.py" for number in range(21)], ""),
        ("long_modules", ["izin/a/a.py"], "x = 1\n" * 501),
        ("long_functions", ["izin/a/a.py"], "def f():\n" + "    x = 1\n" * 60),
        ("long_test_names", ["tests/a/a.py"], f"def test_{'a' * 66}(): ...\n"),
        ("repeated_class_names", ["izin/iys/a.py", "izin/sinks/b.py"], "class A: ...\n"),
    ],
)
def test_figure_that_is_exceeded_is_found(
    tmp_path: Path, finder: str, names: list[str], text: str
) -> None:
    """One finding for each file or folder, and none in an empty tree."""
    for name in names:
        plant(tmp_path, name, text)
    found = FINDERS[finder](tmp_path, names)
    assert len(found) == len({name if len(names) < 3 else "" for name in names})
    assert sum(counted(found).values()) == len(found)
    assert FINDERS[finder](tmp_path, []) == []


def test_cycle_of_imports_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one of its imports is for types only."""
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
    for name, text in {
        "__init__": "",
        "a": "from ratchet_example import b\n",
        "b": "from ratchet_example import c\n",
        "c": f"{for_types}from ratchet_example import a\n",
        "d": "from ratchet_example import a\n",
    }.items():
        plant(tmp_path, f"ratchet_example/{name}.py", text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cyclic_modules("ratchet_example") == [f"ratchet_example.{one}" for one in "abc"]


def test_statements_do_not_count_docstrings(tmp_path: Path) -> None:
    """Nor generated code."""
    names = ["izin/iys/a.py", "izin/schemas/generated/b.py", "benchmarks/c.py"]
    for name in names:
        plant(tmp_path, name, '"""A."""\ndef f():\n    """B."""\n    return 1\n')
    assert (product_modules(names), statements(tmp_path, names)) == (names[:1], 2)


def test_glossary_lists_words_of_both_kinds() -> None:
    """The refused words are those of the glossary."""
    assert (len(WORDS.anywhere), len(WORDS.in_names)) == (14, 12)
    page = "# A\n\n## B\n\nAnywhere: `x`,\n`y z`.\n\nIn names: `v`.\n"
    assert words(page) == (("x", "y z"), {"v"})


def test_topics_have_no_refused_name() -> None:
    """Topics are visible to every consumer."""
    assert refused_topics() == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"In {PHRASE} it is."),
        ("a.py", f'"""{PHRASE.title()}."""\n'),
        ("a.py", "# " + PHRASE.replace(" ", "\n# ") + "\n"),
        ("a.sql", f"-- {PHRASE}\n"),
    ],
)
def test_refused_word_in_any_text_is_found(tmp_path: Path, name: str, text: str) -> None:
    """In prose and comments, in any case, and broken over two lines."""
    plant(tmp_path, name, text)
    assert refused_words(tmp_path, [name]) == [f"{name}: {PHRASE}"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", f"is_{WORD} = 1\n"),
        ("a.py", f"class An{CAPITAL}Class: ...\n"),
        ("a.py", f"def f(*, {WORD}): ...\n"),
        ("a.py", f"x = y.{WORD}_z\n"),
        ("a.py", f'x = "izin_{WORD}_total"\n'),
        ("a.py", f'_log.info("{WORD} x", n=1)\n'),
        ("a.py", f'@app.command("{WORD}")\ndef f(): ...\n'),
        ("a.py", f'app = Typer(name="{WORD}")\n'),
        ("a.py", f'x = "--{WORD}-x"\n'),
        ("a.sql", f"SELECT {WORD}_at FROM consents;\n"),
        ("a.avsc", f'{{"name": "A", "fields": [{{"name": "{WORD}_at"}}]}}'),
        (f"a_{WORD}.md", "Nothing."),
        (f"{WORD}/a.md", "Nothing."),
    ],
)
def test_refused_word_in_any_name_is_found(tmp_path: Path, name: str, text: str) -> None:
    """Identifiers, files, columns, metrics, log events, commands, options, fields."""
    plant(tmp_path, name, text)
    (finding,) = refused_names(tmp_path, [name])
    assert finding.startswith(f"{name}: ")
    assert refused_words(tmp_path, [name]) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"A {WORD} in prose, and an on{WORD}ed thing."),
        ("a.py", f'"""A {WORD}."""\n# {WORD}\nx = "{WORD}"\nkh{WORD}s = 1\n'),
        ("a.sql", f"SELECT '{WORD}' /* {WORD} */ -- {WORD}\n"),
    ],
)
def test_refused_name_in_prose_is_not_found(tmp_path: Path, name: str, text: str) -> None:
    """There these words have their ordinary meaning."""
    plant(tmp_path, name, text)
    assert refused_names(tmp_path, [name]) == []


def test_every_exception_is_needed_and_has_a_reason() -> None:
    """An exception that is no longer needed goes."""
    files = set(tracked_files(ROOT)) or pytest.skip("no git checkout")
    for (path, word), reason in exceptions().items():
        assert path in files
        assert len(reason.split()) >= 3
        assert word in {"*", *WORDS.anywhere, *WORDS.in_names}
        assert path == str(GLOSSARY) or word.lower() in (ROOT / path).read_text("utf-8").lower()


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIGHT = (
    *("izin.producers", "izin.subscribers"),
    *("izin.kafka.registry_client", "izin.subscribers.gate.connection", "izin.cli.entry"),
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
    assert packaged(ROOT, settings["tool"]["setuptools"]["packages"]["find"]["include"]) == {"izin"}
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
            "error: the command line needs packages that are not installed (typer); run: "
            "pip install '.[server]' in a checkout of izin, or pip install 'FILE.whl[server]' of "
            "its wheel\n"
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


REFERENCE = ROOT.parent / "shared" / "iys" / "reference.md"
TABLES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "the law": law.REASONS,
    "the producers": producers.REASONS,
    "the order stage": guard.REASONS,
    "the sinks": messages.REASONS,
}
NAMED = {code for table in TABLES.values() for code in table}


def codes_of_ours(root: Path) -> Counter[str]:
    """Count the codes of ours in the package's source; one put together would not be found."""
    found: Counter[str] = Counter()
    for path in root.rglob("*.py"):
        found.update(re.findall(r"""["'](IZIN-[^"']*)["']""", path.read_text(encoding="utf-8")))
    del found["IZIN-"]  # the prefix alone is cut off, and names nothing
    return found


def test_every_code_of_ours_is_in_a_table_and_used():
    """A code outside the tables has no reason; an unused reason is dead."""
    used = codes_of_ours(ROOT / "izin")
    assert set(used) == {code for code in NAMED if code.startswith("IZIN-")}
    assert [code for code, count in used.items() if count < 2] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('x = "IZIN-MADE-UP"', "IZIN-MADE-UP"),
        ("x = 'IZIN-MADE-UP'", "IZIN-MADE-UP"),
        ('x = f"IZIN-{name}"', "IZIN-{name}"),
    ],
)
def test_code_outside_the_tables_is_found(tmp_path: Path, text: str, found: str):
    """The check can fail: also where a code is put together."""
    (tmp_path / "a.py").write_text(text, encoding="utf-8")
    assert set(codes_of_ours(tmp_path)) == {found}
    assert found not in NAMED


def test_no_code_is_in_two_tables():
    """One code has one reason, apart from the field."""
    assert Counter(code for table in TABLES.values() for code in table).most_common(1)[0][1] == 1


@pytest.mark.parametrize("layer", TABLES)
def test_every_reason_is_in_two_languages(layer: str):
    """English for operators, Turkish for those who correct the record, with the same places."""
    for code, (english, turkish) in TABLES[layer].items():
        assert english, code
        assert turkish, code
        assert english != turkish, code
        assert turkish.endswith("."), code
        places = re.compile(r"\{\w+\}")
        assert set(places.findall(turkish)) <= {*places.findall(english), "{width}"}, code


@pytest.mark.parametrize("code", OF_A_RECORD)
def test_code_of_a_record_is_checked_before_iys(code: str):
    """What a record can be refused for is a violation, or cannot happen."""
    assert code in CORE_CODES
    assert (code in NAMED) is not (code in NOT_A_VIOLATION)


def test_every_exception_is_a_code_of_a_record():
    """And no violation has an H-code that no record can get."""
    assert set(NOT_A_VIOLATION) <= set(OF_A_RECORD)
    assert {code for code in NAMED if code.startswith("H")} <= set(OF_A_RECORD)


@pytest.mark.skipif(not REFERENCE.exists(), reason="İYS's reference is not here")
def test_codes_are_those_of_the_reference():
    """The list here and İYS's table of codes are the same."""
    text = REFERENCE.read_text(encoding="utf-8")
    table = text[text.index("## 5.1 ") : text.index("## 5.2 ")]
    assert sorted(CORE_CODES) == sorted(re.findall(r"^\| (H\d{3})\b", table, re.MULTILINE))


_NAME = re.compile(r"(?m)^-- name: (\S+)$")
_LOADED = re.compile(r"statements\(\s*\"(\w+)\"")


class _Texts:
    """The texts in a module; what an f-string fills in may be anything."""

    def __init__(self, text: str) -> None:
        self.loads = set(_LOADED.findall(text))
        self.texts = set[str]()
        self.patterns = set[str]()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.texts.add(node.value)
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                parts = (one.value if isinstance(one, ast.Constant) else "" for one in node.values)
                self.patterns.add(r"[\w-]+".join(re.escape(str(one)) for one in parts))

    def has(self, name: str) -> bool:
        """Whether it may name a statement."""
        return name in self.texts or any(re.fullmatch(one, name) for one in self.patterns)


def unused(files: Mapping[str, Iterable[str]], modules: Iterable[str]) -> list[str]:
    """Return the statements of ``files``, by file, that no module which loads the file names; a
    name with a hyphen may be handed over by another module.
    """
    texts = [_Texts(one) for one in modules]
    found = []
    for file, names in files.items():
        loading = [one for one in texts if file in one.loads]
        for name in names:
            asked = texts if loading and "-" in name else loading
            if not any(one.has(name) for one in loading) and not any(
                one.has(name) for one in asked
            ):
                found.append(f"{file}: {name}")
    return found


def test_every_named_statement_is_used():
    """What nobody runs is not maintained."""
    files = tracked_files(ROOT)
    statements = {
        Path(name).stem: _NAME.findall(text_of(ROOT / name))
        for name in files
        if name.startswith("izin/") and "/sql/" in name
    }
    assert len(statements) > 40
    assert unused(statements, [text_of(ROOT / name) for name in product_modules(files)]) == []


def test_unused_statement_is_found():
    """One that nobody names, one of a file that nobody loads; not what is put together."""
    modules = ['_SQL = statements("a")\n_SQL["read"]\n_SQL[f"drop-{table}"]\n']
    found = unused({"a": ["read", "drop-rows", "old"], "b": ["read"]}, modules)
    assert found == ["a: old", "b: read"]


@pytest.fixture(scope="module")
def generated() -> Mapping[str, str]:
    """Return what each generated file is to have: it takes seconds, so it is made once."""
    return pages()


def test_generated_files_are_current(generated: Mapping[str, str]) -> None:
    """A file that differs from the code is renewed with: make docs."""
    outdated = [
        name
        for name, text in generated.items()
        if (ROOT / name).read_text(encoding="utf-8") != text
    ]
    assert outdated == [], "run: make docs"


def test_retention_page_has_each_topic_with_recipients(generated: Mapping[str, str]) -> None:
    """Also where the field does not say that it is personal data."""
    schemas = {name: json.dumps(one.schema) for name, one in contracts.current().items()}
    naming = {one.name for one in Topics() if '"name": "recipient"' in schemas[one.record]}
    rows = generated["docs/retention.md"].splitlines()
    cells = chain.from_iterable(row.split("|")[1:2] for row in rows)
    assert naming >= {"consent-events", "gate-receipts"}
    naming -= {Topics().opted_out_merchants.name}  # whose records have digests alone
    assert naming <= {one.strip(" `") for one in cells}


@pytest.mark.parametrize(("killed", "code", "word"), [(89, 0, "ok"), (88, 1, "short")])
def test_fewer_than_nine_in_ten_killed_mutants_are_short(
    killed: int, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mutant that never ends counts as killed; skipped ones do not count."""
    assert of_mutants({"killed": killed, "timeout": 1, "total": 110, "skipped": 10}) == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"law-mutants: {killed + 1} % (bar ≥ 90 %) {word}"


PUSH = "tests/unit/sinks/test_observed.py"


def test_return_is_a_room_that_the_way_has_left_before() -> None:
    """Several calls within a room are one stay."""
    way = Way()
    for room in ("a", "a", "b", "b", "a", "c", "a", "b"):
        way.enter(room)
    assert (way.rooms, way.returns) == (["a", "b", "a", "c", "a", "b"], 3)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        # It waits for the ledger, and for nobody else's task.
        (
            "izin.sinks.inbound.push:AcceptedCredentials.admits",
            "hand-overs: 0, returns: 0",
        ),
        ("izin.sinks.inbound.push:Nowhere.called", "was not called"),
    ],
)
def test_command_prints_the_way_of_a_call_in_a_test(call: str, expected: str) -> None:
    """What waits and goes on is one call."""
    ran = run(sys.executable, "-m", "tools.hand_overs", PUSH, "--call", call)
    assert expected in ran.stdout + ran.stderr
    assert (ran.returncode == 0) is ("returns" in expected)
