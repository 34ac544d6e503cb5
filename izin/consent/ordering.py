"""The lawful order of a recipient's changes.

    order = (effective instant in whole seconds, ONAY < RET, origin rank, event_id)

and the greatest wins.

The instant comes first because Yönetmelik m.9 binds the sender from the recipient's own act, not
from the moment a message about it arrives. RET beats ONAY in the same second, for İYS's clock has
no finer grain and a "no" must never be undone by accident. Origin rank and event id only choose
which of two equal statements represents them: they never change a status.

A source that gives one event id to two statements breaks its own word, and must not break ours.
Where all four parts are equal, the greater content (what the state keeps of a claim) represents
the two, whichever came first; a repetition with the same content is a duplicate.

Taking the greatest is commutative, associative and idempotent, so any permutation, duplication,
batching, split or replay of the same claims gives the same :class:`~izin.consent.model.Consent`.
``izin verify`` tries it, with :mod:`izin.console.permutations`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from izin.consent.making import maker
from izin.consent.model import (
    Claim,
    Consent,
    Decision,
    DecisionKind,
    Reason,
    Status,
)

if TYPE_CHECKING:
    from datetime import datetime

_consent = maker(Consent)
_decision = maker(Decision)

# Told once, for a member of an enumeration costs more to look up than two instants to compare.
_ONAY = Status.ONAY
_WINS = (DecisionKind.APPLY, DecisionKind.ENRICHED)
_NEWER = DecisionKind.APPLY, Reason.NEWER
_RET_WINS_TIE = DecisionKind.APPLY, Reason.RET_WINS_TIE
_BETTER = DecisionKind.ENRICHED, Reason.BETTER_EVIDENCE
_OLDER = DecisionKind.STALE, Reason.OLDER
_SAME = DecisionKind.DUPLICATE, Reason.SAME_EVENT
_LESSER = DecisionKind.DUPLICATE, Reason.LESSER_EVIDENCE


def decide(current: Consent | None, claim: Claim) -> Decision:
    """Return what the law makes of ``claim`` where it held ``current`` true; None: nothing."""
    if current is None:
        return _decision(
            kind=DecisionKind.APPLY,
            reason=Reason.FIRST,
            claim=claim,
            consent=_standing(claim, None),
            opted_out=claim.status is Status.RET,
        )
    kind, reason = _compare(current, claim)
    wins = kind in _WINS
    consent = _standing(claim, current) if wins else _noting(current, claim)
    return _decision(
        kind=kind,
        reason=reason,
        claim=claim,
        consent=consent,
        opted_out=current.status is _ONAY and consent.status is not _ONAY,
    )


def merge(one: Consent, other: Consent) -> Consent:
    """Return what the law holds true of a key of which two states, built apart, are known."""
    if one.order == other.order:
        greater = one if one.content >= other.content else other
    else:
        greater = one if one.order > other.order else other
    onay = _latest(one.latest_onay_at, other.latest_onay_at)
    ret = _latest(one.latest_ret_at, other.latest_ret_at)
    if onay == greater.latest_onay_at and ret == greater.latest_ret_at:
        return greater
    return replace(greater, latest_onay_at=onay, latest_ret_at=ret)


def _compare(current: Consent, claim: Claim) -> tuple[DecisionKind, Reason]:
    # The order's parts one by one: most claims are decided by the first, and no tuple is built.
    if claim.effective_at > current.effective_at:
        return _NEWER
    if claim.effective_at < current.effective_at:
        return _OLDER
    if claim.status is not current.status:
        return _OLDER if claim.status is _ONAY else _RET_WINS_TIE
    event, rank = claim.event, claim.event.origin_rank
    if rank is not current.origin_rank:
        is_better = rank > current.origin_rank
    elif event.event_id != current.event_id:
        is_better = event.event_id > current.event_id
    elif claim.content != current.content:
        is_better = claim.content > current.content
    else:
        return _SAME
    return _BETTER if is_better else _LESSER


def _standing(claim: Claim, current: Consent | None) -> Consent:
    """Return the state in which ``claim`` has won over ``current``."""
    event = claim.event
    onay_at = None if current is None else current.latest_onay_at
    ret_at = None if current is None else current.latest_ret_at
    # No earlier claim of its status is later, or that one would stand.
    if claim.status is _ONAY:
        onay_at = claim.effective_at
    else:
        ret_at = claim.effective_at
    return _consent(
        key=claim.key,
        customer_id=event.customer_id,
        status=claim.status,
        effective_at=claim.effective_at,
        origin_rank=event.origin_rank,
        event_id=event.event_id,
        origin=event.origin,
        source=event.source,
        consent_date=event.consent_date,
        registrable=claim.registrable,
        latest_onay_at=onay_at,
        latest_ret_at=ret_at,
    )


def _noting(current: Consent, claim: Claim) -> Consent:
    """Return ``current``, unchanged unless ``claim`` moves the latest instant of its status."""
    if claim.status is _ONAY:
        latest = _latest(current.latest_onay_at, claim.effective_at)
        unchanged = latest == current.latest_onay_at
        return current if unchanged else replace(current, latest_onay_at=latest)
    latest = _latest(current.latest_ret_at, claim.effective_at)
    return current if latest == current.latest_ret_at else replace(current, latest_ret_at=latest)


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
