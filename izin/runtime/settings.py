"""The only reader of the environment: read once at the start of a process, frozen, one group a
concern.

Each worker is handed the groups it needs. Names are plain where the field has a custom
(``KAFKA_BOOTSTRAP_SERVERS``, ``DATABASE_URL``, ``SCHEMA_REGISTRY_URL``) and begin with ``IZIN_``
otherwise. Secrets print as ``**********`` and have no default.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from izin.consent.business_days import Calendar
from izin.schemas.topics import DEFAULT_PARTITIONS, Topics


class _Group(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, use_attribute_docstrings=True
    )


class KafkaSettings(_Group):
    """How to reach the brokers, and which topics are ours."""

    bootstrap_servers: str = Field("127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS")
    registry_url: str | None = Field(None, validation_alias="SCHEMA_REGISTRY_URL")
    schema_folder: Path | None = Field(None, validation_alias="IZIN_SCHEMA_FOLDER")
    """Where schemas of newer releases stand that this one is to read, as their
    ``izin/schemas/versions`` holds them; needed only where producers are newer and there is no
    registry."""
    topic_prefix: str = Field("", validation_alias="IZIN_TOPIC_PREFIX")
    partitions: int = Field(DEFAULT_PARTITIONS, ge=1, validation_alias="IZIN_PARTITIONS")
    replication_factor: int = Field(1, ge=1, validation_alias="IZIN_REPLICATION_FACTOR")
    production: bool = Field(False, validation_alias="IZIN_PRODUCTION")
    """Refuse settings that could lose data: replication below 3, min.insync below 2, unclean
    election."""

    client_log_level: int = Field(6, ge=0, le=7, validation_alias="IZIN_KAFKA_LOG_LEVEL")
    """How much librdkafka logs, as syslog counts: 7 everything, 2 almost nothing."""

    @cached_property
    def topics(self) -> Topics:
        """The topic table under this installation's prefix."""
        return Topics(self.topic_prefix)


class LedgerSettings(_Group):
    """How to reach the ledger's PostgreSQL, and by which calendar the terms in it are counted."""

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    pool_size: int = Field(8, ge=1, validation_alias="IZIN_DATABASE_POOL_SIZE")
    extra_closed_days: tuple[date, ...] = Field((), validation_alias="IZIN_EXTRA_CLOSED_DAYS")
    """Days that do not count as business days besides the public holidays, such as administrative
    leave: ``["2026-05-25"]``. The same for every process; a term counted before keeps its end until
    its record changes, or its brand is added anew."""

    @cached_property
    def calendar(self) -> Calendar:
        """Turkey's calendar with these days; raises OutsideCalendarError."""
        return Calendar(extra_closed_days=frozenset(self.extra_closed_days))


class IysSettings(_Group):
    """How to reach İYS, and the delays it imposes (shortened only against a simulator)."""

    base_url: str = Field("https://api.iys.org.tr", validation_alias="IYS_BASE_URL")
    username: str = Field(validation_alias="IYS_USERNAME")
    password: SecretStr = Field(validation_alias="IYS_PASSWORD")
    timeout: timedelta = Field(timedelta(seconds=20), validation_alias="IYS_TIMEOUT")
    requests_per_second: float = Field(10, gt=0, validation_alias="IYS_REQUESTS_PER_SECOND")
    token_requests_per_hour: int = Field(10, ge=1, validation_alias="IYS_TOKEN_REQUESTS_PER_HOUR")
    result_delay: timedelta = Field(timedelta(seconds=300), validation_alias="IYS_RESULT_DELAY")
    """Ask for a batch's result no sooner than this after submitting it (İYS: 300 s)."""
    hidden_window: timedelta = Field(timedelta(hours=1), validation_alias="IYS_HIDDEN_WINDOW")
    """What pull does not show yet (İYS: the last 60 minutes)."""
    egress_address: str = Field("default", validation_alias="IYS_EGRESS_ADDRESS")
    """Names the address our calls leave from: its budget is shared by all processes behind it."""


