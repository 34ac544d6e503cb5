"""İYS gets the opt-out that an opt-in would have hidden, though the opt-in never reaches it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent.model import ConsentEvent
from izin.sinks.record.consent_row import to_json
from izin.sinks.record.suspension import EVERY
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret
from tests.support.builders import PHONE

pytestmark = pytest.mark.database
A_DAY = 24 * 60


def long_ago(harness: SinkHarness, event: ConsentEvent, days: int) -> ConsentEvent:
    """Return ``event``, given so many days ago."""
    at = harness.clock().replace(microsecond=0) - timedelta(days=days)
    return replace(event, consent_date=at, received_at=at + timedelta(seconds=2))


def of_before(harness: SinkHarness) -> tuple[ConsentEvent, ConsentEvent]:
    """Return an opt-out of twenty days ago, and an opt-in of ten days ago, past its term."""
    no = long_ago(harness, ret(source="HS_CAGRI_MERKEZI", event_id="no"), 20)
    return no, long_ago(harness, onay(event_id="void"), 10)


async def submit_all(harness: SinkHarness) -> None:
    """Let the outbound loops do what is due, with the rescues that they publish."""
    for _ in range(2):
        await harness.run(
            *(harness.opt_out, harness.query, harness.recover_now, harness.bulk, harness.settle),
            times=4,
            every=timedelta(minutes=5),
        )
        await harness.ingest_each(await harness.published())


async def hold_old_onay(harness: SinkHarness) -> None:
    """Have İYS hold an opt-in of thirty days ago."""
    await harness.register_onay()
    harness.advance(timedelta(days=30))


@pytest.mark.parametrize("is_late", [False, True], ids=["in order", "opt-out late"])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
async def test_void_opt_in_leaves_the_opt_out_to_iys(
    harness: SinkHarness, is_late: bool, together: bool
):
    """In the same batch, or one after the other; the opt-out first, or last."""
    await hold_old_onay(harness)
    order = of_before(harness)[:: -1 if is_late else 1]
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
    assert await harness.columns("desired_status", "ret_event_id") == ("ONAY", f"ret-{PHONE}-5")
    harness.advance(timedelta(days=20))
    assert await harness.scheduler.expire()
    assert await harness.columns("desired_status", "state", "action") == ("RET", "pending", "send")
    await harness.resume("MESAJ", EVERY)
    await submit_all(harness)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_opt_out_that_was_tried_is_due_again(harness: SinkHarness):
    """It is retried when the void opt-in comes: its obligation begins again in its row."""
    await hold_old_onay(harness)
    no, void = of_before(harness)
    await harness.ingest(no)
    harness.iys.inject_fault("addV2", status=500, code="H103")
    assert await harness.opt_out()
    assert await harness.columns("state") == ("retryable",)
    for _ in range(2):
        await harness.ingest(void)
        assert await harness.columns("state", "void_event_id") == ("pending", "void")
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
    assert to_json(rows)


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
