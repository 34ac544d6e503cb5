"""What a transaction writes is put into batches as a topic stores them.

A row of ``desired-consents`` becomes the consent it was, and nothing else becomes one.

What a lane's position says of its opt-outs, in memory and once it was stored.

A record is repartitioned once it is acknowledged where it belongs.

The beginning of a partition is requested from its leader, and leaders change.

Faust's driver connects with what librdkafka's clients connect with.
"""

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
from aiokafka.errors import AuthenticationFailedError
from confluent_kafka import (
    OFFSET_INVALID,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from hypothesis import given, strategies as st
from pydantic import SecretStr

from izin.runtime.settings import KafkaSettings, SaslMechanism, SecurityProtocol
from izin.schemas.codec import Codec
from izin.schemas.fast.record_format import NO_HEADERS, BatchBuilder, headers_bytes
from izin.schemas.records import consent_to_avro
from izin.schemas.topics import Topics
from izin.streams.errors import StateError
from izin.streams.ownership import (
    Changelog,
    LanePosition,
    OutputRecord,
    Positions,
    SharedClients,
    credentials,
    effects,
    owned_partition,
    positions,
)
from izin.streams.ownership.effects import OutputBatches
from izin.streams.ownership.owned_partition import repartition
from izin.streams.ownership.token_provider import TokenProvider
from izin.streams.state.packing import facts_of
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
    with pytest.raises(StateError, match=r"desired-consents\[0\] at 7 is no consent"):
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
    monkeypatch.setattr(owned_partition, "_WITHIN", 0.05)
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
