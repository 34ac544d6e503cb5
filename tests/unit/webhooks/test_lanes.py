"""What a lane has read and not acknowledged, and what it passes when it was behind.

A resend's lanes beside those that are followed: what was open at the start is posted first.

What a resend may still send, how it says so, and the same opt-out from topic and history.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
import pytest

from izin.ledger.db import Ledger
from izin.ledger.webhooks.registry import DeliveryCursor, EventFilter, LaneName
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.webhooks import resends
from izin.webhooks.delivery import AcknowledgementWriter, SubscriberDelivery, WebhookMetrics
from izin.webhooks.events import WebhookEvent
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
from tests.support.builders import NOON
from tests.support.webhooks import a_standing, a_subscriber, an_opt_out, event_reader, quick
from tests.unit.webhooks.test_events import PAGE

PLACE = ("permissions", 0)
NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
OPT_OUTS = ("consent-opt-outs", 0)
HOUR = timedelta(hours=1)
OPTED_OUT, GRANTED, REVOKED = "consent.opted-out", "permission.granted", "permission.revoked"


def an_event(offset: int, **overrides: object) -> WebhookEvent:
    """Return an event."""
    fields: dict[str, Any] = {
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
    return WebhookEvent(**fields | overrides)


def a_move(position: int, *open_offsets: int) -> DeliveryCursor:
    """Return how far the partition is."""
    known = {"next_offset": position, "open_offsets": open_offsets}
    return a_cursor(cluster_id="", topic_id="", **known)


def a_cursor(**overrides: object) -> DeliveryCursor:
    """Return a cursor."""
    fields: dict[str, Any] = {
        "subscriber_id": 1,
        "lane": "bulk",
        "topic": PLACE[0],
        "partition": PLACE[1],
        "cluster_id": "c",
        "topic_id": "t",
        "next_offset": 5,
        "open_offsets": (2,),
    }
    return DeliveryCursor(**fields | overrides)


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


class FakeGuard:
    """Lets out everything."""

    async def review(self, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
        """Return the events."""
        return [*events]


class FakeWriter(AcknowledgementWriter):
    """Stores nothing."""

    def __init__(self) -> None:
        self.ledger = cast("Any", type("FakeLedger", (), {"calendar": None}))

    def add(self, _delivery: object) -> None:
        """Store for nobody."""


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
        writer=FakeWriter(),
        metrics=WebhookMetrics(),
        poster=cast("Poster", None),
        sources=cast("Any", [followed, resend]),
        guard=cast("RepetitionGuard", FakeGuard()),
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
    fields: dict[str, Any] = {"filter": EventFilter(customer_id="acme")}
    return Resend(id=7, ordered_at=NOON, **fields | overrides)


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
    [(an_opt_out(1, number=5), "event-1"), (a_standing(1, number=5, latest_ret_at=NOON), None)],
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
