"""Every command that changes the ledger writes who ordered it, with before and after; every one
that shows people, who looked.
"""

import hashlib
import json
import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.kafka.bounded_reader import read_all
from izin.kafka.clients import codec
from izin.reconcile import comparing
from izin.runtime.settings import KafkaSettings
from tests.integration.cli.conftest import Izin, acts, ended, execute
from tests.integration.cli.test_dead_letters import plant
from tests.integration.cli.test_explain import REGISTER, store_history
from tests.integration.sinks.sink_harness import set_environment
from tests.support.acts import ACTS, LOOKS
from tests.support.builders import BRAND, PHONE, a_dead_letter, an_event
from tests.support.published import produce, remove_below
from tests.support.replay.dead_letters import a_letter_of
from tests.support.secret_keys import key_setting
from tests.support.webhooks import TopicWriter, a_consent, receiving

pytestmark = [pytest.mark.broker, pytest.mark.database]

OPTED_OUT = "+905550000077"
OPT_OUT = """INSERT INTO consents SELECT (jsonb_populate_record(c, jsonb_build_object(
    'key', replace(c.key, c.recipient, %s::text), 'recipient', %s::text, 'desired_status', 'RET',
    'registered', 'RET', 'state', 'accepted', 'action', 'nothing', 'latest_ret_at', now()))).*
    FROM consents AS c"""
ROWS = """INSERT INTO sequences VALUES ('acme', 'crm', 1, 9);
    INSERT INTO sequence_gaps VALUES ('acme', 'crm', 4, 6, now());
    SELECT create_month('2001-01-01');
    INSERT INTO api_keys (id, name, secret_hash, scopes, customers, brands, channels, created_at)
    VALUES ('0a1b2c3d4e5f-1', 'crm', sha256('fake'), '{ask}', '{acme}', '{}', '{}', now())"""
SUSPENDED = """INSERT INTO suspensions
    (brand_code, channel, status, customer_id, code, reason, since, recheck_at)
    VALUES (%s, '*', %s, 'acme', %s, 'closed', now(), now() + interval '1 hour')"""
TRIPPED = """INSERT INTO brakes (customer_id, brand_code, source, tripped_at, keys, opted_in, share)
    SELECT 'acme', %s, s, now(), 101, 1000, 5 FROM unnest(ARRAY['crm', 'web']) AS s"""
