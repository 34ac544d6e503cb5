"""The commands that show what the ledger has about a recipient and about brands.

``izin evidence``, ``izin complaints`` and ``izin report``, on a real ledger and topic.
"""

import asyncio
import io
import json
import shlex
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from izin.cli.deadlines import shown
from izin.cli.terminal import out
from izin.cli.terminal.ledger_session import open_ledger
from izin.consent import decide
from izin.evidence.rows import EvidenceRow
from izin.ledger import brands
from izin.ledger.db import microseconds
from izin.ledger.db.migrate import migrate
from izin.ledger.history import Fact, HistoryEntry, append, append_facts, decided, entries_of
from izin.ledger.record import ConsentRow, TopicMessages
from izin.ledger.unit_of_work import unit_of_work
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.integration.cli.conftest import Izin, acts, ended, execute
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    an_admitted_event,
)
from tests.support.evidence.archives import MINUTE, a_history
from tests.support.published import a_decision_receipt, a_receipt, produce
from tests.support.registration import register_brand

pytestmark = [pytest.mark.broker, pytest.mark.database]

KEY = f"{BRAND}/MESAJ/BIREYSEL/{PHONE}"
OTHER = "+905550000002"
REGISTER = ("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")


@pytest.fixture
def stored_history(ledger: str) -> str:
    """Return a ledger in which a citizen's opt-out parks the opt-in of a CRM."""
    store_history()
    return ledger


async def _store() -> None:
    settings = LedgerSettings()
    await migrate(settings.database_url.get_secret_value())
    later = NOON + timedelta(minutes=5)
    admitted = an_admitted_event(
        event_id="event-1", source="HS_WEB", consent_date=NOON, origin="crm", recipient=PHONE
    )
    record = a_decision_record(decide(None, admitted))
    decision = decided("acme", KEY, microseconds(NOON), Codec().encode("Decision", record))
    messages = TopicMessages(Codec(), Topics())
    observed = HistoryEntry(
        kind="observation",
        customer_id="acme",
        key=KEY,
        event_id="event-1",
        status="RET",
        source="observation/1",
        occurred_at=NOON,
        data={"by": "push", "stream": "IYS", "source": "IYS_WEB"},
    )
    async with open_ledger(settings) as ledger:
        async with unit_of_work(ledger, messages, later) as changes:
            await changes.connection.execute("INSERT INTO customers VALUES ('acme', 'Acme', now())")
            await brands.note_unknown(changes.connection, {BRAND}, now=later)
            changes.put(None, an_entry())
            changes.add_entry(observed)
        async with ledger.transaction() as connection:
            await append_facts(connection, [decision], now=later)


def an_entry() -> ConsentRow:
    """Return a consent that waits for a person."""
    return ConsentRow(
        key=KEY,
        customer_id="acme",
        brand_code=BRAND,
        channel="MESAJ",
        recipient_type="BIREYSEL",
        recipient=PHONE,
        desired_status="ONAY",
        desired_at=NOON,
        desired_event_id="event-1",
        registered="RET",
        state="parked",
        reason="reconsent",
        updated_at=NOON,
    )


def store_history() -> None:
    """Migrate the ledger of the environment, and store that history in it."""
    asyncio.run(_store())


def test_explain_says_in_turkish_what_is_to_be_done(izin: Izin, stored_history: str) -> None:
    """With what is to be typed, as in English: a screen of the console is of no use here."""
    shown = ended(izin("explain", "0555 000 00 01", "--language", "tr"), 0).stdout
    (whole,) = [one for one in shown.splitlines() if one.startswith("çare: ")]
    assert whole.startswith("çare: alıcı ret tarihinden sonra")
    assert f"izin brands requeue {BRAND} --because reconsent" in whole
    assert all(one in shown for one in ("marka 100001", "ne zaman (Türkiye)", "ayrıntı"))


