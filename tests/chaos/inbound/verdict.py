"""What the inbound campaign judges at the end: İYS's movements against the history and the ledger.

A movement must stand in the history as one observation of a pull, and as a decision that applied it
or found it stale: it is missing where either lacks, double where two observations have it or where
it was applied twice. What the ledger says is registered must be what İYS's register has.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from izin.consent import DecisionKind
from izin.iys.wire_format import IysMovement, JsonReader, Stream
from izin.ledger.db import Ledger
from izin.ledger.history import decision_columns
from izin.ledger.record import Brand, event_of

_HISTORY = """SELECT kind, event_id, source, decision FROM movements
    WHERE kind IN ('decision', 'observation') AND commitment IS NULL"""
_REGISTERED = "SELECT key, registered FROM consents WHERE registered IS NOT NULL"
_OLDEST_PULL = "SELECT min(last_pulled_at) AS oldest FROM stream_cursors"
_PULLED = f"pull/{Stream.IYS}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFact:
    """What the history has of an event: an observation by its source, or a decision by its kind."""

    event_id: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundVerdict:
    """What came of a campaign."""

    movements: int
    decisions: int
    missing: Sequence[str]
    double: Sequence[str]
    differing: Sequence[str]
    """Keys of which the ledger says something else than İYS's register."""
    failed: Sequence[str] = ()
    """Processes that ended by themselves."""


def expected_events(rows: Iterable[Mapping[str, Any]], brand: Brand, at: datetime) -> set[str]:
    """Return the events that citizens' movements, as the simulator lists them, must become."""
    read = [
        IysMovement.read(JsonReader(row))
        for row in rows
        if str(row["source"] or "").startswith("IYS_")
    ]
    return {event_of(one, brand, Stream.IYS, path="pull", at=at).event_id for one in read}


async def recorded_facts(ledger: Ledger) -> list[RecordedFact]:
    """Return the decisions and observations of the history."""
    found = []
    for row in await ledger.fetch(_HISTORY):
        if row["decision"] is None:
            found.append(RecordedFact(event_id=row["event_id"], what=row["source"]))
            continue
        columns = decision_columns(row["decision"])
        fact = RecordedFact(event_id=columns["event_id"], what=str(columns["data"]["kind"]))
        found.append(fact)
    return found


async def registered(ledger: Ledger) -> Mapping[str, str]:
    """Return what the ledger says is registered, by key."""
    return {row["key"]: row["registered"] for row in await ledger.fetch(_REGISTERED)}


def oldest_pull(ledger: Ledger) -> datetime | None:
    """Return since when every stream was read to its end; None: one never was."""

    async def read() -> datetime | None:
        async with ledger:
            (row,) = await ledger.fetch(_OLDEST_PULL)
            found: datetime | None = row["oldest"]
            return found

    return asyncio.run(read())


def judge(
    events: Iterable[str],
    facts: Iterable[RecordedFact],
    ledger: Mapping[str, str],
    register: Mapping[str, str],
    *,
    failed: Sequence[str] = (),
) -> InboundVerdict:
    """Return what is missing, double and different."""
    expected, pulled, applied, decided = set(events), Counter[str](), Counter[str](), set[str]()
    decisions = 0
    for fact in facts:
        if fact.what.startswith(_PULLED):
            pulled[fact.event_id] += 1
        elif fact.what in set(DecisionKind):
            decisions += 1
            decided.add(fact.event_id)
            applied[fact.event_id] += fact.what == DecisionKind.APPLY
    return InboundVerdict(
        movements=len(expected),
        decisions=decisions,
        missing=sorted(expected - (pulled.keys() & decided)),
        double=sorted(
            {one for one, count in (*pulled.items(), *applied.items()) if count > 1} & expected
        ),
        differing=[
            f"{key}: ledger {ledger.get(key)}, İYS {register.get(key)}"
            for key in sorted(register.keys() | ledger.keys())
            if ledger.get(key) != register.get(key)
        ],
        failed=failed,
    )
