"""The variables of Kafka's connections, and the option of librdkafka that each one sets."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class SecurityProtocol(StrEnum):
    """Kafka's security protocols: TLS (SSL), authentication by SASL, both or neither."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    """Kafka's SASL mechanisms: a password, sent or proved, or a token."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


CHOICES: Mapping[str, type[StrEnum]] = MappingProxyType(
    {"KAFKA_SECURITY_PROTOCOL": SecurityProtocol, "KAFKA_SASL_MECHANISM": SaslMechanism}
)
"""The variables that have one of a few values, in any case of letters."""

SECRETS = ("KAFKA_SSL_KEY_PASSWORD", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET")
"""The variables that may be in a file instead."""

_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "KAFKA_SECURITY_PROTOCOL": "security.protocol",
        "KAFKA_SSL_CA_FILE": "ssl.ca.location",
        "KAFKA_SSL_CERTIFICATE_FILE": "ssl.certificate.location",
        "KAFKA_SSL_KEY_FILE": "ssl.key.location",
        "KAFKA_SSL_KEY_PASSWORD": "ssl.key.password",
        "KAFKA_SASL_MECHANISM": "sasl.mechanism",
        "KAFKA_SASL_USERNAME": "sasl.username",
        "KAFKA_SASL_PASSWORD": "sasl.password",
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "sasl.oauthbearer.token.endpoint.url",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "sasl.oauthbearer.client.id",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "sasl.oauthbearer.client.secret",
        "KAFKA_SASL_OAUTHBEARER_SCOPE": "sasl.oauthbearer.scope",
        "KAFKA_SASL_OAUTHBEARER_CA_FILE": "https.ca.location",
    }
)
SECURITY = tuple(_OPTIONS)
"""The variables of encryption and authentication."""


def plain(value: Any) -> str:  # noqa: ANN401  # a text, a path, an enumeration or a SecretStr
    """Return the value of a setting as a text, a secret in plain."""
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


def security_options_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return librdkafka's options for what is ``given`` of encryption and authentication, by
    variable.

    Without TLS and SASL it is the protocol alone. librdkafka verifies the broker's certificate and
    host unless set otherwise, and requests tokens (OIDC) by itself.
    """
    found = {
        option: plain(given[variable])
        for variable, option in _OPTIONS.items()
        if given.get(variable) is not None
    }
    if found.get("sasl.mechanism") == SaslMechanism.OAUTHBEARER:
        found["sasl.oauthbearer.method"] = "oidc"
    return found
