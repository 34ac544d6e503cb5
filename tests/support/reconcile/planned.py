"""Plans of repairs, made and executed as the command does."""

from pathlib import Path

from izin.reconcile.comparing import Difference, Scope
from izin.reconcile.executing import Executed
from izin.reconcile.plan import RepairFile, plan_of
from izin.replay.plan import Plan
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.reconcile.site import Site


def write_plan(site: Site, differences: list[Difference], path: Path) -> Plan:
    """Write the plan that repairs ``differences`` to ``path``."""
    file = RepairFile(path)
    for one in differences:
        file.add(one)
    scope = Scope(brand=ACTIVE)
    return file.write(plan_of(scope, site.kafka, asked=True, now=site.harness.clock(), by="ada"))


async def execute(site: Site, path: Path) -> Executed:
    """Execute the plan in ``path``."""
    return await site.execution.execute(path, Plan.read(path), by="ada")
