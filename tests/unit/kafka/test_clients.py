"""The Kafka clients' logs are the process's own.

What librdkafka gets of encryption and authentication, and what to do where either fails.

The libraries read the variables as the settings do, without the settings.
What docs/security.md shows can be set, and is taken.
"""

import logging
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException
from pydantic import SecretStr

from izin.kafka import clients, connections
from izin.kafka.access import VARIABLES, KafkaAccess
from izin.kafka.clients import access_of, broker_errors
from izin.kafka.connections import while_leaders_move
from izin.runtime import settings
from izin.runtime.errors import BrokerError, RegistryError, SettingError
from izin.runtime.setting_rules.checks import SECRETS, SECURITY, security_options_of
from izin.runtime.setting_rules.group import SUFFIX, SettingsGroup, secret_variables
from izin.runtime.settings import KafkaSettings, SaslMechanism, SecurityProtocol
from tests.support.secure import Authority

SECRET_TEXT = SecretStr("obviously-fake")
PLAIN = KafkaSettings(bootstrap_servers="127.0.0.1:1")
"""No broker listens there."""
TOKEN_LOGIN = PLAIN.model_copy(update={"sasl_mechanism": SaslMechanism.OAUTHBEARER})
SECRET = "obviously-fake"
SCRAM = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9093",
    "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "KAFKA_SASL_MECHANISM": "scram-sha-512",
    "KAFKA_SASL_USERNAME": "izin",
    "KAFKA_SASL_PASSWORD": SECRET,
}
TOKENS = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "https://login.example.com/token",
    "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "izin",
    "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": SECRET,
    "KAFKA_SASL_OAUTHBEARER_SCOPE": "kafka",
}
REGISTRY = {
    "SCHEMA_REGISTRY_URL": "https://registry.example.com",
    "SCHEMA_REGISTRY_USERNAME": "izin",
    "SCHEMA_REGISTRY_PASSWORD": SECRET,
    "IZIN_TOPIC_PREFIX": "test-",
    "IZIN_KAFKA_LOG_LEVEL": "2",
}


@pytest.mark.parametrize(
    "client",
    [clients.producer, lambda settings: clients.consumer(settings, "group"), clients.admin],
    ids=["producer", "consumer", "admin"],
)
def test_a_clients_errors_are_logged_and_never_written_to_stderr(
    client: Callable[[KafkaSettings], Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A line of a library on a terminal would look like something a person must act on."""
    made = client(PLAIN)
    for _ in range(100):
        made.poll(0.1)
        if caplog.records:
            break
    assert {(one.name, one.levelno) for one in caplog.records} == {("librdkafka", logging.ERROR)}
    assert "127.0.0.1:1" in caplog.text
    assert capfd.readouterr().err == ""


def test_librdkafka_is_silent_where_nothing_sets_logging_up() -> None:
    """Python writes warnings without any handler to standard error: there is one."""
    assert any(
        isinstance(one, logging.NullHandler) for one in logging.getLogger("librdkafka").handlers
    )


def test_request_is_repeated_while_a_leader_is_elected() -> None:
    """A topic that was just created has none yet; any other error is the caller's."""
    codes = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
    refused = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    moving = (KafkaException(KafkaError(code)) for code in codes)
    request = Mock(side_effect=[*moving, "answer", refused])
    assert while_leaders_move(request)("topic") == "answer"
    with pytest.raises(KafkaException):
        while_leaders_move(request)("topic")
    assert request.call_count == 4


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
        ssl_key_password=SECRET_TEXT,
        sasl_mechanism=SaslMechanism.SCRAM_SHA_256,
        sasl_username="izin",
        sasl_password=SECRET_TEXT,
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
        oauth_client_secret=SECRET_TEXT,
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
    assert clients.admin(token) is not None


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (PLAIN, KafkaError._AUTHENTICATION, "KAFKA_SASL_PASSWORD"),
        (PLAIN, KafkaError.SASL_AUTHENTICATION_FAILED, "KAFKA_SASL_PASSWORD"),
        (TOKEN_LOGIN, KafkaError._AUTHENTICATION, "KAFKA_SASL_OAUTHBEARER_"),
        (PLAIN, KafkaError._SSL, "KAFKA_SSL_CA_FILE"),
        (PLAIN, KafkaError._RESOLVE, "KAFKA_BOOTSTRAP_SERVERS"),
        (PLAIN, KafkaError.TOPIC_AUTHORIZATION_FAILED, "KAFKA_BOOTSTRAP_SERVERS"),
        (PLAIN, KafkaError._TRANSPORT, r"127\.0\.0\.1:1.*[Cc]onnect"),
        (PLAIN, KafkaError.UNKNOWN_TOPIC_OR_PART, "izin doctor says what creates it"),
    ],
)
def test_broker_error_names_the_setting_by_its_code(
    settings: KafkaSettings, code: int, said: str
) -> None:
    """Not by its text, which changes with each release. A failure of the transport has its cause;
    a broker that misses a topic has answered, so its address is right.
    """
    with pytest.raises(BrokerError, match=said), broker_errors(settings):
        raise KafkaException(KafkaError(code))


