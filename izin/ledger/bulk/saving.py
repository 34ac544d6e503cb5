"""Save in bulk what changes of many rows make of them, in one transaction."""

from collections.abc import Callable, Collection, Coroutine, Hashable, Sequence
from functools import partial
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

from izin.ledger import retailers
from izin.ledger.bulk.alike import Alike, alike, shape_of
from izin.ledger.db import Connection, copy, copy_format, notifications, statements, while_waiting
from izin.ledger.history import Fact
from izin.ledger.record import TYPES, ConcurrentChangeError, ConsentRow, RuledRow
from izin.ledger.unit_of_work import UnitOfWork
from izin.runtime.process import with_pauses

FEW = 8
"""Fewer changes of one shape are made one by one: there is nothing to share."""
_SLICE = 2000
"""So many rows are saved at once, while the next as many are made; of few, half of them."""
_NUMBERS = count()
_MOST_NUMBERS = 1 << 15
"""Of slices: those of one transaction differ."""
_COLUMNS = len(TYPES).to_bytes(2, "big")
_STAGED_COLUMNS = (len(TYPES) + 1).to_bytes(2, "big")
_CONSENTS = statements("consents")
_OUTBOX = statements("outbox")

M = TypeVar("M")


class RowChange(NamedTuple, Generic[M]):
    """What a member makes of one row."""

    before: ConsentRow | None
    """As this transaction has locked it; None: the key is new."""
    after: ConsentRow
    """Before it is ruled; with its terms."""
    member: M


Rule = Callable[[RowChange[M]], RuledRow | None]
"""What the general path makes of a change; None: more than a row."""
_Ruled = tuple[Alike, RowChange[M]]


class _Made(NamedTuple):
    """A slice of rows and messages, in COPY format."""

    number: int
    size: int
    rows: bytes
    messages: bytes


_Store = Callable[[Connection, _Made], Coroutine[Any, Any, None]]


class BulkChanges(Generic[M]):
    """Changes of one kind in one transaction, each of another key."""

    def __init__(self, changes: UnitOfWork, rule: Rule[M]) -> None:
        self._changes = changes
        self._rule = rule
        self._groups: dict[Hashable, list[RowChange[M]]] = {}

    def add(self, change: RowChange[M]) -> None:
        """Add a change."""
        shape = shape_of(change.before, change.after, self._changes.now)
        self._groups.setdefault(shape, []).append(change)

    def forget(self, keys: Collection[str]) -> None:
        """Leave the rows of ``keys`` as they are."""
        if keys:
            for group in self._groups.values():
                group[:] = [change for change in group if change.after.key not in keys]

    async def save(self) -> list[M]:
        """Save the rows and publish what follows, the history through the unit of work; return what
        must be done one by one.

        Raises:
            ConcurrentChangeError: another process has inserted, or changed, one of the rows.
        """
        connection = self._changes.connection
        rest: list[M] = []
        ruled: list[_Ruled[M]] = []
        for group in self._groups.values():
            found = self._alike(group)
            if found is None:
                rest += [change.member for change in group]
            elif found.is_change:
                ruled += [(found, one) for one in group]
        ruled = await _without_retailers(connection, ruled, rest)
        ruled.sort(key=lambda one: one[1].after.key)  # two processes lock them in one order
        self._changes.add_actions({one.due for one, _ in ruled})
        new = [one for one in ruled if one[1].before is None]
        known = [one for one in ruled if one[1].before is not None]
        if new:
            await self._write(connection, new, _insert)
        if known:
            await connection.execute(_CONSENTS["stage"])
            await self._write(connection, known, _update)
        if ruled:  # most publish a message
            await connection.execute(f"NOTIFY {notifications.OUTBOX}")
        ended = [one.after.key for found, one in ruled if found.ends_access]
        if ended:
            await retailers.end(connection, ended)
        return rest

    def _alike(self, group: Sequence[RowChange[M]]) -> Alike | None:
        if len(group) < FEW:
            return None
        before, after, _ = group[0]
        ruled = self._rule(group[0])
        if ruled is None:
            return None
        return alike(self._changes.topic_messages, before, after, ruled, self._changes.now)

    async def _write(
        self,
        connection: Connection,
        ruled: Sequence[_Ruled[M]],
        store: _Store,
    ) -> None:
        """Write slice after slice, each while the next is made."""
        size = min(max(len(ruled) // 2, _SLICE // 8), _SLICE)
        slices = [ruled[start : start + size] for start in range(0, len(ruled), size)]
        coming = await self._made(slices[0])
        for following in [*slices[1:], ()]:
            _, coming = await while_waiting(
                _saved(connection, coming, store), partial(self._made, following)
            )

    async def _made(self, ruled: Sequence[_Ruled[M]]) -> _Made:
        number = next(_NUMBERS) % _MOST_NUMBERS
        head = _COLUMNS
        if ruled and ruled[0][1].before is not None:
            head = _STAGED_COLUMNS + copy_format.small(number)
        rows: list[bytes] = []
        messages: list[bytes] = []
        facts: list[Fact] = []
        async for found, change in with_pauses(ruled):
            rows += (head, found.columns_of(change.after))
            messages += found.published(change.before, change.after, facts)
        self._changes.add_history(facts)
        return _Made(number, len(ruled), b"".join(rows), b"".join(messages))


async def _saved(connection: Connection, made: _Made, store: _Store) -> None:
    await store(connection, made)
    if made.messages:
        await copy(connection, _OUTBOX["copy"], [made.messages])


async def _insert(connection: Connection, made: _Made) -> None:
    await copy(connection, _CONSENTS["copy"], [made.rows])


async def _update(connection: Connection, made: _Made) -> None:
    await copy(connection, _CONSENTS["copy-staged"], [made.rows])
    saved = await connection.execute(_CONSENTS["save-staged"], {"slice": made.number})
    if saved.rowcount != made.size:
        raise ConcurrentChangeError("a row was changed by another process")


async def _without_retailers(
    connection: Connection, ruled: Sequence[_Ruled[M]], rest: list[M]
) -> list[_Ruled[M]]:
    """Return the changes without those that publish a permission which retailers may use, and add
    these to the ``rest``: a permission names them.
    """
    permitted = [
        one.after.key for found, one in ruled if found.is_permitted and one.before is not None
    ]
    shared = await retailers.registered(connection, permitted)
    rest += [one.member for _, one in ruled if one.after.key in shared]
    return [one for one in ruled if one[1].after.key not in shared]
