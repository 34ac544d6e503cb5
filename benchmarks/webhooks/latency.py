"""The benchmark ``webhooks``: from an opt-out's publication, or İYS's push, until it is received.

The whole local stack runs: the opt-out is published to the intake topic, the order worker decides
it, the process of webhooks posts it. One subscriber is dead and one takes seconds for each event;
the others are measured.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import time
from typing import Annotated

import typer
from confluent_kafka import Producer
from pydantic import SecretStr

from benchmarks.local_stack import running_local_stack
from benchmarks.results import RunReport
from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer, WebhookReceiver
from benchmarks.worker.probe import LatencySummary, latency_table
from izin.consent import ConsentEvent
from izin.kafka import clients
from izin.ledger.db import Ledger
from izin.ledger.webhooks import registry
from izin.ledger.webhooks.registry import EventFilter, NewSubscriber, WebhookType
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro, headers
from izin.stack.actors import RegisterEntry, SimulatorClient
from izin.stack.stack import LocalStack
from izin.stack.stack_settings import ACTIVE, CUSTOMER
from izin.webhooks.partitions import cursors_at_end
from izin.webhooks.posting import new_secret

_WITHIN = 60.0
"""Seconds in which every opt-out must have come."""
_LEAST = 5
_SLOW = "/slow"
_DEAD = "http://127.0.0.1:9/"


@dataclass(slots=True)
class HookProbe:
    """When opt-outs of recipients came to each of the measured subscribers."""

    receiver: WebhookReceiver
    subscribers: int
    seconds: float
    """That the slow one takes."""

    def answer(self, webhook: ReceivedWebhook) -> ScriptedAnswer:
        """Take everything; one subscriber needs time."""
        return ScriptedAnswer(after=self.seconds) if webhook.path == _SLOW else TAKEN

    async def measure(
        self,
        publish: Callable[[str], Awaitable[None]],
        recipients: Sequence[str],
        *,
        per_second: float,
    ) -> list[float]:
        """Have each recipient opt out at its instant; return the seconds until each of the measured
        subscribers had each. Raises TimeoutError where one never does.
        """
        began: dict[str, float] = {}
        start = time()
        for number, recipient in enumerate(recipients):
            await asyncio.sleep(max(start + number / per_second - time(), 0))
            began[recipient] = time()
            await publish(recipient)
        async with asyncio.timeout(_WITHIN):
            while not self._is_complete(began):  # noqa: ASYNC110  # what other processes do
                await asyncio.sleep(0.2)
        return [
            at - began[recipient]
            for recipient, some in self._arrivals(began).items()
            for at in some.values()
        ]

    def _is_complete(self, began: dict[str, float]) -> bool:
        return all(len(one) == self.subscribers for one in self._arrivals(began).values())

    def _arrivals(self, began: dict[str, float]) -> dict[str, dict[str, float]]:
        """Return when each recipient's opt-out first came, by the path of the subscriber."""
        found: dict[str, dict[str, float]] = defaultdict(dict, {one: {} for one in began})
        for webhook in self.receiver.received:
            if webhook.path != _SLOW:
                recipient = json.loads(webhook.body)["data"]["recipient"]
                if recipient in began:
                    found[recipient].setdefault(webhook.path, webhook.at)
        return found


def webhook_latency(
    opt_outs: Annotated[int, typer.Option(min=_LEAST, help="Opt-outs, of each way in.")] = 300,
    per_second: Annotated[float, typer.Option(min=0.1, help="Opt-outs a second.")] = 5,
    subscribers: Annotated[int, typer.Option(min=3, help="One is dead, and one slow.")] = 50,
    slow: Annotated[float, typer.Option(min=0, help="Seconds that the slow one takes.")] = 4,
) -> RunReport:
    """Measure how soon subscribers have an opt-out by webhook."""
    with running_local_stack() as stack:
        found = asyncio.run(
            _measure(stack, opt_outs, per_second, subscribers=subscribers, slow=slow)
        )
    title = f"{opt_outs:,} opt-outs each, {per_second:g} a second, {subscribers - 2} subscribers"
    return RunReport(
        tables=[latency_table(found, title, "from … until a subscriber has it", "deliveries")],
        data={"unit": "ms", "latencies": [asdict(one) for one in found]},
        figures={"webhook-latency": found[0].p99, "push-to-webhook": found[1].p99},
    )


