"""Brands: what a change affects, what needs a person, and the remedy for each.

The sentence of ``izin deadlines``: what will be late, and what no worker will ever send.

A sweep, and counts that differ, in words.

What the doctor says of subscribers: how many take their events, and which ones do not.
"""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.cli.brands.command import changes, described
from izin.cli.cli import app
from izin.cli.deadlines import in_words
from izin.cli.doctor.faults import of_webhooks
from izin.cli.doctor.finding import CheckState
from izin.cli.iys import TITLES, remedy_of_count, sweep_row, sweep_state
from izin.consent import Channel
from izin.consent.forecast import forecast
from izin.ledger.reads import Count, Parked
from izin.ledger.record import Brand, Suspension
from izin.views.customers import rights_changes
from izin.views.deadlines import parked_counts
from izin.views.remedies import REMEDIES, remedy_of_parked, remedy_of_suspension
from tests.support.builders import BRAND, CUSTOMER, NOON, a_count, a_sweep
from tests.support.webhooks import a_subscriber
from tests.unit.cli.test_verify import RUNNER

PRODUCT = Path(__file__).parents[3] / "izin"
NOTHING = forecast([], now=NOON, records_per_second=1)
ENDED: dict[str, Any] = {"after": None, "ended_at": NOON}
PAUSED = a_subscriber(name="paused", paused_at=NOON, paused_for="operator")


def test_each_reason_for_parking_has_a_remedy() -> None:
    """Every reason that the sinks give is known to ``izin brands parked``."""
    given = {
        reason
        for path in PRODUCT.rglob("*.py")
        for reason in re.findall(r"park\(\w+, \"([a-z-]+)\"", path.read_text("utf-8"))
    }
    assert given
    assert given <= set(REMEDIES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "0", "--iys-code", "1", "--customer", "acme", "--name", "Örnek"],
        ["add", "1", "--iys-code", "0", "--customer", "acme", "--name", "Örnek"],
        ["add", "1", "--iys-code", "1", "--customer", "acme", "--name", "Örnek", "--activated-at"],
        [*("add", "1", "--iys-code", "1", "--customer", "acme"), "--name", ""],
        [*("add", "1", "--iys-code", "1", "--name", "Örnek"), "--customer", " "],
        ["add", "1", "--iys-code=1", "--customer=acme", "--name=x", "--activated-at=soon"],
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
    changed = replace(KNOWN, activated_at=NOON + timedelta(days=1), status="stopped", account="")
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
    remedy = str(remedy_of_suspension(suspension, (suspension,)))
    assert first_step in remedy
    assert f"izin brands retry {BRAND}" in remedy
    assert (f"izin deadlines opt-outs {BRAND}" in remedy) is (suspension.status == "*")


@pytest.mark.parametrize(
    ("mine", "said", "not_said"),
    [
        (
            a_suspension(code="no-right", recheck_at=None),
            f"izin brands rights {BRAND} --type ARAMA --type MESAJ;",
            "izin brands retry",
        ),
        (
            a_suspension(channel="*", code="ordered", recheck_at=None),
            f"izin brands resume {BRAND} --what iys",
            "izin brands rights",
        ),
    ],
    ids=["right", "order"],
)
def test_suspension_by_a_person_is_not_retried(mine: Suspension, said: str, not_said: str) -> None:
    """A retry would be refused, and count against our address. The command gives one right, and
    names those that the brand has already; what was ordered is ended by another order.
    """
    other = a_suspension(channel="EPOSTA", code="no-right", recheck_at=None)
    anothers = a_suspension(channel="ARAMA", brand_code=BRAND + 1, recheck_at=None)
    remedy = str(remedy_of_suspension(mine, (mine, other, anothers)))
    assert (said in remedy, not_said in remedy) == (True, False)
    assert f"izin deadlines opt-outs {BRAND}" in remedy


def test_remedy_of_parked_is_a_whole_command() -> None:
    """With brand and reason, ready to be copied."""
    assert str(remedy_of_parked(BRAND, "reconsent", all_of=7)).endswith(
        f"izin brands requeue {BRAND} --because reconsent --exactly 7 --plan requeue.json"
    )
    assert f"izin brands add {BRAND}" in str(remedy_of_parked(BRAND, "unknown-brand"))
    assert str(remedy_of_parked(BRAND, None)) == "see izin explain"
    assert not [why for why in REMEDIES if "%(" in str(remedy_of_parked(BRAND, why))]


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
    given = {Channel.ARAMA, Channel.EPOSTA}
    assert [*map(str, rights_changes(BRAND, (ours,), given, counts))] == [
        (
            "MESAJ: write -> no; 2 opt-outs and 3 consents wait until it is given back; "
            f"opt-outs that cannot: izin deadlines opt-outs {BRAND}"
        ),
        "EPOSTA: no -> write; 0 opt-outs and 0 consents continue",
    ]
    (line,) = rights_changes(BRAND, (a_suspension(),), set(Channel), counts)
    assert f"izin brands retry {BRAND}" in str(line)
    taken = rights_changes(BRAND, (a_suspension(),), given, counts)
    assert str(taken[0]).startswith("MESAJ: no, refused by İYS -> no; 2 opt-outs")


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


