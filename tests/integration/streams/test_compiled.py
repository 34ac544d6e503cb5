"""The wheel: pure Python, or with a hot path that is compiled, for which its own tests hold too."""

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
from tools.pins import versions

ROOT = Path(__file__).parents[3]
SOURCES = (
    *("izin", "pyproject.toml", "setup.py", "build_backend.py", "MANIFEST.in"),
    *("README.md", "LICENSE"),
)
MOST_PACKAGES = 25
"""A third of what every process together needs."""
TESTS = (
    "tests/contract/schemas/test_record_ids.py",
    "tests/contract/schemas/test_topics.py",
    "tests/integration/sinks/ingest/test_bulk_rows.py",
    "tests/unit/gate/test_key_tables.py",
    "tests/unit/kafka/test_tables.py",
    "tests/unit/ledger",
    "tests/unit/producers/test_endpoint.py",
    "tests/unit/streams/test_erasure.py",
    "tests/unit/streams/test_guard.py",
    "tests/unit/streams/test_order.py",
    "tests/unit/streams/test_ownership.py",
    "tests/unit/streams/test_packing.py",
)


INSTALL = ("install", "--quiet", "--no-compile", "--disable-pip-version-check")
FEW = ("izin/schemas/fast/cache.py", "izin/streams/fast_path/simple_events.py")
"""What is compiled where no compiler is: mypyc translates before that is known."""
SOURCE_AND_WHEEL = """
import tarfile, build_backend
name = build_backend.build_sdist('../built')
tarfile.open('../built/' + name).extractall('../unpacked', filter='data')
import os; os.chdir('../unpacked/' + name.removesuffix('.tar.gz'))
build_backend.build_wheel('../../built')
"""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has what builds a pure wheel, and nothing else."""
    return environment(tmp_path_factory.mktemp("builder"), *build_requirements())


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has what builds a compiled wheel."""
    return environment(tmp_path_factory.mktemp("compiler"), *build_requirements(), pinned_mypy())


def environment(home: Path, *packages: str) -> Path:
    """Return the Python of a fresh environment in ``home`` that has ``packages``, and no pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    subprocess.run([*pip_of(home), *INSTALL, *packages], check=True)
    return home / "bin" / "python"


def pip_of(home: Path) -> Sequence[str | Path]:
    """Return the command of this environment's pip for the one in ``home``."""
    return (sys.executable, "-m", "pip", "--python", home / "bin" / "python")


