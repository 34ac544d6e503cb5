"""What differs for one key between two settings: what became of its events, the answers of the
gate, and the receipts that had the wrong one.

What varies is the calendar. Terms follow from it, and from the brand's activation and loading. How
fresh İYS's data must be is set too, but the history does not say when İYS was pulled, so no
other bound can be judged by it.

An answer is that of ``consent.may_send``, but for an ONAY that was registered after its term: it is
void (Yönetmelik m.7/12). That is the one thing that the ledger's own permission does not look at,
for by its settings it submits nothing after the term.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

from izin.consent import (
    CLASSES,
    BrandTerms,
    Calendar,
    KeyState,
    MessageClass,
    MessageKind,
    RecipientType,
    Registered,
    RegisteredState,
    State,
    Status,
    due_and_expiry,
)
from izin.consent.may_send import Permission, PermissionReason
from izin.replay.what_if.key_history import AskedReceipt, DueEvent, KeyTimeline, KnownState

_EXEMPT = frozenset(one for one in MessageClass if CLASSES[one].kind is MessageKind.EXEMPT)
"""No setting says anything about these messages."""
_INSTANT = timedelta(microseconds=1)
A_SECOND = timedelta(seconds=1)
"""Terms have whole seconds."""
_NO_TERMS = BrandTerms()


class Term(NamedTuple):
    """The term of one event, whenever it is looked at."""

    due_at: datetime | None
    """None: it has no deadline."""
    lapses_at: datetime | None
    """The first instant at which it is too late to register a consent; None: it never is."""


class KeyLaw(NamedTuple):
    """The settings by which one key is judged."""

    calendar: Calendar
    terms: BrandTerms

    def term(self, effective_at: datetime, status: Status) -> Term:
        """Return the term of an event over all time: before the activation of its brand it is
        another than after.

        Raises:
            OutsideCalendarError: the term lies beyond the calendar.
        """
        return _term(self, effective_at, status)


@lru_cache(maxsize=4096)
def _term(law: KeyLaw, effective_at: datetime, status: Status) -> Term:
    activated_at = law.terms.activated_at
    counted = partial(due_and_expiry, effective_at, law.terms, status=status, calendar=law.calendar)
    due, expires = counted(now=activated_at or effective_at)
    if activated_at is not None and effective_at < activated_at:
        due_before, expires_before = counted(now=activated_at - A_SECOND)
        due = _over(due_before, due, activated_at)
        expires = _over(expires_before, expires, activated_at)
    return Term(due, None if expires is None else expires + A_SECOND)


@dataclass(frozen=True, kw_only=True)
class LawSettings:
    """The settings of an installation. Without slots, for the calendar is made once."""

    closed_days: frozenset[date] = frozenset()
    """Besides the public holidays."""
    terms: Mapping[int, BrandTerms]
    """By brand."""

    @cached_property
    def calendar(self) -> Calendar:
        """Turkey's calendar with the closed days; raises OutsideCalendarError."""
        return Calendar(extra_closed_days=self.closed_days)

    def of(self, brand_code: int) -> KeyLaw:
        """Return the settings for a key of this brand."""
        return KeyLaw(calendar=self.calendar, terms=self.terms.get(brand_code, _NO_TERMS))


def differing(before: LawSettings, after: LawSettings) -> list[str]:
    """Return in words what differs between two settings."""
    closed, opened = (
        sorted(one.closed_days - other.closed_days)
        for one, other in ((after, before), (before, after))
    )
    return [*(f"closed: {day}" for day in closed), *(f"open: {day}" for day in opened)]


def _over(
    before: datetime | None, after: datetime | None, activated_at: datetime
) -> datetime | None:
    """Return when a term ends that ends at ``before`` until the activation, and at ``after`` from
    then on.
    """
    if before is None or after is None or before < activated_at:
        return before
    return max(after, activated_at - A_SECOND)


class Period(NamedTuple):
    """The time that is asked about; by default all of it."""

    since: datetime | None = None
    until: datetime | None = None
    """Without this instant itself."""

    def overlaps(self, since: datetime, until: datetime | None) -> bool:
        """Whether anything from ``since`` until before ``until`` (None: today) is in it."""
        return (self.until is None or since < self.until) and (
            self.since is None or until is None or until > self.since
        )


ALWAYS = Period()


class AnswerChangeKind(StrEnum):
    """What differs."""

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
class AnswerChange:
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


class ChangedAnswer(NamedTuple):
    """A time in which two settings give different answers."""

    since: datetime
    until: datetime | None
    """None: to this day."""
    before: Permission
    after: Permission

    def has(self, at: datetime) -> bool:
        """Whether an instant is in it."""
        return self.since <= at and (self.until is None or at < self.until)


def changes_of(
    timeline: KeyTimeline, before: KeyLaw, after: KeyLaw, *, period: Period, now: datetime
) -> Iterator[AnswerChange]:
    """Yield what differs for a key, as far as it is in ``period``."""
    for event in timeline.events.values():
        yield from _of_event(event, before, after, period, now)
    changed = [
        changed_answer
        for changed_answer in changed_answers(
            timeline.states, timeline.key.recipient_type, before, after
        )
        if period.overlaps(changed_answer.since, changed_answer.until)
    ]
    for one in changed:
        is_other = one.before.may_send != one.after.may_send
        kind = AnswerChangeKind.ANSWER if is_other else AnswerChangeKind.REASON
        yield _change(kind, in_words(one.before), in_words(one.after), one.since, one.until)
    for receipt in timeline.receipts:
        if period.overlaps(receipt.asked_at, receipt.asked_at + _INSTANT):
            yield from _of_receipt(receipt, changed)


