"""Waiting for repartitioned records ends."""

import pytest
from confluent_kafka import KafkaException

from izin.streams.ownership.repartitioning import Pauses


async def test_pauses_are_bounded() -> None:
    """Whoever waits for what never comes gets an error."""
    pauses, count = Pauses(0.01), 0
    with pytest.raises(KafkaException):  # noqa: PT012  # which of them raises is a matter of time
        while count < 1000:
            await pauses.next()
            count += 1
    assert 0 < count < 1000