def parked(status: str, keys: int) -> Parked:
    """Return so many records of brand 7 that wait for a person."""
    return Parked(
        brand_code=7,
        channel="MESAJ",
        desired_status=status,
        reason="reconsent",
        code=None,
        keys=keys,
    )


def test_in_words_counts_parked_opt_outs_and_consents() -> None:
    """Nothing of them is sent before a person acts, so the sentence says where to look."""
    found = parked_counts([parked("RET", 2), parked("ONAY", 5), parked("RET", 1)])
    assert in_words(NOTHING, 0, found) == (
        "nothing else waits to be sent; 3 opt-outs and 5 consents are parked until a person acts: "
        "izin brands parked says what to do; opt-outs that cannot wait: izin deadlines opt-outs 7"
    )
    assert in_words(NOTHING, 0, parked_counts([parked("ONAY", 1)])).endswith(
        "0 opt-outs and 1 consents are parked until a person acts: izin brands parked says what "
        "to do"
    )
    assert in_words(NOTHING, 0, parked_counts([])) == "nothing waits to be sent"


def test_in_words_names_suspended_records_too() -> None:
    """Both keep records from being sent, and have different remedies."""
    words = in_words(NOTHING, 4, parked_counts([parked("RET", 1)]))
    assert "4 are suspended: izin brands suspensions, izin brands list" in words
    assert "1 opt-outs and 0 consents are parked" in words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "500 of 2,000 keys, 25%"),
        ({"keys": 0, "queried": 0}, "0 of 0 keys, 0%"),
        ({"keys": 400}, "500 of 400 keys, 100%"),
        (ENDED, "done"),
        ({**ENDED, "is_stopped": True}, "500 of 2,000 keys, 25%; stopped"),
        (
            {"error": "İYS answered statuses with 503", "retry_at": NOON},
            "waits until 02.03.2026 12:00:00, for İYS answered statuses with 503",
        ),
        (
            {"skipped_groups": ("MESAJ/TACIR: H353",)},
            "left out MESAJ/TACIR: H353: give the right back",
        ),
    ],
)
def test_state_of_a_sweep_says_how_far_it_is_and_what_holds_it_up(
    fields: dict[str, Any], words: str
):
    """Keys may have come and gone since they were counted."""
    sweep = a_sweep(**fields)
    assert words in sweep_state(sweep)
    assert len(sweep_row(sweep)) == len(TITLES)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "nothing to do"),
        ({"iys_onay": 11}, "nothing to do"),
        ({"iys_onay": 14}, "İYS holds 4 ONAY that no key here has: only its portal"),
        ({"iys_ret": 9, "onay": 10}, "İYS holds 4 RET"),
        ({"iys_onay": 2}, f"8 ONAY here are not at İYS: izin iys sweep start --brand {BRAND}"),
    ],
)
def test_difference_of_counts_has_a_remedy(fields: dict[str, int], words: str):
    """What was on its way to İYS is none."""
    assert words in remedy_of_count(a_count(**fields))


def failing(minutes: int) -> object:
    """Return a subscriber that has been failing for so long."""
    since = NOON - timedelta(minutes=minutes)
    return a_subscriber(name="bad", failing_since=since, last_failure="status 500: refused")


@pytest.mark.parametrize(
    ("minutes", "state", "said"),
    [
        (
            *(1, CheckState.OK),
            [
                "1 running; of 3 subscribers 1 take their events, ",
                "1 failing for less than 5 minutes (izin subscribers show bad), 1 paused",
            ],
        ),
        (
            *(6, CheckState.WRONG),
            ["subscriber bad has not taken something since", "izin subscribers show bad"],
        ),
    ],
)
def test_subscriber_failing_for_longer_than_a_moment_is_a_fault(
    minutes: int, state: CheckState, said: list[str]
):
    """With since when, why, and the command that shows more; before that it is counted."""
    (found,) = of_webhooks(
        [a_subscriber(name="good"), failing(minutes), PAUSED], running=1, now=NOON
    )
    assert found.state is state
    assert [one for one in said if one not in found.what] == []
