"""``izin up`` on servers of its own, and what tests ask of it.

Its broker deletes at once. A person is erased, and looked for in every file once nothing retains
the data. Processes that it leaves running are found.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
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
from rocksdict import (
    BottommostLevelCompaction,
    CompactOptions,
    Options,
    Rdict,
)
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.consent import TURKEY
from izin.ledger import retention
from izin.ledger.db import Ledger
from izin.ledger.history import verify
from izin.ledger.privacy import erasure
from izin.runtime.settings import LedgerSettings
from tests.support.waiting import until

QUICK = ("--result-delay=1", "--hidden-window=1")
"""İYS answers sooner than in a run by hand."""
ENDED_WITHIN = 90
ROWS = "rows"
"""The folder of the order worker's state, in the stack's."""
ROOT = Path(__file__).parents[2]
GIVEN_SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SCHEMA_REGISTRY_URL")
ERASED, KEPT = "05550000021", "05550000022"
ORDER = "order-of-the-erased"
"""On which a message to the erased person rests."""
CONTENT = "message-to-the-erased"
"""About which the erased person complained."""
_WITH_PERSONS = (
    "consent-events",
    "consent-events-express",
    "desired-consents",
    "consent-decisions",
    "consent-opt-outs",
    "permissions",
    "consent-outcomes",
    "gate-receipts",
)
SOON = {
    "retention.ms": "200",
    "segment.ms": "200",
    "max.compaction.lag.ms": "200",
    "min.compaction.lag.ms": "0",
    "min.cleanable.dirty.ratio": "0.0",
    "delete.retention.ms": "0",
    "file.delete.delay.ms": "100",
}
"""The times of topics, in place of days."""


def izin(*words: str, module: str = "izin.cli", **environment: str) -> subprocess.Popen[str]:
    """Start ``izin`` with these arguments; ``environment`` is added to ours."""
    ours = {name: value for name, value in os.environ.items() if name not in GIVEN_SERVERS}
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**ours, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind(folder: Path) -> Iterator[str]:
    """Yield each process that still runs and whose command or environment names ``folder``."""
    mark = str(folder).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if mark in known and process.name != str(os.getpid()):
            yield process.name


def wait_for(process: subprocess.Popen[str]) -> None:
    """Return once ``izin up`` says that everything runs; fail the test if it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        if "izin explain" in line:
            return
    pytest.fail(f"izin up ended: {process.communicate()[1]}")


