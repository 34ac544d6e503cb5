"""Who consumes: the members of consumer groups."""

from confluent_kafka import ConsumerGroupTopicPartitions

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings

CONTESTED = "instance id in use twice"
"""What an order worker writes beside the offsets of the group while another has its name."""


def is_contested(settings: KafkaSettings, group: str) -> bool:
    """Return whether two order workers of ``group`` had one name lately; raises BrokerError."""
    with kafka.broker_errors(settings):
        client = kafka.admin(settings)  # kept: its answers end with it
        asked = client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=kafka.TIMEOUT
        )
        places = asked[group].result().topic_partitions or []
        return any(one.metadata == CONTESTED for one in places)


def members(settings: KafkaSettings, group: str) -> int:
    """Return how many members a consumer ``group`` has, 0 where there is no such group; raises
    BrokerError.
    """
    with kafka.broker_errors(settings):
        client = kafka.admin(settings)
        # Groups are listed first: where there never was one, nothing answers what they are.
        listed = client.list_consumer_groups(request_timeout=kafka.TIMEOUT).result()
        if listed.errors:
            raise listed.errors[0]
        if group not in {one.group_id for one in listed.valid}:
            return 0
        asked = client.describe_consumer_groups([group], request_timeout=kafka.TIMEOUT)
        return len(asked[group].result().members)
