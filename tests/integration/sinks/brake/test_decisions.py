"""What is held back is released or withdrawn by a person, and nothing else changes that."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent.next_action import Action
from izin.sinks.ledger import reads
from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.brake.decisions import Brake
from izin.sinks.record.consent_row import READ_BACK
from tests.integration.sinks.brake.brake_harness import (
    ALLOWED,
    held_back,
    opt_outs,
    release,
    submit_all,
    trip,
    withdraw,
)
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    Izin,
    Killed,
    SinkHarness,
    a_phone,
    onay,
    ret,
)
from tests.support.builders import BRAND, an_iys_event, an_iys_origin

pytestmark = pytest.mark.database

FIRST = a_phone(0)
WITHDRAWN = ("not_needed", "nothing", "withdrawn", False)


async def states(harness: SinkHarness, count: int) -> set[tuple[object, ...]]:
    """Return in which states the first recipients are."""
    names = ("state", "action", "reason", "may_send")
    return {
        tuple(await harness.columns(*names, recipient=a_phone(number))) for number in range(count)
    }


async def acts_of(harness: SinkHarness, recipient: str = FIRST) -> list[dict[str, object]]:
    """Return what people ordered about a recipient, or about its brand."""
    facts = (await reads.history(harness.ledger, recipient)).facts
    return [dict(one.data) for one in facts if one.kind == "act"]


async def test_released_opt_outs_are_registered_at_once(harness: SinkHarness):
    """With who and why in the history; from then on the source is counted anew."""
    brake = await trip(harness)
    assert await submit_all(harness) == {}
    assert await release(harness, brake) == (5, 0)
    assert len(await submit_all(harness)) == 5
    act = (await acts_of(harness))[-1]
    assert (act["act"], act["by"]) == ("release opt-outs", "ada")
    assert act["after"] == {"source": "crm", "decision": "released", "why": "a closed branch"}
    await harness.ingest(*opt_outs(range(5, 8)))
    assert await decisions.undecided(harness.ledger) == ()
    await harness.ingest(*opt_outs([8]))
    (again,) = await decisions.undecided(harness.ledger)
    assert (again.keys, again.held_back) == (ALLOWED, 4)


async def test_withdrawn_opt_outs_never_reach_iys(harness: SinkHarness):
    """They stay opt-outs that permit nothing; each has the statement of who, why and when."""
    brake = await trip(harness)
    assert await withdraw(harness, brake) == (5, 0)
    assert await states(harness, 5) == {WITHDRAWN}
    harness.advance(timedelta(days=5))
    assert not await harness.scheduler.end_holds()
    assert await submit_all(harness) == {}
    row = await harness.row(FIRST)
    assert (row.desired_status, row.registered, row.withdrawn_at is None) == ("RET", "ONAY", False)
    of_brand, of_key = (await acts_of(harness))[-2:]
    assert of_brand["act"] == "withdraw opt-outs"
    assert (of_key["act"], of_key["by"]) == ("withdraw opt-out", "ada")
    assert of_key["after"] == {"state": "withdrawn", "why": "wrong list"}
    outcomes = await harness.outbox("%consent-outcomes", "Outcome")
    found = [(one["outcome"], one["message"], one["status"]) for one in outcomes[-5:]]
    assert found == [("not_needed", "withdrawn", "RET")] * 5
    assert await decisions.undecided(harness.ledger) == ()


async def repeat(harness: SinkHarness) -> None:
    """Ingest the opt-outs again, as after a replay, and an older one."""
    harness.states.clear()
    await harness.ingest(*opt_outs(range(5)))
    await harness.ingest(ret(FIRST, minutes=50, origin="crm"))


async def change_brand(harness: SinkHarness) -> None:
    """Have the records of the brand ruled again, twice, and requeue what is parked."""
    await harness.brand(replace(ACTIVE, name="Başka"))
    await harness.brand(replace(ACTIVE, activated_at=harness.clock() - timedelta(days=400)))
    await harness.requeue(*{one.reason or "" for one in await reads.parked(harness.ledger)})


async def pull(harness: SinkHarness) -> None:
    """Pull what İYS shows of the opt-ins, and ingest what follows."""
    await harness.pull_and_ingest()


async def read_back(harness: SinkHarness) -> None:
    """Have the status of a settled opt-out queried, as after a late call; İYS shows ONAY."""
    row = await harness.row(FIRST)
    if row.withdrawn_at is not None:
        async with harness.context.changes() as changes:
            changes.put(row, row.replace(action=Action.QUERY, reason=READ_BACK))
        assert await harness.query()
        assert not await harness.query()


@pytest.mark.parametrize("ruled_again", [repeat, change_brand, pull, read_back])
async def test_ruling_again_revives_and_loses_nothing(
    harness: SinkHarness, ruled_again: Callable[[SinkHarness], Awaitable[None]]
):
    """What is held back stays so, and what was withdrawn stays withdrawn."""
    brake = await trip(harness)
    await ruled_again(harness)
    assert len(await held_back(harness)) == 5
    assert await submit_all(harness) == {}
    await withdraw(harness, brake)
    await ruled_again(harness)
    assert await submit_all(harness) == {}
    rows = [await harness.row(a_phone(number)) for number in range(5)]
    assert {(one.state, one.action) for one in rows} == {("not_needed", "nothing")}
    await harness.ingest(*opt_outs([9]))
    assert await submit_all(harness) == {a_phone(9): "RET"}


async def test_later_opt_out_of_a_withdrawn_key_is_registered(harness: SinkHarness):
    """It starts a new obligation; so many of them trip the brake again."""
    await withdraw(harness, await trip(harness))
    await harness.ingest(ret(FIRST, minutes=1, origin="web"))
    assert (await harness.row(FIRST)).withdrawn_at is None
    assert await submit_all(harness) == {FIRST: "RET"}
    await harness.ingest(*(ret(a_phone(n), minutes=1, origin="crm") for n in range(1, 5)))
    assert len(await held_back(harness)) == 4


async def test_newer_opt_in_permits_again_after_a_withdrawal(harness: SinkHarness):
    """It is registered with its own date: that of the opt-in at İYS is before the opt-out."""
    await withdraw(harness, await trip(harness))
    await harness.ingest(onay(FIRST, minutes=1))
    assert await harness.columns("state", "may_send", recipient=FIRST) == ("pending", False)
    assert await harness.bulk()
    assert await harness.settle()
    assert await harness.columns("state", "may_send", recipient=FIRST) == ("accepted", True)
    assert harness.iys.movements(FIRST) == ["ONAY", "ONAY"]


async def test_what_iys_settled_meanwhile_is_not_withdrawn(harness: SinkHarness):
    """A citizen's opt-out is İYS's: nothing of it is ours to withdraw."""
    brake = await trip(harness)
    at = harness.clock().replace(microsecond=0)
    citizen = an_iys_event(
        recipient=FIRST, consent_date=at, received_at=at, iys=an_iys_origin(creation_date=at)
    )
    await harness.ingest(citizen)
    assert await withdraw(harness, brake) == (4, 0)
    row = await harness.row(FIRST)
    assert (row.withdrawn_at, row.desired_origin) == (None, "iys")


@pytest.mark.parametrize("order", [release, withdraw])
async def test_order_that_was_cut_off_is_carried_out_by_the_same_order(
    harness: SinkHarness,
    monkeypatch: pytest.MonkeyPatch,
    order: Callable[[SinkHarness, Brake], Awaitable[tuple[int, int]]],
):
    """It is shown until then; what comes meanwhile is counted anew, and the decision is one."""
    brake = await trip(harness)
    decide = decisions._decide

    async def die(*arguments: object, **more: object) -> None:
        await decide(*arguments, **more)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(decisions, "_decide", die)
        with pytest.raises(Killed):
            await order(harness, brake)
    (left,) = await decisions.undecided(harness.ledger)
    assert (left.decision is None, left.held_back) == (False, 5)
    monkeypatch.setattr(decisions, "_PAGE", 2)
    assert await order(harness, left) == (5, 0)
    assert await decisions.undecided(harness.ledger) == ()
    orders = {str(one["act"]) for one in await acts_of(harness) if "opt-outs" in str(one["act"])}
    assert len(orders) == 1


async def test_commands_show_and_decide_what_is_held_back(harness: SinkHarness, izin: Izin):
    """In each place with the remedy; each names its source, and only shows it without --execute."""
    shown = await izin("held-back", "limit", "acme", "--share", "20", "--minimum", "3")
    assert "off -> more than 20 % and at least 3" in shown.stderr
    assert (await izin("held-back", "limit", "acme")).exit_code == 2
    assert (await izin("held-back", "limit", "nobody", "--off")).exit_code == 3
    assert (await izin("held-back", "list")).exit_code == 0
    await trip(harness)
    (listed,) = json.loads((await izin("customers", "list", "--output", "json")).stdout)[:1]
    assert listed["limits"] == "more than 20 % and at least 3 opt-outs an hour"
    shown = await izin("held-back", "list", "--output", "json")
    (one,) = json.loads(shown.stdout)
    assert (shown.exit_code, one["source"], one["held_back"]) == (1, "crm", 5)
    assert f"izin held-back withdraw {BRAND} --origin crm --reason … --execute" in one["remedy"]
    rows = json.loads((await izin("brands", "show", BRAND, "--output", "json")).stdout)
    (held,) = [row for row in rows if row["field"] == "opt-outs of crm"]
    assert (held["value"], "izin held-back release" in held["warning"]) == ("5 held back", True)
    explained = " ".join((await izin("explain", FIRST)).stdout.split())
    assert "held back by a brake until" in explained
    reason = ("--reason", "wrong list", "--by", "ada")
    for name in ("release", "withdraw"):
        assert (await izin("held-back", name, BRAND, *reason, "--execute")).exit_code == 2
        assert (
            await izin("held-back", name, BRAND, "--origin=web", *reason, "--execute")
        ).exit_code == 3
        shown = await izin("held-back", name, BRAND, "--origin=crm", *reason)
        assert (shown.exit_code, "5 opt-outs of crm" in shown.stderr) == (0, True)
        assert len(await held_back(harness)) == 5
    order = ("held-back", "withdraw", BRAND, "--origin=crm", *reason)
    assert "5 opt-outs of crm" in (await izin(*order, "--execute")).stderr
    explained = " ".join((await izin("explain", FIRST)).stdout.split())
    assert "withdraw opt-out (by ada)" in explained
    assert "kept from İYS by a person since" in explained
    assert (await izin(*order, "--execute")).exit_code == 3


async def test_release_of_what_was_withdrawn_is_refused(
    harness: SinkHarness, izin: Izin, monkeypatch: pytest.MonkeyPatch
):
    """A decision that was cut off is carried out as it was made."""
    await trip(harness)
    await harness.ledger.fetch(
        "UPDATE brakes SET decision = 'withdrawn', decided_at = now(), decided_by = 'ada',"
        " reason = 'wrong list' RETURNING id"
    )
    order = (BRAND, "--origin=crm", "--reason", "right", "--by", "bob", "--execute")
    refused = await izin("held-back", "release", *order)
    assert (refused.exit_code, "withdrawn already" in refused.stderr) == (3, True)
    assert len(await held_back(harness)) == 5
    assert (await izin("held-back", "withdraw", *order)).exit_code == 0
    await harness.ingest(*opt_outs(range(10, 15)))
    assert (await izin("held-back", "release", *order)).exit_code == 0
    assert len(await submit_all(harness)) == 5
