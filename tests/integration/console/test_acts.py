"""Every command that changes the ledger writes who ordered it, with before and after."""

import json
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition

from izin.runtime.kafka import admin, producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.console.conftest import Izin
from tests.integration.console.test_explain import store_history
from tests.support.acts import ACTS
from tests.support.builders import BRAND, PHONE, a_dead_letter, an_event
from tests.support.replay.letters import a_letter_of
from tests.support.webhooks import a_consent, key_of, receiving

pytestmark = [pytest.mark.broker, pytest.mark.database]

OPTED_OUT = "+905550000077"
OPT_OUT = """INSERT INTO consents SELECT (jsonb_populate_record(c, jsonb_build_object(
    'key', replace(c.key, c.recipient, %(other)s), 'recipient', %(other)s, 'desired_status', 'RET',
    'registered', 'RET', 'state', 'accepted', 'action', 'nothing', 'latest_ret_at', now()))).*
    FROM consents AS c"""
REGISTER = ("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")
ORDERS: Mapping[str, tuple[str, ...]] = {
    "customers add": ("customers", "add", "beta", "--name=Beta"),
    "customers change": ("customers", "change", "beta", "--kind=legal", "--vkn=1234567890"),
    "brands add": REGISTER,
    "customers provide": ("customers", "provide", "acme", f"trade-mark:{BRAND}=2019-1"),
    "customers brake": ("customers", "brake", "acme", "--share=5", "--yes"),
    "iys release": ("iys", "release", str(BRAND), "--source=crm", "--reason=right", "--yes"),
    "iys withdraw": ("iys", "withdraw", str(BRAND), "--source=web", "--reason=wrong", "--yes"),
    "iys sweep start": ("iys", "sweep", "start", f"--brand={BRAND}", "--execute"),
    "iys sweep stop": ("iys", "sweep", "stop", f"--brand={BRAND}"),
    "brands rights": ("brands", "rights", str(BRAND), "--type=MESAJ", "--yes"),
    "brands suspend": ("brands", "suspend", str(BRAND), "--reason=complaint", "--yes"),
    "brands resume": ("brands", "resume", str(BRAND), "--yes"),
    "brands retry": ("brands", "retry", str(BRAND)),
    "brands requeue": ("brands", "requeue", str(BRAND), "--plan={requeue}", "--execute"),
    "keys create": ("keys", "create", "shop", "--scope=publish", "--customer=acme"),
    "keys rotate": ("keys", "rotate", "crm"),
    "keys revoke": ("keys", "revoke", "shop", "--execute"),
    "subscribers add": (*("subscribers", "add", "till", "--customer=acme", "--url={hook}"),),
    "subscribers test": ("subscribers", "test", "till"),
    "subscribers pause": ("subscribers", "pause", "till"),
    "subscribers resume": ("subscribers", "resume", "till"),
    "subscribers rotate-secret": ("subscribers", "rotate-secret", "till"),
    "subscribers resend": ("subscribers", "resend", "till", "--since=2026-01-01", "--execute"),
    "dead-letters acknowledge": ("dead-letters", "acknowledge", "0/0", "--reason=seen", "--yes"),
    "dead-letters redrive": (
        *("dead-letters", "redrive", "0/1", "--reason=mended", "--wait=PT0S", "--yes"),
    ),
    "publish": ("publish", "--corrects=0/2", "--source=HS_WEB"),
    "privacy erase": ("privacy", "erase", OPTED_OUT, "--customer=acme", "--yes"),
    "retention set": ("retention", "set", f"{datetime.now(UTC):%Y-%m}", "2099-01-01"),
    "retention hold": ("retention", "hold", "acme", "--reason=court"),
    "retention release": ("retention", "release", "1"),
    "retention drop": ("retention", "drop", "--yes"),
    "sequences close": (
        *("sequences", "close", "--customer=acme", "--origin=crm", "--until=5", "--yes"),
    ),
    "ledger bootstrap": ("ledger", "bootstrap", "--execute"),
    "replay run": ("replay", "run", "{plan}", "--execute"),
    "ledger archive": ("ledger", "archive", "{archive}"),
    "subscribers remove": ("subscribers", "remove", "till", "--execute"),
    "deadlines rule-again": ("deadlines", "rule-again", "--yes"),
    "evidence write": (
        *("evidence", "write", PHONE, f"--brand={BRAND}", "--reason=court", "--out={evidence}"),
    ),
}
"""How each is ordered, in an installation where each has something to change."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the URL of a receiver of webhooks, which the operator allows."""
    monkeypatch.setenv("IZIN_WEBHOOK_ALLOWED", '["127.0.0.0/8"]')
    with receiving() as url:
        yield url


