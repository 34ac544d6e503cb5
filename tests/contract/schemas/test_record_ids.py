"""CloudEvents ids on every topic: another record has another, the same record again the same.

A reader that drops what it has seen by ``ce_id`` must lose nothing.
The form of an API key, and its record.

Consistency tokens, and the opaque text that they and cursors are.
"""

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given, strategies as st

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
from izin.schemas.api_keys import (
    ApiKey,
    is_key_id,
    is_key_name,
    new_api_key,
    new_family,
    presented,
)
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import (
    LogPosition,
    OpaqueTextError,
    PackedReader,
    PackedWriter,
    positions_of,
    token_of,
)
from izin.schemas.fast import record_format
from izin.schemas.records import CONTENT_TYPE, ID, SOURCE, TIME, TYPE, VERSION, Headers
from izin.schemas.topics import Topics
from izin.schemas.uuids import CHANCE_BYTES, uuid7
from izin.sinks.publish.publisher import headers_of
from izin.streams.fetched_record import FetchedRecord
from izin.streams.state.state import MemoryState
from tests.support.builders import (
    API_KEY,
    BRAND,
    CUSTOMER,
    KEY_ID,
    NOON,
    PHONE,
    SECRET_HASH,
    a_key,
    an_api_key,
    an_event,
)
from tests.support.order.harness import EXPRESS, HOME, IN_FULL, TOPIC, OrderHarness, a_record
from tests.unit.gate.conftest import FakeState
from tests.unit.ledger.record.test_ruling import ACTIVE, decided
from tools.golden_records import golden

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
            changed = row.replace(state=state, onay_open=open_)
            messages.append(MESSAGES.permission(None, changed, NOON)[1])
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
        message = MESSAGES.event(moved, None if number % 2 else a_key(), NOON)
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
            receipt_id=uuid7(NOON, bytes([number]) * CHANCE_BYTES),
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


SECRET = API_KEY.removeprefix(f"izin_{KEY_ID}_")
POSITIONS = st.builds(
    LogPosition,
    topic=st.sampled_from(("consent-events", "consent-events-express", "ö-events")),
    partition=st.integers(0, 200),
    offset=st.integers(0, 2**62),
)


def test_new_key_has_id_and_secret_of_32_bytes() -> None:
    """Base64url without padding; the stored hash is that of the text that is sent."""
    text, secret_hash = new_api_key(KEY_ID, lambda count: b"\xff" * count)
    assert text == f"izin_{KEY_ID}_{'_' * 42}8"
    assert secret_hash == hashlib.sha256(text.removeprefix(f"izin_{KEY_ID}_").encode()).digest()
    assert presented(text) == (KEY_ID, secret_hash)


def test_family_is_twelve_digits_and_counts_its_keys() -> None:
    """The key that replaces another has the next number."""
    following = an_api_key(id="0a1b2c3d4e5f-9").next_id
    assert (new_family(bytes), following) == (f"{'0' * 12}-1", "0a1b2c3d4e5f-10")


@pytest.mark.parametrize(
    ("customers", "brands", "left"),
    [
        ({"acme"}, (), None),
        ({"acme"}, {1}, None),
        ({"acme", "beta"}, (), ({"beta"}, frozenset())),
        ({"acme", "beta"}, {1, 3}, ({"beta"}, {3})),
        ({"acme", "beta"}, {3}, ({"beta"}, {3})),
        ({"acme", "beta"}, {1, 2}, None),
    ],
)
def test_key_without_a_customer_is_never_wider(
    customers: set[str], brands: set[int], left: tuple[set[str], set[int]] | None
) -> None:
    """Of its brands alone nothing is left: without any, the key would be for every brand."""
    key = an_api_key(customers=frozenset(customers), brands=frozenset(brands))
    narrowed = key.without("acme", [1, 2])
    assert (narrowed and (narrowed.customers, narrowed.brands)) == left
    if narrowed is not None:
        assert (narrowed.id, narrowed.scopes) == (key.id, key.scopes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "izin",
        SECRET,
        f"izin_{KEY_ID}",
        f"izin_{KEY_ID}_",
        f"izin_{KEY_ID}_{SECRET[:-1]}",
        f"izin_{KEY_ID}_{SECRET}A",
        f"izin_{KEY_ID}_{SECRET[:-1]}=",
        f"izin_{KEY_ID}_{SECRET}\n",
        f"other_{KEY_ID}_{SECRET}",
        f"izin_{KEY_ID.upper()}_{SECRET}",
        f"izin_0a1b2c3d4e5f-0_{SECRET}",
        f"izin_0a1b2c3d4e5f_{SECRET}",
    ],
)
def test_text_of_another_form_is_no_key(text: str) -> None:
    """It is not even looked up."""
    assert presented(text) is None


