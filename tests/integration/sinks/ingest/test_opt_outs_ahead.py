"""Opt-outs of the express lane are stored ahead of the decisions that stand before them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest

from izin.ledger.record import ConcurrentChangeError
from izin.runtime.process import cancel_all
from izin.runtime.settings import KafkaSettings
from izin.sinks.ingest import ingester
from izin.sinks.ingest.batch import BatchStorage
from izin.sinks.ingest.decision_reader import IncomingDecision
from izin.sinks.ingest.ingester import Ingester, OptOutsAhead, Reader
from tests.integration.sinks.ingest.test_bootstrap import ingesting
from tests.integration.sinks.ingest.test_isolation import write
from tests.integration.sinks.sink_harness import TOPIC, SinkHarness, a_phone, onay, ret, until
from tests.support.builders import PHONE
from tests.support.poison import POISON

pytestmark = [pytest.mark.database, pytest.mark.broker]

WAIT = timedelta(seconds=0.1)
MOST = 4


@dataclass
class Gate:
    """The store of an ingester, closed until it is opened."""

    ingester: Ingester
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, *batch: Any) -> int:  # noqa: ANN401  # what the store is given
        await self.opened.wait()
        return await self.ingester.store(*batch)


@asynccontextmanager
async def held_up(harness: SinkHarness, settings: KafkaSettings) -> AsyncIterator[Gate]:
    """Provide the gate of a reader that has more before it than it takes at once, and the search
    beside it.
    """
    ingester = replace(harness.ingester, settings=settings)
    gate = Gate(ingester)
    reader = await ingester.open()
    reader._write, reader._most = gate, MOST
    tasks = [
        asyncio.create_task(reader.run(WAIT)),
        asyncio.create_task(OptOutsAhead(ingester, reader).run()),
    ]
    try:
        yield gate
    finally:
        await cancel_all(tasks)
        await reader.close()


def by_express(
    settings: KafkaSettings, harness: SinkHarness, value: bytes, offset: int = 0
) -> bytes:
    """Return the decision in ``value`` as that on an event of the express lane."""
    decision = harness.codec.decode("Decision", value)
    decision |= {"topic": settings.topics.express.name, "offset": offset}
    return harness.codec.encode("Decision", decision)


async def recorded(harness: SinkHarness) -> list[bytes]:
    """Return the decisions that the history has."""
    rows = await harness.ledger.fetch("SELECT decision FROM history WHERE kind = 'decision'")
    return [row["decision"] for row in rows]


def noted_stores(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that gets the key of each decision that is stored."""
    stored: list[str] = []
    store = Ingester.store

    async def noted(
        self: Ingester,
        topic: str,
        topic_id: str,
        decisions: Sequence[IncomingDecision],
        *more: Any,  # noqa: ANN401  # what it does not look at
    ) -> int:
        stored.extend(one.key for one in decisions)
        return await store(self, topic, topic_id, decisions, *more)

    monkeypatch.setattr(Ingester, "store", noted)
    return stored


async def test_opt_out_is_stored_ahead_of_a_backlog(
    harness: SinkHarness, kafka_settings: KafkaSettings
):
    """In its turn it changes nothing: neither the row nor the history has it twice."""
    people = [a_phone(number) for number in range(2, 12)]
    decisions = harness.decided(onay(PHONE), *map(onay, people), ret(PHONE))
    values = [one.value for one in decisions]
    values[-1] = by_express(kafka_settings, harness, values[-1])
    write(kafka_settings, values)
    async with held_up(harness, kafka_settings) as gate:
        await harness.until_desired({PHONE: "RET"})
        assert len(await recorded(harness)) == 1
        gate.opened.set()

        async def is_read() -> bool:
            rows = await harness.ledger.fetch("SELECT sum(next_offset) AS read FROM kafka_offsets")
            return rows[0]["read"] == len(values)

        await until(is_read)
    assert await harness.desired() == dict.fromkeys(people, "ONAY") | {PHONE: "RET"}
    found = await recorded(harness)
    assert len(found) == len(set(found)) == len(values)


async def test_search_takes_what_was_published_with_the_bulk_in_its_turn(
    harness: SinkHarness, kafka_settings: KafkaSettings
):
    """Neither an opt-out of the other lane, nor an opt-in of this one, nor what is poison."""
    decisions = harness.decided(
        *(onay(a_phone(number)) for number in range(10, 20)),
        ret(a_phone(1)),
        onay(a_phone(2)),
        ret(a_phone(3)),
        ret(a_phone(4)),
    )
    values = [one.value for one in decisions]
    for place, offset in ((-3, 0), (-2, 1), (-1, 2)):
        values[place] = by_express(kafka_settings, harness, values[place], offset)
    values[-2] = POISON["truncated"](values[-2])
    write(kafka_settings, values)
    async with held_up(harness, kafka_settings):
        await harness.until_desired({a_phone(4): "RET"})


