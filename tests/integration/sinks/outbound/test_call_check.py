"""What has changed while a call waited is not sent: the check just before it is written.

A call that İYS did not process shows nothing of what an earlier call of its submission did.
A failure of one record, account or worker affects no other.
İYS gets the opt-out that an opt-in would have hidden, though the opt-in never reaches it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import httpx
import pytest

from izin.consent import Action, Channel, ConsentEvent
from izin.iys.wire_format import ConsentItem, JsonReader, RegisterRecord
from izin.ledger.db import exclusive
from izin.ledger.record import EVERY
from izin.ledger.record.submission import items_of
from izin.runtime.process import cancel_all
from izin.runtime.settings import SinkSettings
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    OTHER,
    RESULT_DELAY,
    InMemoryTopic,
    Killed,
    SinkHarness,
    a_phone,
    die,
    given_at,
    minutes_ago,
    onay,
    ret,
    until,
)
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database


async def test_opt_out_while_a_batch_waits_takes_its_opt_in_out(harness: SinkHarness):
    """The batch is rebuilt without it; the others are sent."""
    people = await harness.ingest_for(onay, range(3))
    harness.pacer.meanwhile = partial(harness.ingest, ret(people[1]))
    assert await harness.bulk()
    assert await harness.settle()
    assert set(harness.iys.register()) == {people[0], people[2]}
    await harness.drain(harness.opt_out)
    assert harness.iys.movements(people[1]) == []
    assert await harness.ledger.fetch(
        """SELECT DISTINCT data->>'verdict' AS verdict FROM history
        WHERE kind = 'answer' AND key LIKE %(key)s ORDER BY verdict""",
        {"key": f"%{people[1]}"},
    ) == [{"verdict": "already"}, {"verdict": "not-sent"}]
    assert await harness.states_of(people) == ["accepted", "not_needed", "accepted"]


async def test_opt_out_settled_while_its_opt_in_waits_is_the_last(harness: SinkHarness):
    """İYS would take the opt-in, for a line that is closed may have an old date there."""
    await harness.ingest(onay())
    harness.pacer.meanwhile = partial(harness.submit_opt_out, ret())
    assert await harness.bulk()
    await harness.drain(harness.opt_out)
    assert harness.iys.calls("batchV2") == 0
    assert await harness.columns("state", "onay_open", "may_send") == ("not_needed", False, False)
    assert not await harness.ledger.fetch("SELECT FROM submissions WHERE state <> 'settled'")


@pytest.mark.parametrize(
    ("close", "how"),
    [
        (SinkHarness.brand, replace(ACTIVE, status="stopped")),
        (SinkHarness.set_rights, [Channel.EPOSTA]),
    ],
    ids=["stopped", "no right"],
)
async def test_brand_closed_while_a_batch_waits_sends_nothing(
    harness: SinkHarness, close: Callable[..., Awaitable[object]], how: object
):
    """Its records wait, and are sent once it is open again."""
    await harness.ingest(onay())
    harness.pacer.meanwhile = partial(close, harness, how)
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == 0
    assert not await harness.bulk()
    await harness.brand()
    await harness.set_rights(list(Channel))
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == 1


@pytest.mark.parametrize(("newer", "calls"), [(ret, 1), (onay, 0)], ids=["opt-out", "opt-in"])
async def test_newer_event_while_an_opt_out_waits(
    harness: SinkHarness, newer: Callable[..., ConsentEvent], calls: int
):
    """Whichever of two opt-outs İYS gets, it is one: the first is not held up. An opt-in replaces
    it: the recipient has consented again, before İYS heard of the opt-out.
    """
    await harness.ingest_opt_out()
    event = newer(minutes=1)
    harness.pacer.meanwhile = partial(harness.ingest, event)
    assert await harness.opt_out()
    assert harness.iys.calls("addV2") == calls
    assert harness.iys.register() == {PHONE: event.status}
    assert await harness.columns("desired_status", "ret_open") == (event.status, False)


async def test_check_that_is_too_old_is_made_again(harness: SinkHarness):
    """The process is paused between the check and the beginning of its slot."""
    await harness.ingest(onay())

    async def pause() -> None:
        harness.advance(A_SECOND)
        await harness.ingest(ret())

    harness.pacer.at_slot = pause
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == 0


async def test_call_that_may_have_been_sent_is_not_rebuilt(harness: SinkHarness):
    """Its connection broke after İYS got it: İYS is asked, and shows the opt-in beside an opt-out
    that is newer.
    """
    people = await harness.lose_batch_of(2, drop="after")
    other = harness.other_worker()
    harness.pacer.meanwhile = partial(harness.ingest, ret(people[0]))
    harness.advance(timedelta(minutes=20))
    assert await other.recover()
    assert harness.iys.calls("batchV2") == 1
    assert await harness.ledger.fetch("SELECT state FROM submissions") == [{"state": "unknown"}]
    await harness.drain(harness.recover, harness.opt_out, harness.settle)
    assert harness.iys.register() == {people[0]: "RET", people[1]: "ONAY"}


@pytest.mark.parametrize("status", ["ONAY", "RET"])
async def test_call_of_a_dead_worker_is_over_before_its_opt_in_is_asked_about(
    harness: SinkHarness, status: str
):
    """Until then İYS may still process it; an opt-out is repeated at once."""
    await (harness.ingest(onay()) if status == "ONAY" else harness.ingest_opt_out())
    harness.become(owner=OTHER)
    harness.pacer.at_slot = die
    with pytest.raises(Killed):
        await (harness.bulk() if status == "ONAY" else harness.opt_out())
    harness.become(owner=harness.ledger.owner)
    assert await harness.recover_now() is (status == "RET")
    if status == "ONAY":
        assert not await harness.recover(timedelta(seconds=3))
        assert await harness.recover(timedelta(seconds=3))
        assert await harness.settle()
    assert harness.iys.movements()[-1] == status


@pytest.mark.parametrize("kind", ["single", "batch"])
@pytest.mark.parametrize("ends", ["answered", "lost"])
async def test_opt_in_sent_after_its_opt_out_is_read_back(
    harness: SinkHarness, kind: str, ends: str
):
    """A process was frozen before it wrote the call: İYS saves the opt-in after the opt-out."""
    await harness.ingest(given_at(harness.clock() - A_SECOND))
    if kind == "single":
        await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=30))
    zombie = harness.context

    async def freeze() -> None:
        ahead = harness.clock.ahead
        harness.become(owner="9")
        await harness.ingest(ret(minutes=0))
        harness.advance(timedelta(minutes=30))
        await harness.drain(harness.recover, harness.opt_out)
        # The process finds no time passed: it was frozen after it had looked.
        harness.context, harness.clock.ahead = zombie, ahead

    harness.pacer.at_slot = freeze
    if ends == "lost":
        harness.iys.inject_fault("addV2" if kind == "single" else "batchV2", drop="after")
    assert await (harness.scheduler.last_hour() if kind == "single" else harness.bulk())
    harness.advance(timedelta(hours=1))
    assert harness.iys.register() == {PHONE: "ONAY"}
    assert (await harness.row()).action is Action.QUERY
    await harness.drain(harness.query, harness.opt_out)
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).state == "accepted"


async def test_opt_out_beside_an_opt_in_of_unknown_outcome_is_read_back_once(harness: SinkHarness):
    """İYS may process the opt-in after our timeout, and after it was asked."""
    await harness.register(onay(minutes=60))
    await harness.forget()
    await harness.lose_batch(onay(minutes=50), drop="before")
    await harness.ingest(ret())
    await harness.drain(harness.recover)
    assert await harness.opt_out()
    assert await harness.columns("state", "action", "registered") == ("accepted", "query", "RET")
    assert not await harness.query()
    harness.advance(RESULT_DELAY - A_SECOND * 10)
    assert not await harness.query()
    harness.citizen("ONAY", source="IYS_WEB_YENI", then=A_SECOND * 20)
    assert await harness.query()
    assert (await harness.row()).registered == "ONAY"


async def finish(harness: SinkHarness) -> None:
    """Take every step until nothing is due, and again when İYS has saved what it got."""
    for _ in range(3):
        await harness.drain(harness.opt_out, harness.query)
        await harness.drain(harness.recover, harness.bulk, harness.settle)


async def test_process_that_lost_its_lease_to_itself_sends_once(harness: SinkHarness):
    """A frozen process wakes: its recovery takes over what another task of it is about to send."""
    await harness.ingest(onay())
    at_slot, is_sent = asyncio.Event(), asyncio.Event()
    recovering: list[asyncio.Task[bool]] = []

    async def wait() -> None:
        at_slot.set()
        await is_sent.wait()

    async def lapse() -> None:
        harness.advance(timedelta(seconds=61))
        harness.pacer.at_slot = wait
        recovering.append(asyncio.create_task(harness.recovery.recover()))
        await at_slot.wait()

    harness.pacer.meanwhile = lapse
    assert await harness.bulk()
    is_sent.set()
    assert await recovering[0]
    assert harness.iys.calls("batchV2") == 1
    assert await harness.settle()
    assert (await harness.row()).state == "accepted"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "code": "H123"},
        {"status": 429, "code": "H124"},
        {"status": 403, "code": "H521"},
        {"drop": "before"},
    ],
)
async def test_busy_iys_shows_nothing_of_the_first_call(
    harness: SinkHarness, fault: dict[str, object]
):
    """İYS has the batch whose reply was lost, and saves it after the opt-out was queried."""
    await harness.lose_batch(onay(), drop="after")
    harness.iys.inject_fault("batchV2", **fault)
    assert await harness.recover(A_SECOND * 5)
    await harness.ingest(ret())
    await finish(harness)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_part_of_a_lost_batch_may_be_at_iys(harness: SinkHarness):
    """It is moved to a submission of its own, and opted out before that is sent."""
    people = await harness.lose_batch_of(3, drop="after")
    await harness.ingest(ret(people[0]))
    harness.pacer.meanwhile = partial(harness.ingest, *map(ret, people[1:]))
    assert await harness.recover(A_SECOND * 5)
    await finish(harness)
    assert harness.iys.register() == dict.fromkeys(people, "RET")


async def test_failure_of_a_late_process_settles_nothing(harness: SinkHarness):
    """Another one has taken over, and its call is lost: İYS has the batch."""
    await harness.ingest(onay())
    zombie = harness.context

    async def freeze() -> None:
        ahead = harness.clock.ahead
        harness.become(owner="9")
        harness.iys.inject_fault("batchV2", drop="after")
        assert await harness.recover(timedelta(minutes=2))
        harness.context, harness.clock.ahead = zombie, ahead
        raise httpx.ConnectTimeout("the slot is over")

    harness.pacer.at_slot = freeze
    assert await harness.bulk()
    assert (await harness.row()).state == "unknown"
    await harness.ingest(ret())
    await finish(harness)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_opt_out_that_a_query_settles_too_early_is_read_back(harness: SinkHarness):
    """İYS may save a single opt-in after our timeout, and after its status was queried; a network
    that was silent may deliver it later still. After that nothing can come.
    """
    await lose_single_opt_in_and_opt_out(harness)
    for wait in (RESULT_DELAY, 4 * RESULT_DELAY):
        assert await harness.columns("state", "action") == ("not_needed", Action.QUERY)
        harness.advance(wait - A_SECOND * 10)
        assert not await harness.query()
        harness.advance(A_SECOND * 10)
        assert await harness.query()
    assert await harness.columns("state", "action") == ("not_needed", Action.NOTHING)


async def test_opt_in_that_a_silent_network_delivers_late_is_withdrawn(harness: SinkHarness):
    """After İYS was asked, and asked once more, when it should have saved what it got."""
    item = await lose_single_opt_in_and_opt_out(harness)
    harness.advance(RESULT_DELAY)
    assert await harness.query()
    await harness.context.client.add(ACTIVE.path, item)
    assert harness.iys.register() == {PHONE: "ONAY"}
    harness.advance(4 * RESULT_DELAY)
    await harness.drain(harness.query, harness.opt_out)
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).state == "accepted"


async def lose_single_opt_in_and_opt_out(harness: SinkHarness) -> ConsentItem:
    """Have the call of an opt-in lost, and its recipient opt out, which a query settles at once;
    return the item of the call.
    """
    await harness.ingest(given_at(harness.clock() - A_SECOND))
    await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=30))
    harness.iys.inject_fault("addV2", drop="before")
    assert await harness.scheduler.last_hour()
    ((item,),) = (
        items_of(row["body"]) for row in await harness.ledger.fetch("SELECT body FROM submissions")
    )
    await harness.ingest(ret(minutes=0))
    assert await harness.recover(A_SECOND * 5)
    return item


A_DAY = 24 * 60


async def test_brand_of_another_address_of_the_account_is_pulled(harness: SinkHarness):
    """A worker does not wait for the lock of another address of the same account."""
    await harness.brand(replace(ACTIVE, egress_address="two"))
    harness.become(account="ada", address="two")
    puller = harness.puller(InMemoryTopic(), interval=A_SECOND)
    other = replace(harness.context.lease_owner, address="one")
    async with exclusive(harness.ledger, other.exclusive("pull")):
        task = asyncio.create_task(puller.run(SinkSettings().poll_interval))
        await until(lambda: harness.iys.calls("changes") > 0)
        await cancel_all([task])


async def test_refused_account_suspends_only_its_own_brands(harness: SinkHarness):
    """All of them, for each further try would count against the address; those of another account
    go on.
    """
    for number, account in enumerate(("ada", "ada", "bob")):
        code = BRAND + number
        await harness.brand(replace(ACTIVE, brand_code=code, iys_code=code, account=account))
    harness.become(account="ada", address=harness.context.lease_owner.address)
    await harness.refuse_opt_out(401, "H251")
    found = await harness.suspensions()
    assert [(one.brand_code, one.scope) for one in found] == [
        (BRAND, "account"),
        (BRAND + 1, "account"),
    ]
    assert (await harness.row()).state == "retryable"


async def test_item_refusal_of_a_retried_record_ends_the_suspension(harness: SinkHarness):
    """The subscription is open again, and the one record that is tried is refused for itself
    (H178): opt-outs wait no longer.
    """
    await harness.register_onay()
    await harness.suspend("H521", scope="provider")
    people = [a_phone(number) for number in range(2, 8)]
    await harness.ingest(ret(), *(onay(person) for person in people))
    for person in people:
        harness.iys.citizen("ONAY", person, source="IYS_WEB_YENI")  # newer than ours: H178
    harness.advance(timedelta(minutes=2))
    minutes = 0
    while harness.iys.register()[PHONE] == "ONAY" and minutes < 10:
        await harness.bulk()
        await harness.opt_out()
        harness.advance(timedelta(minutes=1))
        minutes += 1
    assert minutes <= 1


async def test_pending_status_at_iys_stops_no_worker(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """BEKLIYOR is in İYS's own texts."""
    harness.citizen("ONAY", source="IYS_WEB_YENI", then=timedelta(minutes=1))
    await harness.submit_bulk(given_at(harness.clock() - A_SECOND * 120))
    assert await harness.settle()
    whole = RegisterRecord.read

    def pending(reader: JsonReader) -> RegisterRecord:
        return replace(whole(reader), status="BEKLIYOR")

    monkeypatch.setattr(RegisterRecord, "read", pending)
    await harness.query()


