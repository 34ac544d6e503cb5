"""Every case of an obligation against an oracle: the decision table of the design.

The lifecycle of an obligation is one table, and everything else follows from it.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import given, strategies as st

from izin.consent import (
    ATTESTED_WITHIN,
    BEGINNING,
    CLOSED,
    OPEN,
    SETTLED,
    WAITING,
    Action,
    ActionReason,
    BrandTerms,
    Calendar,
    Desired,
    IllegalTransitionError,
    NaiveInstantError,
    OriginRank,
    Registered,
    RegisteredState,
    State,
    Status,
    after,
    attested,
    rule,
)
from izin.consent.next_action import TABLE
from izin.consent.transitions import (
    FIRST_STATES,
    TRANSITIONS,
    WRITTEN_CHANGES,
    Event,
    diagram,
    guard,
)
from tests.support.builders import NOON, an_event, an_iys_origin

ACTIVE = BrandTerms(activated_at=NOON - timedelta(days=365))
SOON = NOON + timedelta(minutes=1)
LATER = NOON + timedelta(hours=1)
EARLIER = NOON - timedelta(hours=1)


def wanted(status: str = "ONAY", **overrides: object) -> Desired:
    """Return a desired state since noon, from one of our systems."""
    return Desired(
        **{
            "status": Status(status),
            "effective_at": NOON,
            "source": "HS_WEB",
            "consent_date": NOON,
        }
        | overrides
    )


def at_iys(value: str, **overrides: object) -> RegisteredState:
    """Return a registered state."""
    return RegisteredState(value=Registered(value), **overrides)


def ruling(
    desired: Desired, registered: RegisteredState, **overrides: object
) -> tuple[Action, ActionReason]:
    """Return action and reason, a minute past noon, for an active brand."""
    fields: dict[str, Any] = {"now": SOON, "terms": ACTIVE}
    ruled = rule(desired, registered, **fields | overrides)
    return ruled.action, ruled.reason


def test_table_has_every_combination():
    """Every desired status, origin and registered value has a ruling."""
    assert set(TABLE) == set(product(Status, OriginRank, Registered))


def test_onay_after_a_ret_in_between_is_sent_again():
    """The older ONAY that İYS holds permits nothing until the new one is registered."""
    again = wanted(latest_ret_at=EARLIER)
    older = at_iys("ONAY", consent_date=EARLIER - timedelta(hours=1))
    assert ruling(again, older) == (Action.SEND, ActionReason.NOT_REGISTERED)
    assert ruling(again, at_iys("ONAY")) == (Action.SEND, ActionReason.NOT_REGISTERED)
    assert ruling(again, at_iys("ONAY", consent_date=NOON)) == (
        Action.NOTHING,
        ActionReason.SETTLED,
    )
    assert ruling(wanted(), older) == (Action.NOTHING, ActionReason.SETTLED)


@pytest.mark.parametrize("value", ["NONE", "NOT_ONAY", "UNKNOWN"])
def test_onay_that_iys_does_not_hold_is_sent(value: str):
    """m.7/11: a consent is recorded."""
    assert ruling(wanted(), at_iys(value)) == (Action.SEND, ActionReason.NOT_REGISTERED)


@pytest.mark.parametrize("days", [1, 30])
def test_onay_whose_registered_state_is_lost_is_queried(days: int):
    """Whatever its term: İYS may hold it, or a newer opt-out. Neither an opt-out nor what was
    observed since waits for that.
    """
    lost, now = at_iys("UNKNOWN", is_lost=True), NOON + timedelta(days=days)
    query = Action.QUERY, ActionReason.REGISTERED_LOST
    assert ruling(wanted(), lost, now=now) == query
    assert ruling(wanted(registrable=False), lost, now=now) == query
    assert ruling(wanted(), lost, in_flight=True) == (Action.WAIT, ActionReason.IN_FLIGHT)
    assert ruling(wanted("RET"), lost) == (Action.SEND_FIRST, ActionReason.OPT_OUT)


def test_onay_that_iys_holds_is_settled():
    """Independently of the writer."""
    for rank in OriginRank:
        desired = wanted(origin_rank=rank)
        assert ruling(desired, at_iys("ONAY")) == (Action.NOTHING, ActionReason.SETTLED)


def test_onay_past_its_term_expires():
    """m.7/12: what was not recorded in three business days is invalid."""
    # Monday noon: the term ends with Thursday.
    last = NOON.replace(day=5, hour=20, minute=59, second=59)
    assert ruling(wanted(), at_iys("NONE"), now=last)[0] is Action.SEND
    past = last + timedelta(seconds=1)
    assert ruling(wanted(), at_iys("NONE"), now=past) == (Action.EXPIRE, ActionReason.TERM_ENDED)


LOADING = [
    BrandTerms(),
    BrandTerms(loading_deadline=LATER),
    BrandTerms(loading_deadline=EARLIER),
    BrandTerms(activated_at=LATER),
]


@pytest.mark.parametrize("terms", LOADING)
@pytest.mark.parametrize("age", [timedelta(days=900), timedelta(days=2500), timedelta(days=8)])
def test_old_onay_before_activation_expires(terms: BrandTerms, age: timedelta):
    """İYS would take it; by m.7/12 it is void, unless İYS holds it: that is asked first."""
    old = wanted(effective_at=NOON - age)
    assert ruling(old, at_iys("UNKNOWN"), terms=terms) == (Action.QUERY, ActionReason.TERM_ENDED)
    for absent in ("NONE", "NOT_ONAY"):
        assert ruling(old, at_iys(absent), terms=terms) == (Action.EXPIRE, ActionReason.TERM_ENDED)
    assert ruling(old, at_iys("ONAY"), terms=terms)[0] is Action.NOTHING
    assert ruling(wanted(), at_iys("UNKNOWN"), terms=terms)[0] is Action.SEND


def test_late_onay_of_an_active_brand_is_not_queried():
    """Its term is İYS's own: there is nothing to ask."""
    old = wanted(effective_at=NOON - timedelta(days=900))
    assert ruling(old, at_iys("UNKNOWN"))[0] is Action.EXPIRE


