"""Opt-outs of one source that are too many are held back from İYS, and from nobody else.

What another source has opted out too is neither held back nor withdrawn with a faulty list.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent import ConsentEvent
from izin.ledger import reads, retention
from izin.ledger.automatic_suspension import counting, decisions
from izin.ledger.automatic_suspension.counting import SuspensionLimits
from izin.ledger.automatic_suspension.decisions import BEFORE_DUE
from izin.ledger.db import Notifications
from izin.runtime.process import cancel_all
from izin.runtime.settings import SinkSettings
from izin.sinks.ingest.batch import SourceWatch
from izin.sinks.outbound.loops import outbound_loops
from tests.integration.ledger.test_query_plans import LANE, explained, indexes, nodes
from tests.integration.sinks.automatic_suspension.suspension_harness import (
    ALLOWED,
    OPT_INS,
    held_back,
    opt_outs,
    opted_in,
    set_brake,
    submit_all,
    suspend,
    withdraw,
)
from tests.integration.sinks.sink_harness import (
    A_MINUTE,
    ACTIVE,
    Killed,
    SinkHarness,
    a_phone,
    onay,
    ret,
    until,
)
from tests.support.builders import BRAND, a_key, an_iys_event, an_iys_origin

pytestmark = pytest.mark.database
OTHER_BRAND = 100_009
KEY_OF_CRM = """INSERT INTO api_keys (id, name, secret_hash, scopes, customers, brands, channels,
    created_at) VALUES ('0a1b2c3d4e5f-1', 'shop', sha256('fake'), '{publish}', '{acme}', '{}', '{}',
    now()) RETURNING id"""
FIRST = a_phone(0)
OTHERS = {a_phone(number) for number in range(1, 5)}


async def counted(harness: SinkHarness) -> tuple[int, int]:
    """Return how many opt-ins of our brand are counted, and how many there are."""
    (row,) = await harness.ledger.fetch(
        "SELECT (SELECT keys FROM opt_in_counts WHERE brand_code = %(code)s) AS counted,"
        " (SELECT count(*) FROM consents WHERE brand_code = %(code)s AND desired_status = 'ONAY')"
        " AS found",
        {"code": BRAND},
    )
    return row["counted"], row["found"]


async def sources_of(harness: SinkHarness) -> Mapping[str, int]:
    """Return how much is held back of each source."""
    return {one.source: one.held_back for one in await decisions.undecided(harness.ledger)}


@pytest.fixture
async def registered(harness: SinkHarness) -> None:
    """Have opt-ins at İYS, and the limits of their customer set."""
    await opted_in(harness)


@pytest.fixture
async def suspended(harness: SinkHarness) -> None:
    """Have one source opt out more recipients than the limits allow."""
    await suspend(harness)


@pytest.mark.usefixtures("registered")
async def test_brake_trips_above_the_share_and_not_at_it(harness: SinkHarness):
    """Then the opt-outs of the hour before are held back too, as far as they were not sent."""
    await harness.ingest(*opt_outs(range(ALLOWED)))
    assert await sources_of(harness) == {}
    assert await harness.opt_out()
    assert len(await submit_all(harness)) == ALLOWED
    await harness.ingest(*opt_outs([ALLOWED]))
    assert await sources_of(harness) == {"crm": 1}
    await harness.ingest(*opt_outs([ALLOWED + 1]))
    assert await sources_of(harness) == {"crm": 2}
    assert len(await submit_all(harness)) == ALLOWED
    (suspension,) = await decisions.undecided(harness.ledger)
    assert (suspension.keys, suspension.opted_in, suspension.share) == (
        ALLOWED + 1,
        OPT_INS - ALLOWED - 1,
        20,
    )


async def test_brake_never_trips_below_its_least_number(harness: SinkHarness):
    """Of a small brand, a few opt-outs are a large share."""
    await opted_in(harness, SuspensionLimits(share=1, at_least=6))
    await harness.ingest(*opt_outs(range(5)))
    assert await held_back(harness) == set()
    await harness.ingest(*opt_outs([5]))
    assert len(await held_back(harness)) == 6


async def test_without_a_brake_nothing_is_held_back(harness: SinkHarness):
    """It is off until a customer sets it, and once it is taken away; nothing is counted then."""
    await opted_in(harness, None)
    await harness.ingest(*opt_outs(range(10)))
    await set_brake(harness)
    await set_brake(harness, None)
    await harness.ingest(*opt_outs(range(10, OPT_INS)))
    assert await held_back(harness) == set()
    for table in ("opt_in_counts", "recent_opt_outs", "brakes"):
        assert not await harness.ledger.fetch(f"SELECT FROM {table}")  # type: ignore[arg-type]


@pytest.mark.usefixtures("registered")
async def test_sources_are_counted_each_for_itself(harness: SinkHarness):
    """An API key is a source whatever origin it names; another actor is none."""
    await harness.ledger.fetch(KEY_OF_CRM)
    await harness.ingest(
        *opt_outs(range(3), origin="crm", actor="ada"),
        *opt_outs(range(3, 6), origin="crm", actor="shop"),
        *opt_outs(range(6, 8), origin="web", actor="shop"),
    )
    assert await sources_of(harness) == {"shop": 5}
    assert await held_back(harness) == {a_phone(number) for number in range(3, 8)}
    assert len(await submit_all(harness)) == 3
    await harness.ingest(*opt_outs(range(10, 15), origin="file " * 1000))
    assert await sources_of(harness) == {"shop": 5, "file " * 40: 5}


@pytest.mark.usefixtures("registered")
async def test_what_iys_reports_is_neither_counted_nor_held_back(harness: SinkHarness):
    """Citizens opt out as they like; and over what is held back, theirs settles it: nothing of it
    is ours to withdraw.
    """
    at = harness.clock().replace(microsecond=0) - A_MINUTE
    citizens = [
        an_iys_event(
            event_id=f"iys-{number}",
            recipient=a_phone(number),
            consent_date=at,
            received_at=at,
            iys=an_iys_origin(creation_date=at),
        )
        for number in range(OPT_INS)
    ]
    await harness.ingest(*citizens[5:])
    assert await sources_of(harness) == {}
    await harness.ingest(*opt_outs(range(3)))
    assert await sources_of(harness) == {"crm": 3}  # of five that are left
    await harness.ingest(citizens[0])
    assert await held_back(harness) == {a_phone(1), a_phone(2)}
    (suspension,) = await decisions.undecided(harness.ledger)
    assert await withdraw(harness, suspension) == (2, 0)
    assert await harness.columns("withdrawn_at", "desired_origin", recipient=FIRST) == (None, "iys")


@pytest.mark.usefixtures("suspended")
async def test_held_back_opt_outs_take_effect_at_once(harness: SinkHarness):
    """Permissions are revoked, and only what is due to İYS waits: other sources, other brands, new
    opt-ins and status queries go on.
    """
    await harness.brand(replace(ACTIVE, brand_code=OTHER_BRAND))
    assert [await harness.permissions(a_phone(number)) for number in range(5)] == [
        [False, True, False]
    ] * 5
    await harness.ingest(*opt_outs([5], origin="web"), onay(a_phone(30)))
    assert await submit_all(harness) == {a_phone(5): "RET"}
    assert await harness.bulk()
    lag = await reads.lag(harness.ledger, now=harness.clock())
    assert (lag.held_back, lag.to_send, lag.opt_outs) == (5, 0, 0)
    await harness.ingest(ret(a_phone(9), brand_code=OTHER_BRAND, origin="crm"))
    assert await held_back(harness) == {a_phone(number) for number in range(5)}


async def test_no_opt_out_is_late_where_nobody_decides(harness: SinkHarness):
    """Each goes by itself a day before it is due: none is lost, none a breach."""
    await suspend(harness, OPT_INS)
    due = [(await harness.row(a_phone(number))).due_at for number in range(OPT_INS)]
    first = min(one for one in due if one is not None)
    harness.advance(first - BEFORE_DUE - harness.clock() - A_MINUTE)
    assert not await harness.scheduler.end_holds()
    assert await submit_all(harness) == {}
    harness.advance(A_MINUTE)
    assert await harness.scheduler.end_holds()
    assert len(await submit_all(harness)) == OPT_INS
    rows = [await harness.row(a_phone(number)) for number in range(OPT_INS)]
    assert all(one.last_exchange_at < one.due_at for one in rows)
    assert not await harness.ledger.fetch("SELECT FROM history WHERE kind = 'breach'")


@pytest.mark.usefixtures("suspended")
async def test_loops_of_a_worker_end_what_was_held_back_long_enough(harness: SinkHarness):
    """Nobody decides: the worker that submits opt-outs also lets these go."""
    due = (await harness.row(a_phone(0))).due_at
    assert due is not None
    harness.advance(due - BEFORE_DUE - harness.clock() + A_MINUTE)
    sink, stopping = SinkSettings(poll_interval=timedelta(seconds=0.1)), asyncio.Event()
    loops = outbound_loops(harness.context, sink, Notifications(), stopping)
    running = [asyncio.create_task(loop) for _, loop in loops]
    try:
        await until(lambda: list(harness.iys.register().values()).count("RET") == 5)
    finally:
        await cancel_all(running)


@pytest.mark.usefixtures("registered")
async def test_opt_outs_due_within_a_day_are_not_held_back(harness: SinkHarness):
    """Nor those that are overdue, nor those without a term; others of the source are."""
    late = [ret(a_phone(40 + n), minutes=60 * 24 * (3 + 2 * n), origin="crm") for n in range(5)]
    await harness.ingest(*late, *opt_outs(range(5)))
    held = await held_back(harness)
    assert held >= {a_phone(number) for number in range(5)}
    assert not held & {a_phone(43), a_phone(44)}
    for recipient in held:
        row = await harness.row(recipient)
        assert row.due_at is not None
        assert row.due_at - BEFORE_DUE > harness.clock()
    await harness.brand_in_loading()
    await harness.brand(replace(ACTIVE, activated_at=None))
    assert await harness.scheduler.end_holds()
    assert await held_back(harness) == set()


@pytest.mark.parametrize(
    "events",
    [
        lambda: [
            ret(a_phone(number), minutes=5 + 10 * number, origin="crm") for number in range(5)
        ],
        lambda: opt_outs(range(50, 58)),
    ],
    ids=["of earlier dates", "of new recipients"],
)
@pytest.mark.usefixtures("registered")
async def test_arrival_of_any_opt_out_counts(
    harness: SinkHarness, events: Callable[[], Sequence[ConsentEvent]]
):
    """Dates that are spread over the hours before do not delay it; an hour's arrivals do count. İYS
    may hold an opt-in of new recipients, whose rows are made in bulk.
    """
    given = events()
    await harness.ingest(*given)
    assert len(await held_back(harness)) == len(given)
    assert await submit_all(harness) == {}


@pytest.mark.usefixtures("registered")
async def test_opt_outs_of_an_hour_ago_are_not_counted(harness: SinkHarness):
    """Nor is a recipient counted twice, nor one whose opt-out İYS has already."""
    await harness.ingest(*opt_outs(range(4)))
    await harness.ingest(*(ret(a_phone(n), minutes=3, origin="crm") for n in range(4)))
    assert await sources_of(harness) == {}
    assert len(await submit_all(harness)) == 4
    harness.advance(60 * A_MINUTE)
    await harness.ingest(*(ret(a_phone(n), minutes=1, origin="crm") for n in range(4)))
    await harness.ingest(*opt_outs(range(4, 7)))
    assert await sources_of(harness) == {}
    await harness.ingest(*opt_outs([7]))
    assert await sources_of(harness) == {"crm": 4}  # of sixteen that are left
    await retention.delete_expired(harness.ledger, now=harness.clock() + 2 * 60 * A_MINUTE)
    assert not await harness.ledger.fetch("SELECT FROM recent_opt_outs")


@pytest.mark.usefixtures("registered")
async def test_kill_after_the_trip_leaves_neither_brake_nor_rows(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Rows, suspension and holds are one transaction: the batch is read again."""
    end = SourceWatch.end

    async def die(*arguments: object) -> None:
        await end(*arguments)  # type: ignore[arg-type]
        raise Killed

    before = harness.offset
    events = opt_outs(range(5))
    with monkeypatch.context() as patched:
        patched.setattr(SourceWatch, "end", die)
        with pytest.raises(Killed):
            await harness.ingest(*events)
    assert await sources_of(harness) == {}
    assert not await harness.opt_out()
    harness.offset = before
    await harness.ingest_again(*events)
    assert await sources_of(harness) == {"crm": 5}


