"""Values for tests: valid unless a test overrides a field, and obviously fake.

Brand 100001 belongs to customer ``acme``; people are ``+905550000001`` and ``ada@example.com``.
"""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from izin.consent import (
    AdmittedEvent,
    Channel,
    ConsentEvent,
    ConsentKey,
    Decision,
    IysOrigin,
    RecipientType,
    RefusedEvent,
    Status,
    admit,
)
from izin.schemas.records import consent_to_avro, event_to_avro, violation_to_avro

CUSTOMER = "acme"
BRAND = 100001
PHONE = "+905550000001"
EMAIL = "ada@example.com"

NOON = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""Monday 2 March 2026, noon in Turkey: the instant of the events in tests."""


def a_decision_record(
    decision: Decision, *, topic: str = "consent-events", partition: int = 0, offset: int = 0
) -> dict[str, Any]:
    """Return ``decision`` as an Avro Decision of the record at these coordinates."""
    admitted = decision.admitted
    return {
        "kind": decision.kind,
        "reason": decision.reason,
        "opted_out": decision.opted_out,
        "effective_at": admitted.effective_at,
        "violations": [violation_to_avro(one) for one in admitted.violations],
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "consent": consent_to_avro(decision.consent),
        "event": event_to_avro(admitted.event),
    }


def a_key(**overrides: object) -> ConsentKey:
    """Return the key of `an_event`."""
    fields: dict[str, Any] = {
        "brand_code": BRAND,
        "channel": Channel.MESAJ,
        "recipient_type": RecipientType.BIREYSEL,
        "recipient": PHONE,
    }
    return ConsentKey(**fields | overrides)


def an_event(**overrides: object) -> ConsentEvent:
    """Return an ONAY for text messages, given on a web page and received two seconds later."""
    fields: dict[str, Any] = {
        "event_id": "event-1",
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": PHONE,
        "status": "ONAY",
        "source": "HS_WEB",
        "consent_date": NOON,
        "received_at": NOON + timedelta(seconds=2),
        "origin": "web",
    }
    return ConsentEvent(**fields | overrides)


def an_iys_origin(**overrides: object) -> IysOrigin:
    """Return the origin of a citizen's act at İYS, received by push."""
    fields: dict[str, Any] = {"stream": "IYS", "path": "push", "creation_date": NOON}
    return IysOrigin(**fields | overrides)


def an_iys_event(**overrides: object) -> ConsentEvent:
    """Return a RET that a citizen gave on İYS's own page."""
    fields: dict[str, Any] = {
        "status": "RET",
        "source": "IYS_WEB",
        "origin": "iys",
        "iys": an_iys_origin(),
    }
    return an_event(**fields | overrides)


def an_admitted_event(**overrides: object) -> AdmittedEvent:
    """Return the admitted event of `an_event` with these fields."""
    admitted = admit(an_event(**overrides), appended_at=NOON + timedelta(seconds=3))
    assert not isinstance(admitted, RefusedEvent), admitted.violations
    return admitted


def a_ret(**overrides: object) -> AdmittedEvent:
    """Return the admitted event of a RET with these fields."""
    return an_admitted_event(status=Status.RET, **overrides)


def a_dead_letter(*, offset: int = 0) -> dict[str, Any]:
    """Return a dead letter of no record in particular."""
    return {
        "reason": "undecodable",
        "violations": [],
        "topic": "consent-events",
        "partition": 0,
        "offset": offset,
        "timestamp": 0,
        "key": None,
        "value": None,
        "value_size": 0,
        "value_sha256": "",
        "headers": [],
    }


def kafka_message(**fields: object) -> Any:  # noqa: ANN401  # as much of a Message as is read
    """Return a message; each field is what the method of its name returns."""
    given: dict[str, object] = {
        "topic": "topic",
        "partition": 0,
        "offset": 0,
        "key": b"any",
        "value": None,
        "headers": None,
        "timestamp": (1, int(NOON.timestamp() * 1000)),
        "error": None,
    }
    return SimpleNamespace(
        **{name: lambda found=found: found for name, found in (given | fields).items()}
    )