def test_onay_over_a_ret_that_is_only_claimed_is_not_given_up():
    """Whoever writes the topic could claim one: İYS is queried before a person is."""
    claimed = replace(at_iys("RET", from_iys=True), verified=False)
    over = wanted(effective_at=LATER)
    for late in (LATER, LATER + timedelta(days=30)):
        asked = (Action.QUERY, ActionReason.ORIGINATED_AT_IYS)
        assert ruling(over, claimed, now=late) == asked
    assert ruling(replace(over, attested=True), claimed, now=LATER)[0] is Action.SEND


@pytest.mark.parametrize("rank", [OriginRank.IYS, OriginRank.IYS_HS])
def test_onay_of_iys_that_iys_does_not_show_is_queried(rank: OriginRank):
    """A claim of an ONAY hides no opt-out while İYS shows an older one."""
    desired = wanted(origin_rank=rank, latest_ret_at=NOON - timedelta(seconds=1))
    older = at_iys("ONAY", consent_date=NOON - timedelta(seconds=1))
    assert ruling(desired, older) == (Action.QUERY, ActionReason.ORIGINATED_AT_IYS)
    assert ruling(desired, at_iys("ONAY", consent_date=NOON))[0] is Action.NOTHING


@pytest.mark.parametrize("rank", list(OriginRank))
def test_ret_against_a_claimed_ret_is_queried(rank: OriginRank):
    """What an event claims settles nothing, whoever is said to have written it."""
    desired = wanted("RET", origin_rank=rank)
    claimed = replace(at_iys("RET"), verified=False)
    assert ruling(desired, claimed) == (Action.QUERY, ActionReason.ORIGINATED_AT_IYS)
    assert ruling(desired, at_iys("RET"))[0] is Action.NOTHING


def test_extra_closed_day_extends_the_term_of_an_onay():
    """The ruling counts by the calendar it was given."""
    closed = Calendar(extra_closed_days=frozenset({NOON.date() + timedelta(days=1)}))
    past = NOON.replace(day=5, hour=22)
    assert ruling(wanted(), at_iys("NONE"), now=past)[0] is Action.EXPIRE
    assert ruling(wanted(), at_iys("NONE"), now=past, calendar=closed)[0] is Action.SEND


def test_onay_waits_for_the_one_in_flight():
    """Never two records of a key at once, and no expiry while one is in flight."""
    waiting = (Action.WAIT, ActionReason.IN_FLIGHT)
    assert ruling(wanted(), at_iys("NONE"), in_flight=True) == waiting
    much_later = NOON + timedelta(days=30)
    assert ruling(wanted(), at_iys("NONE"), in_flight=True, now=much_later) == waiting