@pytest.mark.usefixtures("registered")
async def test_counted_opt_ins_follow_every_decision(harness: SinkHarness):
    """New ones in bulk or one by one, opt-outs, and opt-ins again; a brand that was never counted
    is counted at its first opt-out.
    """
    assert await counted(harness) == (OPT_INS, OPT_INS)
    await harness.ingest(
        *opt_outs(range(3)),
        *(onay(a_phone(number)) for number in range(60, 70)),
        onay(a_phone(70)),
        ret(a_phone(70)),
        onay(a_phone(2), minutes=1),
    )
    assert await counted(harness) == (28, 28)
    await harness.ledger.fetch("DELETE FROM opt_in_counts RETURNING brand_code")
    await harness.ingest(onay(a_phone(80)))
    assert await counted(harness) == (None, 29)
    await harness.ingest(onay(a_phone(81)), ret(a_phone(82)))
    assert await counted(harness) == (30, 30)
    await harness.brand(replace(ACTIVE, customer_id="beta"))
    assert await counted(harness) == (None, 30)


@pytest.mark.usefixtures("suspended")
async def test_monitor_alerts_of_what_is_held_back(harness: SinkHarness):
    """As often as it has become more."""
    monitor = harness.monitor
    (alert,) = [one for one in await monitor.check() if "held back" in one.event]
    about = dict(alert.fields)
    assert (about["brand"], about["source"], alert.records) == (BRAND, "crm", 5)
    assert await monitor.check() == ()
    await harness.ingest(*opt_outs([5]))
    assert [one.records for one in await monitor.check()] == [6]


