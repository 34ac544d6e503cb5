"""CloudEvents ids on every topic: another record has another, the same record again the same.

A reader that drops what it has seen by ``ce_id`` must lose nothing.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest

from izin.consent import Channel, State
from izin.gate.question import ReceiptKind, read_question
from izin.gate.receipts import receipt_records
from izin.gate.verdicts import Judge, judge_all
from izin.iys.wire_format import UnreadableItem
from izin.ledger import stream_progress
from izin.ledger.record import Anchor, Message, Outcome, TopicMessages
from izin.producers.publishing.publisher import kafka_record
from izin.runtime.http_server.problems import JSON_TYPE
from izin.runtime.settings import GateSettings
from izin.schemas.codec import Codec
from izin.schemas.fast import record_format
from izin.schemas.records import CONTENT_TYPE, ID, SOURCE, TIME, TYPE, VERSION, Headers
from izin.schemas.topics import Topics
from izin.schemas.uuids import CHANCE_BYTES, uuid7
from izin.sinks.publish.publisher import headers_of
from izin.streams.fetched_record import FetchedRecord
from izin.streams.state.state import MemoryState
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, a_key, an_api_key, an_event
from tests.support.order.harness import EXPRESS, HOME, IN_FULL, TOPIC, OrderHarness, a_record
from tests.unit.gate.conftest import FakeState
from tests.unit.ledger.record.test_ruling import ACTIVE, decided

TOPICS = Topics()
MESSAGES = TopicMessages(Codec(), TOPICS)
WITHOUT = {TOPICS.positions.name, TOPICS.first_receipts.name, TOPICS.opted_out_merchants.name}
"""Read by the order stage and by the intake alone, which need no headers; and what only an erasure
writes, whose test looks at its headers."""
NAMES = [VERSION[0], ID, TYPE, SOURCE, TIME, CONTENT_TYPE[0]]
EVENTS = 900
Written = Iterable[tuple[str, Headers]]


@cache
def lanes() -> Sequence[FetchedRecord]:
    """Return records of both lanes, the same offsets on each: few events, often repeated, some of
    them beyond the fast path and some unreadable.
    """
    chance = random.Random(25)
    records = []
    for number in range(EVENTS):
        lane, offset = (TOPIC, EXPRESS)[number % 2], number // 2
        event = an_event(
            event_id=f"event-{chance.randrange(300)}",
            status=chance.choice(("ONAY", "ONAY", "RET")),
            consent_date=NOON - timedelta(seconds=chance.randrange(600)),
            recipient=chance.choice((PHONE, PHONE, "0555 000 00 01")),
            source=chance.choice(("HS_WEB", "HS_WEB", "HS_MOBIL", "IYS_WEB")),
        )
        given = {"topic": lane, "partition": HOME, "offset": offset, "key": a_key().encode()}
        if chance.random() < 0.05:
            records.append(a_record(event, **given | {"value": b"junk"}))
        else:
            records.append(a_record(event, **given))
    return records


def of_order_stage(*, fast: bool) -> Iterator[tuple[str, Headers]]:
    """Yield topic and headers of what the order stage writes, and again from another process."""
    harness, state = OrderHarness(), MemoryState()
    state.packing = IN_FULL
    for start in range(0, EVENTS, 100):
        batch = lanes()[start : start + 100]
        effects = harness.fold(batch, state) if fast else harness.fold_generally(batch, state)
        yield from ((one.topic, record_format.headers_of(one.headers)) for one in effects.writes)
        state.apply(effects.changes, start)


def of_outbox() -> Written:
    """Return topic and headers of what the relay writes: many changes at one instant."""
    messages: list[Message] = []
    for number in range(70):
        row = decided(recipient=f"+9055500001{number:02}")
        for state, open_ in ((State.PENDING, True), (State.REFUSED, False)) * 3:
            permitted = MESSAGES.permission(None, row.replace(state=state, onay_open=open_), NOON)
            assert permitted is not None
            messages.append(permitted[1])
        messages.extend(2 * [MESSAGES.outcome(an_outcome(row.desired_event_id or ""))])
    messages.extend(2 * [MESSAGES.brand(ACTIVE, NOON)])
    messages.extend(2 * [MESSAGES.api_key(an_api_key(), NOON)])
    messages.extend(
        MESSAGES.anchor(Anchor(id=shard + 1, shard=shard, place=1, link=b"link", anchored_at=NOON))
        for shard in range(16)
    )
    messages.extend(
        MESSAGES.event(an_event(event_id=f"rescue-{one}"), a_key(), NOON) for one in (1, 2)
    )
    for _ in range(2):
        messages += stream_progress.freshness(
            MESSAGES, ACTIVE, tuple(Channel), NOON, hidden=timedelta(hours=1), now=NOON
        )
        positions = {"cluster_id": "c", "decisions_topic_id": "t", "decisions_offsets": [1, 2]}
        messages.append(
            MESSAGES.message(TOPICS.ledger_positions, "key", "", positions, "1772452800.0", NOON)
        )
    for number, message in enumerate(messages, 1):
        row = {"id": number, "headers": dict(message.headers)}
        yield message.topic, headers_of(row)


def an_outcome(event_id: str) -> Outcome:
    """Return an outcome of an event."""
    return Outcome(
        key=a_key(),
        customer_id=CUSTOMER,
        event_id=event_id,
        outcome="not_needed",
        status="ONAY",
        attempt=0,
        origin="crm",
        origin_ref=None,
        occurred_at=NOON,
    )


def of_publishers() -> Written:
    """Return topic and headers of what is published at once: events of producers, entries and
    unreadable items of İYS.
    """
    for number in range(200):
        event = an_event(event_id=f"event-{number}", status=("ONAY", "RET")[number % 2])
        made = kafka_record(event, a_key(), NOON, TOPICS, Codec())
        yield made.topic, made.headers
    for number in range(200):
        moved = an_event(event_id=f"moved-{number}")
        message = (
            MESSAGES.unkeyed(moved, NOON) if number % 2 else MESSAGES.event(moved, a_key(), NOON)
        )
        yield message.topic, encoded(message)
    for stream in ("IYS", "HS"):
        for number in range(50):
            item = UnreadableItem(raw=f"{number}".encode(), error="no status")
            message = MESSAGES.unreadable(item, f"/sps/{BRAND}/{stream}", NOON)
            yield message.topic, encoded(message)


def encoded(message: Message) -> Headers:
    """Return the headers of a message as Kafka has them."""
    return [(name, value.encode()) for name, value in message.headers.items()]


def of_gate() -> Written:
    """Return topic and headers of receipts: of lists, and of each recipient."""
    state, found = FakeState(), []
    for number, kind in enumerate(ReceiptKind):
        body = {"brand_code": BRAND, "type": "MESAJ", "recipients": [PHONE, PHONE, "12"]}
        question = read_question(JSON_TYPE, json.dumps({**body, "receipt": kind}).encode())
        judge = Judge(state, question, an_api_key(), GateSettings(), NOON, is_reached=True)  # type: ignore[arg-type]
        made = receipt_records(
            question,
            asyncio.run(judge_all(judge, question)),
            an_api_key(),
            Codec(),
            receipt_id=str(uuid7(NOON, bytes([number]) * CHANCE_BYTES)),
            customer_id=CUSTOMER,
            names_recipients=True,
            asked_at=NOON,
            as_of="",
        )
        found += [(TOPICS.gate_receipts.name, encoded_headers(one.headers)) for one in made]
    return found


def encoded_headers(headers: Headers) -> Headers:
    """Return headers as Kafka has them."""
    return [(name, one.encode() if isinstance(one, str) else one) for name, one in headers]


WRITERS: Sequence[Callable[[], Written]] = (
    lambda: of_order_stage(fast=True),
    lambda: of_order_stage(fast=False),
    of_outbox,
    of_publishers,
    of_gate,
)


@cache
def written_by(writer: Callable[[], Written]) -> Sequence[tuple[str, Headers]]:
    """Return what a run of ``writer`` writes."""
    return list(writer())


@pytest.mark.parametrize("writer", WRITERS)
def test_every_record_has_an_id_of_its_own(writer: Callable[[], Written]) -> None:
    """On every topic, and between topics; a second run of the same writer has the same ids."""
    written = written_by(writer)
    for topic, headers in written:
        assert [name for name, _ in headers] == NAMES, topic
        assert all(value for _, value in headers), topic
    ids = Counter((dict(headers)[SOURCE], dict(headers)[ID]) for _, headers in written)
    assert [one for one, count in ids.most_common(3) if count > 1] == []
    assert list(writer()) == written


def test_both_paths_of_the_order_stage_write_the_same_ids() -> None:
    """Which of the two a record takes is no matter of its readers."""
    assert written_by(WRITERS[0]) == written_by(WRITERS[1])


def test_every_topic_is_written_here() -> None:
    """A topic without a writer above would be without a check."""
    topics = {topic for writer in WRITERS for topic, _ in written_by(writer)}
    assert topics == {one.name for one in TOPICS} - WITHOUT


def test_id_of_a_decision_differs_in_another_cluster() -> None:
    """The same offsets occur there; the event's own id tells the records apart."""
    harness = OrderHarness()
    given = {"partition": HOME, "offset": 5, "key": a_key().encode()}
    first, second = (
        dict(record_format.headers_of(harness.fold([a_record(one, **given)]).writes[0].headers))[ID]
        for one in (an_event(), replace(an_event(), event_id="event-2"))
    )
    assert first != second
