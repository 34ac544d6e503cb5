"""Differences that are planted are found, named, repaired through admission, and gone: by the
commands of ``docs/reconciling.md``, in an installation of a few recipients, whose sides agree.
"""

import asyncio
import csv
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.reconcile import command
from izin.cli.subscribers import compare
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.history import brand_key
from izin.reconcile.judging import Kind, SaidBy
from izin.reconcile.remedies import Repair
from izin.runtime.plan import Plan
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    Izin,
    SinkHarness,
    a_phone,
    ended,
    kafka_environment,
    set_environment,
)
from tests.support.builders import BRAND, a_key
from tests.support.reconcile.site import (
    PLANTS,
    SECRET,
    Found,
    Site,
    never_at_iys,
    not_verified,
    planted,
    planted_key,
    set_columns,
    write_permission,
)
from tests.support.simulator import PASSWORD, USERNAME

Run = Callable[[str, int], Awaitable[str]]
"""Runs a command, checks its exit code, and returns what it prints."""
EACH = 2
"""Recipients of each plant."""


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave signals alone: they belong to the main thread, and commands run beside it here."""
    for module in (command, compare):
        monkeypatch.setattr(module, "exit_on_signals", nullcontext)


@pytest.fixture
async def site(with_topics: SinkHarness) -> Site:
    """Give an installation in which consents stand everywhere, and some opted out."""
    site = Site(harness=with_topics, kafka=with_topics.settings)
    count = EACH * len(PLANTS) + 4
    await site.fill([*map(a_phone, range(count))], [*map(a_phone, range(900, 904))])
    return site


@pytest.fixture
def run(
    site: Site,
    database_url: str,  # fixtures
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Give what runs a command in this installation, by its clock."""
    given = {
        "COLUMNS": "80",
        "DATABASE_URL": database_url,
        "IYS_BASE_URL": site.harness.iys.address,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "500",
        "IYS_USERNAME": USERNAME,
        "IZIN_SUPPRESSION_SECRETS": json.dumps([SECRET]),
    }
    set_environment(monkeypatch, kafka_environment(site.kafka) | given)
    monkeypatch.setattr(command, "utc_now", site.harness.clock)

    async def run(words: str, code: int) -> str:
        site.harness.advance(A_SECOND * 2)  # what was just changed is not changing any more
        result = ended(
            await asyncio.to_thread(CliRunner().invoke, app, words.split(), catch_exceptions=False),
            code,
        )
        return result.stdout if code in {0, 1} else result.output

    return run


pytestmark = [pytest.mark.database, pytest.mark.broker]

COMPARE = f"reconcile --brand {BRAND} --ask"
WAITING = "SELECT count(*) AS waiting FROM outbox"


async def plant(site: Site) -> Mapping[str, Found]:
    """Plant everything; return what is to be found of each key."""
    left = iter(site.recipients)
    return dict([await planted(site, name, next(left)) for name in PLANTS for _ in range(EACH)])


def by_key(found: Mapping[str, Any]) -> Mapping[str, Found]:
    """Return kinds and sides of the differences in the JSON of a comparison, by key."""
    keys: dict[str, set[tuple[Kind, SaidBy]]] = {}
    for one in found["differences"]:
        keys.setdefault(one["key"], set()).add((Kind(one["kind"]), SaidBy(one["side"])))
    return {key: frozenset(kinds) for key, kinds in keys.items()}


async def test_every_planted_difference_is_named_and_repaired(
    site: Site, run: Run, tmp_path: Path
) -> None:
    """Each kind on each side; a second execution changes nothing, and a second comparison finds
    nothing.
    """
    ledger, plan_file, csv_file = site.harness.ledger, tmp_path / "plan.json", tmp_path / "all.csv"
    await run(COMPARE, 0)
    expected = await plant(site)
    words = f"--plan {plan_file} --out {csv_file} --unmasked --output json"
    found = json.loads(await run(f"{COMPARE} {words}", 1))
    assert by_key(found) == expected
    differences = sum(map(len, expected.values()))
    assert found["unexplained"] == differences
    assert {one["repair"] for one in found["differences"]} == set(Repair)
    assert csv_file.stat().st_mode & 0o777 == 0o600
    assert len(csv_file.read_text("utf-8").splitlines()) == differences + 1

    await run(f"reconcile --plan {plan_file} --execute --by ada", 0)
    before = await ledger.fetch(WAITING)
    again = await run(f"reconcile --plan {plan_file} --execute --output json", 0)
    assert json.loads(again) == {"repaired": 0, "moved": 0, "done_before": len(expected)}
    assert await ledger.fetch(WAITING) == before

    await site.work()
    assert "unexplained" not in await run(COMPARE, 0)
    acts = await reads.facts(ledger, [brand_key(BRAND)])
    (done,) = [one for one in acts if one.data.get("act") == "reconcile"]
    assert (done.data["by"], done.data["after"]["plan"]) == ("ada", Plan.read(plan_file).digest)
    await see_explained(site, run)
    await see_moved(site, run, plan_file)
    await see_erased(site, run, tmp_path / "erased.json")


async def see_explained(site: Site, run: Run) -> None:
    """See that an opt-in which expired is listed with the next step, masked, and is no fault."""
    *_, last = site.recipients
    await never_at_iys(site, last)
    other = planted_key("never_at_iys", last).rpartition("/")[2]
    void = {"may_send": False, "permission_reason": "void"}
    await set_columns(site, other, registered="NONE", state="expired", reason="term-ended", **void)
    await write_permission(site, other)
    printed = await run(f"{COMPARE}", 0)
    assert "ask for a new consent" in printed
    assert other not in printed
    assert max(map(len, [line for line in printed.splitlines() if line[:1] in "┃│"])) <= 80