"""A suspension of two sources, of which nothing is left to hold back."""
ORDERS: Mapping[str, tuple[str, ...]] = {
    "customers add": ("customers", "add", "beta", "--name=Beta"),
    "customers change": ("customers", "change", "beta", "--kind=legal", "--vkn=1234567890"),
    "brands add": REGISTER,
    "customers checklist": ("customers", "checklist", "acme", f"trade-mark:{BRAND}=2019-1"),
    "held-back limit": ("held-back", "limit", "acme", "--share=5", "--execute"),
    "held-back release": (
        "held-back",
        "release",
        str(BRAND),
        "--origin=crm",
        "--reason=right",
        "--execute",
    ),
    "held-back withdraw": (
        "held-back",
        "withdraw",
        str(BRAND),
        "--origin=web",
        "--reason=wrong",
        "--execute",
    ),
    "iys sweep start": ("iys", "sweep", "start", f"--brand={BRAND}", "--execute"),
    "iys sweep stop": ("iys", "sweep", "stop", f"--brand={BRAND}"),
    "brands rights": ("brands", "rights", str(BRAND), "--type=MESAJ", "--execute"),
    "brands suspend": ("brands", "suspend", str(BRAND), "--reason=complaint", "--execute"),
    "brands resume": ("brands", "resume", str(BRAND), "--execute"),
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
    "subscribers cancel-resend": ("subscribers", "cancel-resend", "till"),
    "dead-letters acknowledge": (
        "dead-letters",
        "acknowledge",
        "0/0",
        "--reason=seen",
        "--execute",
    ),
    "dead-letters redrive": (
        *("dead-letters", "redrive", "0/1", "--reason=repaired", "--wait=PT0S", "--execute"),
    ),
    "publish": ("publish", "--corrects=0/2", "--source=HS_WEB"),
    "privacy erase": ("privacy", "erase", OPTED_OUT, "--customer=acme", "--execute"),
    "retention set": ("retention", "set", f"{datetime.now(UTC):%Y-%m}", "2099-01-01"),
    "retention hold": ("retention", "hold", "acme", "--reason=court"),
    "retention release": ("retention", "release", "1"),
    "retention drop": ("retention", "drop", "--execute"),
    "sequences close": (
        *("sequences", "close", "--customer=acme", "--origin=crm", "--up-to=5", "--execute"),
    ),
    "ledger bootstrap": ("ledger", "bootstrap", "--execute"),
    "replay run": ("replay", "run", "{plan}", "--execute"),
    "ledger archive": ("ledger", "archive", "{archive}"),
    "ledger encrypt-secrets": ("ledger", "encrypt-secrets", "--execute"),
    "subscribers remove": ("subscribers", "remove", "till", "--execute"),
    "deadlines recount-terms": ("deadlines", "recount-terms", "--execute"),
    "evidence write": (
        *("evidence", "write", PHONE, f"--brand={BRAND}", "--reason=court", "--out={evidence}"),
    ),
}
"""How each is ordered, in an installation where each has something to change."""
STRANGER = "+905550009999"
LOOKING: Mapping[str, tuple[str, ...]] = {
    "explain": ("explain", PHONE),
    "evidence write": ORDERS["evidence write"],
    "privacy export": ("privacy", "export", PHONE),
    "privacy erase": ("privacy", "erase", OPTED_OUT, "--customer=acme"),
    "complaints show": ("complaints", "show", "1"),
    "retention holds": ("retention", "holds"),
    "brands retailers": ("brands", "retailers", str(BRAND)),
    "brands requeue": (
        *(
            "brands",
            "requeue",
            str(BRAND),
            "--because=reconsent",
            "--exactly=1",
            "--plan={requeue}",
        ),
    ),
    "deadlines opt-outs": ("deadlines", "opt-outs", str(BRAND), "--out={opt_outs}"),
    "deadlines breaches": ("deadlines", "breaches", "--output=json"),
    "worklist": ("worklist", "--unmasked"),
    "subscribers compare": (
        *("subscribers", "compare", "{list}", f"--brand={BRAND}", "--type=MESAJ"),
    ),
    "customers void-consents": ("customers", "void-consents", "acme", "--out={void}"),
    "import changes": ("import", "changes", "0" * 64, "--output=json"),
    "reconcile": ("reconcile", f"--brand={BRAND}"),
    "dead-letters show": ("dead-letters", "show", "0/1", "--unmasked"),
    "replay rebuild": (
        *("replay", "rebuild", "desired-consents", "--plan={plan}", "--processes=1", "--unmasked"),
    ),
    "replay run": ("replay", "run", "{plan}", "--unmasked"),
    "replay show": ("replay", "show", "{plan}", "--unmasked"),
    "replay what-if": (
        *("replay", "what-if", "--out={what_if}", "--closed-day=2026-05-18", "--unmasked"),
    ),
}
"""How each shows people in that installation; of ``iys daily show``, which needs a daily file,
``tests/integration/sinks/inbound/test_daily.py`` tells.
"""


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
    set_environment(monkeypatch, {"IYS_USERNAME": "fake", "IYS_PASSWORD": "fake"})
    store_history()
    execute(ledger, OPT_OUT, OPTED_OUT, OPTED_OUT)
    execute(ledger, ROWS)
    lane, decisions = topics.topics.events.name, topics.topics.decisions.name
    known = [a_letter_of(an_event(source=source), topic=lane) for source in ("HS_WEB", None)]
    plant(topics, a_dead_letter(), *known)
    produce(topics, decisions, b"deleted", partition=0)
    TopicWriter(topics).opt_outs(a_consent(77))
    remove_below(topics, decisions, {0: 1})
    return ledger


@pytest.fixture
def plan(izin: Izin, installation: str, tmp_path: Path) -> str:
    """Return the file of a plan that can be executed."""
    path = str(tmp_path / "plan.json")
    words = ("replay", "rebuild", "desired-consents", "--plan", path, "--processes=1")
    assert izin(*words).exit_code == 0
    return path


