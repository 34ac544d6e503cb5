"""A mark that only true leaders can hold: what is read after it was asked of no leader of the past.

A broker that stood still (a frozen machine, a long pause for garbage) takes itself for the leader
of its partitions and the coordinator of its groups when it wakes, until it hears otherwise. It
answers at once what it was asked meanwhile: with ends and offsets of the past. Whoever believed it
would decide over a stale state, or decide again what others have decided.

Such a broker cannot take a write, for nobody replicates it. So whoever takes a partition writes
two marks, one where the state is and one where the offsets are, and then reads until it sees both:

- a record in ``desired-consents`` whose transaction is aborted. No subscriber ever sees it; it has an
  offset, and everything committed before it lies below;
- that offset, committed as the group's place in ``desired-consents``. Nobody else has a use for it. An
  answer that does not know it is not the coordinator's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, TopicPartition

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, Producer

_KEY = b"izin-mark"
"""A compacted topic takes no record without a key."""
_ITSELF_AND_ITS_END = 2
"""The mark and the transaction's own marker."""


def set_marks(
    producer: Producer, offsets: Consumer, place: TopicPartition, *, within: float
) -> int:
    """Mark the end of ``place`` and the group of ``offsets``; return the offset behind the mark.

    ``producer`` is transactional and initialised. Raises KafkaException.
    """
    landed: list[tuple[KafkaError | None, int]] = []

    def note(error: KafkaError | None, message: Message) -> None:
        landed.append((error, message.offset() or 0))

    producer.begin_transaction()
    producer.produce(place.topic, key=_KEY, partition=place.partition, on_delivery=note)
    if producer.flush(within) or not landed:
        raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
    ((error, offset),) = landed
    if error is not None:
        raise KafkaException(error)
    producer.abort_transaction(within)
    end = offset + _ITSELF_AND_ITS_END
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(place.topic, place.partition, end)],
        offsets.consumer_group_metadata(),
        within,
    )
    producer.commit_transaction(within)
    return end
