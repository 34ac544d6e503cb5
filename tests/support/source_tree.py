"""The files of a checkout, as the project's own rules look at them."""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

PRODUCT = "izin"
"""The package of the product, whatever is in it: without simulator, benchmarks and generators."""

GENERATED = "generated"
"""The folder of modules that are generated from the contracts."""


def tracked_files(root: Path) -> list[str]:
    """Return the paths of the tracked files below ``root``; empty if it is no git checkout."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return []
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True)
    names = listed.stdout.decode().split("\0")
    return [name for name in names if (root / name).is_file() and not (root / name).is_symlink()]


def package_of(name: str) -> str:
    """Return the top-level package of a path: ``izin/sinks``, ``tests/unit``, ``docs``, ``.``."""
    parts = Path(name).parts[:-1]
    return "/".join(parts[: 2 if parts[:1] in {("izin",), ("tests",)} else 1]) or "."


def is_generated(name: str) -> bool:
    """Whether the module ``name`` is generated from the contracts."""
    return GENERATED in Path(name).parts


def product_modules(files: list[str]) -> list[str]:
    """Return the modules of the product, without generated code."""
    return [
        name
        for name in files
        if name.endswith(".py") and Path(name).parts[0] == PRODUCT and not is_generated(name)
    ]


@cache
def text_of(path: Path) -> str:
    """Return the text of a file; empty if it is binary."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(text_of(path))


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions and methods of a module."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