@contextmanager
def a_stack(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``izin up`` until the block ends, also after a failure."""
    # In the environment, for our workers inherit it: so those that are left behind are found.
    process = izin(
        *("up", "--any-ports", *QUICK, *words),
        module="tests.e2e.hurried_izin",
        IZIN_STATE_DIR=str(folder),
        IZIN_STATE="rocksdb",
        IZIN_STATE_FOLDER=str(folder / ROWS),
    )
    try:
        wait_for(process)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=ENDED_WITHIN)


def environment_of(folder: Path) -> dict[str, str]:
    """Return the stack's settings, as its file has them."""
    lines = (folder / "environment").read_text("utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    return {name: value.strip("'") for name, value in settings.items()}


def asked(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command with the stack's settings, in this process; return exit code and output."""
    ran = CliRunner().invoke(app, words, env=environment_of(folder))
    return ran.exit_code, ran.stdout


def in_ledger(folder: Path, recipient: str) -> tuple[str, str] | None:
    """Return what İYS holds for a recipient and the state of that, None where there is no row, or
    no answer.

    It is what tests poll: a command for each look would take the time that the workers need.
    """
    query = "SELECT registered, state FROM consents WHERE recipient = %s"
    try:
        with psycopg.connect(environment_of(folder)["DATABASE_URL"]) as connection:
            row = connection.execute(query, [f"+9{re.sub(r'[^0-9]', '', recipient)}"]).fetchone()
    except psycopg.OperationalError:
        return None
    return None if row is None else (row[0], row[1])


def publish(stack: Path, recipient: str, status: str = "ONAY", *more: str) -> None:
    """Publish a consent."""
    words = ("--brand=100001", "--type=MESAJ", "--source=HS_WEB", *more)
    done = asked(stack, "publish", *words, f"--recipient={recipient}", f"--status={status}")
    assert done[0] == 0, done


def state_of(stack: Path, recipient: str) -> dict[str, Any] | None:
    """Return the state of a recipient's key, None where it has none."""
    code, printed = asked(stack, "privacy", "export", recipient)
    return json.loads(printed)["keys"][0]["state"] if code == 0 else None


def await_registered(
    stack: Path, recipient: str, status: str = "ONAY", *, within: float = 90
) -> None:
    """Return once İYS has a consent, and ``izin explain`` says so."""
    until(lambda: in_ledger(stack, recipient) == (status, "accepted"), within=within)
    assert is_registered(stack, recipient)


def is_registered(stack: Path, recipient: str) -> bool:
    """Return whether ``izin explain`` says that İYS has the consent that was published."""
    code, printed = asked(stack, "explain", recipient, "--output", "json")
    return code == 0 and json.loads(printed)["keys"][0]["state"] == "accepted"


def ask_gate(stack: Path, recipient: str, order: str) -> None:
    """Ask the gate about a recipient, and await the receipt of its answer in the history."""
    words = ("--brand=100001", "--type=MESAJ", "--class=delivery", f"--basis={order}")
    assert asked(stack, "may-send", recipient, *words)[0] == 0
    until(lambda: order in asked(stack, "privacy", "export", recipient)[1], within=60)


def complain(stack: Path, recipient: str) -> None:
    """Enter a complaint of a recipient, and close it."""
    message = ("--sent=2026-03-02T12:30", "--sender=ORNEK", f"--content={CONTENT}")
    words = ("--brand=100001", "--type=MESAJ", *message)
    assert asked(stack, "complaints", "add", recipient, *words)[0] == 0
    assert CONTENT in asked(stack, "privacy", "export", recipient)[1]
    # That of the quick starts is open, too.
    with psycopg.connect(environment_of(stack)["DATABASE_URL"]) as connection:
        found = connection.execute("SELECT id FROM complaints WHERE content = %s", [CONTENT])
        ((number,),) = found.fetchall()
    assert asked(stack, "complaints", "close", str(number), "--outcome=justified")[0] == 0


def identifiers(stack: Path, recipient: str) -> set[bytes]:
    """Return what is made from a recipient, of all that is known of it."""
    facts = json.loads(asked(stack, "privacy", "export", recipient)[1])["keys"][0]["history"]
    events = {fact["event_id"] for fact in facts if fact["event_id"]}
    return {recipient.lstrip("0").encode(), *(one.encode() for one in events)}


def files(folder: Path) -> Iterator[Path]:
    """Return every file of ours: not the simulator's, for that is İYS."""
    found = folder.rglob("*")
    return (path for path in found if path.is_file() and "simulator" not in path.parts)


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


def rewrite_until_none(url: str, folder: Path, marks: set[bytes]) -> None:
    """Have PostgreSQL write its files anew until none has any of ``marks``; fail the test with
    those that still have. It keeps a dead row while a transaction lasts that may have seen it.
    """
    limit = time.monotonic() + 60
    rewrite(url)
    while found := files_with(folder, marks):
        assert time.monotonic() < limit, found
        rewrite(url)


async def end_retention(url: str) -> int:
    """Do what a sink worker will do in many years; return how many faults the history has."""
    later = datetime.now(UTC) + timedelta(days=366 * 11)
    async with Ledger(LedgerSettings.model_validate({"DATABASE_URL": url}), owner=99) as ledger:
        assert await erasure.erase_history(ledger, now=later) > 0
        await retention.delete_expired(ledger, now=later)
        return len((await verify.verify(ledger, ())).faults)


def rewrite(url: str) -> None:
    """Have PostgreSQL write its tables, indexes and log anew, as it does in the course of time."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (FULL, ANALYZE)")
        # Statistics of before the erasure have samples of columns; they were replaced just now.
        connection.execute("VACUUM FULL pg_statistic")
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


Partition = tuple[str, int]


def topics_with(servers: str, marks: set[bytes]) -> set[str]:
    """Return the topics with any of ``marks`` in a record."""
    return {topic for topic, _ in partitions_with(servers, marks)}


def partitions_with(servers: str, marks: set[bytes]) -> set[Partition]:
    """Return the partitions with any of ``marks`` in a record: in its file it may be compressed."""
    client = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "search",
            "isolation.level": "read_uncommitted",
            "enable.partition.eof": True,
        }
    )
    found: set[Partition] = set()
    unread = {
        (name, number)
        for name, topic in client.list_topics(timeout=20).topics.items()
        for number in topic.partitions
        if name[0] != "_"
    }
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
            found.add((message.topic() or "", message.partition() or 0))
    client.close()
    return found


def partitions_of(names: Iterable[str]) -> set[Partition]:
    """Return the partitions whose files have such names in the folder of a broker."""
    folders = {Path(name).parent.name.rpartition("-") for name in names}
    return {(topic, int(number)) for topic, _, number in folders if number.isdigit()}


def hurry(servers: str, folder: Path, marks: set[bytes]) -> None:
    """Let the times of all topics pass, and wait until ``marks`` are gone from them.

    A segment is rolled when the next record comes, so some do, where anything is left.
    """
    admin = AdminClient({"bootstrap.servers": servers})
    topics = [name for name in admin.list_topics(timeout=20).topics if name[0] != "_"]
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
    producer = Producer({"bootstrap.servers": servers})

    limit = time.monotonic() + 120
    while True:
        read, stored = partitions_with(servers, marks), files_with(folder / "kafka", marks)
        if not read and not stored:
            return
        assert time.monotonic() < limit, (read, stored)
        for name, number in read | partitions_of(stored):
            producer.produce(name, key=b"roll", value=b"roll", partition=number)
        assert producer.flush(20) == 0
        time.sleep(0.4)  # a segment and its records are older than the times above


def delivered(url: str, recipient: str) -> int:
    """Return how many events about a recipient the subscriber took."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM deliveries WHERE key LIKE %s", [f"%{recipient[1:]}"]
        ).fetchone()
    return 0 if row is None else int(row[0])


def erase_and_wait(stack: Path, hook: str) -> tuple[set[bytes], set[bytes]]:
    """Erase a person of whom there is a consent, a refusal, a receipt, a complaint and webhooks to
    ``hook``; return once no retention keeps it, what the person and what another is known by.
    """
    given = datetime.now(TURKEY).replace(microsecond=0) - timedelta(minutes=10)
    settings = environment_of(stack)
    url, servers = settings["DATABASE_URL"], settings["KAFKA_BOOTSTRAP_SERVERS"]
    with psycopg.connect(url, autocommit=True) as connection:
        # A segment of the log that is used again has what it had before.
        connection.execute("ALTER SYSTEM SET wal_recycle = off")
        connection.execute("SELECT pg_reload_conf()")
    words = ("--customer=acme", f"--url={hook}")
    assert asked(stack, "subscribers", "add", "crm", *words)[0] == 0
    for recipient in (ERASED, KEPT):
        publish(stack, recipient, "ONAY", f"--date={given.isoformat()}", f"--reference={recipient}")
    await_registered(stack, ERASED, "ONAY")
    assert not is_erased(stack)
    later = f"--date={(given + timedelta(minutes=1)).isoformat()}"
    publish(stack, ERASED, "RET", later, f"--reference=RET-{ERASED}")
    await_registered(stack, ERASED, "RET")
    await_registered(stack, KEPT, "ONAY")
    ask_gate(stack, ERASED, ORDER)
    complain(stack, ERASED)
    marks, others = identifiers(stack, ERASED), identifiers(stack, KEPT)
    marks |= {ORDER.encode(), CONTENT.encode()}
    assert is_erased(stack)
    until(lambda: in_ledger(stack, ERASED) is None, within=60)
    assert not state_of(stack, ERASED)
    # The old import brings nothing back.
    publish(stack, ERASED, "ONAY", f"--date={given.isoformat()}", f"--reference={ERASED}")
    publish(stack, KEPT, "RET", later)
    await_registered(stack, KEPT, "RET")
    assert not state_of(stack, ERASED)
    prefix = settings["IZIN_TOPIC_PREFIX"]
    assert topics_with(servers, marks) >= {f"{prefix}{one}" for one in _WITH_PERSONS}
    assert files_with(stack / "postgres", marks)
    until(lambda: delivered(url, ERASED) > delivered(url, KEPT) > 0, within=60)
    hurry(servers, stack, marks)
    assert any(one.endswith("desired-consents") for one in topics_with(servers, others))
    assert asyncio.run(end_retention(url)) == 0
    rewrite_until_none(url, stack / "postgres", marks)
    return marks, others


def is_erased(stack: Path) -> bool:
    """Have the person erased; return whether that was possible, for nothing was due to İYS."""
    words = ("--all-customers", "--execute", "--output", "json")
    code, printed = asked(stack, "privacy", "erase", ERASED, *words)
    is_erasable = json.loads(printed)[0]["erasable"]
    assert code == int(not is_erasable)
    return bool(is_erasable)


def assert_in_no_file(stack: Path, erased: set[bytes], kept: set[bytes]) -> None:
    """Assert that no file of a stack that has ended has anything of ``erased``: database, log,
    state and logs. What is kept of others is found there.
    """
    compact(stack / ROWS)
    assert files_with(stack, erased) == {}
    assert "postgres" in {Path(one).parts[0] for one in files_with(stack, kept)}
    # A block may be compressed: what is in it is not found by its bytes.
    rows = state_in(stack / ROWS)
    assert [mark for mark in erased if mark in rows] == []
    assert [mark for mark in kept if mark in rows] != []


def state_in(folder: Path) -> bytes:
    """Return every key and value of the state of each partition, one after the other."""
    found = b""
    for rows in folder.glob("**/rows"):
        database = Rdict(str(rows), Options(raw_mode=True))
        found += b"".join(key + value for key, value in database.items())
        database.close()
    return found
