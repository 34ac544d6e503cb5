"""The settings of the servers that processes connect to: Kafka and the schema registry, the
ledger's PostgreSQL, İYS, and the gate; and those of our own processes.
"""

from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from ssl import SSLContext
from typing import Annotated, Any

from pydantic import AliasGenerator, BaseModel, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from izin.consent import Calendar
from izin.runtime.setting_rules import checks
from izin.runtime.setting_rules.checks import SaslMechanism, SecurityProtocol
from izin.runtime.setting_rules.group import SettingsGroup, list_of_texts
from izin.schemas.erasure import SHORTEST_SECRET, SuppressionKeys
from izin.schemas.topics import DEFAULT_PARTITIONS, Topics

__all__ = ("SaslMechanism", "SecurityProtocol")
Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(list_of_texts)]
"""A JSON list, parsed here: the error of the default decoder does not name the setting."""


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


def _plain_database(url: SecretStr, variable: str) -> Iterator[str]:
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
            yield from _plain_database(self.database_url, "DATABASE_URL")


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


class HttpAddresses(BaseModel):
    """Where a process listens, for everybody and for operators."""

    host: str = "127.0.0.1"
    port: int
    operations_host: str = "127.0.0.1"
    """Where ``/health/live``, ``/health/ready`` with reasons, and ``/metrics`` are served, without
    authentication: keep it from everyone but operators."""
    operations_port: int


class ProxiedAddresses(HttpAddresses):
    """The same, where reverse proxies may be in front of it."""

    proxies: str = "127.0.0.1"
    """Addresses of reverse proxies, with commas between them: their header X-Forwarded-For names
    the client whose share of the requests in progress is counted."""


def _named(process: str) -> AliasGenerator:
    """Return how the variables of a process's addresses are named."""
    return AliasGenerator(validation_alias=lambda field: f"{process}_{field.upper()}")


