"""What a transaction writes is put into batches as a topic stores them.

A row of ``desired-consents`` becomes the consent it was, and nothing else becomes one.

What a lane's position says of its opt-outs, in memory and once it was stored.

A record is repartitioned once it is acknowledged where it belongs.

The beginning of a partition is requested from its leader, and leaders change.

Faust's driver connects with what librdkafka's clients connect with.

What was fetched is unpacked as aiokafka unpacks it, and decompressed as Java does.

How a consumer of an order worker stops; and who of two workers of one name does.
"""

import asyncio
import base64
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs

import httpx
import pytest
from aiokafka import TopicPartition as FetchedPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import AuthenticationFailedError, CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from confluent_kafka import (
    OFFSET_INVALID,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from hypothesis import given, strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from izin.runtime.logs import EXIT
from izin.runtime.settings import KafkaSettings, SaslMechanism, SecurityProtocol
from izin.schemas.codec import Codec
from izin.schemas.fast.record_format import NO_HEADERS, BatchBuilder, headers_bytes
from izin.schemas.records import consent_to_avro
from izin.schemas.topics import Topics
from izin.streams.engine import transport
from izin.streams.engine.transport import BatchConsumerThread
from izin.streams.engine.unpacking import MOST, FetchedBatches, UnpackedFetch, unpacked
from izin.streams.engine.watches import SESSION, SETTLED_AFTER, StaticMember
from izin.streams.errors import StateError
from izin.streams.fetched_record import FetchedRecord
from izin.streams.ownership import (
    Changelog,
    LanePosition,
    OutputRecord,
    Positions,
    SharedClients,
    credentials,
    effects,
    partition_transaction,
    positions,
)
from izin.streams.ownership.effects import OutputBatches
from izin.streams.ownership.partition_transaction import repartition
from izin.streams.ownership.token_provider import TokenProvider
from izin.streams.state.packing import facts_of
from tests.support.hostile.batches import compressed
from tests.support.order.harness import CODEC, ONAY, row_of
from tests.support.registry import MemoryRegistry
from tests.support.waiting import ManualClock

CHANGELOG = Changelog(0, KafkaSettings(), "group", CODEC)
TOPICS = Topics()
LANE, OTHER = TOPICS.events.name, TOPICS.express.name
EMPTY = Positions(
    cluster_id="cluster",
    events_topic_id="events",
    express_topic_id="express",
    desired_consents_topic_id="desired",
)
BATCHES = st.lists(
    st.tuples(st.integers(min_value=0, max_value=20), st.sets(st.integers(0, 19))), max_size=8
)
RECORD = OutputRecord("events", 3, b"key", b"value", headers_bytes([("a", b"1"), ("b", None)]))
SECRET = SecretStr("obviously-fake")
TOKEN = KafkaSettings(
    security_protocol=SecurityProtocol.SASL_PLAINTEXT,
    sasl_mechanism=SaslMechanism.OAUTHBEARER,
    oauth_token_url="https://login.example.com/token",
    oauth_client_id="izin",
    oauth_client_secret=SECRET,
    oauth_scope="kafka",
)


def a_write(topic: str, partition: int = 0, value: bytes | None = b"value") -> OutputRecord:
    return OutputRecord(topic, partition, b"key", value, NO_HEADERS)


def places(batches: list[BatchBuilder]) -> list[tuple[str, int, int]]:
    """Return topic, partition and number of records of each."""
    return [(one.topic, one.partition, len(one)) for one in batches]


def test_records_of_a_topic_are_one_batch() -> None:
    """In the order in which they were added, until they are taken."""
    batches = OutputBatches()
    assert batches.add([a_write("rows"), a_write("decisions"), a_write("rows", value=None)]) == []
    assert batches.add([a_write("rows")]) == []
    assert places(batches.take()) == [("rows", 0, 3), ("decisions", 0, 1)]
    assert batches.take() == []


@pytest.mark.interpreted
def test_full_batch_is_returned_before_the_next_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch becomes larger than a broker takes, and what is full is sent at once."""
    monkeypatch.setattr(effects, "_FULL", 100)
    batches = OutputBatches()
    full = batches.add([a_write("rows", value=b"x" * 40) for _ in range(5)])
    assert places(full) == [("rows", 0, 2)] * 2
    assert places(batches.add([a_write("rows", value=b"x" * 1000)])) == [("rows", 0, 1)]
    assert places(batches.take()) == [("rows", 0, 1)]


def test_another_partition_of_a_topic_is_another_batch() -> None:
    """A batch is of one partition."""
    batches = OutputBatches()
    assert places(batches.add([a_write("rows", 0), a_write("rows", 1)])) == [("rows", 0, 1)]
    assert places(batches.take()) == [("rows", 1, 1)]


def test_row_in_another_framing_is_read() -> None:
    """What another installation's framing wrote takes the codec's way."""
    registered = Changelog(0, KafkaSettings(), "group", Codec(MemoryRegistry()))
    assert registered._row(row_of(ONAY), 7) == facts_of(ONAY)


def test_tombstone_has_no_facts() -> None:
    """A key erased from the topic has no row."""
    assert CHANGELOG._row(None, 7) is None


@pytest.mark.parametrize(
    "field", [{"status": "MAYBE"}, {"type": "FAX"}, {"recipient_type": "X"}, {"origin_rank": 9}]
)
def test_row_with_an_unknown_word_raises_state_error(field: dict[str, object]) -> None:
    """A row that could be read but means nothing is no consent."""
    assert CHANGELOG._row(row_of(ONAY), 6) == facts_of(ONAY)
    row = CODEC.encode("Consent", consent_to_avro(ONAY) | field)
    with pytest.raises(StateError, match=r"desired-consents\[0\]@7 is no consent"):
        CHANGELOG._row(row, 7)


@given(
    start=st.integers(0, 60), batches=BATCHES, most=st.integers(1, 40), skipped=st.integers(0, 50)
)
def test_position_says_no_more_than_was_decided(
    start: int, batches: list[tuple[int, set[int]]], most: int, skipped: int
) -> None:
    """Whatever is left out for want of room counts as undecided, in memory and once it was stored,
    and the scan goes on behind it; with room, all is known.
    """
    position, undecided = LanePosition(start), set[int]()
    before, positions._MOST_UNSETTLED = positions._MOST_UNSETTLED, most
    try:
        for size, places in batches:
            begin = position.opt_outs_from
            found = {begin + one for one in places if one < size}
            undecided |= found
            position = position.opt_outs_decided(begin + size, found)
    finally:
        positions._MOST_UNSETTLED = before
    end = start + sum(size for size, _ in batches)
    assert position.opt_outs_from == end
    again = position.decided(end + 5).opt_outs_decided(end + 8, {end + 6})
    assert [one for one in range(end + 4, end + 9) if again.has_settled(one)] == [
        *(end + 4, end + 5, end + 7)
    ]
    position = position.decided(start + skipped)
    stored = EMPTY.at(TOPICS, {LANE: LanePosition(), OTHER: position}).lanes(TOPICS)[OTHER]
    decided = set(range(start, end)) - undecided
    for one in (position, stored):
        settled = {place for place in range(start + skipped, end + 9) if one.has_settled(place)}
        assert settled <= decided
        if len(undecided) <= most:
            assert settled == {place for place in decided if place >= start + skipped}


class Broker:
    """A producer of which `answer` is each record's outcome; None: there is none in time."""

    def __init__(self, *answers: Callable[[], KafkaError | None] | None) -> None:
        self.answers = list(answers)
        self.records: list[tuple[Any, ...]] = []
        self._reports: list[Callable[[KafkaError | None, None], None]] = []

    def produce(self, *record: Any, headers: Any) -> None:  # noqa: ANN401  # as confluent-kafka takes them
        *fields, report = record
        self.records.append((*fields, headers))
        self._reports.append(report)

    def poll(self, limit: float) -> None:
        assert limit > 0
        answered, self.answers = self.answers, []
        for report, answer in zip(self._reports, answered, strict=False):
            if answer is not None:
                report(answer(), None)

    def flush(self, _limit: float) -> None:
        raise AssertionError("it waits for the records of others, whose partition has no leader")


async def test_record_is_written_to_its_partition() -> None:
    """As it is, and its acknowledgement is waited for."""
    broker: Any = Broker(lambda: None)
    await repartition(broker, [RECORD])
    assert broker.records == [("events", b"value", b"key", 3, [("a", b"1"), ("b", None)])]


@pytest.mark.parametrize(
    "answer", [None, lambda: KafkaError(KafkaError._ALL_BROKERS_DOWN)], ids=["late", "refused"]
)
async def test_record_that_was_not_acknowledged_raises(
    answer: Callable[[], KafkaError | None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several is enough: the position must not pass what it came from."""
    monkeypatch.setattr(partition_transaction, "_WITHIN", 0.05)
    broker: Any = Broker(lambda: None, answer)
    with pytest.raises(KafkaException):
        await repartition(broker, [RECORD, RECORD])


async def test_nothing_to_repartition_asks_nobody() -> None:
    """As it mostly is."""
    await repartition(Broker(), [])  # type: ignore[arg-type]  # the stand-in


class AdminWithOldLeader:
    """An admin client that believes in an old leader until it looks at the topic again."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.looked: list[str] = []

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: object) -> dict[Any, Any]:
        future: Future[SimpleNamespace] = Future()
        if self.looked:
            future.set_result(SimpleNamespace(offset=7))
        elif self.code is None:
            future.set_result(SimpleNamespace(offset=OFFSET_INVALID))
        else:
            future.set_exception(KafkaException(KafkaError(self.code)))
        return dict.fromkeys(asked, future)

    def list_topics(self, topic: str, **_: object) -> None:
        self.looked.append(topic)


def bounds(code: int | None) -> tuple[Mapping[str, tuple[int, int]], AdminWithOldLeader]:
    with closing(SharedClients(KafkaSettings(client_log_level=0), "group")) as clients:
        clients.admin = admin = AdminWithOldLeader(code)
        return clients.bounds([TopicPartition("desired-consents", 3)]), admin


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError._NOENT,
        None,
    ],
)
def test_bounds_with_a_moved_leader_are_retried(code: int | None) -> None:
    """A broker that leads again under a later epoch is found, not refused until a restart. While
    it begins to lead it may answer without an offset, and without an error.
    """
    found, admin = bounds(code)
    assert (found, admin.looked) == ({"desired-consents": (7, 7)}, ["desired-consents"])


