"""What İYS's result of an item makes of its row."""

from datetime import timedelta

import pytest

from izin.consent.business_days import TURKEY_CALENDAR
from izin.consent.fold import Observation
from izin.consent.next_action import Registered
from izin.iys.errors import Verdict, classify
from izin.iys.wire_format.consents import Receipt
from izin.sinks.record import apply, item_result, ruling
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.item_result import AppliedResult, ItemResult, scope_of
from izin.sinks.record.submission import Item
from tests.support.builders import NOON
from tests.support.iys import CORE_CODES
from tests.unit.sinks.record.test_ruling import ACTIVE, NOW, decided, in_flight_row


def an_item(entry: ConsentRow, **fields: object) -> Item:
    """Return the item by which a row was submitted."""
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


def apply_result(entry: ConsentRow, item: Item, answer: ItemResult) -> AppliedResult:
    """Return the effect of a result on a row."""
    return item_result.apply_result(entry, item, answer, ACTIVE, NOW, calendar=TURKEY_CALENDAR)


@pytest.mark.parametrize("status", ["ONAY", "RET"])
def test_record_dated_ahead_of_iys_is_retried(status: str):
    """H162: İYS's clock is behind ours, and will not be for long."""
    entry = in_flight_row(status=status)
    applied = apply_result(entry, an_item(entry), ItemResult(verdict=classify("H162"), code="H162"))
    assert applied.item_state == "withdrawn"
    again = applied.ruled.row
    assert (again.state, again.action, again.reason) == ("retryable", "send", "ahead-of-iys")
    assert again.next_attempt_at is not None
    assert again.next_attempt_at > NOW


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
def test_verdict_of_an_opt_in_decides_the_state(verdict: Verdict, code: str, state: str):
    """The H-code decides, and nothing is dropped."""
    entry = in_flight_row()
    applied = apply_result(entry, an_item(entry), ItemResult(verdict=verdict, code=code))
    after = applied.ruled.row
    assert (after.state, after.code, after.onay_open) == (state, code, False)


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.SUCCESS, "accepted"),
        (Verdict.DATA, "refused"),
        (Verdict.TRANSIENT, "withdrawn"),
        (Verdict.CONFIGURATION, "withdrawn"),
    ],
)
def test_item_that_is_no_longer_desired_is_refused_only_for_itself(verdict: Verdict, state: str):
    """İYS that is busy, or that refuses the account, has refused no record."""
    entry = in_flight_row(status="RET")
    item = an_item(entry, status="ONAY", event_id="an-earlier-one")
    assert apply_result(entry, item, ItemResult(verdict=verdict)).item_state == state


def test_opt_out_refused_as_late_is_rescued():
    """No date is changed; the breach stays, and a new event of today follows from it."""
    entry = in_flight_row(status="RET")
    applied = apply_result(entry, an_item(entry), ItemResult(verdict=Verdict.EXPIRED, code="H467"))
    rescue = applied.ruled.rescue
    assert applied.ruled.row.state == "refused"
    assert rescue is not None
    assert (rescue.status, rescue.source, rescue.consent_date) == ("RET", "HS_KARAR", NOW)
    assert rescue.cause == entry.desired_event_id


def test_opt_out_of_a_day_that_iys_calls_older_is_rescued():
    """H178: it was stated by its day, and İYS has an opt-in of that day; one that was stated to the
    second is asked about, for İYS has something newer.
    """
    entry = in_flight_row(status="RET")
    answer = ItemResult(verdict=Verdict.ALREADY, code="H178")
    stated = an_item(entry, consent_date=NOON - timedelta(hours=12))
    rescue = apply_result(entry, stated, answer).ruled.rescue
    assert rescue is not None
    assert (rescue.status, rescue.source, rescue.cause) == ("RET", "HS_KARAR", stated.event_id)
    for item, code in ((an_item(entry), "H178"), (stated, "H174"), (stated, None)):
        asked = apply_result(entry, item, answer._replace(code=code)).ruled
        assert (asked.rescue, asked.row.action) == (None, "query")
    onay = in_flight_row()
    earlier = an_item(onay, consent_date=NOON - timedelta(hours=12))
    assert apply_result(onay, earlier, answer).ruled.rescue is None


def test_unknown_opt_out_settles_once_no_opt_in_is_open():
    """H175 beside an unsettled opt-in waits for it."""
    entry = in_flight_row(status="RET")
    answer = ItemResult(verdict=Verdict.ALREADY, code="H175")
    alone = apply_result(entry, an_item(entry), answer).ruled.row
    assert (alone.state, alone.registered) == ("not_needed", "NONE")
    beside = apply_result(entry.replace(onay_open=True), an_item(entry), answer).ruled.row
    assert (beside.state, beside.action, beside.registered) == ("retryable", "wait", "UNKNOWN")


