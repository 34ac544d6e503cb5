"""The shape of JSON responses: their keys, and the types of their values.

`shape_of` merges responses; `strangers_to` returns what another response has beyond them.
"""

from collections.abc import Iterable, Iterator, Mapping

Shape = Mapping[str, frozenset[str]]
"""Types of values by key path; `[]` is any item of a list."""


def shape_of(answers: Iterable[object]) -> Shape:
    """Return the types that any of `answers` has at each path."""
    kinds: dict[str, set[str]] = {}
    for answer in answers:
        for path, kind in _kinds(answer, ""):
            kinds.setdefault(path, set()).add(kind)
    return {path: frozenset(found) for path, found in kinds.items()}


def strangers_to(shape: Shape, answer: object) -> list[str]:
    """Return the paths of `answer`, with their types, that `shape` does not have."""
    return sorted(
        {f"{path}: {kind}" for path, kind in _kinds(answer, "") if kind not in shape.get(path, ())}
    )


def _kinds(value: object, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            yield path, "object"
            for name, inner in value.items():
                yield from _kinds(inner, f"{path}.{name}")
        case list():
            yield path, "list"
            for inner in value:
                yield from _kinds(inner, f"{path}[]")
        case bool():
            yield path, "boolean"
        case int() | float():
            yield path, "number"
        case str():
            yield path, "text"
        case _:
            yield path, "null"


def keys_of(values: Iterable[object]) -> set[str]:
    """Return all keys of the objects in `values`, at any depth."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, dict):
            found |= value.keys() | keys_of(value.values())
        elif isinstance(value, list):
            found |= keys_of(value)
    return found
