"""The Avro contracts: every record we write or read, current and past, found by name and
fingerprint.

Current schemas stand in ``avro/``, one record a file, and may name each other. Each version that
was ever published stands expanded in ``versions/`` as ``<Record>.<fingerprint>.avsc``; schemas
evolve FULL_TRANSITIVE (old readers read new records and new readers old ones), which a contract
test checks for each pair. The fingerprint is Avro's CRC-64 of the parsing canonical form, as
single-object encoding carries it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, Any]

RECORDS = (
    "Violation",
    "ConsentEvent",
    "Consent",
    "Decision",
    "DeadLetter",
    "Permission",
    "Outcome",
    "Brand",
    "Anchor",
)
"""In the order in which they may name each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One version of a record: its name, its whole schema, and the fingerprint of it."""

    record: str
    schema: Schema
    """Expanded: names nothing outside itself."""
    parsed: Schema
    """As fastavro wants it."""
    fingerprint: bytes
    """Eight bytes, little-endian, as the single-object header carries it."""


def contract(record: str, schema: Schema) -> Contract:
    """Return the contract of an expanded ``schema``."""
    digest = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    return Contract(
        record=record,
        schema=schema,
        parsed=parse_schema(schema, named_schemas={}),
        fingerprint=digest,
    )


@cache
def current() -> Mapping[str, Contract]:
    """Return the current contract of every record, by name."""
    folder = resources.files("izin.schemas") / "avro"
    found: dict[str, Contract] = {}
    for record in RECORDS:
        schema = json.loads((folder / f"{record}.avsc").read_text(encoding="utf-8"))
        found[record] = contract(record, _expanded(schema, found))
    return found


@cache
def known() -> Mapping[bytes, Contract]:
    """Return every version that was ever published, and the current ones, by fingerprint."""
    found = {one.fingerprint: one for one in current().values()}
    for path in (resources.files("izin.schemas") / "versions").iterdir():
        record, _, suffix = path.name.partition(".")
        if suffix.endswith(".avsc"):
            past = contract(record, json.loads(path.read_text(encoding="utf-8")))
            found.setdefault(past.fingerprint, past)
    return found


def _expanded(schema: Any, before: Mapping[str, Contract]) -> Any:  # noqa: ANN401  # any JSON
    """Return ``schema`` with each name of another record replaced by that record."""
    if isinstance(schema, str) and schema.startswith("izin."):
        return before[schema.removeprefix("izin.")].schema
    if isinstance(schema, dict):
        return {
            name: _expanded(value, before) if name in {"type", "items", "fields"} else value
            for name, value in schema.items()
        }
    if isinstance(schema, list):
        return [_expanded(one, before) for one in schema]
    return schema
