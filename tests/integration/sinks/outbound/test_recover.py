"""Whatever is cut off at any point is taken up: nothing is lost, and nothing is told twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from izin.consent.obligation import Registered
from izin.iys import CircuitState
from izin.iys.transport.circuit_breaker import CircuitBreakerPolicy
from izin.sinks.ledger import brands, claims, offsets, reads, submissions
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.submission import BATCH, SINGLE
from tests.integration.sinks.sink_harness import ACTIVE, TOPIC, House, a_phone, onay, ret
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def intended(house: House, recipients: list[str], kind: str) -> None:
    """Keep the intent to tell, as a process does that is killed before the call."""
    # Two movements of a key lie a second apart.
    house.passes(timedelta(seconds=1))
    dead = LeaseOwner(owner="7", lease=timedelta(hours=1), call_within=timedelta(seconds=5))
    async with house.ledger.transaction() as connection:
        first, now = await house.entry(recipients[0]), house.clock()
        values = {
            "brand_code": first.brand_code,
            "channel": first.channel,
            "status": first.desired_status,
            "registered": list(Registered),
            "now": now,
            "overdue": False,
            "size": len(recipients),
        }
        found = await claims.select_rows(connection, "claim", values)
        assert {one.recipient for one in found} == set(recipients)
        changes = UnitOfWork(house.tools.topic_messages, now=now)
        await claims.claim(connection, changes, ACTIVE, found, kind=kind, lease_owner=dead)
        await changes.write(connection)


async def test_an_intent_whose_process_died_before_the_call_is_told(house: House):
    """The lock of a dead process is free, so nobody waits for its lease to run out."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    await intended(house, [PHONE], SINGLE)
    assert not await house.scheduler.opt_out()
    assert await house.recovery(timedelta(0)).recover()
    assert (await house.entry()).state == "accepted"
    assert [one["status"] for one in house.twin.movements(PHONE)] == ["ONAY", "RET"]


async def test_a_living_process_keeps_what_it_tells(house: House):
    """What another process is just telling is not taken up."""
    await house.ingest(onay(PHONE))
    async with house.ledger.session() as connection:
        await connection.execute("SELECT pg_advisory_lock(29541, 7)")
        await intended(house, [PHONE], BATCH)
        assert not await house.recovery(timedelta(0)).recover()


async def test_a_single_add_that_lost_its_answer_is_not_told_twice(house: House):
    """İYS saved it and nobody heard: the same body gets the first transaction id again."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", drop="after")
    assert await house.scheduler.opt_out()
    assert (await house.entry()).state == "unknown"
    assert await house.recovery().recover()
    entry = await house.entry()
    assert (entry.state, entry.registered) == ("accepted", "RET")
    assert [one["status"] for one in house.twin.movements(PHONE)] == ["ONAY", "RET"]
    assert (house.twin.calls("addV2"), house.twin.calls("status")) == (1, 1)


@pytest.mark.parametrize("asked", [200, 429])
async def test_a_single_add_that_never_arrived_is_told_again(house: House, asked: int):
    """İYS, asked first, does not show it, or has been asked too much: the same body goes again."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", drop="before")
    if asked != 200:
        house.twin.weather("status", status=asked, code="H086")
    assert await house.scheduler.opt_out()
    assert await house.recovery().recover()
    assert (await house.entry()).state == "accepted"
    assert [one["status"] for one in house.twin.movements(PHONE)] == ["ONAY", "RET"]


async def test_a_lost_opt_out_that_may_not_be_asked_about_is_told_again(house: House):
    """Asked about every two seconds it would cost our address its standing; told again it is
    taken, or its answer says what stops, and it waits behind that.
    """
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", drop="before")
    assert await house.scheduler.opt_out()
    house.twin.weather("status", status=403, code="H353")
    house.twin.weather("addV2", status=403, code="H521")
    assert await house.recovery().recover()
    (stop,) = await standing.stops(house.ledger)
    assert (stop.code, (await house.entry()).state) == ("H521", "retryable")
    assert not await house.recovery().recover()
    assert house.twin.calls("status") == 1
    assert await house.scheduler.opt_out()
    assert house.twin.register() == {PHONE: "RET"}


