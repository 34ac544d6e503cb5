"""The format of decisions in the history: their bytes, each decision once.

A decision beyond the offset up to which an input partition has been recorded is certainly new. One
before it (a rewind, a replay) is looked up among the decisions of its key.

A message of the topic may name its schema by the id of a registry, which may be gone in ten years.
The history names the schema by its fingerprint, and every version that ever was is part of this
package (``izin/schemas/versions``).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from izin.ledger.db import statements
from izin.schemas.codec import Codec

_SQL = statements("movements")


@lru_cache(maxsize=1)
def history_codec() -> Codec:
    """Return the codec of decisions in the history: Avro single-object encoding."""
    return Codec()


def decision_columns(stored: bytes) -> dict[str, Any]:
    """Return event_id, status, source and data of a stored decision, in the format of the columns
    of other facts: instants are ISO texts.
    """
    decision = history_codec().decode("Decision", stored)
    event = decision["event"]
    data = {
        "kind": decision["kind"],
        "reason": decision["reason"],
        "opted_out": decision["opted_out"],
        "violations": decision["violations"],
        "stands": decision["consent"]["status"],
        "law_version": decision["consent"]["law_version"],
        "event": {name: value for name, value in event.items() if value not in (None, {}, "")},
    }
    return {
        "event_id": event["event_id"],
        "status": event["status"],
        "source": source_of(decision),
        "data": orjson.loads(orjson.dumps(data)),
    }


def source_of(decision: Mapping[str, Any]) -> str:
    """Return the source of a decision: topic, partition, offset and event, which is unique."""
    place = f"{decision['topic']}/{decision['partition']}/{decision['offset']}"
    return f"{place}/{decision['event']['event_id']}"
