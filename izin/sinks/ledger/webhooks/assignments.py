"""Which process delivers to which subscriber: each has a lease, and processes share them evenly.

The lease of a killed process is taken over as soon as its session is gone. One process more takes
its share: the others give back what they have beyond theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.webhooks.deliveries import lease_name

_SQL = statements("deliveries")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedSubscriber:
    """A subscriber that is not paused, and who owns its lease."""

    id: int
    version: int
    owner: str
    epoch: int
    is_owned: bool
    """Whether the owner lives."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the one of a row of ``assignments``."""
        return cls(**row)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseShares:
    """What a process is to do about the leases."""

    take: tuple[int, ...]
    give_back: tuple[int, ...]


def shares(
    subscribers: Sequence[AssignedSubscriber], processes: Sequence[str], owner: str
) -> LeaseShares:
    """Return which leases ``owner`` takes, and which it gives back.

    Each process may have its equal part, rounded up; what it has beyond is for one that has less.
    """
    alive = max(len(processes), 1)
    most = -(-len(subscribers) // alive)
    counts = dict.fromkeys(processes, 0)
    for one in subscribers:
        if one.is_owned and one.owner in counts:
            counts[one.owner] += 1
    mine = [one.id for one in subscribers if one.is_owned and one.owner == owner]
    free = [one.id for one in subscribers if not one.is_owned]
    others_lack = any(
        count < len(subscribers) // alive for who, count in counts.items() if who != owner
    )
    spare = mine[most:] if others_lack and not free else []
    if not spare and others_lack and not free and len(mine) == most > len(subscribers) // alive:
        spare = mine[-1:]
    return LeaseShares(take=tuple(free[: max(most - len(mine), 0)]), give_back=tuple(spare))


async def enter(ledger: Ledger) -> None:
    """Show that this process delivers webhooks."""
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["enter"], {"owner": ledger.owner})


async def leave(ledger: Ledger) -> None:
    """Show that this process delivers no more."""
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["leave"], {"owner": ledger.owner})


async def read(ledger: Ledger) -> tuple[tuple[AssignedSubscriber, ...], tuple[str, ...]]:
    """Return the subscribers that are not paused, and the processes that deliver."""
    rows = await ledger.fetch(_SQL["assignments"])
    processes = await ledger.fetch(_SQL["processes"])
    return tuple(map(AssignedSubscriber.from_row, rows)), tuple(row["owner"] for row in processes)


async def give_back(ledger: Ledger, subscriber_id: int, epoch: int) -> None:
    """Give back a lease, so that another process takes it at once."""
    values = {"name": lease_name(subscriber_id), "epoch": epoch, "owner": ledger.owner}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["give-back"], values)