def test_record_is_read_as_it_was_written() -> None:
    """From Avro and from its example; a word of a newer release is kept, and permits nothing."""
    codec = Codec()
    key = an_api_key(
        scopes=frozenset({"publish", "shred"}),
        brands=frozenset({100002, 100001}),
        channels=frozenset({"MESAJ"}),
        expires_at=NOON,
    )
    assert ApiKey.of(codec.decode("ApiKey", codec.encode("ApiKey", key.to_avro()))) == key
    assert key.to_avro()["scopes"] == ["publish", "shred"]
    assert ApiKey.of(golden("ApiKey")).to_avro() == golden("ApiKey")


def test_key_is_valid_until_it_expires_or_is_revoked() -> None:
    """The instant of its end is no longer its own."""
    later = NOON + timedelta(seconds=1)
    ends = ({}, {"expires_at": later}, {"expires_at": NOON}, {"revoked_at": later})
    assert [an_api_key(**one).is_valid(NOON) for one in ends] == [True, True, False, False]


def test_name_is_no_id() -> None:
    """A command that takes either must know which it was given."""
    assert [is_key_id(one) for one in (KEY_ID, "shop")] == [True, False]
    assert all(map(is_key_name, ("shop", "Web-Form.2_b", "7", "a" * 64)))
    assert not any(map(is_key_name, ("", "-shop", "a b", "şube", "a" * 65, "a\n")))


def test_hash_differs_from_the_secret() -> None:
    """What is stored opens nothing."""
    assert SECRET.encode() != SECRET_HASH
    assert SECRET_HASH.hex() not in API_KEY


@given(st.lists(POSITIONS, max_size=60))
def test_token_names_the_highest_offset_of_each_partition(positions: list[LogPosition]) -> None:
    """Whatever the order: what is at the highest offset is behind all others of its partition."""
    highest: dict[tuple[str, int], int] = {}
    for topic, partition, offset in positions:
        highest[topic, partition] = max(offset, highest.get((topic, partition), 0))
    found = positions_of(token_of(positions))
    assert {(one.topic, one.partition): one.offset for one in found} == highest
    assert len(found) == len(highest)
    assert token_of(reversed(positions)) == token_of(positions)


def test_token_of_a_thousand_records_fits_into_a_url() -> None:
    """On both lanes of 48 partitions, after a billion records in each."""
    records = [
        LogPosition(topic, number % 48, 10**9 + number)
        for topic in ("consent-events", "consent-events-express")
        for number in range(500)
    ]
    token = token_of(records)
    assert (len(positions_of(token)), len(token) < 1000, token.isascii()) == (96, True, True)
    assert set("=+/&?# ").isdisjoint(token)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_changed_or_cut_token_is_refused(place: int) -> None:
    """It would wait for another place than what was posted."""
    token = token_of([LogPosition("consent-events", 3, 7)])
    other = "A" if token[place] != "A" else "B"
    changed = token[:place] + other + token[place:][1:]
    for text in (changed, token[:-3], token + "AAAA", "", "é", "a b", token * 3000):
        with pytest.raises(OpaqueTextError):
            positions_of(text)


def a_packed(*content: int, kind: int = 0x54) -> str:
    """Return a text with the checksum of its content."""
    out = PackedWriter(kind)
    out._out.extend(content)
    return out.opaque()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (a_packed(0, kind=0x43), "another kind"),
        (a_packed(1), "cut"),
        (a_packed(1, 200, 65), "cut"),
        (a_packed(1, 1, 0xFF, 0), "no text"),
        (a_packed(0, 0), "longer"),
        (a_packed(1, 1, 65, 1, 3), "without an offset"),
        (a_packed(*[0xFF] * 12), "without an end"),
        (a_packed(1, 1, 65, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F), "cut"),
        (token_of(LogPosition("consent-events", one, 1) for one in range(5000)), "too many"),
    ],
    ids=lambda one: one[:20],
)
def test_token_with_wrong_content_is_refused(text: str, why: str) -> None:
    """The checksum is no secret: whoever makes one up gets a refusal, and no error of ours. A
    cursor, or a token of a newer release, is well formed and means something else.
    """
    with pytest.raises(OpaqueTextError, match=why):
        positions_of(text)


@given(st.lists(st.integers(0, 2**63 - 1)), st.text())
def test_what_was_packed_is_read(numbers: list[int], text: str) -> None:
    """Numbers of any size, and any text that has a notation in UTF-8."""
    if any("\ud800" <= one <= "\udfff" for one in text):
        return
    out = PackedWriter(1)
    out.numbers(numbers)
    out.text(text)
    packed = PackedReader(1, out.opaque())
    assert (packed.numbers(), packed.text()) == (numbers, text)
    packed.end()
    with pytest.raises(OpaqueTextError):
        packed.number()


@pytest.mark.parametrize("offset", [(1 << 63), (1 << 69)])
def test_offset_beyond_kafkas_is_no_token(offset: int) -> None:
    """No client of Kafka takes it: whoever made it up gets the error of any malformed token."""
    assert positions_of(token_of([LogPosition("a", 0, (1 << 63) - 1)]))
    with pytest.raises(OpaqueTextError):
        positions_of(token_of([LogPosition("a", 0, offset)]))
