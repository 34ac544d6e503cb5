"""``python -m tests.chaos.days``: a week on a virtual clock; ``make chaos STAGE=days DAYS=7``.

Recipients opt in and out, files come in, sinks are killed, İYS is down, or gets calls when nobody
awaits them any more: all of it follows from a seed. Afterwards everything settles and is compared:
no token call too many, nothing submitted late, the register as the law decides.

It ends with the lines ``days-unexplained`` and ``days-token-calls``, each ``ok`` or ``short``. Exit
codes: 0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from iys_simulator.state import SimulatorState
from iys_simulator.store.movements import Movement

from benchmarks.results import RunReport
from izin.consent import TURKEY_CALENDAR, BrandTerms, Consent, ConsentEvent, due_at
from izin.iys.wire_format import from_turkish
from izin.ledger import reads
from izin.ledger.db import Ledger
from tests.chaos.command import Seed, explained_report, start
from tests.chaos.days.virtual_site import BRANDS, DAY, HOUR, Outage, VirtualCampaign, run_campaign
from tests.chaos.pipeline import differences
from tests.support.builders import a_phone, an_event

_SETTLES_WITHIN = timedelta(days=3)
_RECIPIENTS = 400
_FILE_SIZE = 1500
TOKEN_CALLS = 10
"""What İYS counts of an address in an hour."""
HOLIDAY = datetime(2026, 10, 28, 10, 0, tzinfo=UTC)
"""From 13:00 on Wednesday, the eve of the Republic's day."""
_CLOCK = BrandTerms(activated_at=datetime(2020, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTerms:
    """The observance of terms by the movements that İYS saved."""

    late: tuple[str, ...]
    tightest: timedelta
    """The least that was left of one."""
    over_the_holiday: int
    """How many the half day and the holiday lengthened."""


def movements(simulator: SimulatorState, brands: Iterable[int]) -> Iterator[Movement]:
    """Yield the movements that İYS saved, brand by brand, in order."""
    for code in brands:
        yield from simulator.register_of(code).movements()


def saved_terms(saved: Iterable[Movement]) -> SavedTerms:
    """Return the observance of terms by ``saved``, each computed from its consent date."""
    late, tightest, over = [], timedelta(days=9), 0
    for one in saved:
        stated, created = from_turkish(one.consent_date), from_turkish(one.creation_date)
        due = due_at(stated, _CLOCK, now=created, calendar=TURKEY_CALENDAR)
        left = due - created
        tightest = min(tightest, left)
        over += stated < HOLIDAY < due
        if left < timedelta(0):
            late.append(f"{one.status} of {one.consent_date} was saved at {one.creation_date}")
    return SavedTerms(late=tuple(late), tightest=tightest, over_the_holiday=over)


def repeated(saved: Iterable[Movement]) -> list[str]:
    """Return each movement that was saved twice, or after a later one of its key."""
    found, last = [], dict[tuple[str, str], str]()
    for one in saved:
        key = (one.type, one.recipient)
        if one.consent_date <= last.get(key, ""):
            found.append(f"{one.status} of {one.consent_date} saved after one of {last[key]}")
        last[key] = one.consent_date
    return found


def an_event_of(event_id: str, person: int, at: datetime, status: str) -> ConsentEvent:
    """Return what a person says ``at`` an instant to the brand that is theirs."""
    return an_event(
        event_id=event_id,
        brand_code=BRANDS[person % len(BRANDS)],
        recipient=a_phone(person),
        status=status,
        consent_date=at,
        received_at=at,
    )


def most_an_hour(instants: Sequence[float]) -> int:
    """Return how many of these instants (seconds, in order) are within any one hour."""
    return max((sum(at <= one < at + HOUR for one in instants) for at in instants), default=0)


async def unexplained(
    ledger: Ledger, simulator: SimulatorState, brands: Iterable[int], states: Mapping[str, Consent]
) -> list[str]:
    """Return where decisions, the ledger and İYS's register differ on a key."""
    register = {
        f"{code}/{one.type}/{one.recipient_type}/{one.recipient}": one.status
        for code in brands
        for one, _ in simulator.register_of(code).records()
    }
    rows = await ledger.fetch("SELECT key, may_send FROM consents")
    permitted = {row["key"]: row["may_send"] for row in rows}
    return await differences(ledger, states, register, permitted)


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
class VirtualDays(VirtualCampaign):
    """One run of so many days."""

    days: float
    sinks: int = 8
    _restarts: int = 0
    _outages: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._site = self.site(count=self.sinks, poll_interval=timedelta(minutes=10))
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
                    tasks.create_task(self._cause_outages(ledger))
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
            recipients = self._random.sample(range(_RECIPIENTS), self._random.randint(1, 5))
            events = [
                an_event_of(
                    f"event-{number}-{person}",
                    person,
                    at,
                    self._random.choices(["ONAY", "RET"], weights=[3, 1])[0],
                )
                for person in recipients
            ]
            await self._site.decide(ledger, events)

    async def _publish_files(self, ledger: Ledger) -> None:
        """Publish a file of consents that are two days old once a day."""
        number = 0
        while not self._is_over:
            await asyncio.sleep(6 * HOUR)
            at = (self._site.time.now() - timedelta(days=2)).replace(microsecond=0)
            number += 1
            first = _RECIPIENTS + number * _FILE_SIZE
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
                    for person in range(first, first + _FILE_SIZE)
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

    async def _cause_outages(self, ledger: Ledger) -> None:
        """Interrupt İYS, or the connection to it, twice a day, for minutes or hours."""
        while not self._is_over:
            await asyncio.sleep(self._random.uniform(4, 14) * HOUR)
            self._transport.outage = self._random.choice(list(Outage))
            self._outages += 1
            if self._transport.outage is Outage.HELD:
                await self._change_minds(ledger)
            else:
                longest = 0.5 if self._transport.outage is Outage.LOST else 8
                await asyncio.sleep(self._random.uniform(0.05, longest) * HOUR)
            await self._transport.end_outage()

    async def _change_minds(self, ledger: Ledger) -> None:
        """Have people who are new opt in, each by a call of its own, and opt out soon after."""
        people = range(10**6 + 10 * self._outages, 10**6 + 10 * self._outages + 6)
        for status in ("ONAY", "RET"):
            for person in people:
                at = self._site.time.now().replace(microsecond=0)
                event = an_event_of(f"mind-{person}-{status}", person, at, status)
                await self._site.decide(ledger, [event])
                await asyncio.sleep(self._random.uniform(1, 10))
            await asyncio.sleep(self._random.uniform(60, 400))

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


def main(
    days: Annotated[float, typer.Option(min=0.1, help="How many days pass.")] = 7,
    sinks: Annotated[int, typer.Option(min=1, help="Sink processes behind one address.")] = 8,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-days"
    ),
) -> None:
    """Run days as fast as their work permits, let everything settle, then compare."""
    raise run_campaign(
        "days",
        folder,
        VirtualDays,
        lambda verdict, seconds: report(verdict, seed=seed, sinks=sinks, seconds=seconds),
        days=days,
        seed=seed,
        sinks=sinks,
    )


def report(verdict: DaysVerdict, *, seed: int, sinks: int, seconds: float) -> RunReport:
    """Return the report of the days."""
    summary = (
        f"{verdict.days:g} days of {sinks} sinks in {seconds:.0f} s: {verdict.events} events, "
        f"{verdict.movements} movements, {verdict.calls} calls, {verdict.restarts} restarts, "
        f"{verdict.outages} outages, {verdict.token_calls} token calls; "
        f"{verdict.over_the_holiday} terms over the holiday, the tightest kept with "
        f"{verdict.tightest} left"
    )
    return explained_report(
        "days",
        verdict,
        summary,
        seconds=seconds,
        figures={"days-token-calls": verdict.most_tokens_an_hour},
        seed=seed,
        sinks=sinks,
        tightest=str(verdict.tightest),
    )


if __name__ == "__main__":
    start("days", main)
