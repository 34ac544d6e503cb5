"""A what-if over a history in PostgreSQL: what it finds, and of whom."""

import pytest

from izin.ledger.db import Ledger
from izin.replay.what_if.changes import Period
from izin.runtime.plan import Selection
from tests.integration.replay.what_if.stored_history import (
    AFTER,
    MONDAY,
    counted,
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


async def test_changes_are_found_and_only_commercial_yes_counts(ledger: Ledger):
    """A consent in time by the wrong calendar is void by the right one, and so is each message
    that rested on it; not one of an exempt class.
    """
    in_time = registered_late(a_phone(90), at=MONDAY)
    await store(ledger, [*map(registered_late, PHONES), in_time])
    found = await judged(ledger)
    assert {one: count for one, count in counted(found).items() if count > 1} == FOUND | {
        ("yes: registered", "no: void"): len(PHONES) * 1
    }
    assert (found.keys, found.sent, found.withheld, found.unreadable) == (9, len(PHONES), 0, 0)


async def test_selection_narrows_keys_and_times(ledger: Ledger):
    """By recipient, brand and time."""
    await registered_brand(ledger)
    await store(ledger, map(registered_late, PHONES))
    for asked, keys, sent in (
        (Selection(recipients=frozenset({PHONES[0]})), 1, 1),
        (Selection(keys=frozenset({str(a_key(recipient=PHONES[1]))})), 1, 1),
        (Selection(brands=frozenset({BRAND})), len(PHONES), len(PHONES)),
        (Selection(brands=frozenset({BRAND + 1})), 0, 0),
        (Period(until=MONDAY), len(PHONES), 0),
        (Period(since=AFTER), len(PHONES), 0),
    ):
        found = await judged(
            ledger, **{"selection" if isinstance(asked, Selection) else "period": asked}
        )
        assert (found.keys, found.sent) == (keys, sent), asked


async def test_erased_keys_are_counted_and_not_named(ledger: Ledger):
    """Nothing of them is left to judge, and the count says so, by customer."""
    await store(ledger, map(registered_late, PHONES[:1]))
    await ledger.fetch(
        "INSERT INTO erasures (customer_id, event_id, requested_at, erased_at, check_at)"
        " VALUES (%(customer)s, 'e', now(), now(), now()) RETURNING id",
        {"customer": CUSTOMER},
    )
    found = await judged(ledger)
    assert (found.keys, found.erased) == (1, 1)
    others = Selection(brands=frozenset({BRAND + 1}))
    assert (await judged(ledger, selection=others)).erased == 0
