"""What a row becomes by a decision and by an entry of İYS, and what is published of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from izin.consent import (
    SKEW,
    SYNTHETIC_BRAND,
    TURKEY_CALENDAR,
    Action,
    Observation,
    OriginRank,
    Registered,
    State,
    decide,
)
from izin.ledger.record import (
    Brand,
    ConsentRow,
    RuledRow,
    apply,
    body_of,
    first_row,
    item_of,
    ruling,
)
from izin.ledger.record.state_change import retry
from izin.ledger.record.submission import items_of
from izin.schemas.topics import Topics
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    an_admitted_event,
    an_iys_origin,
)
from tests.support.fast_copies.registry import MESSAGES, saved


def test_permission_behind_a_closed_opt_in_is_published_again() -> None:
    """The opt-out before it holds again: the topic must not keep what the opt-in permitted."""
    row = first_row(a_key(), CUSTOMER, NOON)
    opted_out = row.replace(
        desired_status="RET", desired_at=NOON, desired_rank=0, latest_ret_at=NOON
    )
    changes, _ = saved(None, RuledRow(row=opted_out), NOON)
    before = changes.written(opted_out)
    closed = before.replace(desired_status="ONAY", latest_ret_at=None, state=State.EXPIRED)
    changes, messages = saved(before, RuledRow(row=before, closed=closed), NOON)
    published = [one for one in messages if one.topic == Topics().permissions.name]
    written = changes.written(before)
    expected = MESSAGES.permission_of(written, NOON, previous=False)
    assert len(published) == 2
    assert published[-1].value == expected.value
    assert written.permission_reason == before.permission_reason


NOW = NOON + timedelta(minutes=10)
ACTIVE = Brand(
    brand_code=BRAND,
    iys_code=BRAND,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=datetime(2020, 1, 1, tzinfo=UTC),
)


def decided(entry: ConsentRow | None = None, **overrides: object) -> ConsentRow:
    """Return the row after the decision on an event with these fields."""
    decision = decide(None, an_admitted_event(**overrides))
    return apply.decided(entry, a_decision_record(decision), NOW)


def rule(row: ConsentRow, brand: Brand | None = ACTIVE, now: datetime = NOW) -> ConsentRow:
    """Return what is ruled on a row."""
    return ruling.rule_row(row, brand, now, calendar=TURKEY_CALENDAR).row


def an_entry(**columns: object) -> ConsentRow:
    """Return the row of an opt-in that is due."""
    return rule(decided()).replace(**columns)


def in_flight_row(**overrides: object) -> ConsentRow:
    """Return a row whose submission has no reply yet."""
    entry = rule(decided(**overrides))
    ret = entry.desired_status == "RET"
    return entry.replace(
        state=State.IN_FLIGHT, action=Action.NOTHING, attempts=1, onay_open=not ret, ret_open=ret
    )


def shown(value: Registered, minutes: int = 0, **fields: object) -> Observation:
    """Return what İYS shows some minutes after noon."""
    statement = Observation(
        value=value,
        creation_date=NOON + timedelta(minutes=minutes),
        transaction_id="0" * 64,
        verified_at=NOW,
        verified_by="pull",
    )
    return replace(statement, **fields)


def test_event_dated_ahead_waits_for_the_clock():
    """Correct clocks differ, and İYS takes no date ahead of its own (H162)."""
    at = NOW + timedelta(minutes=1)
    entry = decided().replace(desired_at=at)
    for now, wait in ((NOW, at), (at, None)):
        ruled = rule(entry, now=now)
        assert (ruled.action, ruled.next_attempt_at) == ("send", wait)


def test_first_opt_in_is_due_and_has_its_terms():
    """The term runs from the consent; nothing may be sent yet. Of an unknown brand nothing can be
    submitted, and nothing is dropped.
    """
    entry = an_entry()
    assert (entry.state, entry.action, entry.registered) == ("pending", "send", "UNKNOWN")
    assert entry.due_at < entry.expires_at
    unknown = rule(decided(), None)
    assert (unknown.state, unknown.reason) == ("parked", ruling.UNKNOWN_BRAND)


def test_event_of_nobody_is_settled_at_once():
    """Whatever it says, and even if somebody had registered its brand: nothing of it is due."""
    for status in ("ONAY", "RET"):
        for brand in (None, ACTIVE):
            row = rule(decided(brand_code=SYNTHETIC_BRAND, status=status), brand)
            assert (row.state, row.action, row.reason) == ("not_needed", "nothing", "synthetic")


def test_older_decision_moves_only_the_latest_instants():
    """A stale RET is kept for permissions, and changes nothing that is due."""
    entry = an_entry()
    earlier = NOON - timedelta(days=1)
    after = decided(entry, event_id="old", status="RET", consent_date=earlier)
    assert after.desired_event_id == entry.desired_event_id
    assert after.latest_ret_at == earlier


def claimed(entry: ConsentRow | None = None, **overrides: object) -> ConsentRow:
    """Return the row after an event that says it comes from İYS, in a topic."""
    iys = an_iys_origin(path="push", creation_date=NOON)
    event = {"event_id": "iys", "source": "IYS_WEB", "origin": "iys", "iys": iys}
    return rule(decided(entry, **event | overrides))


def test_onay_that_an_event_claims_opens_nothing():
    """Whoever writes the topic could claim it: İYS is queried first."""
    after = claimed(status="ONAY")
    assert (after.registered, after.verified_at) == ("UNKNOWN", None)
    assert (after.action, after.reason) == ("query", "originated-at-iys")
    assert after.next_attempt_at > NOW
    assert permission_of(after).may_send is False


def permission_of(row: ConsentRow) -> ConsentRow:
    """Return the row of a key that was unknown, with its permission."""
    return MESSAGES.permission(None, row, NOW)[0]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "awaiting-iys"),
        ({"state": State.REFUSED}, "void"),
        ({"state": State.EXPIRED}, "void"),
        ({"desired_rank": OriginRank.IYS}, "not-registered"),
        ({"desired_status": "RET"}, "opted-out"),
    ],
)
def test_permission_names_what_became_of_an_onay(columns: dict[str, object], reason: str):
    """A subscriber sees whether waiting helps, or a new consent is needed."""
    found = permission_of(an_entry(**columns))
    assert (found.may_send, found.permission_reason) == (False, reason)


def test_ret_that_an_event_claims_closes_and_settles_nothing():
    """No ONAY is sent over it unattested; and ours is sent unless İYS itself shows it."""
    after, later = claimed(status="RET"), NOON + timedelta(minutes=1)
    onay = decided(after, event_id="later", consent_date=later)
    ours = decided(after, event_id="ours", status="RET", consent_date=later)
    assert (after.registered, after.verified_at, after.state) == ("RET", None, "pending")
    for row in (after, rule(onay), rule(ours)):
        assert (row.action, row.reason) == ("query", "originated-at-iys")
    parked = rule(apply.observed(onay, shown(Registered.RET, source="IYS_WEB")))
    assert (parked.state, parked.reason) == ("parked", "reconsent")
    seen = apply.observed(ours, shown(Registered.RET))
    assert (seen.verified_at, rule(seen).state) == (NOW, "not_needed")
    assert claimed(seen, event_id="again", status="RET").verified_at == NOW


QUERIED = {"transaction_id": None, "verified_by": "statuses"}
ABSENT = shown(Registered.NOT_ONAY, minutes=5, **QUERIED)


@pytest.mark.parametrize(
    ("seen", "registered"),
    [
        ([shown(Registered.RET, 2), shown(Registered.ONAY, 1)], "RET"),
        ([shown(Registered.ONAY, 1), shown(Registered.RET, 2)], "RET"),
        ([shown(Registered.RET), shown(Registered.ONAY)], "RET"),
        ([shown(Registered.ONAY), shown(Registered.RET)], "RET"),
        (
            [shown(Registered.ONAY, 5, **QUERIED), shown(Registered.RET, 4, verified_by="add")],
            "RET",
        ),
        ([ABSENT, shown(Registered.RET, 1)], "RET"),
        ([ABSENT, shown(Registered.RET, 1), shown(Registered.ONAY, 3)], "RET"),
        ([ABSENT, shown(Registered.RET, 1), shown(Registered.ONAY, 6)], "ONAY"),
    ],
    ids=[
        *("any order", "in order", "same second", "same second, in order", "reply after query"),
        *("opt-out explains absence", "opt-in before the query", "opt-in after the query"),
    ],
)
def test_latest_of_what_iys_shows_is_registered(seen: list[Observation], registered: str):
    """By İYS's clock, whatever order they come in. It has no finer resolution than a second, and an
    opt-out is never undone by accident; a query has our clock, and cannot be compared. The multiple
    query shows only that it is no opt-in.
    """
    row = an_entry()
    for one in seen:
        row = apply.observed(row, one)
    assert row.registered == registered
    if seen[:1] == [ABSENT] and registered == "RET":
        assert row.registered_at == NOON + timedelta(minutes=5)


def test_observed_onay_from_the_future_outranks_no_later_ret():
    """A provider's clock, or İYS's, may be wrong by a year; it counts from when we saw it."""
    ahead = shown(Registered.ONAY, creation_date=NOW + timedelta(days=365))
    held = apply.observed(an_entry(), ahead)
    assert (held.registered, held.registered_at) == ("ONAY", NOW)
    later = shown(
        Registered.RET,
        creation_date=NOW + timedelta(seconds=1),
        verified_at=NOW + timedelta(seconds=2),
    )
    assert apply.observed(held, later).registered == "RET"
    close = shown(Registered.ONAY, creation_date=NOW + SKEW)
    assert apply.observed(an_entry(), close).registered_at == NOW + SKEW


def test_movement_completes_a_queried_value():
    """The multiple query has no dates; the entry that is pulled later does. A citizen's opt-in
    is then no newer than an opt-out of ours between both, which is sent.
    """
    asked = apply.observed(decided(status="RET"), shown(Registered.ONAY, 5, **QUERIED))
    before = NOON - timedelta(minutes=1)
    entry = shown(Registered.ONAY, minutes=-1, consent_date=before, source="IYS_WEB")
    after = apply.observed(asked, entry)
    assert (after.registered_consent_date, after.registered_at) == (before, before)
    assert (rule(after).action, rule(after).reason) == ("send", "opt-out")


def test_row_in_flight_keeps_its_state():
    """Nothing is ruled while a call is out, whatever is observed meanwhile."""
    assert rule(apply.observed(in_flight_row(), shown(Registered.ONAY))).state == "in_flight"


def test_opt_out_is_retried_within_seconds():
    """An opt-out never waits as long as bulk does."""
    for status, wait in (("RET", timedelta(seconds=3)), ("ONAY", timedelta(minutes=15))):
        row = in_flight_row(status=status).replace(attempts=30)
        assert retry(row, NOW, "x", None).next_attempt_at == NOW + wait


def test_stored_request_body_round_trips():
    """The items are read back, so that the same body is sent again."""
    item = item_of(an_entry(retailer_code=55550127, retailer_access=(55550127,)))
    assert items_of(body_of([item])) == (item,)
    assert item.consent_date == NOON
    assert item.recipient == PHONE == a_key().recipient


def test_row_replace_equals_dataclasses_replace():
    """``ConsentRow.replace`` is only faster."""
    entry = an_entry()
    assert entry.replace(state=State.PARKED, reason="x") == replace(
        entry, state=State.PARKED, reason="x"
    )
    assert entry.state == "pending"


def test_absence_from_a_query_keeps_a_known_opt_out():
    """The multiple query shows only ONAY: absence after a citizen's RET is that RET, and an older
    consent of ours must not be sent over it.
    """
    known = apply.observed(an_entry(), shown(Registered.RET, minutes=5, source="IYS_WEB"))
    at = NOW + timedelta(minutes=1)
    asked = apply.observed(known, shown(Registered.NOT_ONAY, 9, verified_at=at, **QUERIED))
    assert asked.registered_state == known.registered_state
    assert (asked.verified_by, asked.verified_at) == ("statuses", at)
    assert rule(asked).action == "query"
