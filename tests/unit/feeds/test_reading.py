"""Pages: whatever the size, and whatever is written meanwhile, each record comes once, in order.

The latest records in memory: bounded, and never with a gap that nobody knows of.

OlderRecords: who reads older records waits as long as others, however much they ask.

Items: what readers get of a record, and that they get no other's.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any
from unittest.mock import Mock

import orjson
import pytest
from hypothesis import given, settings, strategies as st
from structlog.typing import EventDict

from izin.feeds import older_records
from izin.feeds.endpoint import PageReading
from izin.feeds.older_records import OlderRecords
from izin.feeds.protocol import Cursor, LogRecord, Stretch, read_cursor
from izin.feeds.sources import POSITION_FIELDS, UNDECIDED, FeedSource, Items, RecentRecords, Tail
from izin.kafka.bounded_reader import OffsetGoneError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.contracts import current
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.records import ID
from izin.schemas.topics import Topics
from tests.support.builders import BRAND, CUSTOMER, NOON, an_api_key, kafka_message
from tests.unit.feeds.conftest import (
    CODEC,
    OPT_OUTS,
    OUTCOMES,
    PERMISSIONS,
    FakeLog,
    FakeOlderRecords,
    a_message,
    a_permission,
    a_source,
    an_end,
    give,
    key_of,
    known_brands,
)
from tools.golden_records import golden

KEY = an_api_key(scopes=frozenset({Scope.SUBSCRIBE.value}), brands=frozenset({100001}))
OTHER_BRAND = 100002
PARTITIONS = 3
STEPS = st.lists(
    st.one_of(
        # Where a record is written, how many offsets it skips, whether this client may see it.
        st.tuples(st.integers(0, PARTITIONS - 1), st.integers(0, 3), st.booleans()),
        # How many the client reads.
        st.integers(1, 7),
        # The tail catches up.
        st.just("tail"),
        # The tail is lost, and begins again at the end.
        st.just("lost"),
    ),
    max_size=60,
)


class Client:
    """Keeps a cursor, as text, and what it has read."""

    def __init__(self, source: FeedSource, cursor: Cursor) -> None:
        self.source = source
        self.text = cursor.text(source.feed, source.identity)
        self.read: defaultdict[int, list[int]] = defaultdict(list)

    async def page(self, limit: int, key: ApiKey = KEY, until: float = inf) -> PageReading:
        """Read a page."""
        cursor = read_cursor(self.text, self.source.feed, self.source.identity, NOON)
        page = PageReading(self.source, cursor, key, limit=limit)
        await page.fill(until)
        for item in map(orjson.loads, page.items):
            self.read[item["partition"]].append(item["offset"])
        self.text = page.cursor(NOON).text(self.source.feed, self.source.identity)
        return page


def at(*offsets: int, ends: dict[int, int] | None = None) -> Cursor:
    """Return a cursor at these offsets."""
    return Cursor(offsets=dict(enumerate(offsets)), ends=ends, complete_at=NOON)


def catch_up(source: FeedSource, log: FakeLog, taken: dict[int, int]) -> None:
    """Have the tail read on from where it was."""
    for number, records in log.records.items():
        give(
            source.tail,
            [
                a_message(number, one.offset, brand_code=int(one.key.split(b"/")[0]))
                for one in records
                if one.offset >= taken[number]
            ],
        )
        taken[number] = log.ends[number]
        give(source.tail, [an_end(number, log.ends[number])])


@given(
    steps=STEPS,
    memory=st.sampled_from((3 * 1500, 10**6)),
    most=st.sampled_from((1, 4, 1000)),
)
@settings(max_examples=150)
def test_any_interleaving_gives_each_record_once_and_in_order(
    steps: list[tuple[int, int, bool] | int | str], memory: int, most: int
) -> None:
    """Records, gaps, records of others, small recent, a tail that is behind or lost, any pages."""
    asyncio.run(interleave(steps, memory, most))


async def interleave(
    steps: list[tuple[int, int, bool] | int | str], memory: int, most: int
) -> None:
    """Do ``steps``, read what is left, and compare."""
    log = FakeLog(PARTITIONS)
    source = a_source(log, memory=memory, most=most)
    taken = dict.fromkeys(range(PARTITIONS), 0)
    written: defaultdict[int, list[int]] = defaultdict(list)
    client = Client(source, at(0, 0, 0))
    for step in steps:
        match step:
            case int(limit):
                page = await client.page(limit)
                assert len(page.items) <= limit
                assert page.is_full or page.is_at_end
            case "tail":
                catch_up(source, log, taken)
            case "lost":
                source.tail.forget()
                taken = dict(log.ends)
            case (int(number), int(gap), bool(is_mine)):
                offset = log.ends[number] + gap
                log.append(a_message(number, offset, brand_code=100001 if is_mine else OTHER_BRAND))
                if is_mine:
                    written[number].append(offset)
    catch_up(source, log, taken)
    while not (await client.page(5)).is_at_end:
        pass
    assert client.read == written


def log_of(*counts: int, **overrides: object) -> FakeLog:
    """Return a log with so many records in each partition."""
    log = FakeLog(len(counts))
    for number, count in enumerate(counts):
        for offset in range(count):
            log.append(a_message(number, offset, **overrides))
    return log


async def test_page_of_others_records_moves_the_cursor() -> None:
    """Nothing is for this client; the next page does not search the same again."""
    page = PageReading(a_source(log_of(50, brand_code=OTHER_BRAND)), at(0), KEY, limit=5)
    await page.fill(inf)
    assert (page.items, page.is_at_end) == ([], True)
    assert page.cursor(NOON).offsets == {0: 50}


async def test_page_ends_when_its_time_is_up() -> None:
    """However much there is that is for others; what was searched is not searched again."""
    page = PageReading(a_source(log_of(50, brand_code=OTHER_BRAND), most=10), at(0), KEY, limit=5)
    await page.fill(0.0)
    assert (page.items, page.is_at_end, page.is_full) == ([], False, False)
    assert page.cursor(NOON).offsets == {0: 10}


async def test_every_partition_has_its_share_of_a_page() -> None:
    """A client far behind in one partition reads what is new in the others meanwhile."""
    client = Client(a_source(log_of(300, 1, 1)), at(0, 0, 0))
    await client.page(30)
    assert {number: len(read) for number, read in client.read.items()} == {0: 28, 1: 1, 2: 1}


async def test_partitions_are_read_in_turn() -> None:
    """With pages of one item each partition comes as often as the others."""
    log = log_of(20, 20, 20, 20)
    for is_remembered in (False, True):
        source = a_source(log)
        if is_remembered:
            catch_up(source, log, dict.fromkeys(range(4), 0))
        client = Client(source, at(0, 0, 0, 0))
        for _ in range(40):
            await client.page(1)
        assert {len(read) for read in client.read.values()} == {10}


async def test_tail_reads_cost_kafka_nothing() -> None:
    """However many clients are at the end: they read from memory."""
    log = FakeLog(2)
    source = a_source(log)
    taken = {0: 0, 1: 0}
    catch_up(source, log, taken)
    for offset in range(10):
        log.append(a_message(offset % 2, log.ends[offset % 2]))
    catch_up(source, log, taken)
    for _ in range(5):
        client = Client(source, at(0, 0))
        await client.page(100)
        assert sum(map(len, client.read.values())) == 10
    assert source.older.reads == 0


class RepeatedOlderRecords(FakeOlderRecords):
    """Makes records anew whenever it reads: each is certainly there since the reading alone."""

    async def read(
        self, topic: str, starts: Mapping[int, int], most: int, *, name: str
    ) -> Mapping[int, Stretch]:
        """Return what is asked for, appended by the number of this reading."""
        found = await super().read(topic, starts, most, name=name)
        for stretch in found.values():
            for place, record in enumerate(stretch.records):
                stretch.records[place] = copy(record)
                stretch.records[place].appended_by = self.reads
        return found


async def test_record_of_nobody_waits_from_when_it_was_seen_first() -> None:
    """Whoever reads it again, while its brand may be registered unseen, does not wait anew: the
    opt-outs behind it come as soon as the topic of brands was read so far.
    """
    log = FakeLog(PARTITIONS)
    log.append(a_message(0, 0, brand_code=OTHER_BRAND))
    log.append(a_message(0, 1))
    older = RepeatedOlderRecords(log)
    brands = known_brands({100001: CUSTOMER})
    brands.complete_at = lambda: older.reads - 1
    items = Items(PERMISSIONS, CODEC, brands)
    client = Client(replace(a_source(log), older=older, items=items), at(0, 0, 0))
    assert (await client.page(5, until=asyncio.get_running_loop().time() + 2)).is_at_end
    assert client.read == {0: [1]}


async def test_snapshot_is_complete_at_the_end_it_began_with() -> None:
    """What is written meanwhile does not put off its end."""
    log = log_of(10, 0)
    source = a_source(log)
    page = PageReading(source, at(0, 0, ends={0: 10, 1: 0}), KEY, limit=6)
    await page.fill(inf)
    halfway = page.cursor(NOON + timedelta(minutes=1))
    assert halfway.ends == {0: 10, 1: 0}
    assert halfway.complete_at == NOON
    for offset in range(10, 30):
        log.append(a_message(0, offset))
    page = PageReading(source, halfway, KEY, limit=6)
    await page.fill(inf)
    assert page.cursor(NOON).ends is None


async def test_cursor_behind_the_end_is_lost() -> None:
    """The log was cut, or the cursor made up: it would wait for ever."""
    log = log_of(1)
    source = a_source(log)
    catch_up(source, log, {0: 0})
    page = PageReading(source, at(100), KEY, limit=1)
    with pytest.raises(OffsetGoneError):
        await page.fill(inf)


def recent_of(*offsets: int, most: int = 10**6) -> RecentRecords:
    """Return the recent records at these offsets."""
    recent = RecentRecords(most)
    for offset in offsets:
        recent.add(LogRecord(a_message(0, offset)))
    return recent


def read(recent: RecentRecords, offset: int, most: int = 100) -> tuple[list[int], int]:
    """Return the offsets of what is read, and up to where."""
    found = recent.read(offset, most)
    return [one.offset for one in found.records], found.end


def test_records_are_read_from_any_offset_that_is_covered() -> None:
    """Also from a gap, and up to an end that no record has."""
    recent = recent_of(3, 5, 6)
    recent.reach(9)
    assert read(recent, 3) == ([3, 5, 6], 9)
    assert read(recent, 4) == ([5, 6], 9)
    assert read(recent, 3, most=2) == ([3, 5], 6)
    assert read(recent, 8) == ([], 9)
    assert read(recent, 9) == ([], 9)
    assert [recent.covers(one) for one in (2, 3, 9, 10)] == [False, True, True, False]


def test_oldest_records_are_dropped() -> None:
    """Its size is bounded; what it dropped it no longer covers."""
    size = LogRecord(a_message(0, 0)).size
    recent = recent_of(*range(100), most=10 * size)
    assert recent.start >= 90
    assert read(recent, recent.start) == (list(range(recent.start, 100)), 100)
    assert not recent.covers(recent.start - 1)
    assert len(recent._records) <= 20


def test_old_records_are_dropped_however_few_they_are() -> None:
    """They are personal data, and whoever was away for so long reads them from Kafka."""
    recent = recent_of(3, 4, 5)
    written_at = LogRecord(a_message(0, 3)).timestamp
    recent.drop_before(written_at)
    assert recent.start == 3
    recent._records[0].timestamp -= 5
    recent.drop_before(written_at)
    assert (recent.start, len(recent._records)) == (4, 2)
    recent.drop_before(written_at + 1)
    assert (recent.start, recent.end, recent._records) == (6, 6, [])
    assert read(recent, 6) == ([], 6)
    recent.add(LogRecord(a_message(0, 9)))
    assert read(recent, 6) == ([9], 10)


def test_record_that_is_too_large_is_not_kept() -> None:
    """Its reader finds the record in Kafka."""
    recent = recent_of(4, most=1)
    assert (recent.start, recent.end) == (5, 5)
    assert not recent.covers(4)


@pytest.mark.parametrize("behind", ["record", "end"])
def test_log_that_was_cut_makes_them_forget(behind: str) -> None:
    """What it had may not be there any more, and other records have those offsets."""
    recent = recent_of(7, 8)
    if behind == "record":
        recent.add(LogRecord(a_message(0, 5)))
        assert read(recent, 5) == ([5], 6)
    else:
        recent.reach(5)
        assert read(recent, 5) == ([], 5)
    assert not recent.covers(7)


def test_nothing_is_known_until_the_end_was_reached() -> None:
    """Until then its partition is read from Kafka."""
    recent = RecentRecords(100)
    assert not recent.covers(0)
    recent.reach(0)
    assert recent.covers(0)


def test_tail_wakes_who_waits_and_covers_what_was_read() -> None:
    """What is behind the last record, such as the mark of its transaction, is covered too."""
    tail = Tail(KafkaSettings(), Topics().opt_outs, 2, most_bytes=10**6)
    assert tail.ends() is None
    waiting = tail.changed.next
    tail.add([LogRecord(a_message(0, 4))], {0: 6, 1: 0})
    assert waiting.is_set()
    assert not tail.changed.next.is_set()
    assert [recent.end for recent in tail.recent.values()] == [6, 0]
    assert not tail.is_ready, "nobody follows it"


class SlowRecords(OlderRecords):
    """Reads nothing, once the test lets it; its topics are named like the keys that ask."""

    def __init__(self, readers: int) -> None:
        super().__init__(KafkaSettings(), readers=readers)
        self.served: list[str] = []
        self.inside = self.most = 0
        self.release = asyncio.Event()

    async def ask(self, name: str) -> None:
        """Read for a key."""
        await self.read(name, {0: 0}, 1, name=name)

    async def _read(self, topic: str, *_: object) -> Mapping[int, Stretch]:
        self.served.append(topic)
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.release.wait()
        await asyncio.sleep(0)
        self.inside -= 1
        return {}


@pytest.mark.parametrize("readers", [1, 3])
async def test_key_with_many_requests_does_not_delay_another(readers: int) -> None:
    """Before the one request of another there are at most as many as are read at once."""
    reader = SlowRecords(readers)
    names = [*["busy"] * 20, "other", "third"]
    tasks = [asyncio.create_task(reader.ask(name)) for name in names]
    await asyncio.sleep(0)
    reader.release.set()
    await asyncio.gather(*tasks)
    assert sorted(reader.served) == names
    assert reader.served.index("other") <= readers
    assert reader.served.index("third") <= readers + 1
    assert (reader.most, reader.inside) == (readers, 0)


async def test_turn_of_one_that_gave_up_is_passed_on() -> None:
    """Its request was cancelled while it waited."""
    reader = SlowRecords(1)
    tasks = [asyncio.create_task(reader.ask(name)) for name in ("first", "gone", "after")]
    await asyncio.sleep(0)
    tasks[1].cancel()
    reader.release.set()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert reader.served == ["first", "after"]


async def test_request_gives_up_where_others_take_too_long(monkeypatch: pytest.MonkeyPatch):
    """It is answered then, and its place in the queue is free."""
    monkeypatch.setattr(older_records, "_TURN_WITHIN", 0.05)
    reader = SlowRecords(1)
    busy = asyncio.create_task(reader.ask("busy"))
    await asyncio.sleep(0)
    with pytest.raises(RequestRefusedError, match="too many requests"):
        await reader.ask("other")
    reader.release.set()
    await asyncio.wait_for(asyncio.gather(busy, reader.ask("third")), 5)


def test_end_of_the_stretch_before_is_no_fault() -> None:
    """It says nothing of the partitions that are read now."""
    # A consumer that hands over both ends at once.
    client = Mock(consume=lambda most, _: [an_end(0, 7), an_end(1, 5)] if most == 1 else [])
    found = older_records._stretches(client, "topic", {1: 3}, 10)
    assert found == {1: older_records.Stretch([], 5, True)}


RECORD_KEY = key_of(a_permission())
TOPICS = KafkaSettings().topics


def a_record(value: bytes | None, *, key: bytes = RECORD_KEY, **overrides: Any) -> LogRecord:  # noqa: ANN401  # of a message
    """Return a record at partition 2, offset 7."""
    return LogRecord(kafka_message(partition=2, offset=7, value=value, key=key, **overrides))


def content_of(item: object) -> dict[str, Any]:
    """Return the content of an item that is given."""
    return orjson.loads(item)


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
        "key": RECORD_KEY.decode(),
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
    assert (item["key"], item["unreadable"]) == (RECORD_KEY.decode(), True)
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
    key = SuppressionKeys(["s" * 32]).of(RECORD_KEY)
    items = Items(PERMISSIONS, CODEC, known_brands({BRAND: CUSTOMER}))
    for value in (None, encoded()):
        assert items.of(a_record(value, key=key), an_api_key()) is None
