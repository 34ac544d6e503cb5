"""Who consumes: the members of consumer groups."""

from confluent_kafka import KafkaError, KafkaException

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings


def members(settings: KafkaSettings, group: str) -> int:
    """Return how many members a consumer ``group`` has, 0 where there is no such group; raises
    BrokerError.
    """
    with kafka.broker_errors(settings):
        asked = kafka.admin(settings).describe_consumer_groups(
            [group], request_timeout=kafka.TIMEOUT
        )
        try:
            return len(asked[group].result(kafka.TIMEOUT).members)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise
