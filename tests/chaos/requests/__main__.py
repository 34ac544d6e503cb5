"""``python -m tests.chaos.requests``: hostile requests; ``make chaos STAGE=requests``.

``CHAOS_ARGS="--requests 900 --quiet 1"`` shortens it; ``--seed``, the API and the number of a
request, which each fault names, make that request again:
``tests.chaos.requests.making.hostile_request``.

Intake, feeds, gate and push receiver each get hostile requests on raw sockets: heads, lengths and
chunks that can be read in two ways, bodies, queries, cursors and keys. Beside them a neighbour's
lawful requests, 50 a second, are measured from when each is due, alone and beside them, three
times. It ends with the lines ``requests``, of the API that got the fewest, ``requests-5xx`` and
``requests-neighbour-p99-ms``, of the API that is slowest, ``ok`` or ``short``. Exit codes: 0 all
hold; 1 one does not, a process ended or answers wrongly, or a request was not answered or was
smuggled; 2 wrong usage.
"""

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx
import typer

from benchmarks.results import RunReport
from benchmarks.worker.probe import LatencySummary, latency_table
from izin.runtime.settings import KafkaSettings
from tests.chaos.command import (
    Show,
    counted,
    listed,
    run_stage,
    start,
)
from tests.chaos.pipeline import running_servers
from tests.chaos.requests.apis import TARGETS, Api
from tests.chaos.requests.making import Known
from tests.chaos.requests.processes import ApiProcess, ask, running, tracebacks, wrong_answer
from tests.chaos.requests.writer import Answers, HostileRun, send
from tests.support.simulator import SimulatorAdmin

_EVERY = 0.02
"""Seconds between two lawful requests."""
FLOOR = 50.0
"""Milliseconds that the slowest hundredth may take in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourPair:
    """The waits of a neighbour, without and beside hostile requests."""

    without: LatencySummary
    beside: LatencySummary

    @property
    def p99(self) -> float:
        """The 99th percentile beside them, in milliseconds; in proportion, where twice that without
        them is more than ``FLOOR``.
        """
        return self.beside.p99 * FLOOR / max(2 * self.without.p99, FLOOR)


@dataclass(slots=True, kw_only=True)
class ApiVerdict:
    """What came of the requests to one API."""

    sent: int = 0
    answers: Answers = field(default_factory=Answers)
    pairs: list[NeighbourPair] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """What the neighbour got wrongly, and that the process ended."""

    @property
    def p99(self) -> float:
        """Of the neighbour: the median of the pairs'."""
        return median(one.p99 for one in self.pairs)


