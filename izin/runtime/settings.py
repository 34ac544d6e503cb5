"""The settings: the only reader of the environment, once at the start of a process, frozen.

There is one group for each concern, and each worker gets the groups it needs. Variables have their
customary names (``KAFKA_…``, ``SCHEMA_REGISTRY_…``, ``DATABASE_URL``) or begin with ``IZIN_`` or
``IYS_``. Secrets print as ``**********``, have no default, and may be in files
(:mod:`izin.runtime.setting_rules.secret_files`). A group whose settings do not go together, or
whose connections are not encrypted in production, cannot be made
(:mod:`izin.runtime.setting_rules.checks`).
"""

from collections.abc import Iterator
from datetime import date, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from ssl import SSLContext
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from izin.consent.business_days import Calendar
from izin.runtime.setting_rules import checks
from izin.runtime.setting_rules.group import SettingsGroup, list_of_texts
from izin.schemas.erasure import SHORTEST_SECRET
from izin.schemas.topics import DEFAULT_PARTITIONS, Topics


class SecurityProtocol(StrEnum):
    """Kafka's security protocols: TLS (SSL), authentication by SASL, both or neither."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    """Kafka's SASL mechanisms: a password, sent or proved, or a token."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


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
    until its record changes, or its brand is added again."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse a ``DATABASE_URL`` without ``sslmode=verify-full`` or ``verify-ca``, unless its host
    is the folder of a Unix socket."""

    @cached_property
    def calendar(self) -> Calendar:
        """Turkey's calendar with these days; raises OutsideCalendarError."""
        return Calendar(extra_closed_days=frozenset(self.extra_closed_days))

    def faults(self) -> Iterator[str]:
        """Yield what is refused in production."""
        if self.production:
            yield from checks.plain_database(self.database_url.get_secret_value())


class IysSettings(SettingsGroup):
    """The connection to İYS, and the delays it imposes (shortened only against a simulator)."""

    base_url: str = Field("https://api.iys.org.tr", validation_alias="IYS_BASE_URL")
    username: str = Field(validation_alias="IYS_USERNAME")
    password: SecretStr = Field(validation_alias="IYS_PASSWORD")
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


class SinkSettings(SettingsGroup):
    """The sink worker."""

    host: str = Field("127.0.0.1", validation_alias="IZIN_SINK_HOST")
    port: int = Field(8082, validation_alias="IZIN_SINK_PORT")
    operations_host: str = Field("127.0.0.1", validation_alias="IZIN_SINK_OPERATIONS_HOST")
    operations_port: int = Field(8092, validation_alias="IZIN_SINK_OPERATIONS_PORT")
    """Where ``/health/live``, ``/health/ready`` with reasons, and ``/metrics`` are served, without
    authentication: keep it from everyone but operators."""
    proxies: str = Field("127.0.0.1", validation_alias="IZIN_SINK_PROXIES")
    """Addresses of reverse proxies, with commas between them: their header X-Forwarded-For names
    the client whose share of the requests in progress is counted."""
    push_url: str | None = Field(None, validation_alias="IZIN_PUSH_URL")
    """The URL at which İYS reaches the push endpoint of this worker; None: no push."""
    push_username: str | None = Field(None, validation_alias="IZIN_PUSH_USERNAME")
    push_password: SecretStr | None = Field(None, validation_alias="IZIN_PUSH_PASSWORD")
    """Random and long: the ledger has a salted hash of it. After a change it is registered anew at
    İYS; old and new are accepted meanwhile."""
    push_brands: tuple[int, ...] | None = Field(None, validation_alias="IZIN_PUSH_BRANDS")
    """The brands to register push for (a JSON list); None: every brand."""
    pull_interval: timedelta = Field(timedelta(minutes=15), validation_alias="IZIN_PULL_INTERVAL")
    poll_interval: timedelta = Field(timedelta(seconds=1), validation_alias="IZIN_SINK_INTERVAL")
    lease: timedelta = Field(timedelta(seconds=60), validation_alias="IZIN_LEASE")
    batch_size: int = Field(1000, ge=1, le=1000, validation_alias="IZIN_BATCH_SIZE")
    anchor_interval: timedelta = Field(
        timedelta(minutes=10), validation_alias="IZIN_ANCHOR_INTERVAL"
    )
    """How often the heads of the hash-chained history are written to the topic and the file."""
    anchor_file: Path | None = Field(None, validation_alias="IZIN_ANCHOR_FILE")
    """A file to append the heads to, best on a disk that operators of the ledger cannot change;
    None: the topic only."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse an ``IZIN_PUSH_URL`` on ``http://``."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the URL."""
        remedy = "take it out and set IZIN_PUSH_USERNAME and IZIN_PUSH_PASSWORD"
        yield from checks.url_faults(self.given, "IZIN_PUSH_URL", remedy)
        if self.production:
            yield from checks.plain_url(self.given, "IZIN_PUSH_URL")