class SinkSettings(ProxiedAddresses, SettingsGroup, alias_generator=_named("IZIN_SINK")):
    """The sink worker."""

    port: int = 8082
    operations_port: int = 8092
    push_url: str | None = Field(None, validation_alias="IZIN_PUSH_URL")
    """The URL at which İYS reaches the push endpoint of this worker; None: no push."""
    push_username: str | None = Field(None, validation_alias="IZIN_PUSH_USERNAME")
    push_password: SecretStr | None = Field(None, validation_alias="IZIN_PUSH_PASSWORD")
    """Random and long: the ledger has a salted hash of it. After a change it is registered anew at
    İYS; old and new are accepted meanwhile."""
    push_old_password: SecretStr | None = Field(None, validation_alias="IZIN_PUSH_OLD_PASSWORD")
    """The password of the connection that ``izin iys push unregister`` frees; the workers do not
    use it."""
    push_brands: tuple[int, ...] | None = Field(None, validation_alias="IZIN_PUSH_BRANDS")
    """The brands to register push for (a JSON list); None: every brand."""
    pull_interval: timedelta = Field(
        timedelta(seconds=30), gt=timedelta(0), validation_alias="IZIN_PULL_INTERVAL"
    )
    """How long after it was read to its end a stream of İYS is read again; later where there are
    more brands than ``IZIN_PULL_REQUESTS_PER_SECOND`` has turns for."""
    pull_requests_per_second: float = Field(
        2, gt=0, validation_alias="IZIN_PULL_REQUESTS_PER_SECOND"
    )
    """How many of İYS's requests a second pulling may take, for all brands of an account and
    address together. Each brand has two streams."""
    sweep_share: float = Field(0.2, gt=0, le=1, validation_alias="IZIN_SWEEP_SHARE")
    """The share of ``IYS_REQUESTS_PER_SECOND`` that sweeps take at most. Opt-outs and what is due
    go first, and a sweep gets what they leave."""
    sweep_every: timedelta | None = Field(
        None, ge=timedelta(days=1), validation_alias="IZIN_SWEEP_EVERY"
    )
    """How often the status of every key of a brand is queried by itself (``P30D``); None: only
    after a gap, or by ``izin iys sweep start``."""
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
    anchor_url: str | None = Field(None, validation_alias="IZIN_ANCHOR_URL")
    """Where the lines of ``IZIN_ANCHOR_FILE`` are posted too (newline-delimited JSON): an endpoint
    of others, an auditor or a parent company. Needs the file."""
    anchor_token: SecretStr | None = Field(None, validation_alias="IZIN_ANCHOR_TOKEN")
    """A bearer token for ``IZIN_ANCHOR_URL``."""
    anchor_timestamp_url: str | None = Field(None, validation_alias="IZIN_ANCHOR_TIMESTAMP_URL")
    """A time-stamp authority (RFC 3161) that stamps the heads in ``IZIN_ANCHOR_FILE``, which then
    has its replies. Only a stamp shows, ten years later, that what was dropped was old enough."""
    anchor_timestamp_every: timedelta = Field(
        timedelta(days=1), gt=timedelta(0), validation_alias="IZIN_ANCHOR_TIMESTAMP_EVERY"
    )
    """How often it is asked, where a chain has grown since."""
    daily_files: bool = Field(True, validation_alias="IZIN_DAILY_FILES")
    """Whether İYS's file of each day (mutabakat) is fetched and compared with ours. Brands of a
    business partner without ``agreementControl`` are left out, where İYS lists it."""
    daily_from: time = Field(time(6), validation_alias="IZIN_DAILY_FROM")
    """The Turkish time of the next morning from which a day's file is fetched."""
    daily_empty_date: str = Field("", validation_alias="IZIN_DAILY_EMPTY_DATE")
    """How İYS writes an empty consent date in its daily files: so our own has it."""
    daily_agree_brands: tuple[int, ...] = Field((), validation_alias="IZIN_DAILY_AGREE_BRANDS")
    """The brands (a JSON list) for which agreement with a day is declared to İYS where both files
    have the same hash. It cannot be taken back."""
    timestamp_roots: Path | None = Field(None, validation_alias="IZIN_TIMESTAMP_ROOTS")
    """A file (PEM) of the roots that are trusted for the time stamps of İYS's daily files; None:
    they are kept, and called unverified."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse an ``IZIN_PUSH_URL`` on ``http://``."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the URL."""
        for url, login in (
            ("IZIN_PUSH_URL", "IZIN_PUSH_USERNAME and IZIN_PUSH_PASSWORD"),
            ("IZIN_ANCHOR_URL", "IZIN_ANCHOR_TOKEN"),
        ):
            yield from checks.url_faults(self.given, url, f"take it out and set {login}")
        for name in ("IZIN_ANCHOR_URL", "IZIN_ANCHOR_TIMESTAMP_URL"):
            if name in self.given and "IZIN_ANCHOR_FILE" not in self.given:
                yield f"{name} is set without IZIN_ANCHOR_FILE, whose lines it gets; set both"
        if self.production:
            yield from checks.plain_url(self.given, "IZIN_PUSH_URL")


class IntakeSettings(ProxiedAddresses, SettingsGroup, alias_generator=_named("IZIN_INTAKE")):
    """The HTTP endpoint for signups."""

    port: int = 8081
    operations_port: int = 8091
    first_receipts: int = Field(2_000_000, ge=1, validation_alias="IZIN_INTAKE_FIRST_RECEIPTS")
    """How many events without a date, or dated ahead, may be accepted a day; each takes about 30
    bytes of memory. Beyond it such opt-ins get 503. The same for every intake."""
    sources: Path | None = Field(None, validation_alias="IZIN_INTAKE_SOURCES")
    """The folder of the mappings of systems that send webhooks of their own (NAME.toml), and of
    what proves them (NAME.secret); without it there are none."""


class OutboxSettings(HttpAddresses, SettingsGroup, alias_generator=_named("IZIN_OUTBOX")):
    """The relay of an outbox: a table in the database of another system."""

    port: int = 8088
    operations_port: int = 8098
    database_url: SecretStr
    """The PostgreSQL database of the other system, which has the table ``izin_outbox``."""
    name: str = Field("crm", min_length=1)
    """The origin of its events, and a part of their ids: keep it; no two outboxes have the same."""
    batch_size: int = Field(500, ge=1, le=5000)
    """How many rows a transaction claims at most."""
    poll_interval: timedelta = Field(timedelta(seconds=1), gt=timedelta(0), le=timedelta(minutes=1))
    """When an empty outbox is looked at again where no notification comes."""
    channel: str = "izin_outbox"
    """The notifications that wake the relay; empty: it only polls."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse an ``IZIN_OUTBOX_DATABASE_URL`` without ``sslmode=verify-full`` or ``verify-ca``."""

    def faults(self) -> Iterator[str]:
        """Yield what is refused in production."""
        if self.production:
            yield from _plain_database(self.database_url, "IZIN_OUTBOX_DATABASE_URL")


