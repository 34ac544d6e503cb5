"""Items: what readers get of a record, and that they get no other's.

Consistency tokens: an answer waits for everything in between, and for nothing else.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import Mock

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.typing import EventDict

from izin.feeds import protocol
from izin.feeds.protocol import Feed, LogRecord
from izin.feeds.reflection import PipelinePositions, Reflection
from izin.feeds.sources import POSITION_FIELDS, UNDECIDED, Items
from izin.kafka.tables.latest_records import ForeignTokenError
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities
from izin.schemas.consistency_token import LogPosition
from izin.schemas.contracts import current
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.records import ID
from tests.contract.schemas.examples import golden
from tests.support.builders import BRAND, CUSTOMER, an_api_key, kafka_message
from tests.unit.feeds.conftest import (
    CODEC,
    OPT_OUTS,
    OUTCOMES,
    PERMISSIONS,
    a_permission,
    key_of,
    known_brands,
)

KEY = key_of(a_permission())
SETTINGS = KafkaSettings()
TOPICS = SETTINGS.topics
NAMES = [TOPICS.events.name, TOPICS.express.name, TOPICS.decisions.name]
IDENTITIES = TopicIdentities(
    cluster_id="cluster",
    topic_ids={name: f"id of {name}" for name in NAMES},
    partitions=dict.fromkeys(NAMES, 4),
)
TOKEN = (LogPosition(TOPICS.events.name, 1, 10), LogPosition(TOPICS.express.name, 3, 20))
ENDS = {
    TOPICS.decisions.name: {1: 101, 3: 103},
    TOPICS.opt_outs.name: {1: 11, 3: 13},
    TOPICS.events.name: {1: 11},
    TOPICS.express.name: {1: 30, 3: 21},
}


def a_record(value: bytes | None, *, key: bytes = KEY, **overrides: Any) -> LogRecord:  # noqa: ANN401  # of a message
    """Return a record at partition 2, offset 7."""
    return LogRecord(kafka_message(partition=2, offset=7, value=value, key=key, **overrides))


def content_of(item: object) -> dict[str, Any]:
    """Return the content of an item that is given."""
    assert isinstance(item, bytes)
    found: dict[str, Any] = orjson.loads(item)
    return found


def encoded(**overrides: object) -> bytes:
    """Return an encoded permission."""
    return CODEC.encode("Permission", a_permission(**overrides))


@pytest.mark.parametrize("feed", [OPT_OUTS, PERMISSIONS, OUTCOMES])
def test_item_has_the_fields_of_the_contract_and_its_place(feed: Any) -> None:  # noqa: ANN401  # a Feed
    """Flat, and none of both is hidden by the other."""
    value = golden(feed.topic.record)
    headers = [("ce_type", b"x"), (ID, "ö-1".encode())]
    record = a_record(CODEC.encode(feed.topic.record, value), headers=headers)
    key = an_api_key(customers=frozenset({value["customer_id"]}))
    brands = known_brands({value["brand_code"]: value["customer_id"]})
    item = content_of(Items(feed, CODEC, brands).of(record, key))
    fields = [one["name"] for one in current()[feed.topic.record].schema["fields"]]
    assert list(item) == [*POSITION_FIELDS, *fields]
    assert item["id"] == "ö-1"
    assert (item["topic"], item["partition"], item["offset"]) == (feed.topic.name, 2, 7)
    assert not any(isinstance(one, dict | list) for one in item.values())


def test_tombstone_is_a_deletion_of_its_key() -> None:
    """It has no header of ours, so its place identifies it."""
    items = Items(PERMISSIONS, CODEC, known_brands({BRAND: CUSTOMER}))
    assert content_of(items.of(a_record(None), an_api_key())) == {
        "id": "permissions/2/7",
        "topic": "permissions",
        "partition": 2,
        "offset": 7,
        "key": KEY.decode(),
        "deleted": True,
    }


@pytest.mark.parametrize("value", [None, b"\1\2"])
@pytest.mark.parametrize(
    ("customers", "cut", "is_mine"),
    [
        ({BRAND: CUSTOMER}, {}, True),
        ({BRAND: "beta"}, {}, False),
        ({}, {}, False),
        ({BRAND: CUSTOMER}, {"brands": frozenset({7})}, False),
        ({BRAND: CUSTOMER}, {"channels": frozenset({"ARAMA"})}, False),
        ({BRAND: CUSTOMER}, {"channels": frozenset({"MESAJ"})}, True),
    ],
)
def test_record_without_content_is_cut_by_its_key(
    value: bytes | None,
    customers: dict[int, str],
    cut: dict[str, Any],
    is_mine: bool,
) -> None:
    """A deletion, and what cannot be read: the key says of which brand and channel it is."""
    items = Items(PERMISSIONS, CODEC, known_brands(customers))
    assert (items.of(a_record(value), an_api_key(**cut)) is not None) == is_mine


@pytest.mark.parametrize(
    ("customers", "named", "is_mine"),
    [
        ({BRAND: CUSTOMER}, CUSTOMER, True),
        ({BRAND: CUSTOMER}, "beta", True),
        ({BRAND: "beta"}, CUSTOMER, False),
        ({}, CUSTOMER, False),
        ({}, "beta", False),
    ],
)
def test_brand_says_whose_a_record_is(
    customers: dict[int, str],
    named: str,
    is_mine: bool,
) -> None:
    """A topic's writer may name any customer; the opt-out is the brand's all the same, and so is
    the customer that is shown.
    """
    items = Items(PERMISSIONS, CODEC, known_brands(customers))
    found = items.of(a_record(encoded(customer_id=named)), an_api_key())
    assert (found is not None) == is_mine
    if isinstance(found, bytes):
        assert orjson.loads(found)["customer_id"] == CUSTOMER


def test_record_of_a_brand_that_is_not_known_yet_waits_and_moves_with_it() -> None:
    """Registered just before, it is in the topic of brands, which was not read so far; a brand that
    moves takes its records along, and those of a removed one are nobody's.
    """
    brands = known_brands({})
    items, record = Items(PERMISSIONS, CODEC, brands), a_record(encoded())
    brands.complete_at = lambda: record.appended_by - 1
    assert items.of(record, an_api_key()) is UNDECIDED
    brands.put(BRAND, CUSTOMER)
    assert isinstance(items.of(record, an_api_key()), bytes)
    brands.put(BRAND, "beta")
    assert items.of(record, an_api_key()) is None
    moved = content_of(items.of(record, an_api_key(customers=frozenset({"beta"}))))
    assert moved["customer_id"] == "beta"
    brands.complete_at = lambda: float("inf")
    brands.directory.remove(str(BRAND).encode())
    assert items.of(record, an_api_key(customers=frozenset({"beta"}))) is None


def test_unreadable_record_is_given_with_its_key(logged: list[EventDict]) -> None:
    """An opt-out written by a newer release is not left out; and it is logged once."""
    items, record = (
        Items(OPT_OUTS, CODEC, known_brands({BRAND: CUSTOMER})),
        a_record(b"\xc3\x01what"),
    )
    for _ in range(3):
        item = content_of(items.of(record, an_api_key()))
    assert (item["key"], item["unreadable"]) == (KEY.decode(), True)
    assert [one["event"] for one in logged] == ["record not readable"]


@pytest.mark.parametrize("feed", [OPT_OUTS, OUTCOMES])
def test_record_of_a_log_without_a_value_is_unreadable(feed: Any) -> None:  # noqa: ANN401  # a Feed
    """Only a state has deletions: an opt-out without a value closes its key all the same."""
    items = Items(feed, CODEC, known_brands({BRAND: CUSTOMER}))
    item = content_of(items.of(a_record(None), an_api_key()))
    assert (item.get("unreadable"), "deleted" in item) == (True, False)


@pytest.mark.parametrize(
    "key",
    [
        *(b"", b"nothing", b"a/b/c/d", "١/MESAJ/BIREYSEL/x".encode()),
        *(b"9" * 5000 + b"/MESAJ/BIREYSEL/x", b"100001/MESAJ/BIREYSEL/"),
    ],
)
def test_record_without_content_and_key_is_nobodys(key: bytes, logged: list[EventDict]) -> None:
    """Nothing can be said about it, but that it is there."""
    assert (
        Items(PERMISSIONS, CODEC, known_brands({})).of(a_record(None, key=key), an_api_key())
        is None
    )
    assert [one["event"] for one in logged] == ["key not readable"]


def test_suppression_is_nobodys() -> None:
    """It stands beside the state, and is no state of a key."""
    key = SuppressionKeys(["s" * 32]).of(KEY)
    items = Items(PERMISSIONS, CODEC, known_brands({BRAND: CUSTOMER}))
    for value in (None, encoded()):
        assert items.of(a_record(value, key=key), an_api_key()) is None


def decided(**overrides: object) -> dict[str, Any]:
    """Return Positions that are beyond the token."""
    fields: dict[str, Any] = {
        "cluster_id": "cluster",
        "events_topic_id": f"id of {TOPICS.events.name}",
        "express_topic_id": f"id of {TOPICS.express.name}",
        "events_offset": 11,
        "express_offset": 21,
    }
    return fields | overrides


def taken(*offsets: int, **overrides: object) -> dict[str, Any]:
    """Return LedgerPositions."""
    return {
        "cluster_id": "cluster",
        "decisions_topic_id": f"id of {TOPICS.decisions.name}",
        "decisions_offsets": list(offsets),
    } | overrides


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> PipelinePositions:
    """Return a progress that nobody follows, beside a Kafka with these ends."""
    monkeypatch.setattr(
        protocol,
        "offsets",
        lambda _client, topic, partitions, _spec: {
            number: ENDS.get(topic, {1: 1, 3: 3})[number] for number in partitions
        },
    )
    return PipelinePositions(SETTINGS, CODEC)


async def ends(
    progress: PipelinePositions,
    feed: Feed,
    *,
    within: float = 5,
    token: Sequence[LogPosition] = TOKEN,
) -> Mapping[int, int]:
    """Return up to where ``feed`` must be read."""
    waiting = Reflection(settings=SETTINGS, admin=None, progress=progress)  # type: ignore[arg-type]
    return await waiting.ends(feed, token, IDENTITIES, within=within)


def put_decided(progress: PipelinePositions, partition: int, **overrides: object) -> None:
    """Have the order stage come beyond the token."""
    progress.put(TOPICS.positions.name, partition, decided(**overrides))


async def test_opt_outs_wait_for_the_order_stage_alone(progress: PipelinePositions) -> None:
    """In every partition that the token names, on its own lane."""
    waiting = asyncio.create_task(ends(progress, OPT_OUTS))
    await asyncio.sleep(0)
    put_decided(progress, 1, express_offset=0)
    put_decided(progress, 3, events_offset=0, express_offset=20)
    await asyncio.sleep(0)
    assert not waiting.done(), "the event at offset 20 is not decided"
    put_decided(progress, 3, events_offset=0, express_offset=21)
    assert await waiting == {1: 11, 3: 13}


@pytest.mark.parametrize("feed", [PERMISSIONS, OUTCOMES])
async def test_others_wait_for_the_ledger_too(progress: PipelinePositions, feed: Feed) -> None:
    """Up to the end that the decisions had when the order stage was there."""
    waiting = asyncio.create_task(ends(progress, feed))
    for number in (1, 3):
        put_decided(progress, number)
    for offsets in ((0, 101), (0, 101, 0, 102)):
        progress.put(TOPICS.ledger_positions.name, 0, taken(*offsets))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    progress.put(TOPICS.ledger_positions.name, 0, taken(0, 101, 0, 103))
    assert await waiting == {1: 1, 3: 3}


async def test_who_has_not_come_so_far_is_named(progress: PipelinePositions) -> None:
    """An operator then knows where to look."""
    with pytest.raises(RequestRefusedError, match="the order stage"):
        await ends(progress, PERMISSIONS, within=0.01)
    for number in (1, 3):
        put_decided(progress, number)
    with pytest.raises(RequestRefusedError, match="the ledger"):
        await ends(progress, PERMISSIONS, within=0.2)


@pytest.mark.parametrize("name", ["cluster_id", "events_topic_id", "express_topic_id"])
async def test_positions_of_another_topic_do_not_count(
    progress: PipelinePositions, name: str
) -> None:
    """Those of a topic that was deleted and created again are greater, and mean nothing."""
    for number in (1, 3):
        put_decided(progress, number, **{name: "other"})
    with pytest.raises(RequestRefusedError, match="the order stage"):
        await ends(progress, OPT_OUTS, within=0.01)


@pytest.mark.parametrize("name", ["cluster_id", "decisions_topic_id"])
async def test_ledger_of_another_topic_does_not_count(
    progress: PipelinePositions, name: str
) -> None:
    """The same of the ledger's."""
    for number in (1, 3):
        put_decided(progress, number)
    progress.put(TOPICS.ledger_positions.name, 0, taken(900, 900, 900, 900, **{name: "other"}))
    with pytest.raises(RequestRefusedError, match="the ledger"):
        await ends(progress, PERMISSIONS, within=0.2)


