"""JSON Schema of what the contracts and the endpoints say."""

from collections.abc import Mapping
from typing import Any

from izin.consent import Channel, RecipientType, Status
from izin.schemas import contracts

Schema = dict[str, Any]

_PRIMITIVES: Mapping[str, Schema] = {
    "string": {"type": "string"},
    "int": {"type": "integer"},
    "long": {"type": "integer"},
    "boolean": {"type": "boolean"},
}


_ENUMS: Mapping[str, Schema] = {
    name: {"enum": list(map(str, words))}
    for name, words in (("type", Channel), ("recipient_type", RecipientType), ("status", Status))
}
"""The words of fields that have no others in any contract but that of an event, which is raw."""


def of_contract(record: str) -> dict[str, Schema]:
    """Return the properties of a record's fields, by name."""
    fields = contracts.current()[record].schema["fields"]
    return {
        field["name"]: described(
            _of(field["type"]) | _ENUMS.get(field["name"], {}), field.get("doc", "")
        )
        for field in fields
    }


def described(schema: Schema, text: str) -> Schema:
    """Return ``schema`` with a description, where there is one."""
    return {**schema, "description": text} if text else schema


def closed(properties: Mapping[str, Schema], *optional: str, about: str = "") -> Schema:
    """Return the schema of an object that has these properties, and no others."""
    schema = {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": dict(properties),
        "additionalProperties": False,
    }
    return described(schema, about)


def _of(avro: Any) -> Schema:  # noqa: ANN401  # any schema of Avro
    match avro:
        case {"logicalType": "timestamp-millis"}:
            return {"type": "string", "format": "date-time"}
        case ["null", other]:
            schema = _of(other)
            return {**schema, "type": [schema["type"], "null"]}
        case {"type": "array", "items": items}:
            return {"type": "array", "items": _of(items)}
        case {"type": "map", "values": values}:
            return {"type": "object", "additionalProperties": _of(values)}
        case {"type": "record", "fields": fields}:
            return closed({field["name"]: _of(field["type"]) for field in fields})
        case str(name) if name in _PRIMITIVES:
            return dict(_PRIMITIVES[name])
        case _:
            raise TypeError(f"no JSON Schema for {avro}")
