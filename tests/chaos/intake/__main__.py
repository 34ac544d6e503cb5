"""``python -m tests.chaos.intake``: signups while the broker is away; ``make chaos STAGE=intake``.

A client posts 500 records a second to one intake, each with an id of its own, and sends again what
was not answered with 202. The broker is away for a minute meanwhile, and the intake is killed
twice. An order worker decides what comes.

An opt-in is to be decided exactly once, from its first receipt. An opt-out never waits to know its
first receipt: sent again, it may count from later once more, which harms nobody's right
(:mod:`izin.producers.intake.validation`); how many did is printed.

It ends with the lines ``intake-accepted``, ``intake-lost`` (answered with 202, and not in a topic)
and ``intake-decided-twice`` (not decided exactly once), ``ok`` or ``short``. Exit codes: 0 all
hold, 1 one does not, 2 wrong usage. ``CHAOS_ARGS="--seconds 60 --away 20"`` shortens it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from benchmarks.results import RunReport
from izin.kafka.bounded_reader import read_all
from izin.kafka.clients import ensure_topics
from izin.local import Kafka, free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.chaos.command import Seed, Show, counted, listed, run_stage, start
from tests.chaos.pipeline import until
from tests.support.builders import AUTHORIZATION, BRAND, an_api_key
from tests.support.order.verdict import Worker
from tests.support.published import publish_brand, publish_key

_UP_WITHIN = 60.0
_DECIDED_WITHIN = 180.0
_AT_ONCE = 400
"""Posts that the client has on their way."""
_AGAIN_AFTER = 1.0
_PARTITIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeVerdict:
    """What came of the posts."""

    posted: int
    accepted: Mapping[str, str]
    """By the id of the record, that of its event."""
    answers: Mapping[str, int]
    """By status, or by the error of the client."""
    lost: tuple[str, ...]
    not_once: tuple[str, ...]
    repeated: int
    """Opt-outs that were decided again, at a later instant."""


def is_opt_out(name: str) -> bool:
    """Whether the record of this id is a RET: each fifth."""
    return int(name.rpartition("-")[2]) % 5 == 0


@dataclass(slots=True)
class Client:
    """Posts each record until it is accepted, to the ``urls`` in turn."""

    urls: Sequence[str]
    rate: float
    accepted: dict[str, str] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)

    async def run(self, count: int) -> None:
        """Post so many records, each due at its instant."""
        began, free = time.monotonic(), asyncio.Semaphore(_AT_ONCE)
        connector = aiohttp.TCPConnector(limit=_AT_ONCE)
        async with (
            aiohttp.ClientSession(connector=connector, headers=AUTHORIZATION) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number / self.rate - time.monotonic()))
                await free.acquire()
                task = tasks.create_task(self._post(session, number))
                task.add_done_callback(lambda _: free.release())

    async def _post(self, session: aiohttp.ClientSession, number: int) -> None:
        record = {
            "recipient": f"+90555{number:07d}",
            "type": "MESAJ",
            "status": "RET" if is_opt_out(f"signup-{number}") else "ONAY",
            "source": "HS_WEB",
            "brand_code": BRAND,
            "date_basis": "received",
            "id": f"signup-{number}",
        }
        for url in islice(cycle(self.urls), number % len(self.urls), None):
            try:
                timeout = aiohttp.ClientTimeout(total=30)
                async with session.post(url, json=record, timeout=timeout) as answer:
                    self.answers[str(answer.status)] += 1
                    if answer.status == 202:
                        (event,) = (await answer.json())["events"]
                        self.accepted[f"signup-{number}"] = event["event_id"]
                        return
            except (aiohttp.ClientError, TimeoutError) as error:
                self.answers[type(error).__name__] += 1
            await asyncio.sleep(_AGAIN_AFTER)


@dataclass(slots=True, kw_only=True)
class IntakeCampaign:
    """One broker, one intake, one order worker, one client."""

    folder: Path
    rate: float
    seconds: float
    away: float
    on_progress: Callable[[str], None]

    def run(self) -> IntakeVerdict:
        """Post and break; judge."""
        with Kafka(self.folder, free_port(), heap="1g", java_options=()) as kafka:
            settings = KafkaSettings(
                bootstrap_servers=kafka.bootstrap_servers, partitions=_PARTITIONS
            )
            ensure_topics(settings)
            publish_brand(settings)
            publish_key(settings, an_api_key())
            port = free_port()
            environment = {
                "IZIN_KAFKA_LOG_LEVEL": "2",
                "IZIN_LOG_LEVEL": "error",
                "IZIN_INTAKE_PORT": str(port),
                "IZIN_INTAKE_OPERATIONS_PORT": str(free_port()),
            }
            log = self.folder / "intake.log"
            intake = Worker(
                "intake", settings, log, module="izin.producers", environment=environment
            )
            with intake, Worker("order", settings, self.folder / "order.log"):
                return asyncio.run(self._run(kafka, settings, intake, port))

    async def _run(
        self, kafka: Kafka, settings: KafkaSettings, intake: Worker, port: int
    ) -> IntakeVerdict:
        url = f"http://127.0.0.1:{port}"
        await until(lambda: answers(f"{url}/health/ready"), _UP_WITHIN, what="intake")
        client, count = Client([f"{url}/v1/consents"], self.rate), int(self.rate * self.seconds)
        posting = asyncio.create_task(client.run(count))
        quiet = (self.seconds - self.away) / 2
        await asyncio.sleep(quiet / 2)
        self._kill(intake)
        await asyncio.sleep(quiet / 2)
        self.on_progress(f"broker away, {len(client.accepted):,} accepted")
        await asyncio.to_thread(kafka.stop)
        await asyncio.sleep(self.away)
        await asyncio.to_thread(kafka.start)
        self.on_progress(f"broker back, {len(client.accepted):,} accepted")
        await asyncio.sleep(2)
        self._kill(intake)
        await posting
        self.on_progress("reading")
        written = await asyncio.to_thread(self._written, settings)
        decided = await self._decided(settings, client.accepted)
        return IntakeVerdict(
            posted=count,
            accepted=client.accepted,
            answers=client.answers,
            lost=tuple(sorted(set(client.accepted.values()) - written)),
            not_once=tuple(
                f"{event} ({name}): {decided[event]} decisions"
                for name, event in client.accepted.items()
                if decided[event] != 1 and not (is_opt_out(name) and decided[event])
            ),
            repeated=sum(
                decided[event] > 1 for name, event in client.accepted.items() if is_opt_out(name)
            ),
        )

    def _kill(self, intake: Worker) -> None:
        self.on_progress("intake killed")
        intake.kill()
        intake.start()

    def _written(self, settings: KafkaSettings) -> set[str]:
        topics = settings.topics
        return {
            record.value["event_id"]
            for topic in (topics.events, topics.express)
            for record in read_all(settings, Codec(), topic)
        }

    async def _decided(self, settings: KafkaSettings, accepted: Mapping[str, str]) -> Counter[str]:
        """Return how many decisions there are of each event, once all have one."""
        end, wanted = time.monotonic() + _DECIDED_WITHIN, set(accepted.values())
        while True:
            found = await asyncio.to_thread(self._decisions, settings)
            if wanted <= found.keys() or time.monotonic() > end:
                return found
            await asyncio.sleep(1)

    def _decisions(self, settings: KafkaSettings) -> Counter[str]:
        decisions = read_all(settings, Codec(), settings.topics.decisions)
        return Counter(record.value["event"]["event_id"] for record in decisions)


def main(
    rate: Annotated[float, typer.Option(min=1, help="Posts a second.")] = 500.0,
    seconds: Annotated[float, typer.Option(min=10, help="Of posts.")] = 120.0,
    away: Annotated[float, typer.Option(min=1, help="Seconds without a broker.")] = 60.0,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data and logs, and the result.")] = Path(
        ".izin/chaos-intake"
    ),
) -> None:
    """Post while the broker is away and the intake is killed, and judge what became of each."""

    def campaign(show: Show) -> IntakeVerdict:
        return IntakeCampaign(
            folder=folder, rate=rate, seconds=seconds, away=away, on_progress=show
        ).run()

    raise run_stage("intake", folder, campaign, lambda found, took: report(found, took, seed))


def report(verdict: IntakeVerdict, seconds: float, seed: int) -> RunReport:
    """Return the report of a campaign."""
    data: dict[str, Any] = {
        "seed": seed,
        "seconds": round(seconds),
        "posted": verdict.posted,
        "answers": dict(verdict.answers),
        "lost": verdict.lost,
        "repeated": verdict.repeated,
        "not_once": verdict.not_once,
    }
    return RunReport(
        tables=[
            f"{verdict.posted:,} posted, {counted(verdict.answers)}, {seconds:.0f} s",
            f"{verdict.repeated} opt-outs decided again, later",
            *listed(verdict.lost),
            *listed(verdict.not_once),
        ],
        data=data,
        figures={
            "intake-accepted": 100 * len(verdict.accepted) / verdict.posted,
            "intake-lost": len(verdict.lost),
            "intake-decided-twice": len(verdict.not_once),
        },
    )


if __name__ == "__main__":
    start("intake", main)
