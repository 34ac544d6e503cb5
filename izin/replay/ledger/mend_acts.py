"""The movements that say who had rows mended, for which plan."""

from dataclasses import dataclass
from datetime import datetime

from izin.sinks.ledger.history.acts import act, rebuild_key
from izin.sinks.ledger.history.append import Movement
from izin.sinks.record.consent_row import DECIDED, ConsentRow


@dataclass(frozen=True, slots=True, kw_only=True)
class MendActs:
    """By whose order rows are mended, and when."""

    plan: str
    """The digest of the plan."""
    by: str
    now: datetime

    def restored(self, count: int) -> Movement:
        """Return the movement of the missing rows that a transaction has restored."""
        return act(
            "restore rows",
            rebuild_key("ledger"),
            by=self.by,
            now=self.now,
            before={"missing": count},
            after={"restored": count, "plan": self.plan},
        )

    def changed(self, before: ConsentRow, after: ConsentRow) -> Movement:
        """Return the movement of a row that was changed: what it had, and what it has."""
        names = [name for name in DECIDED if getattr(before, name) != getattr(after, name)]
        return act(
            "mend row",
            after.key,
            by=self.by,
            now=self.now,
            before={name: getattr(before, name) for name in names},
            after={**{name: getattr(after, name) for name in names}, "plan": self.plan},
            customer_id=after.customer_id,
            event_id=after.desired_event_id,
            status=after.desired_status,
        )
