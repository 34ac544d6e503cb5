"""What is held back is released or withdrawn by a person, and nothing else changes that.

Opt-ins of one source over too many opt-outs wait for a person, and permit nothing meanwhile.

What one import changed, as ``izin import changes`` tells it.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from izin.consent import Action
from izin.ledger import reads
from izin.ledger.automatic_suspension import decisions
from izin.ledger.automatic_suspension.counting import SuspensionLimits
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension
from izin.ledger.record import READ_BACK
from tests.integration.sinks.automatic_suspension.suspension_harness import (
    ALLOWED,
    held_back,
    opt_outs,
    release,
    set_brake,
    submit_all,
    suspend,
    withdraw,
)
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    Izin,
    Killed,
    SinkHarness,
    a_phone,
    ended,
    onay,
    ret,
)
from tests.support.builders import BRAND

pytestmark = pytest.mark.database
FIRST = a_phone(0)
WITHDRAWN = ("not_needed", "nothing", "withdrawn", False)
LIMITS = SuspensionLimits(reversals=3)
NEW, BEHIND, SAME, OTHER = map(a_phone, range(4))


async def acts_of(harness: SinkHarness, recipient: str = FIRST) -> list[dict[str, object]]:
    """Return what people ordered about a recipient, or about its brand."""
    facts = (await reads.history(harness.ledger, recipient)).facts
    return [dict(one.data) for one in facts if one.kind == "act"]


async def explained(izin: Izin) -> str:
    """Return what ``izin explain`` says of the first recipient."""
    return " ".join((await izin("explain", FIRST)).stdout.split())


@pytest.fixture
async def suspension(harness: SinkHarness) -> AutomaticSuspension:
    """Give the suspension of a source."""
    return await suspend(harness)


async def test_released_opt_outs_are_registered_at_once(
    harness: SinkHarness, suspension: AutomaticSuspension
):
    """With who and why in the history; from then on the source is counted anew."""
    assert await release(harness, suspension) == (5, 0)
    assert len(await submit_all(harness)) == 5
    act = (await acts_of(harness))[-1]
    assert (act["act"], act["by"]) == ("release opt-outs", "ada")
    assert act["after"] == {"source": "crm", "decision": "released", "why": "a closed branch"}
    await harness.ingest(*opt_outs(range(5, 8)))
    assert await decisions.undecided(harness.ledger) == ()
    await harness.ingest(*opt_outs([8]))
    (again,) = await decisions.undecided(harness.ledger)
    assert (again.keys, again.held_back) == (ALLOWED, 4)


async def test_withdrawn_opt_outs_never_reach_iys(
    harness: SinkHarness, suspension: AutomaticSuspension
):
    """They stay opt-outs that permit nothing; each has the statement of who, why and when."""
    assert await withdraw(harness, suspension) == (5, 0)
    names = ("state", "action", "reason", "may_send")
    for number in range(5):
        assert await harness.columns(*names, recipient=a_phone(number)) == WITHDRAWN
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
    await harness.ingest_again(*opt_outs(range(5)))
    await harness.ingest(ret(FIRST, minutes=50, origin="crm"))


async def change_brand(harness: SinkHarness) -> None:
    """Have the records of the brand ruled again, twice, and requeue what is parked."""
    await harness.brand(replace(ACTIVE, name="Başka"))
    await harness.brand(replace(ACTIVE, activated_at=harness.clock() - timedelta(days=400)))
    await harness.requeue(*{one.reason or "" for one in await reads.parked(harness.ledger)})


async def read_back(harness: SinkHarness) -> None:
    """Have the status of a settled opt-out queried, as after a late call; İYS shows ONAY."""
    row = await harness.row(FIRST)
    if row.withdrawn_at is not None:
        async with harness.context.changes() as changes:
            changes.put(row, row.replace(action=Action.QUERY, reason=READ_BACK))
        assert await harness.query()
        assert not await harness.query()


@pytest.mark.parametrize(
    "ruled_again", [repeat, change_brand, SinkHarness.pull_and_ingest, read_back]
)
async def test_ruling_again_revives_and_loses_nothing(
    harness: SinkHarness,
    ruled_again: Callable[[SinkHarness], Awaitable[None]],
    suspension: AutomaticSuspension,
):
    """What is held back stays so, and what was withdrawn stays withdrawn."""
    await ruled_again(harness)
    assert len(await held_back(harness)) == 5
    assert await submit_all(harness) == {}
    await withdraw(harness, suspension)
    await ruled_again(harness)
    assert await submit_all(harness) == {}
    rows = [await harness.row(a_phone(number)) for number in range(5)]
    assert {(one.state, one.action) for one in rows} == {("not_needed", "nothing")}
    await harness.ingest(*opt_outs([9]))
    assert await submit_all(harness) == {a_phone(9): "RET"}


async def test_later_event_of_a_withdrawn_key_is_registered(
    harness: SinkHarness, suspension: AutomaticSuspension
):
    """It starts a new obligation. An opt-in permits again, with its own date: that of the opt-in at
    İYS is before the opt-out. So many opt-outs suspend the source again.
    """
    await withdraw(harness, suspension)
    await harness.ingest(ret(FIRST, minutes=1, origin="web"), onay(SAME, minutes=1))
    assert (await harness.row(FIRST)).withdrawn_at is None
    assert await submit_all(harness) == {FIRST: "RET"}
    await harness.settle_bulk()
    assert await harness.columns("state", "may_send", recipient=SAME) == ("accepted", True)
    assert harness.iys.movements(SAME) == ["ONAY", "ONAY"]
    await harness.ingest(*(ret(a_phone(n), minutes=0, origin="crm") for n in range(1, 5)))
    assert len(await held_back(harness)) == 4


@pytest.mark.parametrize("order", [release, withdraw])
async def test_order_that_was_cut_off_is_carried_out_by_the_same_order(
    harness: SinkHarness,
    monkeypatch: pytest.MonkeyPatch,
    order: Callable[[SinkHarness, AutomaticSuspension], Awaitable[tuple[int, int]]],
    suspension: AutomaticSuspension,
):
    """It is shown until then; what comes meanwhile is counted anew, and the decision is one."""
    decide = decisions._decide

    async def die(*arguments: object, **more: object) -> None:
        await decide(*arguments, **more)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(decisions, "_decide", die)
        with pytest.raises(Killed):
            await order(harness, suspension)
    (left,) = await decisions.undecided(harness.ledger)
    assert (left.decision is None, left.held_back) == (False, 5)
    monkeypatch.setattr(decisions, "_PAGE", 2)
    assert await order(harness, left) == (5, 0)
    assert await decisions.undecided(harness.ledger) == ()
    orders = {str(one["act"]) for one in await acts_of(harness) if "opt-outs" in str(one["act"])}
    assert len(orders) == 1


async def test_commands_show_and_decide_what_is_held_back(harness: SinkHarness, izin: Izin):
    """In each place with the remedy; each names its source, and only shows it without --execute."""
    limit = ("held-back", "limit", "acme", "--share", "20", "--minimum", "3")
    ended(await izin(*limit), 0, "off -> more than 20 % and at least 3")
    for words, code in (("limit acme", 2), ("limit nobody --off", 3), ("list", 0)):
        ended(await izin("held-back", *words.split()), code)
    await suspend(harness)
    (listed,) = json.loads((await izin("customers", "list", "--output", "json")).stdout)[:1]
    assert listed["limits"] == "more than 20 % and at least 3 opt-outs an hour"
    (one,) = json.loads(ended(await izin("held-back", "list", "--output", "json"), 1).stdout)
    assert (one["source"], one["held_back"]) == ("crm", 5)
    assert f"izin held-back withdraw {BRAND} --origin crm --reason … --execute" in one["remedy"]
    rows = json.loads((await izin("brands", "show", BRAND, "--output", "json")).stdout)
    (held,) = [row for row in rows if row["field"] == "opt-outs of crm"]
    assert (held["value"], "izin held-back release" in held["warning"]) == ("5 held back", True)
    assert "held back by an automatic suspension until" in await explained(izin)
    for name in ("release", "withdraw"):
        order = ("held-back", name, BRAND, "--reason", "wrong list", "--by", "ada")
        ended(await izin(*order, "--execute"), 2)
        ended(await izin(*order, "--origin=web", "--execute"), 3)
        ended(await izin(*order, "--origin=crm"), 0, "5 opt-outs of crm")
        assert len(await held_back(harness)) == 5
    ended(await izin(*order, "--origin=crm", "--execute"), 0, "5 opt-outs of crm")
    shown_of_key = await explained(izin)
    for text in ("withdraw opt-out (by ada)", "kept from İYS by a person since"):
        assert text in shown_of_key
    ended(await izin(*order, "--origin=crm", "--execute"), 3)


async def test_release_of_what_was_withdrawn_is_refused(harness: SinkHarness, izin: Izin):
    """A decision that was cut off is carried out as it was made."""
    await suspend(harness)
    await harness.ledger.fetch(
        "UPDATE brakes SET decision = 'withdrawn', decided_at = now(), decided_by = 'ada',"
        " reason = 'wrong list' RETURNING id"
    )
    order = (BRAND, "--origin=crm", "--reason", "right", "--by", "bob", "--execute")
    ended(await izin("held-back", "release", *order), 3, "withdrawn already")
    ended(await izin("held-back", "withdraw", *order), 0)
    await harness.ingest(*opt_outs(range(10, 15)))
    ended(await izin("held-back", "release", *order), 0)
    assert len(await submit_all(harness)) == 5


def opt_ins(count: int, *, origin: str = "crm", **more: object):  # type: ignore[no-untyped-def]
    """Return opt-ins of recipients that one source sends, newer than their opt-outs."""
    more = {"minutes": 1, "source": "HS_FIZIKSEL_ORTAM", **more}
    return [onay(a_phone(number), origin=origin, **more) for number in range(count)]


async def opted_out(harness: SinkHarness, limits: SuspensionLimits | None = LIMITS) -> None:
    """Have opt-outs registered at İYS over opt-ins, and set the limit of their customer."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(6)))
    await harness.ingest(*opt_outs(range(6), origin="web"))
    assert len(await submit_all(harness)) == 6
    await set_brake(harness, limits)


