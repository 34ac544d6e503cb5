"""Whatever is interrupted is recovered: nothing is lost, and nothing is sent twice."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest

from izin.consent import Action
from izin.iys.rate_limit import CircuitBreakerPolicy
from izin.ledger import offsets, submissions
from izin.ledger.db import Connection
from izin.ledger.record import (
    BATCH,
    SINGLE,
    ConcurrentChangeError,
    Item,
    LeaseOwner,
    LedgerUnavailableError,
    Submission,
)
from izin.sinks.outbound.recover import LostItems
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    OTHER,
    RESULT_DELAY,
    TOPIC,
    SinkHarness,
    a_phone,
    onay,
    ret,
)
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def store_intent(harness: SinkHarness, recipients: list[str], kind: str) -> None:
    """Store the intent to submit, as a worker does that is killed before the call."""
    # Two movements of a key are a second apart.
    harness.advance(timedelta(seconds=1))
    dead = LeaseOwner(owner=OTHER, lease=timedelta(hours=1), call_within=timedelta(seconds=5))
    async with harness.context.changes() as changes:
        connection, now = changes.connection, changes.now
        first = await harness.row(recipients[0])
        values = {
            "brand_code": first.brand_code,
            "channel": first.channel,
            "status": first.desired_status,
            "of_onay": None,
            "now": now,
            "overdue": False,
            "size": len(recipients),
        }
        found = await submissions.select_rows(connection, "claim", values)
        assert {one.recipient for one in found} == set(recipients)
        await submissions.claim(changes, ACTIVE, found, kind=kind, lease_owner=dead)


async def last_submission(connection: Connection) -> Submission:
    """Return the submission that was stored last."""
    rows = await (await connection.execute("SELECT * FROM submissions")).fetchall()
    return await submissions.with_items(connection, rows[-1], ACTIVE)


@pytest.fixture
async def opt_out(harness: SinkHarness) -> None:
    """Have an opt-out that is to be submitted."""
    await harness.ingest_opt_out()


@pytest.fixture
async def lost_opt_out(harness: SinkHarness) -> None:
    """Have an opt-out whose answer was lost."""
    await harness.lose_opt_out()


@pytest.mark.usefixtures("opt_out")
async def test_opt_out_is_recovered_while_a_batch_waits_for_its_call(harness: SinkHarness):
    """Bulk that a dead worker has left waits for İYS's limit; an opt-out does not wait for it."""
    bulk = await harness.ingest_for(onay, range(20, 23))
    await store_intent(harness, bulk, BATCH)
    assert not await harness.recovery.recover(opt_outs_only=True)

    async def meanwhile() -> None:
        await store_intent(harness, [PHONE], SINGLE)
        assert await harness.recovery.recover(opt_outs_only=True)
        assert harness.iys.movements() == ["ONAY", "RET"]

    harness.pacer.meanwhile = meanwhile
    assert await harness.recover_now()
    assert await harness.states_of(bulk) == ["awaiting_result"] * 3


@pytest.mark.usefixtures("opt_out")
async def test_opt_out_waits_for_no_opt_in_that_was_never_sent(harness: SinkHarness):
    """İYS shows the last opt-out, and bulk that a dead worker has left has the next opt-in."""
    assert await harness.opt_out()
    bulk = await harness.ingest_for(partial(onay, minutes=3), [*range(20, 23)])
    await harness.ingest(onay(PHONE, minutes=3))
    await store_intent(harness, [*bulk, PHONE], BATCH)
    await harness.ingest(ret(PHONE, minutes=2))
    harness.pacer.meanwhile = no_slot = AsyncMock()
    assert not await harness.recovery.recover(opt_outs_only=True)
    assert await harness.recovery.free_opt_ins()
    assert await harness.columns("state", "onay_open") == ("not_needed", False)
    assert no_slot.await_count == 0, "the loop of opt-outs waits for a call of bulk"
    harness.pacer.meanwhile = None
    assert await harness.recover_now()
    assert await harness.states_of(bulk) == ["awaiting_result"] * 3
    assert harness.iys.movements() == ["ONAY", "RET"]