@dataclass(slots=True, kw_only=True)
class RequestsCampaign:
    """Processes that serve the APIs, what hostile clients send to each, and its neighbour."""

    settings: KafkaSettings
    database_url: str
    simulator: SimulatorAdmin
    folder: Path
    """Of the logs."""
    seed: int = 1
    apis: Sequence[Api] = tuple(Api)
    requests: int = 20_000
    """Hostile ones to each API, over all pairs."""
    rate: float = 200.0
    """Hostile requests a second, at most."""
    pairs: int = 3
    quiet: float = 8.0
    """Seconds of the neighbour without them, in each pair."""
    on_progress: Callable[[str], None] = lambda _: None

    async def run(self) -> Mapping[Api, ApiVerdict]:
        """Send all of them to one API after the other; return what came of it, by API."""
        found = {api: ApiVerdict() for api in self.apis}
        context = multiprocessing.get_context("spawn")
        async with running(self.settings, self.database_url, self.simulator, self.folder) as served:
            with ProcessPoolExecutor(1, mp_context=context) as processes:
                for api, one in ((api, served[api]) for api in self.apis):
                    known = await self._known(one)
                    one.goes_first()
                    for number in range(self.pairs):
                        await self._pair(number, one, known, found[api], processes)
                    found[api].failed += await self._faults_of(one)
            failed = [fault for one in served.values() for fault in await self._faults_of(one)]
        found[self.apis[0]].failed += [*failed, *tracebacks(self.folder)]
        return found

    async def _known(self, one: ApiProcess) -> Known:
        """Return what the key of the hostile client gets to know."""
        target = TARGETS[one.api]
        topics = self.settings.topics
        if target.body is not None:
            return Known(api=one.api, topics=(topics.events.name, topics.express.name))
        headers = {"Authorization": target.authorization}
        async with httpx.AsyncClient(base_url=one.url, headers=headers, trust_env=False) as client:
            page = (await client.get(target.path)).raise_for_status().json()
        return Known(
            api=one.api,
            cursor=page["next"],
            topics=(topics.events.name, topics.express.name),
        )

    async def _pair(
        self,
        number: int,
        one: ApiProcess,
        known: Known,
        verdict: ApiVerdict,
        processes: ProcessPoolExecutor,
    ) -> None:
        """Measure the neighbour alone for a while, then beside a share of the hostile requests."""
        loop = asyncio.get_running_loop()
        self.on_progress(f"{one.api}: pair {number + 1} of {self.pairs}")
        without = await self._neighbour(one, verdict, asyncio.sleep(self.quiet))
        count = -(-self.requests // self.pairs)
        run = HostileRun(
            known=known,
            port=one.port,
            seed=self.seed,
            first=number * count,
            count=count,
            rate=self.rate,
        )
        sending = loop.run_in_executor(processes, send, run)
        beside = await self._neighbour(one, verdict, sending)
        answers = await sending
        verdict.sent += count
        verdict.answers.statuses.update(answers.statuses)
        verdict.answers.faults += answers.faults
        verdict.answers.wrong += answers.wrong
        verdict.pairs.append(NeighbourPair(without=without, beside=beside))

    async def _neighbour(
        self, one: ApiProcess, verdict: ApiVerdict, until: Awaitable[object]
    ) -> LatencySummary:
        """Send lawful requests until ``until`` is done; return from when each was due to when it
        was answered.
        """
        done, waits = asyncio.ensure_future(until), list[float]()
        wrong: Counter[str] = Counter()
        async with (
            httpx.AsyncClient(base_url=one.url, trust_env=False, timeout=30) as client,
            asyncio.TaskGroup() as tasks,
        ):

            async def timed(number: int, due: float) -> None:
                wrong[await ask(client, one, number)] += 1
                waits.append(time.monotonic() - due)

            due, number = time.monotonic(), 0
            while not done.done():
                tasks.create_task(timed(number, due))
                due, number = due + _EVERY, number + 1
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        del wrong[""]
        verdict.failed += [f"neighbour, {count} times: {text}" for text, count in wrong.items()]
        return LatencySummary.of(one.api, waits)

    async def _faults_of(self, one: ApiProcess) -> Sequence[str]:
        """Return whether a process has ended, or does not answer rightly."""
        if one.end() is not None:
            return [f"{one.api} ended with {one.end()}"]
        wrong = await wrong_answer(one)
        return [f"afterwards, {wrong}"] if wrong else []


def main(  # noqa: PLR0917  # options
    requests: Annotated[int, typer.Option(min=1, help="Hostile ones to each API.")] = 20_000,
    rate: Annotated[float, typer.Option(min=1, help="Of them a second, at most.")] = 200.0,
    quiet: Annotated[float, typer.Option(min=0.5, help="Seconds without them, each pair.")] = 8.0,
    pairs: Annotated[
        int, typer.Option(min=1, help="Measurements, the median of which counts.")
    ] = 3,
    only: Annotated[list[Api] | None, typer.Option(help="The API; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="The same requests for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data and logs, and the result.")] = Path(
        ".izin/chaos-requests"
    ),
) -> None:
    """Send hostile requests to each API beside lawful ones, and judge all answers."""

    def campaign(show: Show) -> Mapping[Api, ApiVerdict]:
        with running_servers(folder, partitions=4, heap="1g", java_options=()) as servers:
            made = RequestsCampaign(
                settings=servers.settings,
                database_url=servers.database_url,
                simulator=servers.simulator,
                folder=folder,
                seed=seed,
                apis=only or tuple(Api),
                requests=requests,
                rate=rate,
                quiet=quiet,
                pairs=pairs,
                on_progress=show,
            )
            return asyncio.run(made.run())

    raise run_stage(
        "requests",
        folder,
        campaign,
        lambda found, seconds: report(found, seed=seed, seconds=seconds),
    )


def report(found: Mapping[Api, ApiVerdict], *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    pairs = [pair for one in found.values() for pair in one.pairs]
    summaries = [summary for pair in pairs for summary in (pair.without, pair.beside)]
    faults = [f"{api}: {fault}" for api, one in found.items() for fault in one.answers.faults]
    wrong = [f"{api}: {fault}" for api, one in found.items() for fault in one.answers.wrong]
    return RunReport(
        tables=[
            latency_table(summaries, "A neighbour, due until answered", "API", "requests"),
            f"seed {seed}: {sum(one.sent for one in found.values())} hostile, {seconds:.0f} s",
            *(f"  {api}: {counted(_by_status(one))}" for api, one in found.items()),
            *listed(faults),
            *listed(wrong),
        ],
        data={
            "seed": seed,
            "seconds": round(seconds),
            "p99": {
                api: [[p.without.p99, p.beside.p99] for p in one.pairs]
                for api, one in found.items()
            },
            "statuses": {api: one.answers.statuses for api, one in found.items()},
            "5xx": faults,
            "wrong": wrong,
        },
        figures={
            "requests": min(one.sent for one in found.values()),
            "requests-5xx": len(faults),
            "requests-neighbour-p99-ms": max(one.p99 for one in found.values()),
        },
        failures=[*(fault for one in found.values() for fault in one.failed), *wrong[:1]],
    )


def _by_status(verdict: ApiVerdict) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for name, count in verdict.answers.statuses.items():
        status = name.rpartition(" ")[2]
        found[status] = found.get(status, 0) + count
    return found


if __name__ == "__main__":
    start("requests", main)
