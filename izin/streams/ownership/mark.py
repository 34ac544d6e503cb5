"""A marker that only current leaders can know, so that responses of former leaders are detected.

A broker that was paused (a frozen machine, a long garbage collection) still acts as leader of its
partitions and coordinator of its groups when it resumes, until it learns otherwise. It responds at
once to requests sent meanwhile, with outdated ends and offsets. A worker that trusted them would
decide over an outdated state, or decide again what others have decided.

Such a broker cannot accept a write, because it is not replicated. So the acquiring worker writes
two marks, one where the state is and one where the offsets are, and then reads until it sees both:

- a record in ``desired-consents`` whose transaction is aborted. No subscriber ever sees it; it has
  an offset, and everything committed before it lies below;
- that offset, committed as the group's offset of ``desired-consents``. Nothing else uses it. A
  response without it is not the coordinator's.
"""

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

_KEY = b"izin-mark"
"""A compacted topic accepts no record without a key."""
_OFFSETS_OF_A_MARK = 2
"""The record's, and that of the transaction's own marker."""


def set_marks(
    producer: Producer, offsets: Consumer, place: TopicPartition, *, within: float
) -> int:
    """Mark the end of ``place`` and the group of ``offsets``; return the offset behind the mark.

    ``producer`` is transactional and initialised; ``within`` is in seconds, of each call. Raises
    KafkaException.
    """
    delivered: list[tuple[KafkaError | None, int]] = []

    def deliver(error: KafkaError | None, message: Message) -> None:
        delivered.append((error, message.offset() or 0))

    producer.begin_transaction()
    producer.produce(place.topic, key=_KEY, partition=place.partition, on_delivery=deliver)
    if producer.flush(within) or not delivered:
        raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
    ((error, offset),) = delivered
    if error is not None:
        raise KafkaException(error)
    producer.abort_transaction(within)
    end = offset + _OFFSETS_OF_A_MARK
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(place.topic, place.partition, end)],
        offsets.consumer_group_metadata(),
        within,
    )
    producer.commit_transaction(within)
    return end
