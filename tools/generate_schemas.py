"""Renew the records within other records: each schema file is complete by itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from izin.schemas.contracts import RECORDS

FOLDER = "izin/schemas/avro"


def schema_files(root: Path) -> Mapping[str, str]:
    """Return the text of each schema under ``root`` that contains records of other files, as those
    have them now, by its path.
    """
    current: dict[str, Any] = {}
    files = {}
    for record in RECORDS:
        name = f"{FOLDER}/{record}.avsc"
        schema = json.loads((root / name).read_text(encoding="utf-8"))
        inner: set[str] = set()
        fields = _renewed(schema["fields"], current, inner)
        current[record] = schema | {"fields": fields}
        if inner:
            files[name] = json.dumps(current[record], ensure_ascii=False, indent=2) + "\n"
    return files


def _renewed(schema: Any, current: Mapping[str, Any], inner: set[str]) -> Any:  # noqa: ANN401  # any JSON
    """Return ``schema`` with each of the ``current`` records in it as it is; ``inner`` gets their
    names.
    """
    if isinstance(schema, list):
        return [_renewed(one, current, inner) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "record" and schema["name"] in current:
        inner.add(schema["name"])
        return current[schema["name"]]
    return {name: _renewed(value, current, inner) for name, value in schema.items()}
