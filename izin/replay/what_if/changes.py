"""What differs for one key between two settings: its terms, what became of its events, the answers
of the gate, and the receipts that had the wrong one.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter

from izin.consent.may_send import Permission
from izin.consent.message_classes import CLASSES, MessageClass, MessageKind
from izin.consent.model import Status
from izin.replay.selection import Selection
from izin.replay.what_if.answers import ChangedAnswer, changed_answers
from izin.replay.what_if.facts import AskedReceipt, DueEvent, KeyFacts
from izin.replay.what_if.settings import KeyLaw, Term

_EXEMPT = frozenset(one for one in MessageClass if CLASSES[one].kind is MessageKind.EXEMPT)
"""No setting says anything about these messages."""
_INSTANT = timedelta(microseconds=1)


class ChangeKind(StrEnum):
    """What differs."""

    TERM = "term"
    """When an event is due, or its consent lapses; nothing else became of it."""
    OBLIGATION = "obligation"
    """What became of an event that was due to İYS."""
    ANSWER = "answer"
    """Whether a message may be sent."""
    REASON = "reason"
    """Only why it may, or may not."""
    SENT = "sent"
    """A sender got a yes that is a no by the other settings."""
    WITHHELD = "withheld"
    """A sender got a no that is a yes by the other settings."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference, as it is kept: instants are ISO texts."""

    kind: str
    before: str
    """By the settings in force."""
    after: str
    """By the other ones."""
    since: str
    until: str | None
    """None: to this day."""
    about: str
    """The receipt, or the terms, in words."""


def changes_of(
    facts: KeyFacts, before: KeyLaw, after: KeyLaw, *, selection: Selection, now: datetime
) -> Iterator[Change]:
    """Yield what differs for a key, as far as it is in the time of ``selection``."""
    for event in facts.events.values():
        yield from _of_event(event, before, after, selection, now)
    changed = [
        one
        for one in changed_answers(facts.states, facts.key.recipient_type, before, after)
        if _overlaps(selection, one.since, one.until)
    ]
    for one in changed:
        is_other = one.before.may_send != one.after.may_send
        kind = ChangeKind.ANSWER if is_other else ChangeKind.REASON
        yield _change(kind, in_words(one.before), in_words(one.after), one.since, one.until)
    for receipt in facts.receipts:
        if _overlaps(selection, receipt.asked_at, receipt.asked_at + _INSTANT):
            yield from _of_receipt(receipt, changed)


def fulfilment(event: DueEvent, term: Term, now: datetime) -> Fulfilment:
    """Return what became of ``event``, whose term is ``term``, until ``now``.

    A consent is registered within its term or is void (Yönetmelik m.7/11, m.7/12). An opt-out that
    is reported after its term is a breach (m.9/6), and stands.
    """
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


def in_words(permission: Permission) -> str:
    """Return an answer and its reason."""
    return f"{'yes' if permission.may_send else 'no'}: {permission.reason}"


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


def _of_event(
    event: DueEvent, before: KeyLaw, after: KeyLaw, selection: Selection, now: datetime
) -> Iterator[Change]:
    old, new = (law.term(event.effective_at, event.status) for law in (before, after))
    if old == new:
        return
    ends = [one for term in (old, new) for one in term if one is not None]
    until = max(ends) if None not in (old.due_at, new.due_at) else None
    if not _overlaps(selection, event.effective_at, until):
        return
    was, would_be = (fulfilment(event, term, now) for term in (old, new))
    kind, words = ChangeKind.OBLIGATION, (f"{event.status} {was}", f"{event.status} {would_be}")
    if was is would_be:
        kind, words = (
            ChangeKind.TERM,
            ("due", "due sooner" if _is_sooner(new, old) else "due later"),
        )
    about = f"{event.status}, due {_text(old.due_at)} -> {_text(new.due_at)}"
    yield _change(kind, *words, event.effective_at, until, about)


def _of_receipt(receipt: AskedReceipt, changed: Sequence[ChangedAnswer]) -> Iterator[Change]:
    """Yield the receipt if its answer is another by the other settings.

    A yes is wrong where they say no. A no is wrong where they say yes, and the gate said no for
    what has changed: not where it was stale, say, or the brand suspended. ``changed`` is in order.
    """
    at = receipt.asked_at
    place = bisect.bisect_right(changed, at, key=attrgetter("since")) - 1
    if place < 0 or receipt.message_class in _EXEMPT:
        return
    found = changed[place]
    if not found.has(at) or receipt.may_send == found.after.may_send:
        return
    if receipt.may_send or receipt.reason == found.before.reason:
        kind = ChangeKind.SENT if receipt.may_send else ChangeKind.WITHHELD
        campaign = f", campaign {receipt.campaign}" if receipt.campaign else ""
        said = f"{'yes' if receipt.may_send else 'no'}: {receipt.reason}"
        about = f"receipt {receipt.receipt_id}, by {receipt.asked_by}{campaign}"
        yield _change(kind, said, in_words(found.after), at, at, about)


def _change(  # noqa: PLR0913, PLR0917  # the fields, with instants
    kind: ChangeKind,
    before: str,
    after: str,
    since: datetime,
    until: datetime | None,
    about: str = "",
) -> Change:
    ends = None if until is None else until.isoformat()
    return Change(
        kind=kind, before=before, after=after, since=since.isoformat(), until=ends, about=about
    )


def _overlaps(selection: Selection, since: datetime, until: datetime | None) -> bool:
    """Whether anything from ``since`` until before ``until`` (None: today) is in the selected
    time.
    """
    return (selection.until is None or since < selection.until) and (
        selection.since is None or until is None or until > selection.since
    )


def _is_sooner(one: Term, other: Term) -> bool:
    """Whether a term ends before another one, from which it differs."""
    ends = next((mine, its) for mine, its in zip(one, other, strict=True) if mine != its)
    return ends[1] is None or (ends[0] is not None and ends[0] < ends[1])


def _text(at: datetime | None) -> str:
    return "never" if at is None else at.isoformat()
