"""Write records of a lane again, to the partitions that their keys belong to."""

from collections.abc import Sequence
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, Producer

from izin.runtime.process import in_daemon_thread
from izin.schemas.fast.record_format import headers_of
from izin.streams.ownership.effects import OutputRecord

_WITHIN = 10.0
_POLL = 0.01
"""In seconds: another thread may take the acknowledgements from it."""


async def repartition(producer: Producer, records: Sequence[OutputRecord]) -> None:
    """Write ``records``, and wait: the position may pass what they came from only once they are
    safe there.

    Raises KafkaException where one was not acknowledged.
    """
    if records:
        await in_daemon_thread(lambda: _write(producer, records), name="repartition")


def _write(producer: Producer, records: Sequence[OutputRecord]) -> None:
    outcomes: list[KafkaError | None] = []
    for topic, partition, key, value, headers in records:
        producer.produce(
            topic,
            value,
            key,
            partition,
            lambda error, _: outcomes.append(error),
            headers=list(headers_of(headers)),
        )
    # Not flush: it would wait for what others write to partitions that have no leader.
    limit = monotonic() + _WITHIN
    while len(outcomes) < len(records) and monotonic() < limit:
        producer.poll(_POLL)
    if len(outcomes) < len(records):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
    for error in outcomes:
        if error is not None:
            raise KafkaException(error)
