"""A what-if over a history in PostgreSQL: what it finds, and of whom.

A history in the ledger that is made of stories of keys, without sinks.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest

from izin.consent import BrandTerms
from izin.ledger.db import Ledger, microseconds
from izin.ledger.history import Fact, append
from izin.ledger.record import TopicMessages
from izin.replay.what_if.changes import LawSettings, Period
from izin.replay.what_if.run import WhatIf, WhatIfResult
from izin.runtime.plan import Selection
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.integration.sinks.sink_harness import ACTIVE as OUR_BRAND, a_phone
from tests.support.builders import BRAND, CUSTOMER, a_key, an_event
from tests.support.registration import register_brand
from tests.support.replay.entries import HistoryEntry, KeyStory

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
    await store(ledger, [*map(registered_late, PHONES), registered_late(a_phone(90), at=MONDAY)])
    found = await judged(ledger)
    assert {one: count for one, count in counted(found).items() if count > 1} == FOUND | {
        ("yes: registered", "no: void"): len(PHONES) * 1
    }
    assert (found.keys, found.sent, found.withheld, found.unreadable) == (9, len(PHONES), 0, 0)


async def test_selection_narrows_keys_and_times(ledger: Ledger):
    """By recipient, brand and time."""
    messages = TopicMessages(Codec(), Topics())
    await register_brand(ledger, messages, OUR_BRAND, now=MONDAY - A_DAY)
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
    assert (await judged(ledger, selection=Selection(brands=frozenset({BRAND + 1})))).erased == 0


MONDAY = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
A_DAY = timedelta(days=1)
CLOSED = date(2026, 5, 5)
"""The Tuesday, which is closed by mistake."""
AFTER = datetime(2026, 6, 1, tzinfo=UTC)
ACTIVE = {BRAND: BrandTerms(activated_at=datetime(2020, 1, 1, tzinfo=UTC))}
WRONG = LawSettings(terms=ACTIVE, closed_days=frozenset({CLOSED}))
RIGHT = LawSettings(terms=ACTIVE)


async def store(ledger: Ledger, stories: Iterable[KeyStory]) -> None:
    """Record the entries of all stories, in the order of their instants."""
    entries = sorted(
        (one for story in stories for one in story.entries), key=lambda one: one["recorded_at"]
    )
    for number, one in enumerate(entries):
        async with ledger.transaction() as connection:
            await append.append_facts(connection, [_fact(one, number)], now=one["recorded_at"])


def _fact(entry: HistoryEntry, number: int) -> Fact:
    decision, data = entry["decision"], entry["data"]
    return Fact(
        entry["kind"],
        entry["customer_id"],
        entry["key"],
        entry["event_id"],
        entry["status"],
        None if decision else f"test/{number}",
        microseconds(entry["occurred_at"]),
        None if data is None else orjson.dumps(data),
        decision,
    )


def registered_late(recipient: str, *, at: datetime = MONDAY + 4 * A_DAY) -> KeyStory:
    """Return the story of a consent of Monday that İYS registered at an instant, by default on
    Friday: one day too late, unless Tuesday is closed. The gate permitted two messages after that.
    """
    story = KeyStory(key=a_key(recipient=recipient))
    event = an_event(
        event_id=f"e-{recipient}", recipient=recipient, consent_date=MONDAY, received_at=MONDAY
    )
    story.event(event, MONDAY)
    story.submitted(event, at)
    story.answered(event, at)
    story.outcome(event, at, "accepted", None)
    story.asked(at + A_DAY, may_send=True, reason="registered")
    story.asked(at + 2 * A_DAY, may_send=True, reason="registered", message_class="delivery")
    return story


async def judged(ledger: Ledger, **fields: Any) -> WhatIfResult:  # noqa: ANN401  # a field's value each
    """Run the what-if of the calendar without the closed day, in slices of a few rows."""
    given: dict[str, Any] = {
        "ledger": ledger,
        "selection": Selection(),
        "before": WRONG,
        "after": RIGHT,
        "customers": {BRAND: CUSTOMER},
        "now": AFTER,
        "rows": 10,
    }
    return await WhatIf(**given | fields).run(lambda _key, _change: None)


def counted(result: WhatIfResult) -> dict[tuple[str, str], int]:
    """Return how many recipients have which change."""
    return {(one.before, one.after): one.recipients for one in result.counts}