@pytest.mark.parametrize("others", [range(20, 23), range(0)], ids=["of a batch", "alone"])
@pytest.mark.usefixtures("opt_out")
async def test_opt_out_waits_for_no_opt_in_whose_call_waits(harness: SinkHarness, others: range):
    """A living worker has it, and sends the batch without it once its slot comes. One that is freed
    whole is settled: whoever was about to send it has nothing left.
    """
    assert await harness.opt_out()
    bulk = await harness.ingest_for(partial(onay, minutes=3), others)
    await harness.ingest(onay(PHONE, minutes=3))

    async def opt_out() -> None:
        await harness.ingest(ret(PHONE, minutes=2))
        assert (await harness.row()).action is Action.WAIT
        assert await harness.recovery.free_opt_ins()
        assert await harness.columns("state", "onay_open") == ("not_needed", False)

    harness.pacer.meanwhile = opt_out
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == 1 + bool(bulk)
    assert await harness.states_of(bulk) == ["awaiting_result"] * len(bulk)
    assert await harness.settle() is bool(bulk)
    assert harness.iys.movements() == ["ONAY", "RET"]
    assert not await harness.ledger.fetch("SELECT 1 FROM submissions WHERE state <> 'settled'")


async def test_recovery_of_opt_outs_sends_no_bulk(harness: SinkHarness):
    """What is left of a lost batch waits for its slot; the next opt-out does not wait behind it."""
    await harness.register(onay(a_phone(5), minutes=40))
    await harness.submit_opt_out(ret(a_phone(5), minutes=30))
    people = await harness.ingest_for(onay, [*range(10, 13), 5])
    await harness.lose_batch()
    await harness.ingest(ret(a_phone(5)))
    harness.advance(RESULT_DELAY * 2)
    calls = harness.iys.calls("batchV2")
    assert await harness.recovery.recover(opt_outs_only=True)
    assert harness.iys.calls("batchV2") == calls
    assert await harness.recover_now()
    assert harness.iys.calls("batchV2") == calls + 1
    assert await harness.settle()
    assert await harness.states_of(people) == [*["accepted"] * 3, "not_needed"]


@pytest.mark.usefixtures("opt_out")
async def test_nothing_is_freed_once_the_call_is_noted(harness: SinkHarness):
    """It may be on its way."""
    assert await harness.opt_out()
    await harness.ingest(onay(PHONE, minutes=3))

    async def opt_out() -> None:
        await harness.ingest(ret(PHONE, minutes=2))
        assert not await harness.recovery.free_opt_ins()
        assert (await harness.row()).action is Action.WAIT

    harness.pacer.at_slot = opt_out
    assert await harness.bulk()
    assert harness.pacer.at_slot is None


@pytest.mark.parametrize(
    ("drop", "fault", "calls"),
    [
        ("after", {}, (1, 1)),
        ("before", {}, (2, 1)),
        ("before", {"status": 429, "code": "H086"}, (2, 1)),
        ("before", {"status": 503, "code": "H192"}, (2, 2)),
    ],
    ids=["saved", "never arrived", "query refused", "query not answered"],
)
async def test_lost_opt_in_is_saved_once(
    harness: SinkHarness, drop: str, fault: dict[str, object], calls: tuple[int, int]
):
    """İYS is queried, and may show that it saved the record. Where it does not, or refuses the
    query, the same body goes again; while it answers no query, none is sent.
    """
    await harness.ingest(onay())
    await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=30))
    harness.iys.inject_fault("addV2", drop=drop)
    assert await harness.scheduler.last_hour()
    if fault:
        harness.iys.inject_fault("status", **fault)
    for _ in range(calls[1]):
        assert await harness.recover(A_SECOND * 5)
    assert await harness.columns("state", "registered") == ("accepted", "ONAY")
    assert harness.iys.movements() == ["ONAY"]
    assert (harness.iys.calls("addV2"), harness.iys.calls("status")) == calls


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_lost_opt_out_is_sent_again_without_a_query(harness: SinkHarness, drop: str):
    """The same body has no second effect, and a query may be lost too."""
    await harness.lose_opt_out(drop)
    assert await harness.recover()
    assert await harness.columns("state", "registered") == ("accepted", "RET")
    assert harness.iys.movements() == ["ONAY", "RET"]
    assert (harness.iys.calls("addV2"), harness.iys.calls("status")) == (2, 0)


