"""What a person decides about the opt-outs, or the opt-ins over opt-outs, that an automatic
suspension holds back: release or withdraw them.

It is decided once; then its rows follow, page by page. The same order again carries out what
was cut off. Where nobody decides, each opt-out goes by itself a day before it is due; an opt-in
expires with its term.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from izin.consent import WAITING, Status
from izin.ledger.automatic_suspension.counting import SourcedEvent, sources_of
from izin.ledger.brands import of_codes
from izin.ledger.db import Connection, Ledger, fetch, fetch_one, notifications, statements
from izin.ledger.history import HistoryEntry, act, brand_key, history_codec, record_act
from izin.ledger.record import (
    Brand,
    ConsentRow,
    DecidedSuspensionError,
    TopicMessages,
    apply,
    ruling,
    said_of_opt_out,
    taken_over,
)
from izin.ledger.unit_of_work import UnitOfWork, lock, unit_of_work
from izin.schemas.records import event_from_avro

BEFORE_DUE = timedelta(hours=24)
"""No opt-out is held back later than this before it is due."""
_PAGE = 1000
_SQL = statements("automatic_suspensions")
_NEVER = datetime.min.replace(tzinfo=UTC)


class SuspensionDecision(StrEnum):
    """What a person has decided."""

    RELEASED = "released"
    """They are registered at İYS."""
    WITHDRAWN = "withdrawn"
    """They are not; they stay opt-outs, and nothing may be sent to their recipients."""

    @property
    def order(self) -> str:
        """The command that orders it."""
        return "release" if self is SuspensionDecision.RELEASED else "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomaticSuspension:
    """One of a source of a brand, and what it holds back."""

    id: int
    customer_id: str
    brand_code: int
    source: str
    """The API key that published them, else their origin."""
    status: str
    """Of what is held back: RET, or ONAY over RET."""
    tripped_at: datetime
    keys: int
    """How many the source had opted out, or reversed, within the hour."""
    opted_in: int
    """How many keys of the brand desired ONAY then; 0 of opt-ins."""
    share: float
    """The share that the customer allows, in percent; 0 of opt-ins."""
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
        """When the first opt-out of them is registered, if nobody decides before."""
        if self.first_due_at is None or self.status != Status.RET:
            return None
        return self.first_due_at - BEFORE_DUE

    @property
    def words(self) -> str:
        """What it holds back, in words."""
        return "opt-outs" if self.status == Status.RET else "opt-ins over opt-outs"


async def undecided(ledger: Ledger) -> tuple[AutomaticSuspension, ...]:
    """Return those that are open, and those whose decision was not carried out to its end."""
    return tuple(AutomaticSuspension(**row) for row in await ledger.fetch(_SQL["undecided"]))


async def carry_out(  # noqa: PLR0913  # which, what, why, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    suspension: AutomaticSuspension,
    decision: SuspensionDecision,
    *,
    reason: str,
    by: str,
    now: datetime,
) -> tuple[int, int]:
    """Have what ``suspension`` holds back registered at İYS, or not, by a person's ``decision``;
    return of how many, and how many withdrawn opt-outs are due all the same, for another source has
    opted their recipients out too.

    The history has who ordered it, ``by``, and the ``reason``: of the brand, and of each that is
    withdrawn. Opt-outs stay opt-outs; of an opt-in the opt-out before it is due again, where İYS
    may not have it.

    Raises:
        DecidedSuspensionError: it was decided otherwise.
    """
    await _decide(ledger, suspension, decision, reason=reason, by=by, now=now)
    done, left = 0, 0
    while True:
        async with unit_of_work(ledger, topic_messages, now) as changes:
            page = await _page(changes.connection, suspension)
            if page is None:
                return done, left
            brands = await of_codes(changes.connection, [suspension.brand_code])
            waiting = {row.key: row for row in page if row.state in WAITING}
            withdrawn = waiting if decision is SuspensionDecision.WITHDRAWN else {}
            due: set[str] = set()
            if suspension.status == Status.RET:
                due = await put_back(changes, withdrawn.values(), brands)
            done, left = done + len(waiting) - len(due), left + len(due)
            for row in page:
                if row.key in withdrawn:
                    changes.add_entry(_withdrawn(row, suspension, reason, by, now))
                if row.key not in withdrawn:
                    # Also what İYS has shown meanwhile, so that there is nothing to register.
                    changes.put(row, row.replace(brake_id=None))
                elif row.key not in due:
                    void, brand = ruling.withdraw(row, now), brands.get(row.brand_code)
                    changes.close(row, void, brand)


async def end(ledger: Ledger, *, now: datetime, size: int) -> int:
    """Let opt-outs go that are due within a day, ``size`` at most; return how many."""
    async with ledger.transaction() as connection:
        ended = (await connection.execute(_SQL["end"], {"now": now, "size": size})).rowcount
        if ended:
            await connection.execute(f"NOTIFY {notifications.OPT_OUTS}")
    return ended


async def _page(connection: Connection, suspension: AutomaticSuspension) -> list[ConsentRow] | None:
    """Return rows that ``suspension`` holds back, locked; None: there are none any more.

    A row that went meanwhile is left out, so that a page may be empty.
    """
    found = await fetch(connection, _SQL["held-back"], {"id": suspension.id, "size": _PAGE})
    if not found:
        return None
    return [
        row
        for row in (await lock(connection, (row["key"] for row in found))).values()
        if row.brake_id == suspension.id
    ]


async def _decide(  # noqa: PLR0913  # what, why, and by whose order
    ledger: Ledger,
    suspension: AutomaticSuspension,
    decision: SuspensionDecision,
    *,
    reason: str,
    by: str,
    now: datetime,
) -> None:
    """Note the decision, unless it was noted before; raises DecidedSuspensionError."""
    async with ledger.transaction() as connection:
        values = {"id": suspension.id, "decision": decision, "reason": reason, "by": by, "now": now}
        if await fetch_one(connection, _SQL["decide"], values) is None:
            (row,) = await fetch(connection, _SQL["decision"], values)
            if row["decision"] != decision:
                raise DecidedSuspensionError(suspension.source, row["decision"])
            return
        await record_act(
            connection,
            f"{decision.order} {suspension.words}",
            brand_key(suspension.brand_code),
            by=by,
            now=now,
            before={
                "source": suspension.source,
                "tripped_at": suspension.tripped_at,
                "held_back": suspension.held_back,
            },
            after={"source": suspension.source, "decision": decision, "why": reason},
            customer_id=suspension.customer_id,
        )


def _withdrawn(
    row: ConsentRow, suspension: AutomaticSuspension, reason: str, by: str, now: datetime
) -> HistoryEntry:
    """Return the statement of a person that an opt-out or opt-in is not registered, and why."""
    return act(
        "withdraw opt-out" if suspension.status == Status.RET else "withdraw opt-in",
        row.key,
        by=by,
        now=now,
        before={
            "state": row.state,
            "source": suspension.source,
            "tripped_at": suspension.tripped_at,
        },
        after={"state": ruling.WITHDRAWN, "why": reason},
        customer_id=row.customer_id,
        event_id=row.desired_event_id,
        status=row.desired_status,
    )


async def put_back(
    changes: UnitOfWork, rows: Collection[ConsentRow], brands: Mapping[int, Brand]
) -> set[str]:
    """Desire the opt-out of another source in place of that of each of the locked ``rows`` that has
    one; return their keys.
    """
    connection = changes.connection
    found = await fetch(connection, _SQL["opt-outs-of-keys"], {"keys": [row.key for row in rows]})
    withdrawn = {(one["key"], one["event_id"]) for one in found if one["decision"] is None}
    decided = [
        (one["key"], decision, event)
        for one in found
        if one["decision"] is not None
        and (decision := history_codec().decode("Decision", one["decision"]))
        and (event := decision["event"])["status"] == Status.RET
    ]
    named = [
        SourcedEvent(event["brand_code"], key, event["event_id"], event["actor"], event["origin"])
        for key, _, event in decided
    ]
    by_key = defaultdict[str, list[tuple[str, Mapping[str, Any]]]](list)
    for source, (key, decision, _) in zip(
        await sources_of(connection, named), decided, strict=True
    ):
        by_key[key].append((source, decision))
    back = set()
    for row in rows:
        events = by_key[row.key]
        own = {source for source, one in events if _id(one) == row.desired_event_id} or {
            row.desired_origin or ""
        }
        others = [
            one
            for source, one in events
            if source not in {ruling.RESCUE, *own}
            and one["event"]["iys"] is None
            and one["effective_at"] >= (row.latest_onay_at or _NEVER)
            and (row.key, _id(one)) not in withdrawn
        ]
        if others:
            latest = max(others, key=lambda one: (one["effective_at"], _id(one)))
            changes.rule(row, _desiring(row, latest), brands.get(row.brand_code))
            back.add(row.key)
    return back


def _id(decision: Mapping[str, Any]) -> str:
    return str(decision["event"]["event_id"])


def _desiring(row: ConsentRow, decision: Mapping[str, Any]) -> ConsentRow:
    """Return ``row`` once it desires the opt-out that was decided on."""
    shown = row.replace(
        latest_ret_at=decision["effective_at"],
        **said_of_opt_out(event_from_avro(decision["event"]), decision),
    )
    return taken_over(row, **apply.columns_of_earlier(shown))
