"""Where a partition is read from when an instance gets it."""

from collections.abc import Callable, Sequence
from datetime import datetime

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from izin.runtime.broker_faults import while_leaders_move

_TIMEOUT = 15.0


class Starts:
    """Starts at the checkpoints; where there is none, at the first record not before ``since``.

    ``load`` returns the checkpoint of a partition that a store has; without it they are Kafka's.
    """

    def __init__(
        self, since: datetime | None, load: Callable[[TopicPartition], int | None] | None = None
    ) -> None:
        self._since = since
        self._load = load

    def of(
        self, client: Consumer, partitions: Sequence[TopicPartition]
    ) -> tuple[list[TopicPartition], list[TopicPartition]]:
        """Return where the ``partitions`` start, and which of these starts must become checkpoints.

        An instant is looked up once: the caller may say "from now on" at every start, and what was
        published between two of them must not be missed.

        Raises:
            KafkaException: the broker does not answer.
        """
        known = self._checkpoints(client, partitions)
        fresh = [one for one in partitions if one.partition not in known]
        starts = [
            TopicPartition(one.topic, one.partition, known[one.partition])
            for one in partitions
            if one.partition in known
        ]
        if self._since is None:
            return [
                *starts,
                *(TopicPartition(one.topic, one.partition, OFFSET_BEGINNING) for one in fresh),
            ], []
        first = self._first(client, fresh, self._since)
        return [*starts, *first], first

    def _checkpoints(
        self, client: Consumer, partitions: Sequence[TopicPartition]
    ) -> dict[int, int]:
        if self._load is None:
            found = client.committed(list(partitions), timeout=_TIMEOUT)
            return {one.partition: one.offset for one in found if one.offset >= 0}
        loaded = {one.partition: self._load(one) for one in partitions}
        return {number: offset for number, offset in loaded.items() if offset is not None}

    @staticmethod
    def _first(
        client: Consumer, partitions: Sequence[TopicPartition], since: datetime
    ) -> list[TopicPartition]:
        if not partitions:
            return []
        # The ends come first: a record that is appended meanwhile must not be before the start.
        ends = {one.partition: while_leaders_move(_end)(client, one) for one in partitions}
        instant = int(since.timestamp() * 1000)
        asked = [TopicPartition(one.topic, one.partition, instant) for one in partitions]
        found = while_leaders_move(client.offsets_for_times)(asked, timeout=_TIMEOUT)
        return [
            TopicPartition(
                one.topic, one.partition, one.offset if one.offset >= 0 else ends[one.partition]
            )
            for one in found
        ]


def _end(client: Consumer, place: TopicPartition) -> int:
    return int(client.get_watermark_offsets(place, timeout=_TIMEOUT)[1])
