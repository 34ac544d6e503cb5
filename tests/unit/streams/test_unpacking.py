"""What was fetched is unpacked as aiokafka unpacks it, and decompressed as Java does.

How a consumer of an order worker stops; and who of two workers of one name does.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition as FetchedPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from faust.transport.drivers import aiokafka as driver
from structlog.testing import capture_logs

from izin.runtime.logs import EXIT
from izin.streams.engine import transport
from izin.streams.engine.transport import BatchConsumerThread
from izin.streams.engine.unpacking import MOST, FetchedBatches, UnpackedFetch, unpacked
from izin.streams.engine.watches import SESSION, SETTLED_AFTER, StaticMember
from izin.streams.fetched_record import FetchedRecord
from tests.support.hostile.batches import compressed

EVENTS_PLACE = FetchedPartition("events", 3)
OURS, ABORTED = 7, 8
"""The producers of the batches below."""


def a_batch(
    base: int, offsets: list[int], *, producer: int = -1, control: bool = False, codec: int = 0
) -> bytes:
    """Return a batch of Kafka's at the offset `base`, with records at `offsets` behind it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=producer >= 0,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 20,
    )
    key, value = (bytes(4), bytes(6)) if control else (b"key", b"value" * 20)
    for offset in offsets:
        headers = [] if control else [("ce_id", b"1"), ("empty", None)]
        builder.append(offset, 1000 + offset, key, value, headers)
    built = bytearray(builder.build())
    built[:8] = base.to_bytes(8, "big")
    if control:
        built[22] |= 1 << 5
        built[17:21] = calc_crc32c(bytes(built[21:])).to_bytes(4, "big")
    return bytes(built)


FETCHED = b"".join(
    (
        a_batch(0, [0, 1, 2]),
        a_batch(3, [0, 1], producer=ABORTED),
        a_batch(5, [0, 4], producer=OURS),  # three offsets that compaction left empty
        a_batch(10, [0, 1, 2, 3]),
    )
)


def a_fetch(kind: type[FetchResult], data: bytes = FETCHED, *, position: int = 0) -> Any:  # noqa: ANN401  # aiokafka publishes no types
    """Return what a fetch at `position` brought; its `state` is that of the partition."""
    state = SimpleNamespace(paused=False, position=position)
    state.consumed_to = lambda offset: setattr(state, "position", offset)
    batches = FetchedBatches(data) if kind is UnpackedFetch else MemoryRecords(data)
    records = PartitionRecords(
        EVENTS_PLACE, batches, [(ABORTED, 3)], position, None, None, True, READ_COMMITTED
    )
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    found = kind(EVENTS_PLACE, assignment=assignment, partition_records=records, backoff=0)
    found.state = state
    return found


def taken(fetch: Any, most: int | None) -> list[tuple[list[Any], int]]:  # noqa: ANN401  # the same
    """Return what each call gives, and where the position then is."""
    found = []
    while fetch.has_more():
        records = fetch.getall(most)
        fields = [(*EVENTS_PLACE, one.offset, one.timestamp, one.key, one.value) for one in records]
        headers = [list(one.headers) for one in records]
        found.append(([fields, headers], fetch.state.position))
    return found


@pytest.mark.parametrize("position", [0, 1, 6])
@pytest.mark.parametrize("most", [None, 1, 2, 5, 9, 100])
def test_unpacks_as_aiokafka_does(most: int | None, position: int) -> None:
    """The same records and positions, however many are taken at once and wherever it begins: those
    of an aborted transaction are left out, and gaps are passed.
    """
    expected = taken(a_fetch(FetchResult, position=position), most)
    assert taken(a_fetch(UnpackedFetch, position=position), most) == expected
    assert expected[-1][1] == 14


def test_unpacked_records_are_of_the_lane() -> None:
    """They are values of our own, of which compiled code finds the fields."""
    record = a_fetch(UnpackedFetch).getall()[0]
    assert isinstance(record, FetchedRecord)
    assert (record.topic, record.partition) == EVENTS_PLACE


