"""The wheel has the product and nothing else."""

import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
