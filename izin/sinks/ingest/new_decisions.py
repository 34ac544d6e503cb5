"""Decisions that the history does not hold yet.

What lies beyond the recorded offset of an input partition is new; what lies before it (a rewind, a
replay) is looked for among the decisions of its key.
"""

from collections.abc import Sequence

from izin.sinks.ingest.decision_reader import DecisionReader, Read
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.formats import history_codec, source_of
from izin.sinks.ledger.history.hash_chain import Fact, decided

_SQL = statements("movements")


async def facts(
    connection: Connection, reads: Sequence[Read], reader: DecisionReader
) -> list[Fact]:
    """Return the facts of those ``reads`` that are not recorded yet, and note that they are."""
    topics = sorted({read.topic for read in reads})
    found = await (await connection.execute(_SQL["recorded"], {"topics": topics})).fetchall()
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
    await connection.execute(_SQL["save-recorded"], values)
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
        else source_of(history_codec().decode("Decision", row["decision"]))
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