@pytest.mark.usefixtures("suspended")
async def test_erased_keys_leave_nothing_noted(harness: SinkHarness):
    """Which source opted a recipient out is personal data too."""
    async with harness.ledger.transaction() as connection:
        await counting.forget_keys(connection, [str(a_key(recipient=a_phone(0)))])
    rows = await harness.ledger.fetch("SELECT key FROM recent_opt_outs")
    assert len(rows) == ALLOWED
    assert not any(a_phone(0) in row["key"] for row in rows)


@pytest.mark.usefixtures("suspended")
async def test_claims_do_not_read_what_is_held_back(harness: SinkHarness):
    """However much it is: the index of what is due has none of it."""
    template = str(a_key(recipient=a_phone(0)))
    async with harness.ledger.session() as connection:
        await connection.execute(
            "INSERT INTO consents SELECT (jsonb_populate_record(c, jsonb_build_object("
            " 'key', c.key || n, 'recipient', c.recipient || n))).*"
            " FROM consents AS c, generate_series(1, 5000) AS n WHERE c.key = %s",
            [template],
        )
        await connection.execute("VACUUM ANALYZE consents")
        query, now = decisions.statements("claims")["claim"], harness.clock()
        lane = {**LANE, "status": "RET", "now": now}
        plan = await explained(connection, query, lane, "ANALYZE", "BUFFERS")
        assert "consents_sendable" in indexes(plan)
        assert sum(one.get("Rows Removed by Filter", 0) for one in nodes(plan)) == 0
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 50
        for name in ("end", "held-back", "undecided"):
            query = decisions.statements("automatic_suspensions")[name]
            plan = await explained(connection, query, {"id": 1, "size": 1000, "now": now})
            assert name == "undecided" or "consents_held_back" in indexes(plan), name


