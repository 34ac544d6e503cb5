"""PostgreSQL: connections, named queries, COPY, migrations, notifications."""

from izin.ledger.db.connection import Connection, Ledger, copy, while_waiting
from izin.ledger.db.leases import repeat, sole
from izin.ledger.db.queries import statements

__all__ = ("Connection", "Ledger", "copy", "repeat", "sole", "statements", "while_waiting")