def test_broker_that_is_back_is_reported_by_the_first_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no cause to be found, and nobody waits long for one."""
    monkeypatch.setattr(connections, "_CAUSE_WITHIN", 0.0)
    with pytest.raises(BrokerError, match=r"[Tt]imed out|_TIMED_OUT"), broker_errors(PLAIN):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


@pytest.mark.parametrize("environ", [{}, SCRAM, TOKENS, REGISTRY])
def test_environment_means_what_it_means_to_the_settings(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Both readers give the same client, the same topics and the same registry."""
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    settings, access = KafkaSettings(), KafkaAccess.from_environment()
    connection = access_of(settings)
    assert access.bootstrap_servers == connection.bootstrap_servers
    assert access.options == connection.options
    assert access.topics.permissions.name == settings.topics.permissions.name
    assert access.registry_url == settings.registry_url
    assert (access.registry_login is None) == (settings.registry_password is None)


def test_every_variable_is_a_setting():
    """A name is a setting of Kafka's group, and a secret there is a secret here."""
    aliases = {str(one.validation_alias) for one in KafkaSettings.model_fields.values()}
    assert set(VARIABLES) < aliases
    assert {*SECRETS, "SCHEMA_REGISTRY_PASSWORD"} == set(secret_variables(KafkaSettings))
    assert {one for one in aliases if one.startswith(("KAFKA_S", "SCHEMA_"))} < set(VARIABLES)
    assert set(SECURITY) < set(VARIABLES)


def test_secret_may_be_in_a_file(tmp_path: Path):
    """As for every process of izin; and it is in no repr."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    environ = {**SCRAM, f"KAFKA_SASL_PASSWORD{SUFFIX}": str(file), "KAFKA_SASL_PASSWORD": ""}
    access = KafkaAccess.from_environment(environ)
    assert access.options["sasl.password"] == SECRET
    assert SECRET not in repr(access)


def test_certificates_are_options_of_the_client(tmp_path: Path):
    """The files are read before a client is made, so that an error names the variable."""
    authority = Authority(tmp_path)
    environ = {
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_FILE": str(authority.file),
    }
    assert KafkaAccess.from_environment(environ).options["ssl.ca.location"] == str(authority.file)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL=TLS is none of PLAINTEXT"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SASL_USERNAME": "izin"}, "KAFKA_SASL_USERNAME is set, and"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a@b:1"}, "KAFKA_BOOTSTRAP_SERVERS has an @"),
        ({"SCHEMA_REGISTRY_USERNAME": "izin"}, "SCHEMA_REGISTRY_USERNAME is set without"),
        ({"IZIN_KAFKA_LOG_LEVEL": "9"}, "IZIN_KAFKA_LOG_LEVEL=9 is no log level"),
        ({"IZIN_PRODUCTION": "maybe"}, "neither true nor false"),
        ({"IZIN_PRODUCTION": "true"}, "IZIN_PRODUCTION=true refuses KAFKA_SECURITY_PROTOCOL"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_FILE": "/nowhere/ca.pem"},
            "KAFKA_SSL_CA_FILE=/nowhere/ca.pem cannot be read",
        ),
        (
            {
                "SCHEMA_REGISTRY_URL": "https://registry.example.com",
                "SCHEMA_REGISTRY_SSL_CA_FILE": "/nowhere/ca.pem",
            },
            "SCHEMA_REGISTRY_SSL_CA_FILE=/nowhere/ca.pem cannot be read",
        ),
        ({**SCRAM, f"KAFKA_SASL_PASSWORD{SUFFIX}": "/nowhere"}, "both set"),
    ],
)
def test_wrong_environment_names_variable_and_remedy(environ: dict[str, str], named: str):
    """By the rules of the settings; nothing secret is quoted."""
    with pytest.raises(SettingError, match=named) as raised:
        KafkaAccess.from_environment(environ)
    assert SECRET not in str(raised.value)


def test_codec_frames_without_a_registry_and_refuses_a_wrong_one():
    """Single-object encoding begins with C3 01; a registry's URL must be one."""
    access = KafkaAccess(bootstrap_servers="127.0.0.1:1")
    assert access.codec().header("Consent").startswith(b"\xc3\x01")
    with pytest.raises(RegistryError, match="is not the URL"):
        KafkaAccess(bootstrap_servers="127.0.0.1:1", registry_url="registry:8080").codec()


