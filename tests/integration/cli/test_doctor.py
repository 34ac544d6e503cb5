"""The doctor on real servers: it finds faults, and corrects those that it may correct.

Reading a topic from beginning to end, and topics that are missing.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from izin.cli.doctor import faults
from izin.cli.doctor.finding import created_at_any_time, restored_by
from izin.kafka.bounded_reader import read_all
from izin.kafka.clients import codec, consumer, missing_topics
from izin.ledger.db import migrate
from izin.local import free_port
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.streams.ownership import Positions
from izin.streams.ownership.positions import key_of
from tests.contract.schemas.test_topics import set_of_topic
from tests.integration.cli.conftest import Izin, ended, execute
from tests.integration.sinks.sink_harness import set_environment
from tests.support.builders import a_dead_letter
from tests.support.published import delete_topics, produce
from tests.support.secure import running
from tests.support.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.database]

GAP = """INSERT INTO sequences VALUES ('acme', 'crm', 1, 9);
    INSERT INTO sequence_gaps VALUES ('acme', 'crm', 4, 6, now())"""


def checked(izin: Izin, *options: str) -> tuple[int, list[Mapping[str, str]]]:
    """Return the exit code and the findings."""
    shown = izin("doctor", "--output", "json", *options)
    return shown.exit_code, json.loads(shown.stdout)


def states(findings: list[Mapping[str, str]]) -> set[tuple[str, str]]:
    """Return each check with its state."""
    return {(one["check"], one["state"]) for one in findings}


def test_doctor_fix_completes_an_empty_installation(
    izin: Izin, broker: KafkaSettings, ledger: str
) -> None:
    """What is missing is named with its remedy; --fix creates it; afterwards all is ok."""
    code, findings = checked(izin)
    assert code == 1
    assert {("topics", "wrong"), ("migrations", "wrong"), ("broker", "ok")} <= states(findings)
    assert any("izin doctor --fix" in one["what"] for one in findings)
    code, findings = checked(izin, "--fix", "--no-running")
    assert code == 0, findings
    assert {("topics", "fixed"), ("migrations", "fixed"), ("topics", "ok")} <= states(findings)
    code, findings = checked(izin, "--no-running")
    assert code == 0
    assert {state for _, state in states(findings)} <= {"ok", "skipped"}
    by_check = {one["check"]: one["what"] for one in findings}
    assert "no authorizer" in by_check["acls"], "a local stack needs none"


def test_doctor_says_what_a_migration_ends_before_it_runs(
    izin: Izin, broker: KafkaSettings, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of a ledger that has read another Kafka, where to read on."""
    folder = tmp_path / "migrations"
    shutil.copytree(str(migrate.FOLDER), folder)
    (folder / "0099_end.sql").write_text("-- Ends the way back to 0.2.0: it is a test.\nSELECT 1;")
    monkeypatch.setattr(migrate, "FOLDER", folder)
    said = {one["check"]: one["what"] for one in checked(izin)[1]}["migrations"]
    assert "; 0099_end ends the way back to 0.2.0: it is a test.; run: izin doctor" in said
    izin("doctor", "--fix", "--no-running")
    with psycopg.connect(ledger, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO kafka_offsets (topic, partition, cluster_id, topic_id, next_offset)"
            " VALUES (%s, 0, 'gone', 'gone', 7)",
            [broker.topics.decisions.name],
        )
    wrong = [one["what"] for one in checked(izin)[1] if one["check"] == "sink"]
    assert any("Kafka is lost" in one for one in wrong), wrong


