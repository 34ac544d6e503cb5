"""What waits for a person always comes with what that person does."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.consent.model import Channel
from izin.console.brands.command import changes, described
from izin.console.brands.parked import CURES, cure_of, cure_of_parked
from izin.console.brands.rights import changes as rights_changes
from izin.console.cli import app
from izin.sinks.ledger.brands import Brand
from izin.sinks.ledger.reads import Count
from izin.sinks.ledger.suspensions import Stop
from tests.support.builders import BRAND, CUSTOMER, NOON

SINKS = Path(__file__).parents[3] / "izin" / "sinks"
RUNNER = CliRunner()


def test_each_reason_for_parking_has_a_cure() -> None:
    """No reason that the sinks give is unknown to ``izin brands parked``."""
    given = {
        reason
        for path in SINKS.rglob("*.py")
        for reason in re.findall(r"parked\(\w+, \"([a-z-]+)\"", path.read_text("utf-8"))
    }
    assert given
    assert given <= set(CURES)


SOON = ("--activated-at", "soon")


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "0", "--iys-code", "1", "--customer", "acme", "--name", "Örnek"],
        ["add", "1", "--iys-code", "0", "--customer", "acme", "--name", "Örnek"],
        ["add", "1", "--iys-code", "1", "--customer", "acme", "--name", "Örnek", "--activated-at"],
        [*("add", "1", "--iys-code", "1", "--customer", "acme"), "--name", ""],
        [*("add", "1", "--iys-code", "1", "--name", "Örnek"), "--customer", " "],
        [*("add", "1", "--iys-code", "1", "--customer", "acme", "--name", "x"), *SOON],
        ["requeue", "1"],
        ["rights", "1"],
        ["rights", "1", "--type", "SMS"],
        ["rights", "1", "--type", "MESAJ", "--none"],
    ],
)
def test_wrong_usage_is_told_apart(arguments: list[str]) -> None:
    """A code that can be none, a date that is missing, a reason not given: exit code 2."""
    assert RUNNER.invoke(app, ["brands", *arguments]).exit_code == 2


KNOWN = Brand(
    brand_code=BRAND,
    iys_code=BRAND,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=NOON,
    account="ada",
    subscription="ACTIVE",
    subscription_ends_at=NOON + timedelta(days=200),
    consent_limit=1000,
    consents_used=10,
    asked_at=NOON,
)


def test_what_records_hang_on_is_told_before_it_is_changed() -> None:
    """A name is changed at once; a term, a customer or a stop is told first."""
    assert changes(KNOWN, replace(KNOWN, name="Başka")) == []
    assert changes(KNOWN, replace(KNOWN, activated_at=None, account=None)) == []
    later = NOON + timedelta(days=1)
    changed = replace(KNOWN, activated_at=later, status="stopped", account="")
    assert changes(KNOWN, changed) == [
        "active since: 02.03.2026 12:00:00 -> 03.03.2026 12:00:00",
        "status: active -> stopped",
        "account: ada -> any",
    ]


def test_a_brand_in_order_needs_nobody() -> None:
    """Terms, who tells it, subscription, rights and what is left; nothing to beware of."""
    waiting = Count(
        brand_code=BRAND, channel="MESAJ", desired_status="ONAY", state="pending", keys=7
    )
    rows = described(KNOWN, (), (waiting,), now=NOON)
    assert not [beware for _, _, beware in rows if beware]
    assert ("told by account", "ada", "") in rows
    assert ("right to MESAJ", "write", "") in rows
    assert ("MESAJ pending", "7", "") in rows


def a_stop(**fields: object) -> Stop:
    """Return the stop of a lost right to MESAJ."""
    stop = Stop(
        brand_code=BRAND,
        channel="MESAJ",
        status="*",
        code="H353",
        why="no right to write MESAJ for this brand at İYS (H353)",
        reach="brand",
        since=NOON,
        recheck_at=NOON,
        rechecks=0,
    )
    return replace(stop, **fields)


@pytest.mark.parametrize(
    ("stop", "mend"),
    [
        (a_stop(), "the right to write MESAJ"),
        (a_stop(channel="*", code="H250", reach="account"), "IYS_USERNAME"),
        (a_stop(channel="*", code="H521", reach="provider"), "subscription"),
        (a_stop(channel="*", code="H249"), "its code"),
        (a_stop(channel="*", status="ONAY", code="H525", reach="provider"), "quota"),
    ],
)
def test_each_stop_comes_with_its_cure(stop: Stop, mend: str) -> None:
    """What to mend, how to go on, and what becomes of opt-outs that a stop keeps from İYS."""
    cure = cure_of(stop, (stop,))
    assert mend in cure
    assert f"izin brands try {BRAND}" in cure
    assert (f"izin deadlines opt-outs {BRAND}" in cure) is (stop.status == "*")


def test_what_a_person_said_is_taken_back_and_not_tried() -> None:
    """A try would be refused, and count against our address. The line gives one right, and takes
    none: it names what the brand may write already.
    """
    mine = a_stop(code="no-right", recheck_at=None)
    other = a_stop(channel="EPOSTA", code="no-right", recheck_at=None)
    anothers = a_stop(channel="ARAMA", brand_code=BRAND + 1, recheck_at=None)
    cure = cure_of(mine, (mine, other, anothers))
    assert f"izin brands rights {BRAND} --type ARAMA --type MESAJ;" in cure
    assert "izin brands try" not in cure
    assert f"izin deadlines opt-outs {BRAND}" in cure


def test_the_cure_of_what_is_parked_is_a_whole_command() -> None:
    """With brand and reason, so that it is copied and not put together."""
    assert cure_of_parked(BRAND, "reconsent").endswith(
        f"izin brands requeue {BRAND} --why reconsent"
    )
    assert f"izin brands add {BRAND}" in cure_of_parked(BRAND, "unknown-brand")
    assert cure_of_parked(BRAND, None) == "see izin explain"
    assert not [why for why in CURES if "{" in cure_of_parked(BRAND, why)]


def test_what_hangs_on_a_right_is_told_before_it_is_changed() -> None:
    """A line a type that changes, with what would wait or go on; İYS's own refusal is no right of
    ours to give.
    """
    kept = a_stop(channel="EPOSTA", recheck_at=None)
    counts = [
        Count(brand_code=BRAND, channel="MESAJ", desired_status=status, state=state, keys=keys)
        for status, state, keys in (
            ("RET", "pending", 2),
            ("RET", "accepted", 40),
            ("ONAY", "retryable", 3),
        )
    ]
    assert rights_changes(BRAND, (kept,), {Channel.ARAMA, Channel.MESAJ}, counts) == []
    assert rights_changes(BRAND, (kept,), {Channel.ARAMA, Channel.EPOSTA}, counts) == [
        (
            "MESAJ: write -> no; 2 opt-outs and 3 consents wait until it is given back; "
            f"opt-outs that cannot: izin deadlines opt-outs {BRAND}"
        ),
        "EPOSTA: no -> write; 0 opt-outs and 0 consents go on by themselves",
    ]
    (line,) = rights_changes(BRAND, (a_stop(),), set(Channel), counts)
    assert f"izin brands try {BRAND}" in line
    taken = rights_changes(BRAND, (a_stop(),), {Channel.ARAMA, Channel.EPOSTA}, counts)
    assert taken[0].startswith("MESAJ: no, as İYS said -> no; 2 opt-outs")


def test_what_needs_a_person_stands_beside_what_it_concerns() -> None:
    """A lost right, an ending and nearly full subscription, parked records."""
    stop = a_stop()
    parked = Count(
        brand_code=BRAND, channel="EPOSTA", desired_status="ONAY", state="parked", keys=1
    )
    brand = replace(
        KNOWN, subscription_ends_at=NOON + timedelta(days=3), consents_used=960, status="stopped"
    )
    rows = {
        what: (stands, beware)
        for what, stands, beware in described(brand, (stop,), (parked,), now=NOON)
    }
    assert rows["right to MESAJ"] == ("no", f"{stop.why}, since 02.03.2026 12:00:00")
    assert rows["right to ARAMA"] == ("write", "")
    assert rows["subscription"][1] == (
        "it ends on 2026-03-05; 960 of 1,000 addresses are used: beyond, new ONAYs may be refused"
    )
    assert rows["EPOSTA parked"] == ("1", "izin brands parked")
    assert rows["status"][1]
