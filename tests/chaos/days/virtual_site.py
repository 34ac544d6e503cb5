"""One installation on virtual time: simulator, ledger, sinks, and the order stage beside them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import typer

from benchmarks.results import RunReport
from izin.consent import Consent, ConsentEvent, DecisionKind, RefusedEvent, admit, decide
from izin.ledger import offsets
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import Brand, TopicMessages
from izin.local import Postgres, create_database
from izin.runtime.logs import configure
from izin.runtime.settings import KafkaSettings, LogSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.outbound.context import OutboundContext
from tests.chaos.command import conclude, empty, showing
from tests.chaos.days.virtual_loop import VirtualLoop
from tests.chaos.days.virtual_loop import run as run_loop
from tests.chaos.days.virtual_sinks import (
    SimulatorTransport,
    VirtualSinks,
    VirtualTime,
    create_simulator,
    set_clock,
)
from tests.support.builders import BRAND, CUSTOMER, a_decision_record
from tests.support.registration import register_brand

T = TypeVar("T")

BEGINS_AT = datetime(2026, 10, 26, 5, 30, tzinfo=UTC)
"""A Monday. Its Wednesday is half a day and its Thursday the Republic's: both shift the terms."""
HOUR = 3600.0
DAY = 24 * HOUR
_ACTIVATED_AT = datetime(2020, 1, 1, tzinfo=UTC)
_TOPIC, _TOPIC_ID = "consent-decisions", "topic"


@dataclass(kw_only=True)
class VirtualSite:
    """What a campaign on virtual time runs; ``states`` are the consents that were decided."""

    loop: VirtualLoop
    database_url: str
    count: int
    """How many sinks."""
    poll_interval: timedelta
    beside: Callable[[OutboundContext], Iterable[Coroutine[Any, Any, None]]] = lambda _: ()
    """What each sink runs beside its outbound loops."""
    states: dict[str, Consent] = field(default_factory=dict)
    decided: int = 0
    """Decisions so far: the offset of the next."""

    def __post_init__(self) -> None:
        self.time = VirtualTime(loop=self.loop, began_at=BEGINS_AT)
        self.simulator = create_simulator(self.time)
        self.transport = SimulatorTransport(self.simulator, self.time)
        self.settings = KafkaSettings(topic_prefix="", partitions=1)
        self._codec = Codec()
        self._messages = TopicMessages(self._codec, self.settings.topics)
        self.sinks = VirtualSinks(
            count=self.count,
            database_url=self.database_url,
            time=self.time,
            transport=self.transport,
            topic_messages=self._messages,
            poll_interval=self.poll_interval,
            beside=self.beside,
        )

    @asynccontextmanager
    async def open(self, *brands: int) -> AsyncIterator[Ledger]:
        """Provide the ledger, with these brands; the sinks are not started."""
        await migrate(self.database_url)
        await asyncio.to_thread(set_clock, self.database_url)
        async with self.sinks.ledger() as ledger:
            for code in brands:
                brand = Brand(
                    brand_code=code,
                    iys_code=BRAND,
                    customer_id=CUSTOMER,
                    name="Örnek",
                    activated_at=_ACTIVATED_AT,
                )
                await self.register(ledger, brand)
            await offsets.positions(ledger, _TOPIC, [0], cluster_id="cluster", topic_id=_TOPIC_ID)
            yield ledger

    async def register(self, ledger: Ledger, brand: Brand) -> None:
        """Register ``brand`` here; at İYS it is another's to do."""
        await register_brand(ledger, self._messages, brand, by="test", now=self.time.now())

    async def decide(self, ledger: Ledger, events: Sequence[ConsentEvent]) -> None:
        """Decide about events as the order stage does, and have the ledger take that."""
        decided = list(self._decisions(events))
        if not decided:
            return
        ingester = Ingester(
            ledger=ledger,
            topic_messages=self._messages,
            codec=self._codec,
            settings=self.settings,
            clock=self.time.now,
            wait=timedelta(seconds=1),
        )
        before, self.decided = self.decided, self.decided + len(decided)
        await ingester.store(_TOPIC, _TOPIC_ID, decided, {0: (before, self.decided)})
        self.sinks.notify()

    def _decisions(self, events: Iterable[ConsentEvent]) -> Iterator[IncomingDecision]:
        reader, offset = DecisionReader(self._codec), self.decided
        for event in events:
            admitted = admit(event, appended_at=self.time.now())
            assert not isinstance(admitted, RefusedEvent), admitted.violations
            decision = decide(self.states.get(str(admitted.key)), admitted)
            self.states[str(admitted.key)] = decision.consent
            if decision.kind is not DecisionKind.DUPLICATE:
                record = a_decision_record(decision, offset=offset)
                offset += 1
                yield reader.read(self._codec.encode("Decision", record))

    @property
    def counters(self) -> Any:  # noqa: ANN401  # JSON of the simulator
        """What the simulator counted, by operation and code."""
        return self.simulator.counters.as_dict()

    def codes_among(self, *unwanted: str) -> list[str]:
        """Return which of these codes İYS answered with, and how often."""
        codes: dict[str, int] = self.counters["codes"]
        return [f"{codes[code]} × {code}" for code in unwanted if code in codes]


def run_campaign(
    stage: str,
    folder: Path,
    campaign: Callable[[VirtualLoop, str, Callable[[str], None]], Coroutine[Any, Any, T]],
    report: Callable[[T, float], RunReport],
) -> typer.Exit:
    """Run the ``campaign`` of a stage and conclude it: it gets a loop, the URL of a database, and
    what shows progress; ``report`` gets its verdict, and how many seconds it took.
    """
    # Injected failures are in the result; only events that alert a person are logged.
    configure(LogSettings(level="critical"))
    empty(folder)
    began = time.monotonic()
    with Postgres(folder) as postgres, showing("setting up") as show:
        url = create_database(postgres.url, stage)
        verdict = run_loop(lambda loop: campaign(loop, url, show))
    return conclude(stage, folder, report(verdict, time.monotonic() - began))
