"""Read the rows of the next batch while PostgreSQL saves the last one.

These rows are not locked. One that changes before the batch is saved is no longer where it was, or
no longer of the transaction that had written it, so that saving it fails, and the batch is stored
again from locked rows. Keys that are stored meanwhile are read again at once.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from izin.sinks.ingest.decision_reader import IncomingDecision
from izin.sinks.ingest.known_keys.saving import read_known
from izin.sinks.ingest.known_keys.templates import KnownRow
from izin.sinks.ledger.db.connection import Ledger

AT_LEAST = 500
"""Of fewer keys the rows are read as the batch is stored: that takes a millisecond or two."""


class Foresight:
    """The rows of one batch to come, as they were before its transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._keys: set[str] = set()
        self._rows: dict[str, KnownRow] = {}
        self._stored: set[str] = set()
        self._outdated: set[str] = set()

    async def look(self, decisions: Sequence[IncomingDecision]) -> None:
        """Read the rows of ``decisions``, which are stored next, if they are many.

        Raises: LedgerUnavailableError.
        """
        keys = {one.key for one in decisions}
        self.forget()
        if len(keys) < AT_LEAST:
            return
        self._outdated = set(self._stored)
        async with self._ledger.reading() as connection:
            rows = await read_known(connection, keys)
        self._keys, self._rows = keys, rows

    def take(self, keys: set[str]) -> tuple[dict[str, KnownRow], set[str]]:
        """Return the rows that are known of ``keys``, which are about to be stored, and the keys
        that must be read.
        """
        foreseen = (keys & self._keys) - self._outdated
        rows = {key: self._rows[key] for key in foreseen if key in self._rows}
        self._stored = keys
        self._outdated |= keys
        return rows, keys - foreseen

    @asynccontextmanager
    async def storing(self) -> AsyncIterator[None]:
        """Note, at the end, that what was taken is stored, or is not."""
        try:
            yield
        finally:
            self._stored = set()

    def forget(self) -> None:
        """Forget the rows: what is stored next is read under lock."""
        self._keys, self._rows = set(), {}