def test_onay_over_a_citizens_ret_needs_attestation():
    """Otherwise it is parked."""
    citizens = at_iys("RET", from_iys=True, creation_date=EARLIER)
    assert ruling(wanted(), citizens) == (Action.PARK, ActionReason.RECONSENT)
    assert ruling(wanted(attested=True), citizens)[0] is Action.SEND


def test_onay_over_our_ret_is_sent():
    """What a provider wrote, a newer consent replaces."""
    ours = at_iys("RET", creation_date=LATER, consent_date=EARLIER)
    assert ruling(wanted(), ours)[0] is Action.SEND
    assert ruling(wanted(), at_iys("RET"))[0] is Action.SEND


@pytest.mark.parametrize(
    "registered",
    [
        at_iys("RET", from_iys=True, creation_date=NOON),
        at_iys("RET", from_iys=True, creation_date=LATER),
        at_iys("RET", consent_date=NOON),
    ],
)
def test_onay_not_newer_than_the_ret_is_not_sent(registered: RegisteredState):
    """A RET in the same second or later wins: its event is on the way."""
    assert ruling(wanted(attested=True), registered) == (
        Action.QUERY,
        ActionReason.REGISTERED_NEWER,
    )


def test_expired_onay_over_a_citizens_ret_expires():
    """An expired consent is not parked."""
    citizens = at_iys("RET", from_iys=True, creation_date=EARLIER)
    month_later = NOON + timedelta(days=30)
    assert ruling(wanted(), citizens, now=month_later) == (Action.EXPIRE, ActionReason.TERM_ENDED)


def test_unregistrable_onay_is_parked():
    """It should not exist and is parked."""
    odd = wanted(registrable=False)
    assert ruling(odd, at_iys("NONE")) == (Action.PARK, ActionReason.NOT_REGISTRABLE)


@pytest.mark.parametrize("missing", ["source", "consent_date"])
@pytest.mark.parametrize(
    ("value", "duty"),
    [
        ("NONE", Action.SEND),
        ("RET", Action.PARK),
        ("NOT_ONAY", Action.QUERY),
        ("UNKNOWN", Action.QUERY),
    ],
)
def test_tacir_update_needs_date_and_source(missing: str, value: str, duty: Action):
    """H462, H463: both are optional on the first record alone."""
    found = ruling(wanted(**{missing: None}), at_iys(value))
    assert found[0] is duty
    assert (found[1] is ActionReason.TACIR_UPDATE_INCOMPLETE) is (duty is not Action.SEND)


@pytest.mark.parametrize(
    ("rank", "value"),
    list(product([OriginRank.IYS, OriginRank.IYS_HS], ["RET", "NONE", "NOT_ONAY", "UNKNOWN"])),
)
def test_onay_of_iys_is_never_sent_back(rank: OriginRank, value: str):
    """What İYS no longer shows is queried there and published."""
    desired = wanted(origin_rank=rank)
    assert ruling(desired, at_iys(value)) == (Action.QUERY, ActionReason.ORIGINATED_AT_IYS)


@pytest.mark.parametrize("value", ["ONAY", "UNKNOWN"])
@pytest.mark.parametrize("in_flight", [False, True])
def test_ret_is_sent_ahead_of_everything(value: str, in_flight: bool):
    """m.9/6: where İYS holds or may hold ONAY, even while an ONAY is in flight."""
    ruled = ruling(wanted("RET"), at_iys(value), in_flight=in_flight)
    assert ruled == (Action.SEND_FIRST, ActionReason.OPT_OUT)


def test_ret_is_sent_however_late():
    """A RET never expires."""
    years_later = NOON + timedelta(days=2000)
    assert ruling(wanted("RET"), at_iys("ONAY"), now=years_later)[0] is Action.SEND_FIRST


@pytest.mark.parametrize(("rank", "value"), list(product(OriginRank, ["RET", "NONE", "NOT_ONAY"])))
def test_ret_is_settled_where_iys_holds_no_onay(rank: OriginRank, value: str):
    """H174, H175: there is nothing to withdraw, unless an ONAY of ours may still land."""
    desired = wanted("RET", origin_rank=rank)
    assert ruling(desired, at_iys(value)) == (Action.NOTHING, ActionReason.SETTLED)
    assert ruling(desired, at_iys(value), in_flight=True) == (Action.WAIT, ActionReason.IN_FLIGHT)


