"""Figures of the tree that may only improve, each counted by top-level package.

``ratchet.toml`` has what is allowed today. A figure that has improved is lowered there, by
``python -m tests.support.ratchet``, so that it cannot come back; with ``--check`` it prints
how large the tree is and how often it has what it should have once, and writes nothing.

Among them are the words of ``docs/glossary.md`` that are not used. Words of its first list are
refused in every text file, those of the second in names: identifiers (split at ``_`` and capitals),
files, SQL and Avro names, topics, metrics, log events, commands.
"""

import ast
import io
import json
import keyword
import re
import sys
import tokenize
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import grimp

from izin.schemas.topics import Topics
from tests.support.project_rules import (
    PRODUCT,
    ROOT,
    functions_of,
    is_generated,
    nodes_of,
    package_of,
    product_modules,
    text_of,
    tracked_files,
)

ALLOWED = Path(__file__).with_name("ratchet.toml")

MODULES = 20
LINES = 500
FUNCTION_LINES = 60
TEST_NAME = 70

Finder = Callable[[Path, list[str]], list[str]]
GLOSSARY = Path("docs/glossary.md")
EXCEPTIONS = Path(__file__).with_name("vocabulary_exceptions.toml")

_WORD = re.compile(r"\w+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SQL_NOISE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_EXPOSED = re.compile(r"izin_[a-z_]+|--[a-z][a-z-]+")
"""A metric, or an option of a command."""
_LOGGERS = frozenset({"_log", "log", "logger"})


class Words(NamedTuple):
    """The two lists of the glossary."""

    anywhere: tuple[str, ...]
    in_names: frozenset[str]


def words(glossary: str) -> Words:
    """Return the lists in the last section of ``glossary``, where each stands in a paragraph."""
    anywhere, in_names = glossary.rpartition("\n## ")[2].split("\n\n")[1:3]
    listed = [re.findall(r"`([^`]+)`", one) for one in (anywhere, in_names)]
    return Words(tuple(listed[0]), frozenset(listed[1]))


WORDS = words((ROOT / GLOSSARY).read_text(encoding="utf-8"))


def exceptions() -> Mapping[tuple[str, str], str]:
    """Return the reason of each exception by its path and word."""
    listed = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))["exception"]
    return {(one["path"], one["word"]): one["reason"] for one in listed}


def refused_words(root: Path, files: Iterable[str]) -> list[str]:
    """Return ``path: word`` for each text file with a word that is used nowhere."""
    known = exceptions()
    # A phrase may be broken over two lines, of a comment too.
    gap = r"[\s#*]+"
    patterns = {
        word: re.compile(rf"(?<!\w){gap.join(map(re.escape, word.split()))}(?!\w)", re.IGNORECASE)
        for word in WORDS.anywhere
    }
    any_of = re.compile("|".join(one.pattern for one in patterns.values()), re.IGNORECASE)
    return [
        f"{name}: {word}"
        for name in files
        if any_of.search(text_of(root / name))  # most files have none, and end here
        for word, pattern in patterns.items()
        if not {(name, word), (name, "*")} & known.keys() and pattern.search(text_of(root / name))
    ]


def refused_names(root: Path, files: Iterable[str]) -> list[str]:
    """Return ``path: name`` for each name with a word that is not used in names."""
    known = exceptions()
    # A single word that is refused anywhere may not be part of a name either.
    refused = WORDS.in_names | {word for word in WORDS.anywhere if word.isalpha()}
    return [
        f"{name}: {found}"
        for name in files
        # Most files have none, and end here.
        if any(refused & _parts(one) for one in _WORD.findall(f"{name} {text_of(root / name)}"))
        for found in sorted(set(_names_of(root, name)))
        if any((name, part) not in known for part in refused & _parts(found))
    ]


@cache
def _parts(name: str) -> frozenset[str]:
    return frozenset(part.lower() for part in _PARTS.findall(name))


def _names_of(root: Path, name: str) -> Iterator[str]:
    yield from Path(name).parts
    path = root / name
    match path.suffix:
        case ".py":
            yield from _python_names(path)
        case ".sql":
            yield from re.findall(r"[A-Za-z_]\w*", _SQL_NOISE.sub(" ", text_of(path)))
        case ".avsc":
            yield from _avro_names(json.loads(text_of(path)))


def _python_names(path: Path) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text_of(path)).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            yield token.string
    for node in nodes_of(path):
        match node:
            case ast.Constant(value=str(text)) if _EXPOSED.fullmatch(text):
                yield text
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=logger)),
                args=[ast.Constant(value=str(event)), *_],
            ) if logger in _LOGGERS:
                yield event
            case ast.Call(
                func=ast.Attribute(attr="command"), args=[ast.Constant(value=str(command)), *_]
            ):
                yield command
            case ast.keyword(arg="name", value=ast.Constant(value=str(text))):
                yield text


