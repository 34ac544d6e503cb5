"""What a row becomes when the law decides, when İYS speaks, and when İYS answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from izin.consent.business_days import TURKEY_CALENDAR
from izin.consent.lifecycle import State
from izin.consent.obligation import Action, Registered
from izin.iys.verdicts import Verdict, classify
from izin.iys.wire_format.consents import Receipt
from izin.sinks.record import apply, item_result, ruling
from izin.sinks.record.apply import Statement
from izin.sinks.record.brand import Brand
from izin.sinks.record.item_result import Answer, AppliedResult, scope_of
from izin.sinks.record.request_body import body_of, item_of, items_of
from izin.sinks.record.row import ConsentRow
from izin.sinks.record.submission import Item
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_claim,
    a_decision_record,
    a_key,
    a_statement,
)
from tests.support.iys_codes import CORE_CODES

NOW = NOON + timedelta(minutes=10)
ACTIVE = Brand(
    brand_code=BRAND,
    iys_code=BRAND,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=datetime(2020, 1, 1, tzinfo=UTC),
)


def decided(entry: ConsentRow | None = None, **overrides: object) -> ConsentRow:
    """Return the row after one decision, as the law takes an event with these fields."""
    from izin.consent.ordering import decide  # noqa: PLC0415 - the law's own, used here alone

    decision = decide(None, a_claim(**overrides))
    return apply.decided(entry, a_decision_record(decision), NOW)


def an_entry(**columns: object) -> ConsentRow:
    """Return the row of an ONAY of ours that is to be told."""
    return ruling.rule_row(decided(), ACTIVE, NOW, calendar=TURKEY_CALENDAR).entry.replace(
        **columns
    )


def an_item(entry: ConsentRow, **fields: object) -> Item:
    """Return the item by which a row was told."""
    item = Item(
        place=0,
        customer_id=entry.customer_id,
        key=entry.key,
        event_id=entry.desired_event_id or "",
        status=entry.desired_status or "",
        consent_date=entry.desired_at,
        source=entry.desired_source,
        attempt=1,
        origin="web",
        origin_ref=None,
    )
    return item._replace(**fields)


def in_flight_row(**overrides: object) -> ConsentRow:
    """Return a row whose statement is on its way."""
    entry = ruling.rule_row(decided(**overrides), ACTIVE, NOW, calendar=TURKEY_CALENDAR).entry
    ret = entry.desired_status == "RET"
    return entry.replace(
        state=State.IN_FLIGHT, action=Action.NOTHING, attempts=1, onay_open=not ret, ret_open=ret
    )


def apply_result(entry: ConsentRow, item: Item, answer: Answer) -> AppliedResult:
    """Return what an answer makes of a row."""
    return item_result.apply_result(entry, item, answer, ACTIVE, NOW, calendar=TURKEY_CALENDAR)


def stated(value: Registered, minutes: int = 0, **fields: object) -> Statement:
    """Return what İYS states some minutes after noon."""
    statement = Statement(
        value=value,
        creation_date=NOON + timedelta(minutes=minutes),
        transaction_id="0" * 64,
        verified_at=NOW,
        verified_by="pull",
    )
    return replace(statement, **fields)


def test_a_date_ahead_of_the_clock_waits_for_it():
    """Honest clocks differ, and İYS takes no date ahead of its own (H162)."""
    at = NOW + timedelta(minutes=1)
    entry = decided().replace(desired_at=at)
    ruled = ruling.rule_row(entry, ACTIVE, NOW, calendar=TURKEY_CALENDAR).entry
    assert (ruled.action, ruled.next_attempt_at) == ("send", at)
    then = ruling.rule_row(entry, ACTIVE, at, calendar=TURKEY_CALENDAR).entry
    assert (then.action, then.next_attempt_at) == ("send", None)


@pytest.mark.parametrize("status", ["ONAY", "RET"])
def test_what_lies_ahead_of_iys_is_told_again(status: str):
    """H162: İYS's clock is behind ours, and will not be for long."""
    entry = in_flight_row(status=status)
    applied = apply_result(entry, an_item(entry), Answer(verdict=classify("H162"), code="H162"))
    assert applied.item_state == "withdrawn"
    again = applied.ruled.entry
    assert (again.state, again.action, again.reason) == ("retryable", "send", "ahead-of-iys")
    assert again.next_attempt_at is not None
    assert again.next_attempt_at > NOW


