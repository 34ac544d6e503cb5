"""``python -m tests.chaos.reconcile``: random differences; ``make chaos STAGE=reconcile``.

The sinks, the order stage and the comparison are the product's own, in this process, over a real
broker and database and the simulator in a process of its own. What is planted follows from a seed.

It ends with the lines ``reconcile-found`` and ``reconcile-unexplained``, each ``ok`` or ``short``.
Exit codes: 0 every difference was named and repaired, 1 one was not, 2 wrong usage.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from izin.iys.rate_limit import STATUS, HourLimit
from izin.reconcile.comparing import Difference, ReconcileScope
from izin.reconcile.repairs import RepairFile, plan_of
from izin.runtime.plan import Plan
from izin.runtime.settings import KafkaSettings
from tests.chaos.command import Seed, Show, run_stage, start
from tests.chaos.pipeline import running_servers
from tests.integration.sinks.sink_harness import ACTIVE, a_phone
from tests.support.reconcile.site import PLANTS, Found, Site, planted, sinks_on
from tests.support.simulator import SimulatorAdmin

_UNTOUCHED = 2
"""Of so many recipients one differs in nothing."""
_UNLIMITED = {STATUS: HourLimit(calls=1_000_000)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileVerdict:
    """What a campaign planted, found and repaired."""

    planted: int
    plants: dict[str, int]
    """How many of each."""
    found: int
    """Of the planted keys: those of which exactly what was planted was named."""
    wrong: tuple[str, ...]
    """Keys of which something else was found, or nothing."""
    repaired: int
    repeated: int
    """Keys that a second execution of the same plan would have changed."""
    unexplained: tuple[str, ...]
    """What a second comparison found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileCampaign:
    """One campaign."""

    kafka: KafkaSettings
    database_url: str
    iys: SimulatorAdmin
    folder: Path
    differences: int
    seed: int
    on_progress: Callable[[str], None] = print

    async def run(self) -> ReconcileVerdict:
        """Plant, compare, repair, let the workers work, and compare again."""
        async with self._site() as site:
            self.on_progress("filling")
            count = self.differences + self.differences // _UNTOUCHED
            await site.fill([a_phone(number) for number in range(count)], [])
            if await site.compare():
                raise RuntimeError("the sides differ before anything was planted")
            expected, plants = await self._plant(site)
            self.on_progress("comparing")
            differences = await site.compare()
            found = _by_key(differences)
            right = [key for key, kinds in expected.items() if found.get(key) == kinds]
            wrong = sorted({*expected, *found} - set(right))
            self.on_progress("repairing")
            path = self.folder / "plan.json"
            plan = _write(site, differences, path)
            repaired = (await site.execution.execute(path, plan, by="test"))["repaired"]
            again = await site.execution.execute(path, plan, by="test")
            await site.work()
            self.on_progress("comparing again")
            left = [one for one in await site.compare() if not one.is_explained]
        return ReconcileVerdict(
            planted=len(expected),
            plants=dict(plants),
            found=len(right),
            wrong=tuple(f"{key}: {_words(found.get(key))}" for key in wrong),
            repaired=repaired,
            repeated=again["repaired"],
            unexplained=tuple(f"{one.key}: {one.finding.kind} {one.finding.side}" for one in left),
        )

    @asynccontextmanager
    async def _site(self) -> AsyncIterator[Site]:
        async with sinks_on(self.database_url, self.iys, self.kafka, **_UNLIMITED) as harness:
            yield Site(harness=harness, kafka=self.kafka)

    async def _plant(self, site: Site) -> tuple[dict[str, Found], Counter[str]]:
        """Plant differences at random recipients; return what is to be found of each key."""
        chance = random.Random(self.seed)
        plants: Counter[str] = Counter()
        expected: dict[str, Found] = {}
        for number, recipient in enumerate(chance.sample(site.recipients, self.differences)):
            if number % 100 == 0:
                self.on_progress(f"planting {number} of {self.differences}")
            name = chance.choice(list(PLANTS))
            plants[name] += 1
            key, found = await planted(site, name, recipient)
            expected[key] = found
        return expected, plants


def _write(site: Site, differences: list[Difference], path: Path) -> Plan:
    file = RepairFile(path)
    for one in differences:
        file.add(one)
    scope = ReconcileScope(brand=ACTIVE)
    return file.write(plan_of(scope, site.kafka, asked=True, now=site.harness.clock(), by="test"))


def _by_key(differences: list[Difference]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for one in differences:
        kind = (one.finding.kind, one.finding.side)
        found[one.key] = found.get(one.key, frozenset()) | {kind}
    return found


def _words(found: Found | None) -> str:
    return "nothing" if found is None else ", ".join(f"{kind} {side}" for kind, side in found)


def main(
    differences: Annotated[int, typer.Option(min=1, max=6000, help="How many are planted.")] = 1000,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-reconcile"
    ),
) -> None:
    """Plant differences in simulator, ledger and topics, then find, name and repair them."""

    def campaign(show: Show) -> ReconcileVerdict:
        with running_servers(folder, partitions=4) as servers:
            made = ReconcileCampaign(
                kafka=servers.settings,
                database_url=servers.database_url,
                iys=servers.simulator,
                folder=folder,
                differences=differences,
                seed=seed,
                on_progress=show,
            )
            return asyncio.run(made.run())

    raise run_stage(
        "reconcile",
        folder,
        campaign,
        lambda verdict, seconds: report(verdict, seed=seed, seconds=seconds),
    )


def report(verdict: ReconcileVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    plants = ", ".join(f"{name} {count}" for name, count in sorted(verdict.plants.items()))
    summary = (
        f"{verdict.planted} differences in {seconds:.0f} s: {plants}; {verdict.found} named, "
        f"{verdict.repaired} repaired"
    )
    failures = [f"{verdict.repeated} keys were repaired twice"] if verdict.repeated else []
    if verdict.wrong:
        failures.append(f"{len(verdict.wrong)} keys were named otherwise, or are others")
    return RunReport(
        tables=[summary, *(f"  {one}" for one in (*verdict.wrong, *verdict.unexplained)[:40])],
        data={"seed": seed, "seconds": round(seconds), **asdict(verdict)},
        figures={
            "reconcile-found": verdict.found,
            "reconcile-unexplained": len(verdict.unexplained),
        },
        failures=failures,
    )


if __name__ == "__main__":
    start("reconcile", main)
