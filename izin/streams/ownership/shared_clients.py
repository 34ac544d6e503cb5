"""The clients that all partitions of a worker share: requests to brokers for all of them.

Requests are repeated while a leader moves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from faust import OAuthCredentials, SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from izin.kafka import clients
from izin.kafka.connections import while_leaders_move
from izin.runtime.settings import KafkaSettings, SaslMechanism
from izin.streams.ownership.positions import Positions

_TIMEOUT = 10.0
_FLUSH_TIMEOUT = 0.5


class SharedClients:
    """The clients of one worker, whose consumer group is ``group``."""

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self.settings = settings
        self.group = group
        self.connection: Mapping[str, Any] = {
            "bootstrap_servers": settings.bootstrap_servers,
            **credentials_to_aiokafka_auth(credentials(settings)),
        }
        """How aiokafka's clients reach the brokers."""
        self.admin: AdminClient = clients.admin(settings)
        self.repartition_producer: Producer = clients.producer(settings)
        """Repartitions records outside every transaction: another partition must not decide their
        fate."""

    def bounds(self, places: Sequence[TopicPartition]) -> Mapping[str, tuple[int, int]]:
        """Return the first offset and the end of each of ``places`` by topic; raises
        KafkaException.
        """

        def refresh() -> None:
            # librdkafka's admin client keeps a leader's epoch for minutes, even when the broker
            # says that it is over.
            for topic in {place.topic for place in places}:
                self.admin.list_topics(topic, timeout=_TIMEOUT)

        return while_leaders_move(self._bounds, between=refresh)(places)

    def _bounds(self, places: Sequence[TopicPartition]) -> Mapping[str, tuple[int, int]]:
        earliest, latest = (
            self.admin.list_offsets(dict.fromkeys(places, spec), request_timeout=_TIMEOUT)
            for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
        )
        found = {
            place.topic: (earliest[place].result().offset, latest[place].result().offset)
            for place in places
        }
        if any(offset < 0 for both in found.values() for offset in both):  # of a new leader
            raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
        return found

    def origin(self) -> Positions:
        """Return the ids of the cluster and the topics, at the offset 0; raises KafkaException."""
        topics = self.settings.topics
        names = [topics.events.name, topics.express.name, topics.desired_consents.name]
        # Not describe_cluster: the only broker answers it without a broker while it is fenced, and
        # librdkafka 2.16 ends the process (an assertion in rd_kafka_admin_response_parse).
        cluster_id = self.admin.list_topics(names[0], timeout=_TIMEOUT).cluster_id
        if cluster_id is None:  # and an unknown one is no other one
            raise KafkaException(KafkaError(KafkaError._PARTIAL))  # noqa: SLF001  # librdkafka's name for it
        described = self.admin.describe_topics(TopicCollection(names), request_timeout=_TIMEOUT)
        events, express, desired = (str(described[name].result().topic_id) for name in names)
        return Positions(
            cluster_id=cluster_id,
            events_topic_id=events,
            express_topic_id=express,
            desired_consents_topic_id=desired,
        )

    def close(self) -> None:
        """Close the clients."""
        self.repartition_producer.flush(_FLUSH_TIMEOUT)


def credentials(settings: KafkaSettings) -> Any:  # noqa: ANN401  # Faust publishes no types
    """Return Faust's credentials, None for a plain connection; raises SettingError."""
    context = settings.tls_context()
    match settings.sasl_mechanism:
        case None:
            return SSLCredentials(context) if context else None
        case SaslMechanism.OAUTHBEARER:
            # It imports an HTTP library, 0.2 s for which the partitions of a worker would wait.
            from izin.streams.ownership.token_provider import TokenProvider  # noqa: PLC0415  # see above

            return OAuthCredentials(oauth_cb=TokenProvider(settings), ssl_context=context)
        case mechanism:
            password = settings.sasl_password
            return SASLCredentials(
                username=settings.sasl_username,
                password=password and password.get_secret_value(),
                ssl_context=context,
                mechanism=mechanism.value,
            )
