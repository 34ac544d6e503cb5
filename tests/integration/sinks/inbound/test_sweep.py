"""A sweep finds what no pull shows, asks about little, and survives whatever ends it."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from structlog.typing import EventDict

from izin.runtime.backoff import Backoff
from izin.sinks.inbound.sweep import page_query, sweeper
from izin.sinks.ledger.sweep import cursor, sweeps
from izin.sinks.ledger.sweep.sweeps import Sweep
from izin.sinks.monitor.register_counts import RegisterCounter
from tests.integration.sinks.sink_harness import (
    A_MINUTE,
    A_SECOND,
    ACTIVE,
    Izin,
    Killed,
    SinkHarness,
    a_phone,
    onay,
    ret,
)
from tests.support.builders import BRAND, a_key

pytestmark = pytest.mark.database

BAD = "+90555"
"""No phone number for İYS; it is in the ledger as if İYS had a newer rule."""


async def order(harness: SinkHarness) -> Sweep:
    """Order a sweep of our brand, a second later."""
    harness.advance(A_SECOND * 2)
    (sweep,) = await sweeps.order(harness.ledger, [BRAND], by="ada", now=harness.clock())
    return sweep


async def swept(harness: SinkHarness) -> Sweep:
    """Return the latest sweep."""
    (sweep,) = await sweeps.latest(harness.ledger)
    return sweep


async def facts(harness: SinkHarness) -> list[dict[str, Any]]:
    """Return what the history says of sweeps and statuses, in order."""
    return await harness.ledger.fetch(
        "SELECT key, status, data FROM movements WHERE kind = 'observation' ORDER BY recorded_at,"
        " place"
    )


async def test_rejection_that_no_pull_shows_shuts_the_gate_and_is_confirmed(harness: SinkHarness):
    """The multiple query shuts it at once; the single one tells who rejected, and when."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(3)))
    harness.iys.citizen("RET", a_phone(1))
    await order(harness)
    harness.iys.inject_fault("status", status=503, times=1)
    await harness.sweep()
    columns = ("registered", "may_send", "action", "reason", "state")
    assert await harness.columns(*columns, recipient=a_phone(1)) == (
        *("NOT_ONAY", False, "query", "swept", "accepted"),
    )
    assert await harness.permissions(a_phone(1)) == [False, True, False]
    harness.advance(A_MINUTE)
    assert not await harness.query(), "it has a lane of its own"
    assert await harness.swept_querier.query_swept()
    (event,) = await harness.published()
    assert (event.recipient, event.status, event.source) == (a_phone(1), "RET", "IYS_WEB")
    await harness.ingest(event)
    assert await harness.columns(
        "registered", "desired_status", "action", recipient=a_phone(1)
    ) == (*("RET", "RET", "nothing"),)
    assert (harness.iys.calls("statuses"), harness.iys.calls("status")) == (1, 2)


async def test_equal_keys_are_one_fact_that_names_nobody(harness: SinkHarness):
    """Each is verified anew, and nothing is published or written for it."""
    people = [a_phone(number) for number in range(4)]
    await harness.register(*(onay(one, minutes=60) for one in people[:3]))
    await harness.ingest(ret(people[3]))
    assert await harness.opt_out()
    before = [await harness.row(one) for one in people]
    outbox, known = await harness.outbox("%permissions", "Permission"), len(await facts(harness))
    await order(harness)
    assert await harness.sweep()
    after = [await harness.row(one) for one in people]
    for old, new in zip(before[:3], after[:3], strict=True):
        assert (new.verified_by, new.verified_at > old.verified_at) == ("statuses", True)
        assert new.replace(verified_by=old.verified_by, verified_at=old.verified_at) == old
    assert after[3] == before[3], "absence where no consent is believed needs nothing"
    (fact,) = (await facts(harness))[known:]
    assert (fact["key"], fact["data"]["confirmed"], fact["data"]["queried"]) == ("sweep/1", 3, 4)
    assert not any(one[4:] in json.dumps(fact["data"]) for one in people)
    assert await harness.outbox("%permissions", "Permission") == outbox
    ended = await swept(harness)
    assert (ended.counts.confirmed, ended.after, ended.is_stopped) == (3, None, False)


async def test_consent_beside_an_opt_out_opens_nothing_by_itself(harness: SinkHarness):
    """Of the citizen's own later consent the single query knows the source, and the law decides."""
    await harness.register_onay()
    await harness.ingest(ret())
    assert await harness.opt_out()
    harness.advance(A_MINUTE)
    harness.iys.citizen("ONAY", source="IYS_WEB")
    await order(harness)
    harness.iys.inject_fault("status", status=503, times=1)
    await harness.sweep()
    assert await harness.columns("registered", "may_send") == ("RET", False)
    harness.advance(A_MINUTE)
    assert await harness.swept_querier.query_swept()
    (event,) = [one for one in await harness.published() if one.status == "ONAY"]
    assert (await harness.row()).may_send is False
    await harness.ingest(event)
    assert await harness.columns("registered", "desired_status", "may_send") == (
        *("ONAY", "ONAY", True),
    )


