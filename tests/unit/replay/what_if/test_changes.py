"""What differs for one key: terms, what became of its events, and the gate's receipts.

Answers over time: the spans that are computed, against judging every instant from scratch.
A scrubbed list is believed where its digest is that of the gate's receipt, and no further.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from izin.consent import (
    BrandTerms,
    Calendar,
    KeyState,
    OriginRank,
    RecipientType,
    Registered,
    RegisteredState,
    SourceError,
    State,
    Status,
    expires_at,
)
from izin.consent.may_send import CollectedConsent, PermissionReason, may_send
from izin.ledger.history import entries_of
from izin.ledger.reads import RecordedFact
from izin.replay.what_if.changes import (
    ALWAYS,
    AnswerChange,
    AnswerChangeKind,
    Fulfilment,
    KeyLaw,
    LawSettings,
    Period,
    Term,
    changed_answers,
    changes_of,
    differing,
    fulfilment,
)
from izin.replay.what_if.key_history import DueEvent, GivenList, on_list, receipt_of
from izin.schemas.may_send_api import digest_line
from tests.support.builders import BRAND, NOON, a_key, an_event, an_iys_origin
from tests.support.published import a_decision_receipt, a_receipt
from tests.support.replay.entries import KeyStory

MONDAY = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
A_DAY = timedelta(days=1)
OPEN = {BRAND: BrandTerms(activated_at=datetime(2020, 1, 1, tzinfo=UTC))}
HOUR = timedelta(hours=1)
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


@pytest.mark.parametrize(
    ("activated", "loading", "due", "lapses"),
    [
        (None, None, 84 * HOUR - timedelta(seconds=1), 84 * HOUR),
        (None, 240, 84 * HOUR - timedelta(seconds=1), 84 * HOUR),
        (None, 24, 72 * HOUR, 84 * HOUR),
        (0, None, 72 * HOUR, 84 * HOUR),
        (240, None, 84 * HOUR - timedelta(seconds=1), 84 * HOUR),
        (240, 120, 84 * HOUR - timedelta(seconds=1), 84 * HOUR),
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


ANSWERED = (AnswerChangeKind.ANSWER, AnswerChangeKind.REASON)
DAYS = [date(2026, 5, day) for day in range(4, 23)]
ACTIVE = BrandTerms(activated_at=datetime(2020, 1, 1, tzinfo=UTC))

hours = st.integers(0, 9 * 24)
terms = st.sampled_from(
    [
        ACTIVE,
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
    law = KeyLaw(calendar=Calendar(), terms=ACTIVE)
    longer = KeyLaw(calendar=Calendar(extra_closed_days=frozenset({DAYS[1]})), terms=ACTIVE)
    states = story.facts().states
    assert not changed_answers(states, RecipientType.BIREYSEL, law, law)
    (found,) = changed_answers(states, RecipientType.BIREYSEL, law, longer)
    assert (found.before.reason, found.after.reason) == (
        *(PermissionReason.VOID, PermissionReason.AWAITING_IYS),
    )
    assert found.until == found.since + timedelta(days=1)


FIRST = {"0555 000 00 01": "registered", "nobody": "not-registered", "05550000002": "opted-out"}
SECOND = {"05550000003": "register-first", "05550000004": "registered"}
COLUMNS = {"recipient": "telefon", "reason": "reason"}


def a_file(folder: Path, *parts: Mapping[str, str], rows: str = "") -> Path:
    """Write the answers to lists as izin scrub writes them, and more ``rows``."""
    path = folder / "list.scrubbed.csv"
    lines = [f"{one},x,{why}\n" for part in parts for one, why in part.items()]
    path.write_text("".join(["telefon,may_send,reason\n", *lines, rows]), "utf-8")
    return path


def facts_of(receipt: dict[str, Any]) -> list[RecordedFact]:
    """Return the entries of a receipt's own key, as the ledger has them."""
    return [
        RecordedFact(
            shard=0,
            place=1,
            kind=one.kind,
            customer_id=one.customer_id,
            key=one.key,
            event_id=None,
            status=None,
            source=one.source,
            occurred_at=one.occurred_at,
            recorded_at=one.occurred_at,
            data=one.data,
        )
        for one in entries_of(receipt)
    ]


def a_list(number: int, part: Mapping[str, str]) -> RecordedFact:
    """Return the receipt of a list of merchants with these answers, as the gate digests it."""
    hashed = hashlib.sha256()
    for text, reason in part.items():
        recipient = f"+90{text.replace(' ', '')[1:]}" if text.startswith("0") else text
        hashed.update(digest_line(f"{BRAND}/MESAJ/TACIR/{recipient}", reason))
    receipt = a_receipt(
        number, recipients=len(part), digest=hashed.hexdigest(), recipient_type="TACIR"
    )
    return receipt_of(Path("list"), receipt["receipt_id"], facts_of(receipt))


def test_list_in_parts_is_read_with_its_answers(tmp_path: Path):
    """Who has no valid address is in the digest, and has no key; what the gate was not asked about
    is neither.
    """
    path = a_file(tmp_path, FIRST, SECOND, rows="05550000009,no,unreadable-row\n")
    receipts = [a_list(1, FIRST), a_list(2, SECOND)]
    listed = list(on_list(GivenList(path=path, receipts=("first", "second"), **COLUMNS), receipts))
    assert [asked.receipt_id for _, asked in listed] == ["first"] * 2 + ["second"] * 2
    found = dict(listed)
    answers = {key.rsplit("/", 1)[1]: one.may_send for key, one in found.items()}
    assert answers == {
        "+905550000001": True,
        "+905550000002": False,
        "+905550000003": False,
        "+905550000004": True,
    }
    assert {one.asked_at for one in found.values()} == {NOON}


@pytest.mark.parametrize(
    ("parts", "rows"),
    [
        ([{**FIRST, "0555 000 00 01": "opted-out"}], ""),
        ([{**FIRST, "05550000002": "registered"}], ""),
        ([dict(reversed(FIRST.items()))], ""),
        ([dict(list(FIRST.items())[:2])], ""),
        ([FIRST], "05550000009,no,opted-out\n"),
        ([SECOND], ""),
    ],
    ids=["other reason", "no as yes", "other order", "a row less", "a row more", "other list"],
)
def test_list_that_is_not_the_receipts_is_refused(
    tmp_path: Path, parts: list[dict[str, str]], rows: str
):
    """Nobody is named by a list that the gate did not answer like this."""
    path = a_file(tmp_path, *parts, rows=rows)
    with pytest.raises(SourceError, match="receipt 1"):
        list(on_list(GivenList(path=path, receipts=("1",), **COLUMNS), [a_list(1, FIRST)]))


@pytest.mark.parametrize(
    "receipt", [None, a_decision_receipt(1), a_receipt(1, recipients=1)], ids=str
)
def test_receipt_that_proves_no_list_is_refused(receipt: dict[str, Any] | None):
    """An id that the ledger does not have, answers for single recipients, a list of one."""
    facts = [] if receipt is None else facts_of(receipt)
    with pytest.raises(SourceError, match="receipt 1"):
        receipt_of(Path("list.csv"), "1", facts)
