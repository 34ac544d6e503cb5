"""Latencies of changes that began at İYS, from the history and the deliveries alone."""

from datetime import timedelta

import pytest

from izin.sinks.ledger.history.reports import Leg, latencies, quantile
from tests.integration.sinks.evidence.test_collection import acknowledged
from tests.integration.sinks.sink_harness import A_SECOND, SinkHarness, a_phone, onay
from tests.support.builders import BRAND, a_key, an_iys_event, an_iys_origin

pytestmark = pytest.mark.database


async def left(harness: SinkHarness, path: str, recipient: str, seconds: int) -> None:
    """Have a citizen opt out at İYS, which we learn by ``path`` so many seconds later."""
    now = harness.clock()
    created = (now - seconds * A_SECOND).replace(microsecond=0)
    origin = an_iys_origin(
        path=path, creation_date=created, observed_at=created + seconds * A_SECOND
    )
    await harness.ingest(
        an_iys_event(event_id=f"{path}-{recipient}", recipient=recipient, iys=origin)
    )


async def measured(
    harness: SinkHarness, **more: object
) -> dict[tuple[str, Leg], tuple[int, float]]:
    """Return how many changes took how long at most half of the time, by path and leg."""
    fields = {"since": harness.clock() - timedelta(days=1), "brand_code": None} | more
    topic = harness.settings.topics.permissions.name
    found = await latencies(harness.ledger, permissions=topic, **fields)  # type: ignore[arg-type]
    return {(one.path, one.leg): (one.changes, one.p50) for one in found}


async def published(harness: SinkHarness, recipient: str) -> None:
    """Have the permission of a recipient published a second later."""
    harness.advance(A_SECOND, at_iys=False)
    await harness.ledger.fetch(
        """INSERT INTO movements SELECT (jsonb_populate_record(m, jsonb_build_object(
            'place', -m.place, 'kind', 'delivery', 'decision', NULL, 'source', 'outbox/1',
            'recorded_at', %(now)s::timestamptz, 'occurred_at', %(now)s::timestamptz,
            'data', jsonb_build_object('topic', %(topic)s::text)))).*
        FROM movements AS m WHERE m.key = %(key)s AND m.kind = 'decision' RETURNING key""",
        {
            "now": harness.clock(),
            "topic": harness.settings.topics.permissions.name,
            "key": str(a_key(recipient=recipient)),
        },
    )


async def test_latency_of_each_path_and_leg_is_measured(harness: SinkHarness):
    """Only of what began at İYS; each leg where it was reached."""
    taken = (("push", 2), ("pull", 3700), ("push", 4), ("daily", 90_000))
    for number, (path, seconds) in enumerate(taken, 2):
        await left(harness, path, a_phone(number), seconds)
    await harness.ingest(onay(a_phone(9)))
    await published(harness, a_phone(2))
    await acknowledged(harness)
    found = await measured(harness)
    assert found["push", Leg.RECEIVED] == (2, 2.0)
    assert found["pull", Leg.RECEIVED] == (1, 3700.0)
    assert found["daily", Leg.RECEIVED] == (1, 90_000.0)
    assert found["push", Leg.ORDERED][0] == 2
    assert found["push", Leg.READABLE][0] == 1
    assert 0.9 < found["push", Leg.READABLE][1] < 30
    assert {leg for path, leg in found if path == "pull"} == {Leg.RECEIVED, Leg.ORDERED}
    assert await measured(harness, brand_code=BRAND) == found
    assert await measured(harness, brand_code=BRAND + 1) == {}
    assert await measured(harness, since=harness.clock()) == {}


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (0.0, 1.0), (1.0, 100.0)]
)
def test_quantile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    """The least that the share does not exceed."""
    assert quantile([float(one) for one in range(1, 101)], share) == expected
    assert quantile([7.0], share) == 7.0