def test_unregistrable_ret_is_rescued():
    """It is sent as HS_KARAR once İYS is known to hold an ONAY."""
    faulty = wanted("RET", registrable=False)
    assert ruling(faulty, at_iys("ONAY")) == (Action.RESCUE, ActionReason.NOT_REGISTRABLE)
    assert ruling(faulty, at_iys("UNKNOWN")) == (Action.QUERY, ActionReason.NOT_REGISTRABLE)
    assert ruling(faulty, at_iys("NONE")) == (Action.NOTHING, ActionReason.SETTLED)


def test_newer_onay_of_a_citizen_outranks_our_older_ret():
    """Its event is still on the way."""
    citizens = at_iys("ONAY", from_iys=True, creation_date=LATER)
    assert ruling(wanted("RET"), citizens) == (Action.QUERY, ActionReason.REGISTERED_NEWER)
    before = at_iys("ONAY", from_iys=True, creation_date=EARLIER)
    assert ruling(wanted("RET"), before)[0] is Action.SEND_FIRST


@pytest.mark.parametrize("rank", [OriginRank.IYS, OriginRank.IYS_HS])
@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        (at_iys("ONAY", creation_date=LATER), (Action.RESCUE, ActionReason.REOPENED)),
        (at_iys("ONAY", creation_date=NOON), (Action.QUERY, ActionReason.ORIGINATED_AT_IYS)),
        (at_iys("ONAY"), (Action.QUERY, ActionReason.ORIGINATED_AT_IYS)),
        (
            at_iys("ONAY", creation_date=LATER, from_iys=True),
            (Action.QUERY, ActionReason.REGISTERED_NEWER),
        ),
        (at_iys("UNKNOWN"), (Action.QUERY, ActionReason.ORIGINATED_AT_IYS)),
    ],
)
def test_ret_of_iys_under_a_provider_onay_is_rescued(
    rank: OriginRank, registered: RegisteredState, expected: tuple[Action, ActionReason]
):
    """A provider's ONAY over it is rescued; the citizen's own is respected."""
    assert ruling(wanted("RET", origin_rank=rank), registered) == expected


DESIRED = st.builds(
    Desired,
    status=st.sampled_from(Status),
    effective_at=st.sampled_from([EARLIER, NOON]),
    source=st.sampled_from([None, "HS_WEB"]),
    consent_date=st.sampled_from([None, NOON]),
    origin_rank=st.sampled_from(OriginRank),
    registrable=st.booleans(),
    attested=st.booleans(),
)
REGISTERED = st.builds(
    RegisteredState,
    value=st.sampled_from(Registered),
    creation_date=st.sampled_from([None, EARLIER, NOON, LATER]),
    consent_date=st.sampled_from([None, EARLIER, NOON, LATER]),
    from_iys=st.booleans(),
)
CLOCKS = st.sampled_from([ACTIVE, BrandTerms(), BrandTerms(loading_deadline=EARLIER)])


@given(DESIRED, REGISTERED, CLOCKS, st.booleans())
def test_every_ruling_keeps_the_invariants(
    desired: Desired, registered: RegisteredState, terms: BrandTerms, in_flight: bool
):
    """The two invariants, in every case."""
    ruled = rule(desired, registered, now=SOON, terms=terms, in_flight=in_flight)
    if desired.status is Status.RET:
        assert ruled.action not in (Action.EXPIRE, Action.PARK, Action.SEND)
        if registered.value in (Registered.ONAY, Registered.UNKNOWN):
            assert ruled.action in (Action.SEND_FIRST, Action.RESCUE, Action.QUERY)
    else:
        assert ruled.action not in (Action.SEND_FIRST, Action.RESCUE)
        over_citizens_ret = registered.value is Registered.RET and registered.from_iys
        if ruled.action is Action.SEND and over_citizens_ret:
            assert desired.attested
    if desired.origin_rank is not OriginRank.OURS:
        assert ruled.action not in (Action.SEND, Action.SEND_FIRST)


LIVE = {"notice_version": "2026-01", "source": "HS_MOBIL"}