class FeedsSettings(ProxiedAddresses, SettingsGroup, alias_generator=_named("IZIN_FEEDS")):
    """The HTTP endpoint from which other systems pull opt-outs, permissions and outcomes."""

    port: int = 8084
    operations_port: int = 8094
    memory: int = Field(96 * 1024 * 1024, ge=1024 * 1024, validation_alias="IZIN_FEEDS_MEMORY")
    """The bytes that the latest records may take; who reads older ones has them from Kafka."""
    readers: int = Field(4, ge=1, le=64, validation_alias="IZIN_FEEDS_READERS")
    """How many requests read older records at once; the others wait for their turn."""


class SuppressionSettings(SettingsGroup):
    """What order workers and gates remember of erased keys."""

    suppression_secrets: Annotated[
        tuple[SecretStr, ...], NoDecode, BeforeValidator(list_of_texts)
    ] = Field((), validation_alias="IZIN_SUPPRESSION_SECRETS")
    """Under which erased keys are remembered, as digests (a JSON list of texts of 32 characters or
    more, the newest first; the same for every order worker and gate). Keep an old one as long as
    anything was erased under it; without any, nothing can be erased. Commands digest under it at
    whom somebody looked."""

    @field_validator("suppression_secrets")
    @classmethod
    def _long(cls, given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(one.get_secret_value()) < SHORTEST_SECRET for one in given):
            raise ValueError(f"each text needs {SHORTEST_SECRET} characters at least")
        return given

    @property
    def suppressions(self) -> SuppressionKeys:
        """Under which keys were erased."""
        return SuppressionKeys([secret.get_secret_value() for secret in self.suppression_secrets])


class GateSettings(ProxiedAddresses, SuppressionSettings, alias_generator=_named("IZIN_GATE")):
    """The HTTP endpoint at which senders ask whether a message may be sent."""

    port: int = 8087
    operations_port: int = 8097
    stale_after: timedelta = Field(
        timedelta(seconds=10), ge=timedelta(seconds=2), validation_alias="IZIN_GATE_STALE_AFTER"
    )
    """How long a partition may not have been read to its end; then its recipients are ``stale``."""
    iys_warns_after: timedelta = Field(
        timedelta(hours=1), gt=timedelta(0), validation_alias="IZIN_GATE_IYS_WARNS_AFTER"
    )
    """How long ago İYS was last pulled for a channel of a brand before health warns of it."""
    iys_closes_after: timedelta = Field(
        timedelta(hours=24), gt=timedelta(0), validation_alias="IZIN_GATE_IYS_CLOSES_AFTER"
    )
    """How long ago İYS was last pulled before recipients of the brand's channel are ``stale``."""
    merchants_apart: Texts = Field((), validation_alias="IZIN_GATE_MERCHANTS_APART")
    """Customers (a JSON list of ids) for whom an opt-out as BIREYSEL does not close the same
    address as TACIR. For all others it does."""
    unregistered_merchants: Texts = Field((), validation_alias="IZIN_GATE_UNREGISTERED_MERCHANTS")
    """Customers (a JSON list of ids) who may send to merchants (TACIR) that İYS does not have. Ask
    your counsel first: a refusal could not be checked."""

    def faults(self) -> Iterator[str]:
        """Yield where the warning would come after the fact."""
        if self.iys_warns_after > self.iys_closes_after:
            yield (
                "IZIN_GATE_IYS_WARNS_AFTER is more than IZIN_GATE_IYS_CLOSES_AFTER, so it would "
                "warn too late; make it less"
            )


class StateKind(StrEnum):
    """Where an order worker keeps the state of its keys."""

    MEMORY = "memory"
    ROCKSDB = "rocksdb"


