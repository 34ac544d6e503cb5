"""One lane of the outbox: rows claimed, published, and deleted once Kafka has acknowledged them.

A batch is one transaction of the other system's database. It locks the first rows that no other
relay has, publishes them, puts aside what is refused, deletes all of them, and commits. Whatever
ends it before, a kill -9 or a restart of either server, leaves the rows where they were: they are
relayed again, with the same ids. There is no cursor: a sequence has gaps, and hands out ids that
are committed late or never, so the next batch is always the first rows that are there.

It is a guest in that database. While Kafka does not answer it claims nothing, for an open
transaction keeps vacuum from its work. Its commits do not wait for the disk, since a lost one only
repeats rows. It listens for notifications only while it finds nothing, since each costs the commit
that sends it. And it rests in proportion to what a claim took: where others keep deleted rows from
being vacuumed, each claim has to step over all of them.
"""

import asyncio
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from time import monotonic
from typing import Final, LiteralString

from prometheus_client import CollectorRegistry, Counter, Gauge
from psycopg import AsyncConnection, Error
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from izin.consent import ConsentEvent, ConsentKey, OurError, SourceError, Violation
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.mapping.field_names import violation
from izin.producers.mapping.records import AcceptedRecord, RefusedRecord
from izin.producers.outbox.rows import OutboxRow, as_json, event_of
from izin.producers.publishing.publisher import KafkaPublisher
from izin.runtime.backoff import Backoff
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.runtime.setting_rules.database_checks import NETWORK
from izin.runtime.settings import OutboxSettings

OPT_OUTS: Final = "opt-outs"
"""The lane of whatever is not certainly an opt-in."""
LANES: Final = (OPT_OUTS, "opt-ins")
"""Each has a connection of its own, so that no opt-out waits for a batch of opt-ins."""
_BACKOFF = Backoff(timedelta(milliseconds=200), timedelta(seconds=5))
_LIMIT: Final = 60.0
"""Seconds that a batch may take; Kafka's acknowledgement has ten of them."""
_LINGER: Final = 0.1
"""Seconds after a batch that was not full: rows of the next commits are relayed together."""
_REST: Final = 4.0
"""A claim that took a second is followed by so many of rest."""
_SESSION: Final = (
    "-c synchronous_commit=off -c enable_seqscan=off -c TimeZone=UTC -c statement_timeout=30s "
    "-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"
)

_log = get_logger(__name__)


def sql(name: str) -> LiteralString:
    """Return the text of ``sql/<name>.sql``."""
    return (resources.files(__package__) / "sql" / f"{name}.sql").read_text("utf-8")


_CLAIM, _REMOVE = sql("claim"), sql("remove")


class _Bytes(Loader):
    """Texts as they are: in a database without an encoding they need not be UTF-8."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class OutboxMetrics:
    """The metrics of the relay, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter(
            "izin_relay_rows",
            "Rows that left the outbox, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.lag = Gauge(
            "izin_relay_lag_seconds",
            "Age of the oldest row that was claimed last, by lane; 0 where none waits.",
            ["lane"],
            registry=self.registry,
        )


