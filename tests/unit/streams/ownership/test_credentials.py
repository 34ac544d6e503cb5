"""Faust's driver connects with what librdkafka's clients connect with."""

import base64
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest
from aiokafka.errors import AuthenticationFailedError
from faust import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from pydantic import SecretStr

from izin.runtime.settings import KafkaSettings, SaslMechanism, SecurityProtocol
from izin.streams.ownership.shared_clients import credentials
from izin.streams.ownership.token_provider import TokenProvider

SECRET = SecretStr("obviously-fake")
TOKEN = KafkaSettings(
    security_protocol=SecurityProtocol.SASL_PLAINTEXT,
    sasl_mechanism=SaslMechanism.OAUTHBEARER,
    oauth_token_url="https://login.example.com/token",
    oauth_client_id="izin",
    oauth_client_secret=SECRET,
    oauth_scope="kafka",
)


def test_plain_connection_has_no_credentials() -> None:
    """The driver then uses neither TLS nor SASL."""
    assert credentials(KafkaSettings()) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_password_reaches_the_driver(protocol: str, mechanism: str) -> None:
    """As the arguments that the driver gives to aiokafka."""
    made = credentials(
        KafkaSettings(
            security_protocol=SecurityProtocol(protocol),
            sasl_mechanism=SaslMechanism(mechanism),
            sasl_username="izin",
            sasl_password=SECRET,
        )
    )
    assert isinstance(made, SASLCredentials)
    passed = credentials_to_aiokafka_auth(made)
    context = passed.pop("ssl_context")
    assert passed == {
        "security_protocol": protocol,
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "izin",
        "sasl_plain_password": "obviously-fake",
    }
    assert (context is not None) is (protocol == "SASL_SSL")
    assert context is None or context.check_hostname
    assert "obviously-fake" not in repr(made)


def test_tls_alone_reaches_the_driver() -> None:
    """With a context that verifies certificate and host."""
    made = credentials(KafkaSettings(security_protocol=SecurityProtocol.SSL))
    assert isinstance(made, SSLCredentials)
    passed = credentials_to_aiokafka_auth(made)
    assert passed["security_protocol"] == "SSL"
    assert passed["ssl_context"].check_hostname


def test_tokens_reach_the_driver() -> None:
    """From a provider, for the driver requests none itself."""
    passed = credentials_to_aiokafka_auth(credentials(TOKEN))
    assert passed["sasl_mechanism"] == "OAUTHBEARER"
    assert isinstance(passed["sasl_oauth_token_provider"], TokenProvider)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


Answer = Callable[[httpx.Request], httpx.Response]


def provider(answer: Answer, clock: Clock | None = None) -> TokenProvider:
    """Return a provider whose endpoint is ``answer``."""
    return TokenProvider(TOKEN, clock=clock or Clock(), transport=httpx.MockTransport(answer))


async def test_token_is_requested_with_the_client_and_kept_while_it_is_fresh() -> None:
    """A connection more is no request more, until four fifths of the lifetime have passed."""
    requests: list[httpx.Request] = []
    clock = Clock()

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(
            200, json={"access_token": f"token-{len(requests)}", "expires_in": 100}
        )

    tokens = provider(answer, clock)
    assert [await tokens.token(), await tokens.token()] == ["token-1", "token-1"]
    clock.now = 79.9
    assert await tokens.token() == "token-1"
    clock.now = 80.0
    assert await tokens.token() == "token-2"
    first = requests[0]
    login = base64.b64encode(b"izin:obviously-fake").decode()
    assert first.headers["Authorization"] == f"Basic {login}"
    assert parse_qs(first.content.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["kafka"],
    }


async def test_token_without_a_lifetime_is_used_once() -> None:
    """Nothing says how long it may be used."""
    count = iter(range(1, 9))
    tokens = provider(lambda _: httpx.Response(200, json={"access_token": str(next(count))}))
    assert [await tokens.token(), await tokens.token()] == ["1", "2"]


def _away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("away", request=request)


@pytest.mark.parametrize(
    "answer",
    [
        _away,
        lambda _: httpx.Response(401, json={"error": "invalid_client"}),
        lambda _: httpx.Response(200, text="no JSON, with a token"),
        lambda _: httpx.Response(200, json={"token": "obviously-fake"}),
        lambda _: httpx.Response(200, json=["obviously-fake"]),
        lambda _: httpx.Response(200, json={"access_token": "obviously-fake", "expires_in": "?"}),
    ],
    ids=["away", "refused", "no JSON", "no token", "a list", "no lifetime"],
)
async def test_endpoint_without_a_token_is_an_error_of_the_driver(answer: Answer) -> None:
    """Which the driver survives, and connects again; the error names endpoint and settings."""
    with pytest.raises(AuthenticationFailedError, match=r"login\.example\.com") as failed:
        await provider(answer).token()
    assert "KAFKA_SASL_OAUTHBEARER_" in str(failed.value)
    assert "obviously-fake" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_worker_without_tokens_imports_no_http_library() -> None:
    """Its partitions wait until a worker that was restarted has imported everything."""
    code = "import izin.streams.engine.app, sys; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
