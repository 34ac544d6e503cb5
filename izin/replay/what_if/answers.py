"""What the gate would answer about a key over time, by two settings (``consent.may_send``).

An ONAY that İYS holds permits nothing where it was registered after its term: it is void
(Yönetmelik m.7/12). That is the one thing that the ledger's own permission does not look at, for by
its settings it submits nothing after the term.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from izin.consent.fold import KeyState
from izin.consent.may_send import Permission, PermissionReason
from izin.consent.model import RecipientType, Status
from izin.consent.next_action import Registered, RegisteredState
from izin.consent.transitions import State
from izin.replay.what_if.facts import KnownState
from izin.replay.what_if.settings import KeyLaw


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
