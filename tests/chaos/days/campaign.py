"""Days of a company: recipients opt in and out, files come in, sinks are killed, İYS is down.

All of it follows from a seed. Afterwards everything settles and is compared: no token call too
many, nothing submitted late, the register as the law decides.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from izin.ledger import reads
from izin.ledger.db import Ledger
from tests.chaos.days.verdict import (
    most_an_hour,
    movements,
    repeated,
    saved_terms,
    unexplained,
)
from tests.chaos.days.virtual_loop import VirtualLoop
from tests.chaos.days.virtual_sinks import BRANDS, Outage
from tests.chaos.days.virtual_site import DAY, HOUR, VirtualSite
from tests.support.builders import an_event
from tests.support.webhooks import a_phone

_SETTLES_WITHIN = timedelta(days=3)
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
    _restarts: int = 0
    _outages: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._site = VirtualSite(
            loop=self.loop,
            database_url=self.database_url,
            count=self.sinks,
            poll_interval=self.poll_interval,
        )
        self._sinks, self._transport = self._site.sinks, self._site.transport

    async def run(self) -> DaysVerdict:
        """Run the days, let everything settle, and compare."""
        async with self._site.open(*BRANDS) as ledger:
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
        return self.loop.time() >= self.days * DAY

    async def _report_progress(self) -> None:
        """Report the progress every virtual hour."""
        while not self._is_over:
            self.on_progress(f"{self.loop.time() / DAY:.1f} of {self.days:g} days")
            await asyncio.sleep(HOUR)

    async def _publish_events(self, ledger: Ledger) -> None:
        """Publish opt-ins and opt-outs all day, and few at night."""
        while not self._is_over:
            hour = (self._site.time.now() + timedelta(hours=3)).hour
            at_night = hour < 7 or hour >= 23  # Turkish time
            await asyncio.sleep(self._random.expovariate(1 / (2 * HOUR if at_night else HOUR / 4)))
            at = self._site.time.now().replace(microsecond=0)
            number = self._site.decided
            recipients = self._random.sample(range(self.recipients), self._random.randint(1, 5))
            events = [
                an_event(
                    event_id=f"event-{number}-{person}",
                    brand_code=BRANDS[person % len(BRANDS)],
                    recipient=a_phone(person),
                    status=self._random.choices(["ONAY", "RET"], weights=[3, 1])[0],
                    consent_date=at,
                    received_at=at,
                )
                for person in recipients
            ]
            await self._site.decide(ledger, events)

    async def _publish_files(self, ledger: Ledger) -> None:
        """Publish a file of consents that are two days old once a day."""
        number = 0
        while not self._is_over:
            await asyncio.sleep(6 * HOUR)
            now = self._site.time.now()
            at = (now - timedelta(days=2)).replace(microsecond=0)
            number += 1
            first = self.recipients + number * self.file_size
            await self._site.decide(
                ledger,
                [
                    an_event(
                        event_id=f"file-{number}-{person}",
                        brand_code=BRANDS[number % len(BRANDS)],
                        recipient=a_phone(person),
                        consent_date=at,
                        received_at=at,
                    )
                    for person in range(first, first + self.file_size)
                ],
            )
            await asyncio.sleep(18 * HOUR)

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
                left = await reads.lag(ledger, now=self._site.time.now())
                if not any(
                    (left.to_send, left.in_flight, left.awaiting_result, left.unknown)
                ) and not (left.to_query or left.waiting):
                    return
                await asyncio.sleep(60)

    async def _verdict(self, ledger: Ledger) -> DaysVerdict:
        site = self._site
        saved = list(movements(site.simulator, BRANDS))
        kept = saved_terms(saved)
        most = most_an_hour(self._transport.token_calls)
        found = site.codes_among("H084", "H124", "H467")
        found += [f"submitted late: {one}" for one in kept.late]
        found += [f"unexpected code: {code}" for code in self._sinks.unforeseen]
        if most > TOKEN_CALLS:
            found.append(f"{most} token calls in an hour")
        found += repeated(saved)
        found += await unexplained(ledger, site.simulator, BRANDS, site.states)
        return DaysVerdict(
            days=self.days,
            events=site.decided,
            movements=len(saved),
            calls=self._transport.calls,
            restarts=self._restarts,
            outages=self._outages,
            token_calls=len(self._transport.token_calls),
            most_tokens_an_hour=most,
            codes=site.counters["codes"],
            over_the_holiday=kept.over_the_holiday,
            tightest=kept.tightest,
            unexplained=tuple(found),
        )