async def test_retailer_refusal_without_index_costs_no_other_item(harness: SinkHarness):
    """İYS answers a list as it answers a single add: H180, without an index."""
    people = await harness.ingest_for(onay, range(8))
    await harness.meet_fault("batchV2", harness.bulk, status=403, code="H180")
    assert set(await harness.states_of(people)) == {"awaiting_result"}


@pytest.mark.parametrize("state", ["pending", "in_flight", "awaiting_result", "accepted"])
async def test_event_repeated_with_later_date_is_submitted_once(harness: SinkHarness, state: str):
    """A form is sent twice and has no date: the event is the same, its date is not."""
    first = given_at(minutes_ago(30))
    again = replace(first, consent_date=minutes_ago(10), received_at=minutes_ago(10))
    await harness.ingest(first)
    if state in {"awaiting_result", "accepted"}:
        assert await harness.bulk()
    if state == "accepted":
        assert await harness.settle()
    if state == "in_flight":
        harness.pacer.meanwhile = partial(harness.ingest, again)
        assert await harness.bulk()
    else:
        assert (await harness.row()).state == state
        await harness.ingest(again)
        await harness.bulk()
    await harness.settle()
    assert await harness.columns("state", "desired_at") == ("accepted", again.consent_date)
    assert harness.iys.calls("batchV2") == 1


