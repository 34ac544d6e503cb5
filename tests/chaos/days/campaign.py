"""Days of a company's life: people say yes and no, files come in, sinks die, İYS is away.

All of it is drawn from a seed. Afterwards everything settles, and is judged: no token call too
many, nothing told late, the register as the law has it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from izin.consent.admission import Refusal, admit
from izin.consent.model import Consent, DecisionKind
from izin.consent.ordering import decide
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.decision_reader import DecisionReader, Read
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ledger import brands, offsets, reads
from izin.sinks.ledger.brands import Brand
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.record.messages import Announcer
from tests.chaos.days.verdict import (
    HOUR,
    differences,
    most_an_hour,
    movements,
    repeated,
    terms,
)
from tests.chaos.days.virtual_sinks import BRANDS, Line, Outage, Sinks, Time, a_twin, set_clock
from tests.support.builders import BRAND, CUSTOMER, a_decision_record, an_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from izin.consent.model import ConsentEvent
    from izin.sinks.ledger.db.connection import Ledger
    from tests.chaos.days.virtual_loop import VirtualLoop

BEGINS_AT = datetime(2026, 10, 26, 5, 30, tzinfo=UTC)
"""A Monday. Its Wednesday is half a day and its Thursday the Republic's: both shift the terms."""
ACTIVATED_AT = datetime(2020, 1, 1, tzinfo=UTC)
_SETTLES_WITHIN = timedelta(days=3)
_TOPIC, _TOPIC_ID = "consent-decisions", "topic"
TOKEN_CALLS = 10
"""What İYS counts of an address in an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of the days."""

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
    """Statements whose term the half day or the holiday lengthened."""
    tightest: timedelta
    """The least that was left of a term when İYS had the statement."""
    faults: tuple[str, ...]
    """What no rule explains; none: every promise was kept."""


