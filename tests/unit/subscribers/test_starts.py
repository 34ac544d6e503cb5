"""Where partitions start, although a leader is being elected."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from izin.runtime import broker_faults
from izin.subscribers.lane import Starts

PLACE = TopicPartition("permissions", 0)


class Moving:
    """A consumer whose broker answers so many questions with an error first."""

    def __init__(self, code: int, times: int) -> None:
        self.code = code
        self.left = times

    def committed(self, places: Sequence[TopicPartition], **_: object) -> list[TopicPartition]:
        """Return no checkpoint."""
        return [TopicPartition(one.topic, one.partition, -1001) for one in places]

    def get_watermark_offsets(self, _place: TopicPartition, **_: object) -> tuple[int, int]:
        """Return where the partition begins and ends."""
        self.left -= 1
        if self.left >= 0:
            raise KafkaException(KafkaError(self.code))
        return 0, 7

    def offsets_for_times(
        self, places: Sequence[TopicPartition], **_: object
    ) -> list[TopicPartition]:
        """Return that no record is so late."""
        return [TopicPartition(one.topic, one.partition, -1) for one in places]


def test_start_is_asked_again_while_a_leader_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new topic's broker answers so: the subscriber begins at the end, and does not stop."""
    monkeypatch.setattr(broker_faults, "_POLL", 0)
    client = Moving(KafkaError.NOT_LEADER_FOR_PARTITION, 2)
    (start,), new = Starts(datetime.now(UTC)).of(client, [PLACE])  # type: ignore[arg-type]  # a part of one
    assert (start.offset, new) == (7, [start])


def test_other_error_of_a_start_is_raised() -> None:
    """What no patience can mend is not asked again."""
    client = Moving(KafkaError.TOPIC_AUTHORIZATION_FAILED, 1)
    with pytest.raises(KafkaException):
        Starts(datetime.now(UTC)).of(client, [PLACE])  # type: ignore[arg-type]  # as above
    assert client.left == 0
