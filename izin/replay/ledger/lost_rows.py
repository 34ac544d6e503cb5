"""Restore rows that are missing where they are: PostgreSQL makes them of the shadow and templates.

A page of keys is one transaction, which checks the lease; its rows and the records of their
permissions in the outbox are one statement. Several pages are made at a time. A key of which a row
stands, or a submission is unanswered, or which has no template, is left to the general path
(``mend``). ``tests/integration/replay/ledger/test_lost_rows.py`` holds both equal.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from izin.replay.ledger.lost_row_templates import MOST, LostRowTemplates
from izin.replay.ledger.mend_acts import MendActs
from izin.sinks.ledger import brands
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.record.messages import TopicMessages

_PAGE = 10_000
_SESSIONS = 2
"""So many pages are made at a time: the server's work is nearly all of it."""
_SQL = statements("rebuild")


async def restore_lost(
    ledger: Ledger,
    topic_messages: TopicMessages,
    acts: MendActs,
    report: Callable[[int], None],
) -> int:
    """Restore the missing rows that have a template, and report how many with each page; return
    how many.

    Raises:
        ConcurrentChangeError: another process writes the same rows.
        FencedError: another process has taken over.
    """
    work = _LostRows(ledger, topic_messages, acts, report)
    sessions = [asyncio.create_task(work.restore()) for _ in range(_SESSIONS)]
    try:
        await asyncio.gather(*sessions)
    finally:
        for one in sessions:
            one.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
    return work.restored


class _LostRows:
    """The work of all sessions."""

    def __init__(
        self,
        ledger: Ledger,
        topic_messages: TopicMessages,
        acts: MendActs,
        report: Callable[[int], None],
    ) -> None:
        self._ledger = ledger
        self._topic_messages = topic_messages
        self._acts = acts
        self._templates = LostRowTemplates(topic_messages, now=acts.now, calendar=ledger.calendar)
        self._report = report
        self.restored = 0
        self._claiming = asyncio.Lock()
        self._after = ""

    async def restore(self) -> None:
        """Restore page after page, each of keys that no other session has taken."""
        while keys := await self._claim():
            async with self._ledger.transaction() as connection:
                count = await self._restore_page(connection, keys)
            self.restored += count
            self._report(self.restored)

    async def _claim(self) -> Sequence[str]:
        """Return the keys of the next page; none: all were taken."""
        async with self._claiming:
            values = {"after": self._after, "size": _PAGE}
            (found,) = await self._ledger.fetch(_SQL["missing"], values)
            keys: Sequence[str] = found["keys"]
            if keys:
                self._after = keys[-1]
        return keys

    async def _restore_page(self, connection: Connection, keys: Sequence[str]) -> int:
        """Restore the rows of ``keys`` that have a template; return how many."""
        codes = {int(key.partition("/")[0]) for key in keys}
        known = await brands.of_codes(connection, codes)
        self._templates.follow({code: known.get(code) for code in codes})
        remaining, examples = await self._insert(connection, keys)
        if examples:
            found = await connection.execute(_SQL["shadow-rows"], {"keys": list(examples)})
            self._templates.learn({examples[row["key"]]: row for row in await found.fetchall()})
            remaining, _ = await self._insert(connection, remaining)
        restored = set(keys).difference(remaining)
        if restored:
            changes = UnitOfWork(self._topic_messages, now=self._acts.now)
            changes.add_movement(self._acts.restored(len(restored)))
            changes.add_actions(self._templates.due_actions)
            await changes.write(connection)
            await connection.execute(_SQL["mended"], {"keys": list(restored)})
            await connection.execute(f"NOTIFY {notifications.OUTBOX}")
        return len(restored)

    async def _insert(
        self, connection: Connection, keys: Sequence[str]
    ) -> tuple[Sequence[str], Mapping[str, str]]:
        """Insert the rows of known templates; return the keys that remain, and of the templates
        that are not known the most frequent, each name by a key that has it.
        """
        own = {"keys": keys, "now": self._acts.now, "most": MOST}
        # Planned each time: the table grows from nothing while this runs.
        found = await connection.execute(
            _SQL["restore"], {**self._templates.values, **own}, prepare=False
        )
        rows = await found.fetchall()
        unknown = {row["example"]: row["name"] for row in rows if row["name"] is not None}
        return rows[0]["remaining"], unknown