async def test_nothing_is_told_again_while_iys_cannot_be_asked(house: House):
    """The question is put again later, and then the opt-out is told."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", drop="before")
    house.twin.weather("status", status=503, code="H192")
    assert await house.scheduler.opt_out()
    assert await house.recovery().recover()
    assert (await house.entry()).state == "unknown"
    assert not await house.recovery(timedelta(0)).recover()
    assert await house.recovery().recover()
    assert (await house.entry()).state == "accepted"


@pytest.mark.parametrize("is_taken", [False, True])
async def test_a_lease_is_looked_at_when_the_turn_has_come(house: House, *, is_taken: bool):
    """Who waited so long that the lease ran out renews it, or leaves the telling to whoever took
    it up meanwhile; either way it is told once.
    """
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))

    async def a_long_time() -> None:
        house.passes(timedelta(seconds=61))
        if is_taken:
            assert await other.recover()

    tools = replace(house.tools, lease_owner=replace(house.tools.lease_owner, owner="7"))
    other = replace(
        house.recovery(timedelta(0)), tools=tools, sender=replace(house.sender, tools=tools)
    )
    house.turns.meanwhile = a_long_time
    waited = len(house.turns.classes)
    assert await house.scheduler.opt_out()
    if not is_taken:
        # The turn that has come is used: giving it back, all could wait for one another for ever.
        assert len(house.turns.classes) == waited + 1
    assert (await house.entry()).state == "accepted"
    assert [one["status"] for one in house.twin.movements(PHONE)] == ["ONAY", "RET"]
    assert house.twin.calls("addV2") == 1


async def test_a_living_process_that_waits_long_keeps_what_it_tells(house: House):
    """Its leases are renewed meanwhile, so nobody takes up what it is about to tell."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    tools = replace(house.tools, lease_owner=replace(house.tools.lease_owner, owner="7"))
    other = replace(
        house.recovery(timedelta(0)), tools=tools, sender=replace(house.sender, tools=tools)
    )

    async def a_long_time() -> None:
        for _ in range(5):
            house.passes(timedelta(seconds=40))
            await house.tools.leases.renew(house.ledger, house.tools.lease_owner, house.clock())
            assert not await other.recover()

    house.turns.meanwhile = a_long_time
    async with house.ledger.session() as connection:
        alive = {"owner": int(house.ledger.owner)}
        await connection.execute("SELECT pg_advisory_lock(29541, %(owner)s)", alive)
        assert await house.scheduler.opt_out()
    assert (await house.entry()).state == "accepted"
    assert [one["status"] for one in house.twin.movements(PHONE)] == ["ONAY", "RET"]
    await house.tools.leases.renew(house.ledger, house.tools.lease_owner, house.clock())
    rows = await house.ledger.fetch("SELECT 1 FROM submissions WHERE lease_until IS NOT NULL")
    assert not rows