def test_live_capture_under_a_notice_is_attested():
    """Received soon after, it is certainly new."""
    assert attested(an_event(**LIVE))
    late = an_event(**LIVE, received_at=NOON + ATTESTED_WITHIN)
    assert attested(late)
    assert not attested(late, within=timedelta(minutes=1))


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "HS_FIZIKSEL_ORTAM"},
        {"source": None},
        {"notice_version": None},
        {"notice_version": ""},
        {"import_id": "file-1"},
        {"consent_date": None},
        {"received_at": None},
        {"received_at": NOON + ATTESTED_WITHIN + timedelta(seconds=1)},
        {"iys": an_iys_origin()},
    ],
)
def test_incomplete_capture_is_not_attested(fields: dict[str, Any]):
    """Paper, files, an unknown notice or a late receipt are not certain."""
    assert not attested(an_event(**LIVE | fields))


def test_naive_instants_are_refused_by_ruling():
    """Deadlines depend on them."""
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(NaiveInstantError, match="effective_at"):
        wanted(effective_at=naive)
    for field in ("creation_date", "consent_date"):
        with pytest.raises(NaiveInstantError, match=field):
            at_iys("ONAY", **{field: naive})
    with pytest.raises(NaiveInstantError, match="now"):
        ruling(wanted(), at_iys("NONE"), now=naive)


STATED = {"before": NOON - timedelta(hours=1), "same": NOON, "after": NOON + timedelta(hours=1)}


class Case(NamedTuple):
    """A combination of everything that a ruling depends on."""

    wants: str
    rank: OriginRank
    registered: str
    by_citizen: bool
    stated: str
    registrable: bool
    attested: bool
    in_flight: bool
    expired: bool
    complete: bool
    said_no_between: bool


BETWEEN = NOON - timedelta(minutes=30)


def cases() -> Iterator[Case]:
    """Yield every combination."""
    yes_or_no = (True, False)
    yield from map(
        Case._make,
        product(
            ("ONAY", "RET"),
            OriginRank,
            ("ONAY", "RET", "NONE", "NOT_ONAY", "UNKNOWN"),
            yes_or_no,
            ("never", *STATED),
            *[yes_or_no] * 6,
        ),
    )


def ruled(case: Case) -> Action:
    """Return what the law rules."""
    stated: datetime | None = STATED.get(case.stated)
    return rule(
        Desired(
            status=Status(case.wants),
            effective_at=NOON,
            source="HS_WEB" if case.complete else None,
            consent_date=NOON if case.complete else None,
            origin_rank=case.rank,
            registrable=case.registrable,
            attested=case.attested,
            latest_ret_at=BETWEEN if case.said_no_between else None,
        ),
        RegisteredState(
            value=Registered(case.registered),
            creation_date=stated,
            consent_date=stated,
            from_iys=case.by_citizen,
        ),
        now=NOON + timedelta(days=30 if case.expired else 1),
        terms=ACTIVE,
        in_flight=case.in_flight,
    ).action


def oracle(case: Case) -> Action:
    """Return the action of the design, line by line."""
    if case.wants == "RET":
        return _ret(case)
    older = case.said_no_between and case.stated in {"never", "before"}
    if case.registered == "ONAY" and not older:
        return Action.NOTHING
    if case.rank is not OriginRank.OURS:
        return Action.QUERY  # never sent back
    over_ret = case.registered == "RET"
    return next(
        duty
        for duty, holds in (
            (Action.QUERY, over_ret and case.stated in {"same", "after"}),  # the RET is newer
            (Action.PARK, not case.registrable),
            (Action.WAIT, case.in_flight),
            (Action.EXPIRE, case.expired),
            (Action.PARK, over_ret and not case.complete),
            (Action.PARK, over_ret and case.by_citizen and not case.attested),
            (
                Action.QUERY,
                not case.complete and case.registered in {"ONAY", "NOT_ONAY", "UNKNOWN"},
            ),
            (Action.SEND, True),
        )
        if holds
    )


def _ret(case: Case) -> Action:
    if case.registered in {"RET", "NONE", "NOT_ONAY"}:
        return Action.WAIT if case.in_flight else Action.NOTHING
    citizens_news = (
        case.registered == "ONAY" and case.by_citizen and case.stated == "after"
    )  # the law will hear of it
    if case.rank is OriginRank.OURS:
        if citizens_news:
            return Action.QUERY
        if case.registrable:
            return Action.SEND_FIRST
        return Action.RESCUE if case.registered == "ONAY" else Action.QUERY
    reopened = case.registered == "ONAY" and not case.by_citizen and case.stated == "after"
    return Action.RESCUE if reopened else Action.QUERY