class SinkSettings(_Group):
    """How the sink worker paces its own work."""

    host: str = Field("127.0.0.1", validation_alias="IZIN_SINK_HOST")
    port: int = Field(8082, validation_alias="IZIN_SINK_PORT")
    push_url: str | None = Field(None, validation_alias="IZIN_PUSH_URL")
    """The address under which İYS reaches this worker's push receiver; None: no push is
    registered."""
    push_username: str | None = Field(None, validation_alias="IZIN_PUSH_USERNAME")
    push_password: SecretStr | None = Field(None, validation_alias="IZIN_PUSH_PASSWORD")
    push_brands: tuple[int, ...] | None = Field(None, validation_alias="IZIN_PUSH_BRANDS")
    """The brands to register push for (a JSON list); None: every brand."""
    pull_interval: timedelta = Field(timedelta(minutes=15), validation_alias="IZIN_PULL_INTERVAL")
    poll_interval: timedelta = Field(timedelta(seconds=1), validation_alias="IZIN_SINK_INTERVAL")
    lease: timedelta = Field(timedelta(seconds=60), validation_alias="IZIN_LEASE")
    batch_size: int = Field(1000, ge=1, le=1000, validation_alias="IZIN_BATCH_SIZE")
    anchor_interval: timedelta = Field(
        timedelta(minutes=10), validation_alias="IZIN_ANCHOR_INTERVAL"
    )
    """How often the heads of the ledger's chained history are told to the topic and the file."""
    anchor_file: Path | None = Field(None, validation_alias="IZIN_ANCHOR_FILE")
    """A file that is only appended to, best on a disk that whoever keeps the ledger cannot change;
    None: the topic alone."""


class IntakeSettings(_Group):
    """The HTTP door for signups."""

    host: str = Field("127.0.0.1", validation_alias="IZIN_INTAKE_HOST")
    port: int = Field(8081, validation_alias="IZIN_INTAKE_PORT")
    tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), validation_alias="IZIN_INTAKE_TOKENS"
    )
    """Bearer tokens that may post (a JSON list); empty: the door stays shut."""

    @field_validator("tokens", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """Read the list here: the usual decoder's error names neither the setting nor the cure."""
        if not isinstance(given, str):
            return given
        with suppress(ValueError):
            found = json.loads(given)
            if isinstance(found, list) and all(isinstance(one, str) for one in found):
                return found
        raise ValueError('write a JSON list of texts, such as ["..."]')


class StateKind(StrEnum):
    """Where an order worker keeps what it read of ``consents``."""

    MEMORY = "memory"
    ROCKSDB = "rocksdb"


class StreamSettings(_Group):
    """The order worker."""

    app_id: str = Field("izin", validation_alias="IZIN_APP_ID")
    """Names the consumer group (``<app>-order``) and the transactional ids."""
    instance_id: str | None = Field(None, validation_alias="IZIN_INSTANCE_ID")
    """Static membership: a worker that comes back under the same id gets its partitions back at
    once."""
    host: str = Field("127.0.0.1", validation_alias="IZIN_STREAM_HOST")
    port: int = Field(8083, validation_alias="IZIN_STREAM_PORT")
    """Where ``/health`` and ``/metrics`` are served."""
    max_poll_records: int = Field(3000, ge=1, validation_alias="IZIN_MAX_POLL_RECORDS")
    dead_letter_share: float = Field(0.2, ge=0, le=1, validation_alias="IZIN_DEAD_LETTER_SHARE")
    """The share of the latest records beyond which dead letters stop the worker; 1: none does."""
    state: StateKind = Field(StateKind.MEMORY, validation_alias="IZIN_STATE")
    """``memory`` is the fastest, and read back at every start; ``rocksdb`` needs little memory, and
    reads only what it missed."""
    state_folder: Path = Field(Path(".izin/state"), validation_alias="IZIN_STATE_FOLDER")
    """Where ``rocksdb`` keeps its folders, one for each worker's ``IZIN_INSTANCE_ID``."""


class LogSettings(_Group):
    """What the processes say."""

    level: str = Field("info", validation_alias="IZIN_LOG_LEVEL")
    json_lines: bool = Field(True, validation_alias="IZIN_LOG_JSON")