def test_doctor_names_the_role_that_a_login_lacks(
    izin: Izin, broker: KafkaSettings, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may read no table, the migrations among them: that is not what there is to correct."""
    assert ("roles", "ok") in states(checked(izin)[1]), "whoever will make the tables owns them"
    izin("doctor", "--fix", "--no-running")
    name = f"stranger-{uuid4().hex[:12]}"
    make = "CREATE ROLE {} LOGIN PASSWORD 'obviously-fake'"
    with psycopg.connect(ledger, autocommit=True) as owner:
        owner.execute(sql.SQL(make).format(sql.Identifier(name)))
    login = f"//{name}:obviously-fake@{ledger.rpartition('@')[2]}"
    monkeypatch.setenv("DATABASE_URL", f"postgresql:{login}")
    found = {one["check"]: one for one in checked(izin)[1]}
    assert (found["roles"]["state"], found["migrations"]["state"]) == ("wrong", "wrong")
    assert f"{name} is in none of the roles" in found["roles"]["what"]
    assert "deploy/postgres/roles.sql" in found["roles"]["what"]


def test_doctor_fix_corrects_a_topic_setting(
    izin: Izin, topics: KafkaSettings, ledger: str
) -> None:
    """A state topic that deletes by time would lose consents: it is named, and corrected."""
    name = topics.topics.desired_consents.name
    set_of_topic(topics, name, "cleanup.policy", "delete")
    code, findings = checked(izin)
    assert code == 1
    faults = [one["what"] for one in findings if one["check"] == "topics"]
    assert any(name in one and "cleanup.policy" in one for one in faults)
    _, findings = checked(izin, "--fix")
    assert ("topics", "fixed") in states(findings)
    assert ("topics", "ok") in states(checked(izin)[1])


def test_doctor_fix_creates_no_lost_state_beneath_a_worker(
    izin: Izin, topics: KafkaSettings, ledger: str
) -> None:
    """Order workers would decide every event again; what restores it is named instead."""
    names = topics.topics
    produce(topics, names.positions.name, b"once decided", key=key_of(0), partition=0)
    izin("doctor", "--fix")
    lost = (names.desired_consents.name, names.permissions.name, names.outcomes.name)
    delete_topics(topics, *lost)
    until(lambda: {*lost} == {*missing_topics(topics)}, within=20)

    def fixed(*options: str) -> str:
        found = checked(izin, *options)[1]
        return "".join(one["what"] for one in found if one["check"] == "topics")

    with running_workers(topics, ledger):
        said = fixed("--fix", "--no-running")
    assert {*missing_topics(topics)} == {*lost[:2]}
    for part in ("stop every order", "rebuild desired-consents", "izin ledger republish"):
        assert part in said
    assert "rebuild desired-consents" in fixed("--fix")
    assert {*missing_topics(topics)} == {*lost[:2]}, "one may be about to start again"
    assert "before they start: izin replay rebuild desired-consents" in fixed(
        "--fix", "--no-running"
    )
    assert missing_topics(topics) == ()


def test_every_topic_may_be_created_or_says_how_it_is_restored() -> None:
    """A topic that is new is on one of the two lists."""
    topics = Topics()
    free = [one.name for one in created_at_any_time(topics)]
    assert sorted([*free, *restored_by(topics)]) == sorted(one.name for one in topics)


def test_doctor_fix_never_changes_a_partition_count(
    izin: Izin, topics: KafkaSettings, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another number is wrong, with or without --fix: it is fixed for life."""
    monkeypatch.setenv("IZIN_PARTITIONS", "5")
    for options in ((), ("--fix",)):
        code, findings = checked(izin, *options)
        assert code == 1
        assert any(one["check"] == "topics" and "5" in one["what"] for one in findings)


def test_doctor_checks_deadlines_once_there_is_a_ledger(
    izin: Izin, broker: KafkaSettings, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tables there is nothing to check; with empty ones, nothing is late."""
    given = {"IYS_USERNAME": "ada", "IYS_PASSWORD": "fake", "IYS_BASE_URL": "http://127.0.0.1:9"}
    set_environment(monkeypatch, given)
    assert ("deadlines", "skipped") in states(checked(izin)[1])
    found = {one["check"]: (one["state"], one["what"]) for one in checked(izin, "--fix")[1]}
    assert found["deadlines"] == ("ok", "0 records to send, all in time at 5000 a second")
    assert found["memory"][1].startswith("0 MB of consents,")
    assert found["sequences"] == ("ok", "no origin that numbers its events misses one")


def test_sequences_close_acts_with_yes_only(izin: Izin, broker: KafkaSettings, ledger: str) -> None:
    """Where nothing is missing the list is empty, and nothing can be closed."""
    izin("doctor", "--fix")
    assert json.loads(ended(izin("sequences", "list", "--output", "json"), 0).stdout) == []
    named = ("--customer", "acme", "--origin", "crm", "--up-to", "5")
    assert izin("sequences", "close", *named).exit_code == 3
    execute(ledger, GAP)
    assert "2 numbers" in izin("sequences", "close", *named).stderr
    assert izin("sequences", "close", *named, "--execute").exit_code == 0
    assert izin("sequences", "close", *named).exit_code == 3


def test_doctor_finds_that_no_worker_runs(
    izin: Izin, topics: KafkaSettings, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits and nothing runs: each worker is named with the command that starts it."""
    izin("doctor", "--fix")
    ports = [f"IZIN_{endpoint}_PORT" for endpoint in ("INTAKE", "FEEDS", "GATE")]
    set_environment(monkeypatch, dict.fromkeys(ports, str(free_port())))
    code, findings = checked(izin)
    assert code == 1
    missing = {one["check"]: one["what"] for one in findings if one["state"] == "wrong"}
    for worker in ("order", "sink", "intake", "feeds", "gate"):
        assert f"izin {worker}" in missing[worker]
    with running_workers(topics, ledger), an_endpoint() as port:
        set_environment(monkeypatch, dict.fromkeys(ports, str(port)))
        by_check = {one["check"]: one for one in checked(izin)[1]}
    assert by_check["order"]["what"] == "1 runs; no events wait to be read"
    assert by_check["sink"]["what"] == "1 runs; no decisions and receipts wait to be read"
    for endpoint in ("intake", "feeds", "gate"):
        assert (by_check[endpoint]["state"], by_check[endpoint]["what"]) == (
            "ok",
            f"http://127.0.0.1:{port} is ready",
        )


@contextmanager
def running_workers(topics: KafkaSettings, ledger: str) -> Iterator[None]:
    """Have a sink worker's sign of life in the ledger, and a member in the order workers' group."""
    member = consumer(topics, StreamSettings().group(topics))
    member.subscribe([topics.topics.express.name])
    with psycopg.connect(ledger, autocommit=True) as living:
        living.execute("INSERT INTO processes VALUES ('7', 1) ON CONFLICT DO NOTHING")
        living.execute("SELECT pg_advisory_lock(29541, 7)")
        until(lambda: member.poll(0.1) is None and bool(member.assignment()), within=30)
        try:
            yield
        finally:
            member.close()


@contextmanager
def an_endpoint() -> Iterator[int]:
    """Serve the answers of a process that is ready; yield its port."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health/ready" else 404)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Ready)
    with running(server):
        yield server.server_port


def written_then(topics: KafkaSettings, topic: str, *values: bytes, **more: Any) -> None:  # noqa: ANN401  # of any kind
    """Write a record whose own instant counts, as if it had been appended then."""
    set_of_topic(topics, topic, "message.timestamp.type", "CreateTime")
    produce(topics, topic, *values, **more)
    set_of_topic(topics, topic, "message.timestamp.type", "LogAppendTime")


def test_doctor_finds_idle_workers_and_dead_letters(
    izin: Izin, topics: KafkaSettings, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records unread for minutes are wrong while workers run, too; a fresh decision is not, and an
    opt-out is where nobody decides meanwhile.

    Once the workers are at the ends, all is ok again.
    """
    monkeypatch.setattr(faults, "DECIDED_WITHIN", timedelta(seconds=1))
    izin("doctor", "--fix")
    names = topics.topics
    old = int((datetime.now(UTC) - timedelta(minutes=20)).timestamp() * 1000)
    letter = Codec().encode("DeadLetter", a_dead_letter())
    produce(topics, names.decisions.name, b"read by nobody", key=b"k", partition=1)
    written_then(topics, names.dead_letters.name, letter, timestamp=old - 2 * 86_400_000)
    produce(topics, names.dead_letters.name, letter)
    produce(topics, names.express.name, b"read by nobody", key=b"k", partition=0)
    with running_workers(topics, ledger):
        _, findings = checked(izin)
    by_check = {one["check"]: one for one in findings}
    assert (by_check["sink"]["state"], by_check["order"]["state"]) == ("ok", "wrong")
    assert "nobody decides the opt-outs that wait in partition 0" in by_check["order"]["what"]
    assert by_check["sink"]["what"].startswith(
        "1 runs; about 1 decisions and receipts are not read"
    )
    assert by_check["order"]["what"].startswith("1 runs; about 1 events are not read")
    assert by_check["dead-letters"]["state"] == "wrong"
    assert by_check["dead-letters"]["what"].startswith("1 ")
    written_then(topics, names.decisions.name, b"older", key=b"k", partition=0, timestamp=old)
    (sink,) = [one["what"] for one in checked(izin)[1] if one["check"] == "sink"]
    assert re.match("none runs.*izin sink.*20 minutes ago", sink)
    execute(
        ledger,
        "INSERT INTO kafka_offsets (topic, partition, cluster_id, topic_id, next_offset)"
        " SELECT %s, n, 'c', 't', 1 FROM generate_series(0, 1) AS n",
        names.decisions.name,
    )
    positions = Positions(
        cluster_id="c",
        events_topic_id="t",
        express_topic_id="t",
        desired_consents_topic_id="t",
        express_offset=1,
    )
    produce(topics, names.positions.name, positions.encode(Codec()), key=key_of(0), partition=0)
    with running_workers(topics, ledger):
        by_check = {one["check"]: one for one in checked(izin)[1]}
    assert by_check["sink"]["what"] == "1 runs; no decisions and receipts wait to be read"
    assert by_check["order"]["what"] == "1 runs; no events wait to be read"


def test_commands_for_a_missing_topic_name_the_remedy(izin: Izin, broker: KafkaSettings) -> None:
    """No command waits for the end of a topic that does not exist."""
    printed = ended(izin("dead-letters"), 4)
    name = broker.topics.dead_letters.name
    assert f"topic {name} does not exist; run: izin up" in printed.stderr
    ended(izin("ledger", "verify"), 4, f"topic {broker.topics.anchors.name} does not exist")


def test_read_all_reads_the_partitions_there_are(
    topics: KafkaSettings, izin: Izin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wrong IZIN_PARTITIONS reading still ends; the doctor reports the setting."""
    monkeypatch.setenv("IZIN_PARTITIONS", "7")
    wrong = KafkaSettings()
    assert list(read_all(wrong, codec(wrong), wrong.topics.desired_consents)) == []
    assert izin("dead-letters", "--output", "json").stdout.strip() == "[]"