async def test_search_that_starts_again_passes_what_is_stored(
    harness: SinkHarness, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """Or a backlog of opt-outs would be stored again after each restart, and the new ones last."""
    decisions = harness.decided(*(ret(a_phone(number)) for number in range(8)))
    values = [
        by_express(kafka_settings, harness, one.value, offset)
        for offset, one in enumerate(decisions)
    ]
    stored = noted_stores(monkeypatch)
    write(kafka_settings, values[:6])
    for count in (6, 8):
        async with held_up(harness, kafka_settings):
            await harness.until_desired({a_phone(number): "RET" for number in range(count)})
        write(kafka_settings, values[6:] if count == 6 else [])
    assert len(stored) == len(set(stored)) == 8


async def test_new_owner_stores_opt_outs_before_its_first_batch(
    harness: SinkHarness, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """Its batches would have the database to themselves while the search opens."""
    decisions = harness.decided(*(onay(a_phone(number)) for number in range(20)), ret(a_phone(30)))
    values = [one.value for one in decisions]
    values[-1] = by_express(kafka_settings, harness, values[-1])
    write(kafka_settings, values)
    first = noted_stores(monkeypatch)
    async with ingesting(harness, kafka_settings):
        opt_ins = dict.fromkeys(map(a_phone, range(20)), "ONAY")
        await harness.until_desired(opt_ins | {a_phone(30): "RET"})
    assert first[0] == decisions[-1].key
    assert first.count(decisions[-1].key) == 2, "ahead, and in its turn"


async def test_reader_does_not_wait_for_a_search_that_hangs(
    harness: SinkHarness, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """A partition without a leader has no end that could be reached."""
    write(kafka_settings, [one.value for one in harness.decided(onay(PHONE))])
    monkeypatch.setattr(OptOutsAhead, "_search", lambda _: asyncio.Event().wait())
    monkeypatch.setattr(ingester, "HEAD_START", 0.1)
    async with ingesting(harness, kafka_settings):
        await harness.until_desired({PHONE: "ONAY"})


async def test_reader_is_behind_while_a_batch_is_being_stored(
    harness: SinkHarness, kafka_settings: KafkaSettings
):
    """However few there are: what holds it up may last."""
    (decision,) = harness.decided(ret(PHONE))
    write(kafka_settings, [by_express(kafka_settings, harness, decision.value)])
    async with held_up(harness, kafka_settings):
        await harness.until_desired({PHONE: "RET"})


async def test_reader_is_not_behind_where_it_keeps_up(
    harness: SinkHarness, kafka_settings: KafkaSettings
):
    """Nothing is read twice then."""
    write(kafka_settings, [one.value for one in harness.decided(onay(PHONE))])
    reader: Reader = await replace(harness.ingester, settings=kafka_settings).open()
    try:

        async def is_stored() -> bool:
            await reader.step(WAIT)
            assert not reader.is_behind
            return bool(await harness.desired())

        await until(is_stored)
    finally:
        await reader.close()


@pytest.mark.parametrize("is_other_process", [False, True])
async def test_opt_out_is_stored_while_its_opt_in_is(harness: SinkHarness, is_other_process: bool):
    """The reader has it in its batch, and neither of the two knows of the other's row."""
    people = [a_phone(number) for number in range(50)]
    opt_ins = harness.decided(*map(onay, people))
    opt_outs = harness.decided(*map(ret, people))
    one = harness.ingester
    other = harness.ingester if is_other_process else one
    await asyncio.gather(
        one.store(TOPIC, "topic", opt_ins, {}), other.store(TOPIC, "topic", opt_outs, {})
    )
    assert await harness.desired() == dict.fromkeys(people, "RET")
    assert len(await recorded(harness)) == 2 * len(people)


async def test_rows_that_others_keep_changing_end_the_batch(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Rather than try for ever, the ingester starts again from the ledger's offsets."""
    failing = AsyncMock(side_effect=ConcurrentChangeError("a deadlock"))
    monkeypatch.setattr(BatchStorage, "store", failing)
    with pytest.raises(ConcurrentChangeError):
        await harness.ingester.store(TOPIC, "topic", harness.decided(ret(PHONE)), {})
    assert failing.await_count == 3
