"""Every named statement of ``sql/*.sql`` is used by Python code, and every file is loaded."""

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.source_tree import ROOT, product_modules, text_of, tracked_files

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
                pattern = r"[\w-]+".join(re.escape(str(one)) for one in parts)
                self.patterns.add(pattern)

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
