"""An erased person is in no file of ours once nothing retains the data; others still are."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from rocksdict import BottommostLevelCompaction, CompactOptions, Options, Rdict

from izin.consent.due_dates import TURKEY
from izin.local.kafka import Kafka
from izin.local.postgres import Postgres
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger import table_retention
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history import verify
from izin.sinks.ledger.privacy import history
from tests.e2e.processes import izin
from tests.e2e.test_up import ANY_PORTS, ENDED_WITHIN, asked, environment_of, wait_for
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

ERASED, KEPT = "05550000001", "05550000002"
_WITH_PERSONS = (
    "consent-events",
    "consent-events-express",
    "desired-consents",
    "consent-decisions",
    "consent-opt-outs",
    "permissions",
    "consent-outcomes",
)
SOON = {
    "retention.ms": "1000",
    "segment.ms": "1000",
    "max.compaction.lag.ms": "1000",
    "min.compaction.lag.ms": "0",
    "min.cleanable.dirty.ratio": "0.0",
    "delete.retention.ms": "0",
    "file.delete.delay.ms": "100",
}
"""The times of topics, in place of days."""


class HurriedKafka(Kafka):
    """A broker that looks for what it can delete every second: its clock cannot be moved."""

    def _settings(self, port: int) -> Mapping[str, object]:
        return {
            **super()._settings(port),
            "log.retention.check.interval.ms": 500,
            "log.initial.task.delay.ms": 500,
            "log.cleaner.backoff.ms": 500,
        }


@contextmanager
def a_stack(folder: Path) -> Iterator[Kafka]:
    """Run ``izin up`` on such servers, its state on disk, until the block ends."""
    with HurriedKafka(folder) as kafka, Postgres(folder) as postgres:
        process = izin(
            *("up", "--state-dir", str(folder / "stack"), *ANY_PORTS[4:]),
            KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers,
            DATABASE_URL=postgres.url,
            IZIN_STATE="rocksdb",
            IZIN_STATE_FOLDER=str(folder / "state"),
        )
        try:
            wait_for(process)
            yield kafka
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=ENDED_WITHIN)


def publish(stack: Path, recipient: str, status: str, date: datetime) -> None:
    """Publish a consent with a reference of its own."""
    words = (
        "--brand=100001",
        "--type=MESAJ",
        "--source=HS_WEB",
        f"--reference={status}-{recipient}",
    )
    done = asked(
        stack,
        "publish",
        *words,
        f"--recipient={recipient}",
        f"--status={status}",
        f"--date={date.isoformat()}",
    )
    assert done[0] == 0, done


def state_of(stack: Path, recipient: str) -> dict[str, Any] | None:
    """Return the state of a recipient's key, None where it has none."""
    code, printed = asked(stack, "privacy", "export", recipient)
    return json.loads(printed)["keys"][0]["state"] if code == 0 else None


def is_registered(stack: Path, recipient: str, status: str) -> bool:
    """Return whether İYS has a consent."""
    state = state_of(stack, recipient)
    return state is not None and (state["registered"], state["state"]) == (status, "accepted")


def identifiers(stack: Path, recipient: str) -> set[bytes]:
    """Return what is made from a recipient, of all that is known of it."""
    known = json.loads(asked(stack, "privacy", "export", recipient)[1])
    facts = known["keys"][0]["history"]
    events = {fact["event_id"] for fact in facts if fact["event_id"]}
    return {recipient.lstrip("0").encode(), *(one.encode() for one in events)}


def files(folder: Path) -> Iterator[Path]:
    """Yield every file of ours: not the simulator's, for that is İYS."""
    for path in folder.rglob("*"):
        if path.is_file() and "simulator" not in path.parts:
            yield path


def files_with(folder: Path, marks: set[bytes]) -> dict[str, set[bytes]]:
    """Return the files that have any of ``marks``, and which."""
    found = {}
    for path in files(folder):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        if some := {mark for mark in marks if mark in content}:
            found[str(path.relative_to(folder))] = some
    return found


async def end_retention(url: str) -> int:
    """Do what a sink worker will do in many years; return how many faults the history has."""
    later = datetime.now(UTC) + timedelta(days=366 * 11)
    async with Ledger(LedgerSettings.model_validate({"DATABASE_URL": url}), owner=99) as ledger:
        assert await history.erase(ledger, now=later) > 0
        await table_retention.delete_expired(ledger, now=later)
        return len((await verify.verify(ledger, ())).faults)


