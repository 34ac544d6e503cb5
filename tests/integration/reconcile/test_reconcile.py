"""Differences that are planted are found, named, repaired through admission, and gone."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from izin.reconcile.comparing import Difference
from izin.reconcile.remedies import Repair
from izin.sinks.ledger import reads
from izin.sinks.ledger.history.acts import brand_key
from tests.support.builders import BRAND
from tests.support.reconcile.planned import execute, write_plan
from tests.support.reconcile.planting import PLANTS, Found, planted_key
from tests.support.reconcile.site import Site

pytestmark = [pytest.mark.database, pytest.mark.broker]


async def planted(site: Site) -> Mapping[str, Found]:
    """Plant everything twice; return what is to be found of each key."""
    left = iter(site.recipients)
    return {
        planted_key(name, recipient): await plant(site, recipient)
        for name, plant in PLANTS.items()
        for recipient in (next(left), next(left))
    }


def by_key(differences: list[Difference]) -> Mapping[str, Found]:
    """Return kinds and sides of ``differences`` by key."""
    return {
        key: frozenset(
            (one.finding.kind, one.finding.side) for one in differences if one.key == key
        )
        for key in {one.key for one in differences}
    }


async def test_every_planted_difference_is_named_and_repaired(site: Site, tmp_path: Path):
    """Each kind on each side; a second execution changes nothing, and a second comparison finds
    nothing.
    """
    assert await site.compare() == []
    expected = await planted(site)
    differences = await site.compare()
    assert by_key(differences) == expected
    assert not any(one.is_explained for one in differences)

    path = tmp_path / "plan.json"
    plan = write_plan(site, differences, path)
    assert set(plan.options["repairs"]) == set(Repair)
    assert (await execute(site, path)).repaired == len(expected)
    outbox = "SELECT count(*) AS waiting FROM outbox"
    before = await site.harness.ledger.fetch(outbox)
    assert (await execute(site, path)).done_before == len(expected)
    assert await site.harness.ledger.fetch(outbox) == before

    await site.work()
    left = await site.compare()
    assert by_key(left) == {}
    acts = await reads.facts(site.harness.ledger, [brand_key(BRAND)])
    (done,) = [one for one in acts if one.data.get("act") == "reconcile"]
    assert (done.data["by"], done.data["after"]["plan"]) == ("ada", plan.digest)
