"""Events are made of the records of three topics, and are as docs/webhooks.md shows them.

What a lane has read and not acknowledged, and what it passes when it was behind.

A resend's lanes beside those that are followed: what was open at the start is posted first.

What a resend may still send, how it says so, and the same opt-out from topic and history.
"""

import asyncio
import json
import re
import tracemalloc
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import jsonschema_rs
import orjson
import pytest
from structlog.typing import EventDict

from izin.cli.subscribers.command import app
from izin.ledger.db import Ledger
from izin.ledger.webhooks.registry import DeliveryCursor, EventFilter, LaneName, WebhookType
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import headers
from izin.schemas.topics import Topic, Topics
from izin.webhooks import resends
from izin.webhooks.delivery import SubscriberDelivery, WebhookMetrics
from izin.webhooks.events import EventReader, WebhookEvent
from izin.webhooks.partitions import DeliveryLane
from izin.webhooks.posting import Poster
from izin.webhooks.resends import (
    RepetitionGuard,
    Resend,
    is_overtaken,
    marked,
    opt_out_of,
)
from izin.webhooks.source import LaneSource, LiveFeed, Taken
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, a_key, kafka_message
from tests.support.secret_keys import some_keys
from tests.support.webhooks import (
    a_consent,
    a_consent_in_force,
    a_permission,
    a_subscriber,
    an_opt_out,
    event_reader,
    key_of,
    quick,
)
from tools.golden_records import golden

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
    return json.loads(event.body)["data"]


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
    record = a_record(TOPICS.permissions.name, None, str(a_key(recipient=PHONE)).encode())
    assert reader.read(record) is None
    assert logged[-1]["log_level"] == "critical"
    reader.customers = {BRAND: CUSTOMER}
    event = reader.read(record)
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
    return as_described(reader.read(a_record(topic, value, key, number, source)))


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
    assert json.loads(by_key(topic.name, a_key().encode(), None).body)["data"]["unreadable"] is True


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
    assert reader.read(record).customer_id == CUSTOMER


PLACE = ("permissions", 0)
NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
OPT_OUTS = ("consent-opt-outs", 0)
HOUR = timedelta(hours=1)
OPTED_OUT, GRANTED, REVOKED = "consent.opted-out", "permission.granted", "permission.revoked"


def an_event(offset: int, **overrides: object) -> WebhookEvent:
    """Return an event."""
    return WebhookEvent(
        **{
            "type": "permission.granted",
            "webhook_id": f"msg_{offset}",
            "key": "key",
            "customer_id": "acme",
            "brand_code": 100001,
            "channel": "MESAJ",
            "origin": None,
            "topic": PLACE[0],
            "partition": PLACE[1],
            "offset": offset,
            "appended": 0.0,
            "body": b"{}",
        }
        | overrides
    )


def a_move(position: int, *open_offsets: int) -> DeliveryCursor:
    """Return how far the partition is."""
    known = {"next_offset": position, "open_offsets": open_offsets}
    return a_cursor(cluster_id="", topic_id="", **known)


def a_cursor(**overrides: object) -> DeliveryCursor:
    """Return a cursor."""
    return DeliveryCursor(
        **{
            "subscriber_id": 1,
            "lane": "bulk",
            "topic": PLACE[0],
            "partition": PLACE[1],
            "cluster_id": "c",
            "topic_id": "t",
            "next_offset": 5,
            "open_offsets": (2,),
        }
        | overrides
    )


def a_source(lane: DeliveryLane, *, feed: LiveFeed | None, behind: timedelta) -> LaneSource:
    """Return the source of a lane that was complete so long ago."""
    return LaneSource(
        lane=lane,
        feed=feed,
        reader=event_reader(Codec(), Topics()),
        settings=KafkaSettings(),
        turns=asyncio.Semaphore(1),
        caught_up_at=NOW - behind,
    )


