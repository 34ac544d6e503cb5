"""What a person decides about the opt-outs that a brake holds back: release or withdraw them.

A brake is decided once; then its rows follow, page by page. The same order again carries out what
was cut off. Where nobody decides, each goes by itself a day before it is due.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from izin.consent.transitions import WAITING
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import act, brand_key, record_act
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.record import ruling
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.errors import DecidedBrakeError
from izin.sinks.record.messages import TopicMessages

BEFORE_DUE = timedelta(hours=24)
"""No opt-out is held back later than this before it is due."""
_PAGE = 1000
_SQL = statements("brakes")


class BrakeDecision(StrEnum):
    """What a person has decided."""

    RELEASED = "released"
    """They are registered at İYS."""
    WITHDRAWN = "withdrawn"
    """They are not; they stay opt-outs, and nothing may be sent to their recipients."""

    @property
    def order(self) -> str:
        """The command that orders it."""
        return "release" if self is BrakeDecision.RELEASED else "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """A brake that tripped, and what it holds back."""

    id: int
    customer_id: str
    brand_code: int
    source: str
    """The API key that published the opt-outs, else their origin."""
    tripped_at: datetime
    keys: int
    """How many the source had opted out within the hour."""
    opted_in: int
    """How many keys of the brand desired ONAY then."""
    share: float
    """The share that the customer allows, in percent."""
    decision: str | None
    """None: nobody has decided yet."""
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None
    held_back: int
    """How many wait to be registered."""
    first_due_at: datetime | None

    @property
    def first_until(self) -> datetime | None:
        """When the first of them is registered, if nobody decides before."""
        return None if self.first_due_at is None else self.first_due_at - BEFORE_DUE


async def undecided(ledger: Ledger) -> tuple[Brake, ...]:
    """Return the brakes that are open, and those whose decision was not carried out to its end."""
    return tuple(Brake(**row) for row in await ledger.fetch(_SQL["undecided"]))


async def release(ledger: Ledger, brake: Brake, *, reason: str, by: str, now: datetime) -> int:
    """Let the opt-outs that ``brake`` holds back be registered at İYS; return how many.

    The history of the brand has who ordered it, ``by``, and the ``reason``.

    Raises:
        DecidedBrakeError: they were withdrawn.
    """
    await _decide(ledger, brake, BrakeDecision.RELEASED, reason=reason, by=by, now=now)
    released = 0
    while True:
        async with ledger.transaction() as connection:
            page = await _page(connection, brake)
            if page is None:
                return released
            keys = [row.key for row in page]
            await connection.execute(_SQL["release"], {"keys": keys, "now": now})
            await connection.execute(f"NOTIFY {notifications.OPT_OUTS}")
        released += sum(row.state in WAITING for row in page)


async def withdraw(  # noqa: PLR0913  # which, why, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    brake: Brake,
    *,
    reason: str,
    by: str,
    now: datetime,
) -> int:
    """Have the opt-outs that ``brake`` holds back not registered at İYS; return how many.

    The history of each has who ordered it, ``by``, and the ``reason``. They stay opt-outs.

    Raises:
        DecidedBrakeError: they were released.
    """
    await _decide(ledger, brake, BrakeDecision.WITHDRAWN, reason=reason, by=by, now=now)
    withdrawn = 0
    while True:
        async with ledger.transaction() as connection:
            page = await _page(connection, brake)
            if page is None:
                return withdrawn
            changes = UnitOfWork(topic_messages, now=now)
            for row in page:
                if row.state in WAITING:
                    withdrawn += 1
                    changes.put(row, ruling.withdraw(row, now))
                    changes.add_movement(_withdrawn(row, brake, reason, by, now))
                else:
                    # İYS has shown meanwhile that there is nothing to register.
                    changes.put(row, row.replace(brake_id=None))
            await changes.write(connection)


async def end(ledger: Ledger, *, now: datetime, size: int) -> int:
    """Let opt-outs go that are due within a day, ``size`` at most; return how many."""
    async with ledger.transaction() as connection:
        ended = (await connection.execute(_SQL["end"], {"now": now, "size": size})).rowcount
        if ended:
            await connection.execute(f"NOTIFY {notifications.OPT_OUTS}")
    return ended


async def _page(connection: Connection, brake: Brake) -> list[ConsentRow] | None:
    """Return rows that ``brake`` holds back, locked; None: there are none any more.

    A row that went meanwhile is left out, so that a page may be empty.
    """
    values = {"id": brake.id, "size": _PAGE}
    found = await (await connection.execute(_SQL["held-back"], values)).fetchall()
    if not found:
        return None
    rows = await lock(connection, (row["key"] for row in found))
    return [row for row in rows.values() if row.brake_id == brake.id]


async def _decide(  # noqa: PLR0913  # what, why, and by whose order
    ledger: Ledger, brake: Brake, decision: BrakeDecision, *, reason: str, by: str, now: datetime
) -> None:
    """Note the decision, unless it was noted before; raises DecidedBrakeError."""
    async with ledger.transaction() as connection:
        values = {"id": brake.id, "decision": decision, "reason": reason, "by": by, "now": now}
        if await (await connection.execute(_SQL["decide"], values)).fetchone() is None:
            (row,) = await (await connection.execute(_SQL["decision"], values)).fetchall()
            if row["decision"] != decision:
                raise DecidedBrakeError(brake.source, row["decision"])
            return
        await record_act(
            connection,
            f"{decision.order} opt-outs",
            brand_key(brake.brand_code),
            by=by,
            now=now,
            before={
                "source": brake.source,
                "tripped_at": brake.tripped_at,
                "held_back": brake.held_back,
            },
            after={"source": brake.source, "decision": decision, "why": reason},
            customer_id=brake.customer_id,
        )


def _withdrawn(row: ConsentRow, brake: Brake, reason: str, by: str, now: datetime) -> Movement:
    """Return the statement of a person that an opt-out is not registered, and why."""
    return act(
        "withdraw opt-out",
        row.key,
        by=by,
        now=now,
        before={"state": row.state, "source": brake.source, "tripped_at": brake.tripped_at},
        after={"state": ruling.WITHDRAWN, "why": reason},
        customer_id=row.customer_id,
        event_id=row.desired_event_id,
        status=row.desired_status,
    )
