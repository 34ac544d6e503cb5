"""The settings of the Kafka brokers, the topics and the schema registry."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from ssl import SSLContext

from pydantic import Field, SecretStr, field_validator

from izin.runtime.setting_rules import checks
from izin.runtime.setting_rules.group import SettingsGroup
from izin.runtime.setting_rules.kafka_variables import SaslMechanism, SecurityProtocol
from izin.schemas.topics import DEFAULT_PARTITIONS, Topics

__all__ = ("KafkaSettings", "SaslMechanism", "SecurityProtocol")


class KafkaSettings(SettingsGroup):
    """The Kafka brokers and topics, and the schema registry."""

    bootstrap_servers: str = Field("127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS")
    security_protocol: SecurityProtocol = Field(
        SecurityProtocol.PLAINTEXT, validation_alias="KAFKA_SECURITY_PROTOCOL"
    )
    """How brokers are reached: SSL is TLS, SASL authenticates. A broker's certificate must be of
    its host."""
    ssl_ca_file: Path | None = Field(None, validation_alias="KAFKA_SSL_CA_FILE")
    """The authorities (PEM) of the brokers' certificates; None: those of the operating system."""
    ssl_certificate_file: Path | None = Field(None, validation_alias="KAFKA_SSL_CERTIFICATE_FILE")
    """The certificate (PEM, with its chain) that authenticates this client."""
    ssl_key_file: Path | None = Field(None, validation_alias="KAFKA_SSL_KEY_FILE")
    """The key (PEM) of that certificate."""
    ssl_key_password: SecretStr | None = Field(None, validation_alias="KAFKA_SSL_KEY_PASSWORD")
    sasl_mechanism: SaslMechanism | None = Field(None, validation_alias="KAFKA_SASL_MECHANISM")
    """How this client authenticates: SCRAM proves the password, PLAIN sends it."""
    sasl_username: str | None = Field(None, validation_alias="KAFKA_SASL_USERNAME")
    sasl_password: SecretStr | None = Field(None, validation_alias="KAFKA_SASL_PASSWORD")
    oauth_token_url: str | None = Field(
        None, validation_alias="KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL"
    )
    """Where tokens are requested, by the grant ``client_credentials``."""
    oauth_client_id: str | None = Field(None, validation_alias="KAFKA_SASL_OAUTHBEARER_CLIENT_ID")
    oauth_client_secret: SecretStr | None = Field(
        None, validation_alias="KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET"
    )
    oauth_scope: str | None = Field(None, validation_alias="KAFKA_SASL_OAUTHBEARER_SCOPE")
    oauth_ca_file: Path | None = Field(None, validation_alias="KAFKA_SASL_OAUTHBEARER_CA_FILE")
    """The authorities (PEM) of the token endpoint's certificate."""
    registry_url: str | None = Field(None, validation_alias="SCHEMA_REGISTRY_URL")
    registry_username: str | None = Field(None, validation_alias="SCHEMA_REGISTRY_USERNAME")
    registry_password: SecretStr | None = Field(None, validation_alias="SCHEMA_REGISTRY_PASSWORD")
    registry_ca_file: Path | None = Field(None, validation_alias="SCHEMA_REGISTRY_SSL_CA_FILE")
    """The authorities (PEM) of the registry's certificate."""
    schema_folder: Path | None = Field(None, validation_alias="IZIN_SCHEMA_FOLDER")
    """A folder with schemas of newer releases, as in their ``izin/schemas/versions``; needed only
    where producers are newer and there is no schema registry."""
    topic_prefix: str = Field("", validation_alias="IZIN_TOPIC_PREFIX")
    partitions: int = Field(DEFAULT_PARTITIONS, ge=1, validation_alias="IZIN_PARTITIONS")
    replication_factor: int = Field(1, ge=1, validation_alias="IZIN_REPLICATION_FACTOR")
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse what could lose data (fewer than 3 replicas, ``min.insync.replicas`` below 2, unclean
    leader election), brokers without TLS, and a registry or token endpoint on ``http://``."""

    client_log_level: int = Field(6, ge=0, le=7, validation_alias="IZIN_KAFKA_LOG_LEVEL")
    """The log level of librdkafka, by syslog's severities: 7 is everything, 2 almost nothing."""
    dead_letter_share: float = Field(0.2, ge=0, le=1, validation_alias="IZIN_DEAD_LETTER_SHARE")
    """The fraction of a partition's latest records on which our own code may fail before its
    opt-ins wait for a person; 1: any."""

    @cached_property
    def topics(self) -> Topics:
        """The topics with the prefix of this installation."""
        return Topics(self.topic_prefix)

    def tls_context(self) -> SSLContext | None:
        """Return the TLS context of connections to brokers, None without TLS.

        It verifies the broker's certificate and host. Raises SettingError.
        """
        if self.security_protocol.endswith("SSL"):
            return checks.tls_context(self.given)
        return None

    @field_validator("security_protocol", "sasl_mechanism", mode="before")
    @classmethod
    def _in_capitals(cls, given: object) -> object:
        """Take librdkafka's spelling too."""
        return given.upper() if isinstance(given, str) else given

    def faults(self) -> Iterator[str]:
        """Yield what does not go together; raises SettingError where a file cannot be used."""
        found = list(checks.kafka_faults(self.given))
        if self.production:
            found += checks.plain_kafka(self.given)
        yield from found
        if not found:
            self.tls_context()
            for variable in ("KAFKA_SASL_OAUTHBEARER_CA_FILE", "SCHEMA_REGISTRY_SSL_CA_FILE"):
                if variable in self.given:
                    checks.authorities(variable, self.given[variable])
