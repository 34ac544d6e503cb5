"""Settings of connections to the secured broker, one for each way to authenticate."""

from collections.abc import Mapping
from uuid import uuid4

from izin.runtime.settings import KafkaSettings
from tests.support.secure.broker import CLIENT_ID, SecureKafka
from tests.support.secure.certificates import Authority
from tests.support.secure.https import TokenEndpoint

SECRET = "obviously-fake-secret"
"""Of the client of the token endpoint, and of the key of a client's certificate."""
PASSWORDS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


def with_tokens(
    broker: SecureKafka, authority: Authority, endpoint: TokenEndpoint
) -> dict[str, str]:
    """Return the settings of our processes that authenticate with tokens of ``endpoint``."""
    oauth = "KAFKA_SASL_OAUTHBEARER_"
    given = broker.environment("OAUTHBEARER")
    del given["KAFKA_SASL_USERNAME"], given["KAFKA_SASL_PASSWORD"]
    return given | {
        f"{oauth}TOKEN_ENDPOINT_URL": f"{endpoint.url}/token",
        f"{oauth}CLIENT_ID": CLIENT_ID,
        f"{oauth}CLIENT_SECRET": SECRET,
        f"{oauth}SCOPE": "kafka",
        f"{oauth}CA_FILE": str(authority.file),
    }


def with_certificate(broker: SecureKafka, authority: Authority) -> dict[str, str]:
    """Return the settings of our processes that authenticate with a certificate."""
    client = authority.issue("client", password=SECRET)
    return {
        "KAFKA_BOOTSTRAP_SERVERS": broker.mutual,
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_FILE": str(authority.file),
        "KAFKA_SSL_CERTIFICATE_FILE": str(client.certificate),
        "KAFKA_SSL_KEY_FILE": str(client.key),
        "KAFKA_SSL_KEY_PASSWORD": SECRET,
    }


def settings_of(given: Mapping[str, str], **others: str) -> KafkaSettings:
    """Return Kafka settings of ``given``, with topics of their own."""
    own = {"IZIN_TOPIC_PREFIX": f"t{uuid4().hex[:8]}-", "IZIN_PARTITIONS": "1"}
    return KafkaSettings.model_validate({**own, **given, **others})
