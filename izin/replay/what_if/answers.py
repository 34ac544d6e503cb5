"""What the gate would answer about a key over time, by some settings (``consent.may_send``).

An ONAY that İYS holds permits nothing where it was registered after its term: it is void
(Yönetmelik m.7/12). That is the one thing that the ledger's own permission does not look at, for by
its settings it submits nothing after the term.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from izin.consent.may_send import (
    CollectedConsent,
    Permission,
    PermissionReason,
    may_send,
    verdict,
)
from izin.consent.model import OriginRank, RecipientType, Status
from izin.consent.next_action import Registered, RegisteredState
from izin.replay.what_if.facts import KnownState
from izin.replay.what_if.settings import KeyLaw

ALWAYS = datetime.min.replace(tzinfo=UTC)
"""Before everything that is known."""
_UNKNOWN = KnownState(
    at=ALWAYS, desired=None, is_refused=False, registered=RegisteredState(value=Registered.NONE)
)
"""What is known of a key of which there is nothing."""


class Span(NamedTuple):
    """From one instant to the one before another; None: to this day."""

    since: datetime
    until: datetime | None


class AnswerFrom(NamedTuple):
    """An answer that holds from an instant on."""

    at: datetime
    permission: Permission


class ChangedAnswer(NamedTuple):
    """A time in which two settings give different answers."""

    span: Span
    before: Permission
    after: Permission


def answers(
    states: Sequence[KnownState],
    recipient_type: RecipientType,
    law: KeyLaw,
    *,
    closings: Iterable[Span] = (),
) -> list[AnswerFrom]:
    """Return the answers by ``law``, each from where it holds, the first from ever.

    ``states`` are in order. ``closings`` is when the same address is opted out under the other
    recipient type.
    """
    closed = [] if law.is_apart else list(closings)
    found: list[AnswerFrom] = []
    known = [_UNKNOWN, *states]
    for state, end in zip(known, _ends(known), strict=True):
        for at in _moments(state, end, law, closed):
            permission = _answer(state, recipient_type, law, at, is_closed=_is_in(at, closed))
            if not found or found[-1].permission != permission:
                found.append(AnswerFrom(at, permission))
    return found


def closings_of(states: Sequence[KnownState], recipient_type: RecipientType) -> list[Span]:
    """Return when a key of this type is opted out, which no setting changes."""
    found: list[Span] = []
    for state, end in zip(states, _ends(states), strict=True):
        standing = _standing(state, recipient_type, CollectedConsent.NONE)
        if standing is not PermissionReason.OPTED_OUT:
            continue
        if found and found[-1].until == state.at:
            found[-1] = Span(found[-1].since, end)
        else:
            found.append(Span(state.at, end))
    return found


def changed_answers(
    before: Sequence[AnswerFrom], after: Sequence[AnswerFrom]
) -> Iterator[ChangedAnswer]:
    """Yield where two sequences of answers differ, each as long as both stay the same."""
    instants = sorted({one.at for one in (*before, *after)})
    olds, news = iter(before), iter(after)
    old, new = next(olds), next(news)
    next_old, next_new = next(olds, None), next(news, None)
    for place, at in enumerate(instants):
        if next_old is not None and next_old.at <= at:
            old, next_old = next_old, next(olds, None)
        if next_new is not None and next_new.at <= at:
            new, next_new = next_new, next(news, None)
        if old.permission != new.permission:
            until = instants[place + 1] if place + 1 < len(instants) else None
            yield ChangedAnswer(Span(at, until), old.permission, new.permission)


def _ends(states: Sequence[KnownState]) -> list[datetime | None]:
    """Return until when each of ``states`` is what is known; None: to this day."""
    return [*(one.at for one in states[1:]), *([None] if states else [])]


def _moments(
    state: KnownState, end: datetime | None, law: KeyLaw, closed: Sequence[Span]
) -> list[datetime]:
    """Return when the answer may change while ``state`` is what is known."""
    moments = {state.at}
    desired = state.desired
    if desired is not None:
        moments.add(law.term(desired.effective_at, desired.status).lapses_at or state.at)
    for span in closed:
        moments |= {span.since, span.until or span.since}
    return sorted(at for at in moments if at >= state.at and (end is None or at < end))


def _answer(
    state: KnownState, recipient_type: RecipientType, law: KeyLaw, at: datetime, *, is_closed: bool
) -> Permission:
    collected = _collected(state, law, at)
    reason = _standing(state, recipient_type, collected)
    if reason is PermissionReason.REGISTERED and _is_void(state.registered, law):
        is_pending = collected is CollectedConsent.PENDING
        reason = PermissionReason.AWAITING_IYS if is_pending else PermissionReason.VOID
    return verdict(
        reason,
        opted_out=is_closed,
        known=True,
        current=True,
        suspended=False,
        needs_registration=law.needs_registration,
    )


def _standing(
    state: KnownState, recipient_type: RecipientType, collected: CollectedConsent
) -> PermissionReason:
    return may_send(
        recipient_type=recipient_type,
        desired=None if state.desired is None else state.desired.status,
        latest_ret_at=state.latest_ret_at,
        registered=state.registered,
        verified=state.is_verified,
        collected=collected,
    ).reason


def _collected(state: KnownState, law: KeyLaw, at: datetime) -> CollectedConsent:
    """Return what became of the opt-in that one of our systems collected."""
    desired = state.desired
    if (
        desired is None
        or desired.status is not Status.ONAY
        or desired.origin_rank is not OriginRank.OURS
    ):
        return CollectedConsent.NONE
    lapses_at = law.term(desired.effective_at, Status.ONAY).lapses_at
    is_over = lapses_at is not None and at >= lapses_at
    return CollectedConsent.VOID if state.is_refused or is_over else CollectedConsent.PENDING


def _is_void(registered: RegisteredState, law: KeyLaw) -> bool:
    """Whether a provider registered a consent after its term."""
    stated_at, created_at = registered.stated_at, registered.creation_date
    if registered.value is not Registered.ONAY or registered.from_iys:
        return False
    if stated_at is None or created_at is None:
        return False
    lapses_at = law.term(stated_at, Status.ONAY).lapses_at
    return lapses_at is not None and created_at >= lapses_at


def _is_in(at: datetime, spans: Iterable[Span]) -> bool:
    return any(one.since <= at and (one.until is None or at < one.until) for one in spans)
