"""The search for counterexamples: none where the law holds, a minimal one where it does not.

Made sets of events: as nasty as they should be, and the same for the same seed.
``izin verify``: one digest, and a readable counterexample.
Laws that are broken on purpose, each in one way: each needs a counterexample.

Brands: what a change affects, what needs a person, and the remedy for each.

The sentence of ``izin deadlines``: what will be late, and what no worker will ever send.

A sweep, and counts that differ, in words.

What the doctor says of subscribers: how many take their events, and which ones do not.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta, timezone
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st
from typer.testing import CliRunner, Result

from izin.cli.brands.command import changes, described
from izin.cli.brands.suspensions import rights_changes
from izin.cli.cli import app
from izin.cli.deadlines import in_words, parked_counts
from izin.cli.doctor.faults import of_webhooks
from izin.cli.doctor.finding import CheckState
from izin.cli.iys import TITLES, remedy_of_count, sweep_row, sweep_state
from izin.cli.remedies import REMEDIES, remedy_of_parked, remedy_of_suspension
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
    Channel,
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
from izin.consent.forecast import forecast
from izin.consent.model import Reason
from izin.ledger.reads import Count, Parked
from izin.ledger.record import Brand, Suspension
from tests.support.builders import BRAND, CUSTOMER, NOON, a_count, a_ret, a_sweep, an_admitted_event
from tests.support.webhooks import a_subscriber
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


PRODUCT = Path(__file__).parents[3] / "izin"
NOTHING = forecast([], now=NOON, records_per_second=1)
ENDED: dict[str, Any] = {"after": None, "ended_at": NOON}
PAUSED = a_subscriber(name="paused", paused_at=NOON, paused_for="operator")


def test_each_reason_for_parking_has_a_remedy() -> None:
    """Every reason that the sinks give is known to ``izin brands parked``."""
    given = {
        reason
        for path in PRODUCT.rglob("*.py")
        for reason in re.findall(r"park\(\w+, \"([a-z-]+)\"", path.read_text("utf-8"))
    }
    assert given
    assert given <= set(REMEDIES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "0", "--iys-code", "1", "--customer", "acme", "--name", "Örnek"],
        ["add", "1", "--iys-code", "0", "--customer", "acme", "--name", "Örnek"],
        ["add", "1", "--iys-code", "1", "--customer", "acme", "--name", "Örnek", "--activated-at"],
        [*("add", "1", "--iys-code", "1", "--customer", "acme"), "--name", ""],
        [*("add", "1", "--iys-code", "1", "--name", "Örnek"), "--customer", " "],
        ["add", "1", "--iys-code=1", "--customer=acme", "--name=x", "--activated-at=soon"],
        ["requeue", "1", "--plan=plan.json"],
        ["requeue", "1", "--plan=plan.json", "--because=reconsent"],
        ["requeue", "1", "--plan=plan.json", "--because=reconsent", "--exactly=1", "--execute"],
        ["rights", "1"],
        ["rights", "1", "--type", "SMS"],
        ["rights", "1", "--type", "MESAJ", "--none"],
    ],
)
def test_brands_with_wrong_arguments_is_wrong_usage(arguments: list[str]) -> None:
    """An impossible code, a missing date, a reason not given: exit code 2."""
    assert RUNNER.invoke(app, ["brands", *arguments]).exit_code == 2


KNOWN = Brand(
    brand_code=BRAND,
    iys_code=BRAND,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=NOON,
    account="ada",
    subscription="ACTIVE",
    subscription_ends_at=NOON + timedelta(days=200),
    consent_limit=1000,
    consents_used=10,
    queried_at=NOON,
)


def test_changes_list_only_what_affects_records() -> None:
    """A name affects nothing; a term, an account or a stop does."""
    assert changes(KNOWN, replace(KNOWN, name="Başka")) == []
    assert changes(KNOWN, replace(KNOWN, activated_at=None, account=None)) == []
    changed = replace(KNOWN, activated_at=NOON + timedelta(days=1), status="stopped", account="")
    assert changes(KNOWN, changed) == [
        "active since: 02.03.2026 12:00:00 -> 03.03.2026 12:00:00",
        "status: active -> stopped",
        "account: ada -> any",
    ]


def test_described_brand_in_order_has_no_warning() -> None:
    """Terms, account, subscription, rights and unsettled records, without a warning."""
    waiting = Count(
        brand_code=BRAND, channel="MESAJ", desired_status="ONAY", state="pending", keys=7
    )
    rows = described(KNOWN, (), (waiting,), now=NOON)
    assert not [warning for _, _, warning in rows if warning]
    assert ("account", "ada", "") in rows
    assert ("right to MESAJ", "write", "") in rows
    assert ("MESAJ pending", "7", "") in rows


def a_suspension(**fields: object) -> Suspension:
    """Return the suspension of a lost right to MESAJ."""
    suspension = Suspension(
        brand_code=BRAND,
        channel="MESAJ",
        status="*",
        code="H353",
        reason="no right to write MESAJ for this brand at İYS (H353)",
        scope="brand",
        since=NOON,
        recheck_at=NOON,
        rechecks=0,
    )
    return replace(suspension, **fields)


@pytest.mark.parametrize(
    ("suspension", "first_step"),
    [
        (a_suspension(), "the right to write MESAJ"),
        (a_suspension(channel="*", code="H250", scope="account"), "IYS_USERNAME"),
        (a_suspension(channel="*", code="H521", scope="provider"), "subscription"),
        (a_suspension(channel="*", code="H249"), "its code"),
        (a_suspension(channel="*", status="ONAY", code="H525", scope="provider"), "quota"),
    ],
)
def test_suspension_by_iys_has_its_remedy(suspension: Suspension, first_step: str) -> None:
    """The first step, the retry, and what to do about suspended opt-outs."""
    remedy = remedy_of_suspension(suspension, (suspension,))
    assert first_step in remedy
    assert f"izin brands retry {BRAND}" in remedy
    assert (f"izin deadlines opt-outs {BRAND}" in remedy) is (suspension.status == "*")


@pytest.mark.parametrize(
    ("mine", "said", "not_said"),
    [
        (
            a_suspension(code="no-right", recheck_at=None),
            f"izin brands rights {BRAND} --type ARAMA --type MESAJ;",
            "izin brands retry",
        ),
        (
            a_suspension(channel="*", code="ordered", recheck_at=None),
            f"izin brands resume {BRAND} --what iys",
            "izin brands rights",
        ),
    ],
    ids=["right", "order"],
)
def test_suspension_by_a_person_is_not_retried(mine: Suspension, said: str, not_said: str) -> None:
    """A retry would be refused, and count against our address. The command gives one right, and
    names those that the brand has already; what was ordered is ended by another order.
    """
    other = a_suspension(channel="EPOSTA", code="no-right", recheck_at=None)
    anothers = a_suspension(channel="ARAMA", brand_code=BRAND + 1, recheck_at=None)
    remedy = remedy_of_suspension(mine, (mine, other, anothers))
    assert (said in remedy, not_said in remedy) == (True, False)
    assert f"izin deadlines opt-outs {BRAND}" in remedy


def test_remedy_of_parked_is_a_whole_command() -> None:
    """With brand and reason, ready to be copied."""
    assert remedy_of_parked(BRAND, "reconsent", all_of=7).endswith(
        f"izin brands requeue {BRAND} --because reconsent --exactly 7 --plan requeue.json"
    )
    assert f"izin brands add {BRAND}" in remedy_of_parked(BRAND, "unknown-brand")
    assert remedy_of_parked(BRAND, None) == "see izin explain"
    assert not [why for why in REMEDIES if "{" in remedy_of_parked(BRAND, why)]


def test_rights_changes_count_what_waits_or_continues() -> None:
    """One line for each channel that changes, with what would wait or continue; a right that İYS
    refuses cannot be given here.
    """
    ours = a_suspension(channel="EPOSTA", recheck_at=None)
    counts = [
        Count(brand_code=BRAND, channel="MESAJ", desired_status=status, state=state, keys=keys)
        for status, state, keys in (
            ("RET", "pending", 2),
            ("RET", "accepted", 40),
            ("ONAY", "retryable", 3),
        )
    ]
    assert rights_changes(BRAND, (ours,), {Channel.ARAMA, Channel.MESAJ}, counts) == []
    assert rights_changes(BRAND, (ours,), {Channel.ARAMA, Channel.EPOSTA}, counts) == [
        (
            "MESAJ: write -> no; 2 opt-outs and 3 consents wait until it is given back; "
            f"opt-outs that cannot: izin deadlines opt-outs {BRAND}"
        ),
        "EPOSTA: no -> write; 0 opt-outs and 0 consents continue",
    ]
    (line,) = rights_changes(BRAND, (a_suspension(),), set(Channel), counts)
    assert f"izin brands retry {BRAND}" in line
    taken = rights_changes(BRAND, (a_suspension(),), {Channel.ARAMA, Channel.EPOSTA}, counts)
    assert taken[0].startswith("MESAJ: no, refused by İYS -> no; 2 opt-outs")


def test_described_brand_warns_about_what_needs_a_person() -> None:
    """A lost right, an ending and nearly full subscription, parked records."""
    suspension = a_suspension()
    parked = Count(
        brand_code=BRAND, channel="EPOSTA", desired_status="ONAY", state="parked", keys=1
    )
    brand = replace(
        KNOWN, subscription_ends_at=NOON + timedelta(days=3), consents_used=960, status="stopped"
    )
    rows = {
        field: (value, warning)
        for field, value, warning in described(brand, (suspension,), (parked,), now=NOON)
    }
    assert rows["right to MESAJ"] == ("no", f"{suspension.reason}, since 02.03.2026 12:00:00")
    assert rows["right to ARAMA"] == ("write", "")
    assert rows["subscription"][1] == (
        "it ends on 2026-03-05; 960 of 1,000 addresses are used: beyond, new ONAYs may be refused"
    )
    assert rows["EPOSTA parked"] == ("1", "see: izin brands parked")
    assert rows["status"][1]


def parked(status: str, keys: int) -> Parked:
    """Return so many records of brand 7 that wait for a person."""
    return Parked(
        brand_code=7,
        channel="MESAJ",
        desired_status=status,
        reason="reconsent",
        code=None,
        keys=keys,
    )


def test_in_words_counts_parked_opt_outs_and_consents() -> None:
    """Nothing of them is sent before a person acts, so the sentence says where to look."""
    found = parked_counts([parked("RET", 2), parked("ONAY", 5), parked("RET", 1)])
    assert in_words(NOTHING, 0, found) == (
        "nothing else waits to be sent; 3 opt-outs and 5 consents are parked until a person acts: "
        "izin brands parked says what to do; opt-outs that cannot wait: izin deadlines opt-outs 7"
    )
    assert in_words(NOTHING, 0, parked_counts([parked("ONAY", 1)])).endswith(
        "0 opt-outs and 1 consents are parked until a person acts: izin brands parked says what "
        "to do"
    )
    assert in_words(NOTHING, 0, parked_counts([])) == "nothing waits to be sent"


def test_in_words_names_suspended_records_too() -> None:
    """Both keep records from being sent, and have different remedies."""
    words = in_words(NOTHING, 4, parked_counts([parked("RET", 1)]))
    assert "4 are suspended: izin brands suspensions, izin brands list" in words
    assert "1 opt-outs and 0 consents are parked" in words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "500 of 2,000 keys, 25%"),
        ({"keys": 0, "queried": 0}, "0 of 0 keys, 0%"),
        ({"keys": 400}, "500 of 400 keys, 100%"),
        (ENDED, "done"),
        ({**ENDED, "is_stopped": True}, "500 of 2,000 keys, 25%; stopped"),
        (
            {"error": "İYS answered statuses with 503", "retry_at": NOON},
            "waits until 02.03.2026 12:00:00, for İYS answered statuses with 503",
        ),
        (
            {"skipped_groups": ("MESAJ/TACIR: H353",)},
            "left out MESAJ/TACIR: H353: give the right back",
        ),
    ],
)
def test_state_of_a_sweep_says_how_far_it_is_and_what_holds_it_up(
    fields: dict[str, Any], words: str
):
    """Keys may have come and gone since they were counted."""
    sweep = a_sweep(**fields)
    assert words in sweep_state(sweep)
    assert len(sweep_row(sweep)) == len(TITLES)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "nothing to do"),
        ({"iys_onay": 11}, "nothing to do"),
        ({"iys_onay": 14}, "İYS holds 4 ONAY that no key here has: only its portal"),
        ({"iys_ret": 9, "onay": 10}, "İYS holds 4 RET"),
        ({"iys_onay": 2}, f"8 ONAY here are not at İYS: izin iys sweep start --brand {BRAND}"),
    ],
)
def test_difference_of_counts_has_a_remedy(fields: dict[str, int], words: str):
    """What was on its way to İYS is none."""
    assert words in remedy_of_count(a_count(**fields))


def failing(minutes: int) -> object:
    """Return a subscriber that has been failing for so long."""
    since = NOON - timedelta(minutes=minutes)
    return a_subscriber(name="bad", failing_since=since, last_failure="status 500: refused")


@pytest.mark.parametrize(
    ("minutes", "state", "said"),
    [
        (
            *(1, CheckState.OK),
            ["1 running; of 3 subscribers 1 take their events, 1 failing, 1 paused"],
        ),
        (
            *(6, CheckState.WRONG),
            ["subscriber bad has not taken something since", "izin subscribers show bad"],
        ),
    ],
)
def test_subscriber_failing_for_longer_than_a_moment_is_a_fault(
    minutes: int, state: CheckState, said: list[str]
):
    """With since when, why, and the command that shows more; before that it is counted."""
    (found,) = of_webhooks(
        [a_subscriber(name="good"), failing(minutes), PAUSED], running=1, now=NOON
    )
    assert found.state is state
    assert [one for one in said if one not in found.what] == []
