"""Made sets of events: as nasty as they should be, and the same for the same seed."""

from collections.abc import Callable
from itertools import combinations
from random import Random

import pytest

from izin.cli.verify.permutations import contradicting_events
from izin.consent import AdmittedEvent, DateBasis, OriginRank, RecipientType, Status

SETS = [contradicting_events(8, rng=Random(seed)) for seed in range(300)]
CLAIMS = [event for events in SETS for event in events]


def same_second(one: AdmittedEvent, other: AdmittedEvent) -> bool:
    """Whether both count from one second of one key."""
    return (one.key, one.effective_at) == (other.key, other.effective_at)


PAIRS: dict[str, Callable[[AdmittedEvent, AdmittedEvent], bool]] = {
    "ONAY and RET in one second": lambda one, other: (
        same_second(one, other) and one.status is not other.status
    ),
    "other ranks in one second": lambda one, other: (
        same_second(one, other)
        and one.status is other.status
        and one.event.origin_rank is not other.event.origin_rank
    ),
    "other ids in one second": lambda one, other: (
        one.order[:3] == other.order[:3] and one.order[3] != other.order[3]
    ),
    "equal events": lambda one, other: one == other,
    "one id with two contents": lambda one, other: (
        one.key == other.key and one.order == other.order and one.content != other.content
    ),
    "two keys": lambda one, other: one.key != other.key,
}


@pytest.mark.parametrize("is_nasty", PAIRS.values(), ids=PAIRS)
def test_every_kind_of_tie_is_generated(is_nasty: Callable[[AdmittedEvent, AdmittedEvent], bool]):
    """A tie that is never generated would be a rule that is never tested."""
    nasty = [events for events in SETS if any(is_nasty(*pair) for pair in combinations(events, 2))]
    assert len(nasty) > len(SETS) / 20


KINDS: dict[str, Callable[[AdmittedEvent], bool]] = {
    "a RET that İYS would not take": lambda one: not one.registrable,
    "an undated RET": lambda one: (
        one.status is Status.RET and one.event.consent_date is None and one.event.iys is None
    ),
    "a merchant's undated ONAY": lambda one: (
        one.key.recipient_type is RecipientType.TACIR
        and one.status is Status.ONAY
        and one.event.consent_date is None
        and one.event.iys is None
    ),
    "an ONAY dated ahead of its receipt": lambda one: (
        one.status is Status.ONAY
        and one.event.consent_date is not None
        and one.event.date_basis == DateBasis.RECEIVED
    ),
    "a citizen's, pushed": lambda one: (
        one.event.origin_rank is OriginRank.IYS and one.event.iys.path == "push"
    ),
    "a citizen's, pulled": lambda one: (
        one.event.origin_rank is OriginRank.IYS and one.event.iys.path == "pull"
    ),
    "another provider's": lambda one: one.event.origin_rank is OriginRank.IYS_HS,
    "ours": lambda one: one.event.origin_rank is OriginRank.OURS,
}


@pytest.mark.parametrize("is_of_kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_event_is_generated(is_of_kind: Callable[[AdmittedEvent], bool]):
    """Each kind is at least one in a hundred."""
    assert sum(map(is_of_kind, CLAIMS)) > len(CLAIMS) / 100


def test_set_has_its_size_without_refused_events():
    """Most generated events are admitted."""
    assert max(map(len, SETS)) == 8
    assert len(CLAIMS) > 0.8 * 8 * len(SETS)
    assert contradicting_events(0, rng=Random(1)) == []


def test_same_seed_generates_the_same():
    """A counter-example can be found again."""
    assert contradicting_events(50, rng=Random(7)) == contradicting_events(50, rng=Random(7))
    assert contradicting_events(50, rng=Random(7)) != contradicting_events(50, rng=Random(8))
