"""What the ledger knows of a recipient and of brands, asked from the command line."""

import asyncio
import json
import os
import pwd
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import out
from izin.runtime.settings import LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import Changes
from izin.sinks.record.messages import Announcer
from izin.sinks.record.row import Entry
from tests.integration.console.conftest import Izin
from tests.support.builders import BRAND, NOON, PHONE

pytestmark = pytest.mark.database

KEY = f"{BRAND}/MESAJ/BIREYSEL/{PHONE}"


@pytest.fixture
def told_story(ledger: str) -> str:
    """Give a ledger in which a citizen's "no" parks a CRM's "yes"."""
    asyncio.run(_tell())
    return ledger


async def _tell() -> None:
    settings = LedgerSettings()
    await migrate(settings.database_url.get_secret_value())
    later = NOON + timedelta(minutes=5)
    said = {"source": "HS_WEB", "consent_date": NOON, "origin": "crm"}
    async with open_ledger(settings) as ledger:
        changes = Changes(Announcer(Codec(), Topics()), now=later)
        changes.put(None, an_entry())
        changes.note(a_movement("observation", by="push", stream="IYS", source="IYS_WEB"))
        changes.note(a_movement("decision", event=said, reason="newer", opted_out=False))
        async with ledger.transaction() as connection:
            await brands.note_unknown(connection, {BRAND}, now=later)
            await changes.write(connection)


def an_entry() -> Entry:
    """Return a consent that waits for a person."""
    return Entry(
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
        why="reconsent",
        updated_at=NOON,
    )


def a_movement(kind: str, **data: object) -> Movement:
    """Return a fact of the key's history."""
    return Movement(
        kind=kind,
        customer_id="acme",
        key=KEY,
        event_id="event-1",
        status="ONAY" if kind == "decision" else "RET",
        source=f"{kind}/1",
        occurred_at=NOON,
        data=data,
    )


