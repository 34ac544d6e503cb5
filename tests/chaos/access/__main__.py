"""``python -m tests.chaos.access``: access lists under ``kill -9``; ``make chaos STAGE=access``.

İYS holds consents with the retailers of one kind, and their latest events name others. The command
that has them changed is killed again and again while it works, and started again, until it says
that all are as wanted. What follows from a seed is which retailers each consent has and gets.

It ends with the lines ``access-lists``, ``access-calls`` and ``access-wrong``, each ``ok`` or
``short``. The calls are those that change lists, in per cent of the fewest that can: a hundred
consents of one list a call. Exit codes: 0 all is as wanted, 1 it is not, 2 wrong usage.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from izin.consent import Channel, RecipientType
from izin.iys.retailer_calls import MAX_ACCESS
from izin.ledger import retailers
from izin.runtime.settings import KafkaSettings
from tests.chaos.command import Seed, Show, run_stage, start
from tests.chaos.pipeline import running_servers
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    SinkHarness,
    a_phone,
    kafka_environment,
    onay,
)
from tests.support.builders import BRAND
from tests.support.reconcile.site import sinks_on
from tests.support.simulator import PASSWORD, USERNAME, SimulatorAdmin

_FIRST = 10_000_001
_GROUPS = 40
"""So many lists are wanted: each shop of a chain sells with the same neighbours."""
_SIZE = 6
_CHANGING = ("accessReplace", "accessRemove", "accessRemoveAll", "accessAdd")
_RATE = 60.0
"""Calls a second: slow enough to be killed while it works."""
_MOST_RUNS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessVerdict:
    """What a campaign wanted, and what came of it."""

    consents: int
    as_wanted: int
    """Consents whose list at İYS is the one that was wanted."""
    calls: int
    fewest: int
    kills: int
    wrong: tuple[str, ...]
    """Consents with another list, or of which the ledger says something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCampaign:
    """One campaign."""

    kafka: KafkaSettings
    database_url: str
    iys: SimulatorAdmin
    folder: Path
    consents: int
    retailers: int
    kills: int
    seed: int
    on_progress: Callable[[str], None] = print

    async def run(self) -> AccessVerdict:
        """Fill both sides, have the lists changed, and compare."""
        async with sinks_on(self.database_url, self.iys, self.kafka) as harness:
            self.on_progress("registering consents")
            wanted = await self._fill(harness)
            before = self._calls()
            killed = await asyncio.to_thread(self._until_done)
            self.on_progress("reading the lists")
            path = ACTIVE.path
            wrong = []
            for phone, codes in wanted.items():
                key = f"{BRAND}/MESAJ/BIREYSEL/{phone}"
                found = await harness.context.client.retailers.access(
                    path, Channel.MESAJ, RecipientType.BIREYSEL, phone
                )
                if found != codes:
                    wrong.append(f"{key}: {sorted(found)}, not {sorted(codes)}")
            left = await retailers.differences(harness.ledger, BRAND)
            groups = Counter(wanted.values())
        return AccessVerdict(
            consents=len(wanted),
            as_wanted=len(wanted) - len(wrong),
            calls=self._calls() - before,
            fewest=sum(ceil(count / MAX_ACCESS) for count in groups.values()),
            kills=killed,
            wrong=(*wrong, *(f"{one.key} still differs here" for one in left)),
        )

    async def _fill(self, harness: SinkHarness) -> Mapping[str, frozenset[int]]:
        """Have İYS hold consents with retailers; return by recipient those that are wanted."""
        chance = random.Random(self.seed)
        codes = range(_FIRST, _FIRST + self.retailers)
        self.iys.brand(retailers=[*codes])
        phones = [a_phone(number) for number in range(self.consents)]
        now: Sequence[tuple[int, ...]] = [
            tuple(chance.sample(codes, chance.randint(1, _SIZE))) for _ in phones
        ]
        lists = [frozenset(chance.sample(codes, _SIZE)) for _ in range(_GROUPS)]
        wanted = {phone: chance.choice(lists) for phone in phones}
        given = [
            onay(phone, minutes=60, retailer_access=access)
            for phone, access in zip(phones, now, strict=True)
        ]
        await harness.ingest(*given)
        while await harness.bulk():
            pass
        await harness.settle()
        # What already is as wanted is no difference.
        await harness.ingest(
            *(onay(one, minutes=30, retailer_access=tuple(wanted[one])) for one in phones)
        )
        return wanted

    def _until_done(self) -> int:
        """Run the command until it says that all is done; return how often it was killed."""
        chance = random.Random(self.seed)
        plan = self.folder / "plan.json"
        self._command("--plan", str(plan)).wait()
        killed = 0
        for number in range(_MOST_RUNS):
            self.on_progress(f"run {number + 1}, killed {killed} times")
            process = self._command("--plan", str(plan), "--execute")
            if killed < self.kills:
                # The command takes a second or two before it calls.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(1.5, 6))
                if process.poll() is None:
                    process.kill()
                    killed += 1
            if process.wait() == 0:
                return killed
        raise RuntimeError(f"not done in {_MOST_RUNS} runs; see {self.folder / 'command.log'}")

    def _command(self, *words: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **kafka_environment(self.kafka),
            "DATABASE_URL": self.database_url,
            "IYS_BASE_URL": self.iys.address,
            "IYS_USERNAME": USERNAME,
            "IYS_PASSWORD": PASSWORD,
            "IYS_REQUESTS_PER_SECOND": str(_RATE),
            "IZIN_ACTOR": "chaos",
        }
        argv = (sys.executable, "-m", "izin.cli", "brands", "retailers", str(BRAND), *words)
        with (self.folder / "command.log").open("ab") as log:
            return subprocess.Popen(argv, env=environment, stdout=log, stderr=log)

    def _calls(self) -> int:
        return sum(map(self.iys.calls, _CHANGING))


def main(  # options
    consents: Annotated[int, typer.Option(min=10, max=5000, help="Recipients.")] = 1000,
    retailers: Annotated[int, typer.Option(min=6, max=200, help="Of the brand.")] = 20,
    kills: Annotated[int, typer.Option(min=0, max=20, help="kill -9 of the command.")] = 4,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-access"
    ),
) -> None:
    """Bring access lists to a target state while the command is killed, and compare."""

    def campaign(show: Show) -> AccessVerdict:
        with running_servers(folder, partitions=1) as servers:
            made = AccessCampaign(
                kafka=servers.settings,
                database_url=servers.database_url,
                iys=servers.simulator,
                folder=folder,
                consents=consents,
                retailers=retailers,
                kills=kills,
                seed=seed,
                on_progress=show,
            )
            return asyncio.run(made.run())

    raise run_stage(
        "access",
        folder,
        campaign,
        lambda verdict, seconds: report(verdict, seed=seed, seconds=seconds),
    )


def report(verdict: AccessVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    summary = (
        f"{verdict.consents} lists in {seconds:.0f} s, {verdict.kills} times killed: "
        f"{verdict.calls} calls changed them, {verdict.fewest} at least are needed"
    )
    return RunReport(
        tables=[summary, *(f"  {one}" for one in verdict.wrong[:40])],
        data={"seed": seed, "seconds": round(seconds), **asdict(verdict)},
        figures={
            "access-lists": verdict.as_wanted,
            "access-calls": 100 * verdict.calls / verdict.fewest,
            "access-wrong": len(verdict.wrong),
        },
    )


if __name__ == "__main__":
    start("access", main)
