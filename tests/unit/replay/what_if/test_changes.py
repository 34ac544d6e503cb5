"""What differs for one key: terms, what became of its events, and the gate's receipts."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from izin.consent import BrandTerms, Status
from izin.replay.what_if.changes import (
    ALWAYS,
    AnswerChange,
    AnswerChangeKind,
    Fulfilment,
    LawSettings,
    Period,
    Term,
    changes_of,
    differing,
    fulfilment,
)
from izin.replay.what_if.key_history import DueEvent
from tests.support.builders import BRAND, an_event, an_iys_origin
from tests.support.replay.entries import KeyStory

MONDAY = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
A_DAY = timedelta(days=1)
OPEN = {BRAND: BrandTerms(activated_at=datetime(2020, 1, 1, tzinfo=UTC))}
PLAIN = LawSettings(terms=OPEN)
CLOSED = LawSettings(terms=OPEN, closed_days=frozenset({date(2026, 5, 5)}))
ONAY = an_event(consent_date=MONDAY, received_at=MONDAY)
RET = an_event(event_id="ret", status="RET", consent_date=MONDAY, received_at=MONDAY)


def changes(
    story: KeyStory,
    before: LawSettings = CLOSED,
    after: LawSettings = PLAIN,
    **fields: Any,  # noqa: ANN401  # a window, or an instant
) -> list[AnswerChange]:
    """Return what differs for a key of our brand, by default without the closed Tuesday."""
    given: dict[str, Any] = {"period": ALWAYS, "now": MONDAY + 20 * A_DAY}
    laws = (one.of(BRAND) for one in (before, after))
    return list(changes_of(story.facts(), *laws, **given | fields))


def words(found: list[AnswerChange], kind: AnswerChangeKind) -> list[tuple[str, str]]:
    """Return from what to what the changes of a kind are."""
    return [(one.before, one.after) for one in found if one.kind == kind]


def test_opt_out_that_was_reported_late_is_a_breach():
    """By the shorter term; an opt-out itself stays one, and its answers are the same."""
    story = KeyStory()
    story.event(RET, MONDAY)
    story.submitted(RET, MONDAY + 4 * A_DAY)
    story.answered(RET, MONDAY + 4 * A_DAY, creation_date=(MONDAY + 3.5 * A_DAY).isoformat())
    (found,) = changes(story)
    assert (found.kind, found.before, found.after) == (
        *(AnswerChangeKind.OBLIGATION, "RET in-time", "RET breach"),
    )


def test_expired_consent_may_still_be_open_by_the_other_calendar():
    """What the ledger noted as expired is judged anew; what İYS refused is not."""
    for code, expected in ((None, [("ONAY expired", "ONAY open")]), ("H467", [])):
        story = KeyStory()
        story.event(ONAY, MONDAY)
        story.outcome(ONAY, MONDAY + 3.6 * A_DAY, "expired", code)
        found = changes(story, PLAIN, CLOSED, now=MONDAY + 4 * A_DAY)
        assert words(found, AnswerChangeKind.OBLIGATION) == expected


def test_time_of_the_selection_is_that_of_the_term():
    """What is over before it, or begins after it, is not asked about; nor is a term alone."""
    story = KeyStory()
    story.event(RET, MONDAY)
    (found,) = changes(story, now=MONDAY + 3.5 * A_DAY)
    assert "2026-05-07" in found.about
    assert not changes(story, now=MONDAY + A_DAY)
    for period in (Period(until=MONDAY), Period(since=MONDAY + 9 * A_DAY)):
        assert not changes(story, now=MONDAY + 3.5 * A_DAY, period=period)


def test_no_of_another_cause_is_not_the_settings_fault():
    """A sender that got stale, suspended or opted-out would have got it anyway; so would one that
    asked in a time in which the settings agree.
    """
    story = KeyStory()
    story.event(ONAY, MONDAY)
    story.submitted(ONAY, MONDAY + 4 * A_DAY)
    story.answered(ONAY, MONDAY + 4 * A_DAY)
    for reason in ("stale", "suspended", "void"):
        story.asked(MONDAY + 5 * A_DAY, may_send=False, reason=reason)
    story.asked(MONDAY + 2 * A_DAY, may_send=False, reason="void")
    found = words(changes(story, PLAIN, CLOSED), AnswerChangeKind.WITHHELD)
    assert found == [("no: void", "yes: registered")]


def test_saved_before_is_no_registration_of_the_event():
    """A success that İYS dates before the event is of an earlier save."""
    story = KeyStory()
    story.event(ONAY, MONDAY)
    story.answered(ONAY, MONDAY + A_DAY, creation_date=(MONDAY - A_DAY).isoformat())
    assert the_event(story).registered_at is None
    story.shown("ONAY", MONDAY + 2 * A_DAY, consent_date=MONDAY.isoformat())
    assert the_event(story).registered_at == MONDAY + 2 * A_DAY


def the_event(story: KeyStory) -> DueEvent:
    """Return the only event that was due."""
    (found,) = story.facts().events.values()
    return found


def test_consent_of_another_writer_has_its_term_too():
    """A person registered it in İYS's portal, and nothing of ours was ever due."""
    story = KeyStory()
    story.shown("ONAY", MONDAY + 4 * A_DAY, consent_date=MONDAY.isoformat())
    assert words(changes(story), AnswerChangeKind.ANSWER) == [("yes: registered", "no: void")]


