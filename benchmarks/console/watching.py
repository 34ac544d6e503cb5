"""What people who watch the overview cost: CPU of the console and of PostgreSQL beside it."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.process_usage import cpu_seconds
from izin.web.live import EVENT
from tests.support.console.site import Site

_LONGEST = 120
"""Seconds without an update; a stream ends before."""
_STREAM = re.compile(r'sse-connect="([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchCost:
    """The share of a core that the servers used, with nobody who watches and with all."""

    watchers: int
    idle: float
    busy: float
    updates: float
    """How many each watcher was sent."""

    @property
    def share(self) -> float:
        """The share of a core that is used for who watches."""
        return max(self.busy - self.idle, 0.0)


async def watch_cost(
    site: Site, servers: Sequence[int], *, watchers: int, seconds: float
) -> WatchCost | None:
    """Have so many people watch the overview; each connects again when its stream ends, as browsers
    do. None: it has nothing that updates itself.
    """
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=site.url, timeout=_LONGEST, limits=limits, trust_env=False
    ) as client:
        link = await asyncio.to_thread(site.link)
        await client.post(link, headers={"Origin": site.url})
        page = await client.get("/")
        stream = _STREAM.search(page.text)
        if stream is None:
            return None
        idle = await _used(servers, seconds)
        updates = [0]
        tasks = [asyncio.create_task(_watch(client, stream[1], updates)) for _ in range(watchers)]
        busy = await _used(servers, seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return WatchCost(watchers=watchers, idle=idle, busy=busy, updates=updates[0] / watchers)


async def _watch(client: httpx.AsyncClient, stream: str, updates: list[int]) -> None:
    while True:
        async with client.stream("GET", stream) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                updates[0] += line == f"event: {EVENT}"


async def _used(servers: Sequence[int], seconds: float) -> float:
    """Return the share of a core that the servers use for so long, with their processes."""
    before = dict(_usage(servers))
    await asyncio.sleep(seconds)
    after = dict(_usage(servers))
    return sum(used - before.get(pid, used) for pid, used in after.items()) / seconds


def _usage(servers: Sequence[int]) -> Iterator[tuple[int, float]]:
    for pid in servers:
        with suppress(OSError):  # it has ended
            yield pid, cpu_seconds(pid)
            for thread in Path(f"/proc/{pid}/task").glob("*/children"):
                yield from _usage([int(each) for each in thread.read_text().split()])