def test_each_changing_command_is_a_movement_with_its_actor(  # noqa: PLR0917  # fixtures
    izin: Izin,
    installation: str,
    hook: str,
    plan: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One after the other: each adds the entry of its name, and the chain of hashes holds."""
    assert ORDERS.keys() == ACTS.keys()
    requeue = tmp_path / "requeue.json"
    for name, words in ORDERS.items():
        if name == "brands retry":
            execute(installation, SUSPENDED, BRAND, "*", "H077")
        if name == "ledger encrypt-secrets":
            monkeypatch.setenv("IZIN_SECRET_KEYS", key_setting(1))
        if name == "held-back limit":
            execute(installation, TRIPPED, BRAND)
        if name == "brands requeue":
            listed = ("--because=reconsent", f"--recipient={PHONE}", f"--plan={requeue}")
            assert izin("brands", "requeue", str(BRAND), *listed).exit_code == 0
        before = len(acts(installation))
        places = {"hook": hook, "plan": plan, "archive": tmp_path / "archive"}
        places |= {"evidence": tmp_path / "evidence.zip", "requeue": requeue}
        ended(izin(*(word.format(**places) for word in words), "--by", "ada"), 0)
        written = [one for one in acts(installation)[before:] if one["act"] != "look"]
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


def test_each_look_at_people_is_in_the_history_with_its_actor(
    izin: Izin, installation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing was found; nobody is named by it, but by a digest under a secret."""
    monkeypatch.setenv("IZIN_SUPPRESSION_SECRETS", json.dumps(["fake" * 8]))
    monkeypatch.setattr(comparing, "_BEHIND_FOR", timedelta(0))  # the decision of which it says so
    assert LOOKING.keys() | {"iys daily show", "iys retailers list"} == LOOKS.keys()
    assert izin(*REGISTER).exit_code == 0
    add = ("complaints", "add", PHONE, f"--brand={BRAND}", "--type=MESAJ", "--sender=ACME")
    assert izin(*add, "--sent=2026-03-02T12:00", "--content=Indirim").exit_code == 0
    places = {name: tmp_path / name for name in ("requeue", "opt_outs", "void", "plan", "what_if")}
    places |= {"evidence": tmp_path / "evidence.zip", "list": tmp_path / "list.csv"}
    places["list"].write_text("phone\n", "utf-8")
    for name, words in LOOKING.items():
        before = len(acts(installation))
        done = izin(*(word.format(**places) for word in words), "--by", "ada")
        assert done.exit_code in {0, 1} or "1 decisions behind" in done.stderr, (name, done.stderr)
        assert "not in the history" not in done.stderr, name
        looks = [one for one in acts(installation)[before:] if one["act"] == "look"]
        assert [(one["by"], one["after"]) for one in looks] == [("ada", {"command": name})], name
    assert izin("ledger", "verify").exit_code == 0


def test_look_at_a_stranger_stores_no_recipient(
    izin: Izin, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at somebody of whom nothing is known leaves neither a number nor a hash of it that
    others can compute; without a secret not even a digest. Who has the secret sees who looked.
    """
    for words in (("explain", STRANGER), ("privacy", "export", STRANGER)):
        assert izin(*words, "--by=ada").exit_code in {1, 3}
    assert [row["key"] for row in looks_of(installation)] == ["person/unnamed"] * 2
    monkeypatch.setenv("IZIN_SUPPRESSION_SECRETS", json.dumps(["fake" * 8]))
    for one in (STRANGER, PHONE, f"{BRAND}/MESAJ/BIREYSEL/{PHONE}"):
        assert izin("explain", one, "--by=ada").exit_code == (one == STRANGER)
    *_, stranger, known, by_key = looks_of(installation)
    assert stranger["key"] != known["key"] == by_key["key"]
    for text in (STRANGER, STRANGER[1:], STRANGER[3:]):
        hashes = [hashlib.new(how, text.encode()) for how in ("md5", "sha1", "sha256", "blake2b")]
        for traces in (text, *(one.hexdigest()[:32] for one in hashes)):
            assert traces not in str(looks_of(installation))
    monkeypatch.setenv("IZIN_SUPPRESSION_SECRETS", json.dumps(["newer" * 8, "fake" * 8]))
    shown = izin("explain", PHONE, "--by=bob").stdout
    assert "who looked at the recipient" in shown
    assert (shown.count("look (by ada)"), shown.count("look (by bob)")) == (2, 1)
    cut = izin("explain", PHONE, "--customer=acme", "--by=eve").stdout
    assert ("look (by eve)" in cut, "look (by ada)" in cut) == (True, False)


def test_look_in_a_ledger_that_takes_no_writes_is_shown(izin: Izin, installation: str) -> None:
    """What it shows is not hidden from an operator, who reads that the look is not recorded."""
    execute(
        installation,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',"
        " current_database()); END $$",
    )
    for words in (("explain", PHONE), ("privacy", "export", PHONE)):
        shown = ended(izin(*words), 0)
        assert PHONE[-7:] in shown.stdout
        assert "this look is not in the history" in shown.stderr
    assert looks_of(installation) == []


def test_published_event_has_its_actor_by_the_same_option(
    izin: Izin, brand: int, topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By --by, else IZIN_ACTOR, else the system's user, with or without --corrects."""
    words = ("publish", f"--brand={brand}", "--type=MESAJ", "--source=HS_WEB", "--status=RET")
    assert izin(*words, f"--recipient={PHONE}", "--by=ada").exit_code == 0
    monkeypatch.setenv("IZIN_ACTOR", "bob@example.com")
    assert izin(*words, f"--recipient={OPTED_OUT}").exit_code == 0
    monkeypatch.delenv("IZIN_ACTOR")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    assert izin(*words, f"--recipient={STRANGER}").exit_code == 0
    found = [
        record.value
        for topic in (topics.topics.events, topics.topics.express)
        for record in read_all(topics, codec(topics), topic)
    ]
    actors = {one["recipient"]: one["actor"] for one in found}
    assert actors == {PHONE: "ada", OPTED_OUT: "bob@example.com", STRANGER: None}


def looks_of(ledger: str) -> list[dict[str, Any]]:
    """Return each look in the history, whole."""
    looks = (
        "SELECT jsonb_build_object('key', key, 'all', history) FROM history WHERE kind = 'act'"
        " AND data ->> 'act' = 'look' ORDER BY recorded_at, place"
    )
    return [look for (look,) in execute(ledger, looks)]


def test_changed_brand_has_the_fields_that_changed(
    izin: Izin, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after; the actor is IZIN_ACTOR, or else the system's user and machine."""
    assert izin(*REGISTER).exit_code == 0
    user = pwd.getpwuid(os.getuid()).pw_name
    assert acts(installation)[-1]["by"] == f"{user}@{socket.gethostname()}"
    monkeypatch.setenv("IZIN_ACTOR", "ada@example.com")
    assert izin(*REGISTER, "--stopped", "--execute").exit_code == 0
    act = acts(installation)[-1]
    assert (act["act"], act["by"]) == ("change brand", "ada@example.com")
    assert (act["before"], act["after"]) == ({"status": "active"}, {"status": "stopped"})
    shown = json.loads(izin("explain", PHONE, "--output", "json").stdout)["history"]
    assert shown[-1]["data"] == act
    assert izin(*REGISTER, "--stopped", "--execute").exit_code == 0
    act = acts(installation)[-1]
    assert (act["act"], act["before"], act["after"]) == ("recompute terms", {}, {})


def test_quota_that_a_person_declares_raised_is_a_movement(
    izin: Izin, installation: str, tmp_path: Path
) -> None:
    """Requeueing what a spent quota parked also ends the suspension of new consents."""
    izin(*REGISTER)
    execute(installation, "UPDATE consents SET reason = 'quota-spent'")
    execute(installation, SUSPENDED, BRAND, "ONAY", "H200")
    order = ("brands", "requeue", str(BRAND), f"--plan={tmp_path / 'requeue.json'}")
    assert izin(*order, "--because=quota-spent", "--exactly=1").exit_code == 0
    assert izin(*order, "--by=ada", "--execute").exit_code == 0
    found = {one["act"]: one for one in acts(installation)}
    assert found["end suspension */ONAY"]["before"]["code"] == "H200"
    assert found["end suspension */ONAY"]["by"] == found["requeue"]["by"] == "ada"


def test_without_a_name_an_actor_is_demanded(
    izin: Izin, installation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user number without a name says nobody: wrong usage, and nothing is changed."""
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    ended(izin(*REGISTER), 2, "IZIN_ACTOR")
    assert acts(installation) == []
    assert izin(*REGISTER, "--by", "ada").exit_code == 0