async def see_moved(site: Site, run: Run, plan_file: Path) -> None:
    """See that a key which moved since the plan was made is left alone, and an edited plan
    refused.
    """
    *_, other, _ = site.recipients
    await not_verified(site, other)
    await run(f"{COMPARE} --plan {plan_file}", 1)
    await set_columns(site, other, updated_at=site.harness.clock())
    assert json.loads(await run(f"reconcile --plan {plan_file} --execute --output json", 1)) == {
        "repaired": 0,
        "moved": 1,
        "done_before": 0,
    }
    repairs = plan_file.with_name(f"{plan_file.name}.work") / "repairs.jsonl"
    repairs.write_bytes(repairs.read_bytes().replace(b"query", b"query "))
    assert "it was edited" in await run(f"reconcile --plan {plan_file} --execute", 3)


async def see_erased(site: Site, run: Run, plan_file: Path) -> None:
    """See that a key that was erased since the plan was made is not restored."""
    *_, erased, other, _ = site.recipients
    for recipient in (other, erased):
        await site.harness.ledger.fetch(
            "DELETE FROM consents WHERE recipient = %(one)s RETURNING key", {"one": recipient}
        )
    await run(f"{COMPARE} --plan {plan_file}", 1)
    site.suppress(str(a_key(recipient=erased)))
    assert json.loads(await run(f"reconcile --plan {plan_file} --execute --output json", 1)) == {
        "repaired": 1,
        "moved": 1,
        "done_before": 0,
    }
    assert (await site.harness.row(other)).desired_status == "ONAY"
    assert not await site.harness.ledger.fetch(
        "SELECT FROM consents WHERE recipient = %(one)s", {"one": erased}
    )


FILL = """INSERT INTO consents (key, customer_id, brand_code, channel, recipient_type, recipient,
    desired_status, desired_event_id, desired_at, registrable, attested, registered, state, action,
    attempts, onay_open, ret_open, may_send, updated_at)
SELECT concat_ws('/', %(brand)s, 'MESAJ', 'BIREYSEL', r.recipient), 'acme', %(brand)s, 'MESAJ',
    'BIREYSEL', r.recipient, r.status, 'event', now(), true, false, r.registered, 'not_needed',
    'nothing', 0, false, false, false, now()
FROM unnest(%(recipients)s::text[], %(statuses)s::text[], %(registered)s::text[])
    AS r (recipient, status, registered) RETURNING key"""
BOTH, HERE, AT_IYS, THERE, NOBODY = map(a_phone, range(1, 6))
LIST = f"Ad;Telefon\nAda;{BOTH}\nAda;0{THERE[3:]}\nAda;{NOBODY}\nAda;{NOBODY}\nAda;kimse\n"
WORDS = ("--brand", BRAND, "--type", "MESAJ")


@pytest.fixture
async def opted_out(ledger: Ledger) -> None:
    """Have three recipients opted out, one of them at İYS alone, and one opted in."""
    values = {
        "brand": BRAND,
        "recipients": [BOTH, HERE, AT_IYS, THERE],
        "statuses": ["RET", "RET", "ONAY", "ONAY"],
        "registered": ["RET", "NONE", "RET", "ONAY"],
    }
    assert await ledger.fetch(FILL, values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the list that a tool has exported."""
    path = tmp_path / "list.csv"
    path.write_text(LIST, "utf-8")
    return path


async def test_both_sides_are_named_and_files_written(
    izin: Izin, opted_out: None, path: Path, tmp_path: Path
) -> None:
    """Whom the tool lacks comes first; nothing is published; recipients are masked, and whoever
    only the tool has becomes an event by a person's statement alone.
    """
    add, events = tmp_path / "missing.csv", tmp_path / "optouts.csv"
    files = ("--for-tool", add, "--for-import", events, "--source", "HS_MESAJ")
    result = await izin("subscribers", "compare", path, *WORDS, *files, "--output", "json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    counts = ("opted_out_here", "in_both", "listed", "missing_there", "missing_here")
    assert [found[name] for name in counts] == [3, 1, 4, 2, 2]
    assert found["unreadable"] == [6]
    assert [one["side"].partition(",")[0] for one in found["differences"]] == [
        *("here", "here", "in the list", "in the list")
    ]
    assert HERE not in result.stdout
    assert add.read_text("utf-8").split() == ["Telefon", HERE, AT_IYS]
    assert add.stat().st_mode & 0o777 == 0o600
    with events.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(one["recipient"], one["status"], one["source"]) for one in rows] == [
        (THERE, "RET", "HS_MESAJ"),
        (NOBODY, "RET", "HS_MESAJ"),
    ]
    assert {one["consentDate"] for one in rows} == {""}


async def test_lists_that_agree_exit_with_zero(izin: Izin, opted_out: None, tmp_path: Path) -> None:
    """A workbook is read as a text file is."""
    book = Workbook()
    for line in (["Telefon"], [BOTH], [HERE], [AT_IYS]):
        book.active.append(line)
    path = tmp_path / "list.xlsx"
    book.save(path)
    result = await izin("subscribers", "compare", path, *WORDS)
    assert (result.exit_code, "none" in result.stdout) == (0, True)


@pytest.mark.parametrize(
    "given", [("--for-import", "x.csv"), ("--source", "HS_MESAJ"), ("--for-tool", "")]
)
def test_choices_that_contradict_are_wrong_usage(path: Path, given: tuple[str, str]) -> None:
    """Nobody states a source for nothing, and the list itself is not written over."""
    option, value = given
    words = ["subscribers", "compare", str(path), *map(str, WORDS), option, value or str(path)]
    assert CliRunner().invoke(app, words).exit_code == 2
    assert path.read_text("utf-8") == LIST
