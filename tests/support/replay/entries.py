"""Entries of one key as the history returns them, made of events and of what İYS shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from izin.consent import Consent, ConsentEvent, ConsentKey, decide
from izin.ledger.history import history_codec
from izin.replay.what_if.key_history import KeyTimeline
from tests.support.builders import CUSTOMER, a_decision_record, a_key, as_admitted

HistoryEntry = Mapping[str, Any]


@dataclass(kw_only=True)
class KeyStory:
    """Adds entries of one key, in the order of their recording."""

    key: ConsentKey = field(default_factory=a_key)
    entries: list[HistoryEntry] = field(default_factory=list)
    state: Consent | None = None

    def event(self, event: ConsentEvent, at: datetime) -> None:
        """Add the decision on ``event``, which is appended and recorded at ``at``."""
        decision = decide(self.state, as_admitted(event, at))
        self.state = decision.consent
        record = a_decision_record(decision, offset=len(self.entries))
        self._add("decision", at, decision=history_codec().encode("Decision", record))

    def submitted(self, event: ConsentEvent, at: datetime) -> None:
        """Add a call with ``event``."""
        assert event.consent_date is not None
        data = {
            "submission": 1,
            "kind": "batch",
            "attempt": 1,
            "consent_date": event.consent_date.isoformat(),
            "source": event.source,
        }
        self._add("call", at, event=event, data=data)

    def answered(self, event: ConsentEvent, at: datetime, **fields: object) -> None:
        """Add İYS's result for ``event``: by default it saved it then."""
        data = {
            "submission": 1,
            "how": "batch",
            "verdict": "success",
            "code": None,
            "transaction_id": f"t-{len(self.entries)}",
            "creation_date": at.isoformat(),
        }
        self._add("answer", at, event=event, data=data | fields)

    def outcome(self, event: ConsentEvent, at: datetime, outcome: str, code: str | None) -> None:
        """Add an outcome of ``event``."""
        self._add("outcome", at, event=event, data={"outcome": outcome, "code": code})

    def shown(self, status: str, at: datetime, **fields: object) -> None:
        """Add an entry that was pulled at ``at``: by default a provider's, of then."""
        data = {
            "by": "pull",
            "stream": "HS",
            "creation_date": at.isoformat(),
            "consent_date": at.isoformat(),
            "source": "HS_WEB",
            "transaction_id": f"t-{len(self.entries)}",
            "ours": False,
        }
        self._add("observation", at, status=status, data=data | fields)

    def asked(self, at: datetime, *, may_send: bool, reason: str, **fields: object) -> None:
        """Add a receipt of the gate."""
        data = {
            "receipt_id": f"receipt-{len(self.entries)}",
            "asked_by": "campaigns",
            "campaign": "spring",
            "message_class": "commercial",
            "may_send": may_send,
            "reason": reason,
        }
        self._add("receipt", at, data=data | fields)

    def facts(self, *, until: datetime | None = None) -> KeyTimeline:
        """Return the facts of the entries that were recorded before ``until``, or of all."""
        found = KeyTimeline(self.key)
        for one in self.entries:
            if until is None or one["recorded_at"] < until:
                found.add(one)
        return found

    def _add(
        self,
        kind: str,
        at: datetime,
        *,
        event: ConsentEvent | None = None,
        status: str | None = None,
        data: Mapping[str, object] | None = None,
        decision: bytes | None = None,
    ) -> None:
        self.entries.append(
            {
                "kind": kind,
                "customer_id": CUSTOMER,
                "key": str(self.key),
                "event_id": None if event is None else event.event_id,
                "status": status if event is None else event.status,
                "occurred_at": at,
                "recorded_at": at,
                "data": data,
                "decision": decision,
            }
        )
