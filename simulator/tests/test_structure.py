"""The structure of the package: layers, independence of izin, cycles, sizes, vocabulary."""

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "iys_simulator"
LINES, FUNCTION_LINES, MODULES, TEST_NAME = 300, 60, 20, 70
NOWHERE = re.compile(
    r"\b(twins?|whence|aloud|unheard|leash|noes|teller|crew|plainly)\b|begins anew|race track|"
    r'\ba "(?:no|yes)"|\bthe house\b',
    re.IGNORECASE,
)
NOT_IN_NAMES = frozenset(
    {
        *("told", "telling", "heard", "house", "drawn", "voice", "cure", "ring", "bell"),
        *("weather", "grey", "stamp"),
    }
)
NO_MODULE = frozenset({"utils", "common", "core", "helpers", "lib"})
Check = Callable[[Path], list[str]]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def cycles() -> list[tuple[str, str]]:
    graph = grimp.build_graph(PACKAGE)
    return [
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if graph.chain_exists(importer=imported, imported=module)
    ]


def oversized(root: Path) -> list[str]:
    found, modules = [], Counter[Path]()
    for path in (root / PACKAGE).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        modules[path.parent] += 1
        found += [path.name] if len(text.splitlines()) > LINES else []
        found += [
            node.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
        ]
    return found + [str(folder) for folder, count in modules.items() if count > MODULES]


def dialect(root: Path) -> list[str]:
    found = []
    for path in (*root.rglob("*.py"), *root.rglob("*.md"), *root.rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        if path.name == Path(__file__).name:
            continue
        found += [f"{path.name}: {word[0]}" for word in NOWHERE.finditer(text)]
        if path.suffix == ".py":
            found += [path.stem] if path.stem in NO_MODULE else []
            names = re.findall(r"\w+", re.sub(r'"(?:[^"\\]|\\.)*"|#.*', "", _code(text)))
            found += [
                f"{path.name}: {name}"
                for name in {*names, path.stem}
                if NOT_IN_NAMES & {part.lower() for part in re.findall(r"[A-Z]?[a-z]+", name)}
            ]
    return found


def _code(text: str) -> str:
    return re.sub(r'"""[\s\S]*?"""', "", text)


def long_test_names(root: Path) -> list[str]:
    names = re.findall(
        r"def (test_\w+)", "".join(path.read_text("utf-8") for path in root.glob("tests/**/*.py"))
    )
    return [name for name in names if len(name) > TEST_NAME]


def test_packages_import_only_the_packages_below() -> None:
    """The layers and the independence of izin hold."""
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("rules/consent.py", "import iys_simulator.store.accounts", "rules is not allowed"),
        ("rules/consent.py", "import izin", "iys_simulator.rules.consent -> izin"),
    ],
)
def test_import_contract_fires(tmp_path: Path, module: str, line: str, broken: str) -> None:
    """A contract that nothing breaks would guard nothing."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE)
    with (tmp_path / PACKAGE / module).open("a", encoding="utf-8") as text:
        text.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout
    assert broken in done.stdout


def test_imports_have_no_cycles() -> None:
    """Imports count wherever they are in a module."""
    assert cycles() == []


@pytest.mark.parametrize("check", [oversized, dialect, long_test_names])
def test_tree_passes_a_check(check: Check) -> None:
    """Sizes and vocabulary; see CONTRIBUTING."""
    assert check(ROOT) == []


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (oversized, "iys_simulator/a.py", "x = 1\n" * 301),
        (oversized, "iys_simulator/a.py", "def f():\n" + "    x = 1\n" * 60),
        (dialect, "iys_simulator/a.py", '"""The twin."""\n'),
        (dialect, "iys_simulator/a.py", "def is_told(): ...\n"),
        (dialect, "iys_simulator/a.py", "class WeatherFront: ...\n"),
        (dialect, "iys_simulator/utils.py", ""),
        (dialect, "iys_simulator/a.md", "The hour begins anew."),
        (long_test_names, "tests/test_a.py", f"def test_{'a' * 66}(): ...\n"),
    ],
)
def test_check_fires(tmp_path: Path, check: Check, name: str, text: str) -> None:
    """A check that finds nothing in a broken tree would guard nothing."""
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert len(check(tmp_path)) == 1
