"""Load on the simulator: a real process of it, a client on one connection a call, loopback only.

Consents are generated before the clock starts. Every unexpected response, and every item
whose result is not a success, counts as an error; CPU time is the simulator's own.
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path as FilePath
from time import perf_counter

import httpx
from iys_simulator.clock import wire_text
from iys_simulator.rules.consent import Consent
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Account, Brand, Subscription
from iys_simulator.store.database import Database
from iys_simulator.store.movements import Origin, WritePath
from iys_simulator.store.register import Register, SaveContext

from benchmarks.process_usage import cpu_seconds, peak_megabytes
from izin.local import Child, Command, free_port

CODE = 900001
BATCH_SIZE = 1000
_LOGIN = {"username": "bench@example.com", "password": "bench", "grant_type": "password"}
_BATCHES = f"/sps/{CODE}/brands/{CODE}/consents/request"
_RESULT_DELAY = 1.0
_WITHIN = timedelta(minutes=5)
_ACCEPTED, _OK = 202, 200
_FILL_BATCH = 20_000
_NUMBERS = 10**9
_STRIDE = 618_033_989  # shares no factor with it: addresses are scattered, and none comes twice


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """One load: consents sent, errors, seconds, and the simulator's CPU seconds."""

    name: str
    consents: int
    errors: int
    seconds: float
    cpu: float
    peak_mb: float
    slowest_ms: float

    @property
    def per_second(self) -> float:
        """Consents a second."""
        return self.consents / self.seconds

    @property
    def cpu_share(self) -> float:
        """CPU seconds a second: 1 is one core."""
        return self.cpu / self.seconds


@contextmanager
def run_simulator(folder: FilePath, state: FilePath | None) -> Iterator[Child]:
    """Run a simulator of its own, over the file ``state`` or in memory; it ends with the block."""
    port = free_port()
    options = {
        "--port": port,
        "--requests-per-second": 0,
        "--token-limit": 0,
        "--result-delay": _RESULT_DELAY,
        "--account": f"{_LOGIN['username']}:{_LOGIN['password']}:{CODE}",
        "--brand": f"{CODE}:{CODE}:Bench:2020-01-01 00:00:00",
        **({"--state": state} if state else {}),
    }
    argv = [str(word) for option in options.items() for word in option]
    url = f"http://127.0.0.1:{port}"
    child = Child(
        Command(
            name="simulator",
            argv=(sys.executable, "-m", "iys_simulator", "serve", *argv),
            environment=None,
            log=folder / "simulator.log",
            ready=f"{url}/__simulator__/health",
            ready_within=_WITHIN,
        )
    )
    child.start()
    try:
        child.wait_ready()
        yield child
    finally:
        child.stop()


def url_of(child: Child) -> str:
    """Return the address of a running simulator."""
    return str(child.command.ready).removesuffix("/__simulator__/health")


def batch_bodies(first: int, count: int) -> list[bytes]:
    """Return batch bodies of 1,000 synthetic consents each, dated a moment ago.

    Addresses begin with the number `first` and are unique.
    """
    date = wire_text(int((datetime.now(UTC) - timedelta(minutes=1)).timestamp()))
    starts = range(first, first + count * BATCH_SIZE, BATCH_SIZE)
    return [
        json.dumps([_item(number, date) for number in range(start, start + BATCH_SIZE)]).encode()
        for start in starts
    ]


async def paced_load(child: Child, sent: Sequence[bytes], *, per_second: float) -> LoadResult:
    """Send a batch every 1/``per_second`` s, whatever the responses, then poll all results."""
    async with _client(child) as client:
        began, used = perf_counter(), cpu_seconds(child.pid or 0)
        calls = []
        for number, body in enumerate(sent):
            await asyncio.sleep(max(0.0, began + number / per_second - perf_counter()))
            calls.append(asyncio.create_task(_add(client, body)))
        added = [await call for call in calls]
        await asyncio.sleep(max(0.0, began + len(sent) / per_second - perf_counter()))
        seconds = perf_counter() - began
        errors = await _unsuccessful(client, [one for one, _ in added])
        # Polling is part of the work, and its CPU counts; its time is not load.
        cpu = cpu_seconds(child.pid or 0) - used
    return _result("10 batches a second", child, added, errors=errors, seconds=seconds, cpu=cpu)


