"""Where the fields of a record stand in its bytes, without making values of them.

Who only passes a field on needs its place and no value, for Avro writes the same value with the
same bytes wherever it stands. A cutter walks a record as strictly as ``avro_reader`` reads it
(every size within the bytes, every text UTF-8) at a third of the price. For a schema its source is
generated, a line or two a field; what is wrong or merely unusual raises, as there.

Sizes, counts, branches and small numbers are ASCII themselves, so a run of fields is UTF-8 if and
only if each text in it is; only a number of several bytes ends a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from izin.schemas.avro_reader import long_of, reader_of_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from izin.schemas.contracts import Schema

    Cut = Callable[[bytes, int], tuple[Any, ...]]
    """From these bytes, from this place: the places behind the fields asked for, the instants
    asked for (milliseconds since 1970, None for a null), and the place behind the record."""

_SHORT = [
    1 + (size >> 1) if size < 128 and not size & 1 else 0  # noqa: PLR2004  # one byte
    for size in range(256)
]
"""By its first byte: how many bytes a text takes, size and all; 0: that byte does not tell."""

_STAMP = {"type": "long", "logicalType": "timestamp-millis"}
_UNZIPPED = (
    "bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1FC000"
    " | bits >> 3 & 0xFE00000 | bits >> 4 & 0x7F0000000 | bits >> 5 & 0x3F800000000"
)
_TEXT = [
    "step = short[data[at]]",
    "if step: at += step",
    "else: data[run:at].decode(); run, at = text(data, at)",
]


def cutter_of(schema: Schema, behind: Sequence[str], instants: Sequence[str] = ()) -> Cut:
    """Return the function that tells the places behind the fields ``behind`` of the record
    ``schema``, and its ``instants``.

    Raises ValueError for a field that is not there, and for a type that no contract of ours uses.
    """
    kinds = {field["name"]: field["type"] for field in schema["fields"]}
    missing = [name for name in behind if name not in kinds]
    missing += [name for name in instants if kinds.get(name) not in (_STAMP, ["null", _STAMP])]
    if missing:
        raise ValueError(f"{schema['name']} has no {missing}")
    names: dict[str, Any] = {
        "from_bytes": int.from_bytes,
        "short": _SHORT,
        "text": _text,
        "long": long_of,
    }
    lines = ["def cut(data, at):", "    run = at"]
    for field in schema["fields"]:
        name, kind = field["name"], field["type"]
        names[f"read_{name}"] = reader_of_kind(kind[1] if isinstance(kind, list) else kind)
        lines += [f"    {line}" for line in _passing(name, kind, told=name in instants)]
        if name in behind:
            lines.append(f"    p_{name} = at")
    told = [*(f"p_{name}" for name in behind), *(f"f_{name}" for name in instants), "at"]
    lines += ["    data[run:at].decode()", f"    return {', '.join(told)}"]
    made: dict[str, Cut] = {}
    exec("\n".join(lines), names, made)  # noqa: S102  # made of our schema's names
    return made["cut"]


def _passing(name: str, kind: Any, *, told: bool) -> list[str]:  # noqa: ANN401  # any JSON
    """Return the lines that pass the field ``name``, ``at`` going from its place to behind it."""
    match kind:
        case "string":
            return _TEXT
        case ["null", some]:
            return [
                "if data[at] == 2:",
                "    at += 1",
                *("    " + line for line in _passing(name, some, told=told)),
                f"elif data[at] == 0: at += 1; f_{name} = None",
                "else: raise ValueError('no such branch')",
            ]
        case "int" | "long" | {"logicalType": "timestamp-millis"}:
            return _number(name, told=told)
        case "boolean":
            return ["if data[at] > 1: raise ValueError('no boolean')", "at += 1"]
        case {"type": "map", "values": "string"}:
            return _texts()
        case _:
            return _other(name)


def _number(name: str, *, told: bool) -> list[str]:
    """Return the lines that pass a number; where it is told, it is as a rule an instant between
    1987 and 2109, which takes six bytes.
    """
    if not told:
        return [
            "if data[at] < 128: at += 1",
            "else:",
            "    data[run:at].decode()",
            "    if data[at + 1] < 128: at = run = at + 2",
            "    elif data[at + 2] < 128: at = run = at + 3",
            "    else: at = run = long(data, at)[1]",
        ]
    return [
        "data[run:at].decode()",
        "bits = from_bytes(data[at : at + 6], 'little')",
        "if bits & 0x808080808081 == 0x008080808080:",
        f"    f_{name} = ({_UNZIPPED}) >> 1",
        "    at += 6",
        f"else: f_{name}, at = long(data, at)",
        "run = at",
    ]


def _texts() -> list[str]:
    """Return the lines that pass a map of texts in one block; its count, as Avro writes it, is
    twice the number of pairs: the number of texts.
    """
    return [
        "count = data[at]",
        "if count > 127 or count & 1: raise ValueError('many, or sized')",
        "at += 1",
        "if count:",
        "    for _ in range(count):",
        *("        " + line for line in _TEXT),
        "    if data[at]: raise ValueError('in several blocks')",
        "    at += 1",
    ]


def _other(name: str) -> list[str]:
    return [f"data[run:at].decode(); at = run = read_{name}(data, at)[1]"]


def _text(data: bytes, at: int) -> tuple[int, int]:
    """Return where a long text begins behind its size, and where it ends."""
    if data[at] & 1 == 0 and data[at + 1] < 128:  # noqa: PLR2004  # a size of two bytes
        size = (data[at] & 127 | data[at + 1] << 7) >> 1
        return at + 2, at + 2 + size
    size, at = long_of(data, at)
    if size < 0:
        raise ValueError("a negative size")
    return at, at + size
