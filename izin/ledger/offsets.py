"""How far a topic is ingested: stored with the rows it brought, moved only by compare-and-set.

Cluster and topic are stored by id: a topic that was deleted and created again has the same name
and other offsets, and to read on in it would lose its beginning.

A partition that is being restored from the topic of desired consents has its own offset there.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.history import record_act
from izin.ledger.record import ConcurrentChangeError, Message, RecreatedTopicError, TopicMessages

_SQL = statements("offsets")
_BOOTSTRAPS = statements("bootstraps")
_LOOK_EVERY = 1.0


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
        rows = await fetch(connection, _SQL["known"], {"topic": topic})
    is_other_cluster = any(row["cluster_id"] != cluster_id for row in rows)
    if is_other_cluster or any(row["topic_id"] != topic_id for row in rows):
        raise RecreatedTopicError(topic, cluster_id=cluster_id, is_other_cluster=is_other_cluster)
    return {row["partition"]: row["next_offset"] for row in rows}


async def of_other(
    topic: str, cluster_id: str, topic_id: str, ledger: Ledger
) -> list[RecreatedTopicError]:
    """Return the error if the ledger has read another ``topic`` than the one with these ids."""
    rows = await ledger.fetch(_SQL["known"], {"topic": topic})
    ids = {(row["cluster_id"], row["topic_id"]) for row in rows} - {(cluster_id, topic_id)}
    return [
        RecreatedTopicError(topic, cluster_id=cluster_id, is_other_cluster=one != cluster_id)
        for one, _ in sorted(ids)[:1]
    ]


async def forget(ledger: Ledger, topic: str) -> None:
    """Forget how far ``topic`` was read: it is another one now, and is read from its beginning."""
    await ledger.execute(_SQL["forget"], {"topic": topic})


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
    await _move(connection, _SQL["advance"], topic, topic_id, moves, {})


async def _move(  # noqa: PLR0913, PLR0917  # of which table and topic, and what else it keeps
    connection: Connection,
    statement: str,
    topic: str,
    topic_id: str,
    moves: Mapping[int, tuple[int, int]],
    more: Mapping[str, object],
) -> None:
    values = {
        "topic": topic,
        "topic_id": topic_id,
        "partitions": list(moves),
        "befores": [before for before, _ in moves.values()],
        "nexts": [after for _, after in moves.values()],
        **more,
    }
    if len(await fetch(connection, statement, values)) != len(moves):
        raise ConcurrentChangeError(f"another process has read on in {topic}")


class Held(NamedTuple):
    """A ledger that has lost transactions: it publishes and submits nothing."""

    since: datetime
    is_behind: bool
    """Whether it has not read again what it had announced."""


async def held(ledger: Ledger) -> Held | None:
    """Return since when the ledger is held (:mod:`izin.sinks.ingest.catch_up`); None: it is not."""
    found = await ledger.fetch(_SQL["held"], {})
    return Held(**found[0]) if found else None


async def until_released(ledger: Ledger) -> None:
    """Return once the ledger is not held; raises LedgerUnavailableError."""
    while await held(ledger) is not None:  # noqa: ASYNC110  # of any process
        await asyncio.sleep(_LOOK_EVERY)


async def announcement(
    connection: Connection, messages: TopicMessages, topic: str, now: datetime
) -> Message:
    """Return the message of how far ``topic`` is ingested once this transaction is committed, which
    has moved the offsets already.

    Append it behind all other messages of the transaction: whoever reads it must find those before
    it.
    """
    rows = await fetch(connection, _SQL["known"], {"topic": topic})
    nexts = {row["partition"]: row["next_offset"] for row in rows}
    value = {
        "cluster_id": rows[0]["cluster_id"],
        "decisions_topic_id": rows[0]["topic_id"],
        "decisions_offsets": [nexts.get(one, 0) for one in range(max(nexts) + 1)],
    }
    return messages.message(
        messages.topics.ledger_positions, topic, "", value, str(now.timestamp()), now
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """A partition that is being restored, or was."""

    partition: int
    topic_id: str
    next_offset: int
    end_offset: int
    decisions_from: int
    """The decisions are followed from there."""
    keys: int
    """How many records were read so far."""
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What a bootstrap of a partition covers."""

    partition: int
    decisions_from: int
    """Read before ``end_offset``, so that nothing is between the two."""
    end_offset: int
    """Of the topic of desired consents."""


async def begin_bootstrap(  # noqa: PLR0913 - both topics, and what of them
    ledger: Ledger,
    ranges: Collection[Range],
    *,
    topic: str,
    topic_id: str,
    decisions: str,
    now: datetime,
    by: str | None = None,
) -> None:
    """Begin to restore partitions of ``topic``, and follow ``decisions`` from where each says.

    Where a person ordered it, ``by``, that is an entry of the history.
    """
    values = {
        "topic": topic,
        "topic_id": topic_id,
        "decisions": decisions,
        "partitions": [range_.partition for range_ in ranges],
        "ends": [one.end_offset for one in ranges],
        "starts": [one.decisions_from for one in ranges],
        "now": now,
    }
    async with ledger.transaction() as connection:
        await connection.execute(_BOOTSTRAPS["begin"], values)
        await connection.execute(_BOOTSTRAPS["skip-lost"], values)
        if by is not None and ranges:
            await record_act(
                connection,
                "restore partitions",
                f"topic/{topic}",
                by=by,
                now=now,
                before={"lost": values["partitions"]},
                after={"decisions_from": values["starts"]},
            )


async def bootstraps(ledger: Ledger, topic: str) -> tuple[Bootstrap, ...]:
    """Return every partition of ``topic`` that is being restored, or was."""
    return tuple(
        Bootstrap(**row) for row in await ledger.fetch(_BOOTSTRAPS["progress"], {"topic": topic})
    )


async def advance_bootstrap(  # noqa: PLR0913 - which topic, and how far
    connection: Connection,
    topic: str,
    topic_id: str,
    moves: Mapping[int, tuple[int, int]],
    *,
    keys: Mapping[int, int],
    now: datetime,
) -> None:
    """Move each partition from the offset at which it was read to the one behind what was read.

    Raises:
        ConcurrentChangeError: another process has moved one of them.
    """
    await _move(
        connection,
        _BOOTSTRAPS["advance"],
        topic,
        topic_id,
        moves,
        {"keys": [keys.get(partition, 0) for partition in moves], "now": now},
    )
