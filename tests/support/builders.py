"""Values for tests: valid unless a test overrides a field, and obviously fake.

Brand 100001 belongs to customer ``acme``; people are ``+905550000001`` and ``ada@example.com``.
"""

from collections.abc import Mapping
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
from izin.kafka.tables.api_keys import ApiKeyDirectory
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension
from izin.ledger.sweep.sweeps import RegisterCount, Sweep, SweepCounts
from izin.schemas.api_keys import ApiKey, Scope, new_api_key
from izin.schemas.records import consent_to_avro, event_to_avro, violation_to_avro

CUSTOMER = "acme"
BRAND = 100001
PHONE = "+905550000001"
EMAIL = "ada@example.com"

NOON = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""Monday 2 March 2026, noon in Turkey: the instant of the events in tests."""


def usual(overrides: Mapping[str, Any], **fields: Any) -> dict[str, Any]:  # noqa: ANN401  # of any type
    """Return the ``fields`` that something usually has, with ``overrides`` in their place."""
    return fields | dict(overrides)


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


def a_phone(number: int) -> str:
    """Return one of ten million mobile numbers that nobody has."""
    return f"+90555{number:07}"


def a_key(**overrides: object) -> ConsentKey:
    """Return the key of `an_event`."""
    return ConsentKey(
        **usual(
            overrides,
            brand_code=BRAND,
            channel=Channel.MESAJ,
            recipient_type=RecipientType.BIREYSEL,
            recipient=PHONE,
        )
    )


def an_event(**overrides: object) -> ConsentEvent:
    """Return an ONAY for text messages, given on a web page and received two seconds later."""
    return ConsentEvent(
        **usual(
            overrides,
            event_id="event-1",
            customer_id=CUSTOMER,
            brand_code=BRAND,
            type="MESAJ",
            recipient_type="BIREYSEL",
            recipient=PHONE,
            status="ONAY",
            source="HS_WEB",
            consent_date=NOON,
            received_at=NOON + timedelta(seconds=2),
            origin="web",
        )
    )


def an_iys_origin(**overrides: object) -> IysOrigin:
    """Return the origin of a citizen's act at İYS, received by push."""
    return IysOrigin(**usual(overrides, stream="IYS", path="push", creation_date=NOON))


def an_iys_event(**overrides: object) -> ConsentEvent:
    """Return a RET that a citizen gave on İYS's own page."""
    return an_event(
        **usual(overrides, status="RET", source="IYS_WEB", origin="iys", iys=an_iys_origin())
    )


def an_admitted_event(**overrides: object) -> AdmittedEvent:
    """Return the admitted event of `an_event` with these fields."""
    return as_admitted(an_event(**overrides), NOON + timedelta(seconds=3))


def as_admitted(event: ConsentEvent, appended_at: datetime) -> AdmittedEvent:
    """Return ``event`` as the law admits it, which it must."""
    admitted = admit(event, appended_at=appended_at)
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
    return SimpleNamespace(
        **{
            name: lambda found=found: found
            for name, found in (
                usual(
                    fields,
                    topic="topic",
                    partition=0,
                    offset=0,
                    key=b"any",
                    value=None,
                    headers=None,
                    timestamp=(1, int(NOON.timestamp() * 1000)),
                    error=None,
                )
            ).items()
        }
    )


KEY_ID = "0a1b2c3d4e5f-1"
API_KEY, SECRET_HASH = new_api_key(KEY_ID, bytes)
"""A key whose random part is all zeros."""
AUTHORIZATION: Mapping[str, str] = {"Authorization": f"Bearer {API_KEY}"}


def an_api_key(**overrides: object) -> ApiKey:
    """Return the record of ``API_KEY``, which may publish for the customer of `an_event`."""
    return ApiKey(
        **usual(
            overrides,
            id=KEY_ID,
            name="shop",
            secret_hash=SECRET_HASH,
            scopes=frozenset({Scope.PUBLISH.value}),
            customers=frozenset({CUSTOMER}),
            created_at=NOON,
        )
    )


def a_second_key(**overrides: object) -> tuple[str, ApiKey]:
    """Return another key with its record, of the name ``crm``."""
    text, secret_hash = new_api_key("a1a1a1a1a1a1-1", lambda count: b"\1" * count)
    return text, an_api_key(
        **usual(overrides, id="a1a1a1a1a1a1-1", name="crm", secret_hash=secret_hash)
    )


def known(*keys: ApiKey, age: float | None = 0.0) -> ApiKeyDirectory:
    """Return a directory of ``keys``, last seen complete ``age`` seconds ago."""
    return ApiKeyDirectory(keys, age=lambda: age)


def check_refusal(scope: Scope | None, needed: Scope, answer: tuple[int, str, str]) -> None:
    """Check the status, media type and body of an ``answer`` to who has no key, or whose key has
    ``scope`` alone where another is ``needed``.
    """
    status, media_type, body = answer
    assert (status, media_type) == (401 if scope is None else 403, "application/problem+json")
    assert scope is None or f"lacks the scope {needed}" in body
    assert API_KEY not in body


def a_brake(**overrides: object) -> AutomaticSuspension:
    """Return an open suspension that holds five opt-outs of ``crm`` back."""
    return AutomaticSuspension(
        **usual(
            overrides,
            id=1,
            customer_id=CUSTOMER,
            brand_code=BRAND,
            source="crm",
            status="RET",
            tripped_at=NOON,
            keys=5,
            opted_in=15,
            share=20.0,
            decision=None,
            decided_at=None,
            decided_by=None,
            reason=None,
            held_back=5,
            first_due_at=NOON + timedelta(days=3),
        )
    )


def a_sweep(queried: int = 500, **fields: Any) -> Sweep:  # noqa: ANN401 - a field's value each
    """Return an open sweep of 2,000 keys."""
    return Sweep(
        counts=SweepCounts(queried=queried, confirmed=queried),
        **usual(
            fields,
            id=1,
            customer_id=CUSTOMER,
            brand_code=BRAND,
            reason="order",
            started_at=NOON,
            keys=2000,
            after=f"{BRAND}/",
            pages=1,
            skipped_groups=(),
            error=None,
            retry_at=None,
            ended_at=None,
            is_stopped=False,
        ),
    )


def a_count(**fields: int) -> RegisterCount:
    """Return counts that are equal, with one key on its way."""
    return RegisterCount(
        **usual(
            fields,
            brand_code=BRAND,
            counted_at=NOON,
            iys_onay=10,
            onay=10,
            iys_ret=5,
            ret=5,
            unconfirmed=0,
            in_flight=1,
            onay_before=0,
            ret_before=0,
        )
    )