async def submit_opt_ins(harness: SinkHarness) -> list[str]:
    """Submit all that may go; return the recipients for whom İYS holds an opt-in then."""
    while await harness.bulk():
        await harness.settle()
    return sorted(one for one, status in harness.iys.register().items() if status == "ONAY")


async def test_reversals_above_the_limit_are_not_sent(harness: SinkHarness):
    """Nor do they permit anything: the opt-outs at İYS stand, until a person releases them."""
    await opted_out(harness)
    await harness.ingest(*opt_ins(3))
    assert await held_back(harness) == set()
    await harness.ingest(*opt_ins(4)[3:])
    assert await held_back(harness) == {a_phone(number) for number in range(4)}
    assert await submit_opt_ins(harness) == []
    assert not any([(await harness.row(a_phone(number))).may_send for number in range(4)])
    harness.advance(decisions.BEFORE_DUE * 2)
    assert not await harness.scheduler.end_holds()
    assert await submit_opt_ins(harness) == []
    (suspension,) = await decisions.undecided(harness.ledger)
    assert await release(harness, suspension) == (4, 0)
    assert await decisions.undecided(harness.ledger) == ()
    assert len(await submit_opt_ins(harness)) == 4


async def test_what_is_no_reversal_is_neither_counted_nor_held(harness: SinkHarness):
    """New recipients, live consents, other sources, and what a source may reverse."""
    await opted_out(harness)
    await harness.ingest(*opt_ins(4, notice_version="2026-1", source="HS_WEB"))
    await harness.ingest(*(onay(a_phone(number), origin="crm") for number in range(20, 30)))
    await harness.ingest(*opt_ins(6, origin="shop")[4:])
    assert await decisions.undecided(harness.ledger) == ()


