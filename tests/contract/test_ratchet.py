"""Figures of the tree only improve, and each can be exceeded."""

from pathlib import Path

import pytest

from tests.support.ratchet import (
    FINDERS,
    allowed,
    check,
    counted,
    cyclic_modules,
    raised,
    statements,
)
from tests.support.source_tree import ROOT, product_modules, tracked_files
from tests.support.vocabulary import WORDS


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
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    product, tests, *places = check(tmp_path, list(files)).splitlines()
    assert product == "izin: 2 statements, 6 tokens, 1 modules, 1 lines of SQL"
    assert tests == "tests: 1 statements, 3 tokens, 1 modules, 0 lines of SQL"
    assert "  izin/a.py: OnePlan" in places


def test_writer_of_the_ratchet_refuses_to_raise_a_figure() -> None:
    """A figure that fell may be written, and statements may rise."""
    none: dict[str, dict[str, int]] = {name: {} for name in FINDERS}
    limits = {**none, "long_modules": {"izin/iys": 1}, "statements": {"product": 1}}
    today = {**none, "long_modules": {"izin/sinks": 1}, "statements": {"product": 2}}
    assert raised(today, limits) == ["long_modules: izin/sinks, 1"]
    assert raised(none, limits) == []


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
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = FINDERS[finder](tmp_path, names)
    assert len(found) == len({name if len(names) < 3 else "" for name in names})
    assert sum(counted(found).values()) == len(found)
    assert FINDERS[finder](tmp_path, []) == []


def test_cycle_of_imports_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one of its imports is for types only."""
    package = tmp_path / "ratchet_example"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "a": "from ratchet_example import b\n",
        "b": "from ratchet_example import c\n",
        "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from ratchet_example import a\n",
        "d": "from ratchet_example import a\n",
    }.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cyclic_modules("ratchet_example") == [f"ratchet_example.{one}" for one in "abc"]


def test_statements_do_not_count_docstrings(tmp_path: Path) -> None:
    """Nor generated code."""
    names = ["izin/iys/a.py", "izin/schemas/generated/b.py", "benchmarks/c.py"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('"""A."""\ndef f():\n    """B."""\n    return 1\n', "utf-8")
    assert product_modules(names) == names[:1]
    assert statements(tmp_path, names) == 2
