"""The golden records beside the schemas, as values."""

import base64
import json
from datetime import datetime
from importlib import resources
from typing import Any

from izin.schemas import contracts

FOLDER = resources.files("izin.schemas") / "examples"


def golden(record: str) -> dict[str, Any]:
    """Return the golden example of `record`: instants from ISO 8601, bytes from base 64.

    Raises ValueError where it has not all fields of the record, and no others.
    """
    written = json.loads((FOLDER / f"{record}.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = _read(contracts.current()[record].schema, written)
    return found


def _read(schema: Any, written: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return the value of `written` under `schema`."""
    match schema:
        case list():
            (branch,) = [one for one in schema if one != "null"]
            read = None if written is None else _read(branch, written)
        case "bytes":
            read = base64.b64decode(written, validate=True)
        case {"logicalType": "timestamp-millis"}:
            read = datetime.fromisoformat(written)
        case {"type": "record", "fields": fields}:
            if written.keys() != {field["name"] for field in fields}:
                raise ValueError(f"not the fields of {schema['name']}: {', '.join(written)}")
            read = {field["name"]: _read(field["type"], written[field["name"]]) for field in fields}
        case {"type": "array", "items": items}:
            read = [_read(items, one) for one in written]
        case {"type": "map", "values": values}:
            read = {name: _read(values, one) for name, one in written.items()}
        case _:
            read = written
    return read
