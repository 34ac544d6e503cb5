"""An opt-in that İYS never gets hides no opt-out before it.

What becomes of rows in many cases is as it was read and agreed to.

``python -m tests.unit.ledger.record.test_known_rows`` writes the file.

Each case has the columns that change, with their values, and what is published besides. A change of
the file is to be read: it is a change of what is due to İYS.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from izin.consent import (
    BOOTSTRAP,
    TURKEY_CALENDAR,
    Action,
    Consent,
    IllegalTransitionError,
    IysOrigin,
    Observation,
    OriginRank,
    Registered,
    State,
    decide,
)
from izin.iys.errors import Verdict, classify
from izin.iys.wire_format import Receipt
from izin.ledger.record import (
    ConsentRow,
    Item,
    ItemResult,
    RuledRow,
    apply,
    consent_row,
    item_result,
    outcome,
    ruling,
    state_change,
)
from izin.schemas.records import event_to_avro
from tests.support.builders import NOON, a_decision_record, an_admitted_event, an_iys_origin
from tests.support.fast_copies.registry import MESSAGES
from tests.support.iys import CORE_CODES
from tests.unit.ledger.record.test_item_result import an_item
from tests.unit.ledger.record.test_ruling import ACTIVE, NOW, shown

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


FILE = Path(__file__).with_name("known_rows.json")
Case = tuple[str, Any]


def a_row(status: str, **columns: object) -> ConsentRow:
    """Return a row with something in every column that a case may change."""
    fields: dict[str, Any] = {"event_id": status.lower(), "status": status, "origin_ref": "ref"}
    decision = decide(None, an_admitted_event(**fields, notice_version="1"))
    row = apply.decided(None, a_decision_record(decision), NOW)
    return row.replace(
        **{
            "attempts": 2,
            "next_attempt_at": NOON,
            "code": "H000",
            "reason": "before",
            "lease_owner": "worker",
            "lease_until": NOON,
            "last_exchange_at": NOON,
            **columns,
        }
    )


def in_flight(status: str, **columns: object) -> ConsentRow:
    """Return a row that is submitted."""
    own = {"ret_open": status == "RET", "onay_open": status == "ONAY"}
    state = {"state": State.IN_FLIGHT, "action": Action.NOTHING}
    return a_row(status, **{**own, **state, **columns})


def changed(before: ConsentRow | None, after: ConsentRow) -> dict[str, Any]:
    """Return the columns of ``after`` that are others than before."""
    old = {} if before is None else before.__dict__
    return {name: value for name, value in after.__dict__.items() if value != old.get(name)}


def ruled(before: ConsentRow | None, found: RuledRow) -> dict[str, Any]:
    """Return what a ruling changes and publishes."""
    shown = changed(before, found.row)
    if found.rescue is not None:
        shown["rescue"] = {name: one for name, one in event_to_avro(found.rescue).items() if one}
    if found.closed is not None:
        shown["closed"] = changed(before, found.closed)
    outcomes = MESSAGES.outcomes(before, found.closed or found.row, NOW)
    if names := [f"{one.event_id} {one.outcome}" for one in outcomes]:
        shown["outcomes"] = names
    return shown


def results() -> Iterator[Case]:
    """Yield what İYS's results of items make of their rows."""
    receipt = Receipt(transaction_id="1" * 64, creation_date=NOW)
    answers = [ItemResult(verdict=classify(code), code=code) for code in CORE_CODES]
    answers += [
        ItemResult(verdict=Verdict.SUCCESS, receipt=receipt),
        ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, how="batch"),
        ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, is_original=True),
        ItemResult(verdict=Verdict.SUCCESS),
        ItemResult(verdict=Verdict.THROTTLE, retry_after=timedelta(hours=1)),
    ]
    variants: dict[str, dict[str, Any]] = {
        "": {},
        " HS_KARAR": {"desired_source": "HS_KARAR"},
        " rescue": {"desired_origin": ruling.RESCUE},
        " beside another": {"onay_open": True, "ret_open": True},
        " newer at İYS": {"registered": "RET", "registered_at": LATE, "verified_at": NOW},
    }
    seen: set[str] = set()
    for answer, status, (name, columns) in product(answers, ("ONAY", "RET"), variants.items()):
        row = in_flight(status, **columns)
        case = f"{answer.verdict} {answer.code} {answer.how} {answer.is_original} {status}{name}"
        if answer.code not in {None, "H175", "H486", "H162", "H180", "H467"}:
            # One code of each verdict shows what the others do.
            case = f"{answer.verdict} {status}{name}"
        if case in seen:
            continue
        seen.add(case)
        for event_id in (row.desired_event_id, "other"):
            item = an_item(row, event_id=event_id)
            found = item_result.apply_result(
                row, item, answer, ACTIVE, NOW, calendar=TURKEY_CALENDAR
            )
            shown = ruled(row, found.ruled) | {"item": found.item_state}
            if found.outcome is not None:
                shown["outcome"] = asdict(found.outcome)
            if found.suspension is not None:
                shown["suspension"] = asdict(found.suspension)
            yield f"result {case} of {event_id}", shown


