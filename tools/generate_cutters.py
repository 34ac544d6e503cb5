"""The modules that cut what every record goes through: a ConsentEvent, a Decision."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from izin.schemas import contracts
from izin.schemas.avro_cutter import draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from izin.schemas.contracts import Schema


class _Cutter(NamedTuple):
    """A function of a generated module: what it returns of a record."""

    name: str
    record: str
    behind: tuple[str, ...]
    instants: tuple[str, ...]


_MODULES = {
    "statement_cutter": (
        _Cutter(
            "cut",
            "ConsentEvent",
            (
                "event_id",
                "customer_id",
                "recipient",
                "recipient_raw",
                "source",
                "received_at",
                "origin",
                "row",
                "retailer_access",
                "evidence_hash",
            ),
            ("consent_date", "received_at"),
        ),
    ),
    "decision_cutter": (
        _Cutter(
            "cut_head",
            "Decision",
            ("opted_out", "effective_at", "violations", "partition"),
            ("effective_at",),
        ),
        _Cutter(
            "cut_consent",
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
    "decided_event_cutter": (
        _Cutter(
            "cut_event",
            "ConsentEvent",
            (
                "event_id",
                "recipient",
                "recipient_raw",
                "source",
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
}
"""What a statement is cut by, and a decision: what stands before its Consent and its event, each by
itself.
"""
_NO_VIOLATION = {"name": "violations", "type": "boolean"}
"""No violation is one byte of nothing, as is a boolean; any violation is no boolean."""

_WIDTH = 100

_MODULE = '''"""Where the fields of a {records} stand in its bytes; see ``avro_cutter``.

Generated from the contract by `make docs`; changes here are lost.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR2004 - generated line by line

from __future__ import annotations

from typing import Final

{imports}from izin.schemas.avro_reader import SHORT, long_of, long_text

short: Final[list[int]] = SHORT
{readers}{functions}'''

_IMPORTS = """\
from izin.schemas import contracts
from izin.schemas.avro_cutter import passer_of
"""
_KINDS = """\
_KINDS = {{one["name"]: one["type"] for one in contracts.current()["{record}"].schema["fields"]}}\
"""
_READER = 'read_{name}: Final = passer_of(_KINDS["{name}"])'

_FUNCTION = '''

{signature}
    """Return places and instants of the {record} at ``at``.

    The places are those behind its
    {behind};
    the instants (milliseconds since 1970, or None) its
    {instants};
    the last place is that behind it.

    Raises whatever it stumbles on where the bytes are wrong or unusual.
    """
{body}
'''


def cutter_modules() -> Mapping[str, str]:
    """Return the sources of the modules by the paths of their files."""
    return {f"izin/schemas/{name}.py": _module(cutters) for name, cutters in _MODULES.items()}


def _module(cutters: Sequence[_Cutter]) -> str:
    functions, readers = [], []
    for one in cutters:
        cut = draw(_schema(one.record), one.behind, one.instants)
        functions.append(
            _FUNCTION.format(
                name=one.name,
                record="head of the Decision" if one.record == "Decision" else one.record,
                signature=_signature(one.name, cut.returns),
                behind=_listed(one.behind),
                instants=_listed(one.instants),
                body=cut.body,
            )
        )
        if cut.readers:
            readers.append(_KINDS.format(record=one.record))
            readers += [_READER.format(name=name) for name in cut.readers]
    return _MODULE.format(
        records=" and a ".join(one.record for one in cutters),
        imports=_IMPORTS if readers else "",
        readers="".join(f"{line}\n" for line in readers),
        functions="".join(functions),
    )


def _signature(name: str, returns: str) -> str:
    """Return how the function begins, broken as ruff breaks it."""
    whole = f"def {name}(data: bytes, at: int) -> {returns}:"
    if len(whole) <= _WIDTH:
        return whole
    begun = f"def {name}(\n    data: bytes, at: int\n) -> "
    if len(f") -> {returns}:") <= _WIDTH:
        return f"{begun}{returns}:"
    return f"{begun}tuple[\n    {returns[len('tuple[') : -1]}\n]:"


def _listed(names: Iterable[str]) -> str:
    return fill(", ".join(names), width=70, subsequent_indent="    ")


def _schema(record: str) -> Schema:
    """Return the contract of ``record``; of a Decision what stands before its Consent."""
    schema = contracts.current()[record].schema
    if record != "Decision":
        return schema
    fields = [
        _NO_VIOLATION if one["name"] == "violations" else one for one in schema["fields"][:-2]
    ]
    return {"name": record, "fields": fields}
