"""A record that the ledger cannot take is put aside, alone; what is behind it goes on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from unittest.mock import AsyncMock

import pytest
from confluent_kafka import Producer
from structlog.typing import EventDict

from izin.consent.model import ConsentEvent
from izin.runtime import kafka
from izin.runtime.dead_letter_budget import DeadLetterBudget
from izin.runtime.errors import RegistryError
from izin.runtime.settings import KafkaSettings
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ingest.isolation import Isolation
from izin.sinks.record.errors import (
    ConcurrentChangeError,
    LedgerFaultError,
    LedgerUnavailableError,
)
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, given_at, onay, ret, until
from tests.support.builders import CUSTOMER, PHONE
from tests.support.poison import KEYLESS, MARK, POISON, REFUSED, UNREADABLE

pytestmark = [pytest.mark.database, pytest.mark.broker]

OTHER, THIRD = a_phone(2), a_phone(3)


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


@pytest.mark.parametrize("how", POISON)
async def test_poison_among_good_records_is_dead_lettered_alone(
    harness: SinkHarness, kafka_settings: KafkaSettings, how: str, logged: list[EventDict]
):
    """Its bytes and coordinates are kept; it is read once, by no later ingester again."""
    first, spoilt, second, withdrawn = harness.decided(
        onay(PHONE), to_spoil(harness, recipient=OTHER), onay(THIRD), ret(PHONE)
    )
    poison = POISON[how](spoilt.value)
    write(kafka_settings, [first.value, poison, second.value, withdrawn.value])
    await ingest_all(harness, kafka_settings)
    assert await harness.columns("desired_status") == ("RET",)
    assert await harness.columns("desired_status", recipient=THIRD) == ("ONAY",)
    (letter,) = await harness.outbox("%-dlq", "DeadLetter")
    assert letter["value"] == poison
    place = letter["topic"], letter["partition"], letter["offset"]
    assert place == (kafka_settings.topics.decisions.name, 0, 1)
    assert len(alerts(logged, "decision quarantined")) == 1
    await ingest_all(harness, kafka_settings)
    assert len(await harness.outbox("%-dlq", "DeadLetter")) == 1


@pytest.mark.parametrize("how", [*REFUSED, "truncated"])
async def test_opt_out_that_is_poison_closes_its_key(
    harness: SinkHarness, kafka_settings: KafkaSettings, how: str, logged: list[EventDict]
):
    """What can be read of it is enough to stop messages, and to withdraw the consent at İYS."""
    await harness.register_onay()
    assert (await harness.permissions())[-1] is True
    await harness.ledger.fetch("DELETE FROM kafka_offsets RETURNING topic")
    (spoilt,) = harness.decided(to_spoil(harness, status="RET"))
    write(kafka_settings, [POISON[how](spoilt.value)])
    await ingest_all(harness, kafka_settings)
    assert await harness.columns("desired_status", "may_send", "action") == ("RET", False, "send")
    assert (await harness.permissions())[-1] is False
    assert len(await harness.outbox("%-dlq", "DeadLetter")) == 1
    (alert,) = alerts(logged, "opt-out quarantined")
    assert alert["closed"] is True
    assert await harness.opt_out()
    assert harness.iys.register()[PHONE] == "RET"


@pytest.mark.parametrize("how", [*KEYLESS, *UNREADABLE])
async def test_opt_out_without_a_usable_key_calls_a_person(
    harness: SinkHarness, kafka_settings: KafkaSettings, how: str, logged: list[EventDict]
):
    """Nothing can be closed where nobody knows whom it concerns; it stops nothing either."""
    (spoilt, good) = harness.decided(to_spoil(harness, status="RET"), ret(OTHER))
    value = POISON[how](spoilt.value)
    write(kafka_settings, [value[:40] if how == "truncated" else value, good.value])
    await ingest_all(harness, kafka_settings)
    assert await harness.columns("desired_status", recipient=OTHER) == ("RET",)
    assert len(await harness.outbox("%-dlq", "DeadLetter")) == 1
    found = [*alerts(logged, "opt-out quarantined"), *alerts(logged, "decision quarantined")]
    assert len(found) == 1
    if how in KEYLESS:
        assert found[0]["event"] == "opt-out quarantined"
        assert found[0]["closed"] is False


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
        rows = await harness.ledger.fetch("SELECT key FROM consents")
        return len(rows) == 2

    await until(is_stored)
    await reader.close()
    assert await harness.columns("desired_status") == ("RET",)
    assert await harness.columns("desired_status", recipient=THIRD) == ("ONAY",)
    assert await harness.outbox("%-dlq", "DeadLetter") == []
    (alert,) = alerts(logged, "opt-ins paused")
    assert (alert["partition"], alert["source"]) == (0, CUSTOMER)
    trusted = replace(ingester, isolation=Isolation(DeadLetterBudget(share=1)))
    await ingest_all(harness, kafka_settings, trusted)
    assert await harness.columns("desired_status", recipient=OTHER) == ("ONAY",)
    assert len(await harness.outbox("%-dlq", "DeadLetter")) == 150
    decided = await harness.ledger.fetch("SELECT key FROM movements WHERE kind = 'decision'")
    assert len(decided) == 3


@pytest.mark.parametrize(
    "error",
    [
        LedgerUnavailableError("a restart"),
        ConcurrentChangeError("a deadlock"),
        LedgerFaultError("a table is missing"),
        RegistryError("the registry is away"),
        ConnectionResetError(),
    ],
)
async def test_fault_that_is_no_record_s_quarantines_nothing(
    harness: SinkHarness, kafka_settings: KafkaSettings, error: Exception, logged: list[EventDict]
):
    """It is raised, and nothing is passed over: the same records are stored when it is gone."""
    write(kafka_settings, [one.value for one in harness.decided(onay(PHONE), ret(OTHER))])
    ingester = replace(harness.ingester, settings=kafka_settings)
    reader = await ingester.open()
    failing = AsyncMock(side_effect=error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_write", failing)
        with pytest.raises(type(error)):
            await until(partial(reader.step, timedelta(seconds=0.2)))
    await reader.close()
    assert failing.await_count == 1
    assert alerts(logged, "decision quarantined") == []
    await ingest_all(harness, kafka_settings)
    assert await harness.columns("desired_status", recipient=OTHER) == ("RET",)
    assert await harness.outbox("%-dlq", "DeadLetter") == []
