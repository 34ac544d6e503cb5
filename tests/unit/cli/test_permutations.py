"""The search for counterexamples: none where the law holds, a minimal one where it does not.

Made sets of events: as nasty as they should be, and the same for the same seed.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta, timezone
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.cli.verify.permutations import (
    Counterexample,
    OrderingLaw,
    canonical,
    contradicting_events,
    digest,
    try_law,
)
from izin.consent import (
    AdmittedEvent,
    Consent,
    DateBasis,
    Decision,
    OriginRank,
    OurError,
    RecipientType,
    Status,
    decide,
    merge,
)
from izin.consent.model import Reason
from tests.support.builders import NOON, a_ret, an_admitted_event
from tests.unit.cli.broken_laws import BROKEN, LAST_WINS
from tests.unit.consent.strategies import admitted_events
from tests.unit.consent.test_ordering import state_after

SETS = 40
MADE = [contradicting_events(8, rng=Random(seed)) for seed in range(300)]
CLAIMS = [event for events in MADE for event in events]


def counterexample_of(law: OrderingLaw, *, size: int = 8) -> Counterexample:
    """Return the counterexample of the first set that has one."""
    for seed in range(SETS):
        rng = Random(seed)
        found = try_law(contradicting_events(size, rng=rng), permutations=25, rng=rng, law=law)
        if isinstance(found, Counterexample):
            return found
    pytest.fail("no counterexample was found")


@pytest.mark.parametrize("size", [*range(9), 300])
def test_all_permutations_of_contradictions_give_one_state(size: int):
    """The law holds, and the digest depends on the events alone."""
    for seed in range(SETS if size < 9 else 2):
        rng = Random(seed)
        events = contradicting_events(size, rng=rng)
        found = try_law(events, permutations=20, rng=rng)
        assert isinstance(found, bytes), found
        rng.shuffle(events)
        assert try_law([*events, *events], permutations=1, rng=Random(seed + 1)) == found


@given(st.lists(admitted_events(), max_size=6), st.randoms(use_true_random=False))
def test_generated_events_give_one_state(events: list[AdmittedEvent], random: Random):
    """With other events, no counterexample is found either."""
    assert isinstance(try_law(events, permutations=3, rng=random), bytes)


@pytest.mark.parametrize(("law", "events"), BROKEN.values(), ids=BROKEN)
def test_broken_law_is_shown_by_a_minimal_counterexample(law: OrderingLaw, events: int):
    """Each kind of fault is found, with a minimal counterexample."""
    found = counterexample_of(law)
    assert len(found.events) == events
    assert {number for part in found.other for number in part} == set(range(events))
    assert len({event.key for event in found.events}) == 1


def test_counterexample_among_many_events_is_minimal():
    """Thousands of events, of which two are to blame."""
    found = counterexample_of(LAST_WINS, size=2_000)
    assert len(found.events) == 2
    assert found.one == ((0, 1),)
    assert found.other == ((1, 0),)


@pytest.mark.parametrize("seed", range(20))
def test_broken_law_in_a_lawful_order_is_found_by_the_replay(seed: int):
    """In any order, applying all events again ends with the lesser one."""
    events = [an_admitted_event(), an_admitted_event(event_id="event-2")]
    assert isinstance(
        try_law(events, permutations=1, rng=Random(seed), law=LAST_WINS), Counterexample
    )


@pytest.mark.parametrize(
    ("law", "why"),
    [
        ("last wins", "a RET was replaced by an ONAY that is no later"),
        ("the latest RET is forgotten", "the latest RET went back"),
        ("merge forgets the latest RET", "the latest RET went back"),
        ("merge takes the first", "the two orders give different states"),
        ("the least represents", "the greatest event does not win"),
    ],
)
def test_counterexample_names_the_violated_property(law: str, why: str):
    """A RET that is replaced or forgotten is detected meanwhile, not only at the end."""
    events = [
        a_ret(event_id="event-0"),
        an_admitted_event(consent_date=NOON + timedelta(seconds=1)),
    ]
    if law == "last wins":
        events = [a_ret(consent_date=NOON + timedelta(seconds=1)), an_admitted_event()]
    if law == "the least represents":
        events = [an_admitted_event(event_id="event-0"), an_admitted_event()]
    found = try_law(events, permutations=25, rng=Random(1), law=BROKEN[law][0])
    assert isinstance(found, Counterexample)
    assert found.why == why


def test_law_that_is_no_function_is_an_error():
    """A counterexample that cannot be reproduced is another kind of fault."""
    calls = iter(range(1_000_000))

    def moody(current: Consent | None, event: AdmittedEvent) -> Decision:
        decision = decide(current, event)
        if decision.reason is Reason.FIRST and next(calls) == 3:
            return replace(decision, consent=replace(decision.consent, origin="z"))
        return decision

    with pytest.raises(OurError, match="not deterministic"):
        try_law(
            [an_admitted_event()],
            permutations=5,
            rng=Random(1),
            law=OrderingLaw(decide=moody, merge=merge),
        )


@given(
    st.lists(admitted_events(), min_size=1, max_size=3),
    st.lists(admitted_events(), min_size=1, max_size=3),
)
def test_only_equal_states_have_equal_bytes(left: list[AdmittedEvent], right: list[AdmittedEvent]):
    """So what is compared as values is the same byte for byte."""
    one, other = state_after(left), state_after(right)
    assert one is not None
    assert other is not None
    assert (canonical(one) == canonical(other)) is (one == other)


def test_instant_has_the_same_bytes_in_any_zone():
    """The digest is of instants, not of how a source writes them."""
    turkish = an_admitted_event(consent_date=NOON.astimezone(timezone(timedelta(hours=3))))
    one, other = state_after([turkish]), state_after([an_admitted_event()])
    assert one == other
    assert canonical(one) == canonical(other)


def test_digest_covers_every_field_of_every_key():
    """A change of any field is another digest; the order of keys is none."""
    state = state_after([an_admitted_event()])
    other = state_after([a_ret(recipient="+905550000002")])
    assert digest({"a": state, "b": other}) == digest({"b": other, "a": state})
    for changed in ({"source": None}, {"registrable": False}, {"law_version": 0}):
        assert digest({"a": replace(state, **changed)}) != digest({"a": state})


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
    nasty = [events for events in MADE if any(is_nasty(*pair) for pair in combinations(events, 2))]
    assert len(nasty) > len(MADE) / 20


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
    assert max(map(len, MADE)) == 8
    assert len(CLAIMS) > 0.8 * 8 * len(MADE)
    assert contradicting_events(0, rng=Random(1)) == []


def test_same_seed_generates_the_same():
    """A counter-example can be found again."""
    assert contradicting_events(50, rng=Random(7)) == contradicting_events(50, rng=Random(7))
    assert contradicting_events(50, rng=Random(7)) != contradicting_events(50, rng=Random(8))
