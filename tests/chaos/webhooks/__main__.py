"""``python -m tests.chaos.webhooks``: the long campaign; ``make chaos STAGE=webhooks FAULTS=…``.

Two processes post opt-outs and permissions to three subscribers that fail a thousand times. They
are killed, frozen and ended, and broker and database restart.

It ends with the line ``webhooks-unexplained``, ``ok`` or ``short``. Exit codes: 0 every guarantee
held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import signal
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import monotonic
from typing import Annotated

import orjson
import typer

from benchmarks.results import RunReport
from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer, WebhookReceiver
from izin.kafka import clients
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.history import verify as chains
from izin.ledger.record import LedgerUnavailableError
from izin.ledger.webhooks import deliveries
from izin.ledger.webhooks.registry import LaneName
from izin.schemas.codec import Codec
from izin.webhooks.events import WebhookEvent
from izin.webhooks.partitions import DeliveryLane, cursors_at_end
from izin.webhooks.source import LaneSource
from tests.chaos.command import Seed, counted, listed, start
from tests.chaos.pipeline import FaultCampaign, HostileInput, InputFault, run_under_faults
from tests.support.hostile.batches import HOSTILE, RawProducer
from tests.support.webhooks import (
    TopicWriter,
    WebhookProcesses,
    a_consent,
    a_permission,
    add_brand,
    add_customer,
    add_subscriber,
    event_reader,
)

Coordinates = tuple[str, int, int]
"""Topic, partition and offset of a record."""
FAILURES: tuple[ScriptedAnswer, ...] = (
    ScriptedAnswer(500),
    ScriptedAnswer(400),
    ScriptedAnswer(301, (("location", "http://127.0.0.1:9/"),)),
    ScriptedAnswer(429, (("retry-after", "0"),)),
    ScriptedAnswer(503, (("retry-after", "1"),)),
    ScriptedAnswer(is_cut=True),
    ScriptedAnswer(after=3.0),
    ScriptedAnswer(200, body=b"x" * 200_000),
)
"""How a subscriber misbehaves; the last two take the event, one of them too late."""
KILL, FREEZE, TERM = "kill -9", "frozen", "SIGTERM"
_WEIGHTS = {KILL: 18, FREEZE: 6, TERM: 6}
_SETTLED_WITHIN = 240.0
_NOT_UNPACKED = ("lz4 content checksum", "packed size too low")
"""Batches of which librdkafka gives no record."""
_RECIPIENTS = 60
_BATCH = 12


@dataclass(slots=True)
class FailingSubscriber:
    """One subscriber: how often it fails, and what it has seen."""

    random: Random
    left: int
    """Failures that are still to come."""
    share: float = 0.25
    failures: Counter[str] = field(default_factory=Counter)
    taken: dict[str, Coordinates] = field(default_factory=dict)
    """By id: the events that were answered with 2xx at once."""
    came: dict[str, Coordinates] = field(default_factory=dict)
    """By id: every event that came."""
    ids: dict[Coordinates, set[str]] = field(default_factory=lambda: defaultdict(set))
    repeated: int = 0
    faults: list[str] = field(default_factory=list)
    _latest: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """By recipient and topic: the latest event that came."""

    def __call__(self, webhook: ReceivedWebhook) -> ScriptedAnswer:
        """Note an event, and answer it."""
        own, data = webhook.headers["webhook-id"], orjson.loads(webhook.body)["data"]
        place = data["topic"], data["partition"], data["offset"]
        self.ids[place].add(own)
        if own in self.came:
            self.repeated += 1
        else:
            self._note_order(data, own)
            self.came[own] = place
        answer = self._answer()
        if answer.status == TAKEN.status and not answer.is_cut:
            self.taken[own] = place
        return answer

    def _note_order(self, data: dict[str, object], own: str) -> None:
        recipient = f"{data['brand_code']}/{data['type']}/{data['recipient']}"
        who, offset = (recipient, str(data["topic"])), int(str(data["offset"]))
        before = self._latest.get(who)
        if before is not None:
            if offset < before[0]:
                self.faults.append(f"{who}: {offset} came after {before[0]}")
            elif before[1] not in self.taken:
                self.faults.append(f"{who}: {offset} came before {before[0]} was taken")
        self._latest[who] = offset, own

    def _answer(self) -> ScriptedAnswer:
        if self.left and self.random.random() < self.share:
            self.left -= 1
            failure = self.random.choice(FAILURES)
            self.failures[_name(failure)] += 1
            return failure
        return TAKEN


def _name(failure: ScriptedAnswer) -> str:
    if failure.is_cut:
        return "connection cut"
    return "late" if failure.after else f"status {failure.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookVerdict:
    """What came of a campaign."""

    events: int
    deliveries: int
    repeated: int
    """Requests for events that had come before, under the same id."""
    failures: Counter[str]
    unexplained: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class WebhookCampaign(FaultCampaign):
    """Subscribers that fail, and processes and servers that do."""

    failures: int = 1000
    subscribers: int = 3
    pause: tuple[float, float] = (1.0, 3.0)
    hold: float = 8.0
    """Seconds for which a process is frozen: others fence it after four."""
    stands: dict[tuple[str, int], int] = field(default_factory=dict)
    """The partitions that stand, and at which offset: a batch there cannot be unpacked."""
    _number: int = 0

    async def run(self, faults: int) -> WebhookVerdict:
        """Inject so many faults under traffic; wait until everything is acknowledged; compare."""
        database_url = self.servers.database_url
        await migrate(database_url)
        writer = TopicWriter(self.settings)
        async with AsyncExitStack() as stack:
            ledger = await stack.enter_async_context(self.ledger(pool_size=2))
            await add_customer(ledger)
            await add_brand(ledger)
            found: dict[str, FailingSubscriber] = {}
            for number in range(self.subscribers):
                name, share = f"s{number}", self.failures // self.subscribers + 1
                found[name] = FailingSubscriber(Random(self.seed + number), share)
                receiver = WebhookReceiver(answer=found[name], keeps=False)
                await stack.enter_async_context(receiver.listening())
                await add_subscriber(ledger, self.settings, receiver.url(), name=name)
            log = self.servers.folder / "webhooks.log"
            processes = WebhookProcesses(self.settings, database_url, log)
            stack.callback(processes.end)
            processes.start()
            processes.start()
            topics = self.settings.topics
            await self.inject(
                faults,
                _WEIGHTS,
                lambda fault, random: self._fault(fault, processes, random),
                topics=(topics.permissions.name, topics.opt_outs.name),
                meanwhile=lambda seconds: self._write_for(seconds, writer),
            )
            await self._use_up(found, writer)
            return await self._verdict(ledger, found)

    def hit_input(self, fault: InputFault, hostile: HostileInput, random: Random) -> str:
        """Inject a fault of the input; return where."""
        if fault is InputFault.UNREADABLE:
            return self._stand(random)
        return hostile.inject(fault, random)

    def _stand(self, random: Random) -> str:
        """Let a partition stand at a batch that cannot be unpacked: always the same, for what is
        behind it is read only once a person has removed it.
        """
        topic, number = self.settings.topics.opt_outs.name, self.settings.partitions - 1
        make = HOSTILE[random.choice(_NOT_UNPACKED)]
        with RawProducer(self.settings) as raw:
            first = raw.produce(topic, number, make([(b"no key", b"value" * 9)] * 3))
        self.stands.setdefault((topic, number), first)
        return f"{topic}[{number}]"

    async def _write_for(self, seconds: float, writer: TopicWriter) -> None:
        end = monotonic() + seconds
        while monotonic() < end:
            await self._write(writer)
            await asyncio.sleep(0.1)

    async def _fault(self, kind: str, processes: WebhookProcesses, random: Random) -> str:
        victim = random.choice([one for one in processes.running if one.poll() is None])
        if kind == FREEZE:
            victim.send_signal(signal.SIGSTOP)
            await asyncio.sleep(self.hold)
            victim.send_signal(signal.SIGCONT)
        else:
            victim.send_signal(signal.SIGKILL if kind == KILL else signal.SIGTERM)
            await asyncio.to_thread(victim.wait)
            processes.start()
        return f"process {victim.pid}"

    async def _write(self, writer: TopicWriter) -> None:
        """Write events of recipients whom it already knows, and of new ones."""
        numbers = range(self._number, self._number + _BATCH)
        self._number += _BATCH
        opt_outs = [a_consent(one % _RECIPIENTS, event_id=f"event-{one}") for one in numbers]
        answers = [
            a_permission(one % _RECIPIENTS, may_send=bool(one % 2), previous_may_send=not one % 2)
            for one in numbers
        ]
        await asyncio.to_thread(writer.opt_outs, *opt_outs)
        await asyncio.to_thread(writer.permissions, *answers)

    async def _use_up(self, found: dict[str, FailingSubscriber], writer: TopicWriter) -> None:
        """Write on until every failure has come."""
        end = monotonic() + _SETTLED_WITHIN
        while any(one.left for one in found.values()) and monotonic() < end:
            await self._write(writer)
            await asyncio.sleep(0.2)

    def _is_held_back(self) -> bool:
        """Return whether a transaction is open in a topic, so that nobody reads it to its end."""
        topics = self.settings.topics
        uncommitted = {"isolation.level": "read_uncommitted"}
        with closing(clients.consumer(self.settings, "chaos", **uncommitted)) as client:
            return any(
                clients.watermarks_of(client, name) != clients.watermarks(self.settings, name)
                for name in (topics.opt_outs.name, topics.permissions.name)
            )

    async def _expected(self) -> list[WebhookEvent]:
        end = monotonic() + _SETTLED_WITHIN
        while await asyncio.to_thread(self._is_held_back) and monotonic() < end:  # noqa: ASYNC110  # of the broker
            await asyncio.sleep(0.2)
        cursors = [
            replace(one, next_offset=0, end_offset=self.stands.get(one.place, one.next_offset))
            for one in await asyncio.to_thread(cursors_at_end, self.settings)
        ]
        source = LaneSource(
            lane=DeliveryLane.of(0, LaneName.RESEND, cursors),
            feed=None,
            reader=event_reader(Codec(), self.settings.topics),
            settings=self.settings,
            turns=asyncio.Semaphore(),
            caught_up_at=datetime.now(UTC),
        )
        events = list[WebhookEvent]()
        while not source.lane.is_read:
            taken = await source.take(1000)
            events += taken.events
            source.lane.move_all(taken.positions)
        await source.release()
        return events

    async def _verdict(self, ledger: Ledger, found: dict[str, FailingSubscriber]) -> WebhookVerdict:
        expected = {(*one.place, one.offset): one.webhook_id for one in await self._expected()}
        count = await self._settled(ledger, len(expected) * len(found))
        unexplained = [
            f"{name}: {one}"
            for name, subscriber in found.items()
            for one in differences(subscriber, expected)
        ]
        if count != len(expected) * len(found):
            unexplained.append(f"{count} records acknowledged, not {len(expected) * len(found)}")
        known = await chains.verify(ledger, ())
        proved = await deliveries.verify(
            ledger, known.batches, known.erased_deliveries, read_at=datetime.now(UTC)
        )
        unexplained += [str(one) for one in (*known.faults, *proved.faults)]
        return WebhookVerdict(
            events=len(expected),
            deliveries=proved.rows,
            repeated=sum(one.repeated for one in found.values()),
            failures=sum((one.failures for one in found.values()), Counter[str]()),
            unexplained=tuple(unexplained),
        )

    async def _settled(self, ledger: Ledger, wanted: int) -> int:
        """Return how many records are acknowledged, once that is everything, or after long."""
        query = """SELECT count(DISTINCT (subscriber_id, topic, partition, "offset")) AS n
            FROM deliveries"""
        end, found = monotonic() + _SETTLED_WITHIN, -1
        while found < wanted and monotonic() < end:
            await asyncio.sleep(0.5)
            try:
                found = int((await ledger.fetch(query))[0]["n"])
            except LedgerUnavailableError:
                continue
        return found


def differences(subscriber: FailingSubscriber, expected: dict[Coordinates, str]) -> list[str]:
    """Return what is lost at a subscriber, came under another id, or out of order."""
    found = list(subscriber.faults)
    taken = set(subscriber.taken.values())
    found += [f"{place} was never taken" for place in sorted(expected.keys() - taken)]
    found += [f"{place} was never written" for place in sorted(taken - expected.keys())]
    found += [
        f"{place} came as {sorted(ids)}"
        for place, ids in subscriber.ids.items()
        if ids != {expected.get(place)}
    ]
    return found


def main(
    faults: Annotated[int, typer.Option(min=1, help="Faults of processes and servers.")] = 40,
    failures: Annotated[int, typer.Option(min=0, help="Failures of subscribers.")] = 1000,
    seed: Seed = 1,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-webhooks"),
) -> None:
    """Inject faults into processes, servers and subscribers under load, then compare."""
    raise run_under_faults(
        "webhooks",
        folder,
        lambda servers, show: WebhookCampaign(
            servers=servers, seed=seed, failures=failures, on_progress=show
        ),
        report,
        faults=faults,
        partitions=4,
    )


def report(campaign: WebhookCampaign, verdict: WebhookVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    summary = (
        f"{verdict.events} events to {campaign.subscribers} subscribers in {seconds:.0f} s: "
        f"{verdict.deliveries} deliveries, {verdict.repeated} requests repeated"
    )
    return RunReport(
        tables=[
            summary,
            counted(campaign.injected),
            counted(verdict.failures),
            *listed(verdict.unexplained),
        ],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "faults": campaign.injected,
            **asdict(verdict),
            "failures": verdict.failures,  # asdict spoils a Counter
        },
        figures={"webhooks-unexplained": len(verdict.unexplained)},
    )


if __name__ == "__main__":
    start("webhooks", main)
