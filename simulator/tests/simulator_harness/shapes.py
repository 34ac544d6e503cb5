"""The shape of JSON answers: which keys stand where, and of what kind their values are.

`shape_of` unites answers; `strangers_to` tells what another answer has that they do not.
"""

from collections.abc import Iterable, Iterator, Mapping

Shape = Mapping[str, frozenset[str]]
"""Kinds of value by key path; `[]` stands for any item of a list."""


def shape_of(answers: Iterable[object]) -> Shape:
    """Give the kinds that any of `answers` has at each path."""
    kinds: dict[str, set[str]] = {}
    for answer in answers:
        for path, kind in _kinds(answer, ""):
            kinds.setdefault(path, set()).add(kind)
    return {path: frozenset(found) for path, found in kinds.items()}


def strangers_to(shape: Shape, answer: object) -> list[str]:
    """Give the paths of `answer`, with their kinds, that `shape` does not have."""
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
