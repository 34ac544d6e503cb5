"""Have the opt-outs of a batch counted by their source, for brands whose customer has set a brake.

Where no brand of a batch has one, this costs one statement a transaction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from izin.consent.model import Status
from izin.consent.transitions import WAITING
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ledger.brake import counting
from izin.sinks.ledger.brake.counting import SourcedOptOut
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.ruling import RESCUE


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeWatch:
    """The decisions of one batch on brands with a brake, and the rows as they were before."""

    reader: DecisionReader
    opted_in: Mapping[int, int | None]
    """How many keys of each watched brand desired ONAY before; None: not counted."""
    decisions: Mapping[str, Sequence[IncomingDecision]]
    """By key, in their order."""
    before: Mapping[str, ConsentRow]

    @classmethod
    def begin(
        cls,
        reader: DecisionReader,
        opted_in: Mapping[int, int | None],
        decisions: Sequence[IncomingDecision],
        rows: Mapping[str, ConsentRow],
    ) -> BrakeWatch:
        """Watch ``decisions`` on the brands of ``opted_in``, before they change ``rows``."""
        by_key = defaultdict[str, list[IncomingDecision]](list)
        if opted_in:
            for one in decisions:
                if one.brand_code in opted_in:
                    by_key[one.key].append(one)
        before = {key: rows[key] for key in by_key if key in rows}
        return cls(reader=reader, opted_in=opted_in, decisions=by_key, before=before)

    async def end(
        self, connection: Connection, rows: Mapping[str, ConsentRow], now: datetime
    ) -> None:
        """Count what the decisions made of ``rows``, once all are written, and hold opt-outs back
        where a brake says so. A key that is in no row was made in bulk.
        """
        if not self.decisions:
            return
        watched = {key: rows[key] for key in self.decisions if key in rows}
        in_bulk = [found[0] for key, found in self.decisions.items() if key not in rows]
        opt_ins = Counter(one.brand_code for one in in_bulk if not one.is_ret)
        opt_ins.update(counting.opt_in_changes(self.before, watched))
        await counting.add_opt_ins(connection, opt_ins)
        opt_outs = [*self._of_rows(watched), *map(self._sourced, filter(_is_ret, in_bulk))]
        if not opt_outs:
            return
        # The first opt-out of a brand since its customer set the brake: all it has is written.
        if uncounted := {
            one.brand_code for one in opt_outs if self.opted_in[one.brand_code] is None
        }:
            await counting.count_opt_ins(connection, uncounted)
        await counting.brake(connection, opt_outs, now=now)

    def _of_rows(self, rows: Mapping[str, ConsentRow]) -> Iterator[SourcedOptOut]:
        """Yield the opt-outs of ours that ``rows`` desire since this batch."""
        for key, row in rows.items():
            if not _is_counted(self.before.get(key), row):
                continue
            opt_outs = map(self._sourced, filter(_is_ret, reversed(self.decisions[key])))
            yield from islice((one for one in opt_outs if one.event_id == row.desired_event_id), 1)

    def _sourced(self, decision: IncomingDecision) -> SourcedOptOut:
        return SourcedOptOut(decision.brand_code, decision.key, *self.reader.origin_of(decision))


def _is_ret(decision: IncomingDecision) -> bool:
    return decision.is_ret


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