@pytest.fixture
def installation(
    izin: Izin,
    topics: KafkaSettings,
    ledger: str,
    brand: int,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Return a ledger in which a record is parked, a brand suspended, a number missing, a month
    eleven years old, and an API key known; Kafka has dead letters, and a decision that it has
    deleted unread.
    """
    for name in ("IYS_USERNAME", "IYS_PASSWORD"):
        monkeypatch.setenv(name, "fake")
    store_history()
    with psycopg.connect(ledger) as connection:
        connection.execute("INSERT INTO sequences VALUES ('acme', 'crm', 1, 9)")
        connection.execute("INSERT INTO sequence_gaps VALUES ('acme', 'crm', 4, 6, now())")
        connection.execute("SELECT create_month('2001-01-01')")
        connection.execute(OPT_OUT, {"other": OPTED_OUT})
        connection.execute(
            "INSERT INTO api_keys (id, name, secret_hash, scopes, customers, brands, channels,"
            " created_at) VALUES ('0a1b2c3d4e5f-1', 'crm', sha256('fake'), '{ask}', '{acme}', '{}',"
            " '{}', now())"
        )
    writer = producer(topics)
    lane = topics.topics.events.name
    known = [a_letter_of(an_event(source=source), topic=lane) for source in ("HS_WEB", None)]
    for one in (a_dead_letter(), *known):
        letter = Codec().encode("DeadLetter", one)
        writer.produce(topics.topics.dead_letters.name, value=letter, partition=0)
    writer.produce(topics.topics.decisions.name, value=b"deleted", partition=0)
    opt_out = a_consent(77)
    value, key = Codec().encode("Consent", opt_out), key_of(opt_out)
    writer.produce(topics.topics.opt_outs.name, value=value, key=key)
    assert writer.flush(20) == 0
    client, place = admin(topics), TopicPartition(topics.topics.decisions.name, 0, 1)
    client.delete_records([place])[place].result(20)
    return ledger


@pytest.fixture
def plan(izin: Izin, installation: str, tmp_path: Path) -> str:
    """Return the file of a plan that can be executed."""
    assert installation
    path = str(tmp_path / "plan.json")
    words = ("replay", "rebuild", "desired-consents", "--plan", path, "--workers=1")
    assert izin(*words).exit_code == 0
    return path


def acts(ledger: str) -> list[dict[str, Any]]:
    """Return every act in the history, in order."""
    with psycopg.connect(ledger) as connection:
        rows = connection.execute(
            "SELECT data FROM movements WHERE kind = 'act' ORDER BY recorded_at, place"
        ).fetchall()
    return [row[0] for row in rows]


def suspend(ledger: str) -> None:
    """Have the brand suspended, as İYS would cause it."""
    with psycopg.connect(ledger) as connection:
        connection.execute(
            "INSERT INTO suspensions"
            " (brand_code, channel, status, customer_id, code, reason, since, recheck_at)"
            " VALUES (%s, '*', '*', 'acme', 'H077', 'closed', now(), %s)",
            [BRAND, datetime.now(UTC) + timedelta(hours=1)],
        )


def trip(ledger: str) -> None:
    """Have a brake tripped by two sources of the brand, of which nothing is left to hold back."""
    with psycopg.connect(ledger) as connection:
        connection.execute(
            "INSERT INTO brakes"
            " (customer_id, brand_code, source, tripped_at, keys, opted_in, share)"
            " SELECT 'acme', %s, s, now(), 101, 1000, 5 FROM unnest(ARRAY['crm', 'web']) AS s",
            [BRAND],
        )


def test_each_changing_command_is_a_movement_with_its_actor(
    izin: Izin, installation: str, hook: str, plan: str, tmp_path: Path
) -> None:
    """One after the other: each adds the movement of its name, and the chain of hashes holds."""
    assert ORDERS.keys() == ACTS.keys()
    requeue = tmp_path / "requeue.json"
    for name, words in ORDERS.items():
        if name == "brands retry":
            suspend(installation)
        if name == "customers brake":
            trip(installation)
        if name == "brands requeue":
            listed = ("--reason=reconsent", f"--recipient={PHONE}", f"--plan={requeue}")
            assert izin("brands", "requeue", str(BRAND), *listed).exit_code == 0
        before = len(acts(installation))
        places = {"hook": hook, "plan": plan, "archive": tmp_path / "archive"}
        places |= {"evidence": tmp_path / "evidence.zip", "requeue": requeue}
        done = izin(*(word.format(**places) for word in words), "--by", "ada")
        assert done.exit_code == 0, (name, done.stderr)
        written = acts(installation)[before:]
        assert {(act["act"], act["by"]) for act in written} == {(ACTS[name], "ada")}
        assert all(act["before"] != act["after"] for act in written)
    assert izin("ledger", "verify").exit_code == 0
    words = " ".join(izin("explain", PHONE).stdout.replace("│", " ").split())
    for shown in (
        "add brand (by ada)",
        "change rights (by ada); rights: ARAMA MESAJ EPOSTA -> MESAJ",
        "retry suspension */* (by ada)",
        "requeue (by ada); state: parked -> ",
        "place legal hold 1 (by ada); reason: court",
        "release legal hold 1 (by ada); reason: court -> none",
    ):
        assert shown in words


def test_changed_brand_has_the_fields_that_changed(
    izin: Izin, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after; the actor is IZIN_ACTOR, or else the system's user and machine."""
    assert izin(*REGISTER).exit_code == 0
    assert acts(installation)[-1]["by"].endswith(f"@{socket.gethostname()}")
    monkeypatch.setenv("IZIN_ACTOR", "ada@example.com")
    assert izin(*REGISTER, "--stopped", "--yes").exit_code == 0
    act = acts(installation)[-1]
    assert (act["act"], act["by"]) == ("change brand", "ada@example.com")
    assert (act["before"], act["after"]) == ({"status": "active"}, {"status": "stopped"})
    shown = json.loads(izin("explain", PHONE, "--output", "json").stdout)["history"]
    assert shown[-1]["data"] == act
    assert izin(*REGISTER, "--stopped", "--yes").exit_code == 0
    act = acts(installation)[-1]
    assert (act["act"], act["before"], act["after"]) == ("recompute terms", {}, {})


def test_quota_that_a_person_declares_raised_is_a_movement(
    izin: Izin, installation: str, tmp_path: Path
) -> None:
    """Requeueing what a spent quota parked also ends the suspension of new consents."""
    izin(*REGISTER)
    with psycopg.connect(installation) as connection:
        connection.execute("UPDATE consents SET reason = 'quota-spent'")
        connection.execute(
            "INSERT INTO suspensions"
            " (brand_code, channel, status, customer_id, code, reason, since, recheck_at)"
            " VALUES (%s, '*', 'ONAY', 'acme', 'H200', 'quota', now(), now())",
            [BRAND],
        )
    order = ("brands", "requeue", str(BRAND), f"--plan={tmp_path / 'requeue.json'}")
    assert izin(*order, "--reason=quota-spent", "--all=1").exit_code == 0
    assert izin(*order, "--by=ada", "--execute").exit_code == 0
    found = {one["act"]: one for one in acts(installation)}
    assert found["end suspension */ONAY"]["before"]["code"] == "H200"
    assert found["end suspension */ONAY"]["by"] == found["requeue"]["by"] == "ada"


def test_without_a_name_an_actor_is_demanded(
    izin: Izin, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user number without a name says nobody: wrong usage, and nothing is changed."""
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    shown = izin(*REGISTER)
    assert (shown.exit_code, "IZIN_ACTOR" in shown.stderr) == (2, True)
    assert acts(installation) == []
    assert izin(*REGISTER, "--by", "ada").exit_code == 0
