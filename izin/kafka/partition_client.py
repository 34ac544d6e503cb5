"""A consumer of given partitions, for those who know their offsets themselves."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings

Place = tuple[str, int]
"""A topic and a partition."""


def partition_client(
    settings: KafkaSettings,
    group: str,
    positions: Mapping[Place, int],
    **options: Any,  # noqa: ANN401  # librdkafka's values
) -> Consumer:
    """Return a consumer of ``positions``, none of them perhaps, which shows the end of a partition
    as an error and creates no topic. To be closed.
    """
    client = kafka.consumer(
        settings,
        group,
        **{"allow.auto.create.topics": False, "enable.partition.eof": True, **options},
    )
    client.assign([TopicPartition(*place, offset) for place, offset in positions.items()])
    return client
