"""Read the outbox from a floor.

Delivered rows are deleted, but while another session has a snapshot from before that, their index
entries stay, and a read that starts at the first id visits all of them again. Reads start at a
floor instead. Ids are taken in order and committed in any order, so the floor rises only below ids
whose transactions have all ended.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.db.queries import statements

_SQL = statements("outbox")


@dataclass(slots=True, kw_only=True)
class OutboxReader:
    """Reads pages of the outbox, the lowest ids first; for one process that delivers them.

    The floor is kept in memory: it ends with the process, and is not believed of another server.
    """

    floor: int = 0
    """No id up to here will be read again: its row was delivered, or will never exist."""
    server: datetime | None = None
    """When the server started whose ids these are. A standby that takes over may have lost the last
    ids, and hands them out again.
    """
    _mark: tuple[int, int] | None = None
    """An id, and a transaction that is younger than those that took the ids up to it."""

    async def next(self, connection: Connection, size: int) -> list[DictRow]:
        """Return up to ``size`` rows that are not delivered yet, in the order of their ids."""
        # Before the page: what has ended by now, the page shows.
        values = {"after": self.floor if self._mark is None else self._mark[0]}
        (horizon,) = await (await connection.execute(_SQL["horizon"], values)).fetchall()
        if horizon["server"] != self.server:
            self.floor, self.server, self._mark = 0, horizon["server"], None
        page = await connection.execute(_SQL["next"], {"floor": self.floor, "size": size})
        rows = await page.fetchall()
        if self._mark is not None and self._mark[1] <= horizon["oldest"]:
            self.floor = min([self._mark[0], *(row["id"] - 1 for row in rows[:1])])
            self._mark = None
        if self._mark is None and horizon["transaction"] is not None:
            self._mark = (horizon["last_id"], horizon["transaction"])
        return rows
