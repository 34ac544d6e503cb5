"""Write records of a lane again, to the partitions that their keys belong to."""

import asyncio
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer

from izin.streams.ownership.commit import timed_out
from izin.streams.ownership.effects import ANY_PARTITION, OutputRecord

_WITHIN = 10.0
_LONGEST_PAUSE = 0.05


class Pauses:
    """Pauses that grow from nothing to 50 ms, for ``limit`` seconds."""

    def __init__(self, limit: float) -> None:
        self._began = time.monotonic()
        self._limit = limit
        self._pause = 0.0

    async def next(self) -> None:
        """Pause; raises KafkaException once the time is over."""
        if time.monotonic() - self._began > self._limit:
            raise timed_out()
        await asyncio.sleep(self._pause)
        self._pause = min(max(0.001, self._pause * 2), _LONGEST_PAUSE)


async def repartition(producer: Producer, records: Sequence[OutputRecord]) -> None:
    """Write ``records``, and wait: the position may pass what they came from only once they are
    safe there.

    Raises KafkaException where one was not acknowledged.
    """
    outcomes: list[KafkaError | None] = []
    for topic, partition, key, value, headers in records:
        producer.produce(
            topic,
            value,
            key,
            ANY_PARTITION if partition is None else partition,
            lambda error, _: outcomes.append(error),
            headers=headers,
        )
    pauses = Pauses(_WITHIN)
    while len(outcomes) < len(records):
        producer.poll(0)
        await pauses.next()
    for error in outcomes:
        if error is not None:
            raise KafkaException(error)
