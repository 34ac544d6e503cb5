"""What one import of a file changed, by the decisions that the history has on its events."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from izin.consent.enums import DecisionKind, Status
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.formats import history_codec

_PAGE = 5000
_SQL = statements("imports")


class ImportedChange(NamedTuple):
    """A key that one row of an import has changed."""

    row: int
    key: str
    status: str
    reason: str
    effective_at: datetime


@dataclass(slots=True, kw_only=True)
class ImportChanges:
    """What became of the events of one import."""

    decided: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By status and kind of decision; an event that was known before has none."""
    opt_outs_behind: int = 0
    """Opt-outs (RET) that changed nothing, for a newer opt-in (ONAY) stands."""
    changes: list[ImportedChange] = field(default_factory=list)

    def add(self, key: str, decision: Mapping[str, Any]) -> None:
        """Add a decision."""
        event, status = decision["event"], decision["event"]["status"]
        self.decided[status, decision["kind"]] += 1
        is_behind = decision["kind"] == DecisionKind.STALE and status == Status.RET
        self.opt_outs_behind += is_behind and decision["consent"]["status"] == Status.ONAY
        if decision["kind"] == DecisionKind.APPLY:
            self.changes.append(
                ImportedChange(
                    row=event["row"] or 0,
                    key=key,
                    status=status,
                    reason=decision["reason"],
                    effective_at=decision["effective_at"],
                )
            )


async def import_changes(
    ledger: Ledger, run: str, *, customer_id: str | None = None
) -> ImportChanges:
    """Return what became of the events of the import of the file whose SHA-256 is ``run``; of a
    customer, or None: of all.
    """
    found, values = ImportChanges(), {"run": run, "customer_id": customer_id}
    async with ledger.reading() as connection, connection.cursor(name="import") as cursor:
        await cursor.execute(_SQL["decisions"], values)
        while page := await cursor.fetchmany(_PAGE):
            for row in page:
                decision = history_codec().decode("Decision", row["decision"])
                if decision["event"]["import_id"] == run:
                    found.add(row["key"], decision)
    found.changes.sort()
    return found