def test_bounds_of_a_missing_topic_raise_at_once() -> None:
    """A topic that is not there will not come for being looked at."""
    with pytest.raises(KafkaException):
        bounds(KafkaError.UNKNOWN_TOPIC_OR_PART)


def admin_of_fenced_broker(cluster_id: str | None) -> Mock:
    """Return an admin client of the only broker, which its controller has fenced for a moment: a
    request for the cluster alone is answered without any broker, upon which librdkafka ends the
    process.
    """

    def described(topics: TopicCollection, **_: object) -> dict[str, Any]:
        futures: dict[str, Future[SimpleNamespace]] = {}
        for name in topics.topic_names:
            futures[name] = Future()
            futures[name].set_result(SimpleNamespace(topic_id=f"id of {name}"))
        return futures

    return Mock(
        describe_cluster=Mock(side_effect=AssertionError("rko_result")),
        list_topics=lambda topic, **_: SimpleNamespace(cluster_id=cluster_id, topics={topic: None}),
        describe_topics=described,
    )


def origin(cluster_id: str | None) -> Positions:
    with closing(SharedClients(KafkaSettings(client_log_level=0), "group")) as clients:
        clients.admin = admin_of_fenced_broker(cluster_id)
        return clients.origin()


def test_ids_of_a_fenced_broker_are_read_by_its_topics() -> None:
    """The answer to a request that names a topic is never empty."""
    found = origin("cluster")
    assert found.cluster_id == "cluster"
    assert found.events_topic_id == "id of consent-events"


