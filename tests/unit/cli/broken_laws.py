"""Laws that are broken on purpose, each in one way: each needs a counterexample."""

from collections.abc import Mapping
from dataclasses import replace

from izin.cli.verify.permutations import OrderingLaw
from izin.consent import AdmittedEvent, Consent, Decision, DecisionKind, Status, decide, merge
from izin.consent.model import Reason


def last_wins(current: Consent | None, event: AdmittedEvent) -> Decision:
    """Keep the last event to arrive, but remember the latest instants."""
    decision = decide(current, event)
    return replace(decision, consent=_with_instants(decide(None, event).consent, decision.consent))


def first_wins_a_tie(current: Consent | None, event: AdmittedEvent) -> Decision:
    """Keep an ONAY that arrived before the RET of the same second."""
    decision = decide(current, event)
    if current is None or decision.reason is not Reason.RET_WINS_TIE:
        return decision
    return replace(decision, consent=_with_instants(current, decision.consent))


def first_content_stays(current: Consent | None, event: AdmittedEvent) -> Decision:
    """Keep the content that arrived first for one event id."""
    decision = decide(current, event)
    is_better = decision.reason is Reason.BETTER_EVIDENCE
    if current is None or not is_better or event.order != current.order:
        return decision
    return replace(decision, consent=current)


def repetition_counts(current: Consent | None, event: AdmittedEvent) -> Decision:
    """Let a repetition of the same event change the state."""
    decision = decide(current, event)
    if decision.reason is not Reason.SAME_EVENT:
        return decision
    return replace(decision, consent=replace(decision.consent, registrable=False))


def latest_ret_forgotten(current: Consent | None, event: AdmittedEvent) -> Decision:
    """Forget the latest RET when an ONAY wins."""
    decision = decide(current, event)
    if decision.kind is not DecisionKind.APPLY or event.status is Status.RET:
        return decision
    return replace(decision, consent=replace(decision.consent, latest_ret_at=None))


def least_wins(current: Consent | None, event: AdmittedEvent) -> Decision:
    """Let the least of equal events represent them: deterministic, but not the law."""
    decision = decide(current, event)
    if current is not None and decision.kind is DecisionKind.ENRICHED:
        return replace(decision, consent=current)
    if decision.reason is Reason.LESSER_EVIDENCE:
        least = _with_instants(decide(None, event).consent, decision.consent)
        return replace(decision, consent=least)
    return decision


def merge_forgets_ret(one: Consent, other: Consent) -> Consent:
    """Keep the greater state's latest RET, though the lesser knows of a later one."""
    return replace(merge(one, other), latest_ret_at=max(one, other, key=_order).latest_ret_at)


def merge_takes_first(one: Consent, other: Consent) -> Consent:
    """Keep the first state, but for the latest instants."""
    return _with_instants(one, merge(one, other))


def merge_takes_least(one: Consent, other: Consent) -> Consent:
    """Let the least of equal states represent them."""
    is_equal = (one.effective_at, one.status) == (other.effective_at, other.status)
    least = min(one, other, key=lambda held: (held.order, held.content))
    return _with_instants(least, merge(one, other)) if is_equal else merge(one, other)


def _order(consent: Consent) -> tuple[object, ...]:
    return consent.order


def _with_instants(consent: Consent, known: Consent) -> Consent:
    return replace(consent, latest_onay_at=known.latest_onay_at, latest_ret_at=known.latest_ret_at)


LAST_WINS = OrderingLaw(decide=last_wins, merge=merge)

BROKEN: Mapping[str, tuple[OrderingLaw, int]] = {
    "last wins": (LAST_WINS, 2),
    "first wins a tie": (OrderingLaw(decide=first_wins_a_tie, merge=merge), 2),
    "first content stays": (OrderingLaw(decide=first_content_stays, merge=merge), 2),
    "a repetition counts": (OrderingLaw(decide=repetition_counts, merge=merge), 1),
    "the latest RET is forgotten": (
        OrderingLaw(decide=latest_ret_forgotten, merge=merge),
        2,
    ),
    "the least represents": (
        OrderingLaw(decide=least_wins, merge=merge_takes_least),
        2,
    ),
    "merge forgets the latest RET": (
        OrderingLaw(decide=decide, merge=merge_forgets_ret),
        2,
    ),
    "merge takes the first": (OrderingLaw(decide=decide, merge=merge_takes_first), 2),
}
"""Each with how many events its smallest counter-example needs."""