def test_a_first_onay_is_to_be_told_and_has_its_clocks():
    """The term runs from the consent; the gate stays shut."""
    entry = an_entry()
    assert (entry.state, entry.action, entry.registered) == ("pending", "send", "UNKNOWN")
    assert entry.due_at is not None
    assert entry.expires_at is not None
    assert entry.due_at < entry.expires_at


def test_a_brand_nobody_knows_parks_the_record():
    """Nothing can be told, and nothing is dropped."""
    entry = ruling.rule_row(decided(), None, NOW, calendar=TURKEY_CALENDAR).entry
    assert (entry.state, entry.reason) == ("parked", ruling.UNKNOWN_BRAND)


def test_an_older_decision_only_moves_the_latest_instants():
    """A stale RET is remembered for the gate and changes nothing that is owed."""
    entry = an_entry()
    earlier = NOON - timedelta(days=1)
    after = decided(entry, event_id="old", status="RET", consent_date=earlier)
    assert after.desired_event_id == entry.desired_event_id
    assert after.latest_ret_at == earlier


def test_what_iys_says_in_an_event_is_its_statement():
    """The decision of a pushed RET tells the ledger what İYS holds: there is nothing to tell."""
    entry = decided(event_id="iys", status="RET", source="IYS_WEB", origin="iys", iys=a_statement())
    after = ruling.rule_row(entry, ACTIVE, NOW, calendar=TURKEY_CALENDAR).entry
    assert (after.registered, after.state, after.verified_by) == ("RET", "not_needed", "push")


def test_the_statement_with_the_greatest_creation_date_stands():
    """Whatever order statements come in, the last one of İYS's clock is registered."""
    ret, onay = stated(Registered.RET, minutes=2), stated(Registered.ONAY, minutes=1)
    one = apply.observed(apply.observed(an_entry(), ret), onay)
    other = apply.observed(apply.observed(an_entry(), onay), ret)
    assert one.registered == other.registered == "RET"


def test_in_the_same_second_a_no_stands():
    """İYS's clock has no finer grain, and a "no" is never undone by accident."""
    ret, onay = stated(Registered.RET), stated(Registered.ONAY)
    assert apply.observed(apply.observed(an_entry(), ret), onay).registered == "RET"
    assert apply.observed(apply.observed(an_entry(), onay), ret).registered == "RET"


def test_an_answer_outranks_the_question_before_it():
    """The question carries our clock and the answer İYS's: they cannot be compared."""
    asked = apply.observed(
        an_entry(), stated(Registered.ONAY, minutes=5, transaction_id=None, verified_by="statuses")
    )
    told = apply.observed(asked, stated(Registered.RET, minutes=4, is_answer=True))
    assert told.registered == "RET"


def test_details_are_filled_in_where_only_the_value_was_known():
    """The multiple query tells no dates; the movement that is pulled later does."""
    asked = apply.observed(
        an_entry(), stated(Registered.ONAY, minutes=5, transaction_id=None, verified_by="statuses")
    )
    told = apply.observed(asked, stated(Registered.ONAY, minutes=1, consent_date=NOON))
    assert (told.registered_consent_date, told.registered_at) == (NOON, NOON + timedelta(minutes=5))


def test_what_is_told_and_unanswered_keeps_its_state():
    """Nothing is ruled while a call is out, whatever is observed meanwhile."""
    entry = apply.observed(in_flight_row(), stated(Registered.ONAY))
    assert ruling.rule_row(entry, ACTIVE, NOW, calendar=TURKEY_CALENDAR).entry.state == "in_flight"


