"""PostgreSQL: connections, named queries, COPY, migrations, notifications."""

from izin.ledger.db.connection import (
    ClockOffset,
    Connection,
    Ledger,
    copy,
    fetch,
    fetch_one,
    reach,
    statements,
    while_waiting,
)
from izin.ledger.db.copy_format import microseconds, moment
from izin.ledger.db.leases import SILENCE, exclusive, live, living, repeat, take
from izin.ledger.db.migrate import pending
from izin.ledger.db.notifications import BULK, OPT_OUTS, QUERIES, VIA, Notifications

__all__ = (
    "BULK",
    "OPT_OUTS",
    "QUERIES",
    "SILENCE",
    "VIA",
    "ClockOffset",
    "Connection",
    "Ledger",
    "Notifications",
    "copy",
    "exclusive",
    "fetch",
    "fetch_one",
    "live",
    "living",
    "microseconds",
    "moment",
    "pending",
    "reach",
    "repeat",
    "statements",
    "take",
    "while_waiting",
)