@pytest.mark.usefixtures("lost_opt_out")
async def test_reply_to_a_resent_opt_out_shows_what_suspends_its_brand(harness: SinkHarness):
    """The opt-out waits for the suspension to end, and is then submitted."""
    await harness.meet_fault("addV2", harness.recover, status=403, code="H521")
    (suspension,) = await harness.suspensions()
    assert (suspension.code, (await harness.row()).state) == ("H521", "retryable")
    assert not await harness.recover()
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


@pytest.mark.usefixtures("lost_opt_out")
async def test_lost_opt_out_is_sent_again_while_the_circuit_of_queries_is_open(
    harness: SinkHarness,
):
    """İYS answers no queries, but single adds."""
    harness.advance(A_SECOND * 2)
    exchange = harness.context.client
    for _ in range(CircuitBreakerPolicy().opens_after):
        exchange.breakers.busy("status", exchange._clock())
    assert not await harness.recovery.recover()
    assert await harness.recovery.recover(opt_outs_only=True)
    assert (await harness.row()).state == "accepted"


@pytest.mark.parametrize(
    ("is_alone", "who"), [(False, "another"), (False, "itself"), (True, "itself")]
)
@pytest.mark.usefixtures("lost_opt_out")
async def test_lost_opt_out_is_recovered_by_others_first(
    harness: SinkHarness, *, is_alone: bool, who: str
):
    """After a second where there is no other process, else after three: the network to İYS may be
    silent for the process that lost it.
    """
    harness.advance(A_SECOND)
    async with nullcontext() if is_alone else harness.living():
        assert await harness.recovery.recover(opt_outs_only=True) is is_alone
        if who == "another":
            assert await harness.other_worker().recover(opt_outs_only=True)
        harness.advance(A_SECOND * 2)
        assert await harness.recovery.recover(opt_outs_only=True) is (
            who == "itself" and not is_alone
        )
    assert (await harness.row()).state == "accepted"


@pytest.mark.usefixtures("lost_opt_out")
async def test_process_that_is_answered_nothing_leaves_opt_outs_to_others(harness: SinkHarness):
    """For two seconds, also those that others have lost."""
    await harness.ledger.fetch("UPDATE submissions SET lease_owner = '8' RETURNING 1")
    harness.advance(A_SECOND)
    harness.set_silence(is_silent=True)
    async with harness.living():
        assert not await harness.recovery.recover(opt_outs_only=True)
        harness.advance(A_SECOND * 2)
        assert await harness.recovery.recover(opt_outs_only=True)
    assert (await harness.row()).state == "accepted"
    assert harness.iys.calls("status") == 0


@pytest.mark.parametrize("is_alone", [False, True])
@pytest.mark.usefixtures("lost_opt_out")
async def test_opt_out_that_is_lost_again_is_left_to_others(
    harness: SinkHarness, *, is_alone: bool
):
    """The network of the process may be at fault; where there is no other, it tries again."""
    harness.advance(A_SECOND * 3)
    harness.iys.inject_fault("addV2", drop="before")
    async with nullcontext() if is_alone else harness.living():
        assert await harness.recovery.recover(opt_outs_only=True)
        harness.advance(A_SECOND * 2)
        assert await harness.recovery.recover(opt_outs_only=True) is is_alone
        if not is_alone:
            assert await harness.other_worker().recover(opt_outs_only=True)
    assert (await harness.row()).state == "accepted"


@pytest.mark.parametrize("sends", [1, 30])
@pytest.mark.usefixtures("lost_opt_out")
async def test_lost_opt_out_is_recovered_within_seconds(harness: SinkHarness, sends: int):
    """However often it was sent before: the circuit breaker bounds the calls of an outage."""
    await harness.ledger.fetch("UPDATE submissions SET sends = %(s)s RETURNING 1", {"s": sends})
    await harness.meet_fault("addV2", harness.recover, drop="before")
    assert await harness.recover(A_SECOND * 4)
    assert (await harness.row()).state == "accepted"


