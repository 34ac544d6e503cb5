"""A ledger and an order stage that publish permissions and opt-outs to the topics of a broker.

What the sink worker and the order worker do, without the ways to and from İYS: decisions are
ingested into a real ledger, and its outbox is relayed in Kafka transactions.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from benchmarks.sink.erasure import decide, settle_opt_outs, take_outbox
from benchmarks.sink.fixture import SinkFixture, event_of, sink_fixture
from izin.kafka import clients
from izin.kafka.clients import ensure_topics
from izin.kafka.registry_client import RegistryClient
from izin.ledger.db import Notifications
from izin.ledger.privacy import erasure
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.fast.record_format import headers_of
from izin.schemas.records import Headers, event_to_avro
from izin.sinks.publish.publisher import OutboxReader, OutboxRelay
from izin.streams.ownership import OutputRecord

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingLedger:
    """A ledger that publishes what changes in it."""

    fixture: SinkFixture
    settings: KafkaSettings
    relay: OutboxRelay
    producer: Producer
    """Of the order stage."""

    async def collect(self, count: int) -> list[str]:
        """Collect consents of so many recipients, the first of this ledger; return their keys."""
        await self.fixture.ingest(self.fixture.decisions(count))
        await self.publish()
        return self.fixture.keys(count)

    async def opt_out(self, keys: Sequence[str]) -> None:
        """Let the recipients of ``keys`` opt out."""
        now = datetime.now(UTC).replace(microsecond=0)
        topics, codec = self.settings.topics, self.fixture.codec
        await self._decide(
            [
                {
                    "topic": topics.express.name,
                    "key": key,
                    "value": codec.encode("ConsentEvent", event_to_avro(event_of(key, "RET", now))),
                }
                for key in keys
            ]
        )
        await self.publish()

    async def erase(self, keys: Sequence[str]) -> None:
        """Erase ``keys``, which have opted out, once İYS holds their opt-outs."""
        ledger, messages = self.fixture.ledger, self.fixture.topic_messages
        settled = await settle_opt_outs(self.fixture, keys)
        now = datetime.now(UTC)
        await erasure.request(ledger, messages, settled, by="benchmark", now=now)
        await self._decide(await take_outbox(self.fixture))
        removed = await erasure.remove(ledger, messages, now=datetime.now(UTC))
        if removed != len(keys):
            raise RuntimeError(f"{removed} of {len(keys)} keys were erased")
        await self.publish()

    async def publish(self) -> None:
        """Relay the outbox until it is empty."""
        client, reader = await self.relay.open(), OutboxReader()
        while await self.relay.deliver(client, reader):
            pass

    async def _decide(self, messages: Sequence[dict[str, object]]) -> None:
        """Decide the events in ``messages``, and ingest the decisions."""
        written = decide(self.fixture, messages, partitions=self.settings.partitions)
        write(self.producer, written)
        topic = self.settings.topics.decisions.name
        await self.fixture.ingest([one.value or b"" for one in written if one.topic == topic])


def write(producer: Producer, records: Sequence[OutputRecord]) -> None:
    """Write ``records`` in one transaction of ``producer``."""
    producer.begin_transaction()
    produce(producer, records)
    producer.commit_transaction(_TIMEOUT)


def produce(producer: Producer, records: Sequence[OutputRecord]) -> None:
    """Write ``records`` in the transaction of ``producer``, and leave it open."""
    for one in records:
        headers: Headers = [*headers_of(one.headers)]
        producer.produce(one.topic, one.value, one.key, one.partition, headers=headers)
        producer.poll(0)
    producer.flush(_TIMEOUT)


@contextmanager
def registered_codec(settings: KafkaSettings) -> Iterator[Codec]:
    """Yield a codec that frames values for the schema registry of ``settings``."""
    with closing(RegistryClient(settings.registry_url or "", settings.topics)) as client:
        yield Codec(client)


@asynccontextmanager
async def publishing_ledger(
    url: str, settings: KafkaSettings, codec: Codec
) -> AsyncIterator[PublishingLedger]:
    """Yield an empty ledger at ``url`` that publishes to the topics of ``settings``."""
    ensure_topics(settings)
    producer = clients.producer(settings, **{"transactional.id": "bench-order-stage"})
    producer.init_transactions(_TIMEOUT)
    async with sink_fixture(url, settings, keys=0, codec=codec) as fixture:
        relay = OutboxRelay(
            ledger=fixture.ledger,
            settings=settings,
            notifications=Notifications(),
            clock=lambda: datetime.now(UTC),
            wait=timedelta(seconds=1),
        )
        yield PublishingLedger(fixture=fixture, settings=settings, relay=relay, producer=producer)