async def test_opt_outs_are_never_held_by_a_limit_of_reversals(harness: SinkHarness):
    """Not of the same source, not over its opt-ins that are held back, however many."""
    await opted_out(harness)
    await harness.ingest(*opt_ins(4))
    assert len(await held_back(harness)) == 4
    await harness.ingest(*opt_outs(range(4), minutes=0), *opt_outs(range(40, 60)))
    assert await held_back(harness) == set()
    assert (await harness.row(FIRST)).desired_status == "RET"
    await submit_all(harness)
    assert harness.iys.register()[FIRST] == "RET"


async def test_reversal_of_an_opt_out_of_the_same_batch_counts(harness: SinkHarness):
    """What reverses an opt-out that is not stored yet reverses it all the same."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(5)))
    await set_brake(harness, LIMITS)
    await harness.ingest(*opt_outs(range(5), origin="web"), *opt_ins(5))
    (suspension,) = await decisions.undecided(harness.ledger)
    assert (suspension.status, suspension.held_back) == ("ONAY", 5)


async def test_withdrawn_opt_ins_leave_the_opt_outs(harness: SinkHarness):
    """Those that İYS has stand; those that it does not have are due again, as they were given."""
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(6)))
    await harness.ingest(*opt_outs(range(2), origin="web"))
    assert len(await submit_all(harness)) == 2
    await harness.ingest(*opt_outs(range(2, 4), origin="web"))
    await set_brake(harness, LIMITS)
    reversals = opt_ins(4)
    await harness.ingest(*reversals)
    (suspension,) = await decisions.undecided(harness.ledger)
    assert await withdraw(harness, suspension) == (4, 0)
    assert len(await submit_all(harness)) == 4
    assert await submit_opt_ins(harness) == [a_phone(4), a_phone(5)]
    assert (await harness.row(FIRST)).state == "expired"
    await harness.ingest_again(*reversals)
    assert len(await submit_all(harness)) == 4
    assert await submit_opt_ins(harness) == [a_phone(4), a_phone(5)]
    await harness.ingest(onay(FIRST, minutes=-1, notice_version="2026-1", source="HS_WEB"))
    assert FIRST in await submit_opt_ins(harness)


async def test_commands_name_opt_ins_apart_from_opt_outs(harness: SinkHarness, izin: Izin):
    """The limit is set beside the share; list, release and withdraw say which of both."""
    limit = ("held-back", "limit", "acme", "--execute")
    await izin(*limit, "--share", "50")
    said = "50 % and at least 100 opt-outs an hour; more than 3 opt-outs reversed"
    ended(await izin(*limit, "--most-reversals", "3"), 0, said)
    await opted_out(harness, SuspensionLimits(share=50, at_least=100, reversals=3))
    await harness.ingest(*opt_ins(4), ret(a_phone(50), origin="crm"))
    listed = " ".join((await izin("held-back", "list")).stdout.split())
    assert f"izin held-back release {BRAND} --origin crm --reason … --opt-ins --execute" in listed
    order = (BRAND, "--origin=crm", "--reason=wrong", "--execute")
    ended(await izin("held-back", "withdraw", *order), 3)
    assert "held back by an automatic suspension until" in await explained(izin)
    done = await izin("held-back", "withdraw", *order, "--opt-ins")
    ended(done, 0, "4 opt-ins over opt-outs of crm")
    assert "withdraw opt-in (by" in await explained(izin)
    ended(await izin(*limit, "--off"), 0, "-> off")


async def test_changes_of_an_import_are_those_of_its_events(
    harness: SinkHarness, izin: Izin, tmp_path: Path
) -> None:
    """By its run or by its file: what changed a key, and the opt-outs behind a newer opt-in."""
    path = tmp_path / "export.csv"
    path.write_text("telefon\n", "utf-8")
    run = hashlib.sha256(path.read_bytes()).hexdigest()
    await harness.ingest(onay(BEHIND, minutes=5), ret(SAME, minutes=5), onay(OTHER))
    await harness.ingest(
        ret(NEW, import_id=run, row=3),
        ret(BEHIND, minutes=30, import_id=run, row=4),
        ret(SAME, minutes=60, import_id=run, row=5),
        onay(OTHER, minutes=2, import_id="0" * 64, row=2, origin_ref=run),
    )
    for words in (run, path):
        shown = ended(await izin("import", "changes", words, "--output", "json"), 0)
        found = json.loads(shown.stdout)
        assert found["run"] == run
        assert found["decided"] == [
            {"status": "RET", "kind": "Apply", "count": 1},
            {"status": "RET", "kind": "Stale", "count": 2},
        ]
        assert found["opt_outs_behind"] == 1
        (change,) = found["changes"]
        assert (change["row"], change["status"], change["reason"]) == (3, "RET", "first")
        assert change["key"].endswith(NEW)


async def test_import_of_which_nothing_is_known_changed_nothing(
    harness: SinkHarness, izin: Izin, tmp_path: Path
) -> None:
    """Nothing of it was decided yet, or it never was; and what is no run is wrong usage."""
    assert "behind" in ended(await izin("import", "changes", "0" * 64), 0).stdout
    ended(await izin("import", "changes", tmp_path / "missing.csv"), 2)
    assert harness.offset == 0