def test_citizens_own_consent_has_no_term():
    """Whatever the calendar, what a citizen gave at İYS is registered."""
    story = KeyStory()
    at_iys = an_iys_origin(creation_date=MONDAY)
    story.event(
        an_event(source="IYS_WEB", consent_date=MONDAY, received_at=MONDAY, iys=at_iys), MONDAY
    )
    late = (MONDAY - 30 * A_DAY).isoformat()
    story.shown("ONAY", MONDAY + A_DAY, stream="IYS", source="IYS_WEB", consent_date=late)
    assert not changes(story)


def test_fact_that_cannot_be_read_is_left_out_and_counted():
    """A word of a later release does not end the run."""
    story = KeyStory()
    story.event(ONAY, MONDAY)
    story.shown("BEKLIYOR", MONDAY + A_DAY)
    story.shown("ONAY", MONDAY + A_DAY, creation_date="yesterday")
    story._add("decision", MONDAY + A_DAY, decision=b"of another release")
    facts = story.facts()
    assert (facts.unreadable, len(facts.events), len(facts.states)) == (3, 1, 1)


def test_restored_key_is_judged_by_what_was_restored():
    """Its decision is lost; the entry of the restoration has status, date and origin."""
    story = KeyStory()
    data = {"origin": "crm", "source": "HS_WEB", "consent_date": MONDAY.isoformat()}
    story._add("bootstrap", MONDAY, event=ONAY, data=data)
    assert words(changes(story), AnswerChangeKind.REASON) == [("no: awaiting-iys", "no: void")]


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        ("ONAY", {"registered_at": MONDAY}, Fulfilment.IN_TIME),
        ("ONAY", {"registered_at": MONDAY + A_DAY}, Fulfilment.TOO_LATE),
        ("ONAY", {"is_refused": True}, Fulfilment.REFUSED),
        ("ONAY", {"settled_at": MONDAY}, Fulfilment.NOT_NEEDED),
        ("ONAY", {"superseded_at": MONDAY}, Fulfilment.SUPERSEDED),
        ("ONAY", {"superseded_at": MONDAY + A_DAY}, Fulfilment.EXPIRED),
        ("ONAY", {}, Fulfilment.EXPIRED),
        ("RET", {"registered_at": MONDAY}, Fulfilment.IN_TIME),
        ("RET", {"registered_at": MONDAY + A_DAY}, Fulfilment.BREACH),
        ("RET", {"settled_at": MONDAY}, Fulfilment.NOT_NEEDED),
        ("RET", {"settled_at": MONDAY + A_DAY}, Fulfilment.BREACH),
        ("RET", {"superseded_at": MONDAY}, Fulfilment.SUPERSEDED),
        ("RET", {}, Fulfilment.OVERDUE),
    ],
)
def test_event_is_fulfilled_by_its_term(status: str, fields: dict[str, Any], expected: Fulfilment):
    """The term ends between Monday and Tuesday; it is looked at later, and before it ends."""
    event = DueEvent(status=Status(status), effective_at=MONDAY, **fields)
    end = MONDAY + timedelta(hours=1)
    term = Term(end, end if status == "ONAY" else None)
    assert fulfilment(event, term, MONDAY + 2 * A_DAY) is expected
    assert fulfilment(event, term, MONDAY) is (expected if fields else Fulfilment.OPEN)
    assert fulfilment(event, Term(None, None), MONDAY + 9 * A_DAY) not in {
        *(Fulfilment.EXPIRED, Fulfilment.TOO_LATE, Fulfilment.BREACH, Fulfilment.OVERDUE),
    }


HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("activated", "loading", "due", "lapses"),
    [
        (None, None, 84 * HOUR - SECOND, 84 * HOUR),
        (None, 240, 84 * HOUR - SECOND, 84 * HOUR),
        (None, 24, 72 * HOUR, 84 * HOUR),
        (0, None, 72 * HOUR, 84 * HOUR),
        (240, None, 84 * HOUR - SECOND, 84 * HOUR),
        (240, 120, 84 * HOUR - SECOND, 84 * HOUR),
        (240, 24, 72 * HOUR, 84 * HOUR),
        (48, 24, 72 * HOUR, 84 * HOUR),
        (-48, 24, 72 * HOUR, 84 * HOUR),
    ],
)
def test_term_is_one_over_all_time(
    activated: int | None, loading: int | None, due: timedelta | None, lapses: timedelta | None
):
    """A consent has its own three business days, before the activation of its brand too; there the
    strict reading does not count. All from Monday noon.
    """
    terms = BrandTerms(
        activated_at=None if activated is None else MONDAY + activated * HOUR,
        loading_deadline=None if loading is None else MONDAY + loading * HOUR,
    )
    term = LawSettings(terms={BRAND: terms}).of(BRAND).term(MONDAY, Status.ONAY)
    expected = (None if one is None else MONDAY + one for one in (due, lapses))
    assert term == Term(*expected)


def test_settings_are_compared_in_words():
    """What differs is said by day."""
    other = replace(PLAIN, closed_days=frozenset({date(2026, 5, 6)}))
    assert not differing(PLAIN, LawSettings(terms=OPEN))
    assert differing(CLOSED, other) == ["closed: 2026-05-06", "open: 2026-05-05"]