@dataclass(kw_only=True)
class Days:
    """One run of so many days."""

    loop: VirtualLoop
    database_url: str
    days: float
    seed: int
    sinks: int = 8
    people: int = 400
    of_a_file: int = 1500
    poll_interval: timedelta = timedelta(minutes=10)
    progress: Callable[[str], None] = print
    _states: dict[str, Consent] = field(default_factory=dict)
    _said: list[ConsentEvent] = field(default_factory=list)
    _restarts: int = 0
    _outages: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._time = Time(loop=self.loop, began_at=BEGINS_AT)
        self._twin = a_twin(self._time)
        self._line = Line(self._twin, self._time)
        settings = KafkaSettings(topic_prefix="", partitions=1)
        self._codec = Codec()
        self._reader = DecisionReader(self._codec)
        self._announcer = Announcer(self._codec, settings.topics)
        self._house = Sinks(
            count=self.sinks,
            database_url=self.database_url,
            time=self._time,
            line=self._line,
            announcer=self._announcer,
            poll_interval=self.poll_interval,
        )
        self._settings = settings

    async def run(self) -> Verdict:
        """Live the days, let everything settle, and judge."""
        await migrate(self.database_url)
        await asyncio.to_thread(set_clock, self.database_url)
        async with self._house.ledger() as ledger:
            for code in BRANDS:
                await brands.upsert(ledger, self._announcer, _brand(code), now=self._time.now())
            await offsets.positions(ledger, _TOPIC, [0], cluster_id="cluster", topic_id=_TOPIC_ID)
            self._house.start_all()
            try:
                async with asyncio.TaskGroup() as life:
                    life.create_task(self._people(ledger))
                    life.create_task(self._files(ledger))
                    life.create_task(self._strikes())
                    life.create_task(self._weather())
                    life.create_task(self._tell())
                self.progress("until all has settled")
                await self._settled(ledger)
            finally:
                await self._house.end()
            return await self._judged(ledger)

    @property
    def _is_over(self) -> bool:
        return self.loop.time() >= self.days * 24 * HOUR

    async def _tell(self) -> None:
        """Say every hour how far the days have gone."""
        while not self._is_over:
            self.progress(f"{self.loop.time() / (24 * HOUR):.1f} of {self.days:g} days")
            await asyncio.sleep(HOUR)

    async def _people(self, ledger: Ledger) -> None:
        """Have people say yes and no all day, and few at night."""
        while not self._is_over:
            hour = (self._time.now() + timedelta(hours=3)).hour
            at_night = hour < 7 or hour >= 23  # Turkish time
            await asyncio.sleep(self._random.expovariate(1 / (2 * HOUR if at_night else HOUR / 4)))
            at = self._time.now().replace(microsecond=0)
            number = len(self._said)
            people = self._random.sample(range(self.people), self._random.randint(1, 5))
            events = [
                an_event(
                    event_id=f"said-{number}-{person}",
                    brand_code=BRANDS[person % len(BRANDS)],
                    recipient=_phone(person),
                    status=self._random.choices(["ONAY", "RET"], weights=[3, 1])[0],
                    consent_date=at,
                    received_at=at,
                )
                for person in people
            ]
            await self._say(ledger, events)

    async def _files(self, ledger: Ledger) -> None:
        """Have a file of consents that are two days old come in once a day."""
        number = 0
        while not self._is_over:
            await asyncio.sleep(6 * HOUR)
            now = self._time.now()
            at = (now - timedelta(days=2)).replace(microsecond=0)
            number += 1
            first = self.people + number * self.of_a_file
            await self._say(
                ledger,
                [
                    an_event(
                        event_id=f"file-{number}-{person}",
                        brand_code=BRANDS[number % len(BRANDS)],
                        recipient=_phone(person),
                        consent_date=at,
                        received_at=at,
                    )
                    for person in range(first, first + self.of_a_file)
                ],
            )
            await asyncio.sleep(18 * HOUR)

    async def _say(self, ledger: Ledger, events: list[ConsentEvent]) -> None:
        decided = list(self._decisions(events))
        before = len(self._said)
        ingester = Ingester(
            ledger=ledger,
            announcer=self._announcer,
            codec=self._codec,
            settings=self._settings,
            clock=self._time.now,
            wait=timedelta(seconds=1),
        )
        self._said += events
        moves = {0: (before, before + len(events))}
        await ingester.keep(_TOPIC, _TOPIC_ID, decided, moves)
        self._house.ring()

    def _decisions(self, events: list[ConsentEvent]) -> Iterator[Read]:
        for offset, event in enumerate(events, start=len(self._said)):
            claim = admit(event, appended_at=self._time.now())
            assert not isinstance(claim, Refusal), claim.violations
            decision = decide(self._states.get(str(claim.key)), claim)
            assert decision.kind is DecisionKind.APPLY
            self._states[str(claim.key)] = decision.consent
            record = a_decision_record(decision, offset=offset)
            yield self._reader.read(self._codec.encode("Decision", record))

    async def _strikes(self) -> None:
        """Kill a sink every hour or so; once a day all of them."""
        while not self._is_over:
            await asyncio.sleep(self._random.uniform(0.2, 2) * HOUR)
            self._house.check()
            everybody = self._random.random() < 1 / 20
            struck = range(self.sinks) if everybody else [self._random.randrange(self.sinks)]
            for number in struck:
                await self._house.kill(number)
                self._restarts += 1
            await asyncio.sleep(self._random.uniform(10, 1200))
            self._house.start_all()

    async def _weather(self) -> None:
        """Have İYS, or the way to it, be away twice a day: for minutes, or for a working day."""
        while not self._is_over:
            await asyncio.sleep(self._random.uniform(4, 14) * HOUR)
            self._line.outage = self._random.choice(list(Outage))
            self._outages += 1
            longest = 0.5 if self._line.outage is Outage.LOST else 8
            await asyncio.sleep(self._random.uniform(0.05, longest) * HOUR)
            self._line.outage = None

    async def _settled(self, ledger: Ledger) -> None:
        async with asyncio.timeout(_SETTLES_WITHIN.total_seconds()):
            while True:
                self._house.check()
                self._house.start_all()
                left = await reads.lag(ledger, now=self._time.now())
                if not any(
                    (left.to_tell, left.in_flight, left.awaiting_result, left.unknown)
                ) and not (left.to_ask or left.waiting):
                    return
                await asyncio.sleep(60)

    async def _judged(self, ledger: Ledger) -> Verdict:
        saved = list(movements(self._twin, BRANDS))
        kept = terms(saved)
        told: Any = self._twin.counters.as_dict()
        codes: dict[str, int] = told["codes"]
        most = most_an_hour(self._line.token_calls)
        faults = [f"{codes[code]} × {code}" for code in ("H084", "H124", "H467") if code in codes]
        faults += [f"told late: {one}" for one in kept.late]
        faults += [f"found at İYS and not here: {code}" for code in self._house.unforeseen]
        if most > TOKEN_CALLS:
            faults.append(f"{most} token calls in an hour")
        faults += repeated(saved)
        faults += await differences(ledger, self._twin, BRANDS, self._states)
        return Verdict(
            days=self.days,
            events=len(self._said),
            movements=len(saved),
            calls=self._line.calls,
            restarts=self._restarts,
            outages=self._outages,
            token_calls=len(self._line.token_calls),
            most_tokens_an_hour=most,
            codes=codes,
            over_the_holiday=kept.over_the_holiday,
            tightest=kept.tightest,
            faults=tuple(faults),
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
