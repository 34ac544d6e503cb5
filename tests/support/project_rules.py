"""The files of a checkout, and project rules that no tool checks: each returns its violations.

``tests/contract/test_project_rules.py`` runs them on the tree, and on trees that break them.
"""

import ast
import builtins
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
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


@cache
def nodes_of(path: Path) -> Sequence[ast.AST]:
    """Return all nodes of a module's syntax tree: a walk takes longer than all that look at it."""
    return tuple(ast.walk(tree_of(path)))


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions and methods of a module."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return (node for node in nodes_of(path) if isinstance(node, kinds))


CODE = ("izin", "benchmarks", "tools")
"""Everything but the tests."""

ENVIRONMENT: Mapping[str, str] = {
    "izin/runtime/setting_rules/group.py": "the reader",
    "izin/kafka/access.py": "the reader of the libraries, which have no settings",
    "izin/local/": "starts servers, which need an environment",
    "izin/stack/stack.py": "passes it on to the processes it starts",
}
"""Who may touch the environment, and why."""

CONSUMERS: Mapping[str, str] = {
    "izin/kafka/": "the clients and the readers",
    "izin/streams/": "a transport of its own",
    "izin/subscribers/": "the library of others, without settings of ours",
    "izin/stack/": "a subscriber as others have them",
}
"""Who may make a consumer, and why."""

LAW = "izin/consent"
LAW_IMPORTS = frozenset({"izin.consent", "phonenumbers", "holidays"})
"""What the law may import beside the standard library."""

WORLDLY = frozenset(
    {
        *("asyncio", "glob", "io", "locale", "logging", "multiprocessing", "os", "pathlib"),
        *("secrets", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading"),
        *("time", "urllib", "uuid"),
    }
)
"""Modules of the standard library that see the world: clocks, files, networks, chance, settings."""

CLOCKS_AND_CHANCE = frozenset(
    {
        *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "sys.argv"),
        *("random.random", "random.randint", "random.randrange", "random.choice", "random.choices"),
        *("random.shuffle", "random.sample", "random.uniform", "random.getrandbits"),
        *("random.seed", "random.randbytes", "SystemRandom", "random.SystemRandom"),
    }
)
"""Names by which a module that may be imported could still read a clock or chance."""

STRANGERS = ("izin/local/",)
"""They import nothing of the product, and raise errors of their own."""

BLAMED = frozenset({"OurError", "SourceError", "IysError"})

SHUNNED = frozenset(
    {"utils", "util", "common", "core", "helpers", "helper", "lib", "misc", "base", "manager"}
)
_UNREASONED = re.compile(r"#\s*noqa(?!: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*\s+(#|-)\s*\S)")
_UNCODED = re.compile(r"#\s*type:\s*ignore(?!\[)")
_UNDONE = re.compile(r"\b(TODO|FIXME|NotImplementedError)\b")
_PLACES = (
    re.compile(r"(?<![\w.])/(work|root|Users|home/\w+)/"),
    re.compile(r"(index-url|find-links|trusted-host|PIP_INDEX_URL)\s*[= ]\s*\S*https?://"),
    re.compile(r"\bpip3? \w+(\s+-\S+)*\s+['\"]?(izin|iys-simulator)(?![\w/-]|\.\w)"),
)
_ORDERS = frozenset({"order", "desired_order"})
"""What the place of an event in the law's order is called."""
_WORDS = 3
"""A docstring of fewer says nothing."""


def _modules(root: Path, *folders: str) -> Iterator[tuple[str, Path]]:
    found = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    return ((path.relative_to(root).as_posix(), path) for path in found)


