"""Differences that are planted are found, named, repaired through admission, and gone: by the
commands of ``docs/reconciling.md``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from izin.ledger import reads
from izin.ledger.history import brand_key
from izin.reconcile.judging import Kind, SaidBy
from izin.reconcile.remedies import Repair
from izin.runtime.plan import Plan
from tests.integration.reconcile.conftest import EACH, Run
from tests.support.builders import BRAND, a_key
from tests.support.reconcile.site import (
    PLANTS,
    Found,
    Site,
    never_at_iys,
    not_verified,
    planted_key,
    set_columns,
    write_permission,
)

pytestmark = [pytest.mark.database, pytest.mark.broker]

COMPARE = f"reconcile --brand {BRAND} --ask"
WAITING = "SELECT count(*) AS waiting FROM outbox"


async def plant(site: Site) -> Mapping[str, Found]:
    """Plant everything; return what is to be found of each key."""
    left = iter(site.recipients)
    return {
        planted_key(name, recipient): await plant(site, recipient)
        for name, plant in PLANTS.items()
        for recipient in (next(left) for _ in range(EACH))
    }


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
    found = await site.harness.ledger.fetch(
        "SELECT FROM consents WHERE recipient = %(one)s", {"one": erased}
    )
    assert found == []
