"""An installation whose sides agree: topics, order stage, ledger and simulator, step by step."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from izin.consent import ConsentEvent
from izin.ledger import reads
from izin.ledger.db import Notifications
from izin.reconcile.comparing import Asker, Comparer, Difference, ReconcileScope
from izin.reconcile.repairs import RepairExecution
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.records import event_to_avro
from izin.schemas.topics import Topic
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.context import RequestBudget
from izin.sinks.publish.publisher import OutboxReader, OutboxRelay
from izin.streams.outputs import suppression_row
from tests.integration.sinks.sink_harness import A_SECOND, ACTIVE, SinkHarness, onay, ret
from tests.support.builders import a_key
from tests.support.order.deciding import decide_all
from tests.support.replay.ingesting import ingest_all

SECRET = "a fake secret of at least forty characters"
"""Under which keys are suppressed."""
_ROUNDS = 40
_UNLIMITED = 100_000


@dataclass(kw_only=True)
class Site:
    """The sinks over topics of their own, with an order stage in this process."""

    harness: SinkHarness
    kafka: KafkaSettings
    recipients: list[str] = field(default_factory=list)
    """Those with an opt-in that İYS has."""

    def __post_init__(self) -> None:
        self.writer = kafka.producer(self.kafka)
        self.relay = OutboxRelay(
            ledger=self.harness.ledger,
            settings=self.kafka,
            notifications=Notifications(),
            clock=self.harness.clock,
            wait=A_SECOND,
        )

    async def fill(self, recipients: Sequence[str], opted_out: Sequence[str]) -> None:
        """Have consents registered at İYS, and some opt-outs that İYS need not know."""
        await self.publish(
            *(onay(one, minutes=60) for one in recipients),
            *(ret(one, minutes=50) for one in opted_out),
        )
        self.recipients = list(recipients)
        await self.work()
        await self.harness.pull()
        await self.relay_all()

    async def publish(self, *events: ConsentEvent) -> None:
        """Publish events to the bulk lane, and have them decided and ingested."""
        for event in events:
            key = a_key(brand_code=event.brand_code, recipient=event.recipient)
            value = self.harness.codec.encode("ConsentEvent", event_to_avro(event))
            self.writer.produce(self.kafka.topics.events.name, key=key.encode(), value=value)
        assert self.writer.flush(20) == 0
        await self.decide()

    def write(self, topic: Topic, key: str, value: bytes | None) -> None:
        """Write a record to a topic, as nobody but a test does."""
        self.writer.produce(topic.name, key=key.encode(), value=value)
        assert self.writer.flush(20) == 0

    def suppress(self, key: str) -> None:
        """Suppress what was given of a key until now, as its erasure does."""
        name, topic = SuppressionKeys([SECRET]).of(key.encode()), self.kafka.topics.desired_consents
        value = suppression_row(self.harness.codec, self.harness.clock(), "erasure")
        self.write(topic, name.decode(), value)

    async def decide(self) -> None:
        """Have what the lanes have decided, and the decisions ingested."""
        await asyncio.to_thread(decide_all, self.kafka)
        await ingest_all(self.harness.ledger, self.kafka)

    async def relay_all(self) -> bool:
        """Publish what the outbox has; return whether there were events among it."""
        topics = self.kafka.topics
        lanes = [topics.events.name, topics.express.name]
        query = "SELECT count(*) AS waiting, bool_or(topic = ANY(%(lanes)s)) AS events FROM outbox"
        (found,) = await self.harness.ledger.fetch(query, {"lanes": lanes})
        if found["waiting"]:
            client, reader = await self.relay.open(), OutboxReader()
            while await self.relay.deliver(client, reader):
                pass
        return bool(found["events"])

    async def work(self) -> None:
        """Let order stage and sinks work until nothing is left to be done."""
        harness = self.harness
        for _ in range(_ROUNDS):
            harness.advance(timedelta(minutes=1))
            if await self.relay_all():
                await self.decide()
            while await harness.opt_out():
                pass
            while await harness.query():
                pass
            while await harness.bulk():
                pass
            left = await reads.lag(harness.ledger, now=harness.clock())
            if left.awaiting_result:
                await harness.settle()
            elif left.is_settled:
                return
        raise AssertionError(f"unsettled: {await reads.lag(harness.ledger, now=harness.clock())}")

    @property
    def comparer(self) -> Comparer:
        """What compares this installation."""
        harness = self.harness
        return Comparer(
            ledger=harness.ledger, kafka=self.kafka, codec=harness.codec, clock=harness.clock
        )

    @property
    def asker(self) -> Asker:
        """What asks the simulator."""
        pages = PageQuery(
            client=self.harness.context.client,
            clock=self.harness.clock,
            budget=RequestBudget(500, clock=monotonic),
        )
        return Asker(pages=pages, single=_UNLIMITED)

    @property
    def execution(self) -> RepairExecution:
        """What executes repairs here."""
        harness = self.harness
        return RepairExecution(
            ledger=harness.ledger,
            kafka=self.kafka,
            codec=harness.codec,
            secrets=SuppressionKeys([SECRET]),
            clock=harness.clock,
        )

    async def compare(self, *, ask: bool = True) -> list[Difference]:
        """Return the differences of the brand, a moment later."""
        self.harness.advance(A_SECOND * 2)
        scope = ReconcileScope(brand=ACTIVE)
        async with self.comparer.comparing(scope, self.asker if ask else None) as comparison:
            return [one async for one in comparison.differences()]