def _avro_names(schema: object) -> Iterator[str]:
    match schema:
        case dict():
            yield str(schema.get("name", ""))
            for value in schema.values():
                yield from _avro_names(value)
        case list():
            for value in schema:
                yield from _avro_names(value)


def refused_topics() -> list[str]:
    """Return the names of topics with a word that is not used in names."""
    return [topic.name for topic in Topics("") if WORDS.in_names & _parts(topic.name)]


def cyclic_modules(package: str) -> list[str]:
    """Return the modules of ``package`` that import themselves through other modules."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    above = {one: graph.find_upstream_modules(one) for one in graph.modules}
    return sorted(one for one, imported in above.items() if one in _beyond(imported, above))


def _beyond(imported: set[str], above: Mapping[str, set[str]]) -> set[str]:
    return set[str]().union(*(above[one] for one in imported))


def import_cycles(_root: Path, _files: list[str]) -> list[str]:
    """Find the modules of ``izin`` that are part of a cycle of imports."""
    return [f"{one.replace('.', '/')}.py" for one in cyclic_modules("izin")]


def crowded_folders(_root: Path, files: list[str]) -> list[str]:
    """Find folders with more than ``MODULES`` modules at one level."""
    counts = Counter(
        str(Path(name).parent)
        for name in files
        if name.endswith(".py") and not name.endswith("__init__.py")
    )
    return [f"{name}/*: {count} modules" for name, count in counts.items() if count > MODULES]


def long_modules(root: Path, files: list[str]) -> list[str]:
    """Find modules of the package with more than ``LINES`` lines."""
    return [
        f"{name}: {count} lines"
        for name in files
        if name.startswith("izin/") and name.endswith(".py") and not is_generated(name)
        if (count := len(text_of(root / name).splitlines())) > LINES
    ]


def long_functions(root: Path, files: list[str]) -> list[str]:
    """Find functions of the package with more than ``FUNCTION_LINES`` lines."""
    return [
        f"{name}: {node.name}, {count} lines"
        for name in files
        if name.startswith("izin/") and name.endswith(".py") and not is_generated(name)
        for node in functions_of(root / name)
        if (count := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]


def long_test_names(root: Path, files: list[str]) -> list[str]:
    """Find tests whose name has more than ``TEST_NAME`` characters."""
    return [
        f"{name}: {node.name}"
        for name in files
        if "tests/" in name and name.endswith(".py")
        for node in functions_of(root / name)
        if node.name.startswith("test_") and len(node.name) > TEST_NAME
    ]


def repeated_class_names(root: Path, files: list[str]) -> list[str]:
    """Find classes of the product that share their name with another."""
    places = defaultdict(list)
    for name in product_modules(files):
        for node in nodes_of(root / name):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    return [f"{one}: {name}" for name, found in places.items() if len(found) > 1 for one in found]


FINDERS: Mapping[str, Finder] = {
    "refused_words": refused_words,
    "refused_names": refused_names,
    "import_cycles": import_cycles,
    "crowded_folders": crowded_folders,
    "long_modules": long_modules,
    "long_functions": long_functions,
    "long_test_names": long_test_names,
    "repeated_class_names": repeated_class_names,
}


_NO_TOKENS = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT),
    *(tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER),
}


def statements_of(root: Path, names: Iterable[str]) -> int:
    """Return the number of statements of modules, docstrings not counted."""
    nodes = (node for name in names for node in nodes_of(root / name))
    return sum(isinstance(node, ast.stmt) and not _is_docstring(node) for node in nodes)


def tokens_of(root: Path, names: Iterable[str]) -> int:
    """Return the number of tokens of modules, without comments, docstrings and line ends."""
    docstrings = sum(
        isinstance(node, ast.stmt) and _is_docstring(node)
        for name in names
        for node in nodes_of(root / name)
    )
    lines = (io.StringIO(text_of(root / name)).readline for name in names)
    found = (one for read in lines for one in tokenize.generate_tokens(read))
    return sum(one.type not in _NO_TOKENS for one in found) - docstrings


def sql_lines(root: Path, names: Iterable[str]) -> int:
    """Return the number of lines of SQL, without comments and blank lines."""
    lines = (line.strip() for name in names for line in text_of(root / name).splitlines())
    return sum(bool(line) and not line.startswith("--") for line in lines)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def sizes(root: Path, files: list[str]) -> Mapping[str, Mapping[str, int]]:
    """Return the sizes of the product and of the tests, by name."""
    tests = [
        name
        for name in files
        if Path(name).parts[0] == "tests" and name.endswith(".py") and not is_generated(name)
    ]
    return {
        part: {
            "statements": statements_of(root, names),
            "tokens": tokens_of(root, names),
            "modules": len(names),
            "lines of SQL": sql_lines(
                root, [one for one in files if one.startswith(part) and one.endswith(".sql")]
            ),
        }
        for part, names in ((PRODUCT, product_modules(files)), ("tests", tests))
    }


def _classes(pattern: str) -> Finder:
    """Return what finds the classes of the product whose names match."""
    wanted = re.compile(pattern)

    def places(root: Path, files: list[str]) -> list[str]:
        return [
            f"{name}: {node.name}"
            for name in product_modules(files)
            for node in nodes_of(root / name)
            if isinstance(node, ast.ClassDef) and wanted.fullmatch(node.name)
        ]

    return places


def _modules(pattern: str, *, outside: str = "$") -> Finder:
    """Return what finds the modules of the product with such a text, but those ``outside``."""
    wanted, left_out = re.compile(pattern), re.compile(outside)

    def places(root: Path, files: list[str]) -> list[str]:
        return [
            name
            for name in product_modules(files)
            if wanted.search(text_of(root / name)) and not left_out.match(name)
        ]

    return places


MECHANISMS: Mapping[str, Finder] = {
    "comparison of two events": _modules(r"\.order > |\.order < |desired_order [<>]"),
    "rows in bulk": _modules(r'_CONSENTS\["copy'),
    "reader of topics": _modules(r"(?<!def )\bconsumer\(", outside="izin/(kafka|streams|runtime)/"),
    "follower of topics": _classes(r"\w*Follower"),
    "plan": _classes(r"\w*Plan"),
    "addresses of a server": _modules(r"(?m)operations_port: int$"),
    "way into the history": _modules(r'_SQL\["save-head"\]'),
    "backoff": _classes(r"\w*Backoff"),
    "progress": _classes(r"\w*Progress"),
    "lease": _classes(r"\w*Leases?"),
}
"""What finds the places of each; one is what there should be."""


def statements(root: Path, files: list[str]) -> int:
    """Return the number of statements of the product, docstrings not counted."""
    return statements_of(root, product_modules(files))


def check(root: Path, files: list[str]) -> str:
    """Return the sizes of the tree, and the places of each mechanism."""
    lines = [
        f"{part}: " + ", ".join(f"{count:,} {name}" for name, count in found.items())
        for part, found in sizes(root, files).items()
    ]
    for name, places in MECHANISMS.items():
        found_places = places(root, files)
        lines += ["", f"{name}: {len(found_places)}", *(f"  {one}" for one in found_places)]
    return "\n".join(lines) + "\n"


def counted(findings: list[str]) -> dict[str, int]:
    """Return how many findings each package has; ``path: …`` is one finding."""
    return dict(sorted(Counter(package_of(one.partition(": ")[0]) for one in findings).items()))


def allowed() -> Mapping[str, Mapping[str, int]]:
    """Return the figures that are allowed."""
    return tomllib.loads(ALLOWED.read_text(encoding="utf-8"))


def raised(
    tables: Mapping[str, Mapping[str, int]], limits: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """Return the figures above ``limits``; statements may rise, for a feature adds some."""
    return [
        f"{name}: {one}, {count}"
        for name in FINDERS
        for one, count in tables[name].items()
        if count > limits[name].get(one, 0)
    ]


def main() -> int:
    """Write today's figures; with names of measures, print their findings instead; with ``--check``
    print sizes and mechanisms.
    """
    files = tracked_files(ROOT)
    if sys.argv[1:] == ["--check"]:
        sys.stdout.write(check(ROOT, files))
        return 0
    if sys.argv[1:]:
        found = [one for name in sys.argv[1:] for one in FINDERS[name](ROOT, files)]
        sys.stdout.write("\n".join([*found, f"{len(found)} findings\n"]))
        return 0
    tables = {name: counted(find(ROOT, files)) for name, find in FINDERS.items()}
    tables["statements"] = {"product": statements(ROOT, files)}
    grown = raised(tables, allowed())
    if grown:
        sys.stderr.write("these may not rise:\n" + "\n".join(grown) + "\n")
        return 1
    lines = ["# What is allowed today; written by: python -m tests.support.ratchet"]
    for name, counts in tables.items():
        lines += ["", f"[{name}]", *(f'"{one}" = {count}' for one, count in counts.items())]
    ALLOWED.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
