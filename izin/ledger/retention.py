"""How long the ledger keeps what it has: each table states it, and the history ten years or more.

Personal data is kept no longer than its purpose needs (6698 m.4/2-ç, m.7). What must be proved for
years is in the history; every other table states its own period (``TABLES``). Rows are deleted in
slices, each in a transaction of its own: never one under a legal hold, never what is not settled,
and never a call or an answer that the history does not have.

The history is kept for ten years, longer under a legal hold; then it is dropped.

A month is dropped whole, and months in order, so that every chain keeps its end: the last link that
is dropped is stored, anchored outside like any head, and verifying starts from there. A month under
a legal hold keeps those after it. Records are kept until the later of ten years after the act (6563
m.11/3) and three years after the consent ended (Yönetmelik m.13): a month goes once ten years have
passed and no key in it has a consent that stands or ended less than three years ago. Who changed
the retention of a month, or dropped it, is in the history itself, where no change goes unnoticed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import Any

from izin.ledger.automatic_suspension.counting import WINDOW
from izin.ledger.db import Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.history import DROPPED, customer_key, record_act
from izin.ledger.record import Anchor, TopicMessages
from izin.ledger.unit_of_work import append_messages
from izin.runtime.logs import get_logger

YEARS_AT_LEAST = 10
"""How long a record must be kept after the act (6563 m.11/3)."""
YEARS_AFTER_THE_END = 3
"""How long a record must be kept after the consent ended (Yönetmelik m.13)."""
_LONGEST_MONTH = timedelta(days=31)
_SQL = statements("retention")
_EXPIRED = statements("table_retention")
_SUBMISSIONS = 20
"""Submissions in one slice: up to a thousand items each."""
_ROWS = 1000
"""Rows of any other table in one slice."""
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month of history, and what retains it."""

    month: date
    retain_until: date
    bytes: int
    """On disk, with its indexes."""
    kept_by: str | None
    """Who last changed its retention; None: nobody, so it is ten years."""
    holds: tuple[int, ...] = ()
    """The legal holds on any of it."""

    @property
    def ends(self) -> date:
        """The first day after it."""
        return (self.month + _LONGEST_MONTH).replace(day=1)

    @property
    def least(self) -> date:
        """The day until which it must be kept by law."""
        return self.ends.replace(year=self.ends.year + YEARS_AT_LEAST)

    def may_go(self, today: date) -> bool:
        """Whether it is over and nothing retains it any more."""
        return self.ends <= today and self.retain_until < today and not self.holds


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHold:
    """History that must not be dropped, for a court, an authority or a dispute."""

    id: int
    customer_id: str
    key: str | None
    """None: every key of the customer."""
    reason: str
    since: datetime


async def months(ledger: Ledger) -> tuple[Month, ...]:
    """Return the months of history, in order."""
    async with ledger.reading() as connection:
        return tuple([await _held(connection, one) for one in await _unheld(connection)])


async def _unheld(connection: Connection) -> tuple[Month, ...]:
    """Return the months of history, in order, without their legal holds."""
    return tuple(Month(**row) for row in (await fetch(connection, _SQL["months"])))


async def _held(connection: Connection, month: Month) -> Month:
    """Return ``month`` with its legal holds."""
    await connection.execute(_SQL["by-index"], {"by_index": True})
    rows = await fetch(connection, _SQL["held"], {"month": month.month})
    await connection.execute(_SQL["by-index"], {"by_index": False})
    return replace(month, holds=tuple(row["id"] for row in rows))


async def expired(ledger: Ledger, *, today: date) -> tuple[Month, ...]:
    """Return the months that may be dropped: the oldest, up to the first that is retained."""
    found = []
    async with ledger.session() as connection, connection.transaction():
        for month in takewhile(lambda one: one.may_go(today), await _unheld(connection)):
            held = await _held(connection, month)
            if not held.may_go(today) or await _is_needed(connection, month, today):
                break
            found.append(month)
    return tuple(found)


async def _is_needed(connection: Connection, month: Month, today: date) -> bool:
    """Whether a consent in ``month`` stands, or ended less than three years ago."""
    ended = today.replace(day=1, year=today.year - YEARS_AFTER_THE_END)
    return (
        await fetch_one(connection, _SQL["is-needed"], {"month": month.month, "ended": ended})
        is not None
    )


