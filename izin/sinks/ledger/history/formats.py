"""Decisions as the history keeps them: as their bytes, each once.

What lies beyond the place up to which an input partition has been recorded is certainly new. What
lies before (a rewind, a replay) is looked for among the decisions of its key.

The topic's framing may name a schema by a registry's number, which may be gone in ten years. What
is kept is framed by the schema's own fingerprint, and each version that ever was is part of this
package (``izin/schemas/versions``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from izin.schemas.codec import Codec
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.hash_chain import decided

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from izin.sinks.ingest.decision_reader import DecisionReader, Read
    from izin.sinks.ledger.db.connection import Connection
    from izin.sinks.ledger.history.hash_chain import Fact

_SQL = statements("movements")


@lru_cache(maxsize=1)
def keeping() -> Codec:
    """Return the codec by which decisions are kept: Avro single-object encoding."""
    return Codec()


def told_by(kept: bytes) -> dict[str, Any]:
    """Return event, status, source and data of a decision as it is kept, as the columns of other
    facts have them: instants are ISO texts.
    """
    decision = keeping().decode("Decision", kept)
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


async def facts(
    connection: Connection, reads: Sequence[Read], reader: DecisionReader
) -> list[Fact]:
    """Return the facts of those ``reads`` that are not recorded yet, and note that they are."""
    topics = sorted({read.topic for read in reads})
    found = await (await connection.execute(_SQL["decided"], {"topics": topics})).fetchall()
    nexts = {(row["topic"], row["partition"]): row["next_offset"] for row in found}
    new: list[Read] = []
    perhaps: list[Read] = []
    for read in reads:
        place = read.topic, read.partition
        if read.offset >= nexts.get(place, 0):
            nexts[place] = read.offset + 1
            new.append(read)
        else:
            perhaps.append(read)
    if perhaps:
        new += await _unrecorded(connection, perhaps, new, reader)
    values = {
        "topics": [topic for topic, _ in nexts],
        "partitions": [partition for _, partition in nexts],
        "nexts": list(nexts.values()),
    }
    await connection.execute(_SQL["note-decided"], values)
    return [
        decided(read.customer_id, read.key, read.occurred, reader.kept(read.value)) for read in new
    ]


async def _unrecorded(
    connection: Connection, perhaps: Sequence[Read], new: Sequence[Read], reader: DecisionReader
) -> list[Read]:
    keys = sorted({read.key for read in perhaps})
    found = await (await connection.execute(_SQL["decisions-of"], {"keys": keys})).fetchall()
    known = {
        row["source"]
        if row["decision"] is None
        else source_of(keeping().decode("Decision", row["decision"]))
        for row in found
    }
    known |= {source_of(reader.decode(read.value)) for read in new}
    fresh = []
    for read in perhaps:
        source = source_of(reader.decode(read.value))
        if source not in known:
            known.add(source)
            fresh.append(read)
    return fresh