@pytest.mark.parametrize(
    "recipient",
    ["0 (555) 000 00 01", "+90 555 000 0001", KEY, f"{BRAND}/MESAJ/BIREYSEL/0555 000 00 01"],
)
def test_everything_of_a_recipient_is_told_in_any_notation(
    izin: Izin, told_story: str, recipient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How the key stands and what happened, in words and Turkish time, within a hundred columns; a
    command is a line of its own, to be copied whole.
    """
    monkeypatch.setattr(out, "_width", 100)
    shown = izin("explain", recipient)
    assert shown.exit_code == 0
    command = f"izin brands requeue {BRAND} --why reconsent"
    lines = shown.stdout.splitlines()
    (whole,) = [one for one in lines if one.startswith("to go on: ")]
    assert whole.endswith(command)
    assert max(len(one) for one in lines if one != whole) <= 100
    for words in (
        f"{PHONE} · MESAJ · BIREYSEL · brand {BRAND}",
        "waits for a person",
        "İYS stated",
        "by the citizen at İYS",
        "said by crm",
        "02.03.2026 12:05:00",
    ):
        assert words in shown.stdout
    assert shown.stdout.index("said by crm") < shown.stdout.index("by the citizen")
    assert "{" not in shown.stdout


def test_machines_are_told_everything(izin: Izin, told_story: str) -> None:
    """The JSON has every column of the key and every fact with its data."""
    told = json.loads(izin("explain", PHONE, "--output", "json").stdout)
    assert told["standing"][0]["state"] == "parked"
    assert told["standing"][0]["desired_event_id"] == "event-1"
    assert {one["kind"] for one in told["happened"]} == {"decision", "observation"}
    assert all(one["recorded_at"].endswith("+00:00") for one in told["happened"])


async def _owe(phone: str) -> None:
    """Have an opt-out be owed."""
    owed = replace(
        an_entry(),
        key=f"{BRAND}/MESAJ/BIREYSEL/{phone}",
        recipient=phone,
        desired_status="RET",
        registered="UNKNOWN",
        state="pending",
        duty="send",
        why="opt-out",
        due_at=NOON,
    )
    async with open_ledger(LedgerSettings()) as ledger, ledger.transaction() as connection:
        changes = Changes(Announcer(Codec(), Topics()), now=NOON)
        changes.put(None, owed)
        await changes.write(connection)


def test_a_key_that_is_kept_from_iys_says_so(izin: Izin, told_story: str) -> None:
    """Where the brand has no right to write it, for people and machines."""
    izin("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")
    asyncio.run(_owe("+905550000002"))
    asked = ("explain", "0555 000 00 02")
    (stands,) = json.loads(izin(*asked, "--output", "json").stdout)["standing"]
    assert stands["kept"] is None
    izin("brands", "rights", str(BRAND), "--type=ARAMA", "--by=ada", "--yes")
    (stands,) = json.loads(izin(*asked, "--output", "json").stdout)["standing"]
    assert stands["kept"].startswith("kept from İYS since")
    shown = " ".join(izin(*asked).stdout.split())
    assert "kept from İYS since" in shown
    assert "izin brands stops" in shown


def test_nothing_known_and_nothing_readable_are_told_apart(izin: Izin, told_story: str) -> None:
    """A stranger is exit code 1, what is no recipient 3."""
    assert izin("explain", "0555 000 00 99").exit_code == 1
    unreadable = izin("explain", "ada")
    assert unreadable.exit_code == 3
    assert "+905" in unreadable.stderr


def test_brands_are_added_listed_and_corrected(izin: Izin, told_story: str) -> None:
    """Adding again changes, and first tells what records hang on; an instant with an offset is that
    instant.
    """
    words = ("--iys-code=100001", "--customer=acme")
    added = izin("brands", "add", str(BRAND), *words, "--name=One")
    assert added.exit_code == 0, added.output
    assert f"brand {BRAND} is registered" in added.stderr
    change = ("brands", "add", str(BRAND), *words, "--name=Two")
    change = (*change, "--activated-at=2024-01-31T12:00:00+03:00", "--account=ada")
    told = izin(*change)
    assert "active since" in told.stderr
    assert "--yes" in told.stderr
    (one,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert one["name"] == "One"
    assert izin(*change, "--yes").exit_code == 0
    (one,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert one["account"] == "ada"
    assert one["name"] == "Two"
    assert one["activated_at"] == "2024-01-31T09:00:00+00:00"


def test_an_instant_is_turkish_time_as_all_that_is_printed(izin: Izin, told_story: str) -> None:
    """What is read off a table can be typed again, and changes nothing."""
    words = ("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")
    words = (*words, "--activated-at=2024-01-31T12:00")
    assert izin(*words).exit_code == 0
    (one,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert one["activated_at"] == "2024-01-31T09:00:00+00:00"
    assert "31.01.2024 12:00:00" in izin("brands", "list").stdout
    again = izin(*words)
    assert (again.exit_code, "stands so already" in again.stderr) == (0, True)


@pytest.mark.parametrize(
    "words",
    [("try", "7"), ("requeue", "7", "--why", "reconsent"), ("retailers", "7"), ("show", "7")],
    ids=" ".join,
)
def test_a_brand_that_nobody_knows_is_told(
    izin: Izin, told_story: str, words: tuple[str, ...]
) -> None:
    """In the same words, whichever command is asked."""
    told = izin("brands", *words)
    assert told.exit_code == 3
    assert "brand 7 is not registered; see: izin brands add --help" in told.stderr


def test_a_brand_is_shown_with_its_terms_and_rights(izin: Izin, told_story: str) -> None:
    """Exit code 1 where something needs a person, 3 where nobody knows the brand."""
    assert izin("brands", "show", "999").exit_code == 3
    izin("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")
    shown = izin("brands", "show", str(BRAND), "--output", "json")
    rows = {row["what"]: row["stands"] for row in json.loads(shown.stdout)}
    assert rows["brand"] == f"{BRAND} One"
    assert rows["right to MESAJ"] == "write"


def test_a_recipient_is_held_by_each_of_its_keys(izin: Izin, told_story: str) -> None:
    """A hold names keys as the ledger spells them, or it would hold nothing."""
    held = izin("retention", "hold", "acme", "--why=court", "--key", "0555 000 00 01")
    assert (held.exit_code, KEY in held.stderr) == (0, True)
    (hold,) = json.loads(izin("retention", "holds", "--output", "json").stdout)
    assert hold["key"] == KEY


def test_what_waits_for_a_person_is_listed_and_requeued(izin: Izin, told_story: str) -> None:
    """The list names the cure; requeue tells first, acts with --yes, and vouches for consent."""
    izin(
        "brands",
        "add",
        str(BRAND),
        "--iys-code=100001",
        "--customer=acme",
        "--name=One",
        "--activated-at=2020-01-01T00:00:00",
    )
    listed = izin("brands", "parked", "--output", "json")
    assert listed.exit_code == 1
    (one,) = json.loads(listed.stdout)
    assert (one["why"], one["keys"]) == ("reconsent", 1)
    assert "new consent" in one["cure"]
    requeue = ("brands", "requeue", str(BRAND), "--why", "reconsent")
    assert izin("brands", "requeue", str(BRAND), "--why", "quota-spent").exit_code == 3
    assert "--yes" in izin(*requeue).stderr
    assert izin("brands", "parked").exit_code == 1
    assert izin(*requeue, "--by", "ada", "--yes").exit_code == 0
    assert izin("brands", "parked").exit_code == 0
    explained = izin("explain", PHONE, "--output", "json")
    (stands,) = json.loads(explained.stdout)["standing"]
    assert stands["attested"] is True
    assert stands["state"] != "parked"
    assert re.search(r"a person .*requeued reconsent; by ada", izin("explain", PHONE).stdout)


def test_a_requeue_without_a_name_is_the_operating_systems_user(
    izin: Izin, told_story: str
) -> None:
    """Nobody vouches for a consent without a name."""
    izin("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")
    assert izin("brands", "requeue", str(BRAND), "--why=reconsent", "--yes").exit_code == 0
    happened = json.loads(izin("explain", PHONE, "--output", "json").stdout)["happened"]
    (act,) = [one["data"] for one in happened if one["kind"] == "act"]
    assert act["by"] == pwd.getpwuid(os.getuid()).pw_name


def test_nothing_is_stopped_in_a_new_ledger(izin: Izin, told_story: str) -> None:
    """Without a stop the list is empty, and all is well."""
    shown = izin("brands", "stops", "--output", "json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout) == []
