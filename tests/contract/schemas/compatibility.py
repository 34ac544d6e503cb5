"""Check FULL_TRANSITIVE compatibility with Avro's own package: each version reads each other."""

import json
from collections.abc import Iterable
from itertools import permutations
from typing import Any

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType


def conflicts(versions: Iterable[dict[str, Any]]) -> list[str]:
    """Return why a version of a record cannot read another; nothing where all can."""
    parsed = [avro.schema.parse(json.dumps(version)) for version in versions]
    found = []
    for reader, writer in permutations(parsed, 2):
        verdict = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        if verdict.compatibility is not SchemaCompatibilityType.compatible:
            found.append(f"{verdict.messages} at {verdict.locations}")
    return found
