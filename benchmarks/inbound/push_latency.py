"""The benchmark ``push-latency``: from İYS's push until the opt-out is read from its topic.

A local stack runs: broker, database, simulator, order worker and sink. Pushes are posted to the
receiver as İYS posts them, each at its instant even if earlier ones are unanswered, and
``consent-opt-outs`` is read ``read_committed``. First one opt-out a push while nothing else
happens, then many.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Self

import httpx
import typer
from confluent_kafka import TopicPartition
from rich.table import Table

from benchmarks.results import RunReport, progress
from benchmarks.worker.probe import LatencySummary
from izin.console.local_stack.settings import ACTIVE, Ports, example_brands
from izin.console.local_stack.stack import LocalStack
from izin.iys.wire_format.json_reader import to_turkish
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings

_WARM = 20
_WITHIN = 60.0
"""Seconds in which every opt-out must have come."""
_POLL = 0.05
_BATCH = 1000
_NOT_ON_THE_WAY = ("intake", "feeds", "gate", "webhooks")
"""Processes of the local stack that would only take CPU."""
_NUMBERS = count()
"""No recipient comes twice."""


class OptOutReader:
    """Notes when opt-outs of recipients are read, in a thread of its own; a context manager."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self.seen: dict[str, float] = {}
        """When each recipient's opt-out was read first."""
        self._over = threading.Event()
        topic = settings.topics.opt_outs.name
        self._places = [
            TopicPartition(topic, number, end)
            for number, end in kafka.committed_ends(settings, topic).items()
        ]
        self._thread = threading.Thread(target=self._read, name="opt-outs", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_WITHIN)

    def _read(self) -> None:
        reader = kafka.consumer(self._settings, "bench-push", **{"fetch.wait.max.ms": 100})
        try:
            reader.assign(self._places)
            while not self._over.is_set():
                messages = reader.consume(1, _POLL)
                now = perf_counter()
                messages += reader.consume(_BATCH, 0) if messages else []
                for message in messages:
                    key = message.key()
                    if key is not None and message.error() is None:
                        self.seen.setdefault(key.decode().rpartition("/")[2], now)
        finally:
            reader.close()


def push_latency(
    pushes: Annotated[int, typer.Option(min=1, help="Pushes of one opt-out each.")] = 300,
    per_second: Annotated[float, typer.Option(min=0.1, help="Of them, a second.")] = 5,
    load: Annotated[int, typer.Option(min=1, help="Opt-outs a second under load.")] = 500,
    size: Annotated[int, typer.Option(min=1, help="Opt-outs in a push under load.")] = 10,
    seconds: Annotated[int, typer.Option(min=1, help="How long the load lasts.")] = 30,
) -> RunReport:
    """Measure how soon an opt-out that İYS pushes can be read, idle and under load."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        progress().status("starting the local stack") as status,
        LocalStack(
            Path(folder) / "stack",
            brands=example_brands(),
            ports=Ports(),
            partitions=4,
            on_progress=status.update,
        ) as stack,
        OptOutReader(stack.kafka_settings) as reader,
    ):
        for name in _NOT_ON_THE_WAY:
            stack.supervisor.stop(name)
        bench = PushBench(
            url=f"{stack.url('sink')}/iys/push",
            auth=("iys", stack.environment["IZIN_PUSH_PASSWORD"]),
            reader=reader,
        )
        status.update("measuring")
        found = asyncio.run(
            bench.measure_both(
                pushes=pushes, per_second=per_second, load=load, size=size, seconds=seconds
            )
        )
    title = f"İYS's push until readable; under load {size} opt-outs a push, for {seconds} s"
    table = Table(title=title)
    table.add_column("pushes")
    for heading in ("opt-outs", "p50, ms", "p99, ms", "most, ms"):
        table.add_column(heading, justify="right")
    for one in found:
        figures = (f"{value:.1f}" for value in (one.p50, one.p99, one.most))
        table.add_row(one.name, f"{one.probes:,}", *figures)
    return RunReport(
        tables=[table],
        data={"unit": "ms", "latencies": [asdict(one) for one in found]},
        figures={"push-idle": found[0].p99, "push-load": found[1].p99},
    )


class PushBench:
    """Posts pushes as İYS does, and waits for their opt-outs."""

    def __init__(self, *, url: str, auth: tuple[str, str], reader: OptOutReader) -> None:
        self._url = url
        self._auth = auth
        self._reader = reader

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
        began: dict[str, float] = {}
        start = perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(pushes):
                await asyncio.sleep(max(start + number / per_second - perf_counter(), 0))
                recipients = [f"+90502{next(_NUMBERS):07d}" for _ in range(size)]
                began |= dict.fromkeys(recipients, perf_counter())
                tasks.create_task(self._push(client, recipients))
        async with asyncio.timeout(_WITHIN):
            while not self._reader.seen.keys() >= began.keys():  # noqa: ASYNC110  # of a thread
                await asyncio.sleep(_POLL)
        return [self._reader.seen[one] - at for one, at in began.items()]

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
