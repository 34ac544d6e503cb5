"""The shadow: what the rows of the ledger follow from, folded again from its history.

A key is folded by the code that ingests decisions. The result has the columns of
``record.consent_row.SHADOW``: what the law decided, and the terms. What İYS holds and what is due
follow from more than decisions, and are not computed here. The history has, in the order of
recording: decisions, rows that were restored from the topic of desired consents, and the acts by
which a person vouched for a consent over an opt-out.

The shadow is filled slice by slice of the keys (``history.by_key``), in processes of their own. All
entries of a key are in one slice, whichever chain has them. Its rows are written in one
transaction with its entry in ``shadow_slices``: after a kill the slices that are done stay done.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from izin.consent import (
    BOOTSTRAP,
    STATUSES,
    ActionReason,
    Calendar,
    ConsentKey,
    State,
    restored_consent,
)
from izin.ledger import brands
from izin.ledger.bulk.alike import columns_of
from izin.ledger.db import Ledger, copy, copy_format, statements
from izin.ledger.history import KeyHistory, KeySlice, by_key, history_codec
from izin.ledger.history.append import KIND as ACT
from izin.ledger.record import SHADOW, Brand, ConsentRow, apply, ruling
from izin.ledger.registry.ownership import owned, received
from izin.replay.processes import EVERY, Advance, working
from izin.runtime.plan import OnProgress, Plan
from izin.runtime.settings import LedgerSettings
from izin.sinks.ingest.decision_reader import DecisionApplier, DecisionReader

ENTRIES_A_SLICE = 20_000
"""At most about so many entries are in memory at a time, and read within the time that one
statement has.
"""
_CHUNK = 400
_KINDS = ("decision", BOOTSTRAP, ACT)
"""Of the entries that a row may follow from."""
_ROW: Final = (len(SHADOW) + 2).to_bytes(2, "big")
_SQL = statements("rebuild")


def selected(plan: Plan) -> Mapping[str, list[str] | None]:
    """Return the keys, recipients and brands that are selected, as values of statements; None:
    any.
    """
    selection = plan.selection
    return {
        "keys": sorted(selection.keys) or None,
        "recipients": sorted(selection.recipients) or None,
        "brands": sorted(map(str, selection.brands)) or None,
    }


HistoryEntry = Mapping[str, Any]
"""An entry of a key, as ``history.by_key`` has it."""
Erasure = Mapping[str, Any]
"""A row of the statement ``erasures``; without ``removed_at`` the row of the key is still there."""


class HistoryFold:
    """Folds keys, at one instant."""

    def __init__(
        self,
        brands: Mapping[int, Brand],
        erased: Mapping[str, Erasure],
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

    def row(self, entries: Sequence[HistoryEntry]) -> bytes | None:
        """Return the row of the key of ``history``, all that it has, for COPY: with its terms,
        the event of another customer's opt-in that was skipped, and why it is parked. None:
        nothing is left of it, or its erasure is not done.
        """
        row: ConsentRow | None = None
        passed_over: str | None = None
        for one in self._counting(entries):
            before = row
            if one["decision"] is not None:
                decision = self._reader.read(one["decision"])
                row = self._applier.apply(row, decision, self._now)
                if decision.customer_id != one["customer_id"]:
                    desired = row.desired_event_id
                    row = self._received(before, row, one["customer_id"])
                    passed_over = None if row.desired_event_id == desired else desired
            elif one["kind"] == BOOTSTRAP:
                consent = restored_consent(
                    ConsentKey.parse(one["key"]),
                    customer_id=one["customer_id"],
                    event_id=one["event_id"] or "",
                    status=STATUSES[one["status"] or ""],
                    effective_at=one["occurred_at"],
                    data=one["data"] or {},
                )
                row = apply.restored(row, consent, self._now)
            elif row is not None and one["data"]["act"] == "requeue":
                row = _requeued(row, one)
        if row is None:
            return None
        brand = self._brands.get(row.brand_code)
        row = ruling.with_terms(owned(row, brand), brand, self._now, calendar=self._calendar)
        parked = row.reason if row.state is State.PARKED else None
        return (
            _ROW
            + columns_of(row, SHADOW)
            + copy_format.word(passed_over)
            + copy_format.word(parked)
        )

    def _counting(self, entries: Sequence[HistoryEntry]) -> Sequence[HistoryEntry]:
        """Return those of ``history`` that count: none of a key that is being erased, and after
        its erasure only what was decided since.
        """
        erased = self._erased.get(entries[0]["key"])
        if erased is None:
            return entries
        if erased["removed_at"] is None:
            return ()
        return [
            entry
            for entry in entries
            if entry["recorded_at"] > erased["acknowledged_at"]
            # An opt-out that is later than the erasure may be stored ahead of it.
            or (entry["kind"] != ACT and entry["occurred_at"] > erased["requested_at"])
        ]

    def _received(self, before: ConsentRow | None, row: ConsentRow, customer_id: str) -> ConsentRow:
        """Return the row after an event that names another customer than its brand's then was."""
        brand = self._brands.get(row.brand_code)
        if brand is None:
            return row
        return received(before, row, replace(brand, customer_id=customer_id), lambda _: None)


