"""``python -m tests.chaos.requests``: hostile requests; ``make chaos STAGE=requests``.

The processes of the four APIs run on loopback, over one broker and one ledger.

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
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import Popen
from typing import Annotated

import httpx
import typer
from pydantic import SecretStr

from benchmarks.results import RunReport
from benchmarks.worker.probe import LatencySummary, latency_table
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import TopicMessages
from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from tests.chaos.command import (
    FLOOR,
    Pair,
    Show,
    counted,
    listed,
    run_stage,
    start,
)
from tests.chaos.pipeline import CampaignServers, running_servers, until
from tests.chaos.requests.apis import PUSH, TARGETS, Api
from tests.chaos.requests.making import Known
from tests.chaos.requests.writer import Answers, send
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import NOON, a_key, a_second_key, an_api_key
from tests.support.order.verdict import Worker
from tests.support.published import GateTopics, publish_key
from tests.support.registration import register_brand
from tests.support.simulator import SinkProcesses

_EVERY = 0.02
"""Seconds between two lawful requests."""
_UP_WITHIN = 60.0
_LOWEST = 19
_MODULES: Mapping[Api, tuple[str, str]] = {
    Api.INTAKE: ("izin.producers", "INTAKE"),
    Api.FEEDS: ("izin.feeds", "FEEDS"),
    Api.GATE: ("izin.gate", "GATE"),
}
"""What is run, and what the names of its settings begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiProcess:
    """A process that serves an API."""

    api: Api
    port: int
    process: Popen[bytes]
    cursor: str = ""
    """Of feeds: where the neighbour reads on."""

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        """Whether it serves, as it says."""
        return answers(f"{self.url}/health/ready")

    def goes_first(self) -> None:
        """Let this process, Kafka and PostgreSQL run before whatever else the campaign has started,
        as if that were on other machines. Who may not raise a priority measures all alike.
        """
        for pid in _children():
            if b"python" in Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]:
                level = 0 if pid == self.process.pid else _LOWEST
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    with suppress(PermissionError, ProcessLookupError):
                        os.setpriority(os.PRIO_PROCESS, int(thread.name), level)

    def end(self) -> int | None:
        """Return the status with which it has ended, if it has."""
        return self.process.poll()


@asynccontextmanager
async def running(servers: CampaignServers) -> AsyncIterator[Mapping[Api, ApiProcess]]:
    """Run all of them for a brand and two keys, beside an order worker, without which the gate
    knows nothing; yield them once each answers rightly.
    """
    settings, folder = servers.settings, servers.folder
    servers.simulator.configure(hiddenWindow=0)
    await _prepare(settings, servers.database_url)
    sinks = SinkProcesses(
        count=1,
        settings=settings,
        database_url=servers.database_url,
        simulator=servers.simulator,
        log=folder / "sinks.log",
        result_delay=0.2,
        environment=dict(zip(("IZIN_PUSH_USERNAME", "IZIN_PUSH_PASSWORD"), PUSH, strict=True)),
    )
    with ExitStack() as stack:
        stack.callback(sinks.end)
        sinks.start()
        (sink,) = sinks.running.values()
        found = {Api.PUSH: ApiProcess(api=Api.PUSH, port=sinks.ports[0][0], process=sink)}
        stack.enter_context(Worker("order", settings, folder / "order.log"))
        for api in _MODULES:
            port = free_port()
            worker = stack.enter_context(_worker(api, port, settings, folder))
            found[api] = ApiProcess(api=api, port=port, process=worker.process)
        for one in found.values():
            await until(one.is_ready, _UP_WITHIN, what=f"{one.api} that is ready")
        found[Api.FEEDS] = await _with_permissions(settings, found[Api.FEEDS])
        for one in found.values():
            await _answers_rightly(one)
        yield found


async def _prepare(settings: KafkaSettings, database_url: str) -> None:
    """Have a brand in the ledger, and in topics two keys and what the gate and feeds read."""
    await migrate(database_url)
    ledger = LedgerSettings(database_url=SecretStr(database_url), pool_size=1)
    async with Ledger(ledger, owner=1) as connection:
        messages = TopicMessages(Codec(), settings.topics)
        await register_brand(connection, messages, ACTIVE, by="test", now=datetime.now(UTC))
    scopes = frozenset(map(str, Scope))
    publish_key(settings, an_api_key(scopes=scopes))
    publish_key(settings, a_second_key(scopes=scopes)[1])