async def test_consent_that_nobody_knew_of_is_found(harness: SinkHarness):
    """Its date and source are not known, so it counts beside no opt-out; here there is none."""
    await harness.register_onay()
    await harness.set_columns(registered="UNKNOWN", may_send=False, permission_reason="x")
    await order(harness)
    await harness.sweep()
    assert await harness.columns("registered", "may_send", "registered_consent_date") == (
        *("ONAY", True, None),
    )
    assert harness.iys.calls("status") == 0


async def test_consent_on_its_way_is_not_misjudged(harness: SinkHarness):
    """Neither one that is in flight, nor one that moved while İYS was asked."""
    await harness.register_onay()
    await harness.ingest(onay(a_phone(2)))
    assert await harness.bulk()
    harness.iys.citizen("RET")
    await order(harness)
    moved = partial(harness.set_columns, last_exchange_at=harness.clock())
    harness.pacer.meanwhile = moved
    await harness.sweep()
    assert await harness.columns("registered", "action") == ("ONAY", "nothing")
    counts = (await swept(harness)).counts
    assert (counts.queried, counts.skipped, counts.shut) == (1, 1, 0)


async def test_bad_recipient_harms_only_itself(harness: SinkHarness):
    """The others are confirmed in the same sweep; it is queried alone, and parked for a person."""
    people = [a_phone(number) for number in range(5)]
    await harness.register(*(onay(one, minutes=60) for one in people))
    await harness.ledger.fetch(
        "UPDATE consents SET recipient = %(bad)s WHERE key = %(key)s RETURNING key",
        {"bad": BAD, "key": str(a_key(recipient=people[2]))},
    )
    await order(harness)
    await harness.sweep()
    counts = (await swept(harness)).counts
    assert (counts.queried, counts.confirmed, counts.refused, counts.asked) == (5, 4, 1, 1)
    assert await harness.columns("state", "reason", "code", recipient=people[2]) == (
        *("parked", "question-refused", "H121"),
    )


async def test_duplicate_that_iys_sees_costs_no_answer(harness: SinkHarness):
    """Two recipients that are one to İYS refuse the request (H193): one of them is asked apart."""
    people = [a_phone(number) for number in range(4)]
    await harness.register(*(onay(one, minutes=60) for one in people))
    await harness.ledger.fetch(
        "UPDATE consents SET recipient = %(same)s WHERE key = %(key)s RETURNING key",
        {"same": people[0].replace("+90", "+900"), "key": str(a_key(recipient=people[3]))},
    )
    await order(harness)
    await harness.sweep()
    counts = (await swept(harness)).counts
    assert (counts.queried, counts.confirmed, counts.refused) == (4, 4, 0)


async def test_sweep_of_a_killed_process_goes_on_at_its_cursor(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Every key is counted once, whatever was asked about twice; a month later one is due again."""
    people = [a_phone(number) for number in range(10)]
    await harness.register(*(onay(one, minutes=60) for one in people))
    monkeypatch.setattr(cursor, "PAGE", 2)
    await order(harness)
    save, saved = sweeper.save_page, 0

    async def save_two(*page: Any) -> Any:  # noqa: ANN401 - as the function it stands for
        nonlocal saved
        saved += 1
        if saved > 2:
            raise Killed
        return await save(*page)

    monkeypatch.setattr(sweeper, "save_page", save_two)
    with pytest.raises(Killed):
        await harness.sweep()
    half = await swept(harness)
    assert (half.pages, half.counts.queried, half.ended_at) == (2, 4, None)
    monkeypatch.setattr(sweeper, "save_page", save)
    assert await harness.sweep()
    done = await swept(harness)
    assert (done.pages, done.counts.queried, done.counts.confirmed) == (5, 10, 10)
    every = timedelta(days=30)
    who = harness.context.lease_owner
    for later, due in ((timedelta(days=29), 0), (timedelta(days=31), 1)):
        now = half.started_at + later
        assert len(await sweeps.start_scheduled(harness.ledger, who, every, now=now)) == due


async def test_stopped_sweep_saves_nothing_more(harness: SinkHarness):
    """Not even the answer that was under way; a new one begins at the first key."""
    await harness.register_onay()
    harness.iys.citizen("RET")
    first = await order(harness)
    assert await sweeps.order(harness.ledger, [BRAND], by="ada", now=harness.clock()) == ()
    stop = partial(sweeps.stop, harness.ledger, None, by="ada", now=harness.clock())
    harness.pacer.meanwhile = stop
    await harness.sweep()
    assert (await harness.row()).registered == "ONAY"
    assert ((await swept(harness)).is_stopped, (await swept(harness)).id) == (True, first.id)
    again = await order(harness)
    assert (again.id > first.id, again.after) == (True, f"{BRAND}/")


async def test_sweep_after_a_gap_goes_first_and_covers_what_it_began_after(harness: SinkHarness):
    """A sweep within İYS's window sees all before it; an older one has passed keys since."""
    other = BRAND + 1
    await harness.brand(replace(ACTIVE, brand_code=other))
    await order(harness)
    now = harness.clock()
    assert not await sweeps.start_after_gap(harness.ledger, BRAND, now=now + timedelta(days=6))
    assert await sweeps.start_after_gap(harness.ledger, other, now=now)
    who = harness.context.lease_owner
    found = await sweeps.next_sweep(harness.ledger, who, now=now)
    assert found is not None
    assert (found.brand_code, found.reason) == (other, "gap")
    assert await sweeps.start_after_gap(harness.ledger, BRAND, now=now + timedelta(days=8))
    assert (await sweeps.latest(harness.ledger))[0].reason == "gap"


@pytest.mark.parametrize(
    ("fault", "left_out", "waits"),
    [
        ({"status": 403, "code": "H353"}, ("MESAJ/BIREYSEL: H353",), False),
        ({"status": 503}, (), True),
        ({"status": 422, "code": "H168", "times": 100}, (), True),
    ],
)
async def test_query_that_iys_refuses_leaves_a_channel_out_or_waits(
    harness: SinkHarness,
    logged: list[EventDict],
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    left_out: tuple[str, ...],
    *,
    waits: bool,
):
    """A lost right costs that channel; whatever else holds a sweep up is in its state."""
    monkeypatch.setattr(page_query, "_BACKOFF", Backoff(timedelta(0), timedelta(0)))
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(4)))
    await order(harness)
    harness.iys.inject_fault("statuses", **{"times": 3, **fault})
    await harness.sweep()
    found = await swept(harness)
    assert (found.passed_over, found.error is not None) == (left_out, waits)
    assert harness.iys.calls("statuses") < 8
    harness.iys.clear_faults()
    assert await harness.sweep() is not waits
    harness.advance(timedelta(minutes=16))
    await harness.sweep()
    done = await swept(harness)
    assert (done.ended_at is not None, done.error) == (True, None)
    assert done.counts.confirmed == (4 if waits else 0)
    assert any(one["log_level"] == "critical" for one in logged) is bool(left_out)


