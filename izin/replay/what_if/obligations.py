"""What became of an event that was due to İYS, by some settings.

A consent is registered within its term or is void (Yönetmelik m.7/11, m.7/12). An opt-out that is
reported after its term is a breach (m.9/6), and stands.
"""

from datetime import datetime
from enum import StrEnum

from izin.consent.model import Status
from izin.replay.what_if.facts import DueEvent
from izin.replay.what_if.settings import Term


class Fulfilment(StrEnum):
    """What became of an event."""

    OPEN = "open"
    """It is due, and in time."""
    IN_TIME = "in-time"
    """İYS registered it within its term."""
    TOO_LATE = "too-late"
    """İYS registered the consent after its term: it is void."""
    EXPIRED = "expired"
    """The consent was not registered within its term: a new one is needed."""
    REFUSED = "refused"
    """İYS refused it."""
    NOT_NEEDED = "not-needed"
    """There was nothing to register."""
    SUPERSEDED = "superseded"
    """A newer event took its place within its term."""
    BREACH = "breach"
    """The opt-out was reported after its term."""
    OVERDUE = "overdue"
    """The opt-out is not reported, and its term is over."""


def fulfilment(event: DueEvent, term: Term, now: datetime) -> Fulfilment:
    """Return what became of ``event``, whose term is ``term``, until ``now``."""
    if event.status is Status.RET:
        return _of_opt_out(event, term, now)
    if event.registered_at is not None:
        is_late = term.lapses_at is not None and event.registered_at >= term.lapses_at
        return Fulfilment.TOO_LATE if is_late else Fulfilment.IN_TIME
    if event.is_refused:
        return Fulfilment.REFUSED
    if event.settled_at is not None:
        return Fulfilment.NOT_NEEDED
    if term.lapses_at is not None and (event.superseded_at or now) >= term.lapses_at:
        return Fulfilment.EXPIRED
    return Fulfilment.OPEN if event.superseded_at is None else Fulfilment.SUPERSEDED


def _of_opt_out(event: DueEvent, term: Term, now: datetime) -> Fulfilment:
    done_at = event.registered_at or event.settled_at
    ended_at = done_at or event.superseded_at or now
    if term.due_at is not None and ended_at > term.due_at:
        return Fulfilment.OVERDUE if done_at is None else Fulfilment.BREACH
    if event.registered_at is not None:
        return Fulfilment.IN_TIME
    if event.settled_at is not None:
        return Fulfilment.NOT_NEEDED
    return Fulfilment.OPEN if event.superseded_at is None else Fulfilment.SUPERSEDED
