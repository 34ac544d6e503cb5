"""Events are made of the records of three topics, and are as docs/webhooks.md shows them."""

import json
import re
import tracemalloc
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import jsonschema_rs
import pytest
from structlog.typing import EventDict

from izin.cli.subscribers.command import app
from izin.ledger.webhooks.registry import EventFilter, WebhookType
from izin.schemas.codec import Codec
from izin.schemas.records import headers
from izin.schemas.topics import Topic, Topics
from izin.webhooks.events import EventReader, WebhookEvent
from tests.contract.schemas.examples import golden
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, a_key, kafka_message
from tests.support.webhooks import a_consent, a_permission, event_reader, key_of

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text("utf-8")
TOPICS = Topics()
CODEC = Codec()


def a_record(
    topic: str, content: bytes | None, key: bytes, number: int = 17, given: Sequence[Any] = ()
) -> Any:  # noqa: ANN401  # a Kafka client's
    """Return a record of the partition 3."""
    return kafka_message(
        topic=topic,
        partition=3,
        offset=number,
        timestamp=(1, int((NOON + timedelta(seconds=3)).timestamp() * 1000)),
        key=key,
        value=content,
        headers=[*given],
    )


DOCUMENT = json.loads((Path(__file__).parents[3] / "docs/openapi/webhooks.json").read_text("utf-8"))
POSTED = jsonschema_rs.validator_for(
    {
        "oneOf": [
            {"$ref": f"#/components/schemas/{name}"} for name in DOCUMENT["components"]["schemas"]
        ],
        "components": DOCUMENT["components"],
    }
)


def as_described(event: WebhookEvent | None) -> WebhookEvent | None:
    """Check that the body of ``event`` is as docs/openapi/webhooks.json says."""
    if event is not None:
        assert [one.message for one in POSTED.iter_errors(json.loads(event.body))] == []
    return event


def read(
    topic: str,
    record: str,
    value: dict[str, Any],
    *,
    number: int = 17,
    given: Sequence[Any] = (),
) -> Any:  # noqa: ANN401  # an event that a test looks into, or None
    """Return the event of a record at the offset ``number``, with the headers ``given``."""
    content, key = CODEC.encode(record, value), key_of(value).encode()
    found = a_record(topic, content, key, number, given)
    return as_described(event_reader(CODEC, TOPICS).read(found))


def of_permission(**overrides: object) -> Any:  # noqa: ANN401  # the same
    """Return the event of a permission."""
    return read(TOPICS.permissions.name, "Permission", a_permission(**overrides))


def of_opt_out(**overrides: Any) -> Any:  # noqa: ANN401  # the same
    """Return the event of an opt-out."""
    return read(TOPICS.opt_outs.name, "Consent", a_consent(1), **overrides)


def data_of(event: WebhookEvent) -> dict[str, Any]:
    """Return what an event says."""
    found: dict[str, Any] = json.loads(event.body)["data"]
    return found


def test_opt_out_is_as_the_page_shows_it() -> None:
    """Field by field, in its order."""
    event = of_opt_out()
    shown, _ = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.dumps(json.loads(event.body), indent=2) == shown.strip()
    assert b"\n" not in event.body


def test_page_names_every_type_and_command() -> None:
    """And each field of a permission."""
    assert all(f"`{one}`" in PAGE for one in (*WebhookType, "test.ping"))
    own = data_of(of_permission()).keys() - data_of(of_opt_out()).keys()
    names = {"may_send", "reason", "desired", "registered", "registered_at", "retailers", "since"}
    assert own == names
    assert all(f"`{one}`" in PAGE for one in own)
    assert '"unreadable":\ntrue' in PAGE
    names = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    assert {"add", "show", "test", "resend", "rotate-secret"} <= names
    assert all(f"izin subscribers {name}" in PAGE for name in names)


@pytest.mark.parametrize(
    ("before", "now", "type_", "is_change"),
    [
        (None, True, "permission.granted", True),
        (False, True, "permission.granted", True),
        (True, False, "permission.revoked", True),
        (True, True, "permission.granted", False),
        (False, False, "permission.revoked", False),
    ],
)
def test_permission_is_an_event_where_its_answer_changes(
    before: bool | None, now: bool, type_: str, is_change: bool
) -> None:
    """One whose reason alone changed is only for whoever may have missed the change; the first that
    denies is none, for nobody was allowed anything before.
    """
    event = of_permission(previous_may_send=before, may_send=now)
    assert (event.type, event.is_change, event.since) == (type_, is_change, NOON)
    assert of_permission(previous_may_send=None, may_send=False) is None


