"""The hot path compiled, as a wheel has it: its own tests hold there too."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

from izin.kafka.clients import committed_ends
from izin.runtime.settings import KafkaSettings
from tests.integration.producers.conftest import publish_brand_and_key

ROOT = Path(__file__).parents[3]
SOURCES = ("izin", "pyproject.toml", "setup.py", "README.md", "LICENSE")
MOST_PACKAGES = 25
"""A third of what every process together needs."""
TESTS = (
    "tests/contract/schemas/test_topics.py",
    "tests/integration/sinks/ingest/test_bulk_rows.py",
    "tests/unit/gate/test_key_tables.py",
    "tests/unit/kafka/test_tables.py",
    "tests/unit/ledger",
    "tests/unit/streams/test_erasure.py",
    "tests/unit/streams/test_guard.py",
    "tests/unit/streams/test_order.py",
    "tests/unit/streams/test_ownership.py",
    "tests/unit/streams/test_packing.py",
)


INSTALL = ("install", "--quiet", "--no-compile", "--disable-pip-version-check")
FEW = ("izin/schemas/fast/cache.py", "izin/streams/fast_path/simple_events.py")
"""What a wheel compiles for which no compiler is there: mypyc translates before that is known."""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has what builds the wheel, and nothing else."""
    home = tmp_path_factory.mktemp("builder")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    subprocess.run([*pip_of(home), *INSTALL, *build_requirements()], check=True)
    return home / "bin" / "python"


def pip_of(home: Path) -> Sequence[str | Path]:
    """Return the command of this environment's pip for the one in ``home``."""
    return (sys.executable, "-m", "pip", "--python", home / "bin" / "python")


def build_requirements() -> list[str]:
    """Return what ``pyproject.toml`` says that a build needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[str] = project["build-system"]["requires"]
    return found


def build(builder: Path, folder: Path, hot: Sequence[str] = (), **environment: str) -> Path:
    """Build a wheel of the checkout in ``folder``, of the modules ``hot`` in place of all that
    ``setup.py`` compiles, as pip does; return its file.
    """
    source, built = folder / "source", folder / "built"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    if hot:
        setup = source / "setup.py"
        setup.write_text(setup.read_text("utf-8").replace(hot_tuple(), repr(hot)), "utf-8")
    subprocess.run(
        [builder, "-c", "from setuptools import build_meta as b; b.build_wheel('../built')"],
        cwd=source,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    (found,) = built.glob("*.whl")
    return found


def unpacked(wheel: Path, site: Path) -> Path:
    """Return ``site``, with what is in ``wheel``."""
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def quick_compiler(folder: Path) -> Path:
    """Return a C compiler that does not optimise: what mypyc has written means the same."""
    compiler = folder / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0 -g0\n', encoding="ascii")
    compiler.chmod(0o755)
    return compiler


@pytest.fixture(scope="module")
def wheel(builder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel of the checkout, compiled where there is a compiler."""
    folder = tmp_path_factory.mktemp("wheel")
    return build(builder, folder, CC=str(quick_compiler(folder)))


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


_BUILD = "from izin.schemas.fast import BUILD; print(BUILD)"
_INTERPRETED = """
import sys
from importlib import import_module
print([name for name in sys.argv[1:] if import_module(name).__file__.endswith(".py")])
"""


def hot_tuple() -> str:
    """Return the tuple of modules that ``setup.py`` compiles, as it stands there."""
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    (found,) = (
        ast.get_source_segment(text, one.value)
        for one in ast.parse(text).body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "HOT"
    )
    assert found is not None
    return found


def hot_modules() -> list[str]:
    """Return the names of those modules."""
    return [path.removesuffix(".py").replace("/", ".") for path in ast.literal_eval(hot_tuple())]


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.timeout(600)
def test_compiled_modules_pass_their_tests(wheel: Path, tmp_path: Path) -> None:
    """Its tests, run on the compiled modules."""
    site = unpacked(wheel, tmp_path)
    assert output_of(site, "-c", _BUILD) == "compiled\n"
    assert output_of(site, "-c", _INTERPRETED, *hot_modules()) == "[]\n"
    for folder in ("tests", "tools"):
        shutil.copytree(ROOT / folder, site / folder)
    shutil.copy(ROOT / "pyproject.toml", site)
    chosen = ("-m", "not interpreted and not broker", "-p", "no:cacheprovider", *TESTS)
    assert " passed" in output_of(site, "-m", "pytest", "-q", *chosen)


@pytest.mark.timeout(300)
def test_wheel_without_a_compiler_runs_interpreted(builder: Path, tmp_path: Path) -> None:
    """Interpreted, and whole."""
    site = unpacked(build(builder, tmp_path, FEW, CC=str(tmp_path / "absent")), tmp_path / "site")
    assert output_of(site, "-c", _BUILD) == "interpreted\n"


PROGRAM = """
import producers, schemas, sinks, streams
assert {{one.MINE for one in (producers, schemas, sinks, streams)}} == {{True}}
{lines}
"""


@pytest.mark.broker
@pytest.mark.timeout(600)
def test_light_install_publishes_in_a_project_with_such_packages(
    wheel: Path, make_settings: Callable[[int], KafkaSettings], tmp_path: Path
) -> None:
    """Into a fresh environment, without an extra; the project has packages named as our layers."""
    settings = make_settings(1)
    publish_brand_and_key(settings)
    project, home = tmp_path / "project", tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    subprocess.run([*pip_of(home), *INSTALL, "-c", ROOT / "constraints.txt", wheel], check=True)
    for name in ("producers", "schemas", "sinks", "streams"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("MINE = True\n", encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (lines,) = [one for one in blocks if "ConsentPublisher" in one]
    (project / "program.py").write_text(PROGRAM.format(lines=lines), encoding="utf-8")
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
    }

    def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, check=False
        )

    published = ran(home / "bin" / "python", "program.py")
    assert (published.returncode, published.stderr) == (0, "")
    assert sum(committed_ends(settings, settings.topics.express.name).values()) == 1
    assert ran(home / "bin" / "izin", "doctor").stderr.endswith("pip install 'izin[server]'\n")
    listed = subprocess.run(
        [*pip_of(home), "freeze"], capture_output=True, text=True, check=True
    ).stdout
    packages = {line.partition("=")[0].partition(" ")[0] for line in listed.splitlines()}
    assert packages.isdisjoint({"pydantic", "psycopg", "faust-streaming", "starlette", "typer"})
    assert len(packages) <= MOST_PACKAGES


def test_compiler_is_the_mypy_that_checks() -> None:
    """The same version of mypy checks the types and compiles."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^mypy==.+$", pins, re.MULTILINE)
    assert pinned in build_requirements()
