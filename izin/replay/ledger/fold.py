"""Fold the history of a key into what its row follows from, by the code that ingests decisions.

The result has the columns of ``record.column_lists.SHADOW``: what the law decided, and the terms.
What İYS holds and what is due follow from more than decisions, and are not computed here. The
history has, in the order of recording: decisions, rows that were restored from the topic of desired
consents, and the acts by which a person vouched for a consent over an opt-out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from izin.consent.business_days import Calendar
from izin.consent.enums import STATUSES
from izin.consent.fold import BOOTSTRAP, restored_consent
from izin.consent.model import Consent, ConsentKey
from izin.consent.next_action import ActionReason
from izin.consent.transitions import State
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ingest.simple_decisions import DecisionApplier
from izin.sinks.ledger.bulk.alike import columns_of
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.history.acts import KIND as ACT
from izin.sinks.ledger.history.formats import history_codec
from izin.sinks.ledger.registry.ownership import owned, received
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import SHADOW
from izin.sinks.record.consent_row import ConsentRow

_ROW: Final = (len(SHADOW) + 2).to_bytes(2, "big")


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
