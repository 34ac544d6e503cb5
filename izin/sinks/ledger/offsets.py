"""How far a topic is ingested: stored with the rows it brought, moved only by compare-and-set.

Cluster and topic are stored by id: a topic that was deleted and created again has the same name
and other offsets, and to read on in it would lose its beginning.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.errors import ConcurrentChangeError, RecreatedTopicError
from izin.sinks.record.messages import Message, TopicMessages

_SQL = statements("offsets")


async def positions(
    ledger: Ledger, topic: str, partitions: Collection[int], *, cluster_id: str, topic_id: str
) -> dict[int, int]:
    """Return the next offset of each partition.

    Raises:
        RecreatedTopicError: the offsets belong to another topic or cluster.
    """
    async with ledger.transaction() as connection:
        begun = {
            "topic": topic,
            "partitions": sorted(partitions),
            "cluster_id": cluster_id,
            "topic_id": topic_id,
        }
        await connection.execute(_SQL["begin"], begun)
        rows = await (await connection.execute(_SQL["known"], {"topic": topic})).fetchall()
    if any(row["cluster_id"] != cluster_id or row["topic_id"] != topic_id for row in rows):
        raise RecreatedTopicError(topic)
    return {row["partition"]: row["next_offset"] for row in rows}


async def advance(
    connection: Connection,
    topic: str,
    topic_id: str,
    moves: Mapping[int, tuple[int, int]],
) -> None:
    """Move each partition from the offset at which it was read to the one behind what was read.

    Raises:
        ConcurrentChangeError: another process has moved one of them.
    """
    values = {
        "topic": topic,
        "topic_id": topic_id,
        "partitions": list(moves),
        "befores": [before for before, _ in moves.values()],
        "nexts": [after for _, after in moves.values()],
    }
    moved = await (await connection.execute(_SQL["advance"], values)).fetchall()
    if len(moved) != len(moves):
        raise ConcurrentChangeError(f"another process has read on in {topic}")


async def announcement(
    connection: Connection, messages: TopicMessages, topic: str, now: datetime
) -> Message:
    """Return the message of how far the ``topic`` of decisions is ingested, as this transaction
    leaves it.

    Append it behind all other messages of the transaction: whoever reads it must find those before
    it.
    """
    rows = await (await connection.execute(_SQL["known"], {"topic": topic})).fetchall()
    nexts = {row["partition"]: row["next_offset"] for row in rows}
    value = {
        "cluster_id": rows[0]["cluster_id"],
        "decisions_topic_id": rows[0]["topic_id"],
        "decisions_offsets": [nexts.get(number, 0) for number in range(max(nexts) + 1)],
    }
    return messages.message(
        messages.topics.ledger_positions, topic, "", value, str(now.timestamp()), now
    )
