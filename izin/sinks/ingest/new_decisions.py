"""Select the decisions that the history does not have yet.

A decision beyond the recorded offset of its input partition is new; one before it (a rewind, a
replay) is looked up among the decisions of its key.
"""

from collections.abc import Mapping, Sequence

from izin.projections.brand_directory import customer_of
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.formats import history_codec, source_of
from izin.sinks.ledger.history.hash_chain import Fact, decided
from izin.sinks.record.brand import Brand

_SQL = statements("movements")


async def recorded_offsets(ledger: Ledger, topic: str) -> Mapping[int, int]:
    """Return how far the decisions on the events of ``topic`` were recorded, by partition."""
    found = await ledger.fetch(_SQL["recorded"], {"topics": [topic]})
    return {row["partition"]: row["next_offset"] for row in found}


async def facts(
    connection: Connection,
    decisions: Sequence[IncomingDecision],
    reader: DecisionReader,
    known: Mapping[int, Brand],
) -> list[Fact]:
    """Return the facts of those ``decisions`` that the history lacks, and record their offsets.

    A fact is of its brand's customer, where the brand is among the ``known`` ones.
    """
    topics = sorted({one.topic for one in decisions})
    found = await (await connection.execute(_SQL["recorded"], {"topics": topics})).fetchall()
    nexts = {(row["topic"], row["partition"]): row["next_offset"] for row in found}
    new: list[IncomingDecision] = []
    repeated: list[IncomingDecision] = []
    for one in decisions:
        partition = one.topic, one.partition
        if one.offset >= nexts.get(partition, 0):
            nexts[partition] = one.offset + 1
            new.append(one)
        else:
            repeated.append(one)
    if repeated:
        new += await _unrecorded(connection, repeated, new, reader)
    values = {
        "topics": [topic for topic, _ in nexts],
        "partitions": [partition for _, partition in nexts],
        "nexts": list(nexts.values()),
    }
    await connection.execute(_SQL["save-recorded"], values)
    owners = {code: brand.customer_id for code, brand in known.items()}
    return [
        decided(
            customer_of(owners, one.brand_code),
            one.key,
            one.effective,
            reader.history_bytes(one.value),
        )
        for one in new
    ]


async def _unrecorded(
    connection: Connection,
    repeated: Sequence[IncomingDecision],
    new: Sequence[IncomingDecision],
    reader: DecisionReader,
) -> list[IncomingDecision]:
    keys = sorted({one.key for one in repeated})
    found = await (await connection.execute(_SQL["decisions-of"], {"keys": keys})).fetchall()
    known = {
        row["source"]
        if row["decision"] is None
        else source_of(history_codec().decode("Decision", row["decision"]))
        for row in found
    }
    known |= {source_of(reader.decode(one.value)) for one in new}
    unrecorded = []
    for one in repeated:
        source = source_of(reader.decode(one.value))
        if source not in known:
            known.add(source)
            unrecorded.append(one)
    return unrecorded
