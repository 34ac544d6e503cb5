"""Encryption and authentication of librdkafka's clients.

The order worker's other client, aiokafka, has the same from ``izin.streams.engine.credentials``.
"""

from collections.abc import Mapping

from izin.runtime.setting_rules.kafka_variables import security_options_of
from izin.runtime.settings import KafkaSettings


def security_options(settings: KafkaSettings) -> Mapping[str, str]:
    """Return librdkafka's options for what ``settings`` say of encryption and authentication."""
    return security_options_of(settings.given)