def build_requirements() -> list[str]:
    """Return what ``pyproject.toml`` says that a build needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[str] = project["build-system"]["requires"]
    return found


def pinned_mypy() -> str:
    """Return the mypy that checks the types, as ``constraints.txt`` has it."""
    (pinned,) = (line for line in versions().splitlines() if line.startswith("mypy=="))
    return pinned


def in_copy(
    python: Path, folder: Path, program: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``program`` in a copy of what a distribution is built from, in ``folder / "source"``."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, dirs_exist_ok=True)
        elif not (source / name).exists():
            shutil.copy(ROOT / name, source / name)
    return subprocess.run(
        [python, "-c", program],
        cwd=source,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def build(python: Path, folder: Path, **environment: str) -> Path:
    """Build a source distribution of the checkout and, of that, a wheel, as pip does; return the
    wheel.
    """
    done = in_copy(python, folder, SOURCE_AND_WHEEL, **environment)
    assert done.returncode == 0, done.stderr
    (found,) = (folder / "built").glob("*.whl")
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
    """Return the wheel of the checkout."""
    return build(builder, tmp_path_factory.mktemp("wheel"), IZIN_COMPILE="")


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
@pytest.mark.timeout(2400)  # it takes minutes of both cores, and shares them
def test_compiled_modules_pass_their_tests(compiler: Path, tmp_path: Path) -> None:
    """Its tests, run on the compiled modules."""
    wheel = build(compiler, tmp_path, IZIN_COMPILE="1", CC=str(quick_compiler(tmp_path)))
    site = unpacked(wheel, tmp_path / "site")
    assert output_of(site, "-c", _BUILD) == "compiled\n"
    assert output_of(site, "-c", _INTERPRETED, *hot_modules()) == "[]\n"
    for folder in ("tests", "tools", "docs"):
        shutil.copytree(ROOT / folder, site / folder)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, site)
    chosen = ("-m", "not interpreted and not broker", "-p", "no:cacheprovider", *TESTS)
    assert " passed" in output_of(site, "-m", "pytest", "-q", *chosen)


def test_wheel_is_pure_python_without_a_wish(wheel: Path, tmp_path: Path) -> None:
    """For every machine, built without mypy, and whole."""
    assert wheel.name.endswith("-py3-none-any.whl")
    assert output_of(unpacked(wheel, tmp_path), "-c", _BUILD) == "interpreted\n"


def test_compiled_wheel_without_a_compiler_is_refused(compiler: Path, tmp_path: Path) -> None:
    """Whoever wants it compiled gets no other, and reads what is missing."""
    text = (ROOT / "setup.py").read_text("utf-8").replace(hot_tuple(), repr(FEW))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "setup.py").write_text(text, "utf-8")
    absent = str(tmp_path / "absent")
    done = in_copy(compiler, tmp_path, SOURCE_AND_WHEEL, IZIN_COMPILE="1", CC=absent)
    assert done.returncode == 1
    assert re.search(rf"{absent}'\nIZIN_COMPILE=1 needs a C compiler", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("", "[]\n"),
        ("0", "[]\n"),
        ("1", f"['{pinned_mypy()}']\n"),
        ("yes", "IZIN_COMPILE is 'yes': set it to 1 for a compiled wheel, or to 0\n"),
    ],
)
def test_only_a_compiled_wheel_requires_mypy(
    builder: Path, tmp_path: Path, asked: str, answer: str
) -> None:
    """The version that checks the types; a word that is none of both ends the build."""
    program = (
        "import build_backend as b, sys; from contextlib import redirect_stdout as to\n"
        "with to(sys.stderr): found = b.get_requires_for_build_wheel()\nprint(found)"
    )
    done = in_copy(builder, tmp_path, program, IZIN_COMPILE=asked)
    assert (done.stdout or done.stderr).endswith(answer)


PROGRAM = """
import producers, schemas, sinks, streams
assert {{one.MINE for one in (producers, schemas, sinks, streams)}} == {{True}}
{lines}
"""


@pytest.mark.broker
def test_light_install_publishes_in_a_project_with_such_packages(
    wheel: Path, make_settings: Callable[[int], KafkaSettings], tmp_path: Path
) -> None:
    """Into a fresh environment, without an extra; the project has packages named as our layers."""
    settings = make_settings(1)
    publish_brand_and_key(settings)
    project, home = tmp_path / "project", tmp_path / "environment"
    (tmp_path / "versions.txt").write_text(versions(), encoding="utf-8")
    environment(home, "-c", str(tmp_path / "versions.txt"), str(wheel))
    for name in ("producers", "schemas", "sinks", "streams"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("MINE = True\n", encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (lines,) = [one for one in blocks if "ConsentPublisher" in one]
    (project / "program.py").write_text(PROGRAM.format(lines=lines), encoding="utf-8")
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
    }

    def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=project, env=variables, capture_output=True, text=True, check=False
        )

    published = ran(home / "bin" / "python", "program.py")
    assert (published.returncode, published.stderr) == (0, "")
    assert sum(committed_ends(settings, settings.topics.express.name).values()) == 1
    assert "run: pip install '.[server]'" in ran(home / "bin" / "izin", "doctor").stderr
    listed = subprocess.run(
        [*pip_of(home), "freeze"], capture_output=True, text=True, check=True
    ).stdout
    packages = {line.partition("=")[0].partition(" ")[0] for line in listed.splitlines()}
    assert packages.isdisjoint({"pydantic", "psycopg", "faust-streaming", "starlette", "typer"})
    assert len(packages) <= MOST_PACKAGES