async def unpaced_load(child: Child, sent: Sequence[bytes], *, callers: int = 2) -> LoadResult:
    """Send batches one after the other, and wait until the last one is saved."""
    async with _client(child) as client:
        began, used = perf_counter(), cpu_seconds(child.pid or 0)
        waiting = iter(sent)

        async def call() -> list[tuple[str | None, float]]:
            return [await _add(client, body) for body in waiting]

        calls = await asyncio.gather(*(call() for _ in range(callers)))
        added = [one for each in calls for one in each]
        errors = await _unsuccessful(client, [one for one, _ in added])
        # The last batch waits for its delay, which is no work.
        seconds = perf_counter() - began - _RESULT_DELAY
        cpu = cpu_seconds(child.pid or 0) - used
    return _result("as fast as it can", child, added, errors=errors, seconds=seconds, cpu=cpu)


def fill(state: FilePath, records: int) -> int:
    """Write addresses into the file ``state`` without the API until there are ``records``.

    Return how many there are: a file may hold more already, and a half-filled one is continued.
    """
    database = Database(state)
    simulator = SimulatorState(database=database)
    simulator.directory.add_account(
        Account(username=_LOGIN["username"], password=_LOGIN["password"], iys_code=CODE),
        Subscription(iys_code=CODE),
    )
    simulator.directory.add_brand(Brand(code=CODE, iys_code=CODE, name="Bench"))
    register = Register(database, CODE)
    second = int(datetime.now(UTC).timestamp()) - 86_400
    numbers = range(register.size, records)
    save_consents(
        register, (_consent(number, wire_text(second - 60)) for number in numbers), second
    )
    database.close()
    return register.size


def save_consents(register: Register, consents: Iterable[Consent], second: int) -> None:
    """Write consents of different keys, new to ``register``, without the API; their creation date
    is ``second`` (Unix time).
    """
    waiting = iter(consents)
    while some := list(islice(waiting, _FILL_BATCH)):
        origin = Origin(path=WritePath.BATCH, client="bench", request_id=f"fill-{register.size}")
        context = SaveContext(second=second, occurred_at=second * 1000, origin=origin)
        register.save_all(list(enumerate(some)), {}, context)


def _consent(number: int, date: str) -> Consent:
    item = _item(number, date)
    return Consent(
        type=item["type"],
        recipient_type=item["recipientType"],
        recipient=item["recipient"],
        status=item["status"],
        source=item["source"],
        consent_date=date,
    )


def _item(number: int, date: str) -> dict[str, str]:
    return {
        "type": "MESAJ",
        "source": "HS_WEB",
        "recipient": f"+905{number * _STRIDE % _NUMBERS:09d}",
        "status": "ONAY",
        "consentDate": date,
        "recipientType": "BIREYSEL",
    }


def _client(child: Child) -> httpx.AsyncClient:
    url = url_of(child)
    answer = httpx.post(f"{url}/oauth2/token", json=_LOGIN, trust_env=False)
    headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
    limits = httpx.Limits(max_connections=32)
    return httpx.AsyncClient(
        base_url=url, headers=headers, timeout=60, limits=limits, trust_env=False
    )


async def _add(client: httpx.AsyncClient, body: bytes) -> tuple[str | None, float]:
    began = perf_counter()
    answer = await client.post(_BATCHES, content=body)
    taken = perf_counter() - began
    if answer.status_code != _ACCEPTED:
        return None, taken
    # Found in the bytes: reading a thousand sub-requests would cost the client more than sending.
    return answer.text.partition('"requestId":"')[2].partition('"')[0], taken


async def _unsuccessful(client: httpx.AsyncClient, requests: Sequence[str | None]) -> int:
    errors = 0
    for request_id in requests:
        if request_id is None:
            errors += BATCH_SIZE
            continue
        errors += BATCH_SIZE - await _successes(client, request_id)
    return errors


async def _successes(client: httpx.AsyncClient, request_id: str) -> int:
    limit = perf_counter() + _WITHIN.total_seconds()
    while perf_counter() < limit:
        answer = await client.get(f"{_BATCHES}/{request_id}")
        text = answer.text
        if answer.status_code != _OK:
            return 0
        if '"index"' in text and '"enqueue"' not in text:
            return text.count('"status":"success"')
        await asyncio.sleep(_RESULT_DELAY / 10)
    return 0


def _result(  # noqa: PLR0913 - each of them is a figure
    name: str,
    child: Child,
    added: Sequence[tuple[str | None, float]],
    *,
    errors: int,
    seconds: float,
    cpu: float,
) -> LoadResult:
    return LoadResult(
        name=name,
        consents=len(added) * BATCH_SIZE,
        errors=errors,
        seconds=seconds,
        cpu=cpu,
        peak_mb=peak_megabytes(child.pid or 0),
        slowest_ms=max(taken for _, taken in added) * 1000,
    )
