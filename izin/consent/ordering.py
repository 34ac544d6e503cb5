"""The total order of a recipient's events, and what one more event changes.

    order = (effective instant in whole seconds, ONAY < RET, origin rank, event_id)

The greatest event wins.

The instant comes first because Yönetmelik m.9 binds the sender from the recipient's own act, not
from the arrival of a message about it. RET beats ONAY in the same second, for İYS's clock has whole
seconds and an opt-out must never be undone by accident. Origin rank and event id only choose which
of two events of equal instant and status represents them: they never change a status.

A source may give one event id to two different events. Where all four parts are equal, the greater
content (what a consent retains of an event) wins, whichever came first; a repetition with the same
content is a duplicate.

Taking the greatest is commutative, associative and idempotent, so any permutation, duplication,
batching, split or replay of the same events gives the same :class:`~izin.consent.model.Consent`.
``izin verify`` tests it.
"""

from dataclasses import replace
from datetime import datetime

from izin.consent.making import maker
from izin.consent.model import AdmittedEvent, Consent, Decision, DecisionKind, Reason, Status

_consent = maker(Consent)
_decision = maker(Decision)

# Bound once: looking up a member of an enumeration costs more than comparing two instants.
_ONAY = Status.ONAY
_WINS = (DecisionKind.APPLY, DecisionKind.ENRICHED)
_NEWER = DecisionKind.APPLY, Reason.NEWER
_RET_WINS_TIE = DecisionKind.APPLY, Reason.RET_WINS_TIE
_BETTER = DecisionKind.ENRICHED, Reason.BETTER_EVIDENCE
_OLDER = DecisionKind.STALE, Reason.OLDER
_SAME = DecisionKind.DUPLICATE, Reason.SAME_EVENT
_LESSER = DecisionKind.DUPLICATE, Reason.LESSER_EVIDENCE


def decide(current: Consent | None, admitted: AdmittedEvent) -> Decision:
    """Return the decision on ``admitted`` for a key in state ``current``; None: no event yet."""
    if current is None:
        return _decision(
            kind=DecisionKind.APPLY,
            reason=Reason.FIRST,
            admitted=admitted,
            consent=_with_winner(admitted, None),
            opted_out=admitted.status is Status.RET,
        )
    kind, reason = _compare(current, admitted)
    wins = kind in _WINS
    consent = _with_winner(admitted, current) if wins else _with_latest(current, admitted)
    return _decision(
        kind=kind,
        reason=reason,
        admitted=admitted,
        consent=consent,
        opted_out=current.status is _ONAY and consent.status is not _ONAY,
    )


def merge(one: Consent, other: Consent) -> Consent:
    """Return the consent of a key from two states that were built from different events."""
    if one.order == other.order:
        greater = one if one.content >= other.content else other
    else:
        greater = one if one.order > other.order else other
    onay = _latest(one.latest_onay_at, other.latest_onay_at)
    ret = _latest(one.latest_ret_at, other.latest_ret_at)
    if onay == greater.latest_onay_at and ret == greater.latest_ret_at:
        return greater
    return replace(greater, latest_onay_at=onay, latest_ret_at=ret)


def _compare(current: Consent, admitted: AdmittedEvent) -> tuple[DecisionKind, Reason]:
    # Part by part: the first decides most events, and no tuple is built.
    if admitted.effective_at > current.effective_at:
        return _NEWER
    if admitted.effective_at < current.effective_at:
        return _OLDER
    if admitted.status is not current.status:
        return _OLDER if admitted.status is _ONAY else _RET_WINS_TIE
    event, rank = admitted.event, admitted.event.origin_rank
    if rank is not current.origin_rank:
        is_better = rank > current.origin_rank
    elif event.event_id != current.event_id:
        is_better = event.event_id > current.event_id
    elif admitted.content != current.content:
        is_better = admitted.content > current.content
    else:
        return _SAME
    return _BETTER if is_better else _LESSER


def _with_winner(admitted: AdmittedEvent, current: Consent | None) -> Consent:
    """Return the state of a key after ``admitted`` has won over ``current``."""
    event = admitted.event
    onay_at = None if current is None else current.latest_onay_at
    ret_at = None if current is None else current.latest_ret_at
    # No earlier event of this status is later, or it would have won.
    if admitted.status is _ONAY:
        onay_at = admitted.effective_at
    else:
        ret_at = admitted.effective_at
    return _consent(
        key=admitted.key,
        customer_id=event.customer_id,
        status=admitted.status,
        effective_at=admitted.effective_at,
        origin_rank=event.origin_rank,
        event_id=event.event_id,
        origin=event.origin,
        source=event.source,
        consent_date=event.consent_date,
        registrable=admitted.registrable,
        latest_onay_at=onay_at,
        latest_ret_at=ret_at,
    )


def _with_latest(current: Consent, admitted: AdmittedEvent) -> Consent:
    """Return ``current``, with the latest instant of the status of ``admitted`` moved if later."""
    if admitted.status is _ONAY:
        latest = _latest(current.latest_onay_at, admitted.effective_at)
        unchanged = latest == current.latest_onay_at
        return current if unchanged else replace(current, latest_onay_at=latest)
    latest = _latest(current.latest_ret_at, admitted.effective_at)
    return current if latest == current.latest_ret_at else replace(current, latest_ret_at=latest)


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
