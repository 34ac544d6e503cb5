"""What a plan relies on, as it is now: topics with their ends, and who works on them."""

from collections.abc import Mapping

from izin.replay.errors import LiveGroupError
from izin.replay.plan import Bounds
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import identities, members


def bounds_of(
    settings: KafkaSettings, topics: Mapping[str, bool]
) -> tuple[str, Mapping[str, Bounds]]:
    """Return the cluster's id, and ``topics`` with their committed bounds; the value of each says
    whether it must stand still.

    Raises:
        BrokerError: Kafka cannot be reached, or a topic does not exist.
    """
    with kafka.broker_errors(settings):
        found = identities(kafka.admin(settings), list(topics))
    bounds = {}
    for topic, stands_still in topics.items():
        marks = kafka.watermarks(settings, topic)
        bounds[topic] = Bounds(
            topic_id=found.topic_ids[topic],
            starts={number: start for number, (start, _) in marks.items()},
            ends={number: end for number, (_, end) in marks.items()},
            stands_still=stands_still,
        )
    return found.cluster_id, bounds


def refuse_live_group(settings: KafkaSettings, group: str, what: str) -> None:
    """Refuse to go on while a consumer ``group``, made of ``what``, has members.

    Raises:
        LiveGroupError: it has.
        BrokerError: Kafka cannot be reached.
    """
    if count := members(settings, group):
        raise LiveGroupError(
            what, count, "stop them (one that has stopped counts until its session ends)"
        )
