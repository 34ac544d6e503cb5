"""Answers over time: the spans that are computed, against judging every instant from scratch."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from izin.consent.business_days import Calendar
from izin.consent.due_dates import BrandTerms, expires_at
from izin.consent.may_send import CollectedConsent, PermissionReason, may_send
from izin.consent.model import OriginRank, RecipientType, Status
from izin.consent.next_action import Registered
from izin.replay.what_if.answers import (
    AnswerFrom,
    Span,
    answers,
    changed_answers,
    closings_of,
)
from izin.replay.what_if.changes import ChangeKind, Window, changes_of
from izin.replay.what_if.facts import KnownState
from izin.replay.what_if.settings import KeyLaw
from tests.support.builders import a_key, an_event, an_iys_origin
from tests.support.replay.movements import KeyStory

MONDAY = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANSWERED = (ChangeKind.ANSWER, ChangeKind.REASON)
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
    is_apart=st.booleans(),
    needs_registration=st.booleans(),
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


def from_scratch(
    story: KeyStory, other: KeyStory, law: KeyLaw, at: datetime
) -> tuple[bool, PermissionReason]:
    """Return the answer at one instant, by nothing but what was recorded until then."""
    state = _latest(story, at)
    reason = _standing(state, story.key.recipient_type, law, at)
    closing = _latest(other, at)
    if not law.is_apart and _standing(closing, RecipientType.BIREYSEL, None, at) is (
        PermissionReason.OPTED_OUT
    ):
        reason = PermissionReason.OPTED_OUT
    is_free = reason is PermissionReason.REGISTER_FIRST and not law.needs_registration
    return reason is PermissionReason.REGISTERED or is_free, reason


def _latest(story: KeyStory, at: datetime) -> KnownState | None:
    states = story.facts(until=at + timedelta(microseconds=1)).states
    return states[-1] if states else None


def _standing(
    state: KnownState | None, recipient_type: RecipientType, law: KeyLaw | None, at: datetime
) -> PermissionReason:
    if state is None:
        is_merchant = recipient_type is RecipientType.TACIR
        return PermissionReason.REGISTER_FIRST if is_merchant else PermissionReason.NOT_REGISTERED
    collected, desired = CollectedConsent.NONE, state.desired
    if (
        desired is not None
        and desired.status is Status.ONAY
        and desired.origin_rank is OriginRank.OURS
        and law is not None
    ):
        ends = expires_at(desired.effective_at, law.terms, now=at, calendar=law.calendar)
        is_void = state.is_refused or (ends is not None and at > ends)
        collected = CollectedConsent.VOID if is_void else CollectedConsent.PENDING
    registered = state.registered
    reason = may_send(
        recipient_type=recipient_type,
        desired=None if desired is None else desired.status,
        latest_ret_at=state.latest_ret_at,
        registered=registered,
        verified=state.is_verified,
        collected=collected,
    ).reason
    if law is None or reason is not PermissionReason.REGISTERED or registered.from_iys:
        return reason
    assert registered.value is Registered.ONAY
    stated_at, created_at = registered.stated_at, registered.creation_date
    if stated_at is None or created_at is None:
        return reason
    ends = expires_at(stated_at, law.terms, now=created_at, calendar=law.calendar)
    if ends is None or created_at <= ends:
        return reason
    is_pending = collected is CollectedConsent.PENDING
    return PermissionReason.AWAITING_IYS if is_pending else PermissionReason.VOID


def at_instant(found: list[AnswerFrom], at: datetime) -> tuple[bool, PermissionReason]:
    """Return the answer that holds at an instant."""
    permission = [one for one in found if one.at <= at][-1].permission
    return permission.may_send, permission.reason


@given(stories(RecipientType.TACIR), stories(), laws, laws, st.lists(hours, min_size=1, max_size=6))
def test_answers_are_those_from_scratch_at_every_instant(
    story: KeyStory, other: KeyStory, before: KeyLaw, after: KeyLaw, sampled: list[int]
):
    """Whatever happened and whatever is set, an instant has the answer of judging it alone, and it
    is in a changed span exactly where the two settings differ.
    """
    closings = closings_of(other.facts().states, RecipientType.BIREYSEL)
    old, new = (
        answers(story.facts().states, RecipientType.TACIR, law, closings=closings)
        for law in (before, after)
    )
    changed = list(changed_answers(old, new))
    recorded = [one["recorded_at"] for one in story.movements]
    ends = [one.at for one in (*old[1:], *new[1:])]
    instants = [MONDAY + hour * HOUR for hour in sampled] + recorded + ends
    instants += [one.terms.activated_at for one in (before, after) if one.terms.activated_at]
    instants += [at - timedelta(seconds=1) for at in instants if at > MONDAY]
    for at in instants:
        expected = [from_scratch(story, other, law, at) for law in (before, after)]
        assert [at_instant(one, at) for one in (old, new)] == expected
        found = [one for one in changed if _has(one.span, at)]
        assert len(found) == (expected[0] != expected[1])
    kept = changes_of(
        story.facts(), before, after, closings=closings, window=Window(), now=MONDAY + 400 * HOUR
    )
    assert sum(one.kind in ANSWERED for one in kept) == len(changed)


def _has(span: Span, at: datetime) -> bool:
    return span.since <= at and (span.until is None or at < span.until)


def test_same_settings_change_nothing():
    """The comparison of settings with themselves is empty."""
    story = KeyStory()
    story.event(an_event(consent_date=MONDAY, received_at=MONDAY), MONDAY)
    law = KeyLaw(calendar=Calendar(), terms=OPEN, is_apart=False, needs_registration=True)
    found = answers(story.facts().states, RecipientType.BIREYSEL, law)
    assert [one.permission.reason for one in found] == [
        PermissionReason.NOT_REGISTERED,
        PermissionReason.AWAITING_IYS,
        PermissionReason.VOID,
    ]
    assert not list(changed_answers(found, found))
