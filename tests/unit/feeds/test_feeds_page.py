"""The page of the feeds is correct: its requests are sent, and what it names is there.

What a client may say in the query, and what it is answered about the rest.

Cursors: what a client keeps says where it was, and of which topic.

Where the feeds read from: which topic it is, and whether everything was read.
"""

import json
import re
import shlex
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qsl, urlsplit

import pytest
from confluent_kafka import KafkaError, KafkaException
from starlette.datastructures import QueryParams

from izin.feeds import sources as module
from izin.feeds.endpoint import _LIMITS, _SEARCH
from izin.feeds.protocol import (
    AWAY_FOR_AT_MOST,
    Cursor,
    LogIdentity,
    feed_request,
    parameters_of,
    read_cursor,
)
from izin.feeds.sources import CURRENT_FOR, Sources, Tail
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.runtime.topic_admin import TopicIdentities
from izin.schemas.consistency_token import LogPosition, token_of
from tests.support.api_keys import API_KEY, AUTHORIZATION
from tests.support.builders import NOON, kafka_message
from tests.support.source_tree import ROOT
from tests.unit.feeds.conftest import Api
from tests.unit.feeds.fakes import (
    CODEC,
    OPT_OUTS,
    PERMISSIONS,
    a_message,
    an_end,
    give,
    known_brands,
)

