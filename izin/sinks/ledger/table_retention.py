"""How long each table of the ledger keeps its rows, and the deletion of what has expired.

Personal data is kept no longer than its purpose needs (6698 m.4/2-ç, m.7). What must be proved for
years is in the history, whose months ``history.retention`` drops; every other table states its own
period here. Rows are deleted in slices, each in a transaction of its own: never one under a legal
hold, never what is not settled, and never a call or an answer that the history does not have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from izin.runtime.observe import get_logger
from izin.sinks.ledger.brake.counting import WINDOW
from izin.sinks.ledger.db import Connection, Ledger, statements

_SQL = statements("table_retention")
_SUBMISSIONS = 20
"""Submissions in one slice: up to a thousand items each."""
_ROWS = 1000
"""Rows of any other table in one slice."""
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRetention:
    """How long a table keeps a row."""

    kept: str
    """In words; what ends it where no period does."""
    why: str
    period: timedelta | None = None
    """After which rows are deleted here; None: they are not deleted by age."""


_AS_LONG_AS_THE_LEDGER = "as long as the ledger"
_NO_PERSON = "names no recipient"
_MONTH = timedelta(days=30)
_SETTLED = TableRetention(
    kept="90 days after it settled",
    why="the history has call and answer; İYS shows our own movements for 7 days, and a complaint "
    "about a call comes within weeks",
    period=timedelta(days=90),
)
_SHADOW = TableRetention(
    kept="until the next rebuild",
    why="what `izin replay rebuild ledger` has computed from the history, which has it too",
)
TABLES: Mapping[str, TableRetention] = {
    "access_tokens": TableRetention(kept="until renewed", why=_NO_PERSON),
    "anchors": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why="hashes that prove the history"),
    "api_keys": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why=f"{_NO_PERSON}; events name the key that published them",
    ),
    "application_items": TableRetention(
        kept="until it is taken away (`izin customers provide`), or the customer is offboarded",
        why=f"{_NO_PERSON}; may name a signatory of the customer",
    ),
    "bootstraps": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "brakes": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why=f"{_NO_PERSON}; opt-outs name the brake that held them back",
    ),
    "brands": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "chain_cuts": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why="hashes that prove the history"),
    "chains": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why="hashes that prove the history"),
    "complaints": TableRetention(
        kept="while it is open, and 10 years after it was closed",
        why="the answer to an authority; 6563 m.11/3",
        period=timedelta(days=3653),
    ),
    "consents": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why="an opt-out has no end: without its row, an old opt-in would count again",
    ),
    "daily_files": TableRetention(
        kept="as long as the month of the history in which it was noted",
        why=f"{_NO_PERSON}; İYS's hash and time stamp prove the lines in `daily_parts`",
    ),
    "daily_parts": TableRetention(
        kept="as its row in `daily_files`; a line goes with the history of its key",
        why="with İYS's time stamp, proves that a movement was registered on its day (6563 m.11/3)",
    ),
    "deliveries": TableRetention(
        kept="as long as the month of the history that has its digest",
        why="proves when each subscriber was informed; 6563 m.11/3, Yönetmelik m.13",
    ),
    "delivery_attempts": TableRetention(
        kept="30 days", why=f"{_NO_PERSON}; shows why a subscriber failed", period=_MONTH
    ),
    "delivery_cursors": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "erasures": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why="shows that an erasure was done; names the key only until its history is gone",
    ),
    "customers": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why=f"{_NO_PERSON}; no number of a natural person (T.C. kimlik numarası) is stored",
    ),
    "granted_brands": TableRetention(
        kept="while İYS lists the brand or it is registered here", why=_NO_PERSON
    ),
    "kafka_offsets": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "leases": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "legal_holds": TableRetention(
        kept="10 years after its release",
        why="shows why history was kept longer (6563 m.11/3); may name a key",
        period=timedelta(days=3653),
    ),
    "list_readings": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "migrations": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "movement_months": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "movements": TableRetention(
        kept="10 years, and 3 years after the consent ended",
        why="6563 m.11/3, Yönetmelik m.13; whole months are dropped by `izin retention drop`",
    ),
    "offboardings": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why=f"{_NO_PERSON}; the digest of the archive that was handed over",
    ),
    "opt_in_counts": TableRetention(kept="until the brake is taken away", why=_NO_PERSON),
    "outbox": TableRetention(
        kept="until delivered", why="a delivered row is deleted; the topic has its own retention"
    ),
    "push_registrations": TableRetention(
        kept="until the connection is registered anew",
        why=f"{_NO_PERSON}; a salted hash of the credentials",
    ),
    "rate_limit_hours": TableRetention(
        kept="90 days", why=f"{_NO_PERSON}; İYS rates 24 hours", period=timedelta(days=90)
    ),
    "rate_limit_minutes": TableRetention(
        kept="2 hours", why=f"{_NO_PERSON}; İYS limits one hour, deleted as the next are counted"
    ),
    "rate_limits": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "permission_differences": TableRetention(
        kept="until the next rebuild", why="what `izin replay rebuild permissions` has found"
    ),
    "processes": TableRetention(kept="until others find it silent", why=_NO_PERSON),
    "recent_opt_outs": TableRetention(
        kept="1 hour",
        why="which source opted a recipient out: counted by the brake within an hour",
        period=WINDOW,
    ),
    "recorded_offsets": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "resend_opt_outs": TableRetention(
        kept="until the resend ends", why="the recipients whose opt-outs it sends from the history"
    ),
    "resends": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER, why="names recipients that were chosen only until it ends"
    ),
    "register_counts": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER, why=f"{_NO_PERSON}; a row a brand and day shows the trend"
    ),
    "retailer_access": TableRetention(
        kept="until the opt-out", why="says which retailers may use a consent that stands"
    ),
    "sequence_gaps": TableRetention(kept="until the gap closes", why=_NO_PERSON),
    "sequences": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "shadow_consents": _SHADOW,
    "shadow_differences": _SHADOW,
    "shadow_slices": _SHADOW,
    "stream_cursors": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "submission_items": _SETTLED,
    "submissions": _SETTLED,
    "subscribers": TableRetention(
        kept="until they are removed",
        why=f"{_NO_PERSON}; the history has who was removed",
    ),
    "sweeps": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why="names the last recipient that was queried, and only until it ends",
    ),
    "suspension_orders": TableRetention(kept="until it is ended", why=_NO_PERSON),
    "suspensions": TableRetention(kept="until its cause is gone", why=_NO_PERSON),
    "unknown_brands": TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON),
    "webhook_processes": TableRetention(kept="until others find it gone", why=_NO_PERSON),
}
"""Every table of the ledger, and how long it keeps a row."""


async def delete_expired(
    ledger: Ledger, *, now: datetime, submissions: int = _SUBMISSIONS
) -> Mapping[str, int]:
    """Delete the rows whose time has passed; return how many of each table.

    ``submissions`` is how many of them one slice has.
    """
    deleted = {"submissions": await _delete_submissions(ledger, now, submissions)}
    for table in (
        *("rate_limit_hours", "legal_holds", "delivery_attempts", "recent_opt_outs"),
        "complaints",
    ):
        deleted[table] = await _delete_rows(ledger, table, now)
    return deleted


async def _delete_submissions(ledger: Ledger, now: datetime, size: int) -> int:
    before, place, deleted = now - _period("submissions"), (_FIRST, 0), 0
    while True:
        values = {"before": before, "after": place[0], "after_id": place[1], "size": size}
        async with ledger.transaction() as connection:
            found = await (await connection.execute(_SQL["settled"], values)).fetchall()
            if not found:
                return deleted
            # What stays is passed over, so that it keeps no other row back.
            place = (found[-1]["settled_at"], found[-1]["id"])
            gone = {"ids": await _deletable(connection, [row["id"] for row in found])}
            await connection.execute(_SQL["delete-items"], gone)
            await connection.execute(_SQL["delete-submissions"], gone)
        deleted += len(gone["ids"])


async def _deletable(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Return the ones among settled submissions that need not stay."""
    kept = await (await connection.execute(_SQL["kept"], {"ids": ids})).fetchall()
    if unrecorded := [row["id"] for row in kept if row["is_unrecorded"]]:
        _log.critical("settled submissions not in the history", submissions=unrecorded)
    stay = {row["id"] for row in kept}
    return [one for one in ids if one not in stay]


async def _delete_rows(ledger: Ledger, table: str, now: datetime) -> int:
    values: dict[str, Any] = {"before": now - _period(table), "size": _ROWS}
    deleted = 0
    while True:
        async with ledger.transaction() as connection:
            count = (await connection.execute(_SQL[f"delete-{table}"], values)).rowcount
        deleted += count
        if count < _ROWS:
            return deleted


def _period(table: str) -> timedelta:
    period = TABLES[table].period
    if period is None:
        raise LookupError(f"{table} states no period")
    return period
