"""Where the fields of a record stand in its bytes, without making values of them.

Who only passes a field on needs its place and no value, for Avro writes the same value with the
same bytes wherever it stands. A cutter walks a record as strictly as ``avro_reader`` reads it
(every size within the bytes, every text UTF-8) at a third of the price; what is wrong or merely
unusual raises, as there. Its source is drawn from the schema, a line or two a field: the one that
every statement goes through is a module (``statement_cutter``), so that it can be compiled.

Sizes, counts, branches and small numbers are ASCII themselves, so a run of fields is UTF-8 if and
only if each text in it is; only a number of several bytes ends a run.
"""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple

from izin.schemas.fast.reader import SHORT, long_of, long_text, reader_of_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from izin.schemas.contracts import Schema

    Cut = Callable[[bytes, int], tuple[Any, ...]]
    """From these bytes, from this place: the places behind the fields asked for, the instants
    asked for (milliseconds since 1970, None for a null), and the place behind the record."""

_STAMP = {"type": "long", "logicalType": "timestamp-millis"}
_TEXT = """\
step = short[data[at]]
if step:
    at += step
else:
    data[run:at].decode()
    run, at = long_text(data, at)"""
_NUMBER = """\
if data[at] < 128:
    at += 1
else:
    data[run:at].decode()
    if data[at + 1] < 128:
        at = run = at + 2
    elif data[at + 2] < 128:
        at = run = at + 3
    else:
        at = run = long_of(data, at)[1]"""
_INSTANT = """\
data[run:at].decode()
bits = int.from_bytes(data[at : at + 6], "little")
if bits & 0x808080808081 == 0x008080808080:
    zigzag = bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1FC000
    zigzag |= bits >> 3 & 0xFE00000 | bits >> 4 & 0x7F0000000 | bits >> 5 & 0x3F800000000
    {name}_told = zigzag >> 1
    at += 6
else:
    {name}_told, at = long_of(data, at)
run = at"""
"""As a rule it is between 1987 and 2109, which takes six bytes."""
_BOOLEAN = """\
if data[at] > 1:
    raise ValueError("no boolean")
at += 1"""
_TEXTS = """\
count = data[at]
if count > 127 or count & 1:
    raise ValueError("many, or sized")
at += 1
if count:
    for _ in range(count):
{text}
    if data[at]:
        raise ValueError("in several blocks")
    at += 1"""
"""A map in one block; its count, as Avro writes it, is twice the number of pairs: the number of
texts."""
_OTHER = """\
data[run:at].decode()
at = run = read_{name}(data, at)[1]"""
_OPTIONAL = """\
if data[at] == 2:
    at += 1
{some}
elif data[at] == 0:
    at += 1{null}
else:
    raise ValueError("no such branch")"""


class Drawn(NamedTuple):
    """The source of a cutter."""

    returns: str
    """What its function returns, as a type."""
    body: str
    """The lines of its function, of ``data`` and ``at``, indented."""
    readers: Sequence[str]
    """The fields that are passed by a reader of their own, ``read_<field>``."""


def draw(schema: Schema, behind: Sequence[str], instants: Sequence[str] = ()) -> Drawn:
    """Return the source of the function that tells the places behind the fields ``behind`` of the
    record ``schema``, and its ``instants``.

    Raises ValueError for a field that is not there.
    """
    kinds = {field["name"]: field["type"] for field in schema["fields"]}
    missing = [name for name in behind if name not in kinds]
    missing += [name for name in instants if kinds.get(name) not in (_STAMP, ["null", _STAMP])]
    if missing:
        raise ValueError(f"{schema['name']} has no {missing}")
    lines, readers = ["run = at"], []
    for name, kind in kinds.items():
        passing = _passing(name, kind, told=name in instants)
        if f"read_{name}(" in passing:
            readers.append(name)
        lines.append(passing)
        if name in behind:
            lines.append(f"behind_{name} = at")
    told = [*(f"behind_{name}" for name in behind), *(f"{name}_told" for name in instants), "at"]
    lines += ["data[run:at].decode()", "return (", *(f"    {one}," for one in told), ")"]
    types = ["int"] * len(behind)
    types += ["int | None" if isinstance(kinds[name], list) else "int" for name in instants]
    return Drawn(f"tuple[{', '.join([*types, 'int'])}]", _indented("\n".join(lines)), readers)


def cutter_of(schema: Schema, behind: Sequence[str], instants: Sequence[str] = ()) -> Cut:
    """Return the function that :func:`draw` draws; raises as it does, and ValueError for a type
    that no contract of ours uses.
    """
    drawn = draw(schema, behind, instants)
    kinds = {field["name"]: field["type"] for field in schema["fields"]}
    names: dict[str, Any] = {"short": SHORT, "long_text": long_text, "long_of": long_of}
    names |= {f"read_{name}": passer_of(kinds[name]) for name in drawn.readers}
    made: dict[str, Cut] = {}
    exec(f"def cut(data, at):\n{drawn.body}\n", names, made)  # noqa: S102  # made of our schema's names
    return made["cut"]


def passer_of(kind: Any) -> Callable[[bytes, int], tuple[Any, int]]:  # noqa: ANN401  # any JSON
    """Return the reader of what a field of ``kind`` holds where it is not null."""
    return reader_of_kind(kind[1] if isinstance(kind, list) else kind)


def _passing(name: str, kind: Any, *, told: bool) -> str:  # noqa: ANN401  # any JSON
    """Return the lines that pass the field ``name``, ``at`` going from its place to behind it."""
    match kind:
        case ["null", some]:
            lines = _indented(_passing(name, some, told=told))
            null = f"\n    {name}_told = None" if told else ""
            return _OPTIONAL.format(some=lines, null=null)
        case "string":
            template = _TEXT
        case {"logicalType": "timestamp-millis"} if told:
            template = _INSTANT
        case "int" | "long" | {"logicalType": "timestamp-millis"}:
            template = _NUMBER
        case "boolean":
            template = _BOOLEAN
        case {"type": "map", "values": "string"}:
            template = _TEXTS
        case _:
            template = _OTHER
    return template.format(name=name, text=_indented(_indented(_TEXT)))


def _indented(lines: str) -> str:
    return indent(lines, "    ")
