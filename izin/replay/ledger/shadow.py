"""The shadow: what the rows of the ledger follow from, folded again from its history.

A key is folded by the code that ingests decisions. The result has the columns of
``record.column_lists.SHADOW``: what the law decided, and the terms. What İYS holds and what is due
follow from more than decisions, and are not computed here. The history has, in the order of
recording: decisions, rows that were restored from the topic of desired consents, and the acts by
which a person vouched for a consent over an opt-out.

The shadow is filled part by part of the keys, in processes of their own. A part is a range of the
digests of keys, so every movement of a key is in one part, whichever chain has it. It is read by
one COPY in the order of keys and written by another, in one transaction with its entry in
``shadow_slices``: after a kill the parts that are done stay done.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple, Self

from izin.consent.business_days import Calendar
from izin.consent.enums import STATUSES
from izin.consent.fold import BOOTSTRAP, restored_consent
from izin.consent.model import Consent, ConsentKey
from izin.consent.next_action import ActionReason
from izin.consent.transitions import State
from izin.replay.plan import Plan
from izin.replay.processes import EVERY, Advance, working
from izin.runtime.settings import LedgerSettings
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ingest.simple_decisions import DecisionApplier
from izin.sinks.ledger import brands
from izin.sinks.ledger.bulk.alike import columns_of
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import KIND as ACT
from izin.sinks.ledger.history.formats import history_codec
from izin.sinks.ledger.registry.row_owner import owned, received
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import SHADOW
from izin.sinks.record.consent_row import ConsentRow

MOVEMENTS_A_SLICE = 250_000
"""About so many movements are sorted at a time."""
_CHUNK = 400
_DIGESTS = 1 << 64
_FIRST_DIGEST = -(1 << 63)
_TYPES = (
    *("text", "text", "text", "timestamptz", "bytea"),
    *("text", "text", "timestamptz", "text"),
)
"""Of the columns of ``copy-out``."""
_ROW: Final = (len(SHADOW) + 2).to_bytes(2, "big")
_SQL = statements("rebuild")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowWork:
    """What is folded into the shadow; the same for every process."""

    rebuild: str
    """Its name, random."""
    heads: Mapping[int, int]
    """By shard: up to which place the history is read."""
    now: datetime
    slices: int
    selected: Mapping[str, list[str] | None]
    """The keys, recipients and brands that are selected; None: any."""

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return what ``plan`` folds into the shadow."""
        selection = plan.selection
        return cls(
            rebuild=plan.options["rebuild"],
            heads=dict(plan.history),
            now=plan.made_at,
            slices=plan.options["slices"],
            selected={
                "keys": sorted(selection.keys) or None,
                "recipients": sorted(selection.recipients) or None,
                "brands": sorted(map(str, selection.brands)) or None,
            },
        )

    @property
    def values(self) -> dict[str, object]:
        """The values of statements that read what is selected, up to the heads."""
        places = {"shards": list(self.heads), "places": list(self.heads.values())}
        return {**places, **self.selected}

    def bounds(self, number: int) -> dict[str, int]:
        """Return the first and the last digest of a key of a part."""
        first, behind = (_DIGESTS * one // self.slices for one in (number, number + 1))
        return {"first": _FIRST_DIGEST + first, "last": _FIRST_DIGEST + behind - 1}


class StoredMovement(NamedTuple):
    """A movement of a key, as the history has it."""

    kind: str
    customer_id: str
    key: str
    recorded_at: datetime
    decision: bytes | None
    event_id: str | None
    status: str | None
    occurred_at: datetime
    data: str | None
    """JSON."""


class ErasedState(NamedTuple):
    """The erasure of a key's state."""

    requested_at: datetime
    acknowledged_at: datetime
    removed_at: datetime | None
    """None: its row is still there."""


class HistoryFold:
    """Folds keys, at one instant."""

    def __init__(
        self,
        brands: Mapping[int, Brand],
        erased: Mapping[str, ErasedState],
        *,
        now: datetime,
        calendar: Calendar,
    ) -> None:
        self._brands = brands
        self._erased = erased
        self._now = now
        self._calendar = calendar
        self._reader = DecisionReader(history_codec())
        self._applier = DecisionApplier(self._reader)

    def row(self, movements: Sequence[StoredMovement]) -> bytes | None:
        """Return the row of the key of ``movements``, all that it has, for COPY; None: nothing is
        left of it, or its erasure is not done.
        """
        found = self.fold(movements)
        if found is None:
            return None
        row, passed_over = found
        parked = row.reason if row.state is State.PARKED else None
        more = copy_format.word(passed_over) + copy_format.word(parked)
        return _ROW + columns_of(row, SHADOW) + more

    def fold(self, movements: Sequence[StoredMovement]) -> tuple[ConsentRow, str | None] | None:
        """Return the row of the key of ``movements`` with its terms, and the event of another
        customer's opt-in that was passed over; None as in :meth:`row`.
        """
        row: ConsentRow | None = None
        passed_over: str | None = None
        for one in self._counting(movements):
            before = row
            if one.decision is not None:
                decision = self._reader.read(one.decision)
                row = self._applier.apply(row, decision, self._now)
                if decision.customer_id != one.customer_id:
                    desired = row.desired_event_id
                    row = self._received(before, row, one.customer_id)
                    passed_over = None if row.desired_event_id == desired else desired
            elif one.kind == BOOTSTRAP:
                row = apply.restored(row, _restored(one), self._now)
            elif row is not None and row.is_of(one.event_id, one.status):
                row = _requeued(row, one)
        if row is None:
            return None
        brand = self._brands.get(row.brand_code)
        row = ruling.with_terms(owned(row, brand), brand, self._now, calendar=self._calendar)
        return row, passed_over

    def _counting(self, movements: Sequence[StoredMovement]) -> Sequence[StoredMovement]:
        """Return those of ``movements`` that count: none of a key that is being erased, and after
        its erasure only what was decided since.
        """
        erased = self._erased.get(movements[0].key)
        if erased is None:
            return movements
        if erased.removed_at is None:
            return ()
        return [
            one
            for one in movements
            if one.recorded_at > erased.acknowledged_at or self._is_later(one, erased.requested_at)
        ]

    def _is_later(self, one: StoredMovement, than: datetime) -> bool:
        """Whether an event is later than the erasure: an opt-out may be stored ahead of it."""
        return one.kind != ACT and one.occurred_at > than

    def _received(self, before: ConsentRow | None, row: ConsentRow, customer_id: str) -> ConsentRow:
        """Return the row after an event that names another customer than its brand's then was."""
        brand = self._brands.get(row.brand_code)
        if brand is None:
            return row
        return received(before, row, replace(brand, customer_id=customer_id), lambda _: None)


def _restored(one: StoredMovement) -> Consent:
    """Return the consent of a restoration, as far as the history has it."""
    return restored_consent(
        ConsentKey.parse(one.key),
        customer_id=one.customer_id,
        event_id=one.event_id or "",
        status=STATUSES[one.status or ""],
        effective_at=one.occurred_at,
        data=json.loads(one.data or "{}"),
    )


def _requeued(row: ConsentRow, one: StoredMovement) -> ConsentRow:
    """Return the row as a person has requeued it."""
    before = json.loads(one.data or "{}").get("before", {})
    if before.get("reason") == ActionReason.RECONSENT:
        row = row.replace(attested=True)
    return ruling.requeue(row) if row.state is State.PARKED else row


async def filled(ledger: Ledger, work: ShadowWork) -> set[int]:
    """Return the parts of the shadow that are done."""
    rows = await ledger.fetch(_SQL["slices"], {"rebuild": work.rebuild})
    return {row["slice"] for row in rows}


async def fill(
    ledger: Ledger,
    settings: LedgerSettings,
    work: ShadowWork,
    *,
    workers: int,
    report: Callable[[int, int], None],
) -> None:
    """Fold the parts that are not done yet, in so many processes (one is this process); ``report``
    gets how many of how many are done.

    Raises:
        ProcessEndedError: a process ended before it was done; the parts that are done stay.
    """
    done = await filled(ledger, work)
    left = [number for number in range(work.slices) if number not in done]
    if workers == 1 or not left:
        for number in left:
            await _fold_slice(settings, work, number)
        return
    with working(_fold_apart, (settings, work), left, min(workers, len(left))) as running:
        while not running.is_done():
            await asyncio.sleep(EVERY)
            report(len(done) + running.progress, work.slices)


def _fold_apart(settings: LedgerSettings, work: ShadowWork, number: int, advance: Advance) -> None:
    """Fold a part, in a process of its own."""
    asyncio.run(_fold_slice(settings, work, number))
    advance(1)


async def _fold_slice(settings: LedgerSettings, work: ShadowWork, number: int) -> None:
    """Fold one part, unless it is done."""
    part = {"rebuild": work.rebuild, "slice": number}
    async with (
        Ledger(settings, owner=1) as ledger,
        ledger.session() as reading,
        ledger.session() as writing,
        writing.transaction(),
    ):
        if await (await writing.execute(_SQL["begin-slice"], part)).fetchone() is None:
            return
        known = {one.brand_code: one for one in await brands.every(ledger)}
        erased = {
            row.pop("key"): ErasedState(**row) for row in await ledger.fetch(_SQL["erasures"])
        }
        fold = HistoryFold(known, erased, now=work.now, calendar=ledger.calendar)
        await reading.execute(_SQL["session"])
        rows: list[bytes] = []
        async with (
            writing.cursor() as cursor,
            cursor.copy(_SQL["copy-in"]) as shadow,
            aclosing(_keys(reading, work, number)) as keys,
        ):
            await shadow.write(copy_format.SIGNATURE)
            async for movements in keys:
                row = fold.row(movements)
                if row is not None:
                    rows.append(row)
                if len(rows) == _CHUNK:
                    await shadow.write(b"".join(rows))
                    rows.clear()
                    await asyncio.sleep(0)  # for the heartbeat, where it is in this process
            await shadow.write(b"".join(rows) + copy_format.END)


async def _keys(
    reading: Connection, work: ShadowWork, number: int
) -> AsyncGenerator[Sequence[StoredMovement], None]:
    """Yield the movements of each key of a part."""
    values = {**work.values, **work.bounds(number)}
    async with reading.cursor() as cursor, cursor.copy(_SQL["copy-out"], values) as found:
        found.set_types(_TYPES)
        group: list[StoredMovement] = []
        async for row in found.rows():
            one = StoredMovement._make(row)
            if group and group[0].key != one.key:
                yield group
                group = []
            group.append(one)
        if group:
            yield group