def test_tombstone_is_a_revocation_for_the_brands_customer(logged: list[EventDict]) -> None:
    """The recipient was erased; the record has no value that says whose it was."""
    reader = event_reader(CODEC, TOPICS, {})
    key = str(a_key(recipient=PHONE)).encode()
    record = a_record(TOPICS.permissions.name, None, key)
    assert reader.read(record) is None
    assert logged[-1]["log_level"] == "critical"
    reader.customers = {BRAND: CUSTOMER}
    event = reader.read(record)
    assert event is not None
    data = json.loads(event.body)["data"]
    assert (event.type, event.customer_id) == ("permission.revoked", CUSTOMER)
    assert (data["recipient"], data["may_send"], data["reason"]) == (PHONE, False, "erased")


def test_id_is_of_the_record_wherever_it_is_written_again() -> None:
    """A crash may repeat a record at another offset, under its own id; two records never share."""
    topic = TOPICS.opt_outs.name
    own = headers(record="Consent", event_id="1/2", source="/izin/streams", at=NOON)
    other = headers(record="Consent", event_id="1/3", source="/izin/streams", at=NOON)
    ids = [
        event.webhook_id
        for given, number in ((own, 17), (own, 18), (other, 17), ((), 17), ((), 18))
        if (event := read(topic, "Consent", a_consent(1), given=given, number=number))
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"msg_[0-9a-f]{40}", one) for one in ids)


def by_key(topic: str, key: bytes, value: bytes | None = b"\0", number: int = 17) -> Any:  # noqa: ANN401  # an event that a test looks into, or None
    """Return the event of a record with a value that no release can read."""
    reader = event_reader(CODEC, TOPICS)
    source = headers(record="Consent", event_id="1/2", source="/izin/streams", at=NOON)
    found = a_record(topic, value, key, number, source)
    return as_described(reader.read(found))


@pytest.mark.parametrize(
    ("topic", "type_", "more"),
    [
        (TOPICS.opt_outs, "consent.opted-out", {}),
        (TOPICS.permissions, "permission.revoked", {"may_send": False, "reason": "unreadable"}),
        (TOPICS.outcomes, "consent.outcome", {}),
    ],
)
def test_unreadable_record_is_an_event_by_its_key(
    topic: Topic, type_: str, more: dict[str, Any], logged: list[EventDict]
) -> None:
    """An opt-out is not left out, a permission is closed; a person has the record looked at."""
    key = str(a_key(recipient=PHONE))
    event = by_key(topic.name, key.encode())
    assert (event.type, event.key, event.origin, event.is_change) == (type_, key, None, True)
    assert json.loads(event.body)["data"] == {
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": PHONE,
        **more,
        "unreadable": True,
        "topic": topic.name,
        "partition": 3,
        "offset": 17,
    }
    (alert,) = logged
    assert (alert["log_level"], alert["offset"]) == ("critical", 17)
    assert PHONE not in str(alert)


@pytest.mark.parametrize("topic", [TOPICS.opt_outs, TOPICS.outcomes])
def test_record_of_a_log_without_a_value_is_unreadable(topic: Topic) -> None:
    """Only permissions have tombstones: whatever was meant, it is not passed over."""
    event = by_key(topic.name, a_key().encode(), None)
    assert json.loads(event.body)["data"]["unreadable"] is True


def test_readable_record_is_another_event_than_by_its_key() -> None:
    """A release that can read it posts what it says, which is not to be taken for a repetition."""
    key = key_of(a_consent(1)).encode()
    ids = [by_key(TOPICS.opt_outs.name, key, number=one).webhook_id for one in (17, 18)]
    own = headers(record="Consent", event_id="1/2", source="/izin/streams", at=NOON)
    assert ids[0] == ids[1] != of_opt_out(given=own).webhook_id


@pytest.mark.parametrize("value", [None, b"\0"])
@pytest.mark.parametrize(
    "key",
    [
        b"key",
        b"",
        b"\xff",
        b"100001/MESAJ/BIREYSEL/",
        b"100001/MESAJ/BIREYSEL",
        b"9" * 5000 + b"/MESAJ/BIREYSEL/x",
        b"100002/MESAJ/BIREYSEL/x",
    ],
)
def test_record_of_unreadable_key_or_brand_is_an_alert(
    key: bytes, value: bytes | None, logged: list[EventDict]
) -> None:
    """Nobody knows whose it is; it stops nothing."""
    for topic in (TOPICS.opt_outs, TOPICS.permissions):
        assert by_key(topic.name, key, value) is None
    assert {one["log_level"] for one in logged} == {"critical"}


def test_unreadable_opt_out_on_a_channel_of_a_later_release_is_an_event() -> None:
    """Its key says which; a filter of channels compares it as it is."""
    event = by_key(TOPICS.opt_outs.name, f"{BRAND}/FAX/BIREYSEL/{PHONE}".encode())
    assert event.is_for(EventFilter(customer_id=CUSTOMER))
    assert event.is_for(EventFilter(customer_id=CUSTOMER, channels=frozenset({"FAX"})))
    assert not event.is_for(EventFilter(customer_id=CUSTOMER, channels=frozenset({"MESAJ"})))


