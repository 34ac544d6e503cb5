"""The settings of our own processes: where each listens, and what it may use."""

import re
from collections.abc import Iterator
from datetime import time, timedelta
from enum import StrEnum
from pathlib import Path
from ssl import SSLContext
from typing import Annotated

from pydantic import (
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
)
from pydantic_settings import NoDecode

from izin.runtime.setting_rules import checks
from izin.runtime.setting_rules.group import SecretTexts, SettingsGroup, list_of_texts
from izin.runtime.settings.connections import KafkaSettings, plain_database_of
from izin.schemas.erasure import SHORTEST_SECRET, SuppressionKeys

Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(list_of_texts)]
"""A JSON list, parsed here: the error of the default decoder does not name the setting."""


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


_ORIGIN = re.compile(r"(http(?!.*:80$)|https(?!.*:443$))://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:\d+)?")
"""Of a console; internationalised names as browsers send them (xn--…)."""


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
    forms: Path | None = Field(None, validation_alias="IZIN_INTAKE_FORMS")
    """The same folder of the mappings of forms."""
    link_secrets: SecretTexts = Field((), validation_alias="IZIN_LINK_SECRETS")
    """Under which links to opt out and to confirm are sealed (a JSON list of texts of 32 characters
    or more, the newest first: it seals, all open). Keep an old one for as long as links of it may
    be opened; without any there are no links."""
    url: str = Field("http://127.0.0.1:8081", validation_alias="IZIN_INTAKE_URL")
    """Where people reach the intake, for links: what stands before ``/v1``."""

    @property
    def link_texts(self) -> list[str]:
        """The secrets of links, as texts."""
        return [secret.get_secret_value() for secret in self.link_secrets]


class OutboxSettings(HttpAddresses, SettingsGroup, alias_generator=_named("IZIN_OUTBOX")):
    """The relay of an outbox: a table in the database of another system."""

    port: int = 8089
    operations_port: int = 8099
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
            yield from plain_database_of(self.database_url, "IZIN_OUTBOX_DATABASE_URL")


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

    suppression_secrets: SecretTexts = Field((), validation_alias="IZIN_SUPPRESSION_SECRETS")
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
        return SuppressionKeys(
            [
                suppression_secret.get_secret_value()
                for suppression_secret in self.suppression_secrets
            ]
        )


class ViaSettings(SettingsGroup):
    """How people are asked for consent through İYS (ViA)."""

    via_a_day: int = Field(3, ge=1, validation_alias="IZIN_VIA_A_DAY")
    """How often a customer may have one person asked in 24 hours, of all its brands together."""


