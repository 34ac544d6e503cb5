"""What İYS's result of an item makes of its row.

The state of a row changes by the table of the lifecycle, in one place.

The id of an outcome depends on its content alone.
No call to İYS fails for a field: each error that the simulator knows is found before.

The simulator's own list of field errors is posted at the intake: each is refused, marked, or read
as what was meant. And in whatever is admitted and submitted, the simulator finds no error.
"""

import ast
import json
import re
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import example, given, strategies as st
from iys_simulator.conformance.adding_consents import FIELD_ERRORS
from iys_simulator.conformance.builders import consent
from iys_simulator.conformance.case import filled
from iys_simulator.errors.responses import codes_in
from iys_simulator.rules.consent import Consent
from iys_simulator.rules.consent_fields import ValidationContext, read_consent
from iys_simulator.settings import Settings

import izin
from izin.consent import (
    BEGINNING,
    FIRST_DATE,
    SKEW,
    TURKEY_CALENDAR,
    ConsentEvent,
    ConsentKey,
    IllegalTransitionError,
    Observation,
    RefusedEvent,
    Registered,
    State,
    Status,
    admit,
    decide,
)
from izin.consent.transitions import TRANSITIONS, Event, guard
from izin.iys.errors import FIELD_FAULTS as COUNTED, Verdict, classify
from izin.iys.wire_format import Receipt, from_turkish
from izin.iys.wire_format.json_reader import to_turkish
from izin.kafka.tables import brand_directory as known
from izin.ledger.record import (
    AppliedResult,
    Brand,
    ConsentRow,
    Item,
    ItemResult,
    apply,
    begin,
    first_row,
    item_of,
    item_result,
    outcome_id,
    ruling,
    transition,
)
from izin.ledger.record.item_result import scope_of
from izin.producers.intake.request_body import read_records
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import AcceptedRecord, EventOrigin, read, validate
from izin.runtime.http_server.problems import JSON_TYPE
from tests.support.builders import BRAND, CUSTOMER, EMAIL, NOON, PHONE, a_decision_record, an_event
from tests.support.iys import CORE_CODES
from tests.unit.ledger.record.test_ruling import ACTIVE, NOW, decided, in_flight_row

PRODUCT = Path(izin.__file__).parent
KEY = ConsentKey.parse(f"100001/MESAJ/BIREYSEL/{PHONE}")
NAMESPACE = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e01")


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
    assert again.next_attempt_at > NOW


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