def observations() -> Iterator[Case]:
    """Yield what an observation changes of a row."""
    known: dict[str, dict[str, Any]] = {
        "nothing": {},
        "queried ONAY": {"registered": "ONAY", "registered_at": NOON, "verified_by": "statuses"},
        "ONAY": {"registered": "ONAY", "registered_at": NOON, "registered_transaction_id": "1"},
        "RET": {"registered": "RET", "registered_at": NOON, "registered_transaction_id": "1"},
        "queried NOT_ONAY": {"registered": "NOT_ONAY", "registered_at": NOON},
    }
    for (name, columns), value, minutes, by, (transaction_id, at), answers in product(
        known.items(),
        (Registered.ONAY, Registered.RET, Registered.NOT_ONAY),
        (-5, 0, 600),
        ("pull", "status"),
        (("1", NOW), (None, NOW), ("1", None)),
        (False, True),
    ):
        if answers and (by == "status" or at is None):
            continue
        row = a_row("ONAY", verified_at=NOON, **columns)
        seen = Observation(
            value=value,
            creation_date=NOON + timedelta(minutes=minutes),
            consent_date=NOON,
            source="HS_WEB",
            transaction_id=transaction_id,
            verified_at=at,
            verified_by="add" if answers else by,
        )
        how = f"by {by} {transaction_id} {at is not None} {answers}"
        case = f"observed {value} {minutes} {how} over {name}"
        yield case, changed(row, apply.observed(row, seen))


def rulings() -> Iterator[Case]:
    """Yield what is ruled on rows in every state."""
    registered: dict[str, dict[str, Any]] = {
        "UNKNOWN": {},
        "lost": {"verified_by": BOOTSTRAP},
        "ONAY": {"registered": "ONAY", "registered_at": NOON - timedelta(days=2)},
        "RET": {
            "registered": "RET",
            "registered_at": NOON - timedelta(days=2),
            "registered_source": "IYS_WEB",
            "verified_at": NOW,
        },
    }
    before = {"latest_ret_at": NOON - timedelta(days=1)}
    kept = {
        "ret_event_id": "earlier",
        "ret_rank": 0,
        "ret_origin": "web",
        "ret_origin_ref": "form",
        "ret_source": "HS_WEB",
        "ret_consent_date": NOON - timedelta(days=1),
        "ret_registrable": True,
    }
    desired: dict[str, tuple[str, dict[str, Any]]] = {
        "ONAY": ("ONAY", {}),
        "ONAY after a RET": ("ONAY", before),
        "ONAY over a RET": ("ONAY", before | kept),
        "RET": ("RET", {}),
        "RET that cannot be registered": ("RET", {"registrable": False}),
        "RET of İYS": ("RET", {"desired_rank": OriginRank.IYS}),
        "RET to be read back": ("RET", {"action": Action.QUERY, "reason": consent_row.READ_BACK}),
        "withdrawn RET": ("RET", {"withdrawn_at": NOON}),
    }
    kept_alone = {"RET of İYS", "RET to be read back", "ONAY after a RET"}
    for (what, (status, columns)), (held, seen), state in product(
        desired.items(), registered.items(), State
    ):
        row = a_row(status, **{**seen, "state": state, "action": Action.SEND, **columns})
        kinds = [("", ACTIVE, NOW, {})]
        if status == "ONAY":
            kinds.append((" late", ACTIVE, LATE, {}))
        if held == "ONAY" and what in desired.keys() - kept_alone:
            kinds.append((" without brand", None, NOW, {}))
        if state in {State.PENDING, State.IN_FLIGHT, State.UNKNOWN} and held != "lost":
            kinds.append((" answered", ACTIVE, NOW, {"answered": True, "submitted": True}))
            kinds.append((" observing", ACTIVE, NOW, {"observing": True}))
        for name, brand, now, flags in kinds:
            case = f"ruled {what}, {held}, {state}{name}"
            try:
                found = ruling.rule_row(row, brand, now, calendar=TURKEY_CALENDAR, **flags)
            except IllegalTransitionError:
                yield case, "illegal"
                continue
            yield case, ruled(row, found)


