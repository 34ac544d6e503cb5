"""Encryption and authentication of librdkafka's clients, and what to do where either fails.

The order worker's other client, aiokafka, has the same from ``izin.streams.engine.credentials``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError
from pydantic import SecretStr

from izin.runtime.settings import KafkaSettings, SaslMechanism

_ADDRESS = "is it running, and are KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL right?"


def security_options(settings: KafkaSettings) -> Mapping[str, Any]:
    """Return librdkafka's options for what ``settings`` say of encryption and authentication.

    Without TLS and SASL it is the protocol alone. librdkafka verifies the broker's certificate and
    host unless set otherwise, and requests tokens (OIDC) by itself.
    """
    options = {
        "security.protocol": settings.security_protocol,
        "ssl.ca.location": settings.ssl_ca_file,
        "ssl.certificate.location": settings.ssl_certificate_file,
        "ssl.key.location": settings.ssl_key_file,
        "ssl.key.password": settings.ssl_key_password,
        "sasl.mechanism": settings.sasl_mechanism,
        "sasl.username": settings.sasl_username,
        "sasl.password": settings.sasl_password,
    }
    if settings.sasl_mechanism is SaslMechanism.OAUTHBEARER:
        options |= {
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": settings.oauth_token_url,
            "sasl.oauthbearer.client.id": settings.oauth_client_id,
            "sasl.oauthbearer.client.secret": settings.oauth_client_secret,
            "sasl.oauthbearer.scope": settings.oauth_scope,
            "https.ca.location": settings.oauth_ca_file,
        }
    return {name: _plain(value) for name, value in options.items() if value is not None}


def _plain(value: str | Path | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def remedy(settings: KafkaSettings, error: KafkaError) -> str:
    """Return the question that leads to the setting at fault, by the error's code."""
    match error.code():
        case KafkaError._AUTHENTICATION | KafkaError.SASL_AUTHENTICATION_FAILED:  # noqa: SLF001  # librdkafka's name for it
            if settings.sasl_mechanism is SaslMechanism.OAUTHBEARER:
                return "are the settings KAFKA_SASL_OAUTHBEARER_… right?"
            return "are KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD right?"
        case KafkaError._SSL:  # noqa: SLF001  # the same
            return (
                "is the broker's certificate valid, of this host, and of an authority in "
                "KAFKA_SSL_CA_FILE?"
            )
        case _:
            return _ADDRESS