def test_every_case_is_ruled_as_the_design_says():
    """Desired, origin, registered, since, registrable, attested, in flight, in term, complete."""
    all_cases = list(cases())
    assert len(all_cases) == 2 * 3 * 5 * 2 * 4 * 2**6
    assert [(case, ruled(case)) for case in all_cases if ruled(case) is not oracle(case)] == []


def test_ret_is_never_lost_in_the_table():
    """No RET expires, is parked or follows bulk; no ONAY of ours overwrites a citizen's
    RET without attestation, and a RET waits only where İYS shows no ONAY.
    """
    for case in cases():
        duty = ruled(case)
        if case.wants == "RET":
            assert duty not in {Action.EXPIRE, Action.PARK, Action.SEND}, case
            assert duty is not Action.WAIT or case.registered in {"RET", "NONE", "NOT_ONAY"}, case
            assert duty is not Action.NOTHING or not case.in_flight, case
        elif duty is Action.SEND:
            assert case.rank is OriginRank.OURS, case
            assert not case.expired, case
            assert not case.in_flight, case
            hidden = case.registered == "RET" and case.by_citizen
            assert case.attested or not hidden, case


def test_every_action_is_ruled_somewhere():
    """No action of the table is dead."""
    assert {ruled(case) for case in cases()} == set(Action)


def test_every_state_is_reached_and_every_event_used():
    """The table has no orphans."""
    reached, before = {BEGINNING}, set()
    while reached != before:
        before = set(reached)
        reached |= {target for (state, _), target in TRANSITIONS.items() if state in before}
    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_a_transition_outside_the_table_is_an_error(state: State, event: Event):
    """An event leads to the state in the table, or is refused and changes nothing."""
    if (state, event) in TRANSITIONS:
        assert after(state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(IllegalTransitionError) as caught:
        after(state, event)
    assert (caught.value.state, caught.value.event) == (state, event)


def test_groups_of_states_part_the_states():
    """Each state is in one group."""
    assert sorted((*WAITING, *OPEN, *SETTLED, *CLOSED)) == sorted(State)


def test_an_unknown_outcome_is_never_claimed():
    """İYS may have saved the record: its status is queried before it is sent again."""
    assert after(State.IN_FLIGHT, Event.LOSE) is State.UNKNOWN
    with pytest.raises(IllegalTransitionError):
        after(State.UNKNOWN, Event.CLAIM)
    assert after(State.UNKNOWN, Event.RETRY) is State.RETRYABLE


def test_an_expired_obligation_comes_back_by_another_term_alone():
    """m.7/12: a new consent is needed, not another try; unless the term was counted wrongly."""
    assert {event for state, event in TRANSITIONS if state is State.EXPIRED} == {
        Event.EXPIRE,
        Event.EXTEND,
        Event.SETTLE,
    }
    assert {state for state, event in TRANSITIONS if event is Event.EXTEND} == {State.EXPIRED}


def test_a_parked_obligation_can_be_requeued():
    """Nothing is dropped: a person lets it go on."""
    assert after(State.PARKED, Event.REQUEUE) is State.PENDING


def test_a_new_obligation_is_never_submitted_in_its_first_write():
    """It begins pending, and its first ruling may settle, park or expire it."""
    assert {
        State.PENDING,
        State.NOT_NEEDED,
        State.PARKED,
        State.EXPIRED,
    } == FIRST_STATES


def test_the_diagram_shows_every_state_and_event():
    """It is generated from the table, an arrow a pair of states."""
    picture = diagram()
    assert picture.startswith("stateDiagram-v2\n    [*] --> pending\n")
    assert all(state in picture for state in State)
    assert all(event in picture for event in Event)
    assert picture.count("-->") == 1 + len({(s, t) for (s, _), t in TRANSITIONS.items()})


def test_the_guard_names_each_written_change_once():
    """The condition of the database's trigger is the table's written changes, and no other."""
    condition = guard()
    for state, target in product(State, State):
        expected = 1 if (state, target) in WRITTEN_CHANGES else 0
        assert condition.count(f"'{state} {target}'") == expected


def test_states_are_no_status_of_iys():
    """Values go into a database column."""
    assert not {state.value for state in State} & {status.value for status in Status}
