"""A record that the ledger cannot take is put aside, alone; what is behind it goes on.

What no database takes does not reach it, and stops nobody.

Many hostile records: none ends the ingester, and every opt-out among them arrives.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest
from confluent_kafka import Producer
from structlog.typing import EventDict

from izin.consent import ConsentEvent, decide
from izin.iys.wire_format import Stream
from izin.ledger.record import ConcurrentChangeError, LedgerFaultError, LedgerUnavailableError
from izin.runtime import kafka
from izin.runtime.dead_letter_budget import DeadLetterBudget
from izin.runtime.errors import RegistryError
from izin.runtime.settings import KafkaSettings
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ingest.isolation import Isolation
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, given_at, onay, ret, until
from tests.support.builders import CUSTOMER, PHONE, a_decision_record, an_admitted_event
from tests.support.hostile.inputs import HostileRecords
from tests.support.poison import KEYLESS, MARK, POISON, REFUSED, UNREADABLE

pytestmark = pytest.mark.database
OTHER, THIRD = a_phone(2), a_phone(3)
NUL = {
    "event_id": "a\0b",
    "customer_id": "ac\0me",
    "origin": "w\0eb",
    "origin_ref": "form\0 7",
    "actor": "\0",
    "correlation_id": "\0\0",
    "cause": "x\0",
    "import_id": "\0i",
    "notice_version": "1\0",
    "evidence": {"pa\0ge": "\0"},
    "evidence_hash": "\0",
}
HOSTILE, EVERY = 1_500, 50
"""So many pause the opt-ins of both partitions: what comes after is handled as they are."""


def to_spoil(harness: SinkHarness, **fields: object) -> ConsentEvent:
    """Return an event whose decision is to be spoilt."""
    return given_at(harness.clock(), **{"event_id": "poison", "origin_ref": MARK} | fields)


def write(settings: KafkaSettings, values: Sequence[bytes], *, partition: int = 0) -> None:
    """Write values to the topic of decisions."""
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    for value in values:
        producer.produce(settings.topics.decisions.name, value=value, partition=partition)
    assert producer.flush(10) == 0


async def ingest_all(
    harness: SinkHarness, settings: KafkaSettings, ingester: Ingester | None = None
) -> None:
    """Ingest the topic to its end, with a new ingester unless given."""
    ingester = ingester or replace(harness.ingester, settings=settings)
    ends = kafka.committed_ends(settings, settings.topics.decisions.name)
    reader = await ingester.open()

    async def is_read() -> bool:
        await reader.step(timedelta(seconds=0.2))
        rows = await harness.ledger.fetch("SELECT partition, next_offset FROM kafka_offsets")
        return {row["partition"]: row["next_offset"] for row in rows} == dict(ends)

    try:
        await until(is_read)
    finally:
        await reader.close()


def alerts(logged: Sequence[EventDict], name: str) -> list[EventDict]:
    """Return the critical events of this name."""
    return [one for one in logged if one["event"] == name and one["log_level"] == "critical"]


@pytest.mark.broker
async def test_poison_among_good_records_is_dead_lettered_alone(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """Of every kind: its bytes and coordinates are kept; it is read once, by no later ingester
    again.
    """
    events = [to_spoil(harness, recipient=a_phone(10 + number)) for number in range(len(POISON))]
    first, *spoilt, second, withdrawn = harness.decided(
        onay(PHONE), *events, onay(THIRD), ret(PHONE)
    )
    poison = [spoil(one.value) for spoil, one in zip(POISON.values(), spoilt, strict=True)]
    write(kafka_settings, [first.value, *poison, second.value, withdrawn.value])
    await ingest_all(harness, kafka_settings)
    assert await harness.columns("desired_status") == ("RET",)
    assert await harness.columns("desired_status", recipient=THIRD) == ("ONAY",)
    topic = kafka_settings.topics.decisions.name
    letters = await harness.outbox("%-dlq", "DeadLetter")
    assert [(one["topic"], one["partition"], one["offset"], one["value"]) for one in letters] == [
        (topic, 0, offset, value) for offset, value in enumerate(poison, start=1)
    ]
    assert len(alerts(logged, "decision quarantined")) == len(poison)
    await ingest_all(harness, kafka_settings)
    assert await harness.outbox("%-dlq", "DeadLetter") == letters


@pytest.mark.broker
async def test_opt_out_that_is_poison_closes_its_key(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """What can be read of it is enough to stop messages, and to withdraw the consent at İYS."""
    spoils = [POISON[how] for how in (*REFUSED, "truncated")]
    people = [a_phone(10 + number) for number in range(len(spoils))]
    await harness.register(*(onay(one, minutes=60) for one in people))
    await harness.ledger.fetch("DELETE FROM kafka_offsets RETURNING topic")
    spoilt = harness.decided(*(to_spoil(harness, status="RET", recipient=one) for one in people))
    write(kafka_settings, [spoil(one.value) for spoil, one in zip(spoils, spoilt, strict=True)])
    await ingest_all(harness, kafka_settings)
    for one in people:
        columns = await harness.columns("desired_status", "may_send", "action", recipient=one)
        assert columns == ("RET", False, "send")
        assert (await harness.permissions(one))[-2:] == [True, False]
    assert [one["closed"] for one in alerts(logged, "opt-out quarantined")] == [True] * len(people)
    await harness.drain(harness.opt_out)
    assert harness.iys.register() == dict.fromkeys(people, "RET")


@pytest.mark.broker
async def test_opt_out_without_a_usable_key_calls_a_person(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """Nothing can be closed where nobody knows whom it concerns; it stops nothing either."""
    (spoilt, good) = harness.decided(to_spoil(harness, status="RET"), ret(OTHER))
    values = {how: spoil(spoilt.value) for how, spoil in (KEYLESS | UNREADABLE).items()}
    values["truncated"] = values["truncated"][:40]
    write(kafka_settings, [*values.values(), good.value])
    await ingest_all(harness, kafka_settings)
    assert await harness.columns("desired_status", recipient=OTHER) == ("RET",)
    assert [one["closed"] for one in alerts(logged, "opt-out quarantined")] == [False]
    assert len(alerts(logged, "decision quarantined")) == len(UNREADABLE)


@pytest.mark.broker
async def test_too_much_poison_holds_back_the_opt_ins_of_its_partition_alone(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """Its opt-outs go on, and so do the other partitions; nothing is put aside before a person
    has looked. With a greater share, everything is read.
    """
    ruined, waiting, withdrawn, elsewhere = harness.decided(
        to_spoil(harness, recipient=a_phone(4)), onay(OTHER), ret(PHONE), onay(THIRD)
    )
    poison = POISON["truncated"](ruined.value)
    write(kafka_settings, [*[poison] * 150, waiting.value, withdrawn.value])
    write(kafka_settings, [elsewhere.value], partition=1)
    ingester = replace(harness.ingester, settings=kafka_settings)
    reader = await ingester.open()

    async def is_stored() -> bool:
        await reader.step(timedelta(seconds=0.2))
        return await harness.desired() == {PHONE: "RET", THIRD: "ONAY"}

    await until(is_stored)
    await reader.close()
    assert await harness.outbox("%-dlq", "DeadLetter") == []
    (alert,) = alerts(logged, "opt-ins paused")
    assert (alert["partition"], alert["source"]) == (0, CUSTOMER)
    trusted = replace(ingester, isolation=Isolation(DeadLetterBudget(share=1)))
    await ingest_all(harness, kafka_settings, trusted)
    assert await harness.columns("desired_status", recipient=OTHER) == ("ONAY",)
    assert len(await harness.outbox("%-dlq", "DeadLetter")) == 150
    assert len(await harness.ledger.fetch("SELECT key FROM history WHERE kind = 'decision'")) == 3


@pytest.mark.broker
async def test_fault_that_is_no_record_s_quarantines_nothing(
    harness: SinkHarness, kafka_settings: KafkaSettings, logged: list[EventDict]
):
    """It is raised, and nothing is passed over: the same records are stored when it is gone."""
    write(kafka_settings, [one.value for one in harness.decided(onay(PHONE), ret(OTHER))])
    ingester = replace(harness.ingester, settings=kafka_settings)
    for error in (
        LedgerUnavailableError("a restart"),
        ConcurrentChangeError("a deadlock"),
        LedgerFaultError("a table is missing"),
        RegistryError("the registry is away"),
        ConnectionResetError(),
    ):
        reader = await ingester.open()
        reader._write = failing = AsyncMock(side_effect=error)
        with pytest.raises(type(error)):
            await until(partial(reader.step, timedelta(seconds=0.2)))
        await reader.close()
        assert failing.await_count == 1, error
    assert alerts(logged, "decision quarantined") == []
    await ingest_all(harness, kafka_settings)
    assert await harness.columns("desired_status", recipient=OTHER) == ("RET",)


@pytest.mark.parametrize("status", ["ONAY", "RET"])
async def test_nul_in_any_text_stops_no_customer(harness: SinkHarness, status: str):
    """The event counts, without it; those of others beside it are stored."""
    at, people = harness.clock(), {a_phone(10 + n): name for n, name in enumerate(NUL)}

    def spoilt(event_id: str, status: str) -> list[ConsentEvent]:
        fields = {"event_id": event_id, "status": status}
        return [
            given_at(at, **{**fields, "recipient": one, name: NUL[name]})
            for one, name in people.items()
        ]

    await harness.ingest(*spoilt("spoilt", status), given_at(at, recipient=OTHER))
    rows = [await harness.row(one) for one in people]
    assert {row.desired_status for row in rows} == {status}
    assert await harness.columns("desired_status", recipient=OTHER) == ("ONAY",)
    texts = [f"{row.desired_event_id}{row.customer_id}{row.desired_origin_ref}" for row in rows]
    assert not any("\0" in text for text in texts)
    await harness.ingest(*spoilt("later", "RET"))
    assert {(await harness.row(one)).desired_status for one in people} == {"RET"}


async def test_nul_in_a_movement_stops_no_stream(harness: SinkHarness):
    """İYS's texts are read without it."""
    await harness.register_onay()
    harness.iys.citizen("RET", source="IYS_\0WEB")
    await harness.pull_and_ingest(Stream.IYS)
    assert (await harness.row(PHONE)).registered == "RET"


