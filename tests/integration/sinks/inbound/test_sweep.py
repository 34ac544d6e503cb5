"""A sweep finds what no pull shows, asks about little, and survives whatever ends it."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from structlog.typing import EventDict

from izin.ledger.sweep import sweeps
from izin.ledger.sweep.sweeps import Sweep
from izin.runtime.backoff import Backoff
from izin.sinks.inbound import sweep as sweeping
from izin.sinks.monitor.accounts import RegisterCounter
from izin.sinks.outbound import context as outbound_context
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


async def registered(harness: SinkHarness, count: int) -> list[str]:
    """Register so many opt-ins of an hour ago; return the recipients."""
    recipients = [a_phone(number) for number in range(count)]
    await harness.register(*(onay(one, minutes=60) for one in recipients))
    return recipients


async def swept(harness: SinkHarness) -> Sweep:
    """Return the latest sweep."""
    (sweep,) = await sweeps.latest(harness.ledger)
    return sweep


async def facts(harness: SinkHarness) -> list[dict[str, Any]]:
    """Return what the history says of sweeps and statuses, in order."""
    return await harness.ledger.fetch(
        "SELECT key, status, data FROM history WHERE kind = 'observation' ORDER BY recorded_at,"
        " place"
    )


async def test_rejection_that_no_pull_shows_shuts_the_gate_and_is_confirmed(harness: SinkHarness):
    """The multiple query shuts it at once; the single one tells who rejected, and when."""
    await registered(harness, 3)
    harness.iys.citizen("RET", a_phone(1))
    await order(harness)
    await harness.sweep()
    columns = ("registered", "may_send", "action", "reason", "state")
    assert await harness.columns(*columns, recipient=a_phone(1)) == (
        *("NOT_ONAY", False, "query", "swept", "accepted"),
    )
    assert await harness.permissions(a_phone(1)) == [False, True, False]
    assert not await harness.query(), "it has a lane of its own"
    assert await harness.swept_querier.query_swept()
    (event,) = await harness.published()
    assert (event.recipient, event.status, event.source) == (a_phone(1), "RET", "IYS_WEB")
    await harness.ingest(event)
    assert await harness.columns(
        "registered", "desired_status", "action", recipient=a_phone(1)
    ) == (*("RET", "RET", "nothing"),)
    assert (harness.iys.calls("statuses"), harness.iys.calls("status")) == (1, 1)


async def test_equal_keys_are_one_fact_that_names_nobody(harness: SinkHarness):
    """Each is verified anew, and nothing is published or written for it."""
    people = [a_phone(number) for number in range(4)]
    await harness.register(*(onay(one, minutes=60) for one in people[:3]))
    await harness.submit_opt_out(ret(people[3]))
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


async def test_consent_on_its_way_is_not_misjudged(harness: SinkHarness):
    """Neither one that is in flight, nor one that moved while İYS was asked."""
    await harness.register_onay()
    await harness.submit_bulk(onay(a_phone(2)))
    harness.iys.citizen("RET")
    await order(harness)
    harness.pacer.meanwhile = partial(harness.set_columns, last_exchange_at=harness.clock())
    await harness.sweep()
    assert await harness.columns("registered", "action") == ("ONAY", "nothing")
    counts = (await swept(harness)).counts
    assert (counts.queried, counts.skipped, counts.shut) == (1, 1, 0)


async def test_sweep_of_a_killed_process_goes_on_at_its_cursor(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Every key is counted once, whatever was asked about twice; a month later one is due again."""
    await registered(harness, 10)
    monkeypatch.setattr(sweeps, "PAGE", 2)
    await order(harness)
    pages, save = iter(range(2)), sweeping.save_page

    async def save_two(*page: Any) -> Any:  # noqa: ANN401 - as the function it stands for
        if next(pages, None) is None:
            raise Killed
        return await save(*page)

    with monkeypatch.context() as patched:
        patched.setattr(sweeping, "save_page", save_two)
        with pytest.raises(Killed):
            await harness.sweep()
    half = await swept(harness)
    assert (half.pages, half.counts.queried, half.ended_at) == (2, 4, None)
    assert await harness.sweep()
    done = await swept(harness)
    assert (done.pages, done.counts.queried, done.counts.confirmed) == (5, 10, 10)
    every = timedelta(days=30)
    who = harness.context.lease_owner
    for later, due in ((timedelta(days=29), 0), (timedelta(days=31), 1)):
        now = half.started_at + later
        assert len(await sweeps.start_scheduled(harness.ledger, who, every, now=now)) == due


