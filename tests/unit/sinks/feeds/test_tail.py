"""The latest records in memory: bounded, and never with a gap that nobody knows of."""

import pytest

from izin.runtime.settings import KafkaSettings
from izin.schemas.topics import Topics
from izin.sinks.feeds.protocol import LogRecord
from izin.sinks.feeds.sources import RecentRecords, Tail
from tests.unit.sinks.feeds.fakes import a_message


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
    assert recent.start is not None
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