async def test_opt_out_with_event_id_of_its_opt_in_is_submitted(harness: SinkHarness):
    """A source may number forms, and not events."""
    opt_in = given_at(minutes_ago(30), event_id="form-7")
    opt_out = replace(opt_in, status="RET", consent_date=minutes_ago(5), received_at=minutes_ago(5))
    await harness.ingest(opt_in)
    harness.pacer.at_slot = partial(harness.ingest, opt_out)
    assert await harness.bulk()
    steps = (harness.opt_out, harness.settle, harness.query)
    await harness.run(*steps, times=3, every=timedelta(0))
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).may_send is False


def long_ago(harness: SinkHarness, event: ConsentEvent, days: int) -> ConsentEvent:
    """Return ``event``, given so many days ago."""
    at = harness.clock().replace(microsecond=0) - timedelta(days=days)
    return replace(event, consent_date=at, received_at=at + timedelta(seconds=2))


async def submit_all(harness: SinkHarness) -> None:
    """Let the outbound loops do what is due, with the rescues that they publish."""
    for _ in range(2):
        await harness.run(
            *(harness.opt_out, harness.query, harness.recover_now, harness.bulk, harness.settle),
            times=4,
            every=timedelta(minutes=5),
        )
        await harness.ingest_each(await harness.published())


