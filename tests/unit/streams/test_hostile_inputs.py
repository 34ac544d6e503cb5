"""Ten thousand hostile records at the order stage: no crash, and no neighbour harmed."""

from datetime import timedelta

import pytest

from izin.consent.model import Status
from izin.streams.outputs import MAX_BYTES
from izin.streams.state.state import MemoryState
from tests.support.builders import NOON, an_event
from tests.support.hostile.inputs import HostileInputs
from tests.support.order.harness import (
    CODEC,
    HOME,
    KEY,
    TOPICS,
    OrderHarness,
    consent_of,
    fetched,
    records_of,
)

HARNESS = OrderHarness()
BATCHES, RECORDS = 200, 10


@pytest.mark.parametrize("seed", range(5))
def test_hostile_records_harm_no_ret(seed: int) -> None:
    """Each gives a decision, a dead letter or a repartitioned record that can be written and read;
    a valid RET between them takes effect.
    """
    made, state = HostileInputs(seed), MemoryState()
    for number in range(BATCHES):
        at = NOON + timedelta(hours=number)
        ret = an_event(event_id=f"{number}", status="RET", consent_date=at, received_at=at)
        (valid,) = records_of(ret, timestamp=int(at.timestamp() * 1000))
        hostile = [
            fetched(value=made.framed(CODEC), key=KEY, partition=HOME, offset=offset)
            for offset in range(RECORDS)
        ]
        effects = HARNESS.fold([*hostile[:5], valid, *hostile[5:]], state)
        state.apply(effects.changes, number)
        # It wins, unless a RET does that İYS dates later.
        assert consent_of(state, KEY).status is Status.RET
        for topic in (TOPICS.decisions, TOPICS.desired_consents, TOPICS.dead_letters):
            HARNESS.written(effects, topic.name, topic.record)
        for one in (*effects.writes, *effects.repartitioned):
            assert len(one.key or b"") + len(one.value) + len(one.headers) <= MAX_BYTES