def a_feed(most_bytes: int = 10_000) -> LiveFeed:
    """Return a feed that has read nothing."""
    return LiveFeed(
        KafkaSettings(), [PLACE[0]], event_reader(Codec(), Topics()), most_bytes=most_bytes
    )


def test_cursor_is_what_was_read_and_what_is_open() -> None:
    """An acknowledgement closes an offset, wherever it is among the open ones."""
    lane = DeliveryLane.of(1, "bulk", [a_cursor()])
    assert (lane.count, lane.is_reopened) == (1, False)
    for offset in (5, 6, 7):
        lane.add(an_event(offset))
    lane.close(PLACE, 6)
    assert list(lane.moves(also_read=False)) == [a_move(8, 2, 5, 7)]
    assert list(lane.moves(also_read=True)) == []
    for offset in (2, 5, 7):
        lane.close(PLACE, offset)
    (move,) = lane.moves(also_read=False)
    assert move == a_move(8)
    lane.restore(move)
    assert list(lane.moves(also_read=False)) == [move]
    assert lane.count == 0


def test_what_is_for_others_moves_the_cursor_now_and_then() -> None:
    """It is written with what was read, not with each acknowledgement."""
    lane = DeliveryLane.of(1, "bulk", [a_cursor(open_offsets=())])
    lane.move_all({PLACE: 100})
    assert list(lane.moves(also_read=False)) == []
    assert list(lane.moves(also_read=True)) == [a_move(100)]


def test_resend_is_done_when_its_end_is_acknowledged() -> None:
    """Not when it is read."""
    lane = DeliveryLane.of(1, "resend", [a_cursor(open_offsets=(), end_offset=6)])
    pending = lane.add(an_event(5))
    assert (lane.is_read, lane.is_done) == (True, False)
    lane.close(pending.event.place, 5)
    assert lane.is_done


@pytest.mark.parametrize(
    ("behind", "since", "is_due"),
    [
        (timedelta(hours=22), timedelta(hours=1), False),
        (timedelta(hours=24), timedelta(hours=1), True),
        (timedelta(hours=24), timedelta(hours=25), False),
    ],
    ids=["not-compacted", "maybe-missed", "known-before"],
)
async def test_answer_whose_change_may_be_compacted_away_is_delivered(
    behind: timedelta, since: timedelta, is_due: bool
) -> None:
    """Only where it began after the subscriber last had everything."""
    source = a_source(DeliveryLane.of(1, "bulk", [a_cursor()]), feed=a_feed(), behind=behind)
    assert source._is_due(an_event(9, is_change=False, since=NOW - since), NOW) is is_due
    assert source._is_due(an_event(9), NOW)


async def test_feed_keeps_what_its_memory_allows() -> None:
    """Who lacks more joins later; who has all joins, and passes what it has, and what is no
    change.
    """
    feed = a_feed(most_bytes=3700)
    feed.starts, feed.ends = {PLACE: 0}, {PLACE: 0}
    for offset in range(10):
        event = an_event(offset, is_change=offset != 9)
        feed._events.append(event)
        feed._by_place[*PLACE, offset] = event
        feed._bytes += 902
        feed.ends[PLACE] = offset + 1
    feed._trim()
    assert (feed.first, feed.last, feed.starts) == (6, 10, {PLACE: 6})
    assert feed.join({PLACE: 5}) is None
    assert feed.join({PLACE: 8}) == 6
    assert feed.after(5, 10) is None
    assert [one.offset for one in feed.after(6, 3) or ()] == [6, 7, 8]
    assert feed.find(PLACE, 5) is None
    assert feed.find(PLACE, 7) is not None
    lane = DeliveryLane.of(1, "bulk", [a_cursor(next_offset=8, open_offsets=(7,))])
    source = a_source(lane, feed=feed, behind=timedelta(0))
    assert [one.offset for one in await source.reopen()] == [7]
    taken = await source.take(100)
    assert [one.offset for one in taken.events] == [8]
    assert (taken.positions, taken.is_live, source.is_behind) == ({PLACE: 10}, True, False)


