"""The settings of the servers that processes connect to: Kafka and the schema registry, the
ledger's PostgreSQL, İYS and the gate; and of the log.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from ssl import SSLContext
from typing import Any

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from izin.consent import Calendar
from izin.runtime.setting_rules import checks
from izin.runtime.setting_rules.checks import SaslMechanism, SecurityProtocol
from izin.runtime.setting_rules.group import SecretTexts, SettingsGroup
from izin.schemas.topics import DEFAULT_PARTITIONS, Topics

__all__ = ("SaslMechanism", "SecurityProtocol")
_SECRET_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


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

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of librdkafka that these settings mean; they may hold passwords."""
        return {**checks.security_options_of(self.given), "log_level": self.client_log_level}

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


def plain_database_of(url: SecretStr, variable: str) -> Iterator[str]:
    """Yield why the database of ``url``, which ``variable`` has, is refused in production."""
    # Only processes with a database need psycopg.
    from izin.runtime.setting_rules.database_checks import plain_database  # noqa: PLC0415  # see above

    yield from plain_database(url.get_secret_value(), variable)


class LedgerSettings(SettingsGroup):
    """The PostgreSQL database of the ledger, and the calendar for terms."""

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    pool_size: int = Field(8, ge=1, validation_alias="IZIN_DATABASE_POOL_SIZE")
    transaction_limit: timedelta = Field(
        timedelta(minutes=2),
        ge=timedelta(seconds=1),
        validation_alias="IZIN_DATABASE_TRANSACTION_LIMIT",
    )
    """How long a transaction may take. Then its connection is cut, and the work done again."""
    extra_closed_days: tuple[date, ...] = Field((), validation_alias="IZIN_EXTRA_CLOSED_DAYS")
    """Days that are no business days besides the public holidays, such as administrative leave:
    ``["2026-05-25"]``. The same for every process; a term that was counted before keeps its end
    until its record changes, its brand is added again, or ``izin deadlines recount-terms``."""
    secret_keys: SecretTexts = Field((), validation_alias="IZIN_SECRET_KEYS")
    """Under which the tokens of İYS and the secrets of webhooks are encrypted in the ledger: a JSON
    list of keys of 32 random bytes in base64, as ``openssl rand -base64 32`` prints one. The first
    encrypts, all decrypt; the same for every process. Without any they stand readable
    (docs/security.md)."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse a ``DATABASE_URL`` without ``sslmode=verify-full`` or ``verify-ca``, unless its host
    is the folder of a Unix socket."""

    @field_validator("secret_keys")
    @classmethod
    def _of_32_bytes(cls, given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        texts = {one.get_secret_value() for one in given}
        if len(texts) < len(given) or not all(map(_SECRET_KEY.fullmatch, texts)):
            raise ValueError(
                "each key is 32 random bytes in base64, and none is listed twice; make one with: "
                "openssl rand -base64 32"
            )
        return given

    @cached_property
    def calendar(self) -> Calendar:
        """Turkey's calendar with these days; raises OutsideCalendarError."""
        return Calendar(extra_closed_days=frozenset(self.extra_closed_days))

    def faults(self) -> Iterator[str]:
        """Yield what is refused in production."""
        if self.production:
            yield from plain_database_of(self.database_url, "DATABASE_URL")


class IysSettings(SettingsGroup):
    """The connection to İYS, and the delays it imposes (shortened only against a simulator)."""

    base_url: str = Field("https://api.iys.org.tr", validation_alias="IYS_BASE_URL")
    username: str = Field(validation_alias="IYS_USERNAME")
    password: SecretStr = Field(validation_alias="IYS_PASSWORD")
    integrator_code: int | None = Field(None, ge=1, validation_alias="IYS_INTEGRATOR_CODE")
    """The business partner's own number at İYS, whose list of granted brands is read; none: the
    account is a provider's own."""
    timeout: timedelta = Field(timedelta(seconds=20), validation_alias="IYS_TIMEOUT")
    requests_per_second: float = Field(10, gt=0, validation_alias="IYS_REQUESTS_PER_SECOND")
    token_requests_per_hour: int = Field(10, ge=1, validation_alias="IYS_TOKEN_REQUESTS_PER_HOUR")
    result_delay: timedelta = Field(timedelta(seconds=300), validation_alias="IYS_RESULT_DELAY")
    """How long after its submission the result of a batch is polled first (İYS: 300 s)."""
    hidden_window: timedelta = Field(timedelta(hours=1), validation_alias="IYS_HIDDEN_WINDOW")
    """How recent movements are that pull does not show yet (İYS: 60 minutes)."""
    egress_address: str = Field("default", validation_alias="IYS_EGRESS_ADDRESS")
    """The name of the address that calls come from; all processes behind it share its limits."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse an ``IYS_BASE_URL`` on ``http://``."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the URL."""
        remedy = "take it out and set IYS_USERNAME and IYS_PASSWORD"
        yield from checks.url_faults(self.given, "IYS_BASE_URL", remedy)
        if self.production:
            yield from checks.plain_url(self.given, "IYS_BASE_URL")


class SenderSettings(SettingsGroup):
    """How `izin may-send` and `izin scrub` reach the gate."""

    url: str = Field("http://127.0.0.1:8087", validation_alias="IZIN_GATE_URL")
    api_key: SecretStr = Field(validation_alias="IZIN_API_KEY")
    """A key with the scope ``ask``."""
    ca_file: Path | None = Field(None, validation_alias="IZIN_GATE_CA_FILE")
    """The authorities (PEM) of the gate's certificate; none: those of the operating system."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse an ``IZIN_GATE_URL`` on ``http://``."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the URL."""
        yield from checks.url_faults(
            self.given, "IZIN_GATE_URL", "take it out and set IZIN_API_KEY"
        )
        if self.production:
            yield from checks.plain_url(self.given, "IZIN_GATE_URL")


class LogSettings(SettingsGroup):
    """The logs of a process."""

    level: str = Field("info", validation_alias="IZIN_LOG_LEVEL")
    json_lines: bool = Field(True, validation_alias="IZIN_LOG_JSON")
