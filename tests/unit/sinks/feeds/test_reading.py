"""Pages: whatever the size, and whatever is written meanwhile, each record comes once, in order."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from math import inf

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from izin.schemas.api_keys import ApiKey, Scope
from izin.sinks.feeds.endpoint import PageReading
from izin.sinks.feeds.protocol import Cursor, LostOffsetError, read_cursor
from izin.sinks.feeds.sources import FeedSource
from tests.support.api_keys import an_api_key
from tests.support.builders import NOON
from tests.unit.sinks.feeds.fakes import (
    FakeLog,
    FakeOlderRecords,
    a_message,
    a_source,
    an_end,
    give,
)

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


async def test_page_of_others_records_moves_the_cursor() -> None:
    """Nothing is for this client; the next page does not search the same again."""
    log = FakeLog(1)
    for offset in range(50):
        log.append(a_message(0, offset, brand_code=OTHER_BRAND))
    source = a_source(log)
    page = PageReading(source, at(0), KEY, limit=5)
    await page.fill(inf)
    assert (page.items, page.is_at_end) == ([], True)
    assert page.cursor(NOON).offsets == {0: 50}


async def test_page_ends_when_its_time_is_up() -> None:
    """However much there is that is for others; what was searched is not searched again."""
    log = FakeLog(1)
    for offset in range(50):
        log.append(a_message(0, offset, brand_code=OTHER_BRAND))
    source = a_source(log, most=10)
    page = PageReading(source, at(0), KEY, limit=5)
    await page.fill(0.0)
    assert (page.items, page.is_at_end, page.is_full) == ([], False, False)
    assert page.cursor(NOON).offsets == {0: 10}


async def test_every_partition_has_its_share_of_a_page() -> None:
    """A client far behind in one partition reads what is new in the others meanwhile."""
    log = FakeLog(3)
    for offset in range(300):
        log.append(a_message(0, offset))
    for number in (1, 2):
        log.append(a_message(number, 0))
    source = a_source(log)
    client = Client(source, at(0, 0, 0))
    await client.page(30)
    assert {number: len(read) for number, read in client.read.items()} == {0: 28, 1: 1, 2: 1}


async def test_partitions_are_read_in_turn() -> None:
    """With pages of one item each partition comes as often as the others."""
    log = FakeLog(4)
    for number in range(4):
        for offset in range(20):
            log.append(a_message(number, offset))
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
    assert isinstance(source.older, FakeOlderRecords)
    assert source.older.reads == 0


async def test_snapshot_is_complete_at_the_end_it_began_with() -> None:
    """What is written meanwhile does not put off its end."""
    log = FakeLog(2)
    for offset in range(10):
        log.append(a_message(0, offset))
    source = a_source(log)
    begun = at(0, 0, ends={0: 10, 1: 0})
    page = PageReading(source, begun, KEY, limit=6)
    await page.fill(inf)
    halfway = page.cursor(NOON + timedelta(minutes=1))
    assert halfway.ends == {0: 10, 1: 0}
    assert halfway.complete_at == NOON
    for offset in range(10, 30):
        log.append(a_message(0, offset))
    page = PageReading(source, halfway, KEY, limit=6)
    await page.fill(inf)
    assert page.cursor(NOON).ends is None


async def test_deleted_records_are_not_passed_over() -> None:
    """Retention was faster than the client: it must know."""
    log = FakeLog(1)
    log.append(a_message(0, 7))
    log.starts[0] = 5
    page = PageReading(a_source(log), at(4), KEY, limit=1)
    with pytest.raises(LostOffsetError):
        await page.fill(inf)


async def test_cursor_behind_the_end_is_lost() -> None:
    """The log was cut, or the cursor made up: it would wait for ever."""
    log = FakeLog(1)
    log.append(a_message(0, 0))
    source = a_source(log)
    catch_up(source, log, {0: 0})
    page = PageReading(source, at(100), KEY, limit=1)
    with pytest.raises(LostOffsetError):
        await page.fill(inf)