def rewrite(url: str) -> None:
    """Have PostgreSQL write its tables, indexes and log anew, as it does in the course of time."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_recycle = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("VACUUM (FULL, ANALYZE)")
        connection.execute("REINDEX DATABASE")
        for _ in range(3):
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")


def compact(folder: Path) -> None:
    """Have RocksDB compact the state of each partition, tombstones included."""
    options = CompactOptions()
    options.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    for rows in folder.glob("**/rows"):
        database = Rdict(str(rows), Options(raw_mode=True))
        database.flush()
        database.compact_range(None, None, options)
        database.close()


def topics_with(kafka: Kafka, marks: set[bytes]) -> set[str]:
    """Return the topics with any of ``marks`` in a record: in its file it may be compressed."""
    client = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "search",
            "isolation.level": "read_uncommitted",
            "enable.partition.eof": True,
        }
    )
    found, unread = set(), set()
    for name, topic in client.list_topics(timeout=20).topics.items():
        unread |= {(name, number) for number in topic.partitions if name[0] != "_"}
    client.assign([TopicPartition(name, number, OFFSET_BEGINNING) for name, number in unread])
    while unread:
        message = client.poll(20)
        assert message is not None
        if message.error() is not None:
            unread.discard((message.topic() or "", message.partition() or 0))
            continue
        headers = b"".join(value or b"" for _, value in message.headers() or [])
        content = (message.key() or b"") + (message.value() or b"") + headers
        if any(mark in content for mark in marks):
            found.add(message.topic() or "")
    client.close()
    return found


def hurry(kafka: Kafka, folder: Path, marks: set[bytes]) -> None:
    """Let the times of all topics pass, and wait until ``marks`` are gone from them.

    A segment is rolled when the next record comes, so some do.
    """
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    topics = {
        name: one for name, one in admin.list_topics(timeout=20).topics.items() if name[0] != "_"
    }
    changes = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                for key, value in SOON.items()
            ],
        )
        for name in topics
    ]
    for done in admin.incremental_alter_configs(changes).values():
        done.result(20)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

    def roll() -> bool:
        for name, topic in topics.items():
            for number in topic.partitions:
                producer.produce(name, key=b"roll", value=b"roll", partition=number)
        assert producer.flush(20) == 0
        time.sleep(1.2)
        return not topics_with(kafka, marks) and not files_with(folder / "kafka", marks)

    until(roll, within=120)


def test_erased_person_is_in_no_file(tmp_path: Path) -> None:
    """Nor is any identifier made from it: in database, log, state and logs, all long after."""
    stack, folder = tmp_path / "stack", tmp_path
    given = datetime.now(TURKEY).replace(microsecond=0) - timedelta(minutes=10)
    with a_stack(folder) as kafka:
        for recipient in (ERASED, KEPT):
            publish(stack, recipient, "ONAY", given)
        until(lambda: is_registered(stack, ERASED, "ONAY"), within=90)
        code, printed = asked(stack, "privacy", "erase", ERASED, "--yes", "--output", "json")
        assert (code, json.loads(printed)[0]["erasable"]) == (1, False)
        publish(stack, ERASED, "RET", given + timedelta(minutes=1))
        until(lambda: is_registered(stack, ERASED, "RET"), within=90)
        until(lambda: is_registered(stack, KEPT, "ONAY"), within=90)
        marks, others = identifiers(stack, ERASED), identifiers(stack, KEPT)
        code, printed = asked(stack, "privacy", "erase", ERASED, "--yes", "--output", "json")
        assert (code, json.loads(printed)[0]["erasable"]) == (0, True)
        until(lambda: state_of(stack, ERASED) is None or not state_of(stack, ERASED), within=60)
        # The old import brings nothing back.
        publish(stack, ERASED, "ONAY", given)
        publish(stack, KEPT, "RET", given + timedelta(minutes=1))
        until(lambda: is_registered(stack, KEPT, "RET"), within=90)
        assert not state_of(stack, ERASED)
        assert len(topics_with(kafka, marks)) >= len(_WITH_PERSONS)
        assert files_with(folder / "postgres", marks)
        url = environment_of(stack)["DATABASE_URL"]
        hurry(kafka, folder, marks)
        assert any(one.endswith("desired-consents") for one in topics_with(kafka, others))
        assert asyncio.run(end_retention(url)) == 0
        rewrite(url)
        until(lambda: not files_with(folder / "postgres", marks), within=60)
    compact(folder / "state")
    assert files_with(folder, marks) == {}
    places = {Path(one).parts[0] for one in files_with(folder, others)}
    assert places >= {"postgres", "state"}