def test_schemas_of_newer_releases_may_be_in_a_folder(tmp_path: Path):
    """Where producers are newer and there is no registry."""
    schema = '{"type": "record", "name": "Consent", "namespace": "izin", "fields": []}'
    (tmp_path / "Consent.0000.avsc").write_text(schema, encoding="utf-8")
    access = KafkaAccess.from_environment({"IZIN_SCHEMA_FOLDER": str(tmp_path)})
    assert access.schema_folder == tmp_path
    assert access.codec().header("Consent").startswith(b"\xc3\x01")


PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
EXAMPLES = [
    dict(line.split("=", 1) for line in shlex.split(block, comments=True))
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
]
GROUPS = tuple(SettingsGroup.__subclasses__())
SECRET_NAMES = {name for group in GROUPS for name in secret_variables(group)}
KNOWN = {
    str(field.validation_alias) for group in GROUPS for field in group.model_fields.values()
} | {f"{name}{SUFFIX}" for name in SECRET_NAMES}


def test_every_setting_on_the_page_is_one() -> None:
    """Also those in its tables and sentences; … stands for the rest of a name."""
    named = set(re.findall(r"\b(?:KAFKA|SCHEMA_REGISTRY|DATABASE|IYS|IZIN)_[A-Z_]*[A-Z]\b", PAGE))
    assert len(named) > 20
    assert named - {"KAFKA_SASL_OAUTHBEARER"} <= KNOWN


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, Path]:
    """Return the files of the examples as a machine would have them, by the names there."""
    ours = Authority(tmp_path)
    client = ours.issue("client", password="obviously-fake")
    secret = tmp_path / "secret"
    secret.write_text("obviously-fake\n", encoding="ascii")
    return {
        "client.pem": client.certificate,
        "client-key.pem": client.key,
        **{f"{one}-ca.pem": ours.file for one in ("kafka", "login", "registry", "db")},
        **dict.fromkeys(("kafka", "kafka-client", "client-key", "registry"), secret),
    }


@pytest.mark.parametrize("given", EXAMPLES, ids=lambda given: next(iter(given)))
def test_example_is_taken(
    given: dict[str, str], machine: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its files in their places, in production wherever it is about all connections."""
    for name, value in given.items():
        file = machine.get(Path(value).name) if name.endswith(SUFFIX) else None
        monkeypatch.setenv(name, str(file or value))
    of_ledger = "DATABASE_URL" in given
    if of_ledger or "KAFKA_SECURITY_PROTOCOL" in given:
        monkeypatch.setenv("IZIN_PRODUCTION", "true")
    made = settings.LedgerSettings() if of_ledger else settings.KafkaSettings()
    taken = {f"{name}{suffix}" for name in made.given for suffix in ("", SUFFIX)}
    assert set(given) <= taken