async def test_spent_hour_stops_the_queries_of_a_sweep_alone(harness: SinkHarness):
    """İYS takes a thousand an hour; what else is to be queried goes on, and so does the sweep."""
    people = [a_phone(number) for number in range(3)]
    await harness.register(*(onay(one, minutes=60) for one in people))
    for one in people:
        harness.iys.citizen("RET", one)
    await order(harness)
    harness.iys.inject_fault("status", status=429, code="H086", times=1)
    querier = harness.swept_querier
    await harness.sweep()
    assert not await querier.query_swept()
    rows = [await harness.row(one) for one in people]
    assert {one.registered for one in rows} == {"NOT_ONAY"}
    assert harness.iys.calls("status") == 1
    assert {one.lease_owner for one in rows} == {None}
    harness.advance(timedelta(hours=1, minutes=2))
    assert await querier.query_swept()
    assert {(await harness.row(one)).registered for one in people} == {"RET"}


async def test_counts_name_the_surplus_as_a_number(harness: SinkHarness, izin: Izin):
    """İYS holds consents that no key here has; then one here that it does not hold."""
    await harness.register_onay()
    for number in (2, 3):
        harness.iys.citizen("ONAY", a_phone(number), source="IYS_WEB_YENI")
    counter = RegisterCounter(context=harness.context)
    assert await counter.count() == {}
    assert await counter.count() == {}
    assert harness.iys.calls("brands") == 1
    shown = await izin("iys", "counts", "--output=json")
    (found,) = json.loads(shown.stdout)
    assert (shown.exit_code, found["iys_onay"], found["onay"], found["onay_surplus"]) == (
        1,
        3,
        1,
        2,
    )
    assert "2 ONAY that no key here has" in found["remedy"]
    harness.iys.citizen("RET")
    harness.advance(timedelta(days=31))
    await counter.count()
    (found,) = json.loads((await izin("iys", "counts", "--output=json")).stdout)
    assert (found["onay_surplus"], found["ret_surplus"], found["onay_before"]) == (1, 1, 2)


async def test_sweep_is_planned_ordered_shown_and_stopped(harness: SinkHarness, izin: Izin):
    """Without --execute nothing starts."""
    await harness.register_onay()
    plan = await izin("iys", "sweep", "start", "--output=json")
    (planned,) = json.loads(plan.stdout)
    assert (planned["keys"], planned["requests"], planned["sweep"]) == (1, 1, "not started")
    assert (await izin("iys", "sweep", "status", "--output=json")).stdout == "[]\n"
    started = await izin("iys", "sweep", "start", f"--brand={BRAND}", "--execute", "--output=json")
    assert json.loads(started.stdout)[0]["sweep"] == "open: 0 of 1 keys, 0%"
    assert (await izin("iys", "sweep", "start", "--brand=999999", "--execute")).exit_code == 3
    shown = await izin("iys", "sweep", "status", "--output=json")
    assert (shown.exit_code, json.loads(shown.stdout)[0]["reason"]) == (*(0, "ordered"),)
    assert "0 of 1 keys" in (await izin("iys", "sweep", "stop")).stderr
    assert "no sweep is open" in (await izin("iys", "sweep", "stop")).stderr