def changed_answers(
    states: Sequence[KnownState], recipient_type: RecipientType, before: KeyLaw, after: KeyLaw
) -> list[ChangedAnswer]:
    """Return in which times the answers differ, each as long as both stay the same; ``states`` are
    in order.
    """
    found: list[tuple[datetime, Permission, Permission]] = []
    for (since, state), until in zip(states, _ends([at for at, _ in states]), strict=True):
        lapses = (_lapses_at(state, law) for law in (before, after))
        moments = {since, *(at for at in lapses if at is not None and at > since)}
        for at in sorted(at for at in moments if until is None or at < until):
            old, new = (answer(state, recipient_type, law, at) for law in (before, after))
            if not found or found[-1][1:] != (old, new):
                found.append((at, old, new))
    return [
        ChangedAnswer(at, until, old, new)
        for (at, old, new), until in zip(found, _ends([one[0] for one in found]), strict=True)
        if old != new
    ]


def answer(state: KeyState, recipient_type: RecipientType, law: KeyLaw, at: datetime) -> Permission:
    """Return the answer by ``law`` while ``state`` is what is known."""
    lapses_at = _lapses_at(state, law)
    if lapses_at is not None and at >= lapses_at:
        state = replace(state, closed_as=State.EXPIRED)
    found = state.permission(recipient_type)
    if found.may_send and _is_void(state.registration.state, law):
        # Of what is left: the opt-in that is to be registered, or nothing.
        unverified = replace(state.registration, verified_at=None)
        left = replace(state, registration=unverified).permission(recipient_type).reason
        is_pending = left is PermissionReason.AWAITING_IYS
        reason = PermissionReason.AWAITING_IYS if is_pending else PermissionReason.VOID
        return Permission(may_send=False, reason=reason)
    return found


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
    event: DueEvent, before: KeyLaw, after: KeyLaw, period: Period, now: datetime
) -> Iterator[AnswerChange]:
    old, new = (law.term(event.effective_at, event.status) for law in (before, after))
    if old == new:
        return
    ends = [one for term in (old, new) for one in term if one is not None]
    until = max(ends) if None not in (old.due_at, new.due_at) else None
    if not period.overlaps(event.effective_at, until):
        return
    was, would_be = (fulfilment(event, term, now) for term in (old, new))
    if was is not would_be:
        words = f"{event.status} {was}", f"{event.status} {would_be}"
        about = f"{event.status}, due {_text(old.due_at)} -> {_text(new.due_at)}"
        yield _change(AnswerChangeKind.OBLIGATION, *words, event.effective_at, until, about)


def _of_receipt(receipt: AskedReceipt, changed: Sequence[ChangedAnswer]) -> Iterator[AnswerChange]:
    """Yield the receipt if its answer is another by the other settings.

    A yes is wrong where they say no. A no is wrong where they say yes, and the gate said no for
    what has changed: not where it was stale, say, or the brand suspended.
    """
    at = receipt.asked_at
    found = next((one for one in changed if one.has(at)), None)
    if (
        found is None
        or receipt.message_class in _EXEMPT
        or receipt.may_send == found.after.may_send
    ):
        return
    if receipt.may_send or receipt.reason == found.before.reason:
        kind = AnswerChangeKind.SENT if receipt.may_send else AnswerChangeKind.WITHHELD
        campaign = f", campaign {receipt.campaign}" if receipt.campaign else ""
        said = f"{'yes' if receipt.may_send else 'no'}: {receipt.reason}"
        yield _change(
            kind,
            said,
            in_words(found.after),
            at,
            at,
            f"receipt {receipt.receipt_id}, by {receipt.asked_by}{campaign}",
        )


def _change(  # noqa: PLR0913, PLR0917  # the fields, with instants
    kind: AnswerChangeKind,
    before: str,
    after: str,
    since: datetime,
    until: datetime | None,
    about: str = "",
) -> AnswerChange:
    return AnswerChange(
        kind=kind,
        before=before,
        after=after,
        since=since.isoformat(),
        until=None if until is None else until.isoformat(),
        about=about,
    )


def _text(at: datetime | None) -> str:
    return "never" if at is None else at.isoformat()


def _ends(starts: Sequence[datetime]) -> list[datetime | None]:
    """Return until when each of what ``starts`` then holds; None: to this day."""
    return [*starts[1:], None][: len(starts)]


def _lapses_at(state: KeyState, law: KeyLaw) -> datetime | None:
    """Return when the term of the desired event ends, if anything ends with it."""
    desired = state.desired
    return None if desired is None else law.term(desired.effective_at, desired.status).lapses_at


def _is_void(registered: RegisteredState, law: KeyLaw) -> bool:
    """Whether a provider registered a consent after its term."""
    stated_at, created_at = registered.stated_at, registered.creation_date
    if registered.value is not Registered.ONAY or registered.from_iys:
        return False
    if stated_at is None or created_at is None:
        return False
    lapses_at = law.term(stated_at, Status.ONAY).lapses_at
    return lapses_at is not None and created_at >= lapses_at
