"""Have the opt-outs of a batch, and its opt-ins over opt-outs, counted by their source, for brands
whose customer has set a brake.

Where no brand of a batch has one, this costs one statement a transaction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from izin.consent import WAITING, Status
from izin.ledger.brake import counting
from izin.ledger.brake.counting import SourcedEvent, Watched
from izin.ledger.db import Connection
from izin.ledger.record import RESCUE, ConsentRow
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeWatch:
    """The decisions of one batch on brands with a brake, and the rows as they were before."""

    reader: DecisionReader
    watched: Watched
    decisions: Mapping[str, Sequence[IncomingDecision]]
    """By key, in their order."""
    before: Mapping[str, ConsentRow]

    @classmethod
    def begin(
        cls,
        reader: DecisionReader,
        watched: Watched,
        decisions: Sequence[IncomingDecision],
        rows: Mapping[str, ConsentRow],
    ) -> BrakeWatch:
        """Watch ``decisions`` on the brands of ``watched``, before they change ``rows``."""
        by_key = defaultdict[str, list[IncomingDecision]](list)
        if codes := {*watched.opted_in, *watched.reversals}:
            for one in decisions:
                if one.brand_code in codes:
                    by_key[one.key].append(one)
        before = {key: rows[key] for key in by_key if key in rows}
        return cls(reader=reader, watched=watched, decisions=by_key, before=before)

    async def end(
        self, connection: Connection, rows: Mapping[str, ConsentRow], now: datetime
    ) -> list[str]:
        """Count what the decisions made of ``rows``, once all are written, and hold back what a
        brake says; return which of the opt-outs that are held back another one may stand behind. A
        key that is in no row was made in bulk.
        """
        if not self.decisions:
            return []
        watched = {key: rows[key] for key in self.decisions if key in rows}
        if reversals := list(self._of_rows(watched, Status.ONAY)):
            await counting.brake(connection, reversals, Status.ONAY, now=now)
        in_bulk = [found[0] for key, found in self.decisions.items() if key not in rows]
        opt_ins = Counter(one.brand_code for one in in_bulk if not one.is_ret)
        opt_ins.update(counting.opt_in_changes(self.before, watched))
        await counting.add_opt_ins(connection, opt_ins)
        opted_in = self.watched.opted_in
        opt_outs = list(self._of_rows(watched, Status.RET))
        opt_outs += [
            self._sourced(one) for one in in_bulk if one.is_ret and one.brand_code in opted_in
        ]
        if not opt_outs:
            return []
        # The first opt-out of a brand since its customer set the brake: all it has is written.
        if uncounted := {one.brand_code for one in opt_outs if opted_in[one.brand_code] is None}:
            await counting.count_opt_ins(connection, uncounted)
        return await counting.brake(connection, opt_outs, Status.RET, now=now)

    def _of_rows(self, rows: Mapping[str, ConsentRow], status: Status) -> Iterator[SourcedEvent]:
        """Yield the opt-outs of ours, or the opt-ins over opt-outs, that ``rows`` desire since this
        batch.
        """
        is_ret = status is Status.RET
        codes = self.watched.opted_in if is_ret else self.watched.reversals
        for key, row in rows.items():
            before, found = self.before.get(key), self.decisions[key]
            was_ret = before is not None and before.desired_status == Status.RET
            over_ret = was_ret or any(one.is_ret for one in found[:-1])
            is_counted = _is_counted if is_ret else _is_reversal
            if row.brand_code not in codes or not is_counted(before, row):
                continue
            if is_ret or over_ret:
                events = (
                    self._sourced(one, over_ret) for one in reversed(found) if one.is_ret is is_ret
                )
                yield from islice(
                    (one for one in events if one.event_id == row.desired_event_id), 1
                )

    def _sourced(self, decision: IncomingDecision, over_ret: bool = False) -> SourcedEvent:
        origin = self.reader.origin_of(decision)
        return SourcedEvent(decision.brand_code, decision.key, *origin, over_ret)


def _is_reversal(before: ConsentRow | None, after: ConsentRow) -> bool:
    """Whether a row desires an opt-in of ours that it did not before, and that is not certainly a
    new consent.
    """
    is_known = before is not None and before.is_of(after.desired_event_id, after.desired_status)
    return (
        after.desired_status == Status.ONAY and after.is_ours and not (after.attested or is_known)
    )


def _is_counted(before: ConsentRow | None, after: ConsentRow) -> bool:
    """Whether a row desires an opt-out of ours that it did not before, and that changes what was
    desired or is due to İYS. One that rescues another is our own.
    """
    if after.desired_status != Status.RET or not after.is_ours or after.desired_origin == RESCUE:
        return False
    if before is None:
        return True
    if before.is_of(after.desired_event_id, after.desired_status):
        return False
    return before.desired_status != Status.RET or after.state in WAITING