@pytest.mark.parametrize("is_taken", [False, True])
@pytest.mark.usefixtures("opt_out")
async def test_lease_is_checked_when_the_slot_opens(harness: SinkHarness, *, is_taken: bool):
    """A worker that waited until its lease ended renews it, or leaves the call to whoever
    recovered it; either way it is sent once.
    """

    async def wait_long() -> None:
        harness.advance(timedelta(seconds=61))
        if is_taken:
            assert await other.recover()

    other = harness.other_worker()
    harness.pacer.meanwhile = wait_long
    waited = len(harness.pacer.classes)
    assert await harness.opt_out()
    if not is_taken:
        # The slot is used: if it were returned, workers could wait for one another for ever.
        assert len(harness.pacer.classes) == waited + 1
    assert (harness.iys.movements(), harness.iys.calls("addV2")) == (["ONAY", "RET"], 1)


@pytest.mark.usefixtures("opt_out")
async def test_waiting_worker_renews_its_leases(harness: SinkHarness):
    """Nobody recovers what it is about to send."""
    other = harness.other_worker()

    async def wait_long() -> None:
        for _ in range(5):
            harness.advance(timedelta(seconds=40))
            await harness.context.leases.renew(
                harness.ledger, harness.context.lease_owner, harness.clock()
            )
            assert not await other.recover()

    harness.pacer.meanwhile = wait_long
    async with harness.living(harness.ledger.owner):
        assert await harness.opt_out()
    assert harness.iys.movements() == ["ONAY", "RET"]
    await harness.context.leases.renew(harness.ledger, harness.context.lease_owner, harness.clock())
    assert not await harness.ledger.fetch("SELECT 1 FROM submissions WHERE lease_until IS NOT NULL")


@pytest.mark.usefixtures("opt_out")
async def test_step_that_fails_releases_what_it_has_leased(harness: SinkHarness):
    """Every step fails when the ledger restarts: nobody waits for the lease of a living process."""
    harness.pacer.meanwhile = AsyncMock(side_effect=LedgerUnavailableError("restarting"))
    other = harness.other_worker()
    async with harness.living(harness.ledger.owner):
        with pytest.raises(LedgerUnavailableError):
            await harness.opt_out()
        assert not await other.recover(opt_outs_only=True)
        context = harness.context
        await context.leases.release(harness.ledger, context.lease_owner, harness.clock())
        assert await other.recover(opt_outs_only=True)
    assert (await harness.row()).state == "accepted"


@pytest.mark.usefixtures("opt_out")
async def test_lease_that_another_step_has_by_now_is_not_released(harness: SinkHarness):
    """The step that failed had let it expire."""
    await store_intent(harness, [PHONE], SINGLE)
    context = harness.context
    async with harness.ledger.transaction() as connection:
        submission = await last_submission(connection)
    await harness.ledger.fetch(
        "UPDATE submissions SET lease_owner = %(owner)s WHERE state = 'intent' RETURNING 1",
        {"owner": harness.ledger.owner},
    )
    with context.leases.renewing([submission]):
        with pytest.raises(RuntimeError), context.leases.renewing([submission]):
            raise RuntimeError("a step that fails")
        await context.leases.release(harness.ledger, context.lease_owner, harness.clock())
    await context.leases.release(harness.ledger, context.lease_owner, harness.clock())
    async with harness.living(harness.ledger.owner):
        assert not await harness.other_worker().recover(opt_outs_only=True)


@pytest.mark.usefixtures("opt_out")
async def test_late_worker_changes_nothing_of_another(harness: SinkHarness):
    """Its call is lost, and the submission stays with whoever recovered it."""
    await store_intent(harness, [PHONE], SINGLE)
    zombie = LeaseOwner(owner="8", lease=timedelta(hours=1), call_within=timedelta(seconds=5))
    async with harness.ledger.transaction() as connection:
        lost = await last_submission(connection)
        await submissions.mark_unknown(
            connection,
            lost,
            now=harness.clock(),
            next_poll_at=harness.clock(),
            lease_owner=zombie,
        )
        await submissions.poll_later(
            connection, lost, next_poll_at=harness.clock(), lease_owner=zombie
        )
        assert (
            await submissions.check(connection, lost, now=harness.clock(), lease_owner=zombie)
            is None
        )
        with pytest.raises(ConcurrentChangeError):
            await submissions.resend(connection, lost, now=harness.clock(), lease_owner=zombie)
    rows = await harness.ledger.fetch("SELECT state, lease_owner FROM submissions ORDER BY id")
    assert (rows[-1]["state"], rows[-1]["lease_owner"]) == ("intent", OTHER)


