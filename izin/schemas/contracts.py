"""The Avro contracts: every record we write or read, current and past, by name and by fingerprint.

Current schemas are in ``avro/``, one record a file, each complete by itself, so that any parser
loads it alone; a record within another one is renewed there by ``make docs``. Each version that was
ever published is in ``versions/`` as ``<Record>.<fingerprint>.avsc``; schemas evolve
FULL_TRANSITIVE (old readers read new records and new readers old ones), which a contract test
checks for each pair. The fingerprint is Avro's CRC-64 of the parsing canonical form, as
single-object encoding carries it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

from izin.consent import OurError

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
    "Positions",
    "FirstReceipt",
    "ApiKey",
    "LedgerPositions",
    "IysFreshness",
    "GateReceipt",
)
"""In the order in which they may contain each other."""


class UnusableSchemaError(OurError):
    """A file that should hold a version of a contract holds none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One version of a record: its name, its whole schema, and the fingerprint of it."""

    record: str
    schema: Schema = field(hash=False)
    """It names nothing outside itself."""
    parsed: Schema = field(hash=False)
    """As fastavro wants it."""
    fingerprint: bytes
    """Eight bytes, little-endian, as the single-object header carries it."""


def contract(record: str, schema: Schema) -> Contract:
    """Return the contract of ``schema``, which names nothing outside itself."""
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
    return {
        record: contract(
            record, json.loads((folder / f"{record}.avsc").read_text(encoding="utf-8"))
        )
        for record in RECORDS
    }


@cache
def known() -> Mapping[bytes, Contract]:
    """Return every version that was ever published and every current one, by fingerprint."""
    found = {one.fingerprint: one for one in current().values()}
    return versions(resources.files("izin.schemas") / "versions") | found


def versions(folder: Traversable) -> dict[bytes, Contract]:
    """Return the versions in ``folder``, files ``<Record>.<fingerprint>.avsc``, by fingerprint.

    Raises UnusableSchemaError for a file that cannot be used.
    """
    found = {}
    try:
        for path in folder.iterdir():
            record, _, suffix = path.name.partition(".")
            if suffix.endswith(".avsc"):
                one = contract(record, json.loads(path.read_text(encoding="utf-8")))
                found[one.fingerprint] = one
    except OSError as error:
        raise UnusableSchemaError(f"{folder} cannot be read ({error.strerror})") from error
    except Exception as error:  # fastavro raises whatever the schema runs it into
        raise UnusableSchemaError(f"{path} is no schema: {type(error).__name__}") from error
    return found