@pytest.mark.parametrize(
    "position",
    [LogPosition("other-consent-events", 0, 1), LogPosition(TOPICS.events.name, 4, 1)],
)
async def test_token_of_another_installation_is_refused(
    progress: PipelinePositions, position: LogPosition
) -> None:
    """It would wait for nothing, or for ever."""
    with pytest.raises(ForeignTokenError):
        await ends(progress, OPT_OUTS, token=(position,))


async def test_token_of_nothing_waits_for_nothing(progress: PipelinePositions) -> None:
    """No record was published: everything is reflected."""
    assert await ends(progress, PERMISSIONS, token=()) == {}


async def test_kafka_that_does_not_answer_is_said(
    progress: PipelinePositions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that the token is reflected."""
    monkeypatch.setattr(
        protocol, "offsets", Mock(side_effect=KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    )
    for number in (1, 3):
        put_decided(progress, number)
    with pytest.raises(BrokerError):
        await ends(progress, OPT_OUTS)


async def test_token_of_a_record_that_nobody_wrote_is_foreign(progress: PipelinePositions) -> None:
    """On the lane that it names; to wait for it again would never end."""
    lies = (TOKEN[0], LogPosition(TOPICS.express.name, 3, 21))
    with pytest.raises(ForeignTokenError):
        await ends(progress, OPT_OUTS, within=0.01, token=lies)
