"""İYS is asked in halves where it refuses, and patiently where it is busy; and the ledger must
follow.
"""

from collections.abc import Iterable
from datetime import timedelta
from time import monotonic
from typing import Any
from unittest.mock import AsyncMock

import pytest

from izin.consent import Channel
from izin.iys.errors import BusyError, CallError, MisconfiguredError, RefusedError, ThrottledError
from izin.iys.rate_limit import CallClass
from izin.ledger.record import Brand
from izin.reconcile import comparing
from izin.reconcile.comparing import (
    Asker,
    Comparer,
    IysSilentError,
    OurError,
    ReconcileScope,
)
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.request_budget import RequestBudget
from tests.support.builders import BRAND, CUSTOMER, NOON, a_key

SCOPE = ReconcileScope(
    brand=Brand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek")
)
REFUSED = "+905550000003"
PAGE = [
    {"key": str(a_key(recipient=f"+90555000000{number}")), "registered": "ONAY"}
    for number in range(1, 6)
]


class FakeIys:
    """An İYS that has everybody's consent, and raises errors first."""

    def __init__(self, *errors: CallError) -> None:
        self.errors = list(errors)
        self.calls: list[int] = []
        self.classes: set[CallClass] = set()

    async def statuses(
        self,
        _path: object,
        channel: Channel,
        _recipient_type: object,
        recipients: Iterable[str],
        *,
        call_class: CallClass,
    ) -> frozenset[str]:
        """Return all recipients; refuse one."""
        asked = list(recipients)
        self.calls.append(len(asked))
        self.classes.add(call_class)
        if self.errors:
            raise self.errors.pop(0)
        if REFUSED in asked:
            raise RefusedError(f"one is no recipient of {channel}")
        return frozenset(asked)


def an_asker(iys: FakeIys) -> Asker:
    """Return what asks ``iys``."""
    budget = RequestBudget(10, clock=monotonic)
    return Asker(pages=PageQuery(client=iys, clock=lambda: NOON, budget=budget))  # type: ignore[arg-type]


async def test_refused_recipient_costs_only_its_own_answer() -> None:
    """The page is asked about in parts, in the slots that others leave."""
    iys = FakeIys()
    found = await an_asker(iys)._many(SCOPE, PAGE)
    assert set(found) == {one["key"] for one in PAGE if not one["key"].endswith(REFUSED)}
    assert all(found.values())
    assert sum(iys.calls) >= len(PAGE)
    assert iys.classes == {CallClass.SWEEP}
    only = [one for one in PAGE if one["key"].endswith(REFUSED)]
    assert await an_asker(iys)._many(SCOPE, only * 2) == {}


async def test_iys_that_does_not_let_us_ask_is_an_error() -> None:
    """Nothing is compared by half of its answers."""
    with pytest.raises(IysSilentError, match="no right"):
        await an_asker(FakeIys(MisconfiguredError("no right")))._many(SCOPE, PAGE[:2])


ENDS: list[tuple[list[CallError], type[Exception] | None]] = [
    ([BusyError("busy"), ThrottledError("H124", retry_after=timedelta(0))], None),
    ([BusyError("busy")] * 5, IysSilentError),
    ([MisconfiguredError("no right")], IysSilentError),
    ([BusyError("busy", retry_after=timedelta(hours=1))], IysSilentError),
    ([ThrottledError("spent", retry_after=timedelta(minutes=9))], ThrottledError),
]


@pytest.mark.parametrize(("errors", "raised"), ENDS)
async def test_single_query_is_made_again_where_that_may_help(
    errors: list[CallError], raised: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for ever; the hour's limit is passed on, for the single queries end there."""
    monkeypatch.setattr(comparing, "_PAUSE", timedelta(0))
    ask = AsyncMock(side_effect=[*errors, "answer"])
    if raised is None:
        assert await comparing._patiently(ask) == "answer"
    else:
        with pytest.raises(raised):
            await comparing._patiently(ask)


async def test_ledger_behind_its_decisions_is_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything that is on its way would differ."""
    settings = KafkaSettings(topic_prefix="", partitions=1)
    topic = settings.topics.decisions.name

    ends: dict[int, int] = {0: 9, 1: 1}
    monkeypatch.setattr(comparing.kafka, "committed_ends", lambda *_: ends)
    monkeypatch.setattr(comparing.reads, "ingested", AsyncMock(return_value={(topic, 0): 7}))
    monkeypatch.setattr(comparing, "_BEHIND_FOR", timedelta(0))
    ledger: Any = None
    comparer = Comparer(ledger=ledger, kafka=settings, codec=Codec(), clock=lambda: NOON)
    with pytest.raises(OurError, match="3 decisions"):
        await comparer._until_ingested()
    ends.clear()
    await comparer._until_ingested()
