"""librdkafka's clients on a broker to which nobody speaks without TLS.

Order workers, with both of their Kafka clients, on a broker that wants TLS.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import TopicPartition
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from izin.kafka import clients
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.streams.ownership import credentials
from tests.support.order.harness import CODEC, Traffic
from tests.support.order.verdict import Worker, all_held, backlog, examine, until
from tests.support.published import transaction
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

pytestmark = pytest.mark.broker


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no broker that will not answer."""
    monkeypatch.setattr(clients, "TIMEOUT", 2.0)


def carry(settings: KafkaSettings) -> None:
    """Create our topics, and carry a record of a transaction from a producer to a consumer."""
    clients.ensure_topics(settings)
    name = settings.topics.events.name
    writer = transaction(settings, "test")
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


_LIMIT = 20


@pytest.fixture
def ways(
    secure_kafka: SecureKafka, authority: Authority, endpoint: TokenEndpoint
) -> Mapping[str, Mapping[str, str]]:
    """Return the settings of each way to authenticate."""
    return {
        "SCRAM-SHA-512": secure_kafka.environment("SCRAM-SHA-512"),
        "OAUTHBEARER": with_tokens(secure_kafka, authority, endpoint),
        "certificate": with_certificate(secure_kafka, authority),
    }


@pytest.mark.parametrize("way", ["SCRAM-SHA-512", "OAUTHBEARER", "certificate"])
def test_worker_decides_on_a_secured_broker(
    way: str, ways: Mapping[str, Mapping[str, str]], tmp_path: Path
) -> None:
    """A password, a token and a certificate serve Faust's driver and librdkafka alike."""
    given = ways[way]
    settings = settings_of(given)
    clients.ensure_topics(settings)
    traffic = Traffic(settings, CODEC, seed=7, recipients=20)
    with Worker("secured", settings, tmp_path / "worker.log", environment=given) as worker:
        until(lambda: all_held([worker], 1), within=60, what="owner")
        traffic.publish(200)
        until(lambda: not backlog(settings), within=30, what="end of the backlog")
        assert worker.end() == 0
    verdict = examine(settings, CODEC)
    assert verdict.faultless, str(verdict)
    log = worker.log.read_text()
    assert PASSWORD not in log
    assert SECRET not in log


def test_worker_with_a_wrong_password_says_so_and_waits(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    """As for a broker that is away: the password may be set there later. SIGTERM ends it."""
    given = {**secure_kafka.environment(), "KAFKA_SASL_PASSWORD": SECRET}
    with Worker(
        "refused", settings_of(given), tmp_path / "worker.log", environment=given
    ) as worker:
        until(lambda: "KAFKA_SASL_PASSWORD" in worker.log.read_text(), within=60, what="error")
        assert worker.process.poll() is None
        worker.process.terminate()
        worker.process.wait(20)
    log = worker.log.read_text()
    assert "Kafka not reached" in log
    assert SECRET not in log


async def driver_is_refused(settings: KafkaSettings) -> bool:
    """Whether aiokafka, with the arguments of Faust's driver, gets the error that is waited out."""
    client = AIOKafkaClient(
        bootstrap_servers=settings.bootstrap_servers,
        **credentials_to_aiokafka_auth(credentials(settings)),
    )
    try:
        async with asyncio.timeout(_LIMIT):
            await client.bootstrap()
    except KafkaConnectionError:
        return True
    finally:
        await client.close()
    return False


async def test_driver_is_refused_where_librdkafka_is(
    secure_kafka: SecureKafka, authority: Authority, endpoint: TokenEndpoint, stranger: Authority
) -> None:
    """For a password, a token, an authority, an end and a host; and none of them waits. Each
    mechanism lets it in.
    """
    good = secure_kafka.environment()
    for mechanism in PASSWORDS:
        assert not await driver_is_refused(settings_of(secure_kafka.environment(mechanism)))
    tokens = with_tokens(secure_kafka, authority, endpoint)
    assert not await driver_is_refused(settings_of(tokens))
    for given in (
        {**good, "KAFKA_SASL_PASSWORD": SECRET},
        {**tokens, "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "another"},
        {**good, "KAFKA_SSL_CA_FILE": str(stranger.file)},
    ):
        assert await driver_is_refused(settings_of(given))
    for wrong in (
        authority.issue("ended", ended=True),
        authority.issue("elsewhere", host="broker.example.com"),
    ):
        async with silent_tls(wrong) as address:
            assert await driver_is_refused(settings_of(good, KAFKA_BOOTSTRAP_SERVERS=address))
