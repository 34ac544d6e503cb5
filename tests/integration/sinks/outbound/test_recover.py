"""Whatever is cut off at any point is taken up: nothing is lost, and nothing is told twice."""

from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent.obligation import Registered
from izin.iys import CircuitState
from izin.iys.transport.circuit_breaker import CircuitBreakerPolicy
from izin.sinks.ledger import claims, offsets, reads, submissions
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.submission import BATCH, SINGLE
from tests.integration.sinks.sink_harness import ACTIVE, TOPIC, SinkHarness, a_phone, onay, ret
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def intended(harness: SinkHarness, recipients: list[str], kind: str) -> None:
    """Keep the intent to tell, as a process does that is killed before the call."""
    # Two movements of a key lie a second apart.
    harness.advance(timedelta(seconds=1))
    dead = LeaseOwner(owner="7", lease=timedelta(hours=1), call_within=timedelta(seconds=5))
    async with harness.ledger.transaction() as connection:
        first, now = await harness.row(recipients[0]), harness.clock()
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
        changes = UnitOfWork(harness.tools.topic_messages, now=now)
        await claims.claim(connection, changes, ACTIVE, found, kind=kind, lease_owner=dead)
        await changes.write(connection)


async def test_an_intent_whose_process_died_before_the_call_is_told(harness: SinkHarness):
    """The lock of a dead process is free, so nobody waits for its lease to run out."""
    await harness.ingest_opt_out()
    await intended(harness, [PHONE], SINGLE)
    assert not await harness.opt_out()
    assert await harness.recover_now()
    assert (await harness.row()).state == "accepted"
    assert harness.iys.movements() == ["ONAY", "RET"]


async def test_a_living_process_keeps_what_it_tells(harness: SinkHarness):
    """What another process is just telling is not taken up."""
    await harness.ingest(onay())
    async with harness.ledger.session() as connection:
        await connection.execute("SELECT pg_advisory_lock(29541, 7)")
        await intended(harness, [PHONE], BATCH)
        assert not await harness.recover_now()


async def test_a_single_add_that_lost_its_answer_is_not_told_twice(harness: SinkHarness):
    """İYS saved it and nobody heard: the same body gets the first transaction id again."""
    await harness.lose_opt_out("after")
    assert await harness.recover()
    assert await harness.columns("state", "registered") == ("accepted", "RET")
    assert harness.iys.movements() == ["ONAY", "RET"]
    assert (harness.iys.calls("addV2"), harness.iys.calls("status")) == (1, 1)


@pytest.mark.parametrize("asked", [200, 429])
async def test_a_single_add_that_never_arrived_is_told_again(harness: SinkHarness, asked: int):
    """İYS, asked first, does not show it, or has been asked too much: the same body goes again."""
    await harness.lose_opt_out()
    if asked != 200:
        harness.iys.inject_fault("status", status=asked, code="H086")
    assert await harness.recover()
    assert (await harness.row()).state == "accepted"
    assert harness.iys.movements() == ["ONAY", "RET"]


async def test_a_lost_opt_out_that_may_not_be_asked_about_is_told_again(harness: SinkHarness):
    """Asked about every two seconds it would cost our address its standing; told again it is
    taken, or its answer says what stops, and it waits behind that.
    """
    await harness.lose_opt_out()
    harness.iys.inject_fault("status", status=403, code="H353")
    harness.iys.inject_fault("addV2", status=403, code="H521")
    assert await harness.recover()
    (stop,) = await harness.suspensions()
    assert (stop.code, (await harness.row()).state) == ("H521", "retryable")
    assert not await harness.recover()
    assert harness.iys.calls("status") == 1
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


async def test_nothing_is_told_again_while_iys_cannot_be_asked(harness: SinkHarness):
    """The question is put again later, and then the opt-out is told."""
    await harness.lose_opt_out()
    harness.iys.inject_fault("status", status=503, code="H192")
    assert await harness.recover()
    assert (await harness.row()).state == "unknown"
    assert not await harness.recover_now()
    assert await harness.recover()
    assert (await harness.row()).state == "accepted"


