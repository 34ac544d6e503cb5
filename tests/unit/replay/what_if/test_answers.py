"""Answers over time: the spans that are computed, against judging every instant from scratch."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from izin.consent import (
    BrandTerms,
    Calendar,
    KeyState,
    OriginRank,
    RecipientType,
    Registered,
    RegisteredState,
    State,
    Status,
    expires_at,
)
from izin.consent.may_send import CollectedConsent, PermissionReason, may_send
from izin.replay.what_if.changes import (
    ALWAYS,
    AnswerChangeKind,
    KeyLaw,
    changed_answers,
    changes_of,
)
from tests.support.builders import a_key, an_event, an_iys_origin
from tests.support.replay.entries import KeyStory

MONDAY = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANSWERED = (AnswerChangeKind.ANSWER, AnswerChangeKind.REASON)
DAYS = [date(2026, 5, day) for day in range(4, 23)]
OPEN = BrandTerms(activated_at=datetime(2020, 1, 1, tzinfo=UTC))

hours = st.integers(0, 9 * 24)
terms = st.sampled_from(
    [
        OPEN,
        BrandTerms(),
        BrandTerms(loading_deadline=MONDAY + 90 * HOUR),
        BrandTerms(activated_at=MONDAY + 100 * HOUR),
        BrandTerms(activated_at=MONDAY + 100 * HOUR, loading_deadline=MONDAY + 60 * HOUR),
        BrandTerms(activated_at=MONDAY + 60 * HOUR, loading_deadline=MONDAY + 100 * HOUR),
    ]
)
laws = st.builds(
    KeyLaw,
    calendar=st.builds(Calendar, extra_closed_days=st.frozensets(st.sampled_from(DAYS))),
    terms=terms,
)


@st.composite
def stories(draw: st.DrawFn, recipient_type: RecipientType = RecipientType.BIREYSEL) -> KeyStory:
    """Draw what happened to a key in two weeks: events, results of İYS, and what it showed."""
    story = KeyStory(key=a_key(recipient_type=recipient_type))
    given_events = []
    for number, hour in enumerate(sorted(draw(st.lists(hours, max_size=8)))):
        at = MONDAY + hour * HOUR + timedelta(seconds=number)
        match draw(
            st.sampled_from(["onay", "ret", "saved", "refused", "shown", "late", "citizen"])
        ):
            case "onay" | "ret" as word:
                event = an_event(
                    event_id=f"{word}-{number}",
                    status=word.upper(),
                    recipient_type=str(recipient_type),
                    consent_date=at - draw(st.integers(0, 30)) * HOUR,
                    received_at=at,
                )
                given_events.append(event)
                story.event(event, at)
            case "saved" if given_events:
                story.submitted(given_events[-1], at)
                story.answered(given_events[-1], at)
            case "refused" if given_events:
                story.outcome(given_events[-1], at, "refused", "H110")
            case "shown":
                story.shown(draw(st.sampled_from(list(Status))), at)
            case "late":
                story.shown("ONAY", at, consent_date=(at - 100 * HOUR).isoformat())
            case "citizen":
                event = an_event(
                    event_id=f"citizen-{number}",
                    status="RET",
                    source="IYS_WEB",
                    recipient_type=str(recipient_type),
                    consent_date=at,
                    received_at=at,
                    iys=an_iys_origin(creation_date=at),
                )
                story.event(event, at)
            case _:
                pass
    return story


def from_scratch(story: KeyStory, law: KeyLaw, at: datetime) -> tuple[bool, PermissionReason]:
    """Return the answer at one instant, by nothing but what was recorded until then."""
    states = story.facts(until=at + timedelta(microseconds=1)).states
    state = states[-1].state if states else KeyState()
    collected, desired = CollectedConsent.NONE, state.desired
    if (
        desired is not None
        and desired.status is Status.ONAY
        and desired.origin_rank is OriginRank.OURS
    ):
        ends = expires_at(desired.effective_at, law.terms, now=at, calendar=law.calendar)
        is_void = state.closed_as is State.REFUSED or (ends is not None and at > ends)
        collected = CollectedConsent.VOID if is_void else CollectedConsent.PENDING
    registered = state.registration.state
    reason = may_send(
        recipient_type=story.key.recipient_type,
        desired=None if desired is None else desired.status,
        latest_ret_at=state.latest_ret_at,
        registered=registered,
        verified=state.registration.verified_at is not None,
        collected=collected,
    ).reason
    if reason is PermissionReason.REGISTERED and _is_late(registered, law):
        is_pending = collected is CollectedConsent.PENDING
        reason = PermissionReason.AWAITING_IYS if is_pending else PermissionReason.VOID
    return reason is PermissionReason.REGISTERED, reason


def _is_late(registered: RegisteredState, law: KeyLaw) -> bool:
    """Whether a provider registered the consent after its term."""
    assert registered.value is Registered.ONAY
    stated_at, created_at = registered.stated_at, registered.creation_date
    if registered.from_iys or stated_at is None or created_at is None:
        return False
    ends = expires_at(stated_at, law.terms, now=created_at, calendar=law.calendar)
    return ends is not None and created_at > ends


@given(stories(), laws, laws, st.lists(hours, min_size=1, max_size=6))
def test_answers_differ_where_they_do_from_scratch(
    story: KeyStory, before: KeyLaw, after: KeyLaw, sampled: list[int]
):
    """Whatever happened and whatever is set, an instant is in a changed time exactly where judging
    it alone gives two answers, and these are they.
    """
    changed = changed_answers(story.facts().states, story.key.recipient_type, before, after)
    instants = [MONDAY + hour * HOUR for hour in sampled]
    instants += [one["recorded_at"] for one in story.entries]
    instants += [at for one in changed for at in (one.since, one.until) if at is not None]
    instants += [one.terms.activated_at for one in (before, after) if one.terms.activated_at]
    instants += [at - timedelta(seconds=1) for at in instants if at > MONDAY]
    for at in instants:
        expected = [from_scratch(story, law, at) for law in (before, after)]
        found = [one for one in changed if one.has(at)]
        assert len(found) == (expected[0] != expected[1])
        for one in found:
            assert [(it.may_send, it.reason) for it in (one.before, one.after)] == expected
    kept = changes_of(story.facts(), before, after, period=ALWAYS, now=MONDAY + 400 * HOUR)
    assert sum(one.kind in ANSWERED for one in kept) == len(changed)


def test_same_settings_change_nothing():
    """The comparison of settings with themselves is empty; where the term is another, so is the
    answer for as long.
    """
    story = KeyStory()
    story.event(an_event(consent_date=MONDAY, received_at=MONDAY), MONDAY)
    law = KeyLaw(calendar=Calendar(), terms=OPEN)
    longer = KeyLaw(calendar=Calendar(extra_closed_days=frozenset({DAYS[1]})), terms=OPEN)
    states = story.facts().states
    assert not changed_answers(states, RecipientType.BIREYSEL, law, law)
    (found,) = changed_answers(states, RecipientType.BIREYSEL, law, longer)
    assert (found.before.reason, found.after.reason) == (
        *(PermissionReason.VOID, PermissionReason.AWAITING_IYS),
    )
    assert found.until == found.since + timedelta(days=1)
