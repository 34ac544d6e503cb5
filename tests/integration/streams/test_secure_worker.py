"""Order workers, with both of their Kafka clients, on a broker that wants TLS."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from izin.kafka.clients import ensure_topics
from izin.runtime.settings import KafkaSettings
from izin.streams.ownership import credentials
from tests.support.order.harness import CODEC, Traffic
from tests.support.order.verdict import Worker, all_held, backlog, examine, until
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
    ensure_topics(settings)
    traffic = Traffic(settings, CODEC, seed=7, recipients=20)
    worker = Worker("secured", settings, tmp_path / "worker.log", environment=given)
    try:
        until(lambda: all_held([worker], 1), within=60, what="owner")
        traffic.publish(200)
        until(lambda: not backlog(settings), within=30, what="end of the backlog")
        assert worker.end() == 0
    finally:
        worker.kill()
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
    worker = Worker("refused", settings_of(given), tmp_path / "worker.log", environment=given)
    try:
        until(lambda: "KAFKA_SASL_PASSWORD" in worker.log.read_text(), within=60, what="error")
        assert worker.process.poll() is None
        worker.process.terminate()
        worker.process.wait(20)
    finally:
        worker.kill()
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
