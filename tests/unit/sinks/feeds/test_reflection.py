"""Consistency tokens: an answer waits for everything in between, and for nothing else."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.projections.latest_records import ForeignTokenError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities
from izin.schemas.consistency_token import LogPosition
from izin.sinks.feeds import protocol
from izin.sinks.feeds.protocol import Feed, UnreachableLogError
from izin.sinks.feeds.reflection import PipelinePositions, Reflection
from tests.unit.sinks.feeds.fakes import CODEC, OPT_OUTS, OUTCOMES, PERMISSIONS

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

    def offsets(_client: object, topic: str, partitions: Sequence[int], _spec: object) -> object:
        return {number: ENDS.get(topic, {1: 1, 3: 3})[number] for number in partitions}

    monkeypatch.setattr(protocol, "offsets", offsets)
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

    def failing(*_: object) -> object:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(protocol, "offsets", failing)
    for number in (1, 3):
        put_decided(progress, number)
    with pytest.raises(UnreachableLogError):
        await ends(progress, OPT_OUTS)


async def test_token_of_a_record_that_nobody_wrote_is_foreign(progress: PipelinePositions) -> None:
    """On the lane that it names; to wait for it again would never end."""
    lies = (TOKEN[0], LogPosition(TOPICS.express.name, 3, 21))
    with pytest.raises(ForeignTokenError):
        await ends(progress, OPT_OUTS, within=0.01, token=lies)