async def test_who_wakes_late_changes_nothing_of_what_another_tells(house: House):
    """A paused process finds its call lost; the submission stays with whoever took it up."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    await intended(house, [PHONE], SINGLE)
    zombie = LeaseOwner(owner="8", lease=timedelta(hours=1), call_within=timedelta(seconds=5))
    async with house.ledger.transaction() as connection:
        rows = await (await connection.execute("SELECT * FROM submissions")).fetchall()
        lost = await submissions.with_items(connection, rows[-1], ACTIVE)
        await submissions.lost(connection, lost, next_poll_at=house.clock(), lease_owner=zombie)
        await submissions.poll_later(
            connection, lost, next_poll_at=house.clock(), lease_owner=zombie
        )
        assert (
            await submissions.renew(connection, lost, now=house.clock(), lease_owner=zombie) is None
        )
        with pytest.raises(ConcurrentChangeError):
            await submissions.resend(connection, lost, now=house.clock(), lease_owner=zombie)
    rows = await house.ledger.fetch("SELECT state, lease_owner FROM submissions ORDER BY id")
    assert (rows[-1]["state"], rows[-1]["lease_owner"]) == ("intent", "7")


async def test_a_batch_that_lost_its_answer_is_not_told_twice(house: House):
    """The very same list is handed in again; what was saved succeeds with its first request."""
    people = [a_phone(number) for number in range(3)]
    await house.ingest(*(onay(person) for person in people))
    house.twin.weather("batchV2", drop="after")
    assert await house.scheduler.bulk()
    assert {(await house.entry(person)).state for person in people} == {"unknown"}
    assert await house.recovery().recover()
    house.results_are_due()
    assert await house.poller.settle()
    assert {(await house.entry(person)).state for person in people} == {"accepted"}
    assert [len(house.twin.movements(person)) for person in people] == [1, 1, 1]


async def test_what_is_no_longer_desired_is_not_told_again(house: House):
    """An ONAY lost on the way, and then an opt-out: the ONAY is read, never sent again."""
    await house.ingest(onay(PHONE, minutes=10))
    house.twin.weather("batchV2", drop="before")
    assert await house.scheduler.bulk()
    await house.ingest(ret(PHONE, minutes=5))
    assert await house.recovery().recover()
    entry = await house.entry()
    assert entry.onay_open is False
    assert entry.registered == "NONE"
    assert entry.state == "not_needed"
    assert house.twin.movements(PHONE) == []


async def test_while_iys_is_away_nothing_is_claimed(house: House):
    """An outage costs tries, and no record is told in vain again and again; afterwards opt-outs
    go first.
    """
    await house.told_onay(a_phone(99))
    house.twin.weather("batchV2", drop="before", times=20)
    people = [a_phone(number) for number in range(30)]
    await house.ingest(*(onay(person) for person in people))
    one_by_one = replace(house.scheduler, batch_size=1)
    while await one_by_one.bulk():
        pass
    assert house.twin.calls("batchV2") == 1 + CircuitBreakerPolicy().opens_after
    assert house.tools.client.circuit_state("add_batch") is CircuitState.OPEN
    states = [(await house.entry(person)).state for person in people]
    assert states.count("pending") == 30 - CircuitBreakerPolicy().opens_after
    await house.ingest(ret(a_phone(99)))
    assert await house.scheduler.opt_out()
    assert house.twin.register() == {a_phone(99): "RET"}


async def test_an_answer_counts_once(house: House):
    """The same results asked for twice change nothing the second time."""
    await house.ingest(onay(PHONE))
    await house.scheduler.bulk()
    house.results_are_due()
    await house.poller.settle()
    before = await house.outcomes()
    await house.ledger.fetch(
        "UPDATE submissions SET state = 'awaiting_result', next_poll_at = now() RETURNING id"
    )
    await house.poller.settle()
    assert await house.outcomes() == before


async def test_a_rewind_changes_nothing(house: House):
    """Decisions read again leave rows, history and outbox as they were."""
    reads = await house.ingest(onay(PHONE), ret(PHONE), onay(a_phone(2)))
    before = await counted(house)
    await house.ledger.fetch("UPDATE kafka_offsets SET next_offset = 0 RETURNING topic")
    await house.ingester.keep(TOPIC, "topic", reads, {0: (0, house.offset)})
    assert await counted(house) == before


async def test_a_second_ingester_is_refused(house: House):
    """Offsets move by compare-and-set: who read from an older place changes nothing at all."""
    reads = await house.ingest(onay(PHONE))
    before = await counted(house)
    with pytest.raises(ConcurrentChangeError):
        await house.ingester.keep(TOPIC, "topic", reads, {0: (0, 1)})
    assert await counted(house) == before
    found = await offsets.positions(
        house.ledger, TOPIC, [0], cluster_id="cluster", topic_id="topic"
    )
    assert found == {0: 1}


async def test_an_unknown_brand_parks_and_goes_on_when_it_is_known(house: House):
    """Nothing is dropped for a brand nobody has described yet."""
    stranger = onay(PHONE, brand_code=999_999)
    await house.ingest(stranger)
    rows = await house.ledger.fetch("SELECT state, reason FROM consents")
    assert [(row["state"], row["reason"]) for row in rows] == [("parked", "unknown-brand")]
    (kept,) = (await reads.history(house.ledger, PHONE)).entries
    assert kept.brand_code == 999_999
    await brands.upsert(
        house.ledger,
        house.tools.topic_messages,
        replace(ACTIVE, brand_code=999_999),
        now=datetime.now(UTC),
    )
    rows = await house.ledger.fetch("SELECT state, due_at IS NOT NULL AS due FROM consents")
    assert [(row["state"], row["due"]) for row in rows] == [("pending", True)]


async def counted(house: House) -> list[tuple[int, int, int]]:
    """Return how many rows there are of what ingesting writes, and how the consents stand."""
    rows = await house.ledger.fetch(
        """SELECT (SELECT count(*) FROM movements) AS m, (SELECT count(*) FROM outbox) AS o,
        (SELECT count(*) FROM consents WHERE state = 'pending') AS c"""
    )
    return [(row["m"], row["o"], row["c"]) for row in rows]
