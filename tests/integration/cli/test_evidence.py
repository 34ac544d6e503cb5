"""``izin evidence``, ``izin complaints`` and ``izin report``, on a real ledger and topic."""

import asyncio
import json
import shlex
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import psycopg
import pytest

from izin.cli.deadlines import shown
from izin.cli.terminal import out
from izin.cli.terminal.ledger_session import open_ledger
from izin.evidence.rows import EvidenceRow
from izin.ledger.db.migrate import migrate
from izin.ledger.history import Fact, append
from izin.ledger.record import TopicMessages
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.integration.cli.conftest import Izin, ended
from tests.integration.cli.test_acts import acts
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import CUSTOMER, NOON, PHONE
from tests.support.evidence.archives import KEY, MINUTE, a_history
from tests.support.published import produce
from tests.support.registration import register_brand

pytestmark = [pytest.mark.broker, pytest.mark.database]

PAGE = (Path(__file__).parents[3] / "docs" / "complaints.md").read_text("utf-8")
COMMANDS = [shlex.split(line)[1:] for line in PAGE.splitlines() if line.startswith("izin ")]
COMPLAINT, EVIDENCE = COMMANDS[:2]


@pytest.fixture
def known(topics: KafkaSettings, ledger: str) -> str:
    """Return a ledger with the history of a consent that a citizen ended at İYS an hour ago."""
    assert topics.topics.anchors
    asyncio.run(_store())
    return ledger


async def _store() -> None:
    settings = LedgerSettings()
    await migrate(settings.database_url.get_secret_value())
    now, moved = datetime.now(UTC), datetime.now(UTC) - NOON - 61 * MINUTE
    async with open_ledger(settings) as ledger:
        await register_brand(ledger, TopicMessages(Codec(), Topics()), ACTIVE, now=now)
        async with ledger.transaction() as connection:
            facts = [_fact(row, moved) for row in a_history()]
            await append.append_facts(connection, facts, now=now)


def _fact(row: EvidenceRow, moved: timedelta) -> Fact:
    columns, decision = row.columns, row.decision
    data = None if columns.data is None else orjson.dumps(columns.data)
    at = columns.occurred + int(moved / timedelta(microseconds=1))
    fields = (columns.event_id, columns.status, columns.source, at, data, decision)
    return Fact(columns.kind, CUSTOMER, columns.key, *fields)


def relay(ledger: str, topics: KafkaSettings) -> None:
    """Publish the anchors of the outbox, as a sink worker does."""
    topic = topics.topics.anchors.name
    with psycopg.connect(ledger) as connection:
        rows = connection.execute("SELECT key, value FROM outbox WHERE topic = %s", [topic])
        for key, value in rows.fetchall():
            produce(topics, topic, bytes(value), key=key)


def test_page_is_run_from_the_complaint_to_the_proof(
    izin: Izin,
    known: str,
    topics: KafkaSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each command of docs/complaints.md, in its order; then what was written is wrong usage."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(out, "_width", 80)
    monkeypatch.setenv("IZIN_ACTOR", "ada")
    said = {}
    for words in COMMANDS:
        if words[:2] == ["evidence", "anchors"]:
            relay(known, topics)
        done = ended(izin(*words), int(words[:2] == ["complaints", "list"]))
        said[" ".join(words[:2])] = done
    assert stat.S_IMODE(Path("evidence.zip").stat().st_mode) == 0o600
    listed = said["complaints list"].stdout
    assert "overdue" in listed
    assert (PHONE in listed, "+90***01" in listed) == (False, True)
    assert max(map(len, listed.splitlines())) <= 80
    assert PHONE in said["complaints show"].stdout
    assert "no faults" in said["evidence verify"].stderr
    written = [(act["act"], act["by"]) for act in acts(known) if act["by"] == "ada"]
    looks = [one for one in written if one[0] == "look"]
    assert len(looks) == len(("evidence write", "complaints show"))
    others = [what for what, _ in written if what != "look"]
    assert [what for what in others if "brand" not in what and "customer" not in what] == [
        *("place legal hold 1", "place legal hold 2", "add complaint"),
        *("export evidence", "export evidence", "attach evidence"),
        *("release legal hold 1", "release legal hold 2", "close complaint"),
    ]
    assert izin("ledger", "verify").exit_code == 0
    for words, code, why in (
        (EVIDENCE, 3, "evidence.zip exists; name a new file"),
        (("evidence", "anchors", "anchors.jsonl"), 3, "name a new file"),
        (("evidence", "verify", "evidence.zip"), 1, "bring anchors"),
        (("evidence", "verify", "anchors.jsonl"), 1, "does not end as one does"),
        (("complaints", "close", "1", "--outcome=fined"), 3, "complaint 1 is closed"),
        (("complaints", "attach", "1", "anchors.jsonl"), 3, "anchors.jsonl: "),
        (("complaints", "show", "9"), 3, "there is no complaint 9"),
        ((*EVIDENCE[:-1], "other.zip", "--brand=7"), 3, "brand 7 is not registered"),
        (("evidence", KEY, *EVIDENCE[2:-1], "other.zip"), 3, "name the recipient alone"),
        (("evidence", "write", "0555 000 00 09", *EVIDENCE[2:-1], "o.zip"), 3, "has nothing of"),
    ):
        done = ended(izin(*words), code, why)
    assert izin("complaints", "add", "0555 000 00 09", *COMPLAINT[3:]).exit_code == 0
    assert "of another recipient" in izin("complaints", "attach", "2", "evidence.zip").stderr
    assert izin("complaints", "close", "2", "--outcome=withdrawn").exit_code == 0
    assert json.loads(izin("complaints", "list", "--output=json").stdout) == []


def test_latency_is_printed_by_path_and_leg(
    izin: Izin, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns for people, in seconds for programs; only since the given time."""
    monkeypatch.setattr(out, "_width", 80)
    assert known
    done = ended(izin("report", "latency", "--since=24h"), 0)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "1.0 s" in done.stdout
    printed = json.loads(izin("report", "latency", "--since=P1D", "--output=json").stdout)
    (received,) = [one for one in printed["latencies"] if one["leg"] == "received"]
    assert (received["path"], received["changes"], received["p99"]) == ("push", 1, 1.0)
    later = izin("report", "latency", "--since=2099-01-01", "--brand=100001", "--output=json")
    assert json.loads(later.stdout)["latencies"] == []
    assert izin("report", "latency", "--since=long").exit_code == 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.24, "240 ms"), (3.21, "3.2 s"), (750, "12.5 min"), (108_000, "30.0 h"), (-0.5, "-500 ms")],
)
def test_durations_are_short_for_people(seconds: float, words: str) -> None:
    """İYS's dates are whole seconds, so that one may be below 0."""
    assert shown(seconds) == words