@pytest.mark.parametrize(
    ("verdict", "code", "state"),
    [
        (Verdict.DATA, "H121", "refused"),
        (Verdict.EXPIRED, "H467", "expired"),
        (Verdict.ALREADY, "H178", "unknown"),
        (Verdict.TRANSIENT, "H103", "retryable"),
        (Verdict.THROTTLE, "H124", "retryable"),
        (Verdict.RIGHTS, "H353", "retryable"),
        (Verdict.RIGHTS, "H180", "parked"),
        (Verdict.QUOTA, "H525", "parked"),
        (Verdict.CONFIGURATION, "H521", "retryable"),
        (Verdict.UNKNOWN, "H999", "parked"),
    ],
)
def test_an_onays_answer_and_what_it_makes_of_the_row(verdict: Verdict, code: str, state: str):
    """The H-code decides, and nothing is dropped."""
    entry = in_flight_row()
    applied = apply_result(entry, an_item(entry), Answer(verdict=verdict, code=code))
    after = applied.ruled.entry
    assert (after.state, after.code, after.onay_open) == (state, code, False)


def test_a_ret_refused_as_late_is_rescued_by_a_new_one_of_today():
    """No date is changed; the breach stays, and a new event follows from it."""
    entry = in_flight_row(status="RET")
    applied = apply_result(entry, an_item(entry), Answer(verdict=Verdict.EXPIRED, code="H467"))
    rescue = applied.ruled.rescue
    assert applied.ruled.entry.state == "refused"
    assert rescue is not None
    assert (rescue.status, rescue.source, rescue.consent_date) == ("RET", "HS_KARAR", NOW)
    assert rescue.cause == entry.desired_event_id


def test_a_ret_that_iys_never_knew_is_settled_only_if_nothing_may_still_land():
    """H175 beside an unsettled ONAY waits for it."""
    entry = in_flight_row(status="RET")
    answer = Answer(verdict=Verdict.ALREADY, code="H175")
    alone = apply_result(entry, an_item(entry), answer).ruled.entry
    assert (alone.state, alone.registered) == ("not_needed", "NONE")
    beside = apply_result(entry.replace(onay_open=True), an_item(entry), answer).ruled.entry
    assert (beside.state, beside.action, beside.registered) == ("retryable", "wait", "UNKNOWN")


def test_an_answer_to_the_past_still_says_what_iys_holds():
    """An ONAY that landed after the citizen changed their mind makes the RET owed at once."""
    onay = in_flight_row()
    ret = decided(onay, event_id="ret", status="RET", consent_date=NOON + timedelta(minutes=1))
    ret = ruling.rule_row(ret, ACTIVE, NOW, calendar=TURKEY_CALENDAR).entry
    receipt = Receipt(transaction_id="1" * 64, creation_date=NOW)
    answer = Answer(verdict=Verdict.SUCCESS, receipt=receipt, how="batch")
    applied = apply_result(ret, an_item(onay), answer)
    after = applied.ruled.entry
    assert (after.registered, after.state, after.action) == ("ONAY", "pending", "send")
    assert applied.outcome is not None
    assert (applied.outcome.outcome, applied.outcome.event_id) == ("accepted", "event-1")


def test_a_success_of_an_earlier_request_is_read_back():
    """It speaks of an old save; what İYS holds now is asked, and until then nothing is known."""
    entry = in_flight_row()
    receipt = Receipt(transaction_id="1" * 64, creation_date=NOON)
    answer = Answer(verdict=Verdict.SUCCESS, receipt=receipt, is_original=True, how="batch")
    after = apply_result(entry, an_item(entry), answer).ruled.entry
    assert (after.state, after.action, after.registered) == ("unknown", "query", "UNKNOWN")


def test_a_stop_reaches_as_far_as_its_fault():
    """A lost right stops a channel, a closed account the brand, a spent quota its new ONAYs."""
    right = scope_of("MESAJ", Answer(verdict=Verdict.RIGHTS, code="H353"))
    account = scope_of("MESAJ", Answer(verdict=Verdict.CONFIGURATION, code="H521"))
    quota = scope_of("MESAJ", Answer(verdict=Verdict.QUOTA, code="H525"))
    assert right is not None
    assert account is not None
    assert quota is not None
    assert (right.channel, right.status) == ("MESAJ", "*")
    assert (account.channel, account.status) == ("*", "*")
    assert (quota.channel, quota.status) == ("*", "ONAY")
    assert [one.scope for one in (right, account, quota)] == ["brand", "provider", "provider"]
    for verdict, code in ((Verdict.TOKEN, "H351"), (Verdict.CONFIGURATION, "H251")):
        stopped = scope_of("MESAJ", Answer(verdict=verdict, code=code))
        assert stopped is not None
        assert (stopped.channel, stopped.scope) == ("*", "account")
    brand = scope_of("MESAJ", Answer(verdict=Verdict.CONFIGURATION, code="H018"))
    assert brand is not None
    assert (brand.channel, brand.scope) == ("*", "brand")
    assert scope_of("MESAJ", Answer(verdict=Verdict.RIGHTS, code="H180")) is None