@pytest.mark.parametrize("is_taken", [False, True])
async def test_a_lease_is_looked_at_when_the_turn_has_come(harness: SinkHarness, *, is_taken: bool):
    """Who waited so long that the lease ran out renews it, or leaves the telling to whoever took
    it up meanwhile; either way it is told once.
    """
    await harness.ingest_opt_out()

    async def a_long_time() -> None:
        harness.advance(timedelta(seconds=61))
        if is_taken:
            assert await other.recover()

    other = harness.other_worker()
    harness.pacer.meanwhile = a_long_time
    waited = len(harness.pacer.classes)
    assert await harness.opt_out()
    if not is_taken:
        # The turn that has come is used: giving it back, all could wait for one another for ever.
        assert len(harness.pacer.classes) == waited + 1
    assert (await harness.row()).state == "accepted"
    assert harness.iys.movements() == ["ONAY", "RET"]
    assert harness.iys.calls("addV2") == 1


async def test_a_living_process_that_waits_long_keeps_what_it_tells(harness: SinkHarness):
    """Its leases are renewed meanwhile, so nobody takes up what it is about to tell."""
    await harness.ingest_opt_out()
    other = harness.other_worker()

    async def a_long_time() -> None:
        for _ in range(5):
            harness.advance(timedelta(seconds=40))
            await harness.tools.leases.renew(
                harness.ledger, harness.tools.lease_owner, harness.clock()
            )
            assert not await other.recover()

    harness.pacer.meanwhile = a_long_time
    async with harness.ledger.session() as connection:
        alive = {"owner": int(harness.ledger.owner)}
        await connection.execute("SELECT pg_advisory_lock(29541, %(owner)s)", alive)
        assert await harness.opt_out()
    assert (await harness.row()).state == "accepted"
    assert harness.iys.movements() == ["ONAY", "RET"]
    await harness.tools.leases.renew(harness.ledger, harness.tools.lease_owner, harness.clock())
    rows = await harness.ledger.fetch("SELECT 1 FROM submissions WHERE lease_until IS NOT NULL")
    assert not rows


async def test_who_wakes_late_changes_nothing_of_what_another_tells(harness: SinkHarness):
    """A paused process finds its call lost; the submission stays with whoever took it up."""
    await harness.ingest_opt_out()
    await intended(harness, [PHONE], SINGLE)
    zombie = LeaseOwner(owner="8", lease=timedelta(hours=1), call_within=timedelta(seconds=5))
    async with harness.ledger.transaction() as connection:
        rows = await (await connection.execute("SELECT * FROM submissions")).fetchall()
        lost = await submissions.with_items(connection, rows[-1], ACTIVE)
        await submissions.lost(connection, lost, next_poll_at=harness.clock(), lease_owner=zombie)
        await submissions.poll_later(
            connection, lost, next_poll_at=harness.clock(), lease_owner=zombie
        )
        assert (
            await submissions.renew(connection, lost, now=harness.clock(), lease_owner=zombie)
            is None
        )
        with pytest.raises(ConcurrentChangeError):
            await submissions.resend(connection, lost, now=harness.clock(), lease_owner=zombie)
    rows = await harness.ledger.fetch("SELECT state, lease_owner FROM submissions ORDER BY id")
    assert (rows[-1]["state"], rows[-1]["lease_owner"]) == ("intent", "7")


async def test_a_batch_that_lost_its_answer_is_not_told_twice(harness: SinkHarness):
    """The very same list is handed in again; what was saved succeeds with its first request."""
    people = await harness.ingest_for(onay, range(3))
    await harness.lose_batch("after")
    assert set(await harness.states_of(people)) == {"unknown"}
    assert await harness.recover()
    assert await harness.settle()
    assert set(await harness.states_of(people)) == {"accepted"}
    assert [len(harness.iys.movements(person)) for person in people] == [1, 1, 1]


