"""Brands: what a change affects, what needs a person, and the remedy for each."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.cli.brands.command import changes, described
from izin.cli.brands.suspensions import rights_changes
from izin.cli.cli import app
from izin.cli.remedies import REMEDIES, remedy_of_parked, remedy_of_suspension
from izin.consent import Channel
from izin.ledger.reads import Count
from izin.ledger.record import Brand, Suspension
from tests.support.builders import BRAND, CUSTOMER, NOON

PRODUCT = Path(__file__).parents[3] / "izin"
RUNNER = CliRunner()


def test_each_reason_for_parking_has_a_remedy() -> None:
    """Every reason that the sinks give is known to ``izin brands parked``."""
    given = {
        reason
        for path in PRODUCT.rglob("*.py")
        for reason in re.findall(r"park\(\w+, \"([a-z-]+)\"", path.read_text("utf-8"))
    }
    assert given
    assert given <= set(REMEDIES)


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
        ["requeue", "1", "--plan=plan.json"],
        ["requeue", "1", "--plan=plan.json", "--because=reconsent"],
        ["requeue", "1", "--plan=plan.json", "--because=reconsent", "--exactly=1", "--execute"],
        ["rights", "1"],
        ["rights", "1", "--type", "SMS"],
        ["rights", "1", "--type", "MESAJ", "--none"],
    ],
)
def test_brands_with_wrong_arguments_is_wrong_usage(arguments: list[str]) -> None:
    """An impossible code, a missing date, a reason not given: exit code 2."""
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
    queried_at=NOON,
)


def test_changes_list_only_what_affects_records() -> None:
    """A name affects nothing; a term, an account or a stop does."""
    assert changes(KNOWN, replace(KNOWN, name="Başka")) == []
    assert changes(KNOWN, replace(KNOWN, activated_at=None, account=None)) == []
    later = NOON + timedelta(days=1)
    changed = replace(KNOWN, activated_at=later, status="stopped", account="")
    assert changes(KNOWN, changed) == [
        "active since: 02.03.2026 12:00:00 -> 03.03.2026 12:00:00",
        "status: active -> stopped",
        "account: ada -> any",
    ]


def test_described_brand_in_order_has_no_warning() -> None:
    """Terms, account, subscription, rights and unsettled records, without a warning."""
    waiting = Count(
        brand_code=BRAND, channel="MESAJ", desired_status="ONAY", state="pending", keys=7
    )
    rows = described(KNOWN, (), (waiting,), now=NOON)
    assert not [warning for _, _, warning in rows if warning]
    assert ("account", "ada", "") in rows
    assert ("right to MESAJ", "write", "") in rows
    assert ("MESAJ pending", "7", "") in rows


def a_suspension(**fields: object) -> Suspension:
    """Return the suspension of a lost right to MESAJ."""
    suspension = Suspension(
        brand_code=BRAND,
        channel="MESAJ",
        status="*",
        code="H353",
        reason="no right to write MESAJ for this brand at İYS (H353)",
        scope="brand",
        since=NOON,
        recheck_at=NOON,
        rechecks=0,
    )
    return replace(suspension, **fields)


@pytest.mark.parametrize(
    ("suspension", "first_step"),
    [
        (a_suspension(), "the right to write MESAJ"),
        (a_suspension(channel="*", code="H250", scope="account"), "IYS_USERNAME"),
        (a_suspension(channel="*", code="H521", scope="provider"), "subscription"),
        (a_suspension(channel="*", code="H249"), "its code"),
        (a_suspension(channel="*", status="ONAY", code="H525", scope="provider"), "quota"),
    ],
)
def test_suspension_by_iys_has_its_remedy(suspension: Suspension, first_step: str) -> None:
    """The first step, the retry, and what to do about suspended opt-outs."""
    remedy = remedy_of_suspension(suspension, (suspension,))
    assert first_step in remedy
    assert f"izin brands retry {BRAND}" in remedy
    assert (f"izin deadlines opt-outs {BRAND}" in remedy) is (suspension.status == "*")


def test_suspension_by_a_person_is_not_retried() -> None:
    """A retry would be refused, and count against our address. The command gives one right, and
    names those that the brand has already.
    """
    mine = a_suspension(code="no-right", recheck_at=None)
    other = a_suspension(channel="EPOSTA", code="no-right", recheck_at=None)
    anothers = a_suspension(channel="ARAMA", brand_code=BRAND + 1, recheck_at=None)
    remedy = remedy_of_suspension(mine, (mine, other, anothers))
    assert f"izin brands rights {BRAND} --type ARAMA --type MESAJ;" in remedy
    assert "izin brands retry" not in remedy
    assert f"izin deadlines opt-outs {BRAND}" in remedy


def test_suspension_by_order_is_ended_by_resume() -> None:
    """Not by a right, and not by a retry."""
    ordered = a_suspension(channel="*", code="ordered", recheck_at=None)
    remedy = remedy_of_suspension(ordered, (ordered,))
    assert f"izin brands resume {BRAND} --what iys" in remedy
    assert "izin brands rights" not in remedy
    assert f"izin deadlines opt-outs {BRAND}" in remedy


def test_remedy_of_parked_is_a_whole_command() -> None:
    """With brand and reason, ready to be copied."""
    assert remedy_of_parked(BRAND, "reconsent", all_of=7).endswith(
        f"izin brands requeue {BRAND} --because reconsent --exactly 7 --plan requeue.json"
    )
    assert f"izin brands add {BRAND}" in remedy_of_parked(BRAND, "unknown-brand")
    assert remedy_of_parked(BRAND, None) == "see izin explain"
    assert not [why for why in REMEDIES if "{" in remedy_of_parked(BRAND, why)]


def test_rights_changes_count_what_waits_or_continues() -> None:
    """One line for each channel that changes, with what would wait or continue; a right that İYS
    refuses cannot be given here.
    """
    ours = a_suspension(channel="EPOSTA", recheck_at=None)
    counts = [
        Count(brand_code=BRAND, channel="MESAJ", desired_status=status, state=state, keys=keys)
        for status, state, keys in (
            ("RET", "pending", 2),
            ("RET", "accepted", 40),
            ("ONAY", "retryable", 3),
        )
    ]
    assert rights_changes(BRAND, (ours,), {Channel.ARAMA, Channel.MESAJ}, counts) == []
    assert rights_changes(BRAND, (ours,), {Channel.ARAMA, Channel.EPOSTA}, counts) == [
        (
            "MESAJ: write -> no; 2 opt-outs and 3 consents wait until it is given back; "
            f"opt-outs that cannot: izin deadlines opt-outs {BRAND}"
        ),
        "EPOSTA: no -> write; 0 opt-outs and 0 consents continue",
    ]
    (line,) = rights_changes(BRAND, (a_suspension(),), set(Channel), counts)
    assert f"izin brands retry {BRAND}" in line
    taken = rights_changes(BRAND, (a_suspension(),), {Channel.ARAMA, Channel.EPOSTA}, counts)
    assert taken[0].startswith("MESAJ: no, refused by İYS -> no; 2 opt-outs")


def test_described_brand_warns_about_what_needs_a_person() -> None:
    """A lost right, an ending and nearly full subscription, parked records."""
    suspension = a_suspension()
    parked = Count(
        brand_code=BRAND, channel="EPOSTA", desired_status="ONAY", state="parked", keys=1
    )
    brand = replace(
        KNOWN, subscription_ends_at=NOON + timedelta(days=3), consents_used=960, status="stopped"
    )
    rows = {
        field: (value, warning)
        for field, value, warning in described(brand, (suspension,), (parked,), now=NOON)
    }
    assert rows["right to MESAJ"] == ("no", f"{suspension.reason}, since 02.03.2026 12:00:00")
    assert rows["right to ARAMA"] == ("write", "")
    assert rows["subscription"][1] == (
        "it ends on 2026-03-05; 960 of 1,000 addresses are used: beyond, new ONAYs may be refused"
    )
    assert rows["EPOSTA parked"] == ("1", "see: izin brands parked")
    assert rows["status"][1]
