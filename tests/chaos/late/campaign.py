"""Transactions of many producers at once, whose ends are lost in one way or another."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from tests.chaos.late.broker import ProxiedBroker
from tests.chaos.late.writer import LateWriter, wrong
from tests.support.late_requests import Loss, late_requests
from tests.support.order.verdict import committed_records

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LateVerdict:
    """What became of the transactions."""

    transactions: int
    losses: Counter[str]
    """How ends were lost."""
    partitions_added_late: int
    late_answers: Counter[int]
    """What the broker answered to ends that came late, by its error; 0: it ended something."""
    wrong: tuple[str, ...]


async def run(
    folder: Path,
    *,
    ends: int,
    producers: int,
    seed: int,
    on_progress: Callable[[str], None] = lambda _: None,
) -> LateVerdict:
    """Let so many ends of transactions of so many producers come late, then compare."""
    with ProxiedBroker(folder) as broker:
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, partitions=producers)
        await asyncio.to_thread(ensure_topics, settings)
        async with late_requests(_HOST, broker.behind_proxy, broker.proxy_port) as proxy:
            writers = [
                LateWriter(
                    number=number,
                    settings=settings,
                    bootstrap_servers=f"{_HOST}:{broker.proxy_port}",
                    proxy=proxy,
                    random=Random(f"{seed}/{number}"),
                )
                for number in range(producers)
            ]
            showing = asyncio.create_task(_show(writers, ends, on_progress))
            async with asyncio.TaskGroup() as group:
                for one in writers:
                    group.create_task(one.run(-(-ends // producers)))
            showing.cancel()
        topic = settings.topics.decisions.name
        keys = await asyncio.to_thread(
            lambda: [one.key() or b"" for one in committed_records(settings, topic)]
        )
    return verdict(writers, keys)


async def _show(writers: list[LateWriter], ends: int, show: Callable[[str], None]) -> None:
    while True:
        show(f"{sum(one.losses[Loss.LATE] for one in writers)}/{ends} ends came late")
        await asyncio.sleep(1)


def verdict(writers: list[LateWriter], keys: list[bytes]) -> LateVerdict:
    """Return the verdict on the committed records, which have these ``keys``."""
    return LateVerdict(
        transactions=sum(len(one.ends) for one in writers),
        losses=sum((one.losses for one in writers), Counter()),
        partitions_added_late=sum(one.partitions_added_late for one in writers),
        late_answers=sum((one.late_answers for one in writers), Counter()),
        wrong=wrong(writers, keys),
    )