async def _measure(
    stack: LocalStack, count: int, per_second: float, *, subscribers: int, slow: float
) -> list[LatencySummary]:
    settings = stack.kafka_settings
    async with WebhookReceiver().listening() as receiver:
        probe = HookProbe(receiver, subscribers - 2, slow)
        receiver.answer = probe.answer
        await _subscribe(stack, receiver, subscribers)
        publish = _publisher(settings)
        with SimulatorClient(stack.url("simulator")) as iys:

            async def push(recipient: str) -> None:
                entry = RegisterEntry(
                    key="",
                    status="RET",
                    consent_date="",
                    path="",
                    occurred_at=0,
                    address=(ACTIVE, "MESAJ", "BIREYSEL", recipient),
                )
                await asyncio.to_thread(iys.opt_out, [entry])

            found = []
            for name, way, first in (
                ("the publication to the intake topic", publish, 1_000_000),
                ("İYS's push", push, 2_000_000),
            ):
                warm = [_recipient(first + number) for number in range(_LEAST)]
                await probe.measure(way, warm, per_second=per_second)
                recipients = [_recipient(first + 1000 + number) for number in range(count)]
                seconds = await probe.measure(way, recipients, per_second=per_second)
                found.append(LatencySummary.of(name, seconds))
    return found


def _recipient(number: int) -> str:
    return f"+90555{number:07d}"


async def _subscribe(stack: LocalStack, receiver: WebhookReceiver, count: int) -> None:
    """Add the subscribers, of opt-outs alone."""
    url = SecretStr(stack.environment["DATABASE_URL"])
    cursors = await asyncio.to_thread(cursors_at_end, stack.kafka_settings)
    urls = [receiver.url(f"/{number}") for number in range(count - 2)]
    async with Ledger(LedgerSettings(database_url=url, pool_size=1), owner=1) as ledger:
        for number, one in enumerate((*urls, receiver.url(_SLOW), _DEAD)):
            new = NewSubscriber(
                name=f"subscriber-{number}",
                url=one,
                filter=EventFilter(
                    customer_id=CUSTOMER, types=frozenset({WebhookType.OPTED_OUT.value})
                ),
                parallel=8,
                secret=new_secret(),
            )
            await registry.add(ledger, new, cursors, by="bench", now=datetime.now(UTC))


def _publisher(settings: KafkaSettings) -> Callable[[str], Awaitable[None]]:
    """Return a function that has a recipient opt out, as a CRM publishes it."""
    codec, client = Codec(), clients.producer(settings)

    async def publish(recipient: str) -> None:
        now = datetime.now(UTC)
        event = ConsentEvent(
            event_id=f"bench-{recipient}",
            customer_id=CUSTOMER,
            brand_code=ACTIVE,
            type="MESAJ",
            recipient_type="BIREYSEL",
            recipient=recipient,
            status="RET",
            source="HS_WEB",
            consent_date=now,
            received_at=now,
            origin="web",
        )
        await asyncio.to_thread(_produce, client, settings, codec.encode(*_record(event)), event)

    return publish


def _record(event: ConsentEvent) -> tuple[str, dict[str, object]]:
    return "ConsentEvent", event_to_avro(event)


def _produce(client: Producer, settings: KafkaSettings, value: bytes, event: ConsentEvent) -> None:
    key = f"{event.brand_code}/{event.type}/{event.recipient_type}/{event.recipient}"
    client.produce(
        settings.topics.express.name,
        key=key.encode(),
        value=value,
        headers=headers(
            record="ConsentEvent",
            event_id=event.event_id,
            source="/bench",
            at=event.consent_date or datetime.now(UTC),
        ),
    )
    client.flush(_WITHIN)