@pytest.mark.parametrize(
    "recipient",
    ["0 (555) 000 00 01", "+90 555 000 0001", KEY, f"{BRAND}/MESAJ/BIREYSEL/0555 000 00 01"],
)
def test_explain_in_any_notation_prints_everything(
    izin: Izin, stored_history: str, recipient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State and history, in words and Turkish time, within 100 columns; a command is a line of its
    own, to be copied whole.
    """
    monkeypatch.setattr(out, "_width", 100)
    shown = ended(izin("explain", recipient), 0)
    command = (
        f"izin brands requeue {BRAND} --because reconsent --recipient {KEY} --plan requeue.json"
    )
    lines = shown.stdout.splitlines()
    (whole,) = [one for one in lines if one.startswith("remedy: ")]
    assert whole.endswith(command)
    assert max(len(one) for one in lines if one != whole) <= 100
    for words in (
        f"{PHONE} · MESAJ · BIREYSEL · brand {BRAND}",
        "needs a person",
        "movement at İYS",
        "by the citizen at İYS",
        "from crm",
        "02.03.2026 12:05:00",
    ):
        assert words in shown.stdout
    assert shown.stdout.index("from crm") < shown.stdout.index("by the citizen")
    assert "{" not in shown.stdout


def test_explain_as_json_has_every_column_and_fact(izin: Izin, stored_history: str) -> None:
    """The JSON has every column of the key and every fact with its data."""
    printed = json.loads(izin("explain", PHONE, "--output", "json").stdout)
    assert printed["keys"][0]["state"] == "parked"
    assert printed["keys"][0]["desired_event_id"] == "event-1"
    assert {one["kind"] for one in printed["history"]} == {"decision", "observation"}
    assert all(one["recorded_at"].endswith("+00:00") for one in printed["history"])


def test_explain_unknown_exits_1_and_unreadable_3(izin: Izin, stored_history: str) -> None:
    """An unknown recipient is exit code 1, an unreadable one 3."""
    assert izin("explain", "0555 000 00 99").exit_code == 1
    ended(izin("explain", "ada"), 3, "+905")


@pytest.mark.usefixtures("stored_history")
def test_what_is_not_read_yet_is_said(izin: Izin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an opt-out that waits in Kafka looks like one that never came."""
    for name in ("IYS_USERNAME", "IYS_PASSWORD"):
        monkeypatch.setenv(name, "fake")
    for words in (("explain", PHONE), ("explain", OTHER), ("deadlines", "show")):
        assert "No sink worker runs" in izin(*words).stderr
    for words in (("explain", PHONE), ("deadlines", "show")):
        found = json.loads(izin(*words, "--output", "json").stdout)
        assert found["unread"].startswith("No sink worker runs")


def test_brands_add_again_changes_the_brand(izin: Izin, stored_history: str) -> None:
    """Adding again changes; what affects records is printed first. An offset is taken as given;
    what is copied from a table can be typed again, and changes nothing.
    """
    ended(izin(*REGISTER), 0, f"brand {BRAND} is registered")
    change = (*REGISTER[:-1], "--name=Two", "--account=ada")
    ended(izin(*change, "--activated-at=2024-01-31T12:00:00+03:00"), 0, "active since", "--execute")
    (one,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert one["name"] == "One"
    assert izin(*change, "--activated-at=2024-01-31T12:00:00+03:00", "--execute").exit_code == 0
    (one,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert (one["account"], one["name"]) == ("ada", "Two")
    assert one["activated_at"] == "2024-01-31T09:00:00+00:00"
    assert "31.01.2024 12:00:00" in izin("brands", "list").stdout
    ended(izin(*change, "--activated-at=2024-01-31T12:00"), 0, "is unchanged")


@pytest.mark.parametrize(
    "words",
    [
        ("retry", "7"),
        ("requeue", "7", "--because=reconsent", "--exactly=1", "--plan=plan.json"),
        ("retailers", "7"),
        ("show", "7"),
        ("rights", "7", "--none"),
    ],
    ids=" ".join,
)
def test_brands_command_for_an_unknown_brand_exits_3(
    izin: Izin, stored_history: str, words: tuple[str, ...]
) -> None:
    """The message is the same for every command."""
    ended(izin("brands", *words), 3, "brand 7 is not registered; see: izin brands add --help")


def store_parked(izin: Izin, phone: str) -> None:
    """Register the brand, and store the opt-in of another that is parked for the same reason."""
    izin(*REGISTER, "--activated-at=2020-01-01T00:00:00")
    asyncio.run(_store_entry(replace(an_entry(), key=KEY.replace(PHONE, phone), recipient=phone)))


async def _store_entry(entry: ConsentRow) -> None:
    messages = TopicMessages(Codec(), Topics())
    async with (
        open_ledger(LedgerSettings()) as ledger,
        unit_of_work(ledger, messages, NOON) as changes,
    ):
        changes.put(None, entry)


def states(izin: Izin, *phones: str) -> list[tuple[str, bool]]:
    """Return the state of each recipient, and whether a person vouches for its consent."""
    shown = [json.loads(izin("explain", one, "--output", "json").stdout) for one in phones]
    return [(one["state"], one["attested"]) for found in shown for one in found["keys"]]


def printed(text: str, start: str) -> list[str]:
    """Return the words of the one command that begins with ``start``, as it is printed."""
    (line,) = [one for one in text.splitlines() if start in one]
    return shlex.split(line[line.index(start) :])[1:]


def test_remedy_of_one_person_attests_no_other(
    izin: Izin, stored_history: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed for one parked person, followed as printed, leaves the others of the brand
    parked, and those that were parked since.
    """
    monkeypatch.chdir(tmp_path)
    store_parked(izin, OTHER)
    remedy = printed(izin("explain", PHONE).stdout, "izin brands requeue")
    store_parked(izin, "+905550000003")
    planned = ended(izin(*remedy), 0)
    assert (KEY in planned.stdout, OTHER in planned.stdout) == (True, False)
    assert states(izin, PHONE) == [("parked", False)]
    execute = printed(planned.stderr, "izin brands requeue")
    assert izin(*execute, "--by", "ada").exit_code == 0
    assert states(izin, PHONE, OTHER, "+905550000003") == [
        ("pending", True),
        ("parked", False),
        ("parked", False),
    ]
    words = " ".join(izin("explain", PHONE).stdout.replace("│", " ").split())
    for said in ("requeue (by ada); state: parked ->", "reason: reconsent ->", "add brand (by "):
        assert said in words
    ended(izin(*execute), 1, "1 of them changed")


def test_requeue_of_a_brand_needs_its_exact_count(
    izin: Izin, stored_history: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list prints it; what was parked after the plan, or has changed since, is left out."""
    plan = str(tmp_path / "requeue.json")
    store_parked(izin, OTHER)
    (one,) = json.loads(ended(izin("brands", "parked", "--output", "json"), 1).stdout)
    assert (one["reason"], one["keys"]) == ("reconsent", 2)
    words = ["brands", "requeue", str(BRAND), "--because", "reconsent", "--exactly", "2", "--plan"]
    assert printed(one["remedy"], "izin brands requeue") == [*words, "requeue.json"]
    requeue = ("brands", "requeue", str(BRAND))
    for wrong in (
        ("--because=quota-spent", "--exactly=1"),
        ("--because=reconsent", "--exactly=1"),
        ("--because=reconsent", "--recipient=+905550000009"),
    ):
        assert izin(*requeue, *wrong, "--plan", plan).exit_code == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    ended(
        izin(*requeue, "--because=reconsent", "--recipient=-", "--plan", plan), 3, "0 such records"
    )
    assert izin(*words, plan).exit_code == 0
    store_parked(izin, "+905550000003")
    changed = "UPDATE consents SET updated_at = now() WHERE recipient = %s"
    execute(stored_history, changed, OTHER)
    ended(izin("brands", "requeue", "7", "--plan", plan, "--execute"), 3, "has the plan of")
    ended(izin(*requeue, "--plan", plan, "--execute"), 1, "1 records of brand 100001 were requeued")
    assert states(izin, PHONE, OTHER, "+905550000003") == [
        ("pending", True),
        ("parked", False),
        ("parked", False),
    ]


@pytest.mark.usefixtures("stored_history")
def test_receipt_is_shown_by_its_id_and_by_its_recipient(
    izin: Izin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked as a whole, and the answer for one; also where the gate alone was asked."""
    monkeypatch.setattr(out, "_width", 300)
    asyncio.run(_store_receipts())
    receipt_id = a_receipt()["receipt_id"]
    shown = ended(izin("receipts", "show", receipt_id), 0)
    for words in ("spring", "1 opted-out, 1 registered", "campaigns", "02.03.2026"):
        assert words in shown.stdout
    printed = json.loads(izin("receipts", "show", receipt_id, "--output", "json").stdout)
    assert (printed["receipt_id"], printed["customer"]) == (receipt_id, "acme")
    assert (printed["reasons"], printed["as_of"]) == (a_receipt()["reasons"], a_receipt()["as_of"])
    for recipient in (PHONE, KEY.replace(PHONE, "+905550000009"), "+905550000009"):
        answer = " ".join(izin("explain", recipient).stdout.split())
        assert "asked for campaign spring, delivery by campaigns" in answer
        assert "answer yes: information that needs no consent" in answer
    ended(izin("receipts", "show", "019d1f5e-0000-7000-8000-000000000099"), 3, "no receipt")


async def _store_receipts() -> None:
    receipts = [
        a_receipt(),
        a_decision_receipt(2),
        a_decision_receipt(3, recipient="+905550000009"),
    ]
    entries = [one for receipt in receipts for one in entries_of(receipt)]
    async with open_ledger(LedgerSettings()) as ledger, ledger.transaction() as connection:
        await append.append(connection, entries, now=NOON + timedelta(minutes=9))


PAGE = (Path(__file__).parents[3] / "docs" / "complaints.md").read_text("utf-8")
COMMANDS = [
    shlex.split(line, comments=True)[1:] for line in PAGE.splitlines() if line.startswith("izin ")
]
COMPLAINT, EVIDENCE = COMMANDS[:2]


@pytest.fixture
def known(topics: KafkaSettings, ledger: str) -> str:
    """Return a ledger with the history of a consent that a citizen ended at İYS an hour ago."""
    asyncio.run(_store_ended())
    return ledger


async def _store_ended() -> None:
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
    for key, value in execute(ledger, "SELECT key, value FROM outbox WHERE topic = %s", topic):
        produce(topics, topic, value, key=key)


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
        *("place legal hold 1", "add complaint"),
        *("export evidence", "attach evidence"),
        *("release legal hold 1", "close complaint"),
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