@pytest.mark.parametrize("is_late", [False, True], ids=["in order", "opt-out late"])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
async def test_void_opt_in_leaves_the_opt_out_to_iys(
    harness: SinkHarness, is_late: bool, together: bool
):
    """In the same batch, or one after the other; the opt-out first, or last. İYS holds an opt-in of
    thirty days ago; the new one is past its term.
    """
    await harness.register_onay()
    harness.advance(timedelta(days=30))
    opt_out = long_ago(harness, ret(source="HS_CAGRI_MERKEZI", event_id="no"), 20)
    void = long_ago(harness, onay(event_id="void"), 10)
    order = (void, opt_out) if is_late else (opt_out, void)
    await (harness.ingest(*order) if together else harness.ingest_each(order))
    columns = ("desired_status", "state", "action", "void_event_id", "may_send")
    assert await harness.columns(*columns) == ("RET", "pending", "send", "void", False)
    assert "expired" in await harness.outcomes()
    await submit_all(harness)
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).may_send is False


async def test_opt_in_that_expires_behind_a_suspension_leaves_the_opt_out(harness: SinkHarness):
    """The opt-out waited too: both are of a brand that may not write."""
    await harness.register_onay()
    await harness.suspend("H353", "MESAJ")
    await harness.ingest(ret(minutes=5))
    await harness.ingest(onay(minutes=2))
    harness.advance(timedelta(days=20))
    assert await harness.scheduler.expire()
    assert await harness.columns("desired_status", "state", "action") == ("RET", "pending", "send")
    await harness.resume("MESAJ", EVERY)
    await submit_all(harness)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_many_void_opt_ins_leave_their_opt_outs(harness: SinkHarness):
    """The bulk paths leave to the general one what they cannot know."""
    phones = [a_phone(number) for number in range(40)]
    await harness.ingest(*(ret(one, minutes=31 * A_DAY) for one in phones))
    await harness.ingest(*(onay(one, minutes=30 * A_DAY) for one in phones))
    assert {(await harness.row(one)).desired_status for one in phones} == {"RET"}
    assert set(await harness.states_of(phones)) == {"pending"}
    await harness.ingest(*(onay(one, minutes=10) for one in phones))
    rows = [await harness.row(one) for one in phones]
    assert {(row.desired_status, row.void_event_id) for row in rows} == {("ONAY", None)}
    assert {row.ret_event_id for row in rows} == {f"ret-{one}-{31 * A_DAY}" for one in phones}


async def test_old_consent_of_a_brand_in_loading_is_asked_about_and_expires(harness: SinkHarness):
    """İYS would take it; what it holds already is as good as registered in time."""
    held, lost = a_phone(1), a_phone(2)
    await harness.register_onay(held)
    await harness.forget()
    await harness.brand_in_loading()
    harness.iys.brand(activatedAt=None)
    await harness.ingest(*(onay(one, minutes=2500 * A_DAY) for one in (held, lost)))
    for one in (held, lost):
        columns = await harness.columns("state", "action", "reason", recipient=one)
        assert columns == ("pending", "query", "term-ended")
    assert not await harness.scheduler.expire()
    assert not await harness.bulk()
    await harness.run(harness.query, times=3, every=timedelta(minutes=5))
    assert await harness.columns("state", recipient=held) == ("not_needed",)
    assert await harness.columns("state", recipient=lost) == ("expired",)
    assert harness.iys.register() == {held: "ONAY"}
