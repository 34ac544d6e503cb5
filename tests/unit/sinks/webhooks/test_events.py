"""Events are made of the records of three topics, and are as docs/webhooks.md shows them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict

from izin.console.subscribers.command import app
from izin.schemas.cloud_events import headers
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.ledger.webhooks.subscriber import EventFilter, WebhookType
from izin.sinks.webhooks.events import EventReader, WebhookEvent
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, a_key
from tests.support.webhooks import a_consent, a_permission, key_of

PAGE = (Path(__file__).parents[4] / "docs" / "webhooks.md").read_text("utf-8")
TOPICS = Topics()
CODEC = Codec()


@dataclass
class FakeRecord:
    """A record as a Kafka client gives it."""

    name: str
    content: bytes | None
    at_key: bytes
    number: int = 17
    given: list[Any] = field(default_factory=list)

    def topic(self) -> str:
        """Return the topic."""
        return self.name

    def partition(self) -> int:
        """Return the partition."""
        return 3

    def offset(self) -> int:
        """Return the offset."""
        return self.number

    def timestamp(self) -> tuple[int, int]:
        """Return when it was appended."""
        return 1, int((NOON + timedelta(seconds=3)).timestamp() * 1000)

    def key(self) -> bytes:
        """Return the key."""
        return self.at_key

    def value(self) -> bytes | None:
        """Return the value."""
        return self.content

    def headers(self) -> list[Any]:
        """Return the headers."""
        return self.given


def read(
    topic: str,
    record: str,
    value: dict[str, Any],
    *,
    number: int = 17,
    given: Sequence[Any] = (),
) -> WebhookEvent | None:
    """Return the event of a record at the offset ``number``, with the headers ``given``."""
    content, key = CODEC.encode(record, value), key_of(value).encode()
    found = FakeRecord(topic, content, key, number, [*given])
    return EventReader(CODEC, TOPICS).read(found)  # type: ignore[arg-type]


def of_permission(**overrides: object) -> WebhookEvent | None:
    """Return the event of a permission."""
    return read(TOPICS.permissions.name, "Permission", a_permission(**overrides))


def test_opt_out_is_as_the_page_shows_it() -> None:
    """Field by field, in its order."""
    event = read(TOPICS.opt_outs.name, "Consent", a_consent(1))
    assert event is not None
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.dumps(json.loads(event.body), indent=2) == shown.strip()
    assert b"\n" not in event.body


def test_page_names_every_type_and_command() -> None:
    """And each field of a permission."""
    assert all(f"`{one}`" in PAGE for one in (*WebhookType, "test.ping"))
    event = of_permission()
    assert event is not None
    own = (
        json.loads(event.body)["data"].keys()
        - json.loads((read(TOPICS.opt_outs.name, "Consent", a_consent(1)) or event).body)[
            "data"
        ].keys()
    )
    assert own == {"may_send", "reason", "desired", "registered", "registered_at", "since"}
    assert all(f"`{one}`" in PAGE for one in own)
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
    """One whose reason alone changed is only for whoever may have missed the change."""
    event = of_permission(previous_may_send=before, may_send=now)
    assert event is not None
    assert (event.type, event.is_change, event.since) == (type_, is_change, NOON)


def test_first_permission_that_denies_is_no_event() -> None:
    """Nobody was allowed anything before."""
    assert of_permission(previous_may_send=None, may_send=False) is None


def test_tombstone_is_a_revocation_for_the_brands_customer(logged: list[EventDict]) -> None:
    """The recipient was erased; the record has no value that says whose it was."""
    reader = EventReader(CODEC, TOPICS)
    key = str(a_key(recipient=PHONE)).encode()
    record = FakeRecord(TOPICS.permissions.name, None, key)
    assert reader.read(record) is None  # type: ignore[arg-type]
    assert logged[-1]["log_level"] == "critical"
    reader.customers = {BRAND: CUSTOMER}
    event = reader.read(record)  # type: ignore[arg-type]
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


def test_unreadable_record_is_an_alert_and_stops_nothing(logged: list[EventDict]) -> None:
    """It is one record of ours among many."""
    record = FakeRecord(TOPICS.opt_outs.name, b"\0", b"key")
    assert EventReader(CODEC, TOPICS).read(record) is None  # type: ignore[arg-type]
    assert logged[-1]["log_level"] == "critical"


@pytest.mark.parametrize(
    ("chosen", "is_for"),
    [
        ({}, True),
        ({"customer_id": "other"}, False),
        ({"types": frozenset({"consent.outcome"})}, False),
        ({"brands": frozenset({BRAND})}, True),
        ({"brands": frozenset({5})}, False),
        ({"channels": frozenset({"EPOSTA"})}, False),
        ({"origins": frozenset({"web"})}, True),
        ({"origins": frozenset({"crm"})}, False),
    ],
)
def test_filter_chooses_by_what_an_event_says(chosen: dict[str, Any], is_for: bool) -> None:
    """An empty filter is everything of the customer."""
    event = read(TOPICS.opt_outs.name, "Consent", a_consent(1))
    assert event is not None
    assert event.is_for(EventFilter(**{"customer_id": CUSTOMER, **chosen})) is is_for


def test_permission_passes_a_filter_of_origins() -> None:
    """It has none."""
    event = of_permission()
    assert event is not None
    assert event.is_for(EventFilter(customer_id=CUSTOMER, origins=frozenset({"crm"})))


def test_outcome_is_an_event() -> None:
    """With what İYS replied."""
    example = Path(__file__).parents[4] / "izin/schemas/examples/Outcome.json"
    value = json.loads(example.read_text("utf-8"))
    for name in ("creation_date", "occurred_at"):
        value[name] = value[name] and datetime.fromisoformat(value[name]).astimezone(UTC)
    event = read(TOPICS.outcomes.name, "Outcome", value)
    assert event is not None
    data = json.loads(event.body)["data"]
    assert (event.type, data["outcome"], data["code"]) == (
        "consent.outcome",
        value["outcome"],
        value["code"],
    )