async def test_spent_hour_stops_the_queries_of_a_sweep_alone(harness: SinkHarness):
    """İYS takes a thousand an hour; what else is to be queried goes on, and so does the sweep."""
    people = await registered(harness, 3)
    for one in people:
        harness.iys.citizen("RET", one)
    await order(harness)
    harness.iys.inject_fault("status", status=429, code="H086", times=1)
    querier = harness.swept_querier
    await harness.sweep()
    for _ in range(2):
        assert not await querier.query_swept()
    rows = [await harness.row(one) for one in people]
    assert {one.registered for one in rows} == {"NOT_ONAY"}
    assert harness.iys.calls("status") == 1
    assert {one.lease_owner for one in rows} == {None}
    harness.advance(timedelta(hours=1, minutes=2))
    assert await querier.query_swept()
    assert {(await harness.row(one)).registered for one in people} == {"RET"}


async def test_onay_opens_a_gate_only_where_no_opt_out_is_known(harness: SinkHarness):
    """One was written by nobody known, and beside it is no opt-out. The other is the citizen's own
    later consent: of that the single query knows date and source, and the law decides.
    """
    await harness.register(*(onay(a_phone(number), minutes=60) for number in (1, 2)))
    await harness.ledger.fetch(
        "UPDATE consents SET registered = 'UNKNOWN', may_send = false, permission_reason = NULL"
        " WHERE recipient = %(one)s RETURNING key",
        {"one": a_phone(1)},
    )
    await harness.submit_opt_out(ret(a_phone(2)))
    harness.advance(A_MINUTE)
    harness.iys.citizen("ONAY", a_phone(2), source="IYS_WEB")
    await order(harness)
    await harness.sweep()
    columns = ("registered", "may_send", "registered_consent_date")
    assert await harness.columns(*columns, recipient=a_phone(1)) == ("ONAY", True, None)
    assert await harness.columns(*columns[:2], recipient=a_phone(2)) == ("RET", False)
    counts = (await swept(harness)).counts
    assert (counts.found, counts.asked, harness.iys.calls("status")) == (1, 1, 0)
    assert await harness.swept_querier.query_swept()
    (event,) = [one for one in await harness.published() if one.status == "ONAY"]
    assert (await harness.row(a_phone(2))).may_send is False
    await harness.ingest(event)
    assert await harness.columns(*columns[:2], recipient=a_phone(2)) == ("ONAY", True)


@pytest.mark.parametrize("fault", [{"code": "H193"}, None])
async def test_recipient_that_iys_refuses_harms_only_itself(
    harness: SinkHarness, fault: dict[str, Any] | None
):
    """A duplicate refuses the whole request, and all are answered in parts; a bad number is found
    among the others, queried alone, and parked for a person.
    """
    people = await registered(harness, 5)
    if fault is not None:
        harness.iys.inject_fault("statuses", status=422, **fault)
    else:
        await harness.ledger.fetch(
            "UPDATE consents SET recipient = %(bad)s WHERE key = %(key)s RETURNING key",
            {"bad": BAD, "key": str(a_key(recipient=people[2]))},
        )
    await order(harness)
    await harness.sweep()
    counts = (await swept(harness)).counts
    bad = int(fault is None)
    assert (counts.queried, counts.confirmed) == (5, 5 - bad)
    assert (counts.refused, counts.asked, counts.shut) == (bad, bad, 0)
    assert await harness.swept_querier.query_swept() is bool(bad)
    if bad:
        assert await harness.columns("state", "reason", "code", recipient=people[2]) == (
            *("parked", "question-refused", "H121"),
        )


async def test_stopped_sweep_saves_nothing_and_one_after_a_gap_goes_first(harness: SinkHarness):
    """Not even the answer that was under way is saved. A sweep within İYS's window sees all that
    was before it; an older one has passed keys since, and starts over.
    """
    await harness.register_onay()
    harness.iys.citizen("RET")
    first = await order(harness)
    assert await sweeps.order(harness.ledger, [BRAND], by="ada", now=harness.clock()) == ()
    stop = partial(sweeps.stop, harness.ledger, None, by="ada", now=harness.clock())
    harness.pacer.meanwhile = stop
    await harness.sweep()
    assert (await harness.row()).registered == "ONAY"
    assert ((await swept(harness)).is_stopped, (await swept(harness)).id) == (True, first.id)
    again, now, other = await order(harness), harness.clock(), BRAND + 1
    assert (again.id > first.id, again.after) == (True, f"{BRAND}/")
    await harness.brand(replace(ACTIVE, brand_code=other))
    assert await sweeps.start_after_gap(harness.ledger, other, now=now)
    found = await sweeps.next_sweep(harness.ledger, harness.context.lease_owner, now=now)
    assert found is not None
    assert (found.brand_code, found.reason) == (other, "gap")
    assert not await sweeps.start_after_gap(harness.ledger, BRAND, now=now + timedelta(days=6))
    found = await sweeps.next_sweep(harness.ledger, harness.context.lease_owner, now=now)
    assert found is not None
    assert (found.id, found.reason) == (again.id, "gap")
    assert await sweeps.start_after_gap(harness.ledger, BRAND, now=now + timedelta(days=8))
    assert (await sweeps.latest(harness.ledger))[0].reason == "gap"