def test_absence_is_as_old_as_the_call_that_showed_it():
    """The result of a batch may come hours later: what another writer wrote meanwhile is newer."""
    called_at = NOW - timedelta(hours=5)
    entry = in_flight_row(status="RET").replace(last_exchange_at=called_at)
    answer = ItemResult(verdict=Verdict.ALREADY, code="H175", how="batch")
    alone = apply_result(entry, an_item(entry), answer).ruled.row
    assert (alone.registered, alone.registered_at, alone.verified_at) == ("NONE", called_at, NOW)
    meanwhile = Observation(
        value=Registered.ONAY,
        creation_date=NOW - timedelta(hours=1),
        consent_date=NOON - timedelta(days=1),
        source="HS_WEB",
        transaction_id="2" * 64,
        verified_at=NOW,
        verified_by="pull",
    )
    seen = apply.observed(alone, meanwhile)
    due = ruling.rule_row(seen, ACTIVE, NOW, calendar=TURKEY_CALENDAR).row
    assert (due.registered, due.action) == ("ONAY", "send")


def test_late_success_of_an_opt_in_makes_the_opt_out_due():
    """An opt-in was registered after the citizen changed their mind."""
    onay = in_flight_row()
    ret = decided(onay, event_id="ret", status="RET", consent_date=NOON + timedelta(minutes=1))
    ret = ruling.rule_row(ret, ACTIVE, NOW, calendar=TURKEY_CALENDAR).row
    receipt = Receipt(transaction_id="1" * 64, creation_date=NOW)
    answer = ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, how="batch")
    applied = apply_result(ret, an_item(onay), answer)
    after = applied.ruled.row
    assert (after.registered, after.state, after.action) == ("ONAY", "pending", "send")
    assert applied.outcome is not None
    assert (applied.outcome.outcome, applied.outcome.event_id) == ("accepted", "event-1")


def test_original_success_is_queried():
    """It is about an earlier save; what İYS holds now is not known until the query."""
    entry = in_flight_row()
    receipt = Receipt(transaction_id="1" * 64, creation_date=NOON)
    answer = ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, is_original=True, how="batch")
    after = apply_result(entry, an_item(entry), answer).ruled.row
    assert (after.state, after.action, after.registered) == ("unknown", "query", "UNKNOWN")


@pytest.mark.parametrize(
    ("verdict", "code", "expected"),
    [
        (Verdict.RIGHTS, "H353", ("MESAJ", "*", "brand")),
        (Verdict.RIGHTS, "H180", None),
        (Verdict.CONFIGURATION, "H521", ("*", "*", "provider")),
        (Verdict.CONFIGURATION, "H251", ("*", "*", "account")),
        (Verdict.CONFIGURATION, "H018", ("*", "*", "brand")),
        (Verdict.TOKEN, "H351", ("*", "*", "account")),
        (Verdict.QUOTA, "H525", ("*", "ONAY", "provider")),
    ],
)
def test_suspension_has_the_scope_of_its_fault(
    verdict: Verdict, code: str, expected: tuple[str, str, str] | None
):
    """A lost right suspends a channel, a closed account the brand, a spent quota new opt-ins."""
    found = scope_of("MESAJ", ItemResult(verdict=verdict, code=code))
    assert (found and (found.channel, found.status, found.scope)) == expected


@pytest.mark.parametrize("code", CORE_CODES)
def test_every_code_keeps_an_opt_out_due(code: str):
    """It is sent again, queried, rescued or parked; where İYS has no record, it is not needed."""
    entry = in_flight_row(status="RET").replace(registered="ONAY")
    answer = ItemResult(verdict=classify(code), code=code)
    after = apply_result(entry, an_item(entry), answer).ruled
    ending = (after.row.state, after.row.action)
    if code in {"H175", "H486"} and (code == "H175" or entry.desired_source == "HS_KARAR"):
        assert ending == ("not_needed", "nothing")
    else:
        assert ending in {
            ("retryable", "send"),
            ("unknown", "query"),
            ("refused", "rescue"),
            ("parked", "nothing"),
        }
    assert (after.rescue is not None) == (after.row.action == "rescue")
    saved = entry.replace(desired_origin=ruling.RESCUE)
    again = apply_result(saved, an_item(saved), answer).ruled
    assert again.rescue is None
    assert again.row.state != "refused"


@pytest.mark.parametrize("code", CORE_CODES)
def test_every_code_has_a_state_for_an_opt_in(code: str):
    """None permits a consent that İYS did not save."""
    entry = in_flight_row()
    after = apply_result(entry, an_item(entry), ItemResult(verdict=classify(code), code=code))
    assert after.ruled.row.state in {"retryable", "unknown", "refused", "parked", "expired"}
    assert after.item_state in {"refused", "withdrawn"}
