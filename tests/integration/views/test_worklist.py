"""The worklist over a real ledger: everything that needs a person, page by page, and what is done
about it.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sink.fixture import sink_fixture
from izin.consent import Channel
from izin.ledger.automatic_suspension.decisions import AutomaticSuspension
from izin.ledger.db import statements
from izin.ledger.history import append
from izin.ledger.history.append import HistoryEntry
from izin.ledger.registry import complaints, customers, suspension_orders
from izin.ledger.registry.complaints import Complaint, ComplaintOutcome, NewComplaint
from izin.ledger.registry.suspension_orders import Part, Target
from izin.runtime.settings import KafkaSettings
from izin.views import worklist as views
from izin.views.cut import CustomerCut, cut_to
from izin.views.worklist import Filter, Need, WorkItem, Worklist, worklist
from izin.views.worklist_acts import ActPlan, WorkAct, carry_out, plan
from tests.integration.ledger.test_query_plans import explained, indexes, scanned
from tests.integration.sinks.automatic_suspension.suspension_harness import suspend
from tests.integration.sinks.sink_harness import Izin, SinkHarness, a_phone, acts, onay, ret
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key

pytestmark = pytest.mark.database
EVERYBODY = CustomerCut(customer_id=None, brand_codes=frozenset())


async def listed(
    harness: SinkHarness,
    cut: CustomerCut = EVERYBODY,
    **wanted: Any,  # noqa: ANN401  # of a filter
) -> Worklist:
    """Return the first page of what is wanted."""
    return await worklist(harness.ledger, cut, Filter(**wanted), now=harness.clock())


async def park(harness: SinkHarness, *recipients: str, reason: str = "reconsent") -> None:
    """Have opt-ins of recipients wait for a person."""
    await harness.ingest(*(onay(one, minutes=10 + n) for n, one in enumerate(recipients)))
    await harness.ledger.fetch(
        "UPDATE consents SET state = 'parked', action = 'nothing', reason = %(reason)s"
        " WHERE recipient = ANY(%(recipients)s) RETURNING key",
        {"reason": reason, "recipients": list(recipients)},
    )


async def planned(harness: SinkHarness, act: WorkAct, items: Sequence[WorkItem]) -> ActPlan:
    """Return the plan of an act."""
    return await plan(harness.ledger, act, items)


async def done(harness: SinkHarness, what: ActPlan) -> list[str]:
    """Carry a plan out; return what was said."""
    said = await carry_out(
        *(harness.ledger, harness.context.topic_messages, what),
        reason="a closed branch",
        by="ada",
        now=harness.clock(),
    )
    return [str(one) for one in said]


async def breach(harness: SinkHarness) -> None:
    """Have an opt-out in the history that was sent too late."""
    entry = HistoryEntry(
        kind="breach",
        customer_id=CUSTOMER,
        key=str(a_key(recipient=a_phone(99))),
        event_id="late",
        status="RET",
        source="breach/x",
        occurred_at=harness.clock(),
        data={"due_at": harness.clock() - timedelta(hours=2)},
    )
    async with harness.ledger.transaction() as connection:
        await append.append(connection, [entry], now=harness.clock())


async def complaint(harness: SinkHarness, recipient: str) -> Complaint:
    """Have a complaint that is to be answered within an hour."""
    now = harness.clock()
    new = NewComplaint(
        brand_code=BRAND,
        channel=Channel.MESAJ,
        recipient=recipient,
        sent_at=now - timedelta(days=1),
        sender="ORNEK",
        content="Yarın bekleriz",
        reference=None,
        due_at=now + timedelta(hours=1),
    )
    return await complaints.add(harness.ledger, new, by="ada", now=now)


async def everything(harness: SinkHarness) -> None:
    """Have something of each kind in the ledger."""
    await suspend(harness)
    await park(harness, a_phone(50), a_phone(51))
    await harness.ingest(onay(a_phone(52), minutes=3))
    await harness.ledger.fetch(
        "UPDATE consents SET state = 'in_flight' WHERE recipient = %(one)s RETURNING key",
        {"one": a_phone(52)},
    )
    await harness.ledger.fetch(
        "UPDATE consents SET state = 'refused', action = 'nothing', code = 'H162',"
        " reason = 'refused-by-iys' WHERE recipient = %(one)s RETURNING key",
        {"one": a_phone(52)},
    )
    await harness.ledger.fetch(
        "INSERT INTO retailer_access (key, customer_id, brand_code, channel, desired_by, since)"
        " VALUES (%(key)s, 'acme', %(brand)s, 'MESAJ', 'event', %(now)s) RETURNING key",
        {"key": str(a_key(recipient=a_phone(53))), "brand": BRAND, "now": harness.clock()},
    )
    await harness.suspend("H353", channel="ARAMA")
    await breach(harness)
    await complaint(harness, a_phone(98))


async def test_worklist_has_each_kind_with_why_what_to_do_and_until_when(harness: SinkHarness):
    """What can be done until the earliest instant is first; what has no end is last."""
    await everything(harness)
    found = await listed(harness)
    assert {item.kind for item in found.items} == {*Need} - {Need.UNREADABLE}
    assert [item.place for item in found.items] == sorted(item.place for item in found.items)
    assert all(str(item.why) and str(item.remedy) for item in found.items)
    by_kind = {item.kind: item for item in found.items}
    row = await harness.row(a_phone(52))
    refused = by_kind[Need.REFUSED]
    assert (refused.until, refused.recipient, refused.reason) == (
        row.expires_at,
        a_phone(52),
        "H162",
    )
    assert "ahead of the instant" in str(refused.why)
    assert by_kind[Need.HELD_BACK].records == 5
    assert by_kind[Need.BREACH].recipient == a_phone(99)
    counts = {(group.kind, group.reason): group.items for group in found.groups}
    assert counts[Need.PARKED, "reconsent"] == 2
    assert counts[Need.RETAILERS, "retailer-access"] == 1


async def test_complaint_needs_a_person_until_it_is_closed(harness: SinkHarness):
    """Before the day that it names, and after it: then it is the first."""
    entered = await complaint(harness, a_phone(98))
    harness.advance(timedelta(hours=2))
    await suspend(harness)
    (first, *_) = (await listed(harness)).items
    assert (first.kind, first.id, first.until) == (
        Need.COMPLAINT,
        str(entered.id),
        entered.due_at,
    )
    await complaints.close(
        harness.ledger,
        entered.id,
        outcome=ComplaintOutcome.UNFOUNDED,
        note=None,
        by="ada",
        now=harness.clock(),
    )
    assert not (await listed(harness, kind=Need.COMPLAINT)).items


async def test_pages_of_the_worklist_show_each_item_once(harness: SinkHarness):
    """However they are cut, also within what is due at the same instant; a filter pages alike."""
    await everything(harness)
    await harness.set_columns(expires_at=(await harness.row(a_phone(50))).expires_at)
    whole = [item.place for item in (await listed(harness)).items]
    for size in (1, 2, 3, len(whole)):
        found, after = [], None
        while True:
            page = await worklist(
                harness.ledger, EVERYBODY, Filter(), now=harness.clock(), after=after, size=size
            )
            found += [item.place for item in page.items]
            after = page.next
            if after is None:
                break
        assert found == whole
    only = await listed(harness, kind=Need.PARKED, reason="reconsent", brand_code=BRAND)
    assert {item.recipient for item in only.items} == {a_phone(50), a_phone(51)}
    assert not (await listed(harness, brand_code=BRAND + 1)).items


async def test_worklist_is_cut_to_a_customer(harness: SinkHarness):
    """Another customer is shown nothing of it, and counts nothing of it."""
    await everything(harness)
    now = harness.clock()
    await customers.add(harness.ledger, "beta", "Beta", by="ada", now=now)
    theirs = await listed(harness, await cut_to(harness.ledger, "beta"))
    assert (theirs.items, theirs.groups, theirs.next) == ([], [], None)
    ours = await listed(harness, await cut_to(harness.ledger, CUSTOMER))
    assert [one.place for one in ours.items] == [one.place for one in (await listed(harness)).items]
    beta = await cut_to(harness.ledger, "beta")
    names = {(item.kind, item.id) for item in ours.items}
    assert await views.named(harness.ledger, beta, names, now=now) == []


async def test_what_was_refused_is_listed_until_its_term_is_over(harness: SinkHarness):
    """After that no correction helps: a new consent is needed."""
    await everything(harness)
    assert (await listed(harness, kind=Need.REFUSED)).items
    harness.advance(timedelta(days=30), at_iys=False)
    assert not (await listed(harness, kind=Need.REFUSED)).items


async def test_items_are_counted_up_to_a_limit(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """There may be millions."""
    await park(harness, *map(a_phone, range(22)))
    (group,) = (await listed(harness)).groups
    assert (group.items, group.is_more) == (22, False)
    monkeypatch.setattr(views, "MOST", 1)
    (group,) = (await listed(harness)).groups
    assert (group.items, group.is_more) == (20, True)


async def test_parked_consents_are_requeued_as_they_were_shown(harness: SinkHarness):
    """One that changed since is left alone; the history has who did it."""
    await park(harness, PHONE, a_phone(2))
    found = await listed(harness)
    what = await planned(harness, WorkAct.REQUEUE, found.items)
    assert "each of these recipients has given a new consent" in str(what.lines[0])
    await harness.ingest(ret(a_phone(2), minutes=1))
    again = await views.named(
        harness.ledger,
        EVERYBODY,
        {(item.kind, item.id) for item in found.items},
        now=harness.clock(),
    )
    assert (await planned(harness, WorkAct.REQUEUE, again)).digest != what.digest
    assert await done(harness, what) == [
        f"1 records of brand {BRAND} are processed again",
        "1 had changed, and were left alone",
    ]
    assert (await harness.row()).state == "pending"
    assert (await harness.row()).attested
    (entry,) = await acts(harness.ledger, "requeue")
    assert entry["by"] == "ada"


@pytest.mark.parametrize("act", [WorkAct.RELEASE, WorkAct.WITHDRAW])
async def test_what_is_held_back_is_released_or_withdrawn(harness: SinkHarness, act: WorkAct):
    """As ``izin held-back`` does; it is gone from the list then."""
    await suspend(harness)
    (item,) = (await listed(harness, kind=Need.HELD_BACK)).items
    assert isinstance(item.of, AutomaticSuspension)
    what = await planned(harness, act, [item])
    assert "are held back since" in str(what.lines[0])
    (said,) = await done(harness, what)
    assert said == f"5 opt-outs of crm for brand {BRAND} are {act.value.removesuffix('e')}" + (
        "ed" if act is WorkAct.RELEASE else "n"
    )
    assert not (await listed(harness)).items


async def test_suspension_is_tried_now_or_its_order_ended(harness: SinkHarness):
    """Each as it ends: what İYS refused by a try, an order by its end."""
    await harness.suspend("H353", channel="ARAMA")
    order = {"reason": "a complaint", "by": "ada", "now": harness.clock()}
    messages = harness.context.topic_messages
    for target in (Target(None, CUSTOMER), Target(BRAND)):
        await suspension_orders.suspend(harness.ledger, messages, target, [Part.IYS], **order)
    items = (await listed(harness)).items
    retry, lift = [await planned(harness, one, items) for one in (WorkAct.RETRY, WorkAct.LIFT)]
    assert [len(one.items) for one in (retry, lift)] == [1, 1]
    assert "stays suspended" in str(lift.lines[1])
    assert await done(harness, retry) == [f"1 of what brand {BRAND} waits for are retried now"]
    assert await done(harness, lift) == [f"the order on the brand {BRAND} is ended"]
    (left,) = await suspension_orders.every(harness.ledger)
    assert left.customer_id == CUSTOMER


async def test_act_is_planned_about_those_for_which_it_is(harness: SinkHarness):
    """Of others nothing is done."""
    await everything(harness)
    items = (await listed(harness)).items
    for act in WorkAct:
        kinds = {item.kind for item in (await planned(harness, act, items)).items}
        assert (
            kinds
            == {
                WorkAct.REQUEUE: {Need.PARKED, Need.RETAILERS},
                WorkAct.RELEASE: {Need.HELD_BACK},
                WorkAct.WITHDRAW: {Need.HELD_BACK},
                WorkAct.RETRY: {Need.SUSPENDED},
                WorkAct.LIFT: set(),
            }[act]
        )


async def test_worklist_command_lists_and_writes_a_file(
    harness: SinkHarness, izin: Izin, tmp_path: Path
):
    """Masked, unless recipients are asked for, which the history has."""
    await park(harness, PHONE)
    done = await izin("worklist", "--needs=parked", "--output=json")
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)
    assert (row["recipient"], row["kind"]) == ("+90***01", "parked")
    assert "--because reconsent --recipient RECIPIENT" in row["remedy"]
    out = tmp_path / "list.csv"
    done = await izin("worklist", "--needs=parked", "--unmasked", "--by=ada", "--out", out)
    assert done.exit_code == 1
    assert PHONE in out.read_text("utf-8-sig")
    assert [one["after"] for one in await acts(harness.ledger, "look")] == [{"command": "worklist"}]
    assert (await izin("worklist", "--needs=refused")).exit_code == 0


async def test_queries_of_the_worklist_scan_no_consents(database_url: str):
    """Of a hundred thousand settled keys each is found by the index of the worklist."""
    async with sink_fixture(database_url, KafkaSettings(), keys=100_000) as fixture:
        page = {
            "kinds": ["parked", "refused", "retailers"],
            "codes": [100001] * 3,
            "whys": ["reconsent", "H162", "retailer-access"],
            "untils": ["-infinity"] * 3,
            "keys": [""] * 3,
            "size": 51,
        }
        groups = {"brands": None, "now": "2026-03-02", "most": 1000}
        keys = {"parked": ["x"], "retailers": ["x"]}
        for name, values in (
            ("groups", groups),
            ("page", page),
            ("of-keys", keys),
            ("behind", {"most": 1000}),
        ):
            async with fixture.ledger.transaction() as connection:
                found = await explained(connection, statements("worklist")[name], values)
            assert "consents" not in scanned(found), name
            if name in {"groups", "page"}:
                assert "consents_worklist" in indexes(found), name