@pytest.mark.parametrize("change", [{"position": 1}, {"paused": True}])
def test_fetch_from_elsewhere_gives_nothing(change: dict[str, object]) -> None:
    """A seek or a pause meanwhile makes it another's."""
    fetch = a_fetch(UnpackedFetch)
    vars(fetch.state).update(change)
    assert (fetch.getall(), fetch.has_more()) == ([], False)


def test_damaged_batch_is_refused() -> None:
    """A checksum that is wrong is an error, once the batches before it were read."""
    damaged = FETCHED[:-1] + b"!"
    fetch = a_fetch(UnpackedFetch, damaged)
    assert [one.offset for one in fetch.getall(9)] == [0, 1, 2, 5, 9]
    assert (fetch.state.position, fetch.has_more()) == (10, False)
    rest = a_fetch(UnpackedFetch, damaged[-len(a_batch(10, [0, 1, 2, 3])) :], position=10)
    with pytest.raises(CorruptRecordException, match="checksum"):
        rest.getall(9)


def test_marker_of_an_aborted_transaction_ends_it() -> None:
    """What its producer writes afterwards counts."""
    marker = a_batch(5, [0], producer=ABORTED, control=True)
    data = a_batch(3, [0, 1], producer=ABORTED) + marker + a_batch(6, [0], producer=ABORTED)
    fetch = a_fetch(UnpackedFetch, data, position=3)
    assert [one.offset for one in fetch.getall()] == [6]
    assert fetch.state.position == 7


@pytest.mark.parametrize("codec", range(5))
def test_every_codec_is_read(codec: int) -> None:
    """Whatever a publisher compresses with."""
    data = a_batch(0, list(range(30)), codec=codec)
    assert taken(a_fetch(UnpackedFetch, data), 7) == taken(a_fetch(FetchResult, data), 7)


def test_instants_are_the_append_where_the_topic_says_so() -> None:
    """The lanes have LogAppendTime: the instants of the records are their publisher's."""
    data = bytearray(a_batch(0, [0, 1]))
    data[22] |= 1 << 3
    data[35:43] = (5000).to_bytes(8, "big")
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    assert [one.timestamp for one in a_fetch(UnpackedFetch, bytes(data)).getall()] == [5000] * 2
    assert taken(a_fetch(UnpackedFetch, bytes(data)), 7) == taken(
        a_fetch(FetchResult, bytes(data)), 7
    )


def test_part_of_a_batch_is_left_for_the_next_fetch() -> None:
    """A broker ends a fetch at a size, and not at a batch."""
    for size in range(len(a_batch(14, [0]))):
        assert len(a_fetch(UnpackedFetch, FETCHED + a_batch(14, [0])[:size]).getall()) == 9
    assert FetchedBatches(FETCHED).size_in_bytes() == len(FETCHED)
    assert not FetchedBatches(FETCHED[:60]).has_next()


def test_batch_of_an_old_format_is_refused() -> None:
    """Kafka 4 has none any more; one is not guessed at."""
    old = bytearray(FETCHED)
    old[16] = 1
    with pytest.raises(CorruptRecordException, match="old format"):
        a_fetch(UnpackedFetch, bytes(old)).getall()


CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
SIZES = (0, 1, 100, 64 * 1024, 64 * 1024 + 1, 3_000_000)


@pytest.fixture(params=CODECS.values(), ids=CODECS)
def codec(request: pytest.FixtureRequest) -> int:
    """Return the number of a codec."""
    return int(request.param)


