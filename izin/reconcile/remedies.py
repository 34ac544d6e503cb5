"""What repairs a difference, or who must act where nothing may. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from izin.consent import ConsentEvent, Status, TextEnum, outranks
from izin.ledger.record import ConsentRow
from izin.reconcile.judging import Cause, ComparedKey, Finding, Kind, SaidBy


class Repair(TextEnum):
    """What the execution of a plan does about a difference: none of it edits a row or a date."""

    QUERY = "query"
    """The status is queried at İYS; what it says is published as an event, and ruled."""
    RESTORE = "restore"
    """The ledger takes the key from ``desired-consents``, as a new ledger does."""
    REPUBLISH = "republish"
    """The event that is desired is published again, from the history: the law decides."""
    MOVEMENT = "movement"
    """İYS's movement is published as an event."""
    PERMISSION = "permission"
    """What the row permits is ruled anew, and published."""
    REMOVE_PERMISSION = "remove-permission"
    """A tombstone of the permission is published."""


class DecidedEvent(NamedTuple):
    """An event on which the law has decided, and from when it counts."""

    event: ConsentEvent
    effective_at: datetime


@dataclass(slots=True)
class KeyDecisions:
    """What was decided of a key, as the history has it."""

    events: list[DecidedEvent] = field(default_factory=list)
    is_known: bool = False
    """Whether anything was ever decided or restored."""

    def event(self, event_id: str | None, effective_at: datetime | None) -> ConsentEvent | None:
        """Return the event with this id that counts from this instant; None: it is not there."""
        for one in self.events:
            if (one.event.event_id, one.effective_at) == (event_id, effective_at):
                return one.event
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A repair and what it does; or no repair and what a person does."""

    repair: Repair | None
    next_step: str


WORDS: Mapping[Repair, str] = MappingProxyType(
    {
        Repair.QUERY: "its status is queried at İYS, and what follows is ruled",
        Repair.RESTORE: "the ledger takes it from desired-consents, and queries İYS",
        Repair.REPUBLISH: "its event is published again from the history, and decided",
        Repair.MOVEMENT: "İYS's movement is published as an event, and decided",
        Repair.PERMISSION: "what its row permits is ruled anew, and published",
        Repair.REMOVE_PERMISSION: "a tombstone of its permission is published",
    }
)
_CAUSES: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.EXPIRED: "its three business days ended before İYS had it: ask for a new consent",
        Cause.REFUSED: "İYS refused it{code}: correct it at its source, and send it from there",
        Cause.PARKED: "a person must act{code}: izin explain KEY has the command for it",
        Cause.WITHDRAWN: "a person withdrew it from İYS: a newer event alone makes it due again",
    }
)
_REBUILD_LEDGER = "the history must decide: izin replay rebuild ledger --recipient KEY --plan FILE"


def remedy_of(
    finding: Finding, compared: ComparedKey, decided: KeyDecisions, *, now: datetime
) -> Remedy:
    """Return what is done about a difference of a key, of which this was ``decided``."""
    if finding.cause is not None:
        return Remedy(repair=None, next_step=_step(finding.cause, compared.row))
    match finding.side:
        case SaidBy.DESIRED:
            return _of_desired(compared, decided)
        case SaidBy.PERMISSIONS:
            if compared.row is not None:
                return _by(Repair.PERMISSION)
            return _by_hand(_REBUILD_LEDGER) if decided.is_known else _by(Repair.REMOVE_PERMISSION)
        case SaidBy.IYS:
            return _of_iys(finding, compared, now)


def _of_desired(compared: ComparedKey, decided: KeyDecisions) -> Remedy:
    row, desired = compared.row, compared.desired
    if row is None or row.desired_order is None:
        return _by(Repair.RESTORE)
    if desired is not None and outranks(desired.order, row.desired_order):
        return _by(Repair.RESTORE)
    if decided.event(row.desired_event_id, row.desired_at) is not None:
        return _by(Repair.REPUBLISH)
    is_other = any(event.event.event_id == row.desired_event_id for event in decided.events)
    return _by_hand(
        _REBUILD_LEDGER
        if is_other
        else "its event is not in the history: izin replay rebuild desired-consents --recipient "
        "KEY --plan FILE"
    )


def _of_iys(finding: Finding, compared: ComparedKey, now: datetime) -> Remedy:
    row, record = compared.row, finding.record
    if row is None:
        is_whole = record is not None and record.is_detailed
        return (
            _by(Repair.MOVEMENT)
            if is_whole
            else _by_hand("İYS shows it without details: izin reconcile --ask again in an hour")
        )
    is_late = row.expires_at is not None and row.expires_at < now
    wants = row.desired_status == Status.ONAY
    if finding.kind is Kind.MISSING_AT_IYS and wants and is_late:
        return Remedy(
            repair=Repair.QUERY,
            next_step=WORDS[Repair.QUERY]
            + "; its term has ended: if İYS has none, ask for a new consent",
        )
    return _by(Repair.QUERY)


def _step(cause: Cause, row: ConsentRow | None) -> str:
    code = None if row is None else row.code or row.reason
    return _CAUSES[cause].format(code="" if code is None else f" ({code})")


def _by(repair: Repair) -> Remedy:
    return Remedy(repair=repair, next_step=WORDS[repair])


def _by_hand(step: str) -> Remedy:
    return Remedy(repair=None, next_step=step)