async def _with_permissions(settings: KafkaSettings, feeds: ApiProcess) -> ApiProcess:
    """Publish permissions; return the feeds with a cursor before them, as a client has that reads
    all the time: they are read from memory.
    """
    target = TARGETS[Api.FEEDS]
    headers = {"Authorization": target.neighbours}
    async with httpx.AsyncClient(base_url=feeds.url, trust_env=False, headers=headers) as client:
        page = (await client.get(target.path)).raise_for_status().json()
    topics = GateTopics(settings)
    topics.permit(*(a_key(recipient=f"+9055501{number:05}") for number in range(50)), at=NOON)
    return replace(feeds, cursor=page["next"])


def _worker(api: Api, port: int, settings: KafkaSettings, folder: Path) -> Worker:
    module, prefix = _MODULES[api]
    environment = {
        "IZIN_KAFKA_LOG_LEVEL": "2",
        "IZIN_LOG_LEVEL": "warning",
        f"IZIN_{prefix}_PORT": str(port),
        f"IZIN_{prefix}_OPERATIONS_PORT": str(free_port()),
    }
    return Worker(api, settings, folder / f"{api}.log", module=module, environment=environment)


async def _answers_rightly(one: ApiProcess) -> None:
    """Return once a process answers a lawful request rightly; raise TimeoutError after long."""
    end = time.monotonic() + _UP_WITHIN
    while wrong := await wrong_answer(one):
        if time.monotonic() > end:
            raise TimeoutError(wrong)
        await asyncio.sleep(0.1)


async def wrong_answer(one: ApiProcess) -> str:
    """Return how a process answers a lawful request, if not rightly."""
    async with httpx.AsyncClient(base_url=one.url, trust_env=False, timeout=10) as client:
        return await ask(client, one, 0)


async def ask(client: httpx.AsyncClient, one: ApiProcess, number: int) -> str:
    """Send the lawful request of this number; return what is wrong with its answer."""
    api, target = one.api, TARGETS[one.api]
    headers = {"Authorization": target.neighbours, "Content-Type": "application/json"}
    try:
        response = await client.request(
            target.method,
            target.path,
            content=target.lawful(number),
            params={"limit": "2", "after": one.cursor} if one.cursor else None,
            headers=headers,
        )
    except httpx.HTTPError as error:
        return f"{api}: {type(error).__name__}"
    if response.status_code == target.status and target.shows in response.text:
        return ""
    return f"{api}: {response.status_code} {response.text[:200]}"


def _children() -> Iterator[int]:
    """Yield the processes that this one has started."""
    for thread in Path("/proc/self/task").iterdir():
        yield from map(int, (thread / "children").read_text(encoding="ascii").split())


def tracebacks(folder: Path) -> Sequence[str]:
    """Return the logs with the traceback of an error that nobody expected."""
    return [
        f"{path.name} has tracebacks"
        for path in sorted(folder.glob("*.log"))
        if path.stem in {*Api, "sinks", "order"} and b"Traceback" in path.read_bytes()
    ]


@dataclass(slots=True, kw_only=True)
class ApiVerdict:
    """What came of the requests to one API."""

    sent: int = 0
    answers: Answers = field(default_factory=Answers)
    pairs: list[Pair] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """What the neighbour got wrongly, and that the process ended."""

    @property
    def p99(self) -> float:
        """Of the neighbour beside them, the median of the pairs', in milliseconds; in proportion,
        where twice that without them is more than ``FLOOR``.
        """
        return median(one.share for one in self.pairs) * FLOOR / 100


@dataclass(slots=True, kw_only=True)
class RequestsCampaign:
    """Processes that serve the APIs, what hostile clients send to each, and its neighbour."""

    servers: CampaignServers
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
        async with running(self.servers) as served:
            with ProcessPoolExecutor(1, mp_context=context) as processes:
                for api, one in ((api, served[api]) for api in self.apis):
                    known = await self._known(one)
                    one.goes_first()
                    for number in range(self.pairs):
                        await self._pair(number, one, known, found[api], processes)
                    found[api].failed += await self._faults_of(one)
            failed = [fault for one in served.values() for fault in await self._faults_of(one)]
        found[self.apis[0]].failed += [*failed, *tracebacks(self.servers.folder)]
        return found

    async def _known(self, one: ApiProcess) -> Known:
        """Return what the key of the hostile client gets to know."""
        target = TARGETS[one.api]
        topics = self.servers.settings.topics
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
        numbers = range(number * count, (number + 1) * count)
        run = partial(send, known, port=one.port, seed=self.seed, numbers=numbers, rate=self.rate)
        sending = loop.run_in_executor(processes, run)
        beside = await self._neighbour(one, verdict, sending)
        answers = await sending
        verdict.sent += count
        verdict.answers.statuses.update(answers.statuses)
        verdict.answers.faults += answers.faults
        verdict.answers.wrong += answers.wrong
        verdict.pairs.append(Pair(without=without, beside=beside))

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
                servers=servers,
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