def test_an_unknown_cluster_is_no_other_cluster() -> None:
    """Else every event of the lanes would be decided again."""
    with pytest.raises(KafkaException):
        origin(None)


def test_plain_connection_has_no_credentials() -> None:
    """The driver then uses neither TLS nor SASL."""
    assert credentials(KafkaSettings()) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_password_reaches_the_driver(protocol: str, mechanism: str) -> None:
    """As the arguments that the driver gives to aiokafka."""
    made = credentials(
        KafkaSettings(
            security_protocol=SecurityProtocol(protocol),
            sasl_mechanism=SaslMechanism(mechanism),
            sasl_username="izin",
            sasl_password=SECRET,
        )
    )
    passed = credentials_to_aiokafka_auth(made)
    context = passed.pop("ssl_context")
    assert passed == {
        "security_protocol": protocol,
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "izin",
        "sasl_plain_password": "obviously-fake",
    }
    assert (context is not None) is (protocol == "SASL_SSL")
    assert context is None or context.check_hostname
    assert "obviously-fake" not in repr(made)


def test_tls_alone_reaches_the_driver() -> None:
    """With a context that verifies certificate and host."""
    made = credentials(KafkaSettings(security_protocol=SecurityProtocol.SSL))
    passed = credentials_to_aiokafka_auth(made)
    assert passed["security_protocol"] == "SSL"
    assert passed["ssl_context"].check_hostname


