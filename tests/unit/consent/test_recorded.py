"""The state of a key by the facts of its history: each kind of fact, one after the other."""

from datetime import datetime, timedelta
from typing import Any

import orjson

from izin.consent import RecordedKey, Registered, Status, decide, restoration
from tests.support.builders import (
    CUSTOMER,
    NOON,
    a_decision_record,
    a_key,
    an_admitted_event,
    an_iys_origin,
)

MINUTE = timedelta(minutes=1)


def a_fact(
    kind: str,
    data: dict[str, Any],
    at: datetime = NOON,
    *,
    status: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Return a fact of the key."""
    return {
        "kind": kind,
        "key": str(a_key()),
        "customer_id": CUSTOMER,
        "event_id": event_id,
        "status": status,
        "occurred_at": at,
        "recorded_at": at,
        "data": data,
    }


def decision(**event: object) -> dict[str, Any]:
    """Return the fact of the decision on the first event of the key."""
    record = a_decision_record(decide(None, an_admitted_event(**event)))
    return a_fact("decision", record, record["effective_at"])


def test_decision_makes_its_event_desired() -> None:
    """With the date from which it counts."""
    key = RecordedKey()
    assert key.add(decision(event_id="e1", status="ONAY")) is None
    desired = key.state.desired
    assert desired is not None
    assert (desired.event_id, desired.status) == ("e1", Status.ONAY)


def test_opt_out_that_says_it_is_from_iys_closes_at_once() -> None:
    """It is claimed, and not verified."""
    key = RecordedKey()
    origin = an_iys_origin(creation_date=NOON)
    key.add(decision(status="RET", source="IYS_WEB", consent_date=NOON, iys=origin))
    shown = key.state.registration
    assert (shown.value, shown.verified_at) == (Registered.RET, None)


def test_restored_consent_stands_and_what_is_registered_is_unknown() -> None:
    """İYS is queried before anything else."""
    consent = decide(None, an_admitted_event(event_id="e1", status="RET")).consent
    key = RecordedKey()
    key.add(
        a_fact(
            "bootstrap",
            orjson.loads(orjson.dumps(restoration(consent))),
            consent.effective_at,
            status="RET",
            event_id="e1",
        )
    )
    desired = key.state.desired
    assert desired is not None
    assert (desired.event_id, key.state.registration.value) == ("e1", Registered.UNKNOWN)


def test_answer_older_than_its_event_is_of_an_earlier_save() -> None:
    """İYS returns the first receipt of an identical call: it shows nothing of now."""
    key = RecordedKey()
    key.add(decision(event_id="e1", status="ONAY", consent_date=NOON))
    key.add(a_fact("call", {"submission": 1}, status="ONAY", event_id="e1"))
    saved = {
        "submission": 1,
        "verdict": "success",
        "creation_date": NOON - MINUTE,
        "transaction_id": "c" * 64,
        "how": "add",
    }
    assert key.add(a_fact("answer", saved, status="ONAY", event_id="e1")) is None
    later = saved | {"creation_date": NOON + MINUTE}
    found = key.add(a_fact("answer", later, NOON + MINUTE, status="ONAY", event_id="e1"))
    assert found is not None
    assert key.state.registration.value is Registered.ONAY


def test_outcome_ends_an_event_and_other_facts_change_nothing() -> None:
    """A consent that expired permits nothing; an act of a person is for those who ask for it."""
    key = RecordedKey()
    key.add(decision(event_id="e1", status="ONAY"))
    before = key.state
    key.add(a_fact("act", {"act": "requeue"}))
    assert key.state == before
    key.add(a_fact("outcome", {"outcome": "expired"}, status="ONAY", event_id="e1"))
    assert key.state != before