class IntakeSettings(SettingsGroup):
    """The HTTP endpoint for signups."""

    host: str = Field("127.0.0.1", validation_alias="IZIN_INTAKE_HOST")
    port: int = Field(8081, validation_alias="IZIN_INTAKE_PORT")
    operations_host: str = Field("127.0.0.1", validation_alias="IZIN_INTAKE_OPERATIONS_HOST")
    operations_port: int = Field(8091, validation_alias="IZIN_INTAKE_OPERATIONS_PORT")
    """Where ``/health/live``, ``/health/ready`` with reasons, and ``/metrics`` are served, without
    authentication: keep it from everyone but operators."""
    proxies: str = Field("127.0.0.1", validation_alias="IZIN_INTAKE_PROXIES")
    """Addresses of reverse proxies, with commas between them: their header X-Forwarded-For names
    the client whose share of the requests in progress is counted."""
    first_receipts: int = Field(2_000_000, ge=1, validation_alias="IZIN_INTAKE_FIRST_RECEIPTS")
    """How many events without a date, or dated ahead, may be accepted a day; each takes about 30
    bytes of memory. Beyond it such opt-ins get 503. The same for every intake."""


class StateKind(StrEnum):
    """Where an order worker keeps the state of its keys."""

    MEMORY = "memory"
    ROCKSDB = "rocksdb"


class StreamSettings(SettingsGroup):
    """The order worker."""

    app_id: str = Field("izin", validation_alias="IZIN_APP_ID")
    """The prefix of the consumer group (``<app>-order``) and of the transactional ids."""
    instance_id: str | None = Field(None, validation_alias="IZIN_INSTANCE_ID")
    """Static membership: a worker that restarts with the same id keeps its partitions."""
    host: str = Field("127.0.0.1", validation_alias="IZIN_STREAM_HOST")
    port: int = Field(8083, validation_alias="IZIN_STREAM_PORT")
    """Where ``/health/live``, ``/health/ready`` and ``/metrics`` are served."""
    max_poll_records: int = Field(3000, ge=1, validation_alias="IZIN_MAX_POLL_RECORDS")
    state: StateKind = Field(StateKind.MEMORY, validation_alias="IZIN_STATE")
    """``memory`` is the fastest, and restored in full at every start; ``rocksdb`` needs little
    memory and restores only what it missed."""
    suppression_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), validation_alias="IZIN_SUPPRESSION_SECRETS"
    )
    """Under which erased keys are remembered, as digests (a JSON list of texts of 32 characters or
    more, the newest first; the same for every order worker). Keep an old one as long as anything
    was erased under it; without any, nothing can be erased."""
    state_folder: Path = Field(Path(".izin/state"), validation_alias="IZIN_STATE_FOLDER")
    """The parent folder of the ``rocksdb`` state, which has one folder for each
    ``IZIN_INSTANCE_ID``."""

    @field_validator("suppression_secrets", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """Parse the list here: the error of the default decoder does not name the setting."""
        return list_of_texts(given)

    @field_validator("suppression_secrets")
    @classmethod
    def _long(cls, given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(one.get_secret_value()) < SHORTEST_SECRET for one in given):
            raise ValueError(f"each text needs {SHORTEST_SECRET} characters at least")
        return given

    def group(self, kafka: KafkaSettings) -> str:
        """Return the consumer group of the order workers; transactional ids begin with it too."""
        return f"{kafka.topic_prefix}{self.app_id}-order"


class LogSettings(SettingsGroup):
    """The logs of a process."""

    level: str = Field("info", validation_alias="IZIN_LOG_LEVEL")
    json_lines: bool = Field(True, validation_alias="IZIN_LOG_JSON")
