"""The processes of the four APIs, on loopback, over one broker and one ledger."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen

import httpx
from pydantic import SecretStr

from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import TopicMessages
from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from tests.chaos.pipeline import until
from tests.chaos.requests.apis import PUSH, TARGETS, Api
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.api_keys import a_second_key, an_api_key, publish_key
from tests.support.builders import NOON, a_key
from tests.support.gate.topics import GateTopics
from tests.support.order.workers import Worker
from tests.support.registration import register_brand
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

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
            program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
            if b"python" in program:
                level = 0 if pid == self.process.pid else _LOWEST
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    with suppress(PermissionError, ProcessLookupError):
                        os.setpriority(os.PRIO_PROCESS, int(thread.name), level)

    def end(self) -> int | None:
        """Return the status with which it has ended, if it has."""
        return self.process.poll()


@asynccontextmanager
async def running(
    settings: KafkaSettings, database_url: str, simulator: SimulatorAdmin, folder: Path
) -> AsyncIterator[Mapping[Api, ApiProcess]]:
    """Run all of them for a brand and two keys, beside an order worker, without which the gate
    knows nothing; yield them once each answers rightly.
    """
    simulator.configure(hiddenWindow=0)
    await _prepare(settings, database_url)
    sinks = SinkProcesses(
        count=1,
        settings=settings,
        database_url=database_url,
        simulator=simulator,
        log=folder / "sinks.log",
        result_delay=0.2,
        environment=dict(zip(("IZIN_PUSH_USERNAME", "IZIN_PUSH_PASSWORD"), PUSH, strict=True)),
    )
    with ExitStack() as stack:
        stack.callback(sinks.end)
        sinks.start()
        (sink,) = sinks.running.values()
        found = {Api.PUSH: ApiProcess(api=Api.PUSH, port=sinks.ports[0][0], process=sink)}
        order = Worker("order", settings, folder / "order.log")
        stack.callback(order.kill)
        for api in _MODULES:
            port = free_port()
            worker = _worker(api, port, settings, folder)
            stack.callback(worker.kill)
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
        "IZIN_FEEDS_REFLECT_WITHIN": "PT0.2S",
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