def _lines(root: Path, *folders: str) -> Iterator[tuple[str, str]]:
    for name, path in _modules(root, *folders):
        # Here the forbidden words are named.
        if Path(name).name in {"project_rules.py", "test_project_rules.py"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{name}:{number}", line


def unreasoned_exceptions(root: Path) -> list[str]:
    """Find lint exceptions without a reason; mypy's are for tests alone, and named."""
    found = [place for place, line in _lines(root, *CODE, "tests") if _UNREASONED.search(line)]
    found += [place for place, line in _lines(root, "tests") if _UNCODED.search(line)]
    return found + [place for place, line in _lines(root, *CODE) if "type: ignore" in line]


def undone(root: Path) -> list[str]:
    """Find unfinished code."""
    return [place for place, line in _lines(root, *CODE, "tests") if _UNDONE.search(line)]


def shunned_names(root: Path) -> list[str]:
    """Find modules with meaningless names."""
    return [
        name
        for name, _ in _modules(root, *CODE, "tests")
        if SHUNNED & set(Path(name).with_suffix("").parts)
    ]


def stdlib_names(root: Path) -> list[str]:
    """Find Python's own names: they break every script that is run from their folder."""
    return [
        name
        for name, _ in _modules(root, *CODE)
        if sys.stdlib_module_names
        & {part for part in Path(name).with_suffix("").parts if not part.startswith("__")}
    ]


def silent_tests(root: Path) -> list[str]:
    """Find tests without a docstring."""
    return [
        f"{name}:{node.lineno} {node.name}"
        for name, path in _modules(root, "tests")
        if path.name.startswith("test_")
        for node in functions_of(path)
        if node.name.startswith("test_") and not _says_something(node)
    ]


def unlisted_packages(root: Path) -> list[str]:
    """Find packages without a list of exports and without a docstring."""
    found = []
    for name, path in _modules(root, *CODE):
        if path.name != "__init__.py":
            continue
        module = tree_of(path)
        listed = any(
            isinstance(target, ast.Name) and target.id == "__all__"
            for node in module.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        )
        bare = all(isinstance(node, ast.Expr | ast.ImportFrom) for node in module.body) and not [
            node
            for node in module.body
            if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        ]
        if not _says_something(module) or not (listed or bare):
            found.append(name)
    return found


def environment_readers(root: Path) -> list[str]:
    """Find readers of the environment: it is read once, in one place."""
    found = []
    for name, path in _modules(root, *CODE):
        if any(name.startswith(allowed) for allowed in ENVIRONMENT):
            continue
        for node in nodes_of(path):
            match node:
                case ast.Attribute(attr="environ" | "environb" | "getenv" | "putenv"):
                    found.append(f"{name}:{node.lineno}")
                case ast.ImportFrom(module="os", names=names) if any(
                    one.name in {"environ", "environb", "getenv", "putenv"} for one in names
                ):
                    found.append(f"{name}:{node.lineno}")
    return found


def foreign_orders(root: Path) -> list[str]:
    """Find comparisons of two events outside the law: ``consent.fold.outranks`` has them."""
    return [
        f"{name}:{node.lineno}"
        for name, path in _modules(root, "izin")
        if not name.startswith(f"{LAW}/")
        for node in nodes_of(path)
        if isinstance(node, ast.Compare)
        and any(isinstance(one, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for one in node.ops)
        and any(
            _dotted(one).rpartition(".")[2] in _ORDERS for one in (node.left, *node.comparators)
        )
    ]


def foreign_consumers(root: Path) -> list[str]:
    """Find who makes a consumer of Kafka: readers and followers of topics are in ``izin.kafka``."""
    return [
        f"{name}:{node.lineno}"
        for name, path in _modules(root, "izin")
        if not any(name.startswith(allowed) for allowed in CONSUMERS)
        for node in nodes_of(path)
        if isinstance(node, ast.Call)
        and _dotted(node.func).rpartition(".")[2] in {"consumer", "Consumer", "AIOKafkaConsumer"}
    ]


def impure_law(root: Path) -> list[str]:
    """Find I/O in the law: time, randomness and everything else are arguments."""
    return [
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, path in _modules(root, LAW)
        for node in nodes_of(path)
        if _imports_world(node) or _reads_world(node)
    ]


def _imports_world(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            modules = [one.name for one in names]
        case ast.ImportFrom(module=str(module)):
            modules = [module]
        case _:
            return False
    return any(
        one.partition(".")[0] in WORLDLY
        or (
            one.partition(".")[0] not in sys.stdlib_module_names
            and not any(one == fine or one.startswith(f"{fine}.") for fine in LAW_IMPORTS)
        )
        for one in modules
    )


def _reads_world(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="open" | "input" | "print" | "__import__")):
            return True
        case ast.Call(func=function, args=[], keywords=[]) if _dotted(function) in {
            "Random",
            "random.Random",
        }:
            return True
        case ast.Attribute() | ast.Name():
            dotted = _dotted(node)
            return any(dotted == one or dotted.endswith(f".{one}") for one in CLOCKS_AND_CHANCE)
    return False


def _dotted(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
    return ""


def blameless_errors(root: Path) -> list[str]:
    """Find exceptions outside the three branches that name who may act."""
    bases = {
        cls: (name, of)
        for name, path in _modules(root, *CODE)
        if not name.startswith(STRANGERS)
        for cls, of in _classes(path).items()
    }

    def ancestors(cls: str) -> set[str]:
        found, ahead = set[str](), [cls]
        while ahead:
            more = bases[one][1] if (one := ahead.pop()) in bases else []
            ahead += set(more) - found
            found |= set(more)
        return found

    found = []
    for cls, (name, _) in bases.items():
        above = ancestors(cls)
        if any(_is_exception(one) for one in above) and cls not in {"IzinError", *BLAMED}:
            found += [f"{name} {cls}"] if len(above & BLAMED) != 1 else []
    return found


def outdated_error_trees(root: Path) -> list[str]:
    """Find where the tree at the top of an ``errors.py`` is not the tree of its classes."""
    found = []
    for name, path in _modules(root, *CODE):
        if path.name != "errors.py":
            continue
        shown = _tree_in(ast.get_docstring(tree_of(path)) or "")
        real = {
            (base, cls)
            for cls, bases in _classes(path).items()
            for base in bases
            if cls.endswith("Error") and not _is_exception(base)
        }
        found += [f"{name}: {base} <- {cls}" for base, cls in sorted(shown ^ real)]
    return found


def _classes(path: Path) -> dict[str, list[str]]:
    return {
        node.name: [_dotted(base).rpartition(".")[2] for base in node.bases]
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef)
    }


def _is_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)


def _tree_in(text: str) -> set[tuple[str, str]]:
    """Return the (base, class) pairs of a tree of lines."""
    pairs, above = set(), [""]
    for line in text.splitlines():
        if branch := re.match(r"((?:│   |    )*(?:├── |└── )?)([A-Z]\w*Error)\b", line):
            depth = len(branch[1]) // 4
            above[depth:] = [branch[2]]
            if depth:
                pairs.add((above[depth - 1], branch[2]))
    return pairs


def machine_places(root: Path, files: list[str]) -> list[str]:
    """Find paths of one machine, registries of one network, and installs of our names from an
    index, which has none of ours: a checkout works anywhere.
    """
    found = []
    for name in files:
        path = root / name
        if path.name in {"project_rules.py", "test_project_rules.py"} or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        if str(root) in text or any(place.search(text) for place in _PLACES):
            found.append(name)
    return found


def _says_something(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return len((ast.get_docstring(node) or "").split()) >= _WORDS
