"""A mark that only current leaders can know, so that responses of former leaders are detected.

A broker that was paused (a frozen machine, a long garbage collection) still acts as leader of its
partitions when it resumes, until it learns otherwise. It responds at once to requests sent
meanwhile, with outdated ends. A worker that trusted them would decide over an outdated state, or
decide again what others have decided.

Such a broker cannot accept a write, because it is not replicated. So the acquiring worker writes a
record to each partition that it is about to read, in a transaction that it aborts, and then reads
up to it. No subscriber ever sees the record; it has an offset, and everything that was committed
before lies below.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

_KEY = b"izin-mark"
"""A compacted topic accepts no record without a key."""
_OFFSETS_OF_A_MARK = 2
"""The record's, and that of the transaction's own marker."""


def set_marks(
    producer: Producer, places: Sequence[TopicPartition], *, within: float
) -> Mapping[str, int]:
    """Mark the end of each of ``places``, of different topics; return the offset behind each mark
    by topic.

    ``producer`` is transactional and initialised; ``within`` is in seconds, of each call. Raises
    KafkaException.
    """
    delivered: dict[str, tuple[KafkaError | None, int]] = {}

    def deliver(topic: str, error: KafkaError | None, message: Message) -> None:
        delivered[topic] = error, message.offset() or 0

    producer.begin_transaction()
    for place in places:
        producer.produce(
            place.topic,
            key=_KEY,
            partition=place.partition,
            on_delivery=partial(deliver, place.topic),
        )
    if producer.flush(within) or len(delivered) < len(places):
        raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
    for error, _ in delivered.values():
        if error is not None:
            raise KafkaException(error)
    producer.abort_transaction(within)
    return {topic: offset + _OFFSETS_OF_A_MARK for topic, (_, offset) in delivered.items()}