def _requeued(row: ConsentRow, one: HistoryEntry) -> ConsentRow:
    """Return the row as a person has requeued it; one of another event stays."""
    if not row.is_of(one["event_id"], one["status"]):
        return row
    if one["data"]["before"].get("reason") == ActionReason.RECONSENT:
        row = row.replace(attested=True)
    return ruling.requeue(row) if row.state is State.PARKED else row


async def filled(ledger: Ledger, plan: Plan) -> set[int]:
    """Return the slices of the shadow of ``plan`` that are done."""
    return {
        row["slice"]
        for row in await ledger.fetch(_SQL["slices"], {"rebuild": plan.options["rebuild"]})
    }


async def fill(
    ledger: Ledger,
    settings: LedgerSettings,
    plan: Plan,
    *,
    workers: int,
    report: OnProgress,
) -> None:
    """Fold the slices that are not done yet, in so many processes (one is this process); ``report``
    gets how many of how many are done.

    Raises:
        OurError: a process ended before it was done; the slices that are done stay.
    """
    done, slices = await filled(ledger, plan), plan.options["slices"]
    left = [number for number in range(slices) if number not in done]
    if workers == 1 or not left:
        for number in left:
            await _fold_slice(settings, plan, number)
        return
    with working(_fold_apart, (settings, plan), left, min(workers, len(left))) as running:
        while not running.is_done():
            await asyncio.sleep(EVERY)
            report(len(done) + running.progress, slices)


def _fold_apart(settings: LedgerSettings, plan: Plan, number: int, advance: Advance) -> None:
    """Fold a slice, in a process of its own."""
    asyncio.run(_fold_slice(settings, plan, number))
    advance(1)


async def _fold_slice(settings: LedgerSettings, plan: Plan, number: int) -> None:
    """Fold one slice, unless it is done."""
    entry = {"rebuild": plan.options["rebuild"], "slice": number}
    keys = KeySlice(number, plan.options["slices"])
    async with (
        Ledger(settings, owner=1) as ledger,
        ledger.session() as connection,
        connection.transaction(),
    ):
        if await (await connection.execute(_SQL["begin-slice"], entry)).fetchone() is None:
            return
        known = {brand.brand_code: brand for brand in await brands.every(ledger)}
        low, high = keys.bounds
        erased = {
            row["key"]: row
            for row in await ledger.fetch(_SQL["erasures"], {"low": low, "high": high})
        }
        fold = HistoryFold(known, erased, now=plan.made_at, calendar=ledger.calendar)
        entries = await by_key.in_slice(ledger, keys, plan.history, kinds=_KINDS, **selected(plan))
        await copy(connection, _SQL["copy-in"], _chunks(fold, entries))


def _chunks(fold: HistoryFold, keys: Iterable[KeyHistory]) -> Iterator[bytes]:
    """Yield the rows of ``keys``, some at a time: in between is time for the heartbeat, where it is
    in this process.
    """
    rows = filter(None, (fold.row(entries) for _, entries in keys))
    while chunk := list(islice(rows, _CHUNK)):
        yield b"".join(chunk)
