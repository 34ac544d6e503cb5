"""The contenders' names, and the environments that they run in."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import ROOT
from benchmarks.order.contenders import java_program, quix_environment
from benchmarks.order.contenders.quix_environment import NotInstalledError
from benchmarks.order.contenders.registry import CONTENDERS
from benchmarks.order.contenders.task import Task


def test_contenders_have_names_of_their_own():
    """A name is a topic, a group, a file and a row of the table."""
    assert len({one.name for one in CONTENDERS}) == len(CONTENDERS)
    assert len({one.slug for one in CONTENDERS}) == len(CONTENDERS)


def test_quix_imports_izin_and_benchmarks_and_none_of_our_clients(tmp_path: Path):
    """Where izin is installed its clients lie beside it, and Quix pins others."""
    root = tmp_path / "site-packages"
    for name in ("izin", "confluent_kafka"):
        (root / name).mkdir(parents=True)
    (root / "izin__mypyc.cpython-311.so").touch()
    for _ in range(2):
        imports = quix_environment.make_import_folder(root, cache=tmp_path)
        assert {path.name for path in imports.iterdir()} == {
            *("benchmarks", "izin", "izin__mypyc.cpython-311.so")
        }
    assert (imports / "izin").resolve() == root / "izin"
    assert (imports / "benchmarks").resolve() == ROOT / "benchmarks"


def test_quix_packages_that_cannot_be_installed_are_reported(tmp_path: Path):
    """A contender that cannot be had is skipped with the reason, and nothing half made is used."""
    quix_environment.folder(tmp_path).write_text("in the way")
    with pytest.raises(NotInstalledError, match="venv"):
        quix_environment.python(cache=tmp_path)


def test_a_java_source_that_does_not_compile_is_reported(tmp_path: Path):
    """The compiler's own words reach the reader."""
    source = tmp_path / "Wrong.java"
    source.write_text("class Wrong {")
    with pytest.raises(java_program.NotCompiledError, match=r"Wrong\.java does not compile"):
        java_program.compile_sources([source], tmp_path / "classes", jars=[], compiler=[])


def test_a_task_survives_the_command_line(monkeypatch: pytest.MonkeyPatch):
    """What the comparison passes to a contender is what the contender reads."""
    task = Task("127.0.0.1:1", "p-", "p-consent-events", "p-out", "p-app", "folder", "4")
    monkeypatch.setattr("sys.argv", ["contender", *task])
    assert Task.from_command_line() == task


@pytest.mark.parametrize("slug", ["pass-through", "faust-table", "izin-latest-wins", "izin"])
def test_a_contender_in_our_environment_has_a_module(slug: str):
    """A renamed module would show only as a contender that ends at once."""
    (contender,) = (one for one in CONTENDERS if one.slug == slug)
    *_, module = contender.prepare(print)
    assert find_spec(module) is not None