def assigned_states(source: str) -> list[int]:
    """Return the lines of ``source`` that assign a state by keyword."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in {"replace", "ConsentRow"}
        and any(word.arg == "state" for word in node.keywords)
    ]


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_transition_follows_the_table(state: State, event: Event):
    """What the table lacks is refused, and the row is as it was."""
    row = first_row(KEY, "acme", NOON).replace(state=state)
    if (state, event) in TRANSITIONS:
        after = transition(row, event, reason="x")
        assert after == row.replace(state=TRANSITIONS[state, event], reason="x")
        return
    with pytest.raises(IllegalTransitionError):
        transition(row, event, reason="x")
    assert row == first_row(KEY, "acme", NOON).replace(state=state)


@pytest.mark.parametrize("state", State)
def test_new_obligation_begins_from_every_state(state: State):
    """A newer event is ruled whatever became of the one before it."""
    assert begin(first_row(KEY, "acme", NOON).replace(state=state), attempts=0).state is BEGINNING


def test_guard_of_the_database_is_generated_from_the_table():
    """Table, trigger and column know the same states and changes."""
    folder = PRODUCT / "ledger/migrations"
    last = (folder / "0003_transitions.sql").read_text("utf-8")
    assert textwrap.indent(guard(), " " * 8) in last
    schema = (folder / "0001_schema.sql").read_text("utf-8")
    _, _, column = schema.partition("state                     text NOT NULL CHECK (state IN (")
    assert set(re.findall(r"'(\w+)'", column.partition("))")[0])) == {str(one) for one in State}


def test_no_state_is_assigned_outside_transitions():
    """Only ``record.state_change`` assigns a state to a row; a rebuild restores the one of a call
    that is unanswered.
    """
    found = {
        path.relative_to(PRODUCT).as_posix()
        for path in PRODUCT.rglob("*.py")
        if assigned_states(path.read_text("utf-8"))
    }
    assert found == {"ledger/record/state_change.py", "replay/ledger/rebuild.py"}


def test_assigned_state_is_found():
    """The rule can fail."""
    assert assigned_states("x = 1\nrow.replace(why=None, state='parked')\n") == [2]
    assert assigned_states("ConsentRow(key='', state='parked')\n") == [1]


@given(
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from(["accepted", "refused"]),
    st.integers(0, 99),
    st.none() | st.just("H174"),
)
def test_outcome_id_is_a_uuid_of_its_content(
    key: str, event_id: str, outcome: str, attempt: int, code: str | None
) -> None:
    """Version 5, over all that distinguishes outcomes: a reader can compute it again."""
    content = f"{key}|{event_id}|{outcome}|{attempt}|{code}"
    assert outcome_id(key, event_id, outcome, attempt, code) == str(uuid5(NAMESPACE, content))


ACTIVATED_AT = datetime(2020, 1, 1, tzinfo=UTC)
OURS = Brand(
    brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek", activated_at=ACTIVATED_AT
)
DIRECTORY = known.BrandDirectory(
    [known.RegisteredBrand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek")]
)
VALUES = {
    "phone": PHONE,
    "email": EMAIL,
    "yesterday": to_turkish(NOON - timedelta(days=3)),  # NOON is a Monday
    "tomorrow": to_turkish(NOON + timedelta(days=1)),
    "monthAgo": to_turkish(NOON - timedelta(days=30)),
}


def errors_at_iys(item: dict[str, Any], now: datetime) -> list[str]:
    """Return the codes with which the simulator refuses ``item``."""
    found = read_consent(
        item, ValidationContext.at(int(now.timestamp()), to_turkish(ACTIVATED_AT), Settings())
    )
    return [] if isinstance(found, Consent) else codes_in(found)


def submitted(event: ConsentEvent, now: datetime) -> dict[str, Any] | None:
    """Return what is submitted of an event at ``now``, None if nothing is."""
    admitted = admit(event, appended_at=now)
    if isinstance(admitted, RefusedEvent):
        return None
    entry = apply.decided(None, a_decision_record(decide(None, admitted)), now)
    for registered in (Registered.UNKNOWN, Registered.NONE, Registered.ONAY):
        asked = entry.replace(registered=str(registered))
        due = ruling.rule_row(asked, OURS, now, calendar=TURKEY_CALENDAR).row
        if due.action == "send" and (due.next_attempt_at is None or due.next_attempt_at <= now):
            return item_of(due).to_body()
    return None


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize(
    ("what", "changed", "code"), [(what, changed, code) for what, changed, code, _ in FIELD_ERRORS]
)
def test_each_field_error_of_the_simulator_is_found_before_a_call(
    what: str, changed: dict[str, object], code: str, status: Status
):
    """Posted at the intake, it is refused, or marked, or read as what was meant: never sent."""
    item: Any = filled(consent(**{"status": str(status), **changed}), VALUES)
    assert code in errors_at_iys(item, NOON) or status is Status.RET, what
    (posted,), _ = read_records(JSON_TYPE, json.dumps({"brandCode": BRAND, **item}).encode())
    statement = read(posted.values, DateRules()).with_violations(posted.violations)
    origin = EventOrigin(event_id="event-1", origin="web", received_at=NOON)
    validated = validate(statement, DIRECTORY, origin)
    sent = submitted(validated.event, NOON) if isinstance(validated, AcceptedRecord) else None
    assert sent is None or errors_at_iys(sent, NOON) in ([], ["H467"] * (status is Status.RET))


def test_each_field_error_of_the_simulator_is_counted():
    """An error that İYS finds nonetheless is counted, whichever of its codes it gives."""
    assert {code for _, _, code, _ in FIELD_ERRORS} - {"H467"} <= COUNTED


def near(*texts: str) -> st.SearchStrategy[str]:
    """Generate the given texts, and texts like them."""
    return st.sampled_from(texts) | st.from_regex(r"(\+|00)?[0-9]{5,16}", fullmatch=True)


ANYTHING = st.builds(
    an_event,
    type=st.sampled_from(["", "mesaj", "ARAMA", "EPOSTA", "SMS"]),
    recipient_type=st.sampled_from(["", "TACIR", "BIREYSEL", "KURUMSAL"]),
    recipient=near("0555 000 00 01", "+9005550000001", "Ada@Example.com", "+4930123456")
    | st.from_regex(r"[a-zA-Z0-9._+ -]{1,9}@([a-z0-9-]{1,4}\.){0,2}[a-z]{1,3}", fullmatch=True),
    status=st.sampled_from(["", "onay", "ONAY", "RET", "EVET"]),
    source=st.sampled_from([None, "", "hs_web", "HS_KARAR", "HS_2015", "IYS_WEB", "HS_ATM"]),
    consent_date=st.sampled_from(
        [
            None,
            FIRST_DATE,
            FIRST_DATE - timedelta(seconds=1),
            FIRST_DATE + timedelta(milliseconds=1),
            NOON - timedelta(days=30),
            NOON,
            NOON + SKEW,
            NOON + timedelta(days=1),
        ]
    ),
    received_at=st.sampled_from([None, NOON, NOON + SKEW]),
    retailer_code=st.sampled_from([None, 0, 7, 10_000_000]),
    retailer_access=st.sampled_from([None, (), (10_000_000,), (10_000_000, 7)]),
)


@example(an_event(status="RET", source="HS_2015", consent_date=None), 60)
@example(an_event(recipient_type="TACIR", source="", consent_date=None), 60)
@example(an_event(recipient_type="TACIR", source="HS_2015", consent_date=None), 60)
@example(an_event(received_at=NOON + SKEW, consent_date=NOON + SKEW), 60)
@given(ANYTHING, st.sampled_from([0, 60, 3_600, 86_400, 4 * 86_400]))
def test_submitted_record_has_no_field_error_at_the_simulator(event: ConsentEvent, seconds: int):
    """Whatever was admitted, and whenever it is sent; only an opt-out is sent though late."""
    now = NOON + timedelta(seconds=seconds)
    sent = submitted(event, now)
    if sent is not None:
        late = ["H467"] if sent["status"] == Status.RET else []
        assert errors_at_iys(sent, now) in ([], late)


@pytest.mark.parametrize(
    ("basis", "date", "submitted"),
    [
        ("day", "2026-03-02 00:00:00", "2026-03-02 00:00:00"),
        ("minute", "2026-03-02 11:30:00", "2026-03-02 11:30:00"),
        ("stated", "2026-03-02 11:30:00", "2026-03-02 11:30:00"),
        ("stated", "2026-03-03 12:01:00", "2026-03-03 12:00:00"),
    ],
)
def test_iys_gets_the_date_as_it_was_stated(basis: str, date: str, submitted: str):
    """The end of its day orders an opt-out here, and nobody stated it. Never ahead of a receipt."""
    received = NOON + timedelta(days=1)
    event = an_event(
        status="RET", consent_date=from_turkish(date), received_at=received, date_basis=basis
    )
    admitted = admit(event, appended_at=received)
    row = apply.decided(None, a_decision_record(decide(None, admitted)), received)
    assert to_turkish(item_of(row).consent_date or NOON) == submitted