def genuine(minutes: int = 30, origin: str = "web", **more: object):  # type: ignore[no-untyped-def]
    """Return an opt-out of the first recipient that another source sends."""
    return ret(FIRST, minutes=minutes, origin=origin, event_id=f"{origin}-{minutes}", **more)


async def facts(harness: SinkHarness) -> tuple[object, ...]:
    """Return what is due of the first recipient, and from which source."""
    names = ("state", "action", "desired_origin", "desired_event_id", "may_send")
    return tuple(await harness.columns(*names, recipient=FIRST))


DUE = ("pending", "send", "web", "web-30", False)


@pytest.mark.parametrize("before", [0, 2], ids=["at once", "in two parts"])
@pytest.mark.usefixtures("registered")
async def test_waiting_opt_out_of_another_source_is_not_held(harness: SinkHarness, before: int):
    """It goes with its own date, whatever a faulty source says since; the others are withdrawn. The
    list suspends its source at its end only: what it had taken over until then goes as well.
    """
    await harness.ingest(genuine())
    due_at = (await harness.row(FIRST)).due_at
    await harness.ingest(*opt_outs(range(before)))
    await harness.ingest(*opt_outs(range(before, 5)))
    assert await held_back(harness) == OTHERS
    assert await facts(harness) == DUE
    assert (await harness.row(FIRST)).due_at == due_at
    (suspension,) = await decisions.undecided(harness.ledger)
    assert await withdraw(harness, suspension) == (4, 0)
    assert await submit_all(harness) == {FIRST: "RET"}


