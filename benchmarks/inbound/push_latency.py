"""The benchmark ``push-latency``: from İYS's push until the opt-out is read from its topic.

A local stack runs: broker, database, simulator, order worker and sink. Pushes are posted to the
receiver as İYS posts them, each at its instant even if earlier ones are unanswered, and
``consent-opt-outs`` is read ``read_committed``. First one opt-out a push while nothing else
happens, then many.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from time import perf_counter
from typing import Annotated

import httpx
import typer

from benchmarks.local_stack import running_local_stack
from benchmarks.results import RunReport
from benchmarks.worker.probe import ArrivalReader, LatencySummary, latency_table
from izin.iys.wire_format.json_reader import to_turkish
from izin.stack.stack_settings import ACTIVE

_WARM = 20
_WITHIN = 60.0
"""Seconds in which every opt-out must have come."""
_POLL = 0.05
_NOT_ON_THE_WAY = ("intake", "feeds", "gate", "webhooks", "api")
"""Processes of the local stack that would only take CPU."""
_NUMBERS = count()
"""No recipient comes twice."""


def push_latency(
    pushes: Annotated[int, typer.Option(min=1, help="Pushes of one opt-out each.")] = 300,
    per_second: Annotated[float, typer.Option(min=0.1, help="Of them, a second.")] = 5,
    load: Annotated[int, typer.Option(min=1, help="Opt-outs a second under load.")] = 500,
    size: Annotated[int, typer.Option(min=1, help="Opt-outs in a push under load.")] = 10,
    seconds: Annotated[int, typer.Option(min=1, help="How long the load lasts.")] = 30,
) -> RunReport:
    """Measure how soon an opt-out that İYS pushes can be read, idle and under load."""
    with running_local_stack() as stack:
        for name in _NOT_ON_THE_WAY:
            stack.supervisor.stop(name)
        topic = stack.kafka_settings.topics.opt_outs.name
        with ArrivalReader(stack.kafka_settings, [topic]) as reader:
            bench = PushBench(
                url=f"{stack.url('sink')}/iys/push",
                auth=("iys", stack.environment["IZIN_PUSH_PASSWORD"]),
                seen=reader.seen[topic],
            )
            found = asyncio.run(
                bench.measure_both(
                    pushes=pushes, per_second=per_second, load=load, size=size, seconds=seconds
                )
            )
    title = f"İYS's push until readable; under load {size} opt-outs a push, for {seconds} s"
    return RunReport(
        tables=[latency_table(found, title, "pushes", "opt-outs")],
        data={"unit": "ms", "latencies": [asdict(one) for one in found]},
        figures={"push-idle": found[0].p99, "push-load": found[1].p99},
    )


class PushBench:
    """Posts pushes as İYS does, and waits for their opt-outs."""

    def __init__(self, *, url: str, auth: tuple[str, str], seen: Mapping[bytes, float]) -> None:
        self._url = url
        self._auth = auth
        self._seen = seen

    async def measure_both(
        self, *, pushes: int, per_second: float, load: int, size: int, seconds: int
    ) -> list[LatencySummary]:
        """Return the latencies while nothing else happens, and at ``load`` opt-outs a second."""
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(
            auth=self._auth, limits=limits, timeout=_WITHIN, trust_env=False
        ) as client:
            await self._measure(client, _WARM, per_second=20, size=1)
            idle = await self._measure(client, pushes, per_second=per_second, size=1)
            busy = await self._measure(
                client, load * seconds // size, per_second=load / size, size=size
            )
        return [
            LatencySummary.of(f"{per_second:g} a second", idle),
            LatencySummary.of(f"{load} opt-outs a second", busy),
        ]

    async def _measure(
        self, client: httpx.AsyncClient, pushes: int, *, per_second: float, size: int
    ) -> list[float]:
        """Post so many pushes, each at its instant; return the seconds that each opt-out took.

        Raises:
            TimeoutError: some do not come back.
            ExceptionGroup: a push is not taken.
        """
        began: dict[bytes, float] = {}
        start = perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(pushes):
                await asyncio.sleep(max(start + number / per_second - perf_counter(), 0))
                recipients = [f"+90502{next(_NUMBERS):07d}" for _ in range(size)]
                keys = [f"{ACTIVE}/MESAJ/BIREYSEL/{one}".encode() for one in recipients]
                began |= dict.fromkeys(keys, perf_counter())
                tasks.create_task(self._push(client, recipients))
        async with asyncio.timeout(_WITHIN):
            while not self._seen.keys() >= began.keys():  # noqa: ASYNC110  # of a thread
                await asyncio.sleep(_POLL)
        return [self._seen[one] - at for one, at in began.items()]

    async def _push(self, client: httpx.AsyncClient, recipients: Sequence[str]) -> None:
        now = to_turkish(datetime.now(UTC))
        items = [
            {
                "iysCode": ACTIVE,
                "brandCode": ACTIVE,
                "consentDate": now,
                "creationDate": now,
                "source": "IYS_WEB",
                "recipient": recipient,
                "recipientType": "BIREYSEL",
                "status": "RET",
                "type": "MESAJ",
                "transactionId": recipient.removeprefix("+").zfill(64),
            }
            for recipient in recipients
        ]
        (await client.post(self._url, json={"list": items})).raise_for_status()