PAGE = (ROOT / "docs" / "feeds.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
CURLS = re.findall(r"^curl (.*)$", PAGE, re.MULTILINE)
(EXAMPLE,) = re.findall(r"200:\n+```json\n(.*?)```", PAGE, re.DOTALL)
IDENTITY = LogIdentity(cluster_id="cluster", topic_id="topic", partitions=3)
CURSOR = Cursor(offsets={0: 5, 1: 0, 2: 2**40}, complete_at=NOON, turn=2)
SNAPSHOT = Cursor(offsets={0: 1, 1: 0, 2: 0}, ends={0: 9, 1: 0, 2: 4}, complete_at=NOON)
PARTITIONS = 2


async def sent(api: Api, words: str, *, after: str) -> Any:  # noqa: ANN401  # any JSON
    """Send what curl would, with a wait of nothing; return the page."""
    url, option, header = shlex.split(
        words.replace("$NEXT", after).replace("$IZIN_API_KEY", API_KEY)
    )
    assert (option, header) == ("-H", f"Authorization: {AUTHORIZATION['Authorization']}")
    parts = urlsplit(url)
    assert parts.port == FeedsSettings().port
    query = dict(parse_qsl(parts.query)) | {"wait": "0"}
    response = await api.client.get(parts.path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_each_request_is_answered(api: Api):
    """Copied, with a cursor where it stands."""
    assert len(CURLS) == 3
    begun = (await api.get("/v1/opt-outs")).json()["next"]
    for words in CURLS:
        assert set(await sent(api, words, after=begun)) >= {"items", "next", "complete"}


async def test_example_is_what_a_feed_returns(api: Api):
    """Field by field."""
    expected = json.loads(EXAMPLE)
    (item,) = expected["items"]
    instants = ("effective_at", "consent_date", "latest_onay_at", "latest_ret_at")
    fields = item | {name: datetime.fromisoformat(item[name]) for name in instants}
    api.sources.write(
        "opt-outs",
        kafka_message(
            partition=item["partition"],
            offset=item["offset"],
            value=CODEC.encode("Consent", fields),
            key=item["key"].encode(),
            headers=[("ce_id", item["id"].encode())],
        ),
    )
    assert await sent(api, CURLS[0], after="") | {"next": "…"} == expected


@pytest.mark.parametrize("feed", [OPT_OUTS, PERMISSIONS])
def test_every_parameter_is_on_the_page(feed: Any):  # noqa: ANN401  # a Feed
    """And no other."""
    table = PAGE[PAGE.index("## Parameters") : PAGE.index("## Responses")]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert named - {one.name for one in parameters_of(feed)} <= {"from"}
    assert {one.name for one in parameters_of(feed)} <= named


def test_every_status_is_on_the_page():
    """As the OpenAPI document has them."""
    document = json.loads((ROOT / "docs" / "openapi" / "feeds.json").read_text("utf-8"))
    table = PAGE[PAGE.index("## Responses") : PAGE.index("## Limits")]
    assert set(re.findall(r"^\| (\d{3})", table, re.MULTILINE)) == set(
        document["paths"]["/v1/opt-outs"]["get"]["responses"]
    )


def test_limits_are_those_of_the_code():
    """Numbers that a reader plans with."""
    settings = FeedsSettings()
    assert (settings.readers, _SEARCH) == (4, 2.0)
    said = (
        f"{_LIMITS.requests} requests at once",
        f"{settings.memory // 2**20} MiB",
        "for four\nrequests at a time",
        "searched for two seconds",
    )
    assert [one for one in said if one not in PAGE] == []


def test_readme_names_a_path_that_is_served():
    """With the port of the feeds."""
    (url,) = re.findall(r"curl '(http://127\.0\.0\.1:\d+/v1/[\w-]+)\?wait=30'", README)
    assert url == f"http://127.0.0.1:{FeedsSettings().port}{OPT_OUTS.path}"


def test_nothing_need_be_said() -> None:
    """Then reading begins at the oldest record, without a wait."""
    asked = feed_request(QueryParams(""), OPT_OUTS)
    assert (asked.after, asked.is_from_now, asked.limit, asked.wait) == (None, False, 500, 0)


def test_everything_is_taken_as_it_is_said() -> None:
    """The limits themselves included."""
    asked = feed_request(QueryParams("after=abc&limit=1000&wait=30"), PERMISSIONS)
    assert (asked.after, asked.limit, asked.wait) == ("abc", 1000, 30)
    assert feed_request(QueryParams("from=now&wait=0.5"), OPT_OUTS).is_from_now


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=", "limit"),
        ("limit=٣", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=000000001999999", "limit"),
        ("limit=000000001" + "0" * 5000, "limit"),
        ("wait=" + "9" * 5000, "wait"),
        ("wait=31", "wait"),
        ("wait=-1", "wait"),
        ("wait=nan", "wait"),
        ("wait=inf", "wait"),
        ("wait=PT5S", "wait"),
        ("wait=٣", "wait"),
        ("wait=1_0", "wait"),
        ("wait=1e1", "wait"),
        ("from=yesterday", "from"),
        ("from=now&after=x", "from"),
        ("at_least=7", "at_least"),
        ("After=7", "After"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_what_cannot_be_used_is_named(query: str, named: str) -> None:
    """A misspelt parameter would be ignored, and the client would not know."""
    with pytest.raises(RequestRefusedError) as refused:
        feed_request(QueryParams(query), OPT_OUTS)
    is_of_range = named in {"limit", "wait"} and "&" not in query
    assert refused.value.text.status == (422 if is_of_range else 400)
    assert refused.value.text.detail.startswith(f"{named} ")


def test_permissions_cannot_begin_in_between() -> None:
    """A list of permissions without the earlier ones would be no list."""
    assert "from" not in {one.name for one in parameters_of(PERMISSIONS)}
    with pytest.raises(RequestRefusedError, match="from is no parameter here"):
        feed_request(QueryParams("from=now"), PERMISSIONS)


@pytest.mark.parametrize("cursor", [CURSOR, SNAPSHOT])
@pytest.mark.parametrize("feed", [OPT_OUTS, PERMISSIONS])
def test_cursor_is_read_as_it_was_written(cursor: Cursor, feed: object) -> None:
    """As text, in the characters of a URL."""
    text = cursor.text(feed, IDENTITY)  # type: ignore[arg-type]
    assert read_cursor(text, feed, IDENTITY, NOON) == cursor  # type: ignore[arg-type]
    assert set("=+/&?# ").isdisjoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        CURSOR.text(PERMISSIONS, IDENTITY),
        CURSOR.text(OPT_OUTS, IDENTITY)[:-2],
        token_of([LogPosition("consent-events", 0, 1)]),
    ],
)
def test_other_texts_are_no_cursor(text: str) -> None:
    """Also one of another endpoint, or a consistency token."""
    with pytest.raises(RequestRefusedError, match="after is no cursor of this endpoint"):
        read_cursor(text, OPT_OUTS, IDENTITY, NOON)


@pytest.mark.parametrize("name", ["cluster_id", "topic_id"])
def test_cursor_of_another_topic_or_cluster_is_foreign(name: str) -> None:
    """The same offsets are other records there."""
    fields = {"cluster_id": "cluster", "topic_id": "topic", "partitions": 3} | {name: "other"}
    text = CURSOR.text(OPT_OUTS, IDENTITY)
    with pytest.raises(RequestRefusedError, match="is not the one that after is of"):
        read_cursor(text, OPT_OUTS, LogIdentity(**fields), NOON)  # type: ignore[arg-type]


def test_cursor_of_another_partition_count_is_refused() -> None:
    """Keys would be elsewhere."""
    more = LogIdentity(cluster_id="cluster", topic_id="topic", partitions=4)
    with pytest.raises(RequestRefusedError, match="number of partitions"):
        read_cursor(CURSOR.text(OPT_OUTS, IDENTITY), OPT_OUTS, more, NOON)


def test_cursor_of_a_state_expires_before_tombstones_do() -> None:
    """A client of permissions that was away for longer may have missed a deletion."""
    text = CURSOR.text(PERMISSIONS, IDENTITY)
    at_last = NOON + AWAY_FOR_AT_MOST
    assert read_cursor(text, PERMISSIONS, IDENTITY, at_last) == CURSOR
    with pytest.raises(RequestRefusedError, match="begin a new snapshot"):
        read_cursor(text, PERMISSIONS, IDENTITY, at_last + timedelta(seconds=1))
    much_later = NOON + timedelta(days=80)
    log = CURSOR.text(OPT_OUTS, IDENTITY)
    assert read_cursor(log, OPT_OUTS, IDENTITY, much_later) == CURSOR


def test_cursor_with_an_impossible_instant_is_refused() -> None:
    """Whoever makes one up gets a refusal, and no error of ours."""
    impossible = replace(CURSOR, complete_at=Mock(**{"timestamp.return_value": 2.0**60}))
    with pytest.raises(RequestRefusedError, match="no cursor of this endpoint"):
        read_cursor(impossible.text(OPT_OUTS, IDENTITY), OPT_OUTS, IDENTITY, NOON)


class Kafka:
    """The topics of a cluster, as far as they are asked for; and a clock."""

    def __init__(self) -> None:
        self.topic_id = "one"
        self.is_away = False
        self.now = 1000.0

    def identities(self, _client: object, names: list[str], **_: object) -> TopicIdentities:
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return TopicIdentities(
            cluster_id="cluster",
            topic_ids=dict.fromkeys(names, self.topic_id),
            partitions=dict.fromkeys(names, PARTITIONS),
        )


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """Stand in for a cluster; nobody follows its topics."""
    found = Kafka()
    monkeypatch.setattr(module, "identities", found.identities)
    monkeypatch.setattr(module, "monotonic", lambda: found.now)
    monkeypatch.setattr(Tail, "start", lambda _: None)
    return found


def unopened() -> Sources:
    """Return the sources of a process."""
    return Sources(KafkaSettings(), FeedsSettings(), CODEC, known_brands({}))


def test_tail_that_reads_nothing_is_not_current(kafka: Kafka):
    """A partition without a leader, or a broker that is away: what is there is not seen."""
    tail = Tail(KafkaSettings(), OPT_OUTS.topic, PARTITIONS, most_bytes=1000)
    complete_at = {0: float("-inf"), 1: float("-inf")}
    tail._follower = SimpleNamespace(complete_at=complete_at.get)  # type: ignore[assignment]
    assert tail.is_current(), "it has just begun"
    kafka.now += CURRENT_FOR
    assert not tail.is_current()
    complete_at.update({0: kafka.now, 1: kafka.now})
    kafka.now += CURRENT_FOR - 1
    assert tail.is_current()
    complete_at[0] = kafka.now
    kafka.now += 1
    assert not tail.is_current(), "one partition is not read"


async def test_faults_name_the_feed(kafka: Kafka):
    """Its end is not known, or it is behind."""
    async with unopened() as sources:
        assert set(sources.faults().values()) == {"its end is not known yet"}
        for feed in sources.feeds:
            tail = sources.of(feed).tail
            give(tail, [an_end(0, 0), an_end(1, 0)])
            tail._thread = SimpleNamespace(is_alive=lambda: True, join=lambda _: None)  # type: ignore[assignment]
        assert sources.faults() == {}
        kafka.now += CURRENT_FOR + 1
        assert sources.faults() == dict.fromkeys(
            ("feed opt-outs", "feed permissions", "feed outcomes"), "is behind its topic"
        )


async def test_recreated_topic_is_read_from_another_place(kafka: Kafka):
    """What was read of the former one is forgotten; while Kafka is away it stays."""
    async with unopened() as sources:
        feed = sources.feeds[0]
        before = sources.of(feed)
        kafka.is_away = True
        await sources.look()
        assert sources.of(feed) is before
        kafka.is_away, kafka.topic_id = False, "two"
        await sources.look()
        assert sources.of(feed) is not before
        assert sources.of(feed).identity.topic_id == "two"


async def test_old_records_are_dropped_from_memory(kafka: Kafka):
    """By the time at which they were written."""
    async with unopened() as sources:
        tail = sources.of(sources.feeds[0]).tail
        give(tail, [a_message(0, 0), a_message(0, 1)])
        written = tail.recent[0].read(0, 1).records[0].timestamp / 1000
        sources.drop_older(written)
        assert tail.recent[0].start == 0
        sources.drop_older(written + 1)
        assert tail.recent[0].start == 2
