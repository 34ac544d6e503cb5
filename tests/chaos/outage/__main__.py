"""``python -m tests.chaos.outage``: ten days down on a virtual clock; ``make chaos STAGE=outage``.

Citizens reject at İYS on the first days, so that no pull shows any of it on the return. The sinks
come back, find the gap, sweep every key at two requests a second, and query what they suspect, a
thousand an hour at most. Time is virtual; the ledger, its SQL, the loops of the worker and the
simulator are the real ones.

It ends with the lines ``outage-shut``, ``outage-confirmed`` and ``outage-unexplained``, each ``ok``
or ``short``. Exit codes: 0 every bar is met, 1 one is missed, 2 wrong usage.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from iys_simulator.clock import wire_text
from iys_simulator.other_writers import citizen_consent, save_citizen_change
from iys_simulator.rules.consent import Consent as SimulatorConsent

from benchmarks.results import RunReport
from benchmarks.simulator.load import save_consents
from izin.ledger.db import Ledger
from izin.ledger.record import Message
from izin.schemas.codec import Codec
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.movements import Puller
from izin.sinks.inbound.sweep import Sweeper
from izin.sinks.outbound.context import OutboundContext, RequestBudget
from tests.chaos.command import explained_report, start
from tests.chaos.days.virtual_site import BEGINS_AT, DAY, HOUR, VirtualCampaign, run_campaign
from tests.support.builders import BRAND, CUSTOMER, a_phone

REJECTED_WITHIN = 2.9 * DAY
"""Of ten days down: İYS shows the last seven."""
RATE = 2.0
_POLL_INTERVAL = timedelta(seconds=15)
_BEFORE = 120.0
"""Seconds for which the sinks run before they are down: both streams are pulled."""
_GIVEN_AT = BEGINS_AT - timedelta(days=30)
_EVERY = 5.0
"""Seconds between two looks of the order stage, and of the watch."""
_LIMIT = 8 * HOUR
"""After the return; what is not confirmed then is reported."""
_FILL = Path(__file__).with_name("fill.sql").read_text("utf-8")
_LEFT = """
SELECT count(*) FILTER (WHERE may_send) AS open,
    count(*) FILTER (WHERE registered <> 'RET' OR desired_status <> 'RET') AS unconfirmed