@pytest.mark.parametrize("key", [b"", b"\xff", b"100001/MESAJ/BIREYSEL/other"])
def test_event_has_the_key_that_its_record_says(key: bytes) -> None:
    """An opt-out that can be read is not left out for the key beside it."""
    value = a_consent(1)
    record = a_record(TOPICS.opt_outs.name, CODEC.encode("Consent", value), key)
    event: Any = event_reader(CODEC, TOPICS).read(record)
    assert event.key == key_of(value)


UNREADABLE = by_key(TOPICS.opt_outs.name, a_key().encode())


def test_key_has_no_nul_for_the_ledger() -> None:
    """PostgreSQL could not store the acknowledgement, nor those of others beside it."""
    event = by_key(TOPICS.opt_outs.name, a_key(recipient="+9\0" + PHONE[2:]).encode())
    assert event.key == str(a_key(recipient=PHONE))
    assert json.loads(event.body)["data"]["recipient"] == "+9\0" + PHONE[2:]


@pytest.mark.parametrize(
    ("event", "chosen", "is_for"),
    [
        (of_opt_out(), {}, True),
        (of_opt_out(), {"customer_id": "other"}, False),
        (of_opt_out(), {"types": frozenset({"consent.outcome"})}, False),
        (of_opt_out(), {"brands": frozenset({BRAND})}, True),
        (of_opt_out(), {"brands": frozenset({5})}, False),
        (of_opt_out(), {"channels": frozenset({"EPOSTA"})}, False),
        (of_opt_out(), {"origins": frozenset({"web"})}, True),
        (of_opt_out(), {"origins": frozenset({"crm"})}, False),
        (of_permission(), {"origins": frozenset({"crm"})}, True),
        (UNREADABLE, {"origins": frozenset({"crm"})}, True),
        (UNREADABLE, {"customer_id": "other"}, False),
        (UNREADABLE, {"types": frozenset({"permission.granted"})}, False),
        (UNREADABLE, {"brands": frozenset({5})}, False),
        (UNREADABLE, {"channels": frozenset({"EPOSTA"})}, False),
    ],
)
def test_filter_chooses_by_what_an_event_says(
    event: WebhookEvent, chosen: dict[str, Any], is_for: bool
) -> None:
    """An empty filter is everything of the customer. A permission has no origin, and that of an
    opt-out that cannot be read is not known; its customer, type, brand and channel are.
    """
    assert event.is_for(EventFilter(**{"customer_id": CUSTOMER, **chosen})) is is_for


def test_outcome_is_an_event() -> None:
    """With what İYS replied."""
    value = golden("Outcome")
    event = read(TOPICS.outcomes.name, "Outcome", value)
    data = data_of(event)
    assert (event.type, data["outcome"], data["code"]) == (
        *("consent.outcome", value["outcome"], value["code"]),
    )


def test_kept_events_take_little_more_than_their_bodies():
    """Thousands are in memory, counted by the length of their bodies."""
    value, count = CODEC.encode("Consent", a_consent()), 200
    record = a_record(TOPICS.opt_outs.name, value, key_of(a_consent()).encode())
    reader = event_reader(CODEC, TOPICS)
    reader.read(record)
    tracemalloc.start()
    kept = [reader.read(record) for _ in range(count)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / count < sum(len(one.body) + 1000 for one in kept if one) / count


@pytest.mark.parametrize("named", [CUSTOMER, "globex", ""])
async def test_event_is_of_its_brands_customer_whoever_the_record_names(named: str) -> None:
    """An opt-out that names another customer is posted to nobody but the brand's, and says so."""
    for topic, record, value in (
        (TOPICS.opt_outs.name, "Consent", a_consent(1)),
        (TOPICS.permissions.name, "Permission", a_permission()),
        (TOPICS.outcomes.name, "Outcome", golden("Outcome")),
    ):
        # Of the brand that is registered.
        event = read(topic, record, value | {"customer_id": named, "brand_code": BRAND})
        assert event.customer_id == data_of(event)["customer_id"] == CUSTOMER


async def test_brand_registered_just_before_its_opt_out_is_asked_for(
    logged: list[EventDict],
) -> None:
    """Nobody gets what is of a brand that is not registered, and nobody misses what is theirs."""
    customers: dict[int, str] = {}
    value = a_consent(1, customer_id="globex")
    key = key_of(value).encode()
    record: Any = a_record(TOPICS.opt_outs.name, CODEC.encode("Consent", value), key)

    reader = EventReader(CODEC, TOPICS, AsyncMock(side_effect=lambda: dict(customers)))
    await reader.prepare([record])
    assert reader.read(record) is None
    assert logged[-1]["event"] == "record of an unknown brand"
    customers[BRAND] = CUSTOMER
    await reader.prepare([record])
    event = reader.read(record)
    assert event is not None
    assert event.customer_id == CUSTOMER
