"""Compare the opt-outs of a brand with the suppression list of another tool, in one session.

Whoever opted out here and is not in the list may still get messages of that tool. Whoever is in the
list and did not opt out here may have opted out at the tool alone: a person decides.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from izin.ledger.db import Connection, Ledger, copy, copy_format, statements

_CHUNK = 20_000
_COLUMNS = (1).to_bytes(2, "big")
_SQL = statements("reconcile")


class ListScope(NamedTuple):
    """Whose opt-outs are compared."""

    brand_code: int
    channel: str
    recipient_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDifference:
    """A recipient that opted out on one side alone."""

    recipient: str
    """As keys spell it."""
    is_here: bool
    """Whether the recipient opted out here, and not in the list; else the other way round."""
    desired_status: str | None
    """What the ledger has; None: nothing."""
    registered: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListComparison:
    """A list beside the rows of the ledger."""

    connection: Connection
    scope: ListScope
    here: int
    """How many recipients opted out here."""
    both: int
    """How many of them are in the list."""

    async def differences(self) -> AsyncIterator[ListDifference]:
        """Yield those who opted out here and are not in the list, then the others, each by
        recipient.
        """
        async with self.connection.cursor() as cursor:
            async for row in cursor.stream(_SQL["list-differences"], self.scope._asdict()):
                yield ListDifference(**row)


@asynccontextmanager
async def comparing_list(
    ledger: Ledger, scope: ListScope, recipients: Iterable[str]
) -> AsyncIterator[ListComparison]:
    """Provide the comparison of ``recipients``, spelt as in keys, with the opt-outs of ``scope``.

    They are read once, a chunk at a time.
    """
    async with ledger.session() as connection:
        await connection.execute(_SQL["session"])
        await connection.execute(_SQL["create-listed"])
        await copy(connection, _SQL["copy-listed"], _rows(recipients))
        for name in ("index-listed", "analyze-listed"):
            await connection.execute(_SQL[name])
        found = await connection.execute(_SQL["list-sizes"], scope._asdict())
        (sizes,) = await found.fetchall()
        yield ListComparison(connection=connection, scope=scope, **sizes)


def _rows(recipients: Iterable[str]) -> Iterator[bytes]:
    left = iter(recipients)
    while chunk := list(islice(left, _CHUNK)):
        yield b"".join(_COLUMNS + copy_format.word(one) for one in chunk)
