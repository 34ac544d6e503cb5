"""Of many opt-outs none waits for others: neither one whose opt-in is in flight, nor an unknown."""

import pytest

from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret

pytestmark = pytest.mark.database


async def test_many_opt_outs_of_opt_ins_in_flight_are_a_batch(harness: SinkHarness) -> None:
    """One call for all of them, which İYS processes after the opt-ins: none is refused."""
    people = await harness.ingest_for(onay, range(60))
    assert await harness.bulk()
    await harness.ingest_for(ret, range(60))
    while await harness.opt_out():
        pass
    assert (harness.iys.calls("batchV2"), harness.iys.calls("addV2")) == (2, 0)
    while await harness.settle() or await harness.opt_out():
        pass
    assert harness.iys.register() == dict.fromkeys(people, "RET")
    assert set(await harness.states_of(people)) == {"accepted"}
    assert harness.iys.calls("addV2") == 0


async def test_opt_outs_in_flight_go_with_those_of_registered_opt_ins(harness: SinkHarness) -> None:
    """Both kinds are in one batch where together they are many."""
    await harness.register(*(onay(a_phone(number)) for number in range(30)))
    await harness.ingest_for(onay, range(30, 60))
    assert await harness.bulk()
    await harness.ingest_for(ret, range(60))
    while await harness.opt_out():
        pass
    assert (harness.iys.calls("batchV2"), harness.iys.calls("addV2")) == (3, 0)


async def test_unknown_opt_outs_have_their_turn_among_known_ones(harness: SinkHarness) -> None:
    """While opt-outs of registered opt-ins keep coming, the others are queried all the same."""
    await harness.register(*(onay(a_phone(number)) for number in range(8)))
    scheduler = harness.scheduler
    await harness.ingest_for(ret, range(16))
    harness.start_second()
    for _ in range(6):
        assert await scheduler.opt_out()
    assert harness.iys.calls("statuses") == 1
    assert harness.iys.calls("addV2") == 5


async def test_single_unknown_opt_out_has_its_turn_among_known_ones(harness: SinkHarness) -> None:
    """Alone it is submitted, not queried."""
    await harness.register(*(onay(a_phone(number)) for number in range(8)))
    scheduler = harness.scheduler
    (unknown,) = await harness.ingest_for(ret, [99])
    await harness.ingest_for(ret, range(8))
    harness.start_second()
    for _ in range(6):
        assert await scheduler.opt_out()
    assert (await harness.row(unknown)).state == "not_needed"
