"""The words of ``docs/glossary.md`` that are not used: find where they occur.

Words of the first list are refused in every text file, those of the second in names: identifiers
(split at ``_`` and capitals), files, SQL and Avro names, topics, metrics, log events, commands.
"""

import ast
import io
import json
import keyword
import re
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from izin.schemas.topics import Topics
from tests.support.source_tree import ROOT, text_of, tree_of

GLOSSARY = Path("docs/glossary.md")
EXCEPTIONS = Path(__file__).with_name("vocabulary_exceptions.toml")

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
    return [
        f"{name}: {word}"
        for name in files
        for word, pattern in patterns.items()
        if not {(name, word), (name, "*")} & known.keys() and pattern.search(text_of(root / name))
    ]


def refused_names(root: Path, files: Iterable[str]) -> list[str]:
    """Return ``path: name`` for each name with a word that is not used in names."""
    known = exceptions()
    # A single word that is refused anywhere may not be part of a name either.
    refused = WORDS.in_names | {word for word in WORDS.anywhere if word.isalpha()}
    hint = re.compile("|".join(refused), re.IGNORECASE)  # most files have none, and end here
    return [
        f"{name}: {found}"
        for name in files
        if hint.search(name) or hint.search(text_of(root / name))
        for found in sorted(set(_names_of(root, name)))
        if any((name, part) not in known for part in refused & _parts(found))
    ]


def _parts(name: str) -> set[str]:
    return {part.lower() for part in _PARTS.findall(name)}


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
    for node in ast.walk(tree_of(path)):
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
