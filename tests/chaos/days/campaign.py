"""Days of a company: recipients opt in and out, files come in, sinks are killed, İYS is down.

All of it follows from a seed. Afterwards everything settles and is compared: no token call too
many, nothing submitted late, the register as the law decides.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from izin.consent.admission import RefusedEvent, admit
from izin.consent.model import Consent, ConsentEvent, DecisionKind
from izin.consent.ordering import decide
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ledger import offsets, reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.record.brand import Brand
from izin.sinks.record.messages import TopicMessages
from tests.chaos.days.verdict import (
    HOUR,
    most_an_hour,
    movements,
    repeated,
    saved_terms,
    unexplained,
)
from tests.chaos.days.virtual_loop import VirtualLoop
from tests.chaos.days.virtual_sinks import (
    BRANDS,
    Outage,
    SimulatorTransport,
    VirtualSinks,
    VirtualTime,
    create_simulator,
    set_clock,
)
from tests.support.builders import BRAND, CUSTOMER, a_decision_record, an_event
from tests.support.registration import register_brand

BEGINS_AT = datetime(2026, 10, 26, 5, 30, tzinfo=UTC)
"""A Monday. Its Wednesday is half a day and its Thursday the Republic's: both shift the terms."""
ACTIVATED_AT = datetime(2020, 1, 1, tzinfo=UTC)
_SETTLES_WITHIN = timedelta(days=3)
_TOPIC, _TOPIC_ID = "consent-decisions", "topic"
TOKEN_CALLS = 10
"""What İYS counts of an address in an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaysVerdict:
    """The result of the days."""

    days: float
    events: int
    movements: int
    calls: int
    restarts: int
    outages: int
    token_calls: int
    most_tokens_an_hour: int
    codes: dict[str, int]
    over_the_holiday: int
    """Consents whose term the half day or the holiday lengthened."""
    tightest: timedelta
    """The least that was left of a term when İYS had the consent."""
    unexplained: tuple[str, ...]
    """What no rule explains; none: every promise was kept."""


@dataclass(kw_only=True)
class VirtualDays:
    """One run of so many days."""

    loop: VirtualLoop
    database_url: str
    days: float
    seed: int
    sinks: int = 8
    recipients: int = 400
    file_size: int = 1500
    poll_interval: timedelta = timedelta(minutes=10)
    on_progress: Callable[[str], None] = print
    _states: dict[str, Consent] = field(default_factory=dict)
    _published: list[ConsentEvent] = field(default_factory=list)
    _restarts: int = 0
    _outages: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._time = VirtualTime(loop=self.loop, began_at=BEGINS_AT)
        self._simulator = create_simulator(self._time)
        self._transport = SimulatorTransport(self._simulator, self._time)
        settings = KafkaSettings(topic_prefix="", partitions=1)
        self._codec = Codec()
        self._reader = DecisionReader(self._codec)
        self._announcer = TopicMessages(self._codec, settings.topics)
        self._sinks = VirtualSinks(
            count=self.sinks,
            database_url=self.database_url,
            time=self._time,
            transport=self._transport,
            topic_messages=self._announcer,
            poll_interval=self.poll_interval,
        )
        self._settings = settings

    async def run(self) -> DaysVerdict:
        """Run the days, let everything settle, and compare."""
        await migrate(self.database_url)
        await asyncio.to_thread(set_clock, self.database_url)
        async with self._sinks.ledger() as ledger:
            for code in BRANDS:
                await register_brand(
                    ledger, self._announcer, _brand(code), by="test", now=self._time.now()
                )
            await offsets.positions(ledger, _TOPIC, [0], cluster_id="cluster", topic_id=_TOPIC_ID)
            self._sinks.start_all()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._publish_events(ledger))
                    tasks.create_task(self._publish_files(ledger))
                    tasks.create_task(self._kill_sinks())
                    tasks.create_task(self._cause_outages())
                    tasks.create_task(self._report_progress())
                self.on_progress("settling")
                await self._settle(ledger)
            finally:
                await self._sinks.end()
            return await self._verdict(ledger)

    @property
    def _is_over(self) -> bool:
        return self.loop.time() >= self.days * 24 * HOUR

    async def _report_progress(self) -> None:
        """Report the progress every virtual hour."""
        while not self._is_over:
            self.on_progress(f"{self.loop.time() / (24 * HOUR):.1f} of {self.days:g} days")
            await asyncio.sleep(HOUR)

    async def _publish_events(self, ledger: Ledger) -> None:
        """Publish opt-ins and opt-outs all day, and few at night."""
        while not self._is_over:
            hour = (self._time.now() + timedelta(hours=3)).hour
            at_night = hour < 7 or hour >= 23  # Turkish time
            await asyncio.sleep(self._random.expovariate(1 / (2 * HOUR if at_night else HOUR / 4)))
            at = self._time.now().replace(microsecond=0)
            number = len(self._published)
            recipients = self._random.sample(range(self.recipients), self._random.randint(1, 5))
            events = [
                an_event(
                    event_id=f"event-{number}-{person}",
                    brand_code=BRANDS[person % len(BRANDS)],
                    recipient=_phone(person),
                    status=self._random.choices(["ONAY", "RET"], weights=[3, 1])[0],
                    consent_date=at,
                    received_at=at,
                )
                for person in recipients
            ]
            await self._publish(ledger, events)

    async def _publish_files(self, ledger: Ledger) -> None:
        """Publish a file of consents that are two days old once a day."""
        number = 0
        while not self._is_over:
            await asyncio.sleep(6 * HOUR)
            now = self._time.now()
            at = (now - timedelta(days=2)).replace(microsecond=0)
            number += 1
            first = self.recipients + number * self.file_size
            await self._publish(
                ledger,
                [
                    an_event(
                        event_id=f"file-{number}-{person}",
                        brand_code=BRANDS[number % len(BRANDS)],
                        recipient=_phone(person),
                        consent_date=at,
                        received_at=at,
                    )
                    for person in range(first, first + self.file_size)
                ],
            )
            await asyncio.sleep(18 * HOUR)

    async def _publish(self, ledger: Ledger, events: list[ConsentEvent]) -> None:
        decided = list(self._decisions(events))
        before = len(self._published)
        ingester = Ingester(
            ledger=ledger,
            topic_messages=self._announcer,
            codec=self._codec,
            settings=self._settings,
            clock=self._time.now,
            wait=timedelta(seconds=1),
        )
        self._published += events
        moves = {0: (before, before + len(events))}
        await ingester.store(_TOPIC, _TOPIC_ID, decided, moves)
        self._sinks.notify()

    def _decisions(self, events: list[ConsentEvent]) -> Iterator[IncomingDecision]:
        for offset, event in enumerate(events, start=len(self._published)):
            claim = admit(event, appended_at=self._time.now())
            assert not isinstance(claim, RefusedEvent), claim.violations
            decision = decide(self._states.get(str(claim.key)), claim)
            assert decision.kind is DecisionKind.APPLY
            self._states[str(claim.key)] = decision.consent
            record = a_decision_record(decision, offset=offset)
            yield self._reader.read(self._codec.encode("Decision", record))

    async def _kill_sinks(self) -> None:
        """Kill a sink every hour or so; once a day all of them."""
        while not self._is_over:
            await asyncio.sleep(self._random.uniform(0.2, 2) * HOUR)
            self._sinks.check()
            kills_all = self._random.random() < 1 / 20
            killed = range(self.sinks) if kills_all else [self._random.randrange(self.sinks)]
            for number in killed:
                await self._sinks.kill(number)
                self._restarts += 1
            await asyncio.sleep(self._random.uniform(10, 1200))
            self._sinks.start_all()

    async def _cause_outages(self) -> None:
        """Interrupt İYS, or the connection to it, twice a day, for minutes or hours."""
        while not self._is_over:
            await asyncio.sleep(self._random.uniform(4, 14) * HOUR)
            self._transport.outage = self._random.choice(list(Outage))
            self._outages += 1
            longest = 0.5 if self._transport.outage is Outage.LOST else 8
            await asyncio.sleep(self._random.uniform(0.05, longest) * HOUR)
            self._transport.outage = None

    async def _settle(self, ledger: Ledger) -> None:
        async with asyncio.timeout(_SETTLES_WITHIN.total_seconds()):
            while True:
                self._sinks.check()
                self._sinks.start_all()
                left = await reads.lag(ledger, now=self._time.now())
                if not any(
                    (left.to_send, left.in_flight, left.awaiting_result, left.unknown)
                ) and not (left.to_query or left.waiting):
                    return
                await asyncio.sleep(60)

    async def _verdict(self, ledger: Ledger) -> DaysVerdict:
        saved = list(movements(self._simulator, BRANDS))
        kept = saved_terms(saved)
        counted: Any = self._simulator.counters.as_dict()
        codes: dict[str, int] = counted["codes"]
        most = most_an_hour(self._transport.token_calls)
        found = [f"{codes[code]} × {code}" for code in ("H084", "H124", "H467") if code in codes]
        found += [f"submitted late: {one}" for one in kept.late]
        found += [f"unexpected code: {code}" for code in self._sinks.unforeseen]
        if most > TOKEN_CALLS:
            found.append(f"{most} token calls in an hour")
        found += repeated(saved)
        found += await unexplained(ledger, self._simulator, BRANDS, self._states)
        return DaysVerdict(
            days=self.days,
            events=len(self._published),
            movements=len(saved),
            calls=self._transport.calls,
            restarts=self._restarts,
            outages=self._outages,
            token_calls=len(self._transport.token_calls),
            most_tokens_an_hour=most,
            codes=codes,
            over_the_holiday=kept.over_the_holiday,
            tightest=kept.tightest,
            unexplained=tuple(found),
        )


def _brand(code: int) -> Brand:
    return Brand(
        brand_code=code,
        iys_code=BRAND,
        customer_id=CUSTOMER,
        name="Örnek",
        activated_at=ACTIVATED_AT,
    )


def _phone(number: int) -> str:
    """Return an obviously fake mobile number."""
    return f"+90555{number:07d}"
