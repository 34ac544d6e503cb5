"""The hot path compiled, as a wheel has it: its own tests hold there too."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ("izin", "pyproject.toml", "setup.py", "README.md", "LICENSE")
TESTS = (
    "tests/contract/schemas/test_fast.py",
    "tests/contract/schemas/test_partitioning.py",
    "tests/integration/sinks/ingest/test_bulk_rows.py",
    "tests/integration/sinks/outbound/test_bulk_success.py",
    "tests/unit/streams/test_guard.py",
    "tests/unit/streams/test_order.py",
    "tests/unit/streams/test_packing.py",
    "tests/unit/streams/test_simple_events.py",
    "tests/unit/streams/test_rows.py",
)


def wheel(folder: Path, **environment: str) -> Path:
    """Build a wheel of the checkout in ``folder``; return the folder it was unpacked into."""
    source, built, site = folder / "source", folder / "built", folder / "site"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", built, source],
        # Nothing runs often enough in the environment of the build to be worth compiling.
        env=os.environ | {"PIP_NO_COMPILE": "1"} | environment,
        check=True,
    )
    (found,) = built.glob("*.whl")
    with ZipFile(found) as archive:
        archive.extractall(site)
    return site


def quick_compiler(folder: Path) -> Path:
    """Return a C compiler that does not optimise: what mypyc has written means the same."""
    compiler = folder / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0\n', encoding="ascii")
    compiler.chmod(0o755)
    return compiler


def output_of(site: Path, *command: str) -> str:
    """Return what Python prints of ``command`` where ``site`` is what it imports from."""
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=site,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


_IS_COMPILED = "from izin.streams.fast_path.simple_events import is_compiled; print(is_compiled())"
_INTERPRETED = """
import sys
from importlib import import_module
print([name for name in sys.argv[1:] if import_module(name).__file__.endswith(".py")])
"""


def hot() -> list[str]:
    """Return the modules that ``setup.py`` compiles."""
    (found,) = (
        ast.literal_eval(one.value)
        for one in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "HOT"
    )
    return [path.removesuffix(".py").replace("/", ".") for path in found]


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.timeout(300)
def test_compiled_modules_pass_their_tests(tmp_path: Path) -> None:
    """Its tests, run on the compiled modules."""
    site = wheel(tmp_path, CC=str(quick_compiler(tmp_path)))
    assert output_of(site, "-c", _IS_COMPILED) == "True\n"
    assert output_of(site, "-c", _INTERPRETED, *hot()) == "[]\n"
    shutil.copytree(ROOT / "tests", site / "tests")
    shutil.copy(ROOT / "pyproject.toml", site)
    chosen = ("-m", "not interpreted and not broker", "-p", "no:cacheprovider", *TESTS)
    assert " passed" in output_of(site, "-m", "pytest", "-q", *chosen)


@pytest.mark.timeout(300)
def test_wheel_without_a_compiler_runs_interpreted(tmp_path: Path) -> None:
    """Interpreted, and whole."""
    site = wheel(tmp_path, CC=str(tmp_path / "absent"))
    assert output_of(site, "-c", _IS_COMPILED) == "False\n"


def test_compiler_is_the_mypy_that_checks() -> None:
    """The same version of mypy checks the types and compiles."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^mypy==.+$", pins, re.MULTILINE)
    assert pinned in project["build-system"]["requires"]
