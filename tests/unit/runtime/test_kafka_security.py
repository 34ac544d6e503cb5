"""What librdkafka gets of encryption and authentication, and what to do where either fails."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from pydantic import SecretStr

from izin.runtime import broker_faults, kafka
from izin.runtime.errors import BrokerError
from izin.runtime.kafka import broker_errors
from izin.runtime.setting_rules.checks import security_options_of
from izin.runtime.settings import KafkaSettings, SaslMechanism, SecurityProtocol

SECRET = SecretStr("obviously-fake")
PLAIN = KafkaSettings(bootstrap_servers="127.0.0.1:1")
"""No broker listens there."""


def test_plain_connection_has_no_other_option() -> None:
    """As before there were such settings."""
    assert security_options_of(PLAIN.given) == {"security.protocol": "PLAINTEXT"}


def test_every_setting_is_an_option_that_librdkafka_knows() -> None:
    """Under Kafka's own names, with secrets in plain; a client can be made with all of them."""
    password = KafkaSettings.model_construct(
        security_protocol=SecurityProtocol.SASL_SSL,
        ssl_ca_file=Path("ca.pem"),
        ssl_certificate_file=Path("client.pem"),
        ssl_key_file=Path("key.pem"),
        ssl_key_password=SECRET,
        sasl_mechanism=SaslMechanism.SCRAM_SHA_256,
        sasl_username="izin",
        sasl_password=SECRET,
    )
    assert security_options_of(password.given) == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "ca.pem",
        "ssl.certificate.location": "client.pem",
        "ssl.key.location": "key.pem",
        "ssl.key.password": "obviously-fake",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "izin",
        "sasl.password": "obviously-fake",
    }
    token = KafkaSettings(
        bootstrap_servers="127.0.0.1:1",
        security_protocol=SecurityProtocol.SASL_SSL,
        sasl_mechanism=SaslMechanism.OAUTHBEARER,
        oauth_token_url="https://127.0.0.1:1/token",
        oauth_client_id="izin",
        oauth_client_secret=SECRET,
        oauth_scope="kafka",
    )
    assert security_options_of(token.given) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": "https://127.0.0.1:1/token",
        "sasl.oauthbearer.client.id": "izin",
        "sasl.oauthbearer.client.secret": "obviously-fake",
        "sasl.oauthbearer.scope": "kafka",
    }
    assert kafka.admin(token) is not None


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        (KafkaError._AUTHENTICATION, "KAFKA_SASL_PASSWORD"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "KAFKA_SASL_PASSWORD"),
        (KafkaError._SSL, "KAFKA_SSL_CA_FILE"),
        (KafkaError._RESOLVE, "KAFKA_BOOTSTRAP_SERVERS"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_broker_error_names_the_setting_by_its_code(code: int, setting: str) -> None:
    """Not by its text, which changes with each release."""
    with pytest.raises(BrokerError, match=setting), broker_errors(PLAIN):
        raise KafkaException(KafkaError(code))


def test_refused_token_names_the_settings_of_tokens() -> None:
    """A password would be the wrong place to look at."""
    settings = PLAIN.model_copy(update={"sasl_mechanism": SaslMechanism.OAUTHBEARER})
    with pytest.raises(BrokerError, match="KAFKA_SASL_OAUTHBEARER_"), broker_errors(settings):
        raise KafkaException(KafkaError(KafkaError._AUTHENTICATION))


def test_unreached_broker_is_reported_with_its_cause() -> None:
    """Whoever made the request hears of a broker transport failure, and not why."""
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1.*[Cc]onnect"), broker_errors(PLAIN):
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def test_missing_topic_has_its_own_remedy() -> None:
    """The broker has answered, so its address is right."""
    with pytest.raises(BrokerError, match="izin doctor says what creates it"), broker_errors(PLAIN):
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))


def test_broker_that_is_back_is_reported_by_the_first_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no cause to be found, and nobody waits long for one."""
    monkeypatch.setattr(broker_faults, "_CAUSE_WITHIN", 0.0)
    with pytest.raises(BrokerError, match=r"[Tt]imed out|_TIMED_OUT"), broker_errors(PLAIN):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
