"""The libraries read the variables as the settings do, without the settings."""

from pathlib import Path

import pytest

from izin.runtime.errors import RegistryError, SettingError
from izin.runtime.kafka import connection_of
from izin.runtime.kafka_environment import VARIABLES, KafkaAccess
from izin.runtime.setting_rules.checks import SECRETS, SECURITY
from izin.runtime.setting_rules.group import SUFFIX, secret_variables
from izin.runtime.settings import KafkaSettings
from tests.support.secure.certificates import Authority

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


@pytest.mark.parametrize("environ", [{}, SCRAM, TOKENS, REGISTRY])
def test_environment_means_what_it_means_to_the_settings(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Both readers give the same client, the same topics and the same registry."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    settings, access = KafkaSettings(), KafkaAccess.from_environment()
    connection = connection_of(settings)
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
    access = KafkaAccess.from_environment(environ)
    assert access.options["ssl.ca.location"] == str(authority.file)


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
