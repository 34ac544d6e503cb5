"""Kafka Connect, set as docs/connect.md shows, writes what the topics have into tables."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg import sql
from psycopg.rows import dict_row

from benchmarks.connect import page
from benchmarks.connect.command import (
    SCHEMA,
    Differences,
    Subscriber,
    create_schema,
    fail_with,
    settings_of,
)
from benchmarks.connect.publishing import produce, publishing_ledger, registered_codec, write
from izin.kafka import clients
from izin.local import ApicurioRegistry, LocalServers, create_database
from izin.local.servers import DATABASE, KAFKA, REGISTRY
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.fast.record_format import NO_HEADERS
from izin.schemas.partitioning import partition_of
from izin.schemas.topics import Topic
from izin.streams.ownership import OutputRecord
from tests.support.published import delete_topics
from tests.support.servers.connect import KafkaConnect
from tests.support.servers.distribution import drop_database
from tests.support.waiting import until
from tools.golden_records import golden

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.broker,
    pytest.mark.database,
]

TABLES = {"permissions": "Permission", "consent_opt_outs": "Consent"}
"""The record of each table."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A subscriber's tables, the worker that writes them, and the topics it reads."""

    url: str
    settings: KafkaSettings
    worker: KafkaConnect
    codec: Codec
    producer: Producer

    def topic(self, table: str) -> Topic:
        """Return the topic of a table."""
        topics = self.settings.topics
        return {"permissions": topics.permissions, "consent_opt_outs": topics.opt_outs}[table]

    def record(self, table: str, key: str, value: Mapping[str, Any] | None) -> OutputRecord:
        """Return a record of a table's topic; a value of None is a tombstone."""
        topic = self.topic(table)
        return OutputRecord(
            topic.name,
            partition_of(key.encode(), self.settings.partitions),
            key.encode(),
            None if value is None else self.codec.encode(topic.record, value),
            NO_HEADERS,
        )

    def write(self, table: str, key: str, value: Mapping[str, Any] | None) -> None:
        """Write a record in a transaction."""
        write(self.producer, [self.record(table, key, value)])

    def row(self, table: str, key: str) -> dict[str, Any] | None:
        """Return the row of a key, None where there is none."""
        fail_with(self.worker)
        query = sql.SQL("SELECT * FROM {} WHERE consent_key = %s")
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            try:
                return connection.execute(
                    query.format(sql.Identifier(SCHEMA, table)), [key]
                ).fetchone()
            except psycopg.errors.UndefinedTable:
                return None

    def delete(self, table: str, *keys: str) -> None:
        """Delete rows by tombstones."""
        for key in keys:
            self.write(table, key, None)
            until(lambda: self.row(table, key) is None, within=30)  # noqa: B023  # called at once

    def columns(self, table: str) -> list[tuple[str, str]]:
        """Return the columns of a table and their types."""
        query = """SELECT column_name, data_type FROM information_schema.columns
            WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query, [SCHEMA, table]).fetchall()


@pytest.fixture(scope="module")
def tables(
    state_dir: Path, unprefixed_kafka: str, postgres: str, registry: ApicurioRegistry
) -> Iterator[Tables]:
    """Yield the tables of a running worker; its topics have no records yet."""
    given = {KAFKA: unprefixed_kafka, DATABASE: postgres, REGISTRY: registry.url}
    servers = LocalServers(state_dir, environ=given)
    name = f"t{uuid4().hex[:12]}"
    url = create_database(postgres, name)
    create_schema(url)
    settings = settings_of(servers, partitions=2)
    clients.ensure_topics(settings)
    producer = clients.producer(settings, **{"transactional.id": "test"})
    producer.init_transactions(30)
    worker = KafkaConnect(
        state_dir, page.files(), environment=page.environment(servers, url, schema=SCHEMA)
    )
    with worker, registered_codec(settings) as codec:
        yield Tables(url=url, settings=settings, worker=worker, codec=codec, producer=producer)
    delete_topics(settings)
    drop_database(postgres, name)


def test_tables_hold_what_the_ledger_has(tables: Tables) -> None:
    """Ten thousand permissions, a tenth of them opted out, and a hundred of these erased."""

    async def run() -> None:
        async with publishing_ledger(tables.url, tables.settings, tables.codec) as ledger:
            keys = (await ledger.collect(10_000))[:1000]
            await ledger.opt_out(keys)
            written = Subscriber(worker=tables.worker, url=tables.url, limit=60)
            assert await written.differences(10_000, 1000) == Differences(
                permissions=10_000,
                differing_permissions=0,
                opt_outs=1000,
                differing_opt_outs=0,
                opt_outs_of_erased=0,
            )
            await ledger.erase(keys[:100])
            # The opt-outs of erased keys stay: their topic has no tombstones.
            assert await written.differences(9900, 1000) == Differences(
                permissions=9900,
                differing_permissions=0,
                opt_outs=1000,
                differing_opt_outs=0,
                opt_outs_of_erased=100,
            )

    asyncio.run(run())


@pytest.mark.parametrize("table", TABLES)
def test_row_has_each_field_until_a_tombstone(tables: Tables, table: str) -> None:
    """The golden record arrives as the page says, in columns of the types that it says."""
    key, value = f"golden/{table}", golden(TABLES[table])
    tables.write(table, key, value)
    until(lambda: tables.row(table, key) is not None, within=30)
    row = tables.row(table, key)
    instants = {name: one.replace(tzinfo=None) for name, one in value.items() if is_instant(one)}
    assert row == {"consent_key": key, **value, **instants}
    assert tables.columns(table) == columns_on_page(table)
    tables.delete(table, key)


def is_instant(value: object) -> bool:
    """Return whether a field is an instant, which has no zone in a table: it is UTC."""
    return hasattr(value, "tzinfo")


def columns_on_page(table: str) -> list[tuple[str, str]]:
    """Return the columns and types that the page gives for a table."""
    page_ = page.PAGE.read_text(encoding="utf-8")
    lines = page_.partition(f"\n### `{table}`\n")[2].partition("\n#")[0].splitlines()
    found = [re.match(r"\| `(\w+)` \| `([\w ]+)` \|", line) for line in lines]
    return [(one[1], one[2]) for one in found if one is not None]


def test_absent_values_are_null(tables: Tables) -> None:
    """What a record does not have is NULL, not a default."""
    fields = ("desired", "registered_at", "consent_date")
    tables.write("permissions", "absent", golden("Permission") | dict.fromkeys(fields))
    until(lambda: tables.row("permissions", "absent") is not None, within=30)
    row = tables.row("permissions", "absent") or {}
    assert {row[name] for name in fields} == {None}
    tables.delete("permissions", "absent")


def test_aborted_records_are_not_in_the_table(tables: Tables) -> None:
    """The worker reads what was committed; a later record shows that it went past the other."""
    later = tables.record("permissions", "committed", golden("Permission"))
    aborted = later._replace(key=b"aborted")
    tables.producer.begin_transaction()
    produce(tables.producer, [aborted])
    tables.producer.abort_transaction(30)
    write(tables.producer, [later])
    until(lambda: tables.row("permissions", "committed") is not None, within=30)
    assert tables.row("permissions", "aborted") is None
    tables.delete("permissions", "committed")


def test_tombstone_of_an_unknown_key_changes_nothing(tables: Tables) -> None:
    """A worker that starts anew reads tombstones whose rows it never had."""
    tables.write("permissions", "before", golden("Permission"))
    tables.write("permissions", "unknown", None)
    tables.write("permissions", "unknown", golden("Permission"))
    until(lambda: tables.row("permissions", "unknown") is not None, within=30)
    tables.delete("permissions", "unknown", "before")