class FakeSource:
    """A source of a lane: one event that was open, or one that is read."""

    is_behind = False

    def __init__(self, lane: DeliveryLane, event: WebhookEvent) -> None:
        self.lane = lane
        self.event = event
        self.may_open = asyncio.Event()

    async def reopen(self) -> Sequence[WebhookEvent]:
        """Return the event, once the test lets it."""
        await self.may_open.wait()
        return [self.event]

    async def take(self, _most: int) -> Taken:
        """Return the event, and the end of the lane; where it has none, nothing comes."""
        if not self.lane.ends:
            await asyncio.Event().wait()
        return Taken([self.event], {PLACE: 10}, is_live=False)

    async def release(self) -> None:
        """Keep nothing."""


async def test_repetition_waits_for_what_was_open_at_the_start() -> None:
    """An opt-out was refused before a restart; the permission by a newer consent comes after it."""
    opt_out = a_cursor(lane=LaneName.EXPRESS, topic=OPT_OUTS[0], next_offset=3)
    again = a_cursor(lane=LaneName.RESEND, next_offset=9, end_offset=10, open_offsets=())
    followed = FakeSource(
        DeliveryLane.of(1, LaneName.EXPRESS, [opt_out]),
        an_event(2, type="consent.opted-out", topic=OPT_OUTS[0]),
    )
    resend = FakeSource(DeliveryLane.of(1, LaneName.RESEND, [again]), an_event(9))
    delivery = SubscriberDelivery(
        subscriber=a_subscriber(),
        epoch=1,
        settings=quick(),
        writer=Mock(ledger=SimpleNamespace(calendar=None, secret_keys=some_keys())),
        metrics=WebhookMetrics(),
        poster=cast("Poster", None),
        sources=cast("Any", [followed, resend]),
        guard=Mock(review=AsyncMock(side_effect=list)),
    )
    tasks = [asyncio.create_task(delivery._fill(one)) for one in delivery.sources]
    for _ in range(5):
        await asyncio.sleep(0)
    followed.may_open.set()
    await tasks[1]
    tasks[0].cancel()
    waiting = [one.event.type for one in delivery.dispatcher._keys["key"]]
    assert waiting == ["consent.opted-out", "permission.granted"]


def a_resend(**overrides: Any) -> Resend:  # noqa: ANN401  # as Resend
    """Return the resend number 7, of everything."""
    return Resend(id=7, ordered_at=NOON, **{"filter": EventFilter(customer_id="acme")} | overrides)


def a_guard(**overrides: Any) -> RepetitionGuard:  # noqa: ANN401  # as Resend
    """Return the guard of that resend, beside nothing else; the ledger has every opt-out."""
    return RepetitionGuard(
        ledger=cast("Ledger", None),
        kafka=KafkaSettings(),
        resend=a_resend(**overrides),
        followed=(),
        _is_known=True,
    )


State = Mapping[str, Any]


def holds(may_send: bool, since: datetime, consent: datetime | None = NOON) -> State:
    """Return what holds of a key since then, by a consent of that date."""
    return {
        "may_send": may_send,
        "since": since,
        "registered_at": consent,
        "consent_date": consent,
    }


@pytest.mark.parametrize(
    ("type_", "state", "overtaken"),
    [
        (GRANTED, holds(True, NOON + timedelta(microseconds=900)), False),
        (GRANTED, holds(True, NOON + HOUR), True),
        (GRANTED, holds(True, NOON - HOUR), True),
        (GRANTED, holds(False, NOON + HOUR), True),
        (GRANTED, None, True),
        (REVOKED, holds(True, NOON + HOUR), True),
        (REVOKED, holds(True, NOON - HOUR), False),
        (REVOKED, holds(False, NOON + HOUR), False),
        (REVOKED, None, False),
        (OPTED_OUT, holds(True, NOON + HOUR, NOON + timedelta(seconds=1)), True),
        (OPTED_OUT, holds(True, NOON + HOUR, NOON + timedelta(milliseconds=900)), False),
        (OPTED_OUT, holds(True, NOON + HOUR, None), False),
        (OPTED_OUT, holds(False, NOON + HOUR, NOON + HOUR), False),
        (OPTED_OUT, None, False),
        ("consent.outcome", None, False),
    ],
)
def test_event_is_overtaken_by_what_holds_now(
    type_: str, state: State | None, overtaken: bool
) -> None:
    """A permission unless it is the answer, a denial by a later permission, an opt-out by a newer
    consent that permits; nothing that cannot be compared.
    """
    assert is_overtaken(an_event(1, type=type_, since=NOON), state) is overtaken


