"""A record that the ledger cannot take is put aside, alone; what is behind it goes on.

What no database takes does not reach it, and stops nobody.
Many hostile records: none ends the ingester, and every opt-out among them arrives.
Opt-outs of the express lane are stored ahead of the decisions that stand before them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest
from structlog.typing import EventDict

from izin.consent import ConsentEvent, decide
from izin.iys.wire_format import Stream
from izin.kafka import clients
from izin.ledger.record import ConcurrentChangeError, LedgerFaultError, LedgerUnavailableError
from izin.runtime.dead_letter_budget import DeadLetterBudget
from izin.runtime.errors import RegistryError
from izin.runtime.process import cancel_all
from izin.runtime.settings import KafkaSettings
from izin.sinks.ingest import ingester
from izin.sinks.ingest.batch import BatchStorage
from izin.sinks.ingest.decision_reader import IncomingDecision
from izin.sinks.ingest.ingester import Ingester, OptOutsAhead, Reader
from izin.sinks.ingest.isolation import Isolation
from tests.integration.sinks.ingest.test_bootstrap import alerts, ingesting, write
from tests.integration.sinks.sink_harness import (
    TOPIC,
    SinkHarness,
    a_phone,
    given_at,
    onay,
    ret,
    until,
)
from tests.support.builders import CUSTOMER, PHONE, a_decision_record, an_admitted_event
from tests.support.hostile.inputs import HostileRecords
from tests.support.poison import KEYLESS, MARK, POISON, REFUSED, UNREADABLE

pytestmark = [pytest.mark.broker, pytest.mark.database]
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


async def ingest_all(
    harness: SinkHarness, settings: KafkaSettings, ingester: Ingester | None = None
) -> None:
    """Ingest the topic to its end, with a new ingester unless given."""
    ingester = ingester or replace(harness.ingester, settings=settings)
    ends = clients.committed_ends(settings, settings.topics.decisions.name)
    async with asyncio.timeout(60):
        reader = await ingester.open()
        while await positions(harness) != dict(ends):
            await reader.step(timedelta(seconds=0.2))
        await reader.close()


async def positions(harness: SinkHarness) -> dict[int, int]:
    """Return how far each partition is read."""
    rows = await harness.ledger.fetch("SELECT partition, next_offset FROM kafka_offsets")
    return {row["partition"]: row["next_offset"] for row in rows}


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

    async with asyncio.timeout(60):
        while await harness.desired() != {PHONE: "RET", THIRD: "ONAY"}:
            await reader.step(timedelta(seconds=0.2))
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
    values = list(hostile.values(HOSTILE))
    for number, one in enumerate(harness.decided(*map(ret, recipients))):
        values.insert(number * (EVERY + 1), one.value)
    for partition in (0, 1):
        await asyncio.to_thread(write, kafka_settings, values[partition::2], partition=partition)
    isolation = Isolation(DeadLetterBudget(share=share))
    reader = await replace(harness.ingester, settings=kafka_settings, isolation=isolation).open()
    ends = await asyncio.to_thread(clients.committed_ends, kafka_settings, topic)
    read = 0
    async with asyncio.timeout(100):
        while read < sum(ends.values()):
            read += await reader.step(timedelta(seconds=0.5))
    await reader.close()
    desired = await harness.desired()
    assert {one: desired.get(one) for one in recipients} == dict.fromkeys(recipients, "RET")
    passed = await positions(harness)
    waiting = {partition for partition, end in ends.items() if passed[partition] < end}
    assert waiting == isolation.paused == (set(ends) if share < 1 else set())


WAIT = timedelta(seconds=0.1)
MOST = 4


@dataclass
class Gate:
    """The store of an ingester, closed until it is opened."""

    ingester: Ingester
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, *batch: Any) -> None:  # noqa: ANN401  # what the store is given
        await self.opened.wait()
        await self.ingester.store(*batch)


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
        read = "SELECT FROM kafka_offsets HAVING sum(next_offset) = %(all)s"
        await until(lambda: harness.ledger.fetch(read, {"all": len(values)}))
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
    async with asyncio.timeout(60):
        while not await harness.desired():
            await reader.step(WAIT)
            assert not reader.is_behind
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
