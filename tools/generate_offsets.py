"""Generate the modules that find offsets in events and decisions."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import NamedTuple

from izin.schemas import contracts
from izin.schemas.contracts import Schema
from tools.offset_codegen import generate


class _Function(NamedTuple):
    """A function of a generated module, and the fields that it finds."""

    name: str
    record: str
    ends: tuple[str, ...]
    instants: tuple[str, ...]


_MODULES = {
    "consent_event_offsets": (
        _Function(
            "event_offsets",
            "ConsentEvent",
            (
                "event_id",
                "customer_id",
                "recipient",
                "recipient_raw",
                "source",
                "received_at",
                "origin",
                "origin_ref",
                "cause",
                "import_id",
                "row",
                "retailer_access",
                "notice_version",
                "evidence_hash",
            ),
            ("consent_date", "received_at"),
        ),
    ),
    "decision_offsets": (
        _Function(
            "head_offsets",
            "Decision",
            ("opted_out", "effective_at", "violations", "partition"),
            ("effective_at",),
        ),
        _Function(
            "consent_offsets",
            "Consent",
            (
                "recipient_type",
                "recipient",
                "previous_status",
                "effective_at",
                "origin_rank",
                "event_id",
                "source",
                "consent_date",
                "registrable",
                "latest_ret_at",
            ),
            ("effective_at", "consent_date", "latest_onay_at", "latest_ret_at"),
        ),
    ),
}
"""The functions of each generated module: the order stage reads events, the sinks read decisions:
the fields before its Consent and its event, then each of these by itself.
"""
_NO_VIOLATION = {"name": "violations", "type": "boolean"}
"""An empty list of violations is one byte, read like a boolean; a non-empty one is no boolean."""

_WIDTH = 100

_MODULE = '''"""Find where the fields of a {records} end in its bytes; see ``tools.offset_codegen``.

Generated from the contract by `make docs`; changes made here are lost.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR2004 - generated line by line

from __future__ import annotations

{final}from mypy_extensions import i64

{imports}from izin.schemas.fast.reader import {names}
{readers}{functions}'''

_IMPORTS = """\
from izin.schemas import contracts
"""
_KINDS = """\
_KINDS = {{one["name"]: one["type"] for one in contracts.current()["{record}"].schema["fields"]}}\
"""
_READER = 'read_{name}: Final = reader_of_some(_KINDS["{name}"])'

_FUNCTION = '''

{signature}
    """Return offsets and instants of the {record} at ``at``.

    The offsets are those behind its
    {ends};
    the instants (milliseconds since 1970, None for null) are its
    {instants};
    the last offset is that behind it.

    Raises IndexError, ValueError or TypeError where the bytes are wrong or unusual.
    """
{body}
'''


def offset_modules() -> Mapping[str, str]:
    """Return the sources of the modules by the paths of their files."""
    return {
        f"izin/schemas/generated/{name}.py": _module(cutters) for name, cutters in _MODULES.items()
    }


def _module(cutters: Sequence[_Function]) -> str:
    functions, readers = [], []
    for one in cutters:
        source = generate(_schema(one.record), one.ends, one.instants)
        functions.append(
            _FUNCTION.format(
                name=one.name,
                record="head of the Decision" if one.record == "Decision" else one.record,
                signature=_signature(one.name, source.returns),
                ends=_listed(one.ends),
                instants=_listed(one.instants),
                body=source.body,
            )
        )
        if source.readers:
            readers.append(_KINDS.format(record=one.record))
            readers += [_READER.format(name=name) for name in source.readers]
    return _MODULE.format(
        records=" and a ".join(one.record for one in cutters),
        final="from typing import Final\n\n" if readers else "",
        imports=_IMPORTS if readers else "",
        names="long_of, long_text" + ", reader_of_some" * bool(readers),
        readers="\n" * bool(readers) + "".join(f"{line}\n" for line in readers),
        functions="".join(functions),
    )


def _signature(name: str, returns: str) -> str:
    """Return the signature of the function, formatted as ruff formats it."""
    whole = f"def {name}(data: bytes, at: i64) -> {returns}:"
    if len(whole) <= _WIDTH:
        return whole
    begun = f"def {name}(\n    data: bytes, at: i64\n) -> "
    if len(f") -> {returns}:") <= _WIDTH:
        return f"{begun}{returns}:"
    items = returns[len("tuple[") : -1].replace(", ", ",\n    ")
    return f"{begun}tuple[\n    {items},\n]:"


def _listed(names: Iterable[str]) -> str:
    return fill(", ".join(names), width=70, subsequent_indent="    ")


def _schema(record: str) -> Schema:
    """Return the contract of ``record``; of a Decision, the fields before its Consent."""
    schema = contracts.current()[record].schema
    if record != "Decision":
        return schema
    fields = [
        _NO_VIOLATION if one["name"] == "violations" else one for one in schema["fields"][:-2]
    ]
    return {"name": record, "fields": fields}