async def test_saved_batch_without_reply_is_registered_once(harness: SinkHarness):
    """The same list is sent again, and saved items succeed with their first request."""
    people = await harness.lose_batch_of(3, drop="after")
    assert await harness.recover()
    assert await harness.settle()
    assert set(await harness.states_of(people)) == {"accepted"}
    assert [len(harness.iys.movements(person)) for person in people] == [1, 1, 1]


async def test_lost_opt_in_is_not_sent_again_after_an_opt_out(harness: SinkHarness):
    """Its status is queried only, by what no hourly limit holds up."""
    await harness.lose_batch(onay(minutes=10))
    await harness.ingest(ret(minutes=5))
    await harness.meet_fault("status", harness.recover, status=429, code="H086", times=None)
    assert await harness.columns("onay_open", "registered", "state") == (
        False,
        "NOT_ONAY",
        "not_needed",
    )
    assert harness.iys.movements() == []


async def test_lost_batch_is_queried_once_iys_has_processed_the_last_of_its_call(
    harness: SinkHarness,
):
    """A call that was on its way for long arrived later than it was stored."""
    await harness.lose_batch(onay(), drop="after")
    await harness.ingest(ret())
    late = harness.clock() + A_SECOND * 3
    await harness.ledger.fetch(
        "UPDATE submissions SET call_until = %(late)s RETURNING id", {"late": late}
    )
    harness.advance(A_SECOND * 4)
    assert await harness.recover_now()
    assert not await harness.recover(RESULT_DELAY - A_SECOND * 2)
    assert await harness.recover(A_SECOND * 2)
    assert harness.iys.calls("statuses") == 1


async def test_lost_opt_outs_that_are_not_needed_any_more_are_settled_at_once(harness: SinkHarness):
    """A batch of them may still be on its way: it would do no harm."""
    people = await harness.ingest_for(partial(onay, minutes=60), range(30))
    await harness.settle_bulk()
    await harness.ingest_for(ret, range(30))
    await harness.meet_fault("batchV2", harness.opt_out, drop="before")
    await harness.ledger.fetch("UPDATE consents SET registered = 'NOT_ONAY' RETURNING 1")
    for person in people:
        harness.iys.citizen("RET", person)
    harness.advance(A_SECOND * 4)
    assert await harness.recovery.recover(opt_outs_only=True)
    assert set(await harness.states_of(people)) == {"not_needed"}


async def test_lost_opt_ins_with_an_opt_out_behind_them_are_recovered_first(harness: SinkHarness):
    """By what recovers opt-outs, which leaves the other batches alone. İYS holds an earlier opt-out
    of the recipient, so whether the newest one is needed depends on what came of the opt-in.
    """
    await harness.register(onay(a_phone(1), minutes=40))
    await harness.submit_opt_out(ret(a_phone(1), minutes=30))
    for number in range(3):
        await harness.lose_batch(onay(a_phone(number), minutes=20))
    await harness.ingest(ret(a_phone(1), minutes=10))
    harness.advance(RESULT_DELAY * 2)
    assert await harness.recovery.recover(opt_outs_only=True)
    assert await harness.states_of(map(a_phone, range(3))) == ["unknown", "not_needed", "unknown"]
    assert not await harness.recovery.recover(opt_outs_only=True)


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_lost_opt_ins_before_many_opt_outs_are_queried_at_once(
    harness: SinkHarness, drop: str
):
    """One by one, a lost batch would spend the hour's queries, and opt-outs would wait for more."""
    people = await harness.lose_batch_of(30, drop=drop)
    await harness.ingest_for(ret, range(30))
    assert await harness.recover()
    assert (harness.iys.calls("statuses"), harness.iys.calls("status")) == (1, 0)
    await harness.run(harness.opt_out, harness.poller.settle, times=3, every=timedelta(minutes=10))
    assert harness.iys.register() == dict.fromkeys(people if drop == "after" else [], "RET")
    state = "accepted" if drop == "after" else "not_needed"
    assert set(await harness.states_of(people)) == {state}


