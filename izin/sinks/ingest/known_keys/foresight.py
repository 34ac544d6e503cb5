"""Read the rows of the next batch while PostgreSQL saves the last one.

Decisions and observations have one of these each. A batch is read in pieces, so that its rows are
read while it is still being made. They are not locked. One that changes before the batch is saved
is no longer where it was, or no longer of the transaction that had written it, so that saving it
fails, and the batch is stored again from locked rows. Keys that are stored meanwhile are read again
at once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Final, TypeVar

from izin.runtime.observe import get_logger
from izin.sinks.ingest.known_keys.saving import read_known
from izin.sinks.ingest.known_keys.templates import KnownRow
from izin.sinks.ledger.db.connection import Ledger, while_waiting
from izin.sinks.record.errors import ConcurrentChangeError

AT_LEAST: Final = 500
"""Of fewer keys the rows are read as the batch is stored: that takes a millisecond or two."""
PIECE: Final = 1000
"""So many keys are read at once, while the next as many are made."""
_ATTEMPTS: Final = 3
"""So often a batch is stored whose rows another process changes meanwhile."""

T = TypeVar("T")

_log = get_logger(__name__)


class Foresight:
    """The rows of one batch to come, as they were before its transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: dict[str, KnownRow | None] = {}
        self._stored: set[str] = set()
        """The keys of the batch that is being stored."""
        self._outdated: set[str] = set()
        """Those that may be stored while rows are read."""

    async def look(self, pieces: AsyncIterator[Collection[str]]) -> None:
        """Read the rows of the next batch, whose keys come in ``pieces``, each while the next is
        made; of a piece with few keys they are not read.

        Raises: LedgerUnavailableError, and whatever making a piece raises.
        """
        self.forget()
        keys = await anext(pieces, None)
        while keys is not None:
            _, keys = await while_waiting(self._read(set(keys)), anext(pieces, None))

    async def _read(self, keys: set[str]) -> None:
        if len(keys) < AT_LEAST:
            return
        self._outdated = set(self._stored)
        async with self._ledger.reading() as connection:
            rows = await read_known(connection, keys)
        self._rows.update((key, rows.get(key)) for key in keys - self._outdated)

    def take(self, keys: set[str]) -> tuple[dict[str, KnownRow], set[str]]:
        """Return the rows that are known of ``keys``, which are about to be stored, and the keys
        that must be read.
        """
        self._stored = keys
        self._outdated |= keys
        foreseen = {key: self._rows.pop(key) for key in keys & self._rows.keys()}
        rows = {key: row for key, row in foreseen.items() if row is not None}
        return rows, keys - foreseen.keys()

    async def stored(self, store: Callable[[], Awaitable[T]]) -> T:
        """Return what ``store`` returns, which takes the rows of a batch and stores it; it does so
        again, from locked rows, where another process changes some of them meanwhile.

        Raises:
            ConcurrentChangeError: another process changes them again and again.
        """
        try:
            for _ in range(_ATTEMPTS - 1):
                try:
                    return await store()
                except ConcurrentChangeError as error:
                    _log.info("batch stored again", reason=str(error))
                    self.forget()
            return await store()
        finally:
            self._stored = set()

    def forget(self) -> None:
        """Forget the rows: what is stored next is read under lock."""
        self._rows = {}
