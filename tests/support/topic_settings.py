"""The settings of a topic, changed behind the back of izin."""

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from izin.runtime.kafka import admin
from izin.runtime.settings import KafkaSettings
from tests.local.waiting import until


def set_of_topic(settings: KafkaSettings, topic: str, name: str, value: str) -> None:
    """Set ``name`` of ``topic``, and wait until the broker shows it."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(settings)  # kept alive until the answer has come
    client.incremental_alter_configs([resource])[resource].result(10)

    def is_applied() -> bool:
        asked = ConfigResource(ResourceType.TOPIC, topic)
        return bool(client.describe_configs([asked])[asked].result(10)[name].value == value)

    until(is_applied)
