"""What the history says of one key, in the order in which we learnt it: what was known when, what
was due to İYS, and what the gate was asked.

A fact is folded into a row as the sink does it (:mod:`izin.sinks.record.apply`), but nothing is
ruled: what follows from a fact is judged by the settings, and may differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from izin.consent.fold import Observation, restored_consent
from izin.consent.model import ConsentKey, Status
from izin.consent.next_action import Desired, Registered, RegisteredState
from izin.schemas.codec import UndecodableError
from izin.sinks.ledger.history.formats import history_codec
from izin.sinks.record import apply
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.state_change import first_row

_SETTLING = frozenset({"accepted", "not_needed"})
_NOTHING = RegisteredState(value=Registered.UNKNOWN)


class KnownState(NamedTuple):
    """What is known of a key from an instant on."""

    at: datetime
    desired: Desired | None
    is_refused: bool
    """Whether İYS has refused what is desired."""
    registered: RegisteredState = _NOTHING
    is_verified: bool = False
    latest_ret_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueEvent:
    """An event of ours that was desired, and what became of it at İYS."""

    event_id: str
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


@dataclass(kw_only=True)
class KeyFacts:
    """Everything that the history says of a key."""

    key: ConsentKey
    customer_id: str = ""
    states: list[KnownState] = field(default_factory=list)
    events: list[DueEvent] = field(default_factory=list)
    receipts: list[AskedReceipt] = field(default_factory=list)
    unreadable: int = 0
    """Facts that this release cannot read; they are left out."""


class KeyFold:
    """Folds the movements of one key, in the order of their recording."""

    def __init__(self, key: ConsentKey) -> None:
        self.facts = KeyFacts(key=key)
        self._row: ConsentRow | None = None
        self._calls: dict[tuple[object, str | None], Mapping[str, Any]] = {}
        """By submission and status."""

    def add(self, movement: Mapping[str, Any]) -> None:
        """Add a movement, as ``history.sql`` returns it."""
        self.facts.customer_id = movement["customer_id"] or self.facts.customer_id
        try:
            self._add(movement)
        except (KeyError, TypeError, ValueError, UndecodableError):
            self.facts.unreadable += 1

    def _add(self, movement: Mapping[str, Any]) -> None:
        kind, data = movement["kind"], movement["data"]
        match kind:
            case "decision":
                self._decided(movement)
            case "bootstrap":
                self._restored(movement)
            case "call":
                self._calls[data["submission"], movement["status"]] = data
            case "answer":
                self._answered(movement)
            case "observation":
                self._observed(movement)
            case "outcome":
                self._settled(movement)
            case "receipt":
                self.facts.receipts.append(_receipt(movement))
            case _:
                return
        self._note(movement["recorded_at"])

    def _decided(self, movement: Mapping[str, Any]) -> None:
        decision = history_codec().decode("Decision", movement["decision"])
        self._put(apply.decided(self._row, decision, movement["recorded_at"]), movement)

    def _restored(self, movement: Mapping[str, Any]) -> None:
        """Add a row that was restored from the topic of desired consents."""
        consent = restored_consent(
            self.facts.key,
            customer_id=movement["customer_id"],
            event_id=movement["event_id"],
            status=Status(movement["status"]),
            effective_at=movement["occurred_at"],
            data=movement["data"],
        )
        self._put(apply.restored(self._row, consent, movement["recorded_at"]), movement)

    def _answered(self, movement: Mapping[str, Any]) -> None:
        """Add İYS's result for what was submitted, if it saved that: one that is older than the
        event is of an earlier save, and İYS is queried for what it holds.
        """
        data, status = movement["data"], movement["status"]
        place = self._place(movement["event_id"], status)
        found = Observation.answered(
            status,
            data,
            self._calls.get((data["submission"], status), {}),
            at=movement["recorded_at"],
            effective_at=None if place is None else self.facts.events[place].effective_at,
        )
        if found is None:
            return
        self._show(found, movement)
        if place is not None:
            self._update(place, registered_at=found.creation_date)

    def _observed(self, movement: Mapping[str, Any]) -> None:
        """Add what İYS showed, in a query or a pull."""
        status = movement["status"]
        found = Observation.recorded(status, movement["data"], seen_at=movement["occurred_at"])
        self._show(found, movement)
        created_at, stated_at = found.creation_date, found.consent_date
        for place, event in enumerate(self.facts.events):
            is_same = (event.status, event.effective_at) == (status, stated_at)
            if is_same and event.registered_at is None:
                self._update(place, registered_at=created_at)

    def _settled(self, movement: Mapping[str, Any]) -> None:
        """Add an outcome; that a term ended is judged by the settings, unless İYS said so."""
        data = movement["data"]
        place = self._place(movement["event_id"], movement["status"])
        if place is None:
            return
        if data["outcome"] in _SETTLING:
            self._update(place, settled_at=movement["recorded_at"])
        elif data["outcome"] == "refused" or (data["outcome"] == "expired" and data["code"]):
            self._update(place, is_refused=True)

    def _show(self, observation: Observation, movement: Mapping[str, Any]) -> None:
        at = movement["recorded_at"]
        row = self._row or first_row(self.facts.key, self.facts.customer_id, at)
        self._row = apply.observed(row, observation)

    def _put(self, row: ConsentRow, movement: Mapping[str, Any]) -> None:
        """Take a row whose desired event may be another; note the events that were due."""
        before, self._row = self._row, row
        at, desired = movement["recorded_at"], row.desired
        if desired is None or row.desired_event_id is None:
            return
        if before is not None and row.is_of(before.desired_event_id, before.desired_status):
            place = self._place(row.desired_event_id, str(desired.status))
            if place is not None:
                self._update(place, effective_at=desired.effective_at)
            return
        if self.facts.events and self.facts.events[-1].superseded_at is None:
            self._update(len(self.facts.events) - 1, superseded_at=at)
        if row.is_ours:
            self.facts.events.append(
                DueEvent(
                    event_id=row.desired_event_id,
                    status=desired.status,
                    effective_at=desired.effective_at,
                )
            )

    def _place(self, event_id: str | None, status: str | None) -> int | None:
        """Return the index of the latest event with this id and status."""
        for place in range(len(self.facts.events) - 1, -1, -1):
            event = self.facts.events[place]
            if (event.event_id, event.status) == (event_id, status):
                return place
        return None

    def _update(self, place: int, **fields: Any) -> None:  # noqa: ANN401  # a field's value each
        self.facts.events[place] = replace(self.facts.events[place], **fields)

    def _note(self, at: datetime) -> None:
        """Note what is known from now on, if that changed."""
        row = self._row
        if row is None:
            return
        place = self._place(row.desired_event_id, row.desired_status)
        state = KnownState(
            at=at,
            desired=row.desired,
            is_refused=place is not None and self.facts.events[place].is_refused,
            registered=row.registered_state,
            is_verified=row.verified_at is not None,
            latest_ret_at=row.latest_ret_at,
        )
        states = self.facts.states
        if states and states[-1].at == at:
            states[-1] = state
        elif not states or states[-1][1:] != state[1:]:
            states.append(state)


def _receipt(movement: Mapping[str, Any]) -> AskedReceipt:
    data = movement["data"]
    return AskedReceipt(
        receipt_id=data["receipt_id"],
        asked_at=movement["occurred_at"],
        asked_by=data["asked_by"],
        campaign=data["campaign"],
        message_class=data["message_class"],
        may_send=data["may_send"],
        reason=data["reason"],
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
