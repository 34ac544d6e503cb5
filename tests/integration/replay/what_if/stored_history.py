"""A history in the ledger that is made of stories of keys, without sinks."""

import asyncio
import os
import secrets
import signal
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr

from izin.consent.due_dates import BrandTerms
from izin.replay.what_if import run
from izin.replay.what_if.changes import LawSettings
from izin.replay.what_if.run import OnProgress, WhatIf, WhatIfRequest, WhatIfResult
from izin.runtime.plan import Plan, Selection
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.copy_format import microseconds
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.hash_chain import Fact
from izin.sinks.record.brand import Brand
from izin.sinks.record.messages import TopicMessages
from tests.support.builders import BRAND, CUSTOMER, a_key, an_event
from tests.support.registration import register_brand
from tests.support.replay.movements import KeyStory, Movement

MONDAY = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
A_DAY = timedelta(days=1)
CLOSED = date(2026, 5, 5)
"""The Tuesday, which is closed by mistake."""
AFTER = datetime(2026, 6, 1, tzinfo=UTC)
ACTIVE = {BRAND: BrandTerms(activated_at=datetime(2020, 1, 1, tzinfo=UTC))}
WRONG = LawSettings(terms=ACTIVE, closed_days=frozenset({CLOSED}))
RIGHT = LawSettings(terms=ACTIVE)


async def registered_brand(ledger: Ledger) -> None:
    """Register our brand, before everything else."""
    messages = TopicMessages(Codec(), KafkaSettings(topic_prefix="", partitions=1).topics)
    brand = Brand(
        brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek", status="active"
    )
    await register_brand(ledger, messages, brand, now=MONDAY - A_DAY)


async def store(ledger: Ledger, stories: Iterable[KeyStory]) -> None:
    """Record the movements of all stories, in the order of their instants."""
    movements = sorted(
        (one for story in stories for one in story.movements), key=lambda one: one["recorded_at"]
    )
    for number, one in enumerate(movements):
        async with ledger.transaction() as connection:
            await append.append_facts(connection, [_fact(one, number)], now=one["recorded_at"])


def _fact(movement: Movement, number: int) -> Fact:
    decision, data = movement["decision"], movement["data"]
    return Fact(
        movement["kind"],
        movement["customer_id"],
        movement["key"],
        movement["event_id"],
        movement["status"],
        None if decision else f"test/{number}",
        microseconds(movement["occurred_at"]),
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


def a_request(**fields: Any) -> WhatIfRequest:  # noqa: ANN401  # a field's value each
    """Return the request of the calendar without the closed day, in slices of a few rows."""
    given: dict[str, Any] = {
        "selection": Selection(),
        "before": WRONG,
        "after": RIGHT,
        "customers": {BRAND: CUSTOMER},
        "by": "ada",
        "now": AFTER,
        "rows": 10,
    }
    return WhatIfRequest(**given | fields)


async def judged(
    ledger: Ledger,
    path: Path,
    request: WhatIfRequest,
    progress: OnProgress = lambda _done, _all: None,
) -> WhatIfResult:
    """Plan and run a what-if; go on where there is a plan."""
    plan: Plan = await run.plan(ledger, request, path)
    return await WhatIf(ledger=ledger, plan=plan, path=path, lists=request.lists).run(progress)


def counted(result: WhatIfResult) -> dict[tuple[str, str], int]:
    """Return how many recipients have which change, without what only moved a term."""
    return {
        (one.before, one.after): one.recipients for one in result.counts if str(one.kind) != "term"
    }


def die_after_two(url: str, path: Path) -> None:
    """Run the what-if in this process, which is killed behind the second slice."""

    def progress(done: int, _all: int) -> None:
        if done == 2:  # some are left
            os.kill(os.getpid(), signal.SIGKILL)

    async def work() -> None:
        settings = LedgerSettings(database_url=SecretStr(url))
        async with Ledger(settings, owner=secrets.randbelow(2**31 - 1) + 1) as ledger:
            await judged(ledger, path, a_request(), progress)

    asyncio.run(work())