async def test_what_is_no_longer_desired_is_not_told_again(harness: SinkHarness):
    """An ONAY lost on the way, and then an opt-out: the ONAY is read, never sent again."""
    await harness.ingest(onay(minutes=10))
    await harness.lose_batch()
    await harness.ingest(ret(minutes=5))
    assert await harness.recover()
    assert await harness.columns("onay_open", "registered", "state") == (
        False,
        "NONE",
        "not_needed",
    )
    assert harness.iys.movements() == []


async def test_while_iys_is_away_nothing_is_claimed(harness: SinkHarness):
    """An outage costs tries, and no record is told in vain again and again; afterwards opt-outs
    go first.
    """
    await harness.register_onay(a_phone(99))
    harness.iys.inject_fault("batchV2", drop="before", times=20)
    people = await harness.ingest_for(onay, range(30))
    one_by_one = replace(harness.scheduler, batch_size=1)
    while await one_by_one.bulk():
        pass
    assert harness.iys.calls("batchV2") == 1 + CircuitBreakerPolicy().opens_after
    assert harness.tools.client.circuit_state("add_batch") is CircuitState.OPEN
    states = await harness.states_of(people)
    assert states.count("pending") == 30 - CircuitBreakerPolicy().opens_after
    await harness.ingest(ret(a_phone(99)))
    assert await harness.opt_out()
    assert harness.iys.register() == {a_phone(99): "RET"}


async def test_an_answer_counts_once(harness: SinkHarness):
    """The same results asked for twice change nothing the second time."""
    await harness.ingest(onay())
    await harness.bulk()
    await harness.settle()
    before = await harness.outcomes()
    await harness.ledger.fetch(
        "UPDATE submissions SET state = 'awaiting_result', next_poll_at = now() RETURNING id"
    )
    await harness.poller.settle()
    assert await harness.outcomes() == before


async def test_a_rewind_changes_nothing(harness: SinkHarness):
    """Decisions read again leave rows, history and outbox as they were."""
    reads = await harness.ingest(onay(), ret(), onay(a_phone(2)))
    before = await counted(harness)
    await harness.ledger.fetch("UPDATE kafka_offsets SET next_offset = 0 RETURNING topic")
    await harness.ingester.keep(TOPIC, "topic", reads, {0: (0, harness.offset)})
    assert await counted(harness) == before


async def test_a_second_ingester_is_refused(harness: SinkHarness):
    """Offsets move by compare-and-set: who read from an older place changes nothing at all."""
    reads = await harness.ingest(onay())
    before = await counted(harness)
    with pytest.raises(ConcurrentChangeError):
        await harness.ingester.keep(TOPIC, "topic", reads, {0: (0, 1)})
    assert await counted(harness) == before
    found = await offsets.positions(
        harness.ledger, TOPIC, [0], cluster_id="cluster", topic_id="topic"
    )
    assert found == {0: 1}


async def test_an_unknown_brand_parks_and_goes_on_when_it_is_known(harness: SinkHarness):
    """Nothing is dropped for a brand nobody has described yet."""
    await harness.ingest(onay(brand_code=999_999))
    (kept,) = (await reads.history(harness.ledger, PHONE)).entries
    assert (kept.brand_code, kept.state, kept.reason) == (999_999, "parked", "unknown-brand")
    await harness.brand(replace(ACTIVE, brand_code=999_999))
    (kept,) = (await reads.history(harness.ledger, PHONE)).entries
    assert (kept.state, kept.due_at is None) == ("pending", False)


async def counted(harness: SinkHarness) -> list[tuple[int, int, int]]:
    """Return how many rows there are of what ingesting writes, and how the consents stand."""
    rows = await harness.ledger.fetch(
        """SELECT (SELECT count(*) FROM movements) AS m, (SELECT count(*) FROM outbox) AS o,
        (SELECT count(*) FROM consents WHERE state = 'pending') AS c"""
    )
    return [(row["m"], row["o"], row["c"]) for row in rows]
