"""Read known keys under lock, and save what changes in bulk make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Generic, LiteralString, NamedTuple, Protocol, TypeVar

from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8BinaryLoader

from izin.sinks.ingest.known_keys.templates import (
    Change,
    ChangeTemplate,
    KnownRow,
    known_row,
    published,
    staged,
    template_of,
)
from izin.sinks.ledger import retailers
from izin.sinks.ledger.db import copy_format, notifications
from izin.sinks.ledger.db.connection import Connection, copy, while_waiting
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.hash_chain import Fact
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.ruling import RuledRow

FEW = 8
"""Fewer changes of one template are made one by one: there is nothing to share."""
_SLICE = 2000
"""So many rows are saved at once, while the next as many are made."""
_YIELD_EVERY = 50
_CONSENTS = statements("consents")
_OUTBOX = statements("outbox")

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
Alike = tuple[ChangeTemplate, list[tuple[KnownRow, M]]]
"""A template, and the rows with what changes them."""
Templated = tuple[ChangeTemplate, KnownRow, M]
"""A row, how it changes, and what changes it."""


class _Slice(NamedTuple):
    """Rows that are saved together."""

    number: int
    changes: list[tuple[ChangeTemplate, Change]]
    staged: bytes
    """In COPY format."""


async def lock_known(connection: Connection, keys: Collection[str]) -> dict[str, KnownRow]:
    """Return the rows of ``keys`` that exist, by key, locked until the transaction ends."""
    return await _read(connection, _CONSENTS["lock-known"], keys) if keys else {}


async def read_known(connection: Connection, keys: Collection[str]) -> dict[str, KnownRow]:
    """Return the same without a lock: what is saved of them fails where they have changed."""
    return await _read(connection, _CONSENTS["read-known"], keys)


async def _read(
    connection: Connection, query: LiteralString, keys: Collection[str]
) -> dict[str, KnownRow]:
    async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        # As PostgreSQL has them: an order of instants is one of numbers.
        cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
        found = await cursor.execute(query, {"keys": sorted(keys)})
        rows = map(known_row, await found.fetchall())
        return {row.key: row for row in rows}


class Kind(Protocol[M_contra]):
    """A kind of change: what it makes of one row, by templates and by the general path."""

    @property
    def own(self) -> Sequence[str]:
        """The columns in which its changes of one template differ."""

    @property
    def shared(self) -> Sequence[str]:
        """The columns behind them, which they share."""

    @property
    def statements(self) -> tuple[LiteralString, LiteralString, LiteralString]:
        """Create the table in which rows are staged, stage them, save them."""

    def change(self, row: KnownRow, member: M_contra) -> Change:
        """Return what is the row's own in what ``member`` makes of it."""

    def ruled(self, before: ConsentRow, member: M_contra) -> RuledRow:
        """Return what ``member`` makes of a row, by the general path."""


