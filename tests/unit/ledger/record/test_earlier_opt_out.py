"""An opt-in that İYS never gets hides no opt-out before it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from izin.consent import (
    TURKEY_CALENDAR,
    Action,
    Consent,
    Observation,
    OriginRank,
    Registered,
    State,
    decide,
)
from izin.iys.errors import classify
from izin.ledger.record import ConsentRow, Item, ItemResult, RuledRow, apply, item_result, ruling
from tests.support.builders import NOON, a_decision_record, an_admitted_event, an_iys_origin
from tests.unit.ledger.record.test_item_result import an_item
from tests.unit.ledger.record.test_ruling import ACTIVE, MESSAGES, NOW, shown

LATE = NOON + timedelta(days=30)
"""After the term of every event here."""
RET = {
    "event_id": "opt-out",
    "status": "RET",
    "source": "HS_CAGRI_MERKEZI",
    "consent_date": NOON - timedelta(hours=2),
    "origin": "call-centre",
    "origin_ref": "case-1",
}
ONAY = {"event_id": "opt-in", "consent_date": NOON - timedelta(hours=1)}
OLD = shown(Registered.ONAY, minutes=-600, consent_date=NOON - timedelta(hours=10), source="HS_WEB")
"""What İYS holds: an opt-in from before both."""


class KeyRow:
    """The row of one key, changed as the ledger changes it."""

    def __init__(self, *events: dict[str, object], now: datetime = LATE) -> None:
        self.consent: Consent | None = None
        self.row: ConsentRow | None = None
        self.ruled: RuledRow | None = None
        for one in events:
            self.event(now, **one)

    def event(self, now: datetime = NOW, **fields: object) -> ConsentRow:
        """Decide an event, apply it and rule."""
        decision = decide(self.consent, an_admitted_event(**fields))
        self.consent = decision.consent
        self.row = apply.decided(self.row, a_decision_record(decision), now)
        return self.rule(now)

    def rule(self, now: datetime = NOW, **facts: bool) -> ConsentRow:
        """Rule the row."""
        self.ruled = ruling.rule_row(self.row, ACTIVE, now, calendar=TURKEY_CALENDAR, **facts)
        self.row = self.ruled.row
        return self.row

    def seen(self, observation: Observation, now: datetime = NOW) -> ConsentRow:
        """Observe what İYS holds, and rule."""
        self.row = apply.observed(self.row, observation)
        return self.rule(now)

    def submitted(self) -> None:
        """Submit what is desired."""
        is_ret = self.row.desired_status == "RET"
        self.row = self.row.replace(
            state=State.IN_FLIGHT,
            action=Action.NOTHING,
            attempts=self.row.attempts + 1,
            onay_open=self.row.onay_open or not is_ret,
            ret_open=self.row.ret_open or is_ret,
        )

    def answered(self, code: str, now: datetime = NOW, item: Item | None = None) -> ConsentRow:
        """Answer the submission of what is desired, or of an item."""
        result = ItemResult(verdict=classify(code), code=code)
        applied = item_result.apply_result(
            self.row, item or an_item(self.row), result, ACTIVE, now, calendar=TURKEY_CALENDAR
        )
        self.ruled = applied.ruled
        self.row = applied.ruled.row
        return self.row


def a_waiting_opt_out(now: datetime = NOW) -> KeyRow:
    """Return a key of which İYS holds an old ONAY, with an opt-out that waits."""
    one = KeyRow(RET, now=now)
    one.seen(OLD, now)
    assert (one.row.state, one.row.action) == ("pending", "send")
    return one


def a_void_opt_in() -> KeyRow:
    """Return such a key after an opt-in that came past its term."""
    one = a_waiting_opt_out(LATE)
    one.event(LATE, **ONAY)
    return one


def a_refused_opt_in(code: str) -> KeyRow:
    """Return such a key after an opt-in that İYS refused."""
    one = a_waiting_opt_out()
    one.event(**ONAY)
    one.submitted()
    one.answered(code)
    return one


def assert_due_again(one: KeyRow) -> None:
    """Assert that the opt-out is due as it was given."""
    row = one.row
    assert (row.desired_status, row.desired_event_id) == ("RET", "opt-out")
    assert (row.state, row.action, row.reason) == ("pending", "send", "opt-out")
    assert (row.desired_at, row.desired_consent_date) == (RET["consent_date"],) * 2
    assert (row.desired_source, row.registrable) == ("HS_CAGRI_MERKEZI", True)
    assert (row.desired_origin, row.desired_origin_ref) == ("call-centre", "case-1")
    assert (row.due_at is None, row.expires_at) == (False, None)
    assert not row.permission_by_law.may_send


def test_opt_in_that_expires_hides_no_opt_out():
    """It came past its term: İYS never gets it, and holds an older one."""
    one = a_void_opt_in()
    assert_due_again(one)
    closed = one.ruled.closed
    assert (closed.state, closed.desired_event_id) == ("expired", "opt-in")
    (outcome,) = MESSAGES.outcomes(None, closed, LATE)
    assert (outcome.event_id, outcome.outcome) == ("opt-in", "expired")


def test_opt_in_that_expires_while_it_waits_hides_no_opt_out():
    """A suspension outlasts its term."""
    one = a_waiting_opt_out()
    assert one.event(**ONAY).desired_status == "ONAY"
    one.rule(LATE)
    assert_due_again(one)


@pytest.mark.parametrize("code", ["H121", "H467", "H999", "H180"])
def test_opt_in_that_iys_refuses_hides_no_opt_out(code: str):
    """Refused, too late, with an unknown code, or parked for a retailer."""
    one = a_refused_opt_in(code)
    assert_due_again(one)
    assert one.ruled.closed.code == code


@pytest.mark.parametrize(
    ("held", "state"),
    [
        *(
            (shown(value, minutes=-130, source="HS_WEB", transaction_id="1" * 64), "expired")
            for value in (Registered.NONE, Registered.NOT_ONAY, Registered.RET)
        ),
        (
            shown(Registered.ONAY, -60, consent_date=ONAY["consent_date"], source="HS_WEB"),
            "not_needed",
        ),
    ],
)
def test_opt_out_is_not_due_again_where_iys_holds_no_earlier_onay(held: Observation, state: str):
    """There is nothing to withdraw, or İYS holds a consent that was given after it."""
    one = KeyRow(RET)
    one.seen(held, LATE)
    row = one.event(LATE, **ONAY)
    assert (row.desired_event_id, row.state) == ("opt-in", state)


def test_opt_in_that_is_submitted_takes_the_place_of_the_opt_out():
    """A consent given again, in its term, is lawful."""
    one = a_waiting_opt_out()
    row = one.event(**ONAY)
    assert (row.desired_event_id, row.action, row.void_event_id) == ("opt-in", "send", None)
    assert row.ret_event_id == "opt-out"
    assert one.ruled.closed is None


def test_opt_out_is_due_again_where_nobody_knows_what_iys_holds():
    """It is queried before anything is submitted, as any opt-out is."""
    assert_due_again(KeyRow(RET, ONAY))


def test_late_opt_out_behind_a_void_opt_in_is_due():
    """The decision on it is stale, and it is the latest opt-out all the same."""
    one = KeyRow(ONAY)
    one.seen(OLD, LATE)
    assert one.row.state == "not_needed"
    one.event(LATE, **RET)
    assert_due_again(one)


def test_later_opt_out_behind_a_void_opt_in_takes_its_place():
    """The latest one counts."""
    one, between = a_void_opt_in(), NOON - timedelta(minutes=90)
    row = one.event(LATE, **RET | {"event_id": "between", "consent_date": between})
    names = ("desired_event_id", "desired_at", "void_event_id", "state", "action")
    expected = ("between", between, "opt-in", "pending", "send")
    assert tuple(getattr(row, name) for name in names) == expected
    older = {"event_id": "older", "consent_date": between - timedelta(hours=9)}
    assert one.event(LATE, **RET | older).desired_event_id == "between"


@pytest.mark.parametrize("again", [{}, {"origin_ref": "sent again"}])
def test_void_opt_in_that_comes_again_changes_nothing(again: dict[str, object]):
    """The opt-out may be on its way."""
    one = a_void_opt_in()
    one.submitted()
    before = one.row
    assert one.event(LATE, **ONAY | again) == before


@pytest.mark.parametrize("status", ["ONAY", "RET"])
def test_newer_events_take_the_row_from_the_opt_out(status: str):
    """Of either status, with the void opt-in forgotten."""
    one = a_void_opt_in()
    newer = {"event_id": "newer", "status": status, "source": "HS_CAGRI_MERKEZI"}
    row = one.event(NOW, consent_date=NOON, **newer)
    assert (row.desired_event_id, row.void_event_id, row.action) == ("newer", None, "send")
    if status == "ONAY":
        assert row.ret_event_id == "opt-out"
        again = one.rule(LATE)
        assert (again.void_event_id, again.desired_event_id) == ("newer", "opt-out")


def test_opt_out_on_its_way_is_answered_first():
    """A second submission of the same opt-out would meet the first."""
    one = a_waiting_opt_out(LATE)
    one.submitted()
    item = an_item(one.row)
    row = one.event(LATE, **ONAY)
    assert (row.desired_event_id, row.state, row.ret_open) == ("opt-in", "expired", True)
    one.answered("H103", LATE, item)
    assert_due_again(one)


def test_opt_out_that_a_person_withdrew_stays_withdrawn():
    """It was judged to be false; the opt-in after it changes nothing of that."""
    one = a_waiting_opt_out(LATE)
    one.row = ruling.withdraw(one.row, LATE)
    row = one.event(LATE, **ONAY)
    assert (row.desired_event_id, row.state) == ("opt-in", "expired")
    assert row.ret_withdrawn_at == LATE
    between = NOON - timedelta(minutes=90)
    row = one.event(LATE, **RET | {"event_id": "genuine", "consent_date": between})
    assert (row.desired_event_id, row.action) == ("genuine", "send")


def test_opt_out_that_nobody_remembers_is_rescued_once():
    """A row of before, or one restored: only the instant of the opt-out is known."""
    one = a_waiting_opt_out()
    one.row = one.event(**ONAY).replace(ret_event_id=None)
    row, rescue = one.rule(LATE), one.ruled.rescue
    assert (rescue.status, rescue.source, rescue.cause) == ("RET", "HS_KARAR", "opt-in")
    assert rescue.consent_date >= LATE
    assert (row.state, row.action) == ("expired", "rescue")
    assert (one.rule(LATE + timedelta(hours=1)).action, one.ruled.rescue) == ("rescue", None)


def test_opt_out_without_a_usable_date_is_rescued():
    """İYS would not take it as it stands."""
    one = KeyRow(RET | {"source": "HS_NOWHERE"}, ONAY)
    row = one.seen(OLD, LATE)
    assert (row.desired_event_id, row.action) == ("opt-out", "rescue")
    assert one.ruled.rescue is not None


def test_late_opt_out_that_cannot_be_registered_is_rescued():
    """Whether it can be is part of what the decision says."""
    one = KeyRow(ONAY)
    one.seen(OLD, LATE)
    row = one.event(LATE, **RET | {"source": "HS_NOWHERE"})
    assert (row.desired_event_id, row.registrable, row.action) == ("opt-out", False, "rescue")


def test_opt_out_of_a_citizen_behind_a_void_opt_in_is_kept_as_one():
    """Where a provider has written an ONAY over it, it is rescued."""
    at_iys = {"iys": an_iys_origin(creation_date=RET["consent_date"]), "source": "IYS_WEB"}
    one, given = KeyRow(RET | at_iys, ONAY), NOON - timedelta(hours=10)
    row = one.seen(shown(Registered.ONAY, minutes=5, consent_date=given, source="HS_WEB"), LATE)
    assert (row.desired_event_id, row.desired_rank) == ("opt-out", OriginRank.IYS)
    assert (row.action, row.reason) == ("rescue", "rescued")


def test_refused_rescue_of_the_earlier_opt_out_is_parked():
    """H178: İYS holds something newer; the rescue of today outranks the void opt-in."""
    one = a_void_opt_in()
    one.submitted()
    one.answered("H467", LATE)
    rescue = one.ruled.rescue
    fields = {"status": "RET", "source": rescue.source, "origin": rescue.origin}
    row = one.event(LATE, event_id=rescue.event_id, consent_date=NOON, **fields)
    assert (row.desired_event_id, row.void_event_id) == (rescue.event_id, None)
    assert (row.action, row.state) == ("send", "pending")


@pytest.mark.parametrize("rank", list(OriginRank))
def test_void_opt_in_is_not_desired_again_by_its_repetition(rank: OriginRank):
    """Whoever it was said to come from: İYS shows an old record, and the row is ruled anew."""
    one = a_refused_opt_in("H121")
    one.consent = replace(one.consent, origin_rank=rank)
    row = one.event(event_id="older", consent_date=NOON - timedelta(days=3))
    assert (row.desired_event_id, row.void_event_id) == ("opt-out", "opt-in")


@pytest.mark.parametrize(
    ("absent", "minutes", "registered"),
    [
        (Registered.NONE, -1, "ONAY"),
        (Registered.NONE, -600, "ONAY"),
        (Registered.NOT_ONAY, -1, "UNKNOWN"),
        (Registered.NOT_ONAY, -600, "NOT_ONAY"),
    ],
)
def test_absence_by_our_clock_hides_no_onay_of_iys(
    absent: Registered, minutes: int, registered: str
):
    """Our clock may be ahead: what seems to be older may have come later."""
    one = KeyRow(RET, now=NOW)
    one.seen(shown(absent, transaction_id=None, verified_by="statuses"))
    assert one.row.action is Action.NOTHING
    given = NOON - timedelta(hours=11)
    row = one.seen(shown(Registered.ONAY, minutes, consent_date=given, source="HS_WEB"))
    assert row.registered == registered
    assert (row.action is not Action.NOTHING) is (registered != "NOT_ONAY")
