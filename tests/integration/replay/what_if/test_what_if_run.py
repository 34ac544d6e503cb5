"""A what-if over a history in PostgreSQL: what it finds, of whom, and what a stop leaves of it."""

import asyncio
import multiprocessing
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from izin.replay.what_if.run import ResultFolder
from izin.runtime.plan import OtherPlanError, Plan, PlanMovedError, Selection, work_folder
from izin.sinks.ledger.db.connection import Ledger
from tests.integration.replay.what_if.stored_history import (
    AFTER,
    MONDAY,
    RIGHT,
    WRONG,
    a_request,
    counted,
    die_after_two,
    judged,
    registered_brand,
    registered_late,
    store,
)
from tests.integration.sinks.sink_harness import a_phone
from tests.support.builders import BRAND, CUSTOMER, a_key

pytestmark = pytest.mark.database

PHONES = [a_phone(number) for number in range(1, 9)]
FOUND = {
    ("ONAY in-time", "ONAY too-late"): len(PHONES),
    ("yes: registered", "no: void"): len(PHONES),
    ("no: awaiting-iys", "no: void"): len(PHONES),
}


async def test_changes_are_found_and_only_commercial_yes_counts(ledger: Ledger, tmp_path: Path):
    """A consent in time by the wrong calendar is void by the right one, and so is each message
    that rested on it; not one of an exempt class.
    """
    in_time = registered_late(a_phone(90), at=MONDAY)
    await store(ledger, [*map(registered_late, PHONES), in_time])
    found = await judged(ledger, tmp_path / "plan", a_request())
    assert {one: count for one, count in counted(found).items() if count > 1} == FOUND | {
        ("yes: registered", "no: void"): len(PHONES) * 1
    }
    assert (found.keys, found.sent, found.withheld, found.unreadable) == (9, len(PHONES), 0, 0)


async def test_killed_run_goes_on_to_the_same_end(ledger: Ledger, ledger_url: str, tmp_path: Path):
    """Killed in its midst, with half a file left and more history since, it ends as one that was
    not.
    """
    await store(ledger, map(registered_late, PHONES))
    whole = await judged(ledger, tmp_path / "whole", a_request())
    path = tmp_path / "plan"
    child = multiprocessing.get_context("spawn").Process(
        target=die_after_two, args=(ledger_url, path)
    )
    child.start()
    await asyncio.to_thread(child.join, 60)
    assert child.exitcode == -signal.SIGKILL
    folder = ResultFolder(Plan.read(path), path)
    assert folder.left > 0
    assert folder.has(1)
    (next(work_folder(path).iterdir()) / "slice-00002.json.new").write_bytes(b"{")
    later = registered_late(a_phone(91))
    later.movements = [{**one, "recorded_at": AFTER} for one in later.movements]
    await store(ledger, [later])
    assert await judged(ledger, path, a_request(now=AFTER)) == whole
    assert whole.sent == len(PHONES)


async def test_plan_holds_for_its_options_and_law_alone(ledger: Ledger, tmp_path: Path):
    """Who asks for something else names another file; by another law it is planned again; and the
    work of a plan that was removed is not taken for that of the next.
    """
    path = tmp_path / "plan"
    await store(ledger, map(registered_late, PHONES[:2]))
    first = await judged(ledger, path, a_request())
    with pytest.raises(OtherPlanError):
        await judged(
            ledger, path, a_request(after=replace(RIGHT, closed_days=frozenset({MONDAY.date()})))
        )
    replace(Plan.read(path), law_version=1).write(path)
    with pytest.raises(PlanMovedError, match="law"):
        await judged(ledger, path, a_request())
    path.unlink()
    other = await judged(ledger, path, a_request(before=RIGHT, after=WRONG))
    assert first.sent == 2  # one each
    assert other.sent == 0


async def test_selection_narrows_keys_and_times(ledger: Ledger, tmp_path: Path):
    """By recipient, brand, customer and time."""
    await registered_brand(ledger)
    await store(ledger, map(registered_late, PHONES))
    for number, (selection, keys, sent) in enumerate(
        [
            (Selection(recipients=frozenset({PHONES[0]})), 1, 1),
            (Selection(keys=frozenset({str(a_key(recipient=PHONES[1]))})), 1, 1),
            (Selection(brands=frozenset({BRAND})), len(PHONES), len(PHONES)),
            (Selection(brands=frozenset({BRAND + 1})), 0, 0),
            (Selection(customers=frozenset({"other"})), 0, 0),
            (Selection(until=MONDAY), len(PHONES), 0),
            (Selection(since=AFTER), len(PHONES), 0),
        ]
    ):
        request = a_request(selection=selection)
        found = await judged(ledger, tmp_path / f"plan-{number}", request)
        assert (found.keys, found.sent) == (keys, sent), selection


async def test_erased_keys_are_counted_and_not_named(ledger: Ledger, tmp_path: Path):
    """Nothing of them is left to judge, and the count says so, by customer."""
    await store(ledger, map(registered_late, PHONES[:1]))
    await ledger.fetch(
        "INSERT INTO erasures (customer_id, event_id, requested_at, erased_at, check_at)"
        " VALUES (%(customer)s, 'e', now(), now(), now()) RETURNING id",
        {"customer": CUSTOMER},
    )
    found = await judged(ledger, tmp_path / "plan", a_request())
    assert (found.keys, found.erased) == (1, 1)
    others = a_request(selection=Selection(customers=frozenset({"other"})))
    assert (await judged(ledger, tmp_path / "others", others)).erased == 0