async def test_sweep_waits_for_iys_and_leaves_out_what_it_may_not_query(
    harness: SinkHarness, logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
):
    """It says why, asks no more often than that needs, and a lost right costs one channel."""
    monkeypatch.setattr(outbound_context, "_BACKOFF", Backoff(timedelta(0), timedelta(0)))
    await registered(harness, 4)
    await order(harness)
    for fault, calls in (
        ({"status": 503, "times": 3}, 3),
        ({"status": 422, "code": "H168", "times": 100}, 4),
    ):
        before = harness.iys.calls("statuses")
        harness.iys.inject_fault("statuses", **fault)
        await harness.sweep()
        assert (await swept(harness)).error is not None
        assert harness.iys.calls("statuses") - before == calls
        assert not await harness.sweep()
        harness.iys.clear_faults()
        harness.advance(timedelta(minutes=16))
    assert not [one for one in logged if one["log_level"] == "critical"]
    harness.iys.inject_fault("statuses", status=403, code="H353")
    await harness.sweep()
    await harness.sweep()
    done = await swept(harness)
    assert (done.skipped_groups, done.error) == (("MESAJ/BIREYSEL: H353",), None)
    assert (done.ended_at is not None, done.counts.queried) == (True, 0)
    assert [one["channel"] for one in logged if one["log_level"] == "critical"] == [
        "MESAJ/BIREYSEL"
    ]


async def test_commands_plan_order_show_and_stop_sweeps_and_show_counts(
    harness: SinkHarness, izin: Izin
):
    """Without --execute nothing starts. İYS holds two consents that no key here has, and later
    one less than is believed.
    """
    await harness.register_onay()
    for number in (2, 3):
        harness.iys.citizen("ONAY", a_phone(number), source="IYS_WEB_YENI")
    counter = RegisterCounter(context=harness.context)
    for _ in range(2):
        assert await counter.count() == {}
    assert harness.iys.calls("brands") == 1
    shown = await izin("iys", "counts", "--output=json")
    (found,) = json.loads(shown.stdout)
    assert (shown.exit_code, found["iys_onay"], found["onay"]) == (1, 3, 1)
    assert "2 ONAY that no key here has" in found["remedy"]
    harness.citizen("RET", then=timedelta(days=31))
    await counter.count()
    (found,) = json.loads((await izin("iys", "counts", "--output=json")).stdout)
    assert (found["onay_surplus"], found["ret_surplus"], found["onay_before"]) == (1, 1, 2)
    trend = json.loads((await izin("iys", "counts", "--since=60d", "--output=json")).stdout)
    assert [one["onay_surplus"] for one in trend] == [1, 2]
    assert [one["remedy"] is None for one in trend] == [False, True]

    (planned,) = json.loads((await izin("iys", "sweep", "start", "--output=json")).stdout)
    assert (planned["keys"], planned["requests"], planned["sweep"]) == (1, 1, "not started")
    assert (await izin("iys", "sweep", "status", "--output=json")).stdout == "[]\n"
    started = await izin("iys", "sweep", "start", f"--brand={BRAND}", "--execute", "--output=json")
    assert json.loads(started.stdout)[0]["sweep"] == "open: 0 of 1 keys, 0%"
    assert (await izin("iys", "sweep", "start", "--brand=999999", "--execute")).exit_code == 3
    shown = await izin("iys", "sweep", "status", "--output=json")
    assert (shown.exit_code, json.loads(shown.stdout)[0]["reason"]) == (0, "ordered")
    assert "0 of 1 keys" in (await izin("iys", "sweep", "stop")).stderr
    assert "no sweep is open" in (await izin("iys", "sweep", "stop")).stderr
