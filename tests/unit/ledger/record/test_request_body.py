"""No call to İYS fails for a field: each error that the simulator knows is found before.

The simulator's own list of field errors is posted at the intake: each is refused, marked, or read
as what was meant. And in whatever is admitted and submitted, the simulator finds no error.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from iys_simulator.conformance.adding_consents import FIELD_ERRORS
from iys_simulator.conformance.builders import consent
from iys_simulator.conformance.case import filled
from iys_simulator.errors.responses import codes_in
from iys_simulator.rules.consent import Consent
from iys_simulator.rules.consent_fields import ValidationContext, read_consent
from iys_simulator.settings import Settings

from izin.consent import (
    FIRST_DATE,
    SKEW,
    TURKEY_CALENDAR,
    ConsentEvent,
    RefusedEvent,
    Registered,
    Status,
    admit,
    decide,
)
from izin.iys.errors import FIELD_FAULTS as COUNTED
from izin.iys.wire_format import from_turkish
from izin.iys.wire_format.json_reader import to_turkish
from izin.kafka.tables import brand_directory as known
from izin.ledger.record import Brand, apply, item_of, ruling
from izin.producers.intake.request_body import read_records
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import AcceptedRecord, EventOrigin, read, validate
from izin.runtime.http_server.problems import JSON_TYPE
from tests.support.builders import BRAND, CUSTOMER, EMAIL, NOON, PHONE, a_decision_record, an_event

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
    body = json.dumps({"brandCode": BRAND, **item}).encode()
    (posted,), _ = read_records(JSON_TYPE, body)
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
    assert not isinstance(admitted, RefusedEvent)
    row = apply.decided(None, a_decision_record(decide(None, admitted)), received)
    assert to_turkish(item_of(row).consent_date or NOON) == submitted
