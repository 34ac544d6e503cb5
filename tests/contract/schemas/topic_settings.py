"""Change the settings of a topic, as another program would."""

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from izin.kafka.clients import admin
from izin.runtime.settings import KafkaSettings
from tests.support.waiting import until


def set_of_topic(settings: KafkaSettings, topic: str, name: str, value: str) -> None:
    """Set ``name`` of ``topic``, and wait until the broker shows it."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(settings)  # gone, it would take the answer with it
    client.incremental_alter_configs([resource])[resource].result(10)

    def shown() -> bool:
        asked = ConfigResource(ResourceType.TOPIC, topic)
        return bool(client.describe_configs([asked])[asked].result(10)[name].value == value)

    until(shown)