class StreamSettings(SuppressionSettings):
    """The order worker."""

    app_id: str = Field("izin", validation_alias="IZIN_APP_ID")
    """The prefix of the consumer group (``<app>-order``) and of the transactional ids."""
    instance_id: str | None = Field(None, validation_alias="IZIN_INSTANCE_ID")
    """Static membership: a worker that restarts with the same id keeps its partitions. No two may
    have one: the second ends."""
    host: str = Field("127.0.0.1", validation_alias="IZIN_STREAM_HOST")
    port: int = Field(8083, validation_alias="IZIN_STREAM_PORT")
    """Where ``/health/live``, ``/health/ready`` and ``/metrics`` are served."""
    max_poll_records: int = Field(3000, ge=1, validation_alias="IZIN_MAX_POLL_RECORDS")
    state: StateKind = Field(StateKind.MEMORY, validation_alias="IZIN_STATE")
    """``memory`` is the fastest, and restored in full at every start; ``rocksdb`` needs little
    memory and restores only what it missed."""
    state_folder: Path = Field(Path(".izin/state"), validation_alias="IZIN_STATE_FOLDER")
    """The parent folder of the ``rocksdb`` state, which has one folder for each
    ``IZIN_INSTANCE_ID``."""

    def group(self, kafka: KafkaSettings) -> str:
        """Return the consumer group of the order workers; transactional ids begin with it too."""
        return f"{kafka.topic_prefix}{self.app_id}-order"


class WebhookSettings(HttpAddresses, SettingsGroup, alias_generator=_named("IZIN_WEBHOOK")):
    """The process that posts webhooks to subscribers."""

    port: int = 8086
    """Where a bare ``/health/live`` and ``/health/ready`` are served, for load balancers."""
    operations_port: int = 8096
    allowed: Texts = Field((), validation_alias="IZIN_WEBHOOK_ALLOWED")
    """Hosts and networks of your own to which webhooks may be posted, without TLS too (a JSON list
    such as ``["10.1.0.0/16", "crm.internal"]``). Else only https and public addresses."""
    ca_file: Path | None = Field(None, validation_alias="IZIN_WEBHOOK_CA_FILE")
    """The authorities (PEM) of subscribers' certificates; None: those of the operating system."""
    timeout: timedelta = Field(
        timedelta(seconds=15), gt=timedelta(0), validation_alias="IZIN_WEBHOOK_TIMEOUT"
    )
    """How long a request may take, from the name's look-up to the end of the reply."""
    first_pause: timedelta = Field(
        timedelta(seconds=1), gt=timedelta(0), validation_alias="IZIN_WEBHOOK_FIRST_PAUSE"
    )
    """How long after the first failure the next attempt comes; the pause doubles with each."""
    longest_pause: timedelta = Field(
        timedelta(hours=1), gt=timedelta(0), validation_alias="IZIN_WEBHOOK_LONGEST_PAUSE"
    )
    """The longest of these pauses, also where a subscriber asks for more."""
    window: int = Field(1000, ge=1, validation_alias="IZIN_WEBHOOK_WINDOW")
    """How many events of one lane of a subscriber may wait in memory; the rest waits in Kafka."""
    catch_up_rate: float = Field(500, gt=0, validation_alias="IZIN_WEBHOOK_CATCH_UP_RATE")
    """Events a second at most to a subscriber that catches up, in each of its lanes."""
    memory: int = Field(32 * 1024 * 1024, ge=1024, validation_alias="IZIN_WEBHOOK_MEMORY")
    """Bytes of the latest events of each lane that are kept in memory for all subscribers."""

    def tls_context(self) -> SSLContext:
        """Return the TLS context of connections to subscribers: it verifies certificate and host.

        Raises:
            SettingError: the file of authorities cannot be used.
        """
        return checks.authorities("IZIN_WEBHOOK_CA_FILE", self.ca_file)

    def faults(self) -> Iterator[str]:
        """Yield nothing; raises SettingError where the file of authorities cannot be used."""
        self.tls_context()
        yield from ()


class LogSettings(SettingsGroup):
    """The logs of a process."""

    level: str = Field("info", validation_alias="IZIN_LOG_LEVEL")
    json_lines: bool = Field(True, validation_alias="IZIN_LOG_JSON")
