"""Write in bulk what many decisions of a batch make of their rows alike, of new and known keys.

A simple decision (``decision_reader``) that is the only one on its key, and names its brand's
customer, is applied to its row from its bytes; what follows is ruled once for all rows alike
(``ledger.bulk``). All others take the general path, one by one.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from izin.consent.business_days import Calendar
from izin.consent.model import Status
from izin.runtime.pauses import with_pauses
from izin.sinks.ingest.decision_reader import IncomingDecision
from izin.sinks.ingest.simple_decisions import DecisionApplier
from izin.sinks.ledger.brake.counting import Watched
from izin.sinks.ledger.bulk.saving import BulkChanges, RowChange
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock_in_pieces
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.ruling import RuledRow


class BulkDecisions:
    """The decisions of a batch that are written in bulk, and those that are not."""

    def __init__(
        self,
        changes: UnitOfWork,
        applier: DecisionApplier,
        brands: Mapping[int, Brand],
        watched: Watched,
        *,
        calendar: Calendar,
    ) -> None:
        self._now = changes.now
        self._applier = applier
        self._brands = brands
        self._watched = watched
        self._calendar = calendar
        self._bulk = BulkChanges[IncomingDecision](changes, self._rule)

    async def save(
        self, connection: Connection, decisions: Sequence[IncomingDecision]
    ) -> tuple[list[IncomingDecision], dict[str, ConsentRow]]:
        """Lock the rows of ``decisions`` and save what they make of them; return those that must be
        applied one by one, those of a key in their order, and their rows.

        Raises:
            ConcurrentChangeError: another process has inserted one of the new keys.
        """
        by_key = defaultdict[str, list[IncomingDecision]](list)
        for one in decisions:
            by_key[one.key].append(one)
        rest: list[IncomingDecision] = []

        async def add(keys: Sequence[str], rows: Mapping[str, ConsentRow]) -> None:
            async for key in with_pauses(keys):
                found, before = by_key[key], rows.get(key)
                if len(found) == 1 and self._is_usual(found[0], before):
                    self._add(before, found[0])
                else:
                    rest.extend(found)

        rows = await lock_in_pieces(connection, by_key, add)
        rest += await self._bulk.save(connection)
        return rest, {one.key: rows[one.key] for one in rest if one.key in rows}

    def _is_usual(self, decision: IncomingDecision, before: ConsentRow | None) -> bool:
        """Whether a decision may be applied in bulk: it is simple, on a key of its customer, and
        neither counted by a brake nor on what one, or a person, holds back.
        """
        brand, watched = self._brands.get(decision.brand_code), self._watched
        if decision.fields is None or brand is None or decision.customer_id != brand.customer_id:
            return False
        if before is None:
            return True
        is_reversal = before.desired_status == Status.RET and not decision.is_ret
        is_counted = decision.brand_code in watched.opted_in or (
            is_reversal and decision.brand_code in watched.reversals
        )
        is_kept_back = before.brake_id is not None or before.withdrawn_at is not None
        return before.customer_id == brand.customer_id and not (is_counted or is_kept_back)

    def _add(self, before: ConsentRow | None, decision: IncomingDecision) -> None:
        brand, now = self._brands[decision.brand_code], self._now
        after = self._applier.apply(before, decision, now)
        after = ruling.termed(after, brand, now, calendar=self._calendar)
        self._bulk.add(RowChange(before, after, decision))

    def _rule(self, change: RowChange[IncomingDecision]) -> RuledRow:
        brand = self._brands[change.member.brand_code]
        return ruling.rule_row(change.after, brand, self._now, calendar=self._calendar)
