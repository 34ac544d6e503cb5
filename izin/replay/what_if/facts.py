"""What the history says of one key, in the order in which we learnt it: what was known when, what
was due to İYS, and what the gate was asked.

The facts are folded as everywhere (``consent.recorded``), but for the end of a term: whether a
consent has expired is judged by the settings, unless İYS said so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from izin.consent.fold import KeyState, Observation
from izin.consent.model import ConsentKey, OriginRank, Status
from izin.consent.recorded import Event, RecordedKey
from izin.schemas.codec import UndecodableError
from izin.sinks.ledger.history.formats import history_codec

_SETTLING = frozenset({"accepted", "not_needed"})


class KnownState(NamedTuple):
    """What is known of a key from an instant on."""

    at: datetime
    state: KeyState


@dataclass(slots=True, kw_only=True)
class DueEvent:
    """An event of ours that was desired, and what became of it at İYS."""

    status: Status
    effective_at: datetime
    superseded_at: datetime | None = None
    """When we learnt of a newer event."""
    registered_at: datetime | None = None
    """By İYS's clock; None: it never showed it as registered."""
    settled_at: datetime | None = None
    """When nothing was due any more."""
    is_refused: bool = False


class AskedReceipt(NamedTuple):
    """What the gate answered about one key."""

    receipt_id: str
    asked_at: datetime
    asked_by: str
    campaign: str | None
    message_class: str
    may_send: bool
    reason: str

    @classmethod
    def of(
        cls, data: Mapping[str, Any], asked_at: datetime, *, may_send: bool, reason: str
    ) -> "AskedReceipt":
        """Return an answer of the receipt whose content is ``data``."""
        names = ("receipt_id", "asked_by", "campaign", "message_class")
        shared = {name: data[name] for name in names}
        return cls(**shared, asked_at=asked_at, may_send=may_send, reason=reason)


class KeyFacts:
    """Everything that the history says of a key, from its movements in the order of recording."""

    def __init__(self, key: ConsentKey) -> None:
        self.key = key
        self.states: list[KnownState] = []
        self.events: dict[Event, DueEvent] = {}
        self.receipts: list[AskedReceipt] = []
        self.unreadable = 0
        """Facts that this release cannot read; they are left out."""
        self._recorded = RecordedKey()

    def add(self, movement: Mapping[str, Any]) -> None:
        """Add a movement, as ``history.sql`` returns it."""
        try:
            self._add(movement)
        except (KeyError, TypeError, ValueError, UndecodableError):
            self.unreadable += 1

    def _add(self, movement: Mapping[str, Any]) -> None:
        kind, data, at = movement["kind"], movement["data"], movement["recorded_at"]
        event = self.events.get((movement["event_id"], movement["status"]))
        if kind == "decision":
            data = history_codec().decode("Decision", movement["decision"])
        elif kind == "receipt":
            answer = {"may_send": data["may_send"], "reason": data["reason"]}
            self.receipts.append(AskedReceipt.of(data, movement["occurred_at"], **answer))
        elif kind == "outcome" and event is not None:
            if data["outcome"] in _SETTLING:
                event.settled_at = at
            elif data["outcome"] == "refused" or (data["outcome"] == "expired" and data["code"]):
                event.is_refused = True
        if kind == "outcome" and data["outcome"] == "expired" and not data["code"]:
            return
        before = self._recorded.state
        shown = self._recorded.add({**movement, "data": data})
        if kind == "answer" and event is not None and shown is not None:
            event.registered_at = shown.creation_date
        elif shown is not None:
            self._registered(shown)
        if self._recorded.state != before:
            self._note(before, at)

    def _registered(self, shown: Observation) -> None:
        """Note the events that İYS shows, as it dates them."""
        for (_, status), event in self.events.items():
            is_same = (status, event.effective_at) == (str(shown.value), shown.consent_date)
            if is_same and event.registered_at is None:
                event.registered_at = shown.creation_date

    def _note(self, before: KeyState, at: datetime) -> None:
        """Note what is known from ``at`` on, and what is due then, where that is another event."""
        state = self._recorded.state
        desired, known = state.desired, before.desired
        if desired is not None:
            name = desired.event_id, str(desired.status)
            if known is not None and not known.is_same(*name):
                superseded = self.events.get((known.event_id, str(known.status)))
                if superseded is not None:
                    superseded.superseded_at = at
            if desired.origin_rank is OriginRank.OURS:
                event = self.events.setdefault(
                    name, DueEvent(status=desired.status, effective_at=desired.effective_at)
                )
                event.effective_at, event.superseded_at = desired.effective_at, None
        if self.states and self.states[-1].at == at:
            self.states.pop()
        self.states.append(KnownState(at, state))
