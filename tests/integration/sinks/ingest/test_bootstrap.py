"""A ledger whose decisions retention has removed is restored from the topic of desired consents."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from unittest.mock import Mock

import pytest
from structlog.typing import EventDict

from izin.kafka import clients
from izin.ledger.privacy import erasure
from izin.ledger.record import RecreatedTopicError, StreamUnavailableError, TopicMessages
from izin.runtime.errors import BrokerError
from izin.runtime.process import cancel_all
from izin.runtime.settings import KafkaSettings
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.records import consent_to_avro
from izin.sinks.ingest import bootstrap
from izin.sinks.ingest.ingester import Ingester
from tests.integration.sinks.sink_harness import (
    Izin,
    SinkHarness,
    a_phone,
    ended,
    kafka_environment,
    onay,
    ret,
    set_environment,
    until,
)
from tests.support.builders import PHONE, a_key
from tests.support.published import produce, remove_below
from tests.support.simulator import SinkProcesses

pytestmark = [pytest.mark.database, pytest.mark.broker]

OTHER, THIRD = a_phone(2), a_phone(3)


def write_state(harness: SinkHarness, settings: KafkaSettings) -> None:
    """Write every consent of the harness to the topic of desired consents, partition 0."""
    producer, topic = clients.producer(settings), settings.topics.desired_consents.name
    for key, consent in harness.states.items():
        value = harness.codec.encode("Consent", consent_to_avro(consent))
        producer.produce(topic, key=key.encode(), value=value, partition=0)
    assert producer.flush(10) == 0


def write_desired(settings: KafkaSettings, *values: bytes | None, key: bytes) -> None:
    """Write values to the topic of desired consents, partition 0."""
    produce(settings, settings.topics.desired_consents.name, *values, key=key, partition=0)


def delete_decisions(settings: KafkaSettings) -> None:
    """Delete what the topic of decisions has in partition 0, as retention does."""
    topic = settings.topics.decisions.name
    remove_below(settings, topic, {0: clients.committed_ends(settings, topic)[0]})


async def lose(harness: SinkHarness, settings: KafkaSettings, *events: object) -> None:
    """Decide ``events``, and let retention remove the decisions before the ledger has them."""
    decided = harness.decided(*events)  # type: ignore[arg-type]  # events
    await asyncio.to_thread(write, settings, [one.value for one in decided])
    await asyncio.to_thread(write_state, harness, settings)
    await asyncio.to_thread(delete_decisions, settings)


def ingester_of(harness: SinkHarness, settings: KafkaSettings) -> Ingester:
    """Return a new ingester of the topics of ``settings``."""
    messages = TopicMessages(harness.codec, settings.topics)
    return replace(harness.ingester, settings=settings, topic_messages=messages)


@asynccontextmanager
async def ingesting(harness: SinkHarness, settings: KafkaSettings) -> AsyncIterator[None]:
    """Run an ingester meanwhile."""
    task = asyncio.create_task(ingester_of(harness, settings).run())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        await cancel_all([task])


async def has_rows(harness: SinkHarness, recipients: Iterable[str]) -> bool:
    """Return whether each recipient has a row."""
    found = await harness.ledger.fetch("SELECT recipient FROM consents")
    return {row["recipient"] for row in found} >= set(recipients)


async def is_restored(harness: SinkHarness) -> bool:
    """Return whether a bootstrap has begun and none waits."""
    waits = "SELECT FROM bootstraps HAVING count(*) > 0 AND bool_and(finished_at IS NOT NULL)"
    return bool(await harness.ledger.fetch(waits))


def write(settings: KafkaSettings, values: Sequence[bytes], *, partition: int = 0) -> None:
    """Write values to the topic of decisions."""
    produce(settings, settings.topics.decisions.name, *values, partition=partition)


def alerts(logged: Sequence[EventDict], name: str) -> list[EventDict]:
    """Return the critical events of this name."""
    return [one for one in logged if one["event"] == name and one["log_level"] == "critical"]


async def test_new_ledger_asks_iys_before_it_sends_anything(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """What İYS holds is queried, never guessed: an old consent that it has is permitted again,
    without a word to it; an opt-out is withdrawn where it has a consent.
    """
    for recipient in (PHONE, THIRD):
        await harness.register_onay(recipient)
    await harness.forget()
    submitted = harness.iys.calls("batchV2") + harness.iys.calls("addV2")
    await lose(
        harness,
        kafka_settings,
        onay(PHONE, minutes=60),
        ret(THIRD),
        onay(OTHER),
        ret(a_phone(5)),
    )
    async with ingesting(harness, kafka_settings):
        await until(lambda: is_restored(harness))
    (alert,) = alerts(logged, "decisions lost")
    assert alert["partitions"] == [0]
    for recipient in (PHONE, OTHER, THIRD):
        known = await harness.columns("registered", "verified_at", "may_send", recipient=recipient)
        assert known == ("UNKNOWN", None, False)
    assert not await harness.bulk()
    assert not await harness.scheduler.last_hour()
    assert not await harness.scheduler.expire()
    assert await harness.columns("action", "reason") == ("query", "registered-lost")
    await harness.drain(harness.opt_out)
    await harness.drain(harness.query)
    assert await harness.columns("registered", "state", "may_send") == ("ONAY", "not_needed", True)
    assert (await harness.row(a_phone(5))).state == "not_needed"
    assert harness.iys.register()[THIRD] == "RET"
    assert harness.iys.calls("batchV2") + harness.iys.calls("addV2") == submitted + 1
    assert await harness.bulk()


async def test_ledger_behind_the_log_keeps_what_is_newer_than_the_state(
    harness: SinkHarness, kafka_settings: KafkaSettings
):
    """It has the rows of before, and learns what it missed; the decisions go on where they are
    left, opt-outs among them first.
    """
    await harness.register_onay(PHONE)
    await harness.register_onay(OTHER)
    older = dict(harness.states)
    await harness.ingest(ret(OTHER, minutes=1))
    newer = await harness.row(OTHER)
    harness.states = older
    await harness.ledger.fetch("DELETE FROM kafka_offsets RETURNING topic")
    await lose(harness, kafka_settings, ret(PHONE), onay(THIRD))
    later = harness.decided(ret(THIRD, minutes=1), onay(a_phone(6), minutes=2))
    await asyncio.to_thread(write, kafka_settings, [one.value for one in later])
    async with ingesting(harness, kafka_settings):
        await until(lambda: has_rows(harness, [a_phone(6)]))
    assert await harness.columns("desired_status", "may_send") == ("RET", False)
    assert await harness.columns("desired_status", recipient=THIRD) == ("RET",)
    row = await harness.row(OTHER)
    assert (row.desired_event_id, row.registered) == (newer.desired_event_id, "ONAY")


async def test_newer_opt_in_of_a_restored_key_waits_for_the_query(
    harness: SinkHarness, kafka_settings: KafkaSettings
):
    """Neither a later decision nor one that is repeated lets it out before."""
    await lose(harness, kafka_settings, onay(PHONE))
    later = harness.decided(onay(PHONE, minutes=2))
    await asyncio.to_thread(write, kafka_settings, [one.value for one in later])

    newer = {"id": harness.states[str(a_key())].event_id}
    ingested = "SELECT FROM consents WHERE desired_event_id = %(id)s"
    async with ingesting(harness, kafka_settings):
        await until(lambda: harness.ledger.fetch(ingested, newer))
        await until(lambda: is_restored(harness))
    assert await harness.columns("registered", "action") == ("UNKNOWN", "query")
    assert not await harness.bulk()
    assert await harness.query()
    assert await harness.bulk()


async def test_command_shows_what_is_lost_and_restores_it(
    harness: SinkHarness,
    kafka_settings: KafkaSettings,
    izin: Izin,
    monkeypatch: pytest.MonkeyPatch,
):
    """Without --execute it changes nothing; a second time nothing waits."""
    set_environment(monkeypatch, kafka_environment(kafka_settings))
    await lose(harness, kafka_settings, onay(PHONE), ret(OTHER))
    dry = ended(await izin("ledger", "bootstrap", "--output", "json"), 1)
    assert [(row["partition"], row["state"]) for row in json.loads(dry.stdout)] == [(0, "lost")]
    assert not await has_rows(harness, [PHONE])
    done = ended(await izin("ledger", "bootstrap", "--execute", "--output", "json"), 0)
    (row,) = json.loads(done.stdout)
    assert (row["state"], row["keys"], row["read"]) == ("restored", 2, row["of"])
    assert await has_rows(harness, [PHONE, OTHER])
    assert (await izin("ledger", "bootstrap")).exit_code == 0


async def test_killed_bootstrap_goes_on_where_it_was(
    harness: SinkHarness, processes: SinkProcesses, kafka_settings: KafkaSettings
):
    """A worker that is killed amid it restores each key once; İYS gets nothing that it holds."""
    recipients = list(map(a_phone, range(3, 4500)))
    await lose(harness, kafka_settings, *map(onay, recipients))

    begun = "SELECT FROM bootstraps WHERE next_offset > 0"
    processes.start()
    await until(lambda: harness.ledger.fetch(begun), within=40)
    processes.kill(0)
    assert not await is_restored(harness)
    processes.start()
    await until(lambda: is_restored(harness), within=60)
    assert await harness.ledger.fetch(
        "SELECT count(*) AS facts, count(DISTINCT key) AS keys FROM history "
        "WHERE kind = 'bootstrap'"
    ) == [{"facts": len(recipients), "keys": len(recipients)}]


async def test_bootstrap_that_could_store_little_waits_for_a_person(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """The state is not emptied into the dead letters; opt-outs go on meanwhile."""
    write_desired(kafka_settings, *[b"no consent"] * 150, key=b"x")
    await lose(harness, kafka_settings, onay(PHONE))
    decided = harness.decided(ret(OTHER), onay(THIRD))
    await asyncio.to_thread(write, kafka_settings, [one.value for one in decided])
    async with ingesting(harness, kafka_settings):
        await until(lambda: bool(alerts(logged, "bootstrap held back")))
        await until(lambda: has_rows(harness, [OTHER]))
    assert not await has_rows(harness, [THIRD])
    assert not await is_restored(harness)
    assert len(await harness.outbox("%-dlq", "DeadLetter")) < 150


async def test_broker_that_goes_away_is_waited_for(
    harness: SinkHarness, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """Its absence passes without us, and must not end the sink."""
    monkeypatch.setattr(bootstrap, "watermarks", Mock(side_effect=BrokerError("no broker")))
    with pytest.raises(StreamUnavailableError):
        await ingester_of(harness, kafka_settings).bootstrapper.begin_if_lost()


async def test_erased_keys_are_not_restored(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """Nor are suppressions, which say by a digest that a key was erased. A state that cannot be
    read is put aside, and everything else is restored.
    """
    write_desired(kafka_settings, b"no consent", key=b"x")
    await lose(harness, kafka_settings, ret(PHONE), ret(OTHER))
    write_desired(kafka_settings, b"never read", key=SUPPRESSED + b"fake/00")
    write_desired(kafka_settings, None, key=str(a_key(recipient=PHONE)).encode())
    async with ingesting(harness, kafka_settings):
        await until(lambda: is_restored(harness))
    assert len(alerts(logged, "desired consent quarantined")) == 1
    assert len(await harness.outbox("%-dlq", "DeadLetter")) == 1
    await harness.drain(harness.opt_out, harness.query)
    now = harness.clock()
    assert await erasure.remove(harness.ledger, harness.context.topic_messages, now=now) == 1
    assert await harness.ledger.fetch("SELECT recipient FROM consents") == [{"recipient": OTHER}]


async def former(harness: SinkHarness, column: str) -> None:
    """Let the ledger's offsets be those of a topic, or a cluster, that is no more."""
    async with harness.ledger.transaction() as connection:
        await connection.execute(f"UPDATE kafka_offsets SET {column} = 'former', next_offset = 99")


async def test_recreated_decisions_are_restored_from_the_state(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """What the former topic had, and nobody had read, is in the state; the new one is read from its
    beginning.
    """
    settings = kafka_settings
    await (await ingester_of(harness, settings).open()).close()
    await former(harness, "topic_id")
    harness.decided(ret(THIRD))
    await asyncio.to_thread(write_state, harness, settings)
    new = harness.decided(ret(OTHER))
    await asyncio.to_thread(write, settings, [one.value for one in new])
    async with ingesting(harness, settings):
        await until(lambda: has_rows(harness, [OTHER, THIRD]))
        await until(lambda: is_restored(harness))
    assert len(alerts(logged, "topic recreated")) == 1


async def test_decisions_of_another_cluster_are_not_read(
    harness: SinkHarness, kafka_settings: KafkaSettings
):
    """They may be another installation's: a person says that Kafka was moved."""
    await (await ingester_of(harness, kafka_settings).open()).close()
    await former(harness, "cluster_id")
    with pytest.raises(RecreatedTopicError, match="KAFKA_BOOTSTRAP_SERVERS"):
        await ingester_of(harness, kafka_settings).run()
