"""librdkafka's clients on a broker to which nobody speaks without TLS."""

import asyncio

import pytest
from confluent_kafka import TopicPartition

from izin.kafka import clients
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from tests.support.secure import (
    PASSWORD,
    PASSWORDS,
    SECRET,
    Authority,
    SecureKafka,
    TokenEndpoint,
    settings_of,
    silent_tls,
    with_certificate,
    with_tokens,
)

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no broker that will not answer."""
    monkeypatch.setattr(clients, "TIMEOUT", 2.0)


def carry(settings: KafkaSettings) -> None:
    """Create our topics, and carry a record of a transaction from a producer to a consumer."""
    clients.ensure_topics(settings)
    name = settings.topics.events.name
    writer = clients.producer(settings, **{"transactional.id": name})
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(name, b"RET")
    writer.commit_transaction(20)
    reader = clients.consumer(settings, name)
    try:
        reader.assign([TopicPartition(name, 0, 0)])
        message = reader.poll(20)
        assert message is not None
        assert message.value() == b"RET"
    finally:
        reader.close()


def error_of(settings: KafkaSettings) -> str:
    """Return the error of a request with ``settings``, which has no secret in it."""
    with pytest.raises(BrokerError) as refused:
        clients.ensure_topics(settings)
    text = str(refused.value)
    assert PASSWORD not in text
    assert SECRET not in text
    return text


@pytest.mark.parametrize("mechanism", PASSWORDS)
def test_password_opens_every_client(secure_kafka: SecureKafka, mechanism: str) -> None:
    """An admin client, a transactional producer and a consumer, by each mechanism."""
    carry(settings_of(secure_kafka.environment(mechanism)))


def test_token_opens_every_client(
    secure_kafka: SecureKafka, authority: Authority, endpoint: TokenEndpoint
) -> None:
    """Librdkafka requests it itself, with our scope, from an endpoint of our own authority."""
    carry(settings_of(with_tokens(secure_kafka, authority, endpoint)))
    assert set(endpoint.statuses) == {200}
    assert endpoint.scopes == {"kafka"}


def test_certificate_opens_every_client(secure_kafka: SecureKafka, authority: Authority) -> None:
    """Its key is encrypted; without a certificate the same listener refuses."""
    carry(settings_of(with_certificate(secure_kafka, authority)))


@pytest.mark.usefixtures("impatient")
def test_missing_certificate_is_a_clear_error(
    secure_kafka: SecureKafka, authority: Authority
) -> None:
    """The listener wants one, and a client without it is sent away; a plain client too."""
    given = with_certificate(secure_kafka, authority)
    for name in ("CERTIFICATE_FILE", "KEY_FILE", "KEY_PASSWORD"):
        del given[f"KAFKA_SSL_{name}"]
    assert "KAFKA_S" in error_of(settings_of(given))
    plain = {"KAFKA_BOOTSTRAP_SERVERS": secure_kafka.bootstrap_servers}
    assert "KAFKA_SECURITY_PROTOCOL" in error_of(settings_of(plain))


@pytest.mark.parametrize("mechanism", PASSWORDS)
@pytest.mark.usefixtures("impatient")
def test_wrong_password_is_a_clear_error(secure_kafka: SecureKafka, mechanism: str) -> None:
    """It names the address, the cause and the settings."""
    text = error_of(settings_of(secure_kafka.environment(mechanism), KAFKA_SASL_PASSWORD=SECRET))
    named = "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
    for part in (secure_kafka.bootstrap_servers, "uthentication failed", named):
        assert part in text


@pytest.mark.usefixtures("impatient")
def test_refused_token_is_a_clear_error(
    secure_kafka: SecureKafka, authority: Authority, endpoint: TokenEndpoint
) -> None:
    """The endpoint does not know the secret."""
    given = with_tokens(secure_kafka, authority, endpoint)
    text = error_of(settings_of(given, KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET="another"))
    assert "KAFKA_SASL_OAUTHBEARER_" in text


@pytest.mark.usefixtures("impatient")
def test_unknown_authority_is_a_clear_error(secure_kafka: SecureKafka, stranger: Authority) -> None:
    """The broker's certificate is another's."""
    text = error_of(settings_of(secure_kafka.environment(), KAFKA_SSL_CA_FILE=str(stranger.file)))
    assert "certificate" in text
    assert "KAFKA_SSL_CA_FILE" in text


@pytest.mark.parametrize(("host", "ended"), [("127.0.0.1", True), ("broker.example.com", False)])
@pytest.mark.usefixtures("impatient")
async def test_wrong_certificate_is_a_clear_error(
    secure_kafka: SecureKafka, authority: Authority, host: str, *, ended: bool
) -> None:
    """One that has ended, and one of another host."""
    async with silent_tls(authority.issue("wrong", host=host, ended=ended)) as address:
        settings = settings_of(secure_kafka.environment(), KAFKA_BOOTSTRAP_SERVERS=address)
        # Beside the loop, in which the server is.
        text = await asyncio.to_thread(error_of, settings)
    assert "certificate" in text
    assert "KAFKA_SSL_CA_FILE" in text
