"""Read known keys under lock, and save what changes in bulk make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import starmap
from typing import Generic, LiteralString, Protocol, TypeVar

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
from izin.sinks.ledger.db import notifications
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
_CHUNK = 400
_CONSENTS = statements("consents")
_OUTBOX = statements("outbox")

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
Alike = tuple[ChangeTemplate, list[tuple[KnownRow, M]]]
"""A template, and the rows with what changes them."""


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
        made: list[tuple[ChangeTemplate, Change]] = []
        for template, members in alike:
            for start in range(0, len(members), _CHUNK):
                chunk = members[start : start + _CHUNK]
                made += [(template, self.kind.change(row, member)) for row, member in chunk]
                await asyncio.sleep(0)
            changes.add_actions([template.due])
        if made:
            await self._write(connection, changes, made)
        ended = [one.row.key for template, one in made if template.ends_access]
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
        self,
        connection: Connection,
        changes: UnitOfWork,
        made: Sequence[tuple[ChangeTemplate, Change]],
    ) -> None:
        stage, copy_in, save = self.kind.statements
        # In the order in which others lock them, so that two writers wait and never deadlock.
        made = sorted(made, key=_key)
        await connection.execute(stage)
        chunks = [made[start : start + _CHUNK] for start in range(0, len(made), _CHUNK)]
        await copy(connection, copy_in, (b"".join(starmap(staged, chunk)) for chunk in chunks))
        saved, messages = await while_waiting(
            connection.execute(save), self._published(chunks, changes)
        )
        if saved.rowcount != len(made):
            raise ConcurrentChangeError("a row was changed by another process")
        if any(messages):
            await copy(connection, _OUTBOX["copy"], messages)
            await connection.execute(f"NOTIFY {notifications.OUTBOX}")

    async def _published(
        self, chunks: Sequence[Sequence[tuple[ChangeTemplate, Change]]], changes: UnitOfWork
    ) -> list[bytes]:
        messages: list[bytes] = []
        facts: list[Fact] = []
        for chunk in chunks:
            messages.append(b"".join([published(template, one, facts) for template, one in chunk]))
            # Let pushes in, which share this event loop.
            await asyncio.sleep(0)
        changes.add_history(facts)
        return messages


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


def _key(made: tuple[ChangeTemplate, Change]) -> str:
    return made[1].row.key