@dataclass(kw_only=True)
class BulkChanges(Generic[M]):
    """Changes of one kind in one transaction, each of another key."""

    kind: Kind[M]
    topic_messages: TopicMessages
    _groups: dict[tuple[object, ...], list[tuple[KnownRow, M]]] = field(default_factory=dict)

    def add(self, template_key: tuple[object, ...], row: KnownRow, member: M) -> None:
        """Add a change of ``row``; those of one ``template_key`` differ in nothing but columns of
        their own.
        """
        self._groups.setdefault(template_key, []).append((row, member))

    async def save(self, connection: Connection, changes: UnitOfWork) -> list[M]:
        """Save the rows and publish what follows, the history through ``changes``; return what must
        be done one by one.

        Raises:
            ConcurrentChangeError: a row is not where it was read.
        """
        alike, rest = await self._templates(connection, changes.now)
        # In the order in which others lock them, so that two writers wait and never deadlock.
        rows = sorted(
            ((template, row, member) for template, members in alike for row, member in members),
            key=_key,
        )
        changes.add_actions({template.due for template, _, _ in rows})
        if rows:
            await self._write(connection, changes, rows)
        ended = [row.key for template, row, _ in rows if template.ends_access]
        if ended:
            await retailers.end(connection, ended)
        return rest

    async def _templates(
        self, connection: Connection, now: datetime
    ) -> tuple[list[Alike[M]], list[M]]:
        """Return the changes that are made by templates, and all others."""
        few = [one for one in self._groups.values() if len(one) < FEW]
        rest = [member for members in few for _, member in members]
        groups = [one for one in self._groups.values() if len(one) >= FEW]
        firsts = await lock(connection, [members[0][0].key for members in groups])
        alike: list[Alike[M]] = []
        for members in groups:
            row, member = members[0]
            before = firsts.get(row.key)
            if before is None:
                raise ConcurrentChangeError("a row was removed by another process")
            template = template_of(
                self.topic_messages,
                before,
                self.kind.ruled(before, member),
                self.kind.change(row, member),
                own=self.kind.own,
                shared=self.kind.shared,
                now=now,
            )
            if template is None:
                rest += [member for _, member in members]
            else:
                alike.append((template, members))
        return await _without_retailers(connection, alike, rest)

    async def _write(
        self, connection: Connection, changes: UnitOfWork, rows: Sequence[Templated[M]]
    ) -> None:
        """Write slice after slice: while one is saved, its messages are made, and the next."""
        stage, copy_in, save = self.kind.statements
        slices = [rows[start : start + _SLICE] for start in range(0, len(rows), _SLICE)]
        _, coming = await while_waiting(connection.execute(stage), self._staged(0, slices[0]))
        has_messages = False
        for number, following in enumerate([*slices[1:], ()], start=1):
            current = coming
            await copy(connection, copy_in, [current.staged])
            saved, (messages, coming) = await while_waiting(
                connection.execute(save, {"slice": current.number}),
                self._meanwhile(current, changes, number, following),
            )
            if saved.rowcount != len(current.changes):
                raise ConcurrentChangeError("a row was changed by another process")
            if messages:
                has_messages = True
                await copy(connection, _OUTBOX["copy"], [messages])
        if has_messages:
            await connection.execute(f"NOTIFY {notifications.OUTBOX}")

    async def _meanwhile(
        self, current: _Slice, changes: UnitOfWork, number: int, following: Sequence[Templated[M]]
    ) -> tuple[bytes, _Slice]:
        """Return the messages of the ``current`` slice, and the ``following`` one, staged."""
        messages: list[bytes] = []
        facts: list[Fact] = []
        for place, (template, change) in enumerate(current.changes):
            messages.append(published(template, change, facts))
            if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                # Let pushes in, which share this event loop.
                await asyncio.sleep(0)
        changes.add_history(facts)
        return b"".join(messages), await self._staged(number, following)

    async def _staged(self, number: int, rows: Sequence[Templated[M]]) -> _Slice:
        head = self._size + copy_format.small(number)
        made: list[tuple[ChangeTemplate, Change]] = []
        staged_rows: list[bytes] = []
        for place, (template, row, member) in enumerate(rows):
            change = self.kind.change(row, member)
            made.append((template, change))
            staged_rows.append(staged(head, template, change))
            if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        return _Slice(number, made, b"".join(staged_rows))

    @cached_property
    def _size(self) -> bytes:
        """How many columns a staged row has."""
        return (3 + len(self.kind.own) + len(self.kind.shared)).to_bytes(2, "big")


async def _without_retailers(
    connection: Connection, alike: Sequence[Alike[M]], rest: list[M]
) -> tuple[list[Alike[M]], list[M]]:
    """Return the changes without those that publish a permission which retailers may use, and these
    with the ``rest``: a permission names them.
    """
    permitted = [
        row.key for template, members in alike if template.is_permitted for row, _ in members
    ]
    shared = await retailers.registered(connection, permitted)
    left: list[Alike[M]] = []
    for template, members in alike:
        if members[0][0].key in shared:
            # Whatever has the template of a row must be saved with it, or fail with it.
            rest += [member for _, member in members]
        else:
            rest += [member for row, member in members if row.key in shared]
            left.append((template, [one for one in members if one[0].key not in shared]))
    return left, rest


def _key(templated: Templated[M]) -> str:
    return templated[1].key