@pytest.mark.parametrize("is_withdrawn", [False, True])
async def test_stale_opt_out_of_another_source_opens_the_key(
    harness: SinkHarness, *, is_withdrawn: bool
):
    """It is older than the faulty one, and genuine: it is due as it was given. The faulty one,
    again, changes nothing, nor does taking the limits away.
    """
    faulty = opt_outs(range(5))
    await opted_in(harness)
    await harness.ingest(*faulty)
    (suspension,) = await decisions.undecided(harness.ledger)
    if is_withdrawn:
        assert await withdraw(harness, suspension) == (5, 0)
        await set_brake(harness, None)
    await harness.ingest(genuine())
    assert await facts(harness) == DUE
    assert await held_back(harness) == (set() if is_withdrawn else OTHERS)
    await harness.ingest_again(*faulty)
    assert await facts(harness) == DUE
    assert await submit_all(harness) == {FIRST: "RET"}
    await harness.ingest(onay(FIRST, minutes=-1))
    assert (await harness.row(FIRST)).desired_status == "ONAY"


async def test_withdrawal_leaves_out_what_another_source_said(harness: SinkHarness):
    """Also of what an earlier release has held back."""
    await opted_in(harness, None)
    await harness.ingest(genuine())
    await harness.ingest(*opt_outs([0]))
    await set_brake(harness)
    await harness.ingest(*opt_outs(range(1, 5)))
    (suspension,) = await decisions.undecided(harness.ledger)
    await harness.set_columns(brake_id=suspension.id, recipient=FIRST)
    assert await withdraw(harness, suspension) == (4, 1)
    assert await facts(harness) == DUE
    assert await submit_all(harness) == {FIRST: "RET"}


@pytest.mark.parametrize("other", ["before an opt-in", "of the same source", "withdrawn itself"])
async def test_what_is_no_other_genuine_opt_out_stays_withdrawn(harness: SinkHarness, other: str):
    """One that an opt-in has followed, an older one of the list, one that was withdrawn too."""
    if other == "before an opt-in":
        await opted_in(harness)
        await harness.ingest(genuine(minutes=40), onay(FIRST, minutes=20))
        await harness.ingest(*opt_outs(range(5)))
    elif other == "withdrawn itself":
        await withdraw(harness, await suspend(harness, origin="web"))
        await harness.ingest(*opt_outs(range(5), minutes=-1))
    else:
        await suspend(harness)
    (suspension,) = await decisions.undecided(harness.ledger)
    assert await withdraw(harness, suspension) == (5, 0)
    if other == "of the same source":
        await harness.ingest(genuine(origin="crm"))
    harness.advance(timedelta(days=5))
    assert await submit_all(harness) == {}