async def drop(
    ledger: Ledger, topic_messages: TopicMessages, *, by: str, now: datetime
) -> tuple[Month, ...]:
    """Drop the months that may be dropped, each in a transaction of its own; return them.

    Raises:
        ConcurrentChangeError: writers keep the history too busy.
    """
    dropped = []
    for _ in await expired(ledger, today=now.date()):
        async with ledger.transaction() as connection:
            first = (await _unheld(connection))[0]
            values = {"month": first.month, "now": now}
            cuts = await fetch(connection, _SQL["cut"], values)
            # Whoever creates a month waits for the lock: what reads much is done before it, for
            # nothing is added to an old month. A legal hold may have been placed meanwhile.
            await connection.execute(_SQL["begin"])
            oldest = await _held(connection, (await _unheld(connection))[0])
            if oldest.month != first.month or not oldest.may_go(now.date()):
                await connection.rollback()
                break
            heads = {
                "shards": [row["shard"] for row in cuts],
                "places": [row["place"] for row in cuts],
                "links": [row["link"] for row in cuts],
                "now": now,
            }
            made = await fetch(connection, _SQL["anchor"], heads)
            await append_messages(
                connection, [topic_messages.anchor(Anchor(**row)) for row in made], now
            )
            await record_act(
                connection,
                DROPPED,
                _key(first.month),
                by=by,
                now=now,
                before={"kept until": first.retain_until},
                after={"cuts": {str(row["shard"]): row["place"] for row in cuts}},
            )
            await connection.execute(_SQL["drop"], values)
            await connection.execute(_SQL["drop-deliveries"], values)
            await connection.execute(_SQL["drop-daily-files"], values)
        dropped.append(first)
    return tuple(dropped)


async def retain(ledger: Ledger, month: date, *, until: date, by: str, now: datetime) -> bool:
    """Retain a month (its first day) until the end of a day; return whether there is such a month.

    Raises:
        LedgerFaultError: the day is before ``Month.least``.
    """
    async with ledger.transaction() as connection:
        row = await fetch_one(connection, _SQL["retain"], {"month": month, "until": until})
        if row is None:
            return False
        await record_act(
            connection,
            "retain month",
            _key(month),
            by=by,
            now=now,
            before={"kept until": row["before"]},
            after={"kept until": until},
        )
        return True


async def knows(ledger: Ledger, customer_id: str) -> bool:
    """Return whether the ledger has a brand, a consent or any history of a customer."""
    return bool(await ledger.fetch(_SQL["knows"], {"customer_id": customer_id}))