FROM consents WHERE key = ANY(%(keys)s)
"""
_SHUT = "SELECT key FROM consents WHERE NOT may_send AND key <> ALL(%(keys)s) LIMIT 5"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageVerdict:
    """The result of an outage."""

    keys: int
    rejections: int
    days: float
    shut_minutes: float | None
    """From the return until nothing may be sent to who rejected; None: that never was so."""
    confirmed_hours: float | None
    """Until each rejection was known with source and date, and decided; None: never."""
    swept: int
    """Requests for a thousand recipients."""
    queried: int
    """Requests for one."""
    unexplained: tuple[str, ...]


@dataclass(kw_only=True)
class VirtualOutage(VirtualCampaign):
    """One outage of so many days."""

    keys: int
    rejections: int
    days: float
    _published: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        numbers = random.Random(self.seed).sample(range(self.keys), self.rejections)
        self._recipients = [a_phone(one) for one in numbers]
        self._rejected = [f"{BRAND}/MESAJ/BIREYSEL/{one}" for one in self._recipients]
        self._site = self.site(poll_interval=_POLL_INTERVAL, beside=self._inbound)

    async def run(self) -> OutageVerdict:
        """Run the outage and the return, and measure."""
        async with self._site.open(BRAND) as ledger:
            self.on_progress(f"filling ledger and İYS with {self.keys:,} keys")
            await self._fill(ledger)
            self._site.sinks.start_all()
            await asyncio.sleep(_BEFORE)
            await self._site.sinks.end()
            self.on_progress("down")
            await self._reject()
            await asyncio.sleep(max(0.0, _BEFORE + self.days * DAY - self.loop.time()))
            self.on_progress("back")
            order = asyncio.create_task(self._order(ledger))
            self._site.sinks.start_all()
            try:
                shut, confirmed = await self._watch(ledger)
            finally:
                order.cancel()
                await asyncio.gather(order, return_exceptions=True)
                await self._site.sinks.end()
            return await self._verdict(ledger, shut, confirmed)

    async def _fill(self, ledger: Ledger) -> None:
        """Give İYS and the ledger the same consents."""
        values = {
            "brand": BRAND,
            "customer": CUSTOMER,
            "at": _GIVEN_AT,
            "last": self.keys - 1,
        }
        async with ledger.transaction() as connection:
            await connection.execute(_FILL.encode(), values)
        second = int(_GIVEN_AT.timestamp())
        save_consents(self._site.simulator.register_of(BRAND), self._consents(second), second)
        async with ledger.session() as connection:
            await connection.execute("ANALYZE consents")

    def _consents(self, second: int) -> Iterator[SimulatorConsent]:
        for number in range(self.keys):
            yield SimulatorConsent(
                type="MESAJ",
                recipient_type="BIREYSEL",
                recipient=a_phone(number),
                status="ONAY",
                source="HS_WEB",
                consent_date=wire_text(second),
            )

    async def _reject(self) -> None:
        """Let citizens reject at İYS, one after the other, all before what İYS will show."""
        brand = self._site.simulator.directory.brands[BRAND]
        for recipient in self._recipients:
            await asyncio.sleep(REJECTED_WITHIN / self.rejections)
            consent = citizen_consent(
                self._site.simulator,
                brand,
                channel="MESAJ",
                recipient_type="BIREYSEL",
                recipient=recipient,
                status="RET",
            )
            save_citizen_change(self._site.simulator, brand, consent)

    def _inbound(self, context: OutboundContext) -> Iterable[Coroutine[Any, Any, None]]:
        puller = Puller(
            context=context,
            publisher=self,  # type: ignore[arg-type]
            interval=timedelta(seconds=30),
            requests_per_second=2,
            hidden=timedelta(0),
        )
        budget = RequestBudget(RATE, clock=self.loop.time)
        sweeper = Sweeper(context=context, budget=budget, every=None)
        return puller.run(_POLL_INTERVAL), sweeper.run(_POLL_INTERVAL)

    async def publish(self, messages: Iterable[Message]) -> None:
        """Take what the pull publishes, as Kafka would."""
        self._published += messages

    async def _order(self, ledger: Ledger) -> None:
        """Have what the sinks publish decided, and ingested."""
        codec, topics = Codec(), self._site.settings.topics
        lanes = {topics.express.name, topics.events.name}
        while True:
            rows = await ledger.fetch("DELETE FROM outbox RETURNING topic, value")
            pulled, self._published = self._published, []
            values = [row["value"] for row in rows if row["topic"] in lanes]
            values += [one.value for one in pulled if one.topic in lanes]
            events = [event_from_avro(codec.decode("ConsentEvent", one)) for one in values]
            await self._site.decide(ledger, events)
            await asyncio.sleep(_EVERY)

    async def _watch(self, ledger: Ledger) -> tuple[float | None, float | None]:
        """Return how many seconds after the return every gate was shut, and all was confirmed."""
        returned_at, shut = self.loop.time(), None
        while (elapsed := self.loop.time() - returned_at) < _LIMIT:
            self._site.sinks.check()
            (left,) = await ledger.fetch(_LEFT, {"keys": self._rejected})
            self.on_progress(f"{elapsed / HOUR:.2f} h: {left['unconfirmed']} to confirm")
            if shut is None and not left["open"]:
                shut = elapsed
            if not left["unconfirmed"]:
                return shut, elapsed
            await asyncio.sleep(_EVERY)
        return shut, None

    async def _verdict(
        self, ledger: Ledger, shut: float | None, confirmed: float | None
    ) -> OutageVerdict:
        found = self._site.codes_among("H084", "H086", "H124")
        wrong = await ledger.fetch(_SHUT, {"keys": self._rejected})
        found += [f"shut without a rejection: {row['key']}" for row in wrong]
        operations = self._site.counters["operations"]
        return OutageVerdict(
            keys=self.keys,
            rejections=self.rejections,
            days=self.days,
            shut_minutes=None if shut is None else shut / 60,
            confirmed_hours=None if confirmed is None else confirmed / HOUR,
            swept=operations.get("statuses", {}).get("total", 0),
            queried=operations.get("status", {}).get("total", 0),
            unexplained=tuple(found),
        )


def main(
    keys: Annotated[int, typer.Option(min=1000, help="Consents at İYS and here.")] = 1_000_000,
    rejections: Annotated[int, typer.Option(min=1, help="Citizens who reject meanwhile.")] = 2000,
    days: Annotated[float, typer.Option(min=10, help="How long the sinks are down.")] = 10,
    seed: Annotated[int, typer.Option(help="The same citizens for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-outage"
    ),
) -> None:
    """Have citizens reject while the sinks are down for days, and measure the return."""
    raise run_campaign(
        "outage",
        folder,
        VirtualOutage,
        report,
        keys=keys,
        rejections=rejections,
        days=days,
        seed=seed,
    )


def report(verdict: OutageVerdict, seconds: float) -> RunReport:
    """Return the report of an outage."""
    summary = (
        f"{verdict.days:g} days down, {verdict.rejections:,} rejections among {verdict.keys:,} "
        f"keys, in {seconds:.0f} s: {verdict.swept:,} requests for a thousand, "
        f"{verdict.queried:,} for one"
    )
    figures = {
        "outage-shut": verdict.shut_minutes,
        "outage-confirmed": verdict.confirmed_hours,
    }
    return explained_report("outage", verdict, summary, seconds=seconds, figures=figures)


if __name__ == "__main__":
    start("outage", main)
