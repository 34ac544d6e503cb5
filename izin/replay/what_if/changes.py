"""What differs for one key between two settings: its terms, what became of its events, the answers
of the gate, and the receipts that had the wrong one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

from izin.consent.may_send import Permission, PermissionReason
from izin.consent.model import RecipientType, Status
from izin.replay.what_if.answers import ALWAYS, ChangedAnswer, Span, answers, changed_answers
from izin.replay.what_if.facts import AskedReceipt, DueEvent, KeyFacts
from izin.replay.what_if.obligations import fulfilment
from izin.replay.what_if.receipts import wrong_answers
from izin.replay.what_if.settings import KeyLaw, Term


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


class Change(NamedTuple):
    """One difference, as it is kept."""

    kind: ChangeKind
    before: str
    """By the settings in force."""
    after: str
    """By the other ones."""
    since: datetime | None
    """None: always."""
    until: datetime | None
    """None: to this day."""
    about: str
    """The receipt, or the terms, in words."""

    def as_json(self) -> list[Any]:
        """Return it as JSON values."""
        since, until = (None if at is None else at.isoformat() for at in (self.since, self.until))
        return [str(self.kind), self.before, self.after, since, until, self.about]

    @classmethod
    def from_json(cls, values: list[Any]) -> Self:
        """Return what ``as_json`` made."""
        kind, before, after, *span, about = values
        since, until = (None if at is None else datetime.fromisoformat(at) for at in span)
        return cls(ChangeKind(kind), before, after, since, until, about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time that is looked at; a default one is all."""

    since: datetime | None = None
    until: datetime | None = None

    def overlaps(self, since: datetime, until: datetime | None) -> bool:
        """Whether anything from ``since`` until before ``until`` (None: today) is in it."""
        return (self.until is None or since < self.until) and (
            self.since is None or until is None or until > self.since
        )

    def has(self, at: datetime) -> bool:
        """Whether an instant is in it."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def changes_of(  # noqa: PLR0913  # what a key is judged by
    facts: KeyFacts,
    before: KeyLaw,
    after: KeyLaw,
    *,
    closings: Iterable[Span] = (),
    window: Window,
    now: datetime,
) -> Iterator[Change]:
    """Yield what differs for a key, as far as it is in ``window``."""
    if not _may_differ(facts, before, after):
        return
    for event in facts.events:
        yield from _of_event(event, before, after, window, now)
    closed = list(closings)
    old, new = (
        answers(facts.states, facts.key.recipient_type, law, closings=closed)
        for law in (before, after)
    )
    changed = [one for one in changed_answers(old, new) if window.overlaps(*one.span)]
    for one in changed:
        is_other = one.before.may_send != one.after.may_send
        kind = ChangeKind.ANSWER if is_other else ChangeKind.REASON
        since = None if one.span.since == ALWAYS else one.span.since
        yield Change(kind, in_words(one.before), in_words(one.after), since, one.span.until, "")
    asked = (one for one in facts.receipts if window.has(one.asked_at))
    yield from wrong_receipts(asked, changed)


def _may_differ(facts: KeyFacts, before: KeyLaw, after: KeyLaw) -> bool:
    """Whether the settings differ in anything that the key is judged by: most keys differ in
    nothing.
    """
    rules = ((one.is_apart, one.needs_registration) for one in (before, after))
    if facts.key.recipient_type is RecipientType.TACIR and len(set(rules)) > 1:
        return True
    asked = {(one.effective_at, one.status) for one in facts.events}
    for state in facts.states:
        if state.desired is not None:
            asked.add((state.desired.effective_at, state.desired.status))
        if state.registered.stated_at is not None:
            asked.add((state.registered.stated_at, Status.ONAY))
    return any(before.term(*one) != after.term(*one) for one in asked)


def wrong_receipts(
    receipts: Iterable[AskedReceipt], changed: Sequence[ChangedAnswer]
) -> Iterator[Change]:
    """Yield the receipts whose answer is another by the other settings."""
    for receipt, found in wrong_answers(receipts, changed):
        kind = ChangeKind.SENT if receipt.may_send else ChangeKind.WITHHELD
        campaign = f", campaign {receipt.campaign}" if receipt.campaign else ""
        yield Change(
            kind,
            f"{'yes' if receipt.may_send else 'no'}: {receipt.reason}",
            in_words(found.after),
            receipt.asked_at,
            receipt.asked_at,
            f"receipt {receipt.receipt_id}, by {receipt.asked_by}{campaign}",
        )


def changed_answer(change: Change) -> ChangedAnswer:
    """Return a change of the kind ``ANSWER`` as the answers that it was made of."""
    before, after = (
        Permission(may_send=word == "yes", reason=PermissionReason(reason))
        for word, _, reason in (one.partition(": ") for one in (change.before, change.after))
    )
    return ChangedAnswer(Span(change.since or ALWAYS, change.until), before, after)


def in_words(permission: Permission) -> str:
    """Return an answer and its reason."""
    return f"{'yes' if permission.may_send else 'no'}: {permission.reason}"


def _of_event(
    event: DueEvent, before: KeyLaw, after: KeyLaw, window: Window, now: datetime
) -> Iterator[Change]:
    old, new = (law.term(event.effective_at, event.status) for law in (before, after))
    if old == new:
        return
    ends = [one for term in (old, new) for one in term if one is not None]
    until = max(ends) if None not in (old.due_at, new.due_at) else None
    if not window.overlaps(event.effective_at, until):
        return
    was, would_be = (fulfilment(event, term, now) for term in (old, new))
    about = f"{event.status}, due {_text(old.due_at)} -> {_text(new.due_at)}"
    if was is would_be:
        words = ("due", "due sooner" if _is_sooner(new, old) else "due later")
        yield Change(ChangeKind.TERM, *words, event.effective_at, until, about)
    else:
        yield Change(
            ChangeKind.OBLIGATION,
            f"{event.status} {was}",
            f"{event.status} {would_be}",
            event.effective_at,
            until,
            about,
        )


def _is_sooner(one: Term, other: Term) -> bool:
    """Whether a term ends before another one, from which it differs."""
    ends = next((mine, its) for mine, its in zip(one, other, strict=True) if mine != its)
    return ends[1] is None or (ends[0] is not None and ends[0] < ends[1])


def _text(at: datetime | None) -> str:
    return "never" if at is None else at.isoformat()
