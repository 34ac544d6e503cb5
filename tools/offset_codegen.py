"""Generate the source of functions that find where a record's fields end, without reading values.

Avro writes the same value with the same bytes wherever it stands, so a field that is only passed on
needs its place and no value. The functions check a record as strictly as a reader does (every size
within the bytes, every text UTF-8) in a third of the time; like a reader they raise for bytes that
are wrong or unusual. A few lines of source a field are generated from the schema; they are
modules (``izin.schemas.generated``), so that they can be compiled.

Sizes, counts, union branches and small numbers are ASCII, so a run of fields is UTF-8 if and only
if each text in it is: one check a run. Only a number of several bytes ends a run.
"""

from collections.abc import Sequence
from textwrap import indent
from typing import Any, NamedTuple

from izin.schemas.contracts import Schema

_TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}
_TEXT = """\
first = data[at]
if first & 129 == 0:
    at += 1 + (first >> 1)
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
{name}_millis, at = long_of(data, at)
run = at"""
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


class OffsetsSource(NamedTuple):
    """The source of a function that finds offsets."""

    returns: str
    """The function's return type."""
    body: str
    """The function's lines, of ``data`` and ``at``, indented."""
    readers: Sequence[str]
    """The fields that are passed by a reader of their own, ``read_<field>``."""


def generate(schema: Schema, ends: Sequence[str], instants: Sequence[str] = ()) -> OffsetsSource:
    """Return the source of the function that finds the ends of the fields ``ends`` of the record
    ``schema`` and the values of its ``instants``.

    Raises ValueError for a field that is not there.
    """
    types = {field["name"]: field["type"] for field in schema["fields"]}
    missing = [name for name in ends if name not in types]
    missing += [
        name for name in instants if types.get(name) not in (_TIMESTAMP, ["null", _TIMESTAMP])
    ]
    if missing:
        raise ValueError(f"{schema['name']} has no {missing}")
    # Compiled, an i64 is a machine word.
    lines, readers = ["run: i64 = at", "first: i64"], []
    for name, kind in types.items():
        passing = _passing(name, kind, is_read=name in instants)
        if f"read_{name}(" in passing:
            readers.append(name)
        lines.append(passing)
        if name in ends:
            lines.append(f"{name}_end = at")
    found = [*(f"{name}_end" for name in ends), *(f"{name}_millis" for name in instants), "at"]
    lines += ["data[run:at].decode()", "return (", *(f"    {one}," for one in found), ")"]
    returns = ["int"] * len(ends)
    returns += ["int | None" if isinstance(types[name], list) else "int" for name in instants]
    return OffsetsSource(
        f"tuple[{', '.join([*returns, 'int'])}]", _indented("\n".join(lines)), readers
    )


def _passing(name: str, kind: Any, *, is_read: bool) -> str:  # noqa: ANN401  # any JSON
    """Return the lines that move ``at`` behind the field ``name``, and read it if asked to."""
    match kind:
        case ["null", some]:
            lines = _indented(_passing(name, some, is_read=is_read))
            null = f"\n    {name}_millis = None" if is_read else ""
            return _OPTIONAL.format(some=lines, null=null)
        case "string":
            template = _TEXT
        case {"logicalType": "timestamp-millis"} if is_read:
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