@dataclass(slots=True, kw_only=True)
class OutboxLane:
    """Relays the rows of one lane."""

    name: str
    settings: OutboxSettings
    publisher: KafkaPublisher
    directory: BrandDirectory
    metrics: OutboxMetrics
    is_reachable: Callable[[], bool]
    """Whether Kafka answers."""
    clock: Callable[[], datetime]
    fault: str = "not looked at yet"
    """Why nothing is relayed now; empty: it is."""
    _is_listening: bool = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Relay until ``stopping`` is set, again and again where a server is away."""
        failures = 0
        while not stopping.is_set():
            try:
                async with await self._connected() as connection:
                    while not stopping.is_set():
                        await self._turn(connection)
                        failures = 0
            except (Error, OurError, TimeoutError) as error:
                failures += 1
                wait = _BACKOFF.after(failures).total_seconds()
                self.fault = _reason(error)
                _log.warning("outbox not relayed", lane=self.name, error=self.fault, after=wait)
                await asyncio.sleep(wait)

    async def _connected(self) -> AsyncConnection[OutboxRow]:
        url = self.settings.database_url.get_secret_value()
        connection = await AsyncConnection.connect(
            url,
            autocommit=True,
            row_factory=class_row(OutboxRow),
            application_name=f"izin-outbox-{self.name}",
            client_encoding="UTF8",
            options=f"{_SESSION} {conninfo_to_dict(url).get('options') or ''}",
            **NETWORK,
        )
        connection.adapters.register_loader("text", _Bytes)
        self._is_listening = False
        return connection

    async def _turn(self, connection: AsyncConnection[OutboxRow]) -> None:
        """Relay a batch, and wait until there may be another."""
        if not self.is_reachable():
            raise BrokerError("Kafka does not answer")
        async with asyncio.timeout(_LIMIT):
            claimed, took = await self._relay(connection)
        self.fault = ""
        is_full = claimed == self.settings.batch_size
        await asyncio.sleep(max(took * _REST, 0.0 if is_full else _LINGER))
        wants = not claimed and bool(self.settings.channel)
        if wants != self._is_listening:
            # What was committed before it listened is claimed at once, and not waited for.
            verb = SQL("LISTEN {}" if wants else "UNLISTEN {}")
            await connection.execute(verb.format(Identifier(self.settings.channel)))
            self._is_listening = wants
        elif not claimed:
            interval = self.settings.poll_interval.total_seconds()
            async for _ in connection.notifies(timeout=interval, stop_after=1):
                pass

    async def _relay(self, connection: AsyncConnection[OutboxRow]) -> tuple[int, float]:
        """Relay the first rows; return how many there were, and the seconds that claiming took."""
        which = {"lane": LANES.index(self.name), "batch_size": self.settings.batch_size}
        async with connection.transaction():
            began = monotonic()
            rows = await (await connection.execute(_CLAIM, which)).fetchall()
            took = monotonic() - began
            refused = await self._publish(rows)
            if rows:
                done = {
                    "claimed": [row.id for row in rows],
                    "refused": [*refused],
                    "violations": [as_json(found) for found in refused.values()],
                }
                await connection.execute(_REMOVE, done)
        self._report(len(rows), refused)
        return len(rows), took

    async def _publish(self, rows: Sequence[OutboxRow]) -> Mapping[int, tuple[Violation, ...]]:
        """Publish ``rows``; return why some are refused, by their ids. Kafka has all the others.

        Raises:
            BrokerError: it did not acknowledge them in time.
        """
        now, oldest = self.clock(), timedelta(0)
        refused: dict[int, tuple[Violation, ...]] = {}
        events: dict[int, tuple[ConsentEvent, ConsentKey]] = {}
        for row in rows:
            judged = self._judged(row, now)
            if isinstance(judged, RefusedRecord):
                refused[row.id] = judged.violations
                continue
            oldest = max(oldest, now - (judged.event.received_at or now))
            if judged.violations:
                _log.warning(
                    "row published with violations",
                    row=row.id,
                    codes=sorted({one.code for one in judged.violations}),
                )
            events[row.id] = judged.event, judged.key
        self.metrics.lag.labels(self.name).set(oldest.total_seconds())
        for number, result in (await self.publisher.publish_all(events)).items():
            if isinstance(result, SourceError):
                refused[number] = (violation("", "IZIN-SIZE", what=result),)
        return refused

    def _judged(self, row: OutboxRow, now: datetime) -> AcceptedRecord | RefusedRecord:
        try:
            return event_of(row, self.settings.name, self.directory, now)
        except Exception as error:  # noqa: BLE001  # a fault of ours must not stop other rows
            _log.exception("row not read", row=row.id)
            what = f"a fault of izin: {type(error).__name__}"
            return RefusedRecord(violations=(violation("", "IZIN-OUTBOX-ROW", what=what),))

    def _report(self, claimed: int, refused: Mapping[int, tuple[Violation, ...]]) -> None:
        """Count the rows of a batch; alert where some were put aside."""
        self.metrics.rows.labels("published").inc(claimed - len(refused))
        self.metrics.rows.labels("refused").inc(len(refused))
        if refused:
            # A row of this lane may be an opt-out, which nobody else knows of.
            log = _log.critical if self.name == OPT_OUTS else _log.error
            codes = Counts(one.code for found in refused.values() for one in found)
            log("rows put aside", rows=[*refused][:20], refused=len(refused), codes=dict(codes))


def _reason(error: Exception) -> str:
    """Return why nothing is relayed; details of PostgreSQL's errors may quote a row."""
    if not isinstance(error, Error) or not error.diag.message_primary:
        return str(error) or type(error).__name__
    remedy = "; see docs/outbox.md, and: izin outbox --sql table"
    # No such table or column, or no right to it.
    return error.diag.message_primary + remedy * (error.sqlstate in {"42P01", "42703", "42501"})