def acts() -> Iterator[Case]:
    """Yield what persons and loops do to a row."""
    loading = replace(ACTIVE, activated_at=None, loading_deadline=LATE)
    for status, state in product(("ONAY", "RET"), State):
        held = {
            "registered": "RET",
            "registered_at": NOON,
            "registered_consent_date": NOON,
            "registered_source": "HS_WEB",
            "registered_transaction_id": "1",
            "verified_at": NOON,
        }
        row = a_row(status, state=state, brake_id=1, expires_at=NOON, attested=False, **held)
        parked = row.replace(reason="reconsent")
        ended = row.replace(reason="term-ended")
        for name, act in {
            "requeue": lambda one=parked: ruling.requeue(one),
            "requeue other": lambda one=row: ruling.requeue(one),
            "extend": lambda one=ended: ruling.extend(one, ACTIVE, NOW, calendar=TURKEY_CALENDAR),
            "extend late": lambda one=ended: ruling.extend(
                one, ACTIVE, LATE, calendar=TURKEY_CALENDAR
            ),
            "extend loading": lambda one=ended: ruling.extend(
                one, loading, NOW, calendar=TURKEY_CALENDAR
            ),
            "extend other": lambda one=row: ruling.extend(
                one, ACTIVE, NOW, calendar=TURKEY_CALENDAR
            ),
            "refuse": lambda one=row: ruling.refuse(one, "why", "H1"),
            "park": lambda one=row: ruling.park(one, "why", "H1"),
            "expire": lambda one=row: ruling.expire(one, "why", "H1"),
            "withdraw": lambda one=row: ruling.withdraw(one.replace(action=Action.SEND), NOW),
            "wait": lambda one=row: ruling.wait(one, "why", "H1"),
            "query": lambda one=row: ruling.query(one, "why", "H1"),
            "query again": lambda one=row: ruling.query_again(one, "why", NOW),
            "query open again": lambda one=row: ruling.query_again(
                one.replace(ret_open=True), "why", NOW
            ),
            "query due again": lambda one=row: ruling.query_again(
                one.replace(action=Action.SEND), "why", NOW
            ),
            "sweep": lambda one=row: consent_row.to_sweep_query(one, NOW),
            "retry": lambda one=row: state_change.retry(one, NOW, "why", "H1").replace(
                next_attempt_at=None
            ),
            "retry far": lambda one=row: state_change.retry(
                one, NOW, "why", "H1", timedelta(days=1)
            ),
            "unregistered": lambda one=row: apply.unregistered(one),
            "answered": lambda one=row, status=status: apply.answered_row(
                one.replace(ret_open=True, onay_open=True), status, NOW
            ),
            "uncalled": lambda one=row, status=status: apply.uncalled_row(
                one.replace(ret_open=True, onay_open=True), status
            ),
        }.items():
            try:
                after = act()
            except IllegalTransitionError:
                yield f"{name} {status} {state}", "illegal"
                continue
            shown = changed(row, after)
            if name == "retry far":
                shown["next_attempt_at"] = after.next_attempt_at >= NOW + timedelta(days=1)
            views = (consent_row.is_swept(after), consent_row.is_read_back(after))
            yield f"{name} {status} {state}", shown | {"views": views}
        yield f"outcome {status} {state}", asdict(outcome.outcome_of(row, "accepted", NOW))
        yield f"other outcome {status} {state}", asdict(outcome.outcome_of(row, "refused", NOW))


def events() -> Iterator[Case]:
    """Yield what events make of rows, decided or restored."""
    times = {"older": -60, "same": 0, "newer": 5}
    iys = IysOrigin(stream="IYS", path="push", creation_date=NOON, transaction_id="9")
    for (when, minutes), status, before, (origin, more) in product(
        times.items(),
        ("ONAY", "RET"),
        ("ONAY", "RET", None),
        (("ours", {}), ("İYS's", {"iys": iys, "source": "IYS_WEB"})),
    ):
        row = None if before is None else a_row(before, brake_id=1, retailer_code=5)
        fields: dict[str, Any] = {
            "event_id": "event",
            "status": status,
            "consent_date": NOON + timedelta(minutes=minutes),
            "received_at": NOON + timedelta(minutes=minutes),
            "origin": "form",
            "origin_ref": "sheet",
            "source": "HS_EPOSTA",
            "notice_version": "7",
            "retailer_code": 66438915,
            "retailer_access": (66438916,),
        }
        decision = decide(None, an_admitted_event(**fields | more))
        case = f"{when} {status} {origin} over {before}"
        after = apply.decided(row, a_decision_record(decision), NOW)
        yield f"decided {case}", changed(row, after)
        yield f"restored {case}", changed(row, apply.restored(row, decision.consent, NOW))
        yield f"restored after {case}", changed(after, apply.restored(after, decision.consent, NOW))
        later = replace(
            decision.consent,
            effective_at=LATE,
            consent_date=LATE,
            latest_ret_at=NOON + timedelta(minutes=9),
        )
        known_row = after.replace(registered="ONAY", registered_at=NOON, ret_event_id="earlier")
        yield f"restored later {case}", changed(known_row, apply.restored(known_row, later, NOW))
        if row is not None:
            aside = row.replace(void_event_id="void", latest_onay_at=NOON, ret_event_id="earlier")
            yield (
                f"decided aside {case}",
                changed(aside, apply.decided(aside, a_decision_record(decision), NOW)),
            )


def known() -> dict[str, Any]:
    """Return every case with what it becomes, as JSON has it."""
    found: dict[str, Any] = {}
    for cases in (results, observations, rulings, acts, events):
        for name, became in cases():
            assert name not in found, name
            found[name] = became
    return json.loads(json.dumps(found, default=str))


def test_rows_become_what_they_became():
    """Each differs only where it is meant to, and is then written again."""
    expected, found = json.loads(FILE.read_text(encoding="utf-8")), known()
    assert found.keys() == expected.keys()
    assert [name for name, one in found.items() if one != expected[name]] == []


def main() -> None:
    """Write the file."""
    lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in known().items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