def test_tokens_reach_the_driver() -> None:
    """From a provider, for the driver requests none itself."""
    passed = credentials_to_aiokafka_auth(credentials(TOKEN))
    assert passed["sasl_mechanism"] == "OAUTHBEARER"
    assert isinstance(passed["sasl_oauth_token_provider"], TokenProvider)


Answer = Callable[[httpx.Request], httpx.Response]


def provider(answer: Answer, clock: ManualClock | None = None) -> TokenProvider:
    """Return a provider whose endpoint is ``answer``."""
    return TokenProvider(
        TOKEN, clock=clock or ManualClock(0), transport=httpx.MockTransport(answer)
    )


async def test_token_is_requested_with_the_client_and_kept_while_it_is_fresh() -> None:
    """A connection more is no request more, until four fifths of the lifetime have passed."""
    requests: list[httpx.Request] = []
    clock = ManualClock(0)

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(
            200, json={"access_token": f"token-{len(requests)}", "expires_in": 100}
        )

    tokens = provider(answer, clock)
    assert [await tokens.token(), await tokens.token()] == ["token-1", "token-1"]
    clock.now = 79.9
    assert await tokens.token() == "token-1"
    clock.now = 80.0
    assert await tokens.token() == "token-2"
    first = requests[0]
    login = base64.b64encode(b"izin:obviously-fake").decode()
    assert first.headers["Authorization"] == f"Basic {login}"
    assert parse_qs(first.content.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["kafka"],
    }


async def test_token_without_a_lifetime_is_used_once() -> None:
    """Nothing says how long it may be used."""
    count = iter(range(1, 9))
    tokens = provider(lambda _: httpx.Response(200, json={"access_token": str(next(count))}))
    assert [await tokens.token(), await tokens.token()] == ["1", "2"]


def _away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("away", request=request)


@pytest.mark.parametrize(
    "answer",
    [
        _away,
        lambda _: httpx.Response(401, json={"error": "invalid_client"}),
        lambda _: httpx.Response(200, text="no JSON, with a token"),
        lambda _: httpx.Response(200, json={"token": "obviously-fake"}),
        lambda _: httpx.Response(200, json=["obviously-fake"]),
        lambda _: httpx.Response(200, json={"access_token": "obviously-fake", "expires_in": "?"}),
    ],
    ids=["away", "refused", "no JSON", "no token", "a list", "no lifetime"],
)
async def test_endpoint_without_a_token_is_an_error_of_the_driver(answer: Answer) -> None:
    """Which the driver survives, and connects again; the error names endpoint and settings."""
    with pytest.raises(AuthenticationFailedError, match=r"login\.example\.com") as failed:
        await provider(answer).token()
    assert "KAFKA_SASL_OAUTHBEARER_" in str(failed.value)
    assert "obviously-fake" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_worker_without_tokens_imports_no_http_library() -> None:
    """Its partitions wait until a worker that was restarted has imported everything."""
    code = "import izin.streams.engine.app, sys; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