def test_unreadable_opt_out_counts_from_its_append() -> None:
    """It says no instant, and may not be withheld for that."""
    event = an_event(1, type=OPTED_OUT, appended=(NOON + HOUR).timestamp())
    assert not is_overtaken(event, holds(True, NOON, NOON))
    assert is_overtaken(event, holds(True, NOON + 2 * HOUR, NOON + 2 * HOUR))


def test_repetition_says_so_and_keeps_its_id() -> None:
    """Everything else of its body is as it was; the page shows the mark."""
    event = an_event(1, body=b'{"type":"x","data":{"a":1}}')
    found = marked(event, a_resend())
    body = orjson.loads(found.body)
    mark = {"repetition": body.pop("repetition")}
    assert f"```json\n{json.dumps(mark, indent=2)}\n```" in PAGE
    assert (body, found.webhook_id) == (orjson.loads(event.body), event.webhook_id)


@pytest.mark.parametrize(
    ("chosen", "selected"),
    [
        ({}, True),
        ({"keys": frozenset({"key"})}, True),
        ({"keys": frozenset[str]()}, False),
        ({"filter": EventFilter(customer_id="acme", brands=frozenset({5}))}, False),
        ({"filter": EventFilter(customer_id="other")}, False),
    ],
    ids=["everything", "its-key", "every-key-erased", "another-brand", "another-customer"],
)
def test_selection_limits_what_is_sent(chosen: dict[str, Any], selected: bool) -> None:
    """A list of keys that lost all of them to erasure is no list of every key."""
    assert bool(a_guard(**chosen).chosen([an_event(1)])) is selected


async def test_ledger_is_asked_again_for_what_comes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A denial is read while the ledger is asked, as another lane asks: the answer is too old."""
    state, under_test = holds(True, NOON), a_guard()
    granted = an_event(1, type=GRANTED, since=NOON)
    others = list[asyncio.Task[list[WebhookEvent]]]()

    async def holding(_ledger: Ledger, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
        nonlocal state
        found = [one for one in events if not is_overtaken(one, state)]
        if events == [granted] and state["may_send"]:
            other = under_test.review([an_event(3, key="other", type="consent.outcome")])
            others.append(asyncio.create_task(other))
            await asyncio.sleep(0)
            under_test.note(an_event(2, type=REVOKED))
            state = holds(False, NOON + HOUR)
        return found

    monkeypatch.setattr(resends, "holding", holding)
    assert await under_test.review([granted]) == []
    assert len(await others[0]) == 1


@pytest.mark.parametrize(
    ("row", "event_id"),
    [
        (an_opt_out(1, number=5), "event-1"),
        (a_consent_in_force(1, number=5, latest_ret_at=NOON), None),
    ],
    ids=["latest", "followed"],
)
def test_older_opt_out_is_what_its_row_says(row: dict[str, Any], event_id: str | None) -> None:
    """What replaced an opt-out says nothing of it."""
    row = {"desired_source": "HS_WEB", "desired_consent_date": NOON} | row
    found = opt_out_of(row)
    data = orjson.loads(found.body)["data"]
    assert (data["event_id"], data["offset"], found.offset) == (event_id, None, 5)
    assert (data["effective_at"], found.since) == ("2026-03-02T09:00:00Z", NOON)
    assert found.appended == NOON.replace(tzinfo=UTC).timestamp()