def a_decision(number: int) -> Mapping[str, Any]:
    """Return a valid decision of a number, half of them on opt-outs; none on a phone number."""
    event = an_admitted_event(
        event_id=f"hostile-{number}",
        type="EPOSTA",
        recipient=f"h{number}@example.com",
        status="RET" if number % 2 else "ONAY",
        origin_ref=f"form {number}",
    )
    return a_decision_record(decide(None, event), offset=number)


@pytest.mark.broker
@pytest.mark.timeout(180)
@pytest.mark.parametrize("share", [0.2, 1])
async def test_hostile_decisions_stop_no_opt_out(
    harness: SinkHarness, kafka_settings: KafkaSettings, share: float
):
    """With the usual budget and without a bound; afterwards the topic's opt-ins wait, or it is read
    to its end.
    """
    topic = kafka_settings.topics.decisions.name
    hostile = HostileRecords(harness.codec, "Decision", a_decision, seed=15)
    recipients = [a_phone(50_000 + number) for number in range(HOSTILE // EVERY)]
    opt_outs = iter(harness.decided(*map(ret, recipients)))
    producer = Producer({"bootstrap.servers": kafka_settings.bootstrap_servers, "linger.ms": 50})
    for number, value in enumerate(hostile.values(HOSTILE)):
        producer.produce(topic, value=value, partition=number % 2)
        if number % EVERY == 0:
            producer.produce(topic, value=next(opt_outs).value, partition=number // EVERY % 2)
        producer.poll(0)
    assert await asyncio.to_thread(producer.flush, 30) == 0
    isolation = Isolation(DeadLetterBudget(share=share))
    reader = await replace(harness.ingester, settings=kafka_settings, isolation=isolation).open()
    ends = await asyncio.to_thread(kafka.committed_ends, kafka_settings, topic)
    read = 0

    async def is_read() -> bool:
        nonlocal read
        read += await reader.step(timedelta(seconds=0.5))
        return read == sum(ends.values())

    await until(is_read, within=100)
    await reader.close()
    desired = await harness.desired()
    assert {one: desired.get(one) for one in recipients} == dict.fromkeys(recipients, "RET")
    positions = await harness.ledger.fetch("SELECT partition, next_offset FROM kafka_offsets")
    passed = {row["partition"]: row["next_offset"] for row in positions}
    waiting = {partition for partition, end in ends.items() if passed[partition] < end}
    assert waiting == isolation.paused == (set(ends) if share < 1 else set())
