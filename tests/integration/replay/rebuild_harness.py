"""An installation whose order state is rebuilt: its events, its decisions, what stands and what is
found.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from izin.consent import Consent, ConsentEvent
from izin.kafka import clients
from izin.kafka.clients import ensure_topics, identities
from izin.ledger import offsets
from izin.ledger.db import Ledger
from izin.ledger.record import TopicMessages
from izin.replay.order_state.planning import Installation
from izin.replay.order_state.repair import PartitionResult, StateRebuild, results_of
from izin.runtime.plan import Plan, Selection
from izin.runtime.settings import KafkaSettings, LedgerSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SUPPRESSED, SuppressionKeys
from izin.schemas.records import consent_to_avro, event_to_avro
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ingest.ingester import Ingester
from izin.streams.ownership import DecidedOffsets, Positions
from tests.support.order.harness import decide_all
from tests.support.order.verdict import committed_records
from tests.support.published import delete_topics, produce, remove_below

SECRET = "a fake secret of thirty-two characters"
CODEC = Codec()


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a dry run found."""

    plan: Plan
    path: Path
    results: Sequence[PartitionResult]

    @property
    def changes(self) -> Sequence[Mapping[str, Any]]:
        """What differs."""
        return [change for one in self.results for change in one.listed]

    @property
    def kinds(self) -> dict[str, str]:
        """How each key differs."""
        return {one["key"]: one["kind"] for one in self.changes}

    @property
    def is_identical(self) -> bool:
        """Whether what stands is what should."""
        return not self.changes and all(one.computed == one.current for one in self.results)