@pytest.mark.parametrize("size", SIZES)
def test_content_is_unpacked_whole_after_a_larger_one(codec: int, size: int) -> None:
    """All batches share the room: nothing of another one is in it."""
    unpacked(codec, compressed(codec, b"x" * 5_000_000))
    content = bytes(range(1, 251)) * (size // 250 + 1)
    assert unpacked(codec, compressed(codec, content[:size])) == content[:size]


@pytest.mark.parametrize("size", SIZES[2:])
@pytest.mark.parametrize("cut", [1, 4])
def test_beginning_is_unpacked_of_what_ends_too_early(codec: int, size: int, cut: int) -> None:
    """And nothing of what was unpacked before."""
    unpacked(codec, compressed(codec, b"x" * 5_000_000))
    content = bytes(range(1, 251)) * (size // 250 + 1)
    found = unpacked(codec, compressed(codec, content)[:-cut])
    assert content.startswith(found.rstrip(b"\0"))
    assert len(found) <= 8 * max(len(content), 64 * 1024)


@pytest.mark.parametrize("codec_of_tail", [1, 4])
@pytest.mark.parametrize("size", SIZES[1:])
def test_what_is_before_a_tail_is_unpacked_whole(codec_of_tail: int, size: int) -> None:
    """A library fails over it, when it has unpacked what the broker has read."""
    content = b"y" * size
    assert unpacked(codec_of_tail, compressed(codec_of_tail, content) + b"tail").startswith(content)


def test_content_beyond_the_most_is_cut(codec: int) -> None:
    """However small it is while it is packed."""
    assert len(unpacked(codec, compressed(codec, b"z" * (MOST + 1_000_000)))) <= MOST


async def test_consumer_that_waits_for_its_group_is_stopped_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker would be killed meanwhile, with what is open in its transactions."""
    stopped: list[str] = []

    async def waiting(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("cut short")

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_thread_stop", waiting)
    monkeypatch.setattr(transport, "_STOPPED_WITHIN", 0.01)
    thread = object.__new__(BatchConsumerThread)
    await asyncio.wait_for(thread.on_thread_stop(), 20)
    assert stopped == ["cut short"]


UNKNOWN, FENCED = 25, 82


class Membership:
    """A worker's membership, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ended: list[int] = []
        self.member = StaticMember("izin-1", clock=lambda: self.now, end=self.ended.append)

    def work(self, seconds: float) -> None:
        """Have heartbeats answered for so long."""
        for _ in range(round(seconds)):
            self.member.note(0)
            self.now += 1
        self.member.note(0)


@pytest.fixture
def membership() -> Membership:
    """Give one that has just joined."""
    made = Membership()
    made.work(1)
    return made


@pytest.mark.parametrize("code", [UNKNOWN, FENCED])
def test_worker_replaced_twice_at_its_start_ends(membership: Membership, code: int):
    """The other one joined again, so it lives; the name and the remedy are said."""
    membership.member.note(code)
    assert membership.ended == []  # a coordinator may have forgotten it
    membership.work(1)
    with capture_logs() as logs:
        membership.member.note(code)
    assert membership.ended == [EXIT]
    assert (logs[0]["event"], logs[0]["instance_id"]) == ("instance id in use already", "izin-1")
    assert "IZIN_INSTANCE_ID" in logs[0]["remedy"]


def test_worker_that_was_first_goes_on_with_an_alert(membership: Membership):
    """However often the other one is started."""
    membership.work(SETTLED_AFTER)
    assert not membership.member.is_contested
    for _ in range(5):
        with capture_logs() as logs:
            membership.member.note(UNKNOWN)
        assert [one["event"] for one in logs] == ["instance id in use twice"]
        membership.work(2)
    assert membership.ended == []
    assert membership.member.is_contested
    membership.work(600)
    assert not membership.member.is_contested


def test_worker_frozen_beyond_its_session_counts_as_new(membership: Membership):
    """Its place may be another's, who has worked for longer by then."""
    membership.work(SETTLED_AFTER)
    membership.now += SESSION + 1
    membership.member.note(UNKNOWN)
    assert not membership.member.is_contested
    for _ in range(2):
        membership.work(1)
        membership.member.note(UNKNOWN)
    assert membership.ended == [EXIT]


def test_answers_without_a_code_say_nothing(membership: Membership):
    """Offsets are committed by partition."""
    for code in (None, 27, 0):
        membership.member.note(code)
    assert membership.ended == []
    assert not membership.member.is_contested
