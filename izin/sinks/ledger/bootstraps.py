"""How far the ledger has been restored from the topic of desired consents, by partition."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import record_act
from izin.sinks.record.errors import ConcurrentChangeError

_SQL = statements("bootstraps")


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


async def begin(  # noqa: PLR0913 - both topics, and what of them
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

    Where a person ordered it, ``by``, that is a movement of the history.
    """
    values = {
        "topic": topic,
        "topic_id": topic_id,
        "decisions": decisions,
        "partitions": [one.partition for one in ranges],
        "ends": [one.end_offset for one in ranges],
        "starts": [one.decisions_from for one in ranges],
        "now": now,
    }
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["begin"], values)
        await connection.execute(_SQL["skip-lost"], values)
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


async def progress(ledger: Ledger, topic: str) -> tuple[Bootstrap, ...]:
    """Return every partition of ``topic`` that is being restored, or was."""
    return tuple(Bootstrap(**row) for row in await ledger.fetch(_SQL["progress"], {"topic": topic}))


async def advance(  # noqa: PLR0913 - which topic, and how far
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
    values = {
        "topic": topic,
        "topic_id": topic_id,
        "partitions": list(moves),
        "befores": [before for before, _ in moves.values()],
        "nexts": [after for _, after in moves.values()],
        "keys": [keys.get(partition, 0) for partition in moves],
        "now": now,
    }
    moved = await (await connection.execute(_SQL["advance"], values)).fetchall()
    if len(moved) != len(moves):
        raise ConcurrentChangeError(f"another process restores the ledger from {topic}")