async def keys_of(connection: Connection, customer_id: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return the ones among ``keys`` with a consent or history of a customer."""
    values = {"customer_id": customer_id, "keys": list(keys)}
    return tuple(row["key"] for row in await fetch(connection, _SQL["keys-of"], values))


async def hold(  # noqa: PLR0913 - on what, why, and by whose order
    ledger: Ledger, customer_id: str, *, key: str | None, reason: str, by: str, now: datetime
) -> int:
    """Add a legal hold on a customer, or on one of its keys; return its number."""
    async with ledger.transaction() as connection:
        return await place(connection, customer_id, key=key, reason=reason, by=by, now=now)


async def place(  # noqa: PLR0913 - on what, why, and by whose order
    connection: Connection,
    customer_id: str,
    *,
    key: str | None,
    reason: str,
    by: str,
    now: datetime,
) -> int:
    """Add a legal hold within a transaction; return its number."""
    values = {"customer_id": customer_id, "key": key, "reason": reason, "now": now}
    row = await fetch_one(connection, _SQL["add-hold"], values)
    number = 0 if row is None else int(row["id"])
    await record_act(
        connection,
        f"place legal hold {number}",
        key or customer_key(customer_id),
        by=by,
        now=now,
        before={},
        after={"reason": reason},
        customer_id=customer_id,
    )
    return number


async def release(ledger: Ledger, number: int, *, by: str, now: datetime) -> bool:
    """Release a legal hold; return whether there was one in force."""
    async with ledger.transaction() as connection:
        return await end(connection, number, by=by, now=now)


async def end(connection: Connection, number: int, *, by: str, now: datetime) -> bool:
    """Release a legal hold within a transaction; return whether there was one in force."""
    row = await fetch_one(connection, _SQL["release-hold"], {"id": number, "now": now})
    if row is None:
        return False
    await record_act(
        connection,
        f"release legal hold {number}",
        row["key"] or customer_key(row["customer_id"]),
        by=by,
        now=now,
        before={"reason": row["reason"]},
        after={},
        customer_id=row["customer_id"],
    )
    return True


async def holds(ledger: Ledger) -> tuple[LegalHold, ...]:
    """Return the legal holds in force."""
    return tuple(LegalHold(**row) for row in await ledger.fetch(_SQL["holds"]))


def _key(month: date) -> str:
    """Return the key of acts on a month."""
    return f"retention/{month:%Y-%m}"


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
_STAYS = TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why=_NO_PERSON)
_PROVES = TableRetention(kept=_AS_LONG_AS_THE_LEDGER, why="hashes that prove the history")
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
_SIGNS_IN = TableRetention(kept="until it has ended, and another is made", why=_NO_PERSON)
TABLES: Mapping[str, TableRetention] = {
    "access_tokens": TableRetention(kept="until renewed", why=_NO_PERSON),
    "anchors": _PROVES,
    "api_keys": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER, why=f"{_NO_PERSON}; events name the key that published them"
    ),
    "application_items": TableRetention(
        kept="until it is taken away (`izin customers checklist`), or the customer is offboarded",
        why=f"{_NO_PERSON}; may name a signatory of the customer",
    ),
    "bootstraps": _STAYS,
    "brakes": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why=f"{_NO_PERSON}; opt-outs name the suspension that held them back",
    ),
    "brands": _STAYS,
    "chain_cuts": _PROVES,
    "chains": _PROVES,
    "complaints": TableRetention(
        kept="while it is open, and 10 years after it was closed",
        why="the answer to an authority; 6563 m.11/3",
        period=timedelta(days=3653),
    ),
    "console_accounts": _STAYS,
    "console_links": _SIGNS_IN,
    "console_mappings": _STAYS,
    "console_sessions": _SIGNS_IN,
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
    "delivery_cursors": _STAYS,
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
    "kafka_offsets": _STAYS,
    "leases": _STAYS,
    "legal_holds": TableRetention(
        kept="10 years after its release",
        why="shows why history was kept longer (6563 m.11/3); may name a key",
        period=timedelta(days=3653),
    ),
    "list_readings": _STAYS,
    "migrations": _STAYS,
    "month_reports": _STAYS,
    "history_months": _STAYS,
    "history": TableRetention(
        kept="10 years, and 3 years after the consent ended",
        why="6563 m.11/3, Yönetmelik m.13; whole months are dropped by `izin retention drop`",
    ),
    "offboardings": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why=f"{_NO_PERSON}; the digest of the archive that was handed over",
    ),
    "opt_in_counts": TableRetention(kept="until the limits are taken away", why=_NO_PERSON),
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
    "rate_limits": _STAYS,
    "processes": TableRetention(kept="until others find it silent", why=_NO_PERSON),
    "recent_opt_outs": TableRetention(
        kept="1 hour",
        why="which source opted a recipient out: counted within an hour",
        period=WINDOW,
    ),
    "recorded_offsets": _STAYS,
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
    "sequences": _STAYS,
    "shadow_consents": _SHADOW,
    "shadow_differences": _SHADOW,
    "shadow_slices": _SHADOW,
    "stream_cursors": _STAYS,
    "submission_items": _SETTLED,
    "submissions": _SETTLED,
    "subscribers": TableRetention(
        kept="until they are removed", why=f"{_NO_PERSON}; the history has who was removed"
    ),
    "sweeps": TableRetention(
        kept=_AS_LONG_AS_THE_LEDGER,
        why="names the last recipient that was queried, and only until it ends",
    ),
    "suspension_orders": TableRetention(kept="until it is ended", why=_NO_PERSON),
    "suspensions": TableRetention(kept="until its cause is gone", why=_NO_PERSON),
    "unknown_brands": _STAYS,
    "via_requests": TableRetention(
        kept="30 days", why="shows how often somebody was asked; the history has it", period=_MONTH
    ),
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
    names = "rate_limit_hours legal_holds delivery_attempts recent_opt_outs complaints via_requests"
    for table in names.split():
        deleted[table] = await _delete_rows(ledger, table, now)
    if any(deleted.values()):
        _log.info("expired rows deleted", **deleted)
    return deleted


async def _delete_submissions(ledger: Ledger, now: datetime, size: int) -> int:
    before, place, deleted = now - _period("submissions"), (_FIRST, 0), 0
    while True:
        values = {"before": before, "after": place[0], "after_id": place[1], "size": size}
        async with ledger.transaction() as connection:
            found = await fetch(connection, _EXPIRED["settled"], values)
            if not found:
                return deleted
            # What stays is skipped, so that it keeps no other row back.
            place = (found[-1]["settled_at"], found[-1]["id"])
            gone = {"ids": await _deletable(connection, [row["id"] for row in found])}
            await connection.execute(_EXPIRED["delete-items"], gone)
            await connection.execute(_EXPIRED["delete-submissions"], gone)
        deleted += len(gone["ids"])


async def _deletable(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Return the ones among settled submissions that need not stay."""
    kept = await fetch(connection, _EXPIRED["kept"], {"ids": ids})
    if unrecorded := [row["id"] for row in kept if row["is_unrecorded"]]:
        _log.critical("settled submissions not in the history", submissions=unrecorded)
    stay = {row["id"] for row in kept}
    return [id_ for id_ in ids if id_ not in stay]


async def _delete_rows(ledger: Ledger, table: str, now: datetime) -> int:
    values: dict[str, Any] = {"before": now - _period(table), "size": _ROWS}
    deleted = 0
    while True:
        async with ledger.transaction() as connection:
            count = (await connection.execute(_EXPIRED[f"delete-{table}"], values)).rowcount
        deleted += count
        if count < _ROWS:
            return deleted


def _period(table: str) -> timedelta:
    period = TABLES[table].period
    if period is None:
        raise LookupError(f"{table} states no period")
    return period