class ApiSettings(
    ProxiedAddresses, SuppressionSettings, ViaSettings, alias_generator=_named("IZIN_API")
):
    """The HTTP endpoint at which other systems ask what became of their events, and say whose
    number or address has changed.
    """

    port: int = 8088
    operations_port: int = 8098
    readers: int = Field(4, ge=1, le=64, validation_alias="IZIN_API_READERS")
    """How many events are looked up in Kafka at once; other requests wait for their turn."""
    synthetic_key: SecretStr | None = Field(None, validation_alias="IZIN_SYNTHETIC_KEY")
    """An API key of the customer ``izin-synthetic`` with the scopes publish and subscribe: with it
    an opt-out of nobody is published each minute, and awaited at the feed; None: nobody watches
    whether opt-outs flow."""
    synthetic_intake: str = Field("http://127.0.0.1:8081", validation_alias="IZIN_SYNTHETIC_INTAKE")
    """Where it is published: what stands before ``/v1``."""
    synthetic_feeds: str = Field("http://127.0.0.1:8084", validation_alias="IZIN_SYNTHETIC_FEEDS")
    """Where it is awaited: what stands before ``/v1``."""

    @field_validator("synthetic_key")
    @classmethod
    def _given(cls, given: SecretStr | None) -> SecretStr | None:
        return given if given is not None and given.get_secret_value() else None

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the URLs."""
        for url in ("IZIN_SYNTHETIC_INTAKE", "IZIN_SYNTHETIC_FEEDS"):
            yield from checks.url_faults(self.given, url, "take it out and set IZIN_SYNTHETIC_KEY")


class ConsoleSettings(
    ProxiedAddresses, SuppressionSettings, alias_generator=_named("IZIN_CONSOLE")
):
    """The console: what people see and do in a browser."""

    port: int = 8090
    operations_port: int = 8100
    url: str = Field("http://127.0.0.1:8090", validation_alias="IZIN_CONSOLE_URL")
    """How people reach it: the address in links to sign in, and the origin of its forms. With
    ``https://`` its cookies are sent over TLS alone."""
    idle: timedelta = Field(
        timedelta(minutes=30), gt=timedelta(0), validation_alias="IZIN_CONSOLE_IDLE"
    )
    """After how long without a request a session ends."""
    session: timedelta = Field(
        timedelta(hours=12), gt=timedelta(0), validation_alias="IZIN_CONSOLE_SESSION"
    )
    """After how long a session ends in any case."""
    oidc_issuer: str | None = Field(None, validation_alias="IZIN_CONSOLE_OIDC_ISSUER")
    """The identity provider (OpenID Connect) at which people sign in; None: by password or link
    alone."""
    oidc_client_id: str | None = Field(None, validation_alias="IZIN_CONSOLE_OIDC_CLIENT_ID")
    oidc_client_secret: SecretStr | None = Field(
        None, validation_alias="IZIN_CONSOLE_OIDC_CLIENT_SECRET"
    )
    oidc_claim: str = Field("email", validation_alias="IZIN_CONSOLE_OIDC_CLAIM")
    """Which of its claims is the name of the account. An ``email`` must be verified there."""
    requests_per_second: float = Field(10, gt=0, validation_alias="IYS_REQUESTS_PER_SECOND")
    batch_size: int = Field(1000, ge=1, le=1000, validation_alias="IZIN_BATCH_SIZE")
    """As the sink workers have them: the pace of İYS in forecasts."""
    uploads: Path | None = Field(None, validation_alias="IZIN_CONSOLE_UPLOADS")
    """A folder of this process alone for the files that people import in the console, and their
    refused rows: personal data; None: nobody imports there."""
    uploads_kept: timedelta = Field(
        timedelta(days=7), gt=timedelta(0), validation_alias="IZIN_CONSOLE_UPLOADS_KEPT"
    )
    """How long after somebody last worked on one of them it is deleted."""
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse an ``IZIN_CONSOLE_URL`` or an issuer on ``http://``."""

    @property
    def origin(self) -> str:
        """Its origin, as browsers write it."""
        return self.url.lower().rstrip("/")

    @property
    def has_tls(self) -> bool:
        """Whether people reach it through TLS."""
        return self.origin.startswith("https:")

    def faults(self) -> Iterator[str]:
        """Yield what does not go together, or is refused in production."""
        if not _ORIGIN.fullmatch(self.origin):
            yield (
                "IZIN_CONSOLE_URL must be the root of a host as browsers show it, such as "
                "https://console.example.com: without a path, a login or the usual port"
            )
        named = ("oidc_issuer", "oidc_client_id", "oidc_client_secret")
        given = [getattr(self, name) is not None for name in named]
        if any(given) and not all(given):
            yield (
                "IZIN_CONSOLE_OIDC_ISSUER, IZIN_CONSOLE_OIDC_CLIENT_ID and "
                "IZIN_CONSOLE_OIDC_CLIENT_SECRET go together; set all or none"
            )
        if self.production:
            yield from checks.plain_url(self.given, "IZIN_CONSOLE_OIDC_ISSUER")
            if "url" in self.model_fields_set:  # without it nobody signs in but on this machine
                yield from checks.plain_url(self.given, "IZIN_CONSOLE_URL")


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