class RebuildHarness:
    """The order stage of ``settings``, with a secret for erasures."""

    def __init__(
        self, settings: KafkaSettings, folder: Path, ledger: LedgerSettings | None
    ) -> None:
        self.settings = settings
        self.topics = settings.topics
        self.ledger = ledger
        self.installation = Installation(
            kafka=settings,
            streams=StreamSettings(suppression_secrets=(SecretStr(SECRET),)),
            codec=CODEC,
            ledger=ledger,
        )
        self._folder = folder
        self._plans = 0

    def publish(self, *events: ConsentEvent, express: bool = False) -> None:
        """Append events to a lane, by their keys."""
        lane = self.topics.express if express else self.topics.events
        producer = clients.producer(self.settings)
        for event in events:
            key = f"{event.brand_code}/{event.type}/{event.recipient_type}/{event.recipient}"
            producer.produce(lane.name, CODEC.encode("ConsentEvent", event_to_avro(event)), key)
        assert producer.flush(10) == 0

    def decide(self, *events: ConsentEvent, express: bool = False, at_once: int = 40) -> None:
        """Append events to a lane, and decide all that is undecided."""
        self.publish(*events, express=express)
        decide_all(self.settings, SuppressionKeys([SECRET]), at_once=at_once)

    def write_row(self, key: str, row: Consent | bytes | None, partition: int = 0) -> None:
        """Write a row of desired-consents by hand."""
        value = CODEC.encode("Consent", consent_to_avro(row)) if isinstance(row, Consent) else row
        produce(
            self.settings, self.topics.desired_consents.name, value, key=key, partition=partition
        )

    def dry_run(
        self,
        selection: Selection | None = None,
        *,
        path: Path | None = None,
        whole: bool = False,
        workers: int = 1,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Found:
        """Plan a rebuild, and compare; something may happen meanwhile."""
        self._plans += 1
        path = path or self._folder / f"plan-{self._plans}.json"
        plan = self.rebuild(workers, meanwhile).plan(
            path, selection or Selection(), by="ada", whole=whole
        )
        return Found(plan=plan, path=path, results=results_of(plan, path)[0])

    def rebuild(
        self, workers: int = 1, meanwhile: Callable[[], object] = lambda: None
    ) -> StateRebuild:
        """Return what plans and executes; something may happen meanwhile."""
        return StateRebuild(
            installation=self.installation,
            workers=workers,
            report=lambda _read, _total: meanwhile(),
        )

    def check(self, found: Found) -> None:
        """Check that the plan can be executed."""
        self.rebuild().check(found.plan)

    def execute(self, found: Found, *, is_checked: bool = False, workers: int = 1) -> None:
        """Execute the plan, after a check unless there was one."""
        if not is_checked:
            self.check(found)
        assert self.ledger is not None
        self.rebuild(workers).execute(found.plan, found.path, self.ledger, by="grace")

    def rows(self) -> dict[str, bytes]:
        """Return the latest row of each key, without suppressions."""
        return {
            key: value
            for key, value in self.latest().items()
            if not key.startswith(SUPPRESSED.decode())
        }

    def latest(self) -> dict[str, bytes]:
        """Return the latest row of each key."""
        records = committed_records(self.settings, self.topics.desired_consents.name)
        found = {(one.key() or b"").decode(): one.value() for one in records}
        return {key: value for key, value in found.items() if value is not None}

    def written(self, topic: str) -> int:
        """Return how many records of ``topic`` are committed."""
        return sum(1 for _ in committed_records(self.settings, topic))

    def ends(self) -> dict[str, dict[int, int]]:
        """Return where every topic ends."""
        return {
            topic.name: dict(clients.committed_ends(self.settings, topic.name))
            for topic in self.topics
        }

    def lose_rows(self) -> None:
        """Delete desired-consents, and create it again."""
        self.lose(self.topics.desired_consents.name)

    def positions(self) -> Mapping[int, Positions]:
        """Return the positions of each partition."""
        with closing(DecidedOffsets(self.settings, CODEC)) as decided:
            return decided.positions()

    def lose_everything(self) -> None:
        """Delete all topics, and create them again."""
        delete_topics(self.settings)
        ensure_topics(self.settings)

    def lose(self, name: str) -> None:
        """Delete a topic, and create it again."""
        client = clients.admin(self.settings)
        before = identities(client, [name]).topic_ids[name]
        delete_topics(self.settings, name)
        ensure_topics(self.settings)
        assert identities(client, [name]).topic_ids[name] != before

    def remove_below(self, topic: str, offset: int, partition: int = 0) -> None:
        """Remove the records of ``topic`` below ``offset``, as retention does."""
        remove_below(self.settings, topic, {partition: offset})

    @contextmanager
    def worker_in_group(self) -> Iterator[None]:
        """Have a member in the group of the order workers meanwhile."""
        client = clients.consumer(self.settings, self.installation.streams.group(self.settings))
        client.subscribe([self.topics.events.name])
        limit = time.monotonic() + 30
        while not client.assignment():
            client.poll(0.1)
            assert time.monotonic() < limit, "the group has no member"
        try:
            yield
        finally:
            client.close()

    def ingest(self) -> None:
        """Store every decision in the ledger, as a sink does."""
        asyncio.run(self._ingest())

    async def _ingest(self) -> None:
        topic = self.topics.decisions.name
        found = identities(clients.admin(self.settings), [topic])
        reader = DecisionReader(CODEC)
        messages = list(committed_records(self.settings, topic))
        async with self.opened_ledger() as ledger:
            numbers, ids = (
                range(self.settings.partitions),
                (found.cluster_id, found.topic_ids[topic]),
            )
            starts = await offsets.positions(
                ledger, topic, numbers, cluster_id=ids[0], topic_id=ids[1]
            )
            for number, start in starts.items():
                some = [one for one in messages if one.partition() == number]
                new = [one for one in some if (one.offset() or 0) >= start]
                if new:
                    reads = [reader.read(one.value() or b"") for one in new]
                    moves = {number: (start, (new[-1].offset() or 0) + 1)}
                    await self.ingester(ledger).store(topic, ids[1], reads, moves)

    def opened_ledger(self) -> Ledger:
        """Return the ledger, to be entered."""
        assert self.ledger is not None
        return Ledger(self.ledger, owner=1)

    def ingester(self, ledger: Ledger) -> Ingester:
        """Return an ingester of decisions."""
        return Ingester(
            ledger=ledger,
            topic_messages=TopicMessages(CODEC, self.topics),
            codec=CODEC,
            settings=self.settings,
            clock=lambda: datetime.now(UTC),
            wait=timedelta(seconds=0.2),
        )

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query of the ledger."""

        async def run() -> list[dict[str, Any]]:
            async with self.opened_ledger() as ledger:
                return await ledger.fetch(sql)  # type: ignore[arg-type]  # a test's own

        return asyncio.run(run())
