"""Decisions as the history keeps them: as their bytes, each once.

What lies beyond the place up to which an input partition has been recorded is certainly new. What
lies before (a rewind, a replay) is looked for among the decisions of its key.

The topic's framing may name a schema by a registry's number, which may be gone in ten years. What
is kept is framed by the schema's own fingerprint, and each version that ever was is part of this
package (``izin/schemas/versions``).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from izin.schemas.codec import Codec
from izin.sinks.ledger.db.queries import statements

_SQL = statements("movements")


@lru_cache(maxsize=1)
def history_codec() -> Codec:
    """Return the codec by which decisions are kept: Avro single-object encoding."""
    return Codec()


def decision_columns(kept: bytes) -> dict[str, Any]:
    """Return event, status, source and data of a decision as it is kept, as the columns of other
    facts have them: instants are ISO texts.
    """
    decision = history_codec().decode("Decision", kept)
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
    """Return where the event of a decision came from, which makes the decision unique."""
    place = f"{decision['topic']}/{decision['partition']}/{decision['offset']}"
    return f"{place}/{decision['event']['event_id']}"