def test_an_opt_out_is_tried_again_within_a_minute():
    """A "no" never waits as long as bulk does."""
    ret = in_flight_row(status="RET").replace(attempts=30)
    onay = in_flight_row().replace(attempts=30)
    assert ruling.retry(ret, NOW, "x", None).next_attempt_at == NOW + timedelta(minutes=1)
    assert ruling.retry(onay, NOW, "x", None).next_attempt_at == NOW + timedelta(minutes=15)


def test_the_body_that_is_kept_says_what_was_said():
    """What is read back from the intent is the same item, so the same body leaves again."""
    entry = an_entry(retailer_code=55550127, retailer_access=(55550127,))
    item = item_of(entry)
    assert items_of(body_of([item])) == (item,)
    assert item.consent_date == NOON
    assert item.recipient == PHONE == a_key().recipient


@pytest.mark.parametrize("code", CORE_CODES)
def test_every_code_of_iys_leaves_an_opt_out_alive(code: str):
    """It is told again, asked about, saved by one of today or left to a person; where İYS has no
    record there is nothing to withdraw. No code ends it as refused.
    """
    entry = in_flight_row(status="RET").replace(registered="ONAY")
    answer = Answer(verdict=classify(code), code=code)
    after = apply_result(entry, an_item(entry), answer).ruled
    ending = (after.entry.state, after.entry.action)
    if code in {"H175", "H486"} and (code == "H175" or entry.desired_source == "HS_KARAR"):
        assert ending == ("not_needed", "nothing")
    else:
        assert ending in {
            ("retryable", "send"),
            ("unknown", "query"),
            ("refused", "rescue"),
            ("parked", "nothing"),
        }
    assert (after.rescue is not None) == (after.entry.action == "rescue")
    saved = entry.replace(desired_origin=ruling.RESCUE)
    again = apply_result(saved, an_item(saved), answer).ruled
    assert again.rescue is None
    assert again.entry.state != "refused"


@pytest.mark.parametrize("code", CORE_CODES)
def test_every_code_of_iys_has_an_end_for_a_consent(code: str):
    """No code is without its state, and none makes a consent stand that İYS did not save."""
    entry = in_flight_row()
    after = apply_result(entry, an_item(entry), Answer(verdict=classify(code), code=code))
    assert after.ruled.entry.state in {"retryable", "unknown", "refused", "parked", "expired"}
    assert after.item_state in {"refused", "withdrawn"}


def test_a_row_changed_column_by_column_is_the_row_replaced_whole():
    """``but`` is ``dataclasses.replace``, only faster."""
    entry = an_entry()
    assert entry.replace(state=State.PARKED, reason="x") == replace(
        entry, state=State.PARKED, reason="x"
    )
    assert entry.state == "pending"


def test_absence_does_not_hide_a_no_that_is_known():
    """The multiple query shows only what is ONAY: its silence over a citizen's RET is that RET, and
    an older consent of ours must not be told over it.
    """
    ret = stated(Registered.RET, minutes=5, source="IYS_WEB")
    known = apply.observed(an_entry(), ret)
    silence = stated(
        Registered.NOT_ONAY,
        minutes=9,
        transaction_id=None,
        verified_at=NOW + timedelta(minutes=1),
        verified_by="statuses",
    )
    asked = apply.observed(known, silence)
    assert asked.registered_state == known.registered_state
    assert (asked.verified_by, asked.verified_at) == ("statuses", silence.verified_at)
    assert ruling.rule_row(asked, ACTIVE, NOW, calendar=TURKEY_CALENDAR).entry.action == "query"