@pytest.mark.parametrize(
    ("fault", "calls"),
    [({"status": 422, "code": "H113"}, (1, 3)), ({"status": 503, "code": "H192"}, (2, 0))],
    ids=["refused", "not answered"],
)
async def test_query_of_lost_opt_ins_that_fails_costs_no_answer(
    harness: SinkHarness, fault: dict[str, object], calls: tuple[int, int]
):
    """One recipient that İYS does not read must not keep the others from their answers: each is
    queried by itself. Where İYS does not answer, the query is repeated.
    """
    people = await harness.lose_batch_of(3)
    await harness.ingest_for(ret, range(3))
    harness.iys.inject_fault("statuses", **fault)
    assert await harness.recover()
    is_repeated = fault["status"] == 503
    assert not await harness.recover_now()
    assert await harness.recover(A_SECOND * 2) is is_repeated
    assert (harness.iys.calls("statuses"), harness.iys.calls("status")) == calls
    assert set(await harness.states_of(people)) == {"not_needed"}


async def test_lost_items_stay_with_who_queries_them(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """More opt-outs than are queried one by one: the rest comes after the suspended opt-in."""
    await harness.lose_batch_of(22)
    await harness.ingest_for(ret, range(21))
    await harness.brand(replace(ACTIVE, status="stopped"))
    harness.iys.inject_fault("statuses", status=422, code="H113")
    settle, other, seen = LostItems.settle, harness.other_worker(), []

    async def settle_alone(self: LostItems, submission: Submission, item: Item, *more: Any) -> None:  # noqa: ANN401  # what it hands on
        if item.key.endswith(a_phone(21)):
            seen.append(await other.recover())
        await settle(self, submission, item, *more)

    monkeypatch.setattr(LostItems, "settle", settle_alone)
    async with harness.living(harness.ledger.owner):
        assert await harness.recover()
        assert seen == [False]
        assert await other.recover()


async def test_open_circuit_stops_claims_and_opt_outs_go_first(harness: SinkHarness):
    """An outage costs attempts, and no record is sent again and again."""
    await harness.register_onay(a_phone(99))
    harness.iys.inject_fault("batchV2", drop="before", times=20)
    people = await harness.ingest_for(onay, range(30))
    one_by_one = replace(harness.scheduler, batch_size=1)
    while await one_by_one.bulk():
        pass
    assert harness.iys.calls("batchV2") == 1 + CircuitBreakerPolicy().opens_after
    states = await harness.states_of(people)
    assert states.count("pending") == 30 - CircuitBreakerPolicy().opens_after
    await harness.submit_opt_out(ret(a_phone(99)))
    assert harness.iys.register() == {a_phone(99): "RET"}


async def test_repeated_result_changes_nothing(harness: SinkHarness):
    """The same results are polled twice."""
    await harness.ingest(onay())
    await harness.bulk()
    await harness.settle()
    before = await harness.outcomes()
    await harness.ledger.fetch(
        "UPDATE submissions SET state = 'awaiting_result', body = '[]', next_poll_at = now() "
        "RETURNING id"
    )
    await harness.poller.settle()
    assert await harness.outcomes() == before


async def test_decisions_that_are_read_again_change_nothing(harness: SinkHarness):
    """Rows, history and outbox stay as they were, after a rewind; and offsets are updated by
    compare-and-set, so that a late second reader is refused.
    """
    reads = await harness.ingest(onay(), ret(), onay(a_phone(2)))
    before = await row_counts(harness)
    with pytest.raises(ConcurrentChangeError):
        await harness.ingester.store(TOPIC, "topic", reads, {0: (0, 1)})
    assert await row_counts(harness) == before
    await harness.ledger.fetch("UPDATE kafka_offsets SET next_offset = 0 RETURNING topic")
    await harness.ingester.store(TOPIC, "topic", reads, {0: (0, harness.offset)})
    assert await row_counts(harness) == before
    found = await offsets.positions(
        harness.ledger, TOPIC, [0], cluster_id="cluster", topic_id="topic"
    )
    assert found == {0: harness.offset}


async def row_counts(harness: SinkHarness) -> list[dict[str, Any]]:
    """Return how many rows ingesting has written, and how many consents are pending. How far
    the ledger is may be published again.
    """
    return await harness.ledger.fetch(
        """SELECT (SELECT count(*) FROM history) AS m,
        (SELECT count(*) FROM outbox WHERE topic NOT LIKE '%%ledger-positions') AS o,
        (SELECT count(*) FROM consents WHERE state = 'pending') AS c"""
    )
