"""The search for counterexamples: none where the law holds, a minimal one where it does not.

Made sets of events: as nasty as they should be, and the same for the same seed.
``izin verify``: one digest, and a readable counterexample.
Laws that are broken on purpose, each in one way: each needs a counterexample.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta, timezone
from itertools import combinations
from random import Random
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st
from typer.testing import CliRunner, Result

from izin.cli.cli import app
from izin.cli.verify import command
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
    DecisionKind,
    OriginRank,
    OurError,
    RecipientType,
    Status,
    decide,
    merge,
)
from izin.consent.model import Reason
from tests.support.builders import NOON, a_ret, an_admitted_event
from tests.unit.consent.strategies import admitted_events
from tests.unit.consent.test_ordering import state_after


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
    return replace(
        merge(one, other), latest_ret_at=max(one, other, key=lambda held: held.order).latest_ret_at
    )


def merge_takes_first(one: Consent, other: Consent) -> Consent:
    """Keep the first state, but for the latest instants."""
    return _with_instants(one, merge(one, other))


def merge_takes_least(one: Consent, other: Consent) -> Consent:
    """Let the least of equal states represent them."""
    is_equal = (one.effective_at, one.status) == (other.effective_at, other.status)
    least = min(one, other, key=lambda held: (held.order, held.content))
    return _with_instants(least, merge(one, other)) if is_equal else merge(one, other)


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


RUNNER = CliRunner()


def run_verify(*options: str) -> Result:
    """Run `izin verify` with these options."""
    return RUNNER.invoke(app, ["verify", *options])


def verified(*options: str) -> dict[str, Any]:
    """Return the JSON of a run without a counterexample."""
    shown = run_verify("--output", "json", *options)
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout)


def test_verify_result_depends_on_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the same digest. Another seed tries other sets."""
    monkeypatch.setattr(command, "LARGE", 20)
    one, two = (verified("--permutations", "300")["digest"] for _ in range(2))
    assert one == two
    assert verified("--permutations", "300", "--seed", "1")["digest"] != one


def test_verify_by_default_tries_both_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets, and a large one for every thousand; the table has both, and one digest."""
    monkeypatch.setattr(command, "LARGE", 200)
    found = verified("--permutations", "1001")
    small, large = found["series"]
    assert (small["set"], small["sets"], small["permutations"]) == ("2 to 8 events", 41, 1001)
    assert (large["set"], large["sets"], large["permutations"]) == ("200 events", 1, 2)
    assert found["counterexample"] is None
    shown = run_verify("--permutations", "1001")
    assert f"one digest: {found['digest']}" in shown.stdout
    assert small["digest"][:16] in shown.stdout
    assert command.PERMUTATIONS == 100 * command.PER_LARGE


def test_verify_counterexample_as_json_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1; two events, two orders, both states, and masked recipients."""
    monkeypatch.setattr(command, "LAW", LAST_WINS)
    shown = run_verify("--output", "json", "--permutations", "100")
    assert shown.exit_code == 1
    found = json.loads(shown.stdout)
    assert found["digest"] is None
    assert len(found["series"]) == 1
    clash = found["counterexample"]
    assert len(clash["events"]) == 2
    assert (clash["one"], clash["other"]) == ([[1, 2]], [[2, 1]])
    assert clash["one_state"] != clash["other_state"]
    keys = [one["key"] for one in clash["events"] + clash["one_state"] + clash["other_state"]]
    assert all("***" in key for key in keys)


def test_verify_counterexample_as_table_shows_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fields that differ are there, and the recipient is masked."""
    monkeypatch.setattr(command, "LAW", BROKEN["merge takes the first"][0])
    monkeypatch.setattr(command.out, "width", 200)
    shown = run_verify("--permutations", "500")
    assert shown.exit_code == 1
    assert "the law does not hold: the two orders give different states" in shown.stdout
    assert "(1 2)" in shown.stdout
    assert "(1) + (2)" in shown.stdout
    assert "***" in shown.stdout
    assert "+90500" not in shown.stdout
    rows = [line.strip("│").split("│") for line in shown.stdout.splitlines() if "***" in line]
    states = [one for one in rows if len(one) == 4]
    assert states
    assert all(one[2].strip() != one[3].strip() for one in states)


def test_verify_of_zero_permutations_is_wrong_usage() -> None:
    """It would check nothing."""
    assert run_verify("--permutations", "0").exit_code == 2


def test_verify_interrupted_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it with exit code 130, and no digest."""
    monkeypatch.setattr(command, "try_law", Mock(side_effect=KeyboardInterrupt))
    shown = run_verify()
    assert shown.exit_code == 130
    assert "digest" not in shown.stdout
