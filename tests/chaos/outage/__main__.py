"""``python -m tests.chaos.outage``: ten days down on a virtual clock; ``make chaos STAGE=outage``.

Citizens reject at İYS on the first days, so that no pull shows any of it on the return. The sinks
come back, find the gap, sweep every key at two requests a second, and query what they suspect, a
thousand an hour at most. Amid the sweep İYS takes the egress address of the brand off its list for
a while; a sink at another address takes over. Time is virtual; the ledger, its SQL, the loops of
the worker and the simulator are the real ones.

It ends with the lines ``outage-shut``, ``outage-confirmed``, ``outage-found``, ``outage-wrong-yes``
and ``outage-unexplained``, each ``ok`` or ``short``. Exit codes: 0 every bar is met, 1 one is
missed, 2 wrong usage.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from iys_simulator.clock import wire_text
from iys_simulator.other_writers import citizen_consent, save_citizen_change
from iys_simulator.rules.consent import Consent as SimulatorConsent

from benchmarks.results import RunReport
from benchmarks.simulator.load import save_consents
from izin.gate.verdicts import is_iys_current
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import addresses
from izin.ledger.record import Message
from izin.runtime.process import cancel_all
from izin.runtime.settings import GateSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.movements import Puller
from izin.sinks.inbound.sweep import Sweeper
from izin.sinks.outbound.context import OutboundContext, RequestBudget
from tests.chaos.command import explained_report, start
from tests.chaos.days.virtual_site import (
    ADDRESS,
    BEGINS_AT,
    DAY,
    HOUR,
    VirtualCampaign,
    run_campaign,
)
from tests.support.builders import BRAND, CUSTOMER, a_phone

SHOWN = 7.1 * DAY
"""İYS shows the last seven; they reject before."""
ADDRESSES = (ADDRESS, "192.0.2.2")
_DELISTED_AFTER = 300.0
"""Seconds from the return until İYS takes the brand's address off its list."""
_DELISTED_FOR = 600.0
RATE = 2.0
_POLL_INTERVAL = timedelta(seconds=15)
_BEFORE = 120.0
"""Seconds for which the sinks run before they are down: both streams are pulled."""
_GIVEN_AT = BEGINS_AT - timedelta(days=30)
_EVERY = 5.0
"""Seconds between two looks of the order stage, and of the watch."""
_BACK_WITHIN = 60.0
"""Seconds in which an address that is back has to be found."""
_CLOSES_AFTER = GateSettings().iys_closes_after
_LIMIT = 8 * HOUR
"""After the return; what is not confirmed then is reported."""
_FILL = Path(__file__).with_name("fill.sql").read_text("utf-8")
_LEFT = """
SELECT count(*) FILTER (WHERE may_send) AS open,
    count(*) FILTER (WHERE registered <> 'RET' OR desired_status <> 'RET') AS unconfirmed
FROM consents WHERE key = ANY(%(keys)s)
"""
_SHUT = "SELECT key FROM consents WHERE NOT may_send AND key <> ALL(%(keys)s) LIMIT 5"


class RemovedClient(StrEnum):
    """How İYS answers an address that is not on its list, as the simulator's setting says it."""

    DROP = "drop"
    FORBIDDEN = "forbidden"


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
    found_seconds: float | None
    """Until the address that İYS took off its list was taken for that; None: it never was."""
    wrong_yes: int
    """Times a gate would have said yes to somebody who had rejected, at a look after the return."""
    unexplained: tuple[str, ...]


@dataclass(kw_only=True)
class VirtualOutage(VirtualCampaign):
    """One outage of so many days."""

    keys: int
    rejections: int
    days: float
    removed: RemovedClient
    _published: list[Message] = field(default_factory=list)
    _pulled_at: datetime | None = None
    """The freshness of İYS's data, as gates read it."""
    _wrong_yes: int = 0

    def __post_init__(self) -> None:
        numbers = random.Random(self.seed).sample(range(self.keys), self.rejections)
        self._recipients = [a_phone(one) for one in numbers]
        self._rejected = [f"{BRAND}/MESAJ/BIREYSEL/{one}" for one in self._recipients]
        self._site = self.site(
            poll_interval=_POLL_INTERVAL, beside=self._inbound, count=2, addresses=ADDRESSES
        )
        simulator = self._site.simulator
        simulator.settings = simulator.settings.changed({"removedClient": str(self.removed)})

    async def run(self) -> OutageVerdict:
        """Run the outage and the return, and measure."""
        async with self._site.open(BRAND) as ledger:
            self.on_progress(f"filling ledger and İYS with {self.keys:,} keys")
            await self._fill(ledger)
            await ledger.execute("UPDATE brands SET egress_address = %(to)s", {"to": ADDRESS})
            self._site.sinks.start_all()
            await asyncio.sleep(_BEFORE)
            await self._site.sinks.end()
            self.on_progress("down")
            await self._reject()
            await asyncio.sleep(max(0.0, _BEFORE + self.days * DAY - self.loop.time()))
            self.on_progress("back")
            order = asyncio.create_task(self._order(ledger))
            delisting = asyncio.create_task(self._delist(ledger))
            self._site.sinks.start_all()
            try:
                shut, confirmed = await self._watch(ledger)
                found = await delisting
            finally:
                await cancel_all([order, delisting])
                await self._site.sinks.end()
            return await self._verdict(ledger, shut, confirmed, found)

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
            await asyncio.sleep((self.days * DAY - SHOWN) / self.rejections)
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
            for row in rows:
                if row["topic"] == topics.freshness.name:
                    fresh = codec.decode("IysFreshness", row["value"])
                    self._pulled_at = fresh["last_pulled_at"]
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
            if is_iys_current(self._pulled_at, self._site.time.now(), _CLOSES_AFTER):
                self._wrong_yes += left["open"]
            if shut is None and not left["open"]:
                shut = elapsed
            if not left["unconfirmed"]:
                return shut, elapsed
            await asyncio.sleep(_EVERY)
        return shut, None

    async def _delist(self, ledger: Ledger) -> tuple[float | None, bool]:
        """Have İYS take the brand's address off its list for a while; return after how many seconds
        that was found, and whether it was found that it is back.
        """
        await asyncio.sleep(_DELISTED_AFTER)
        error_rate, at = self._site.simulator.limits.error_rate, self._site.time.now()
        error_rate.remove(ADDRESS)
        await asyncio.sleep(_DELISTED_FOR)
        during = await self._delisted_at(ledger)
        error_rate.readmit(ADDRESS)
        await asyncio.sleep(_BACK_WITHIN)
        seconds = None if during is None else (during - at).total_seconds()
        return seconds, await self._delisted_at(ledger) is None

    async def _delisted_at(self, ledger: Ledger) -> datetime | None:
        found = {one.address: one.delisted_at for one in await addresses(ledger)}
        return found[ADDRESS]

    async def _verdict(
        self,
        ledger: Ledger,
        shut: float | None,
        confirmed: float | None,
        delisted: tuple[float | None, bool],
    ) -> OutageVerdict:
        found_seconds, is_back = delisted
        found = self._site.codes_among("H084", "H086", "H124")
        wrong = await ledger.fetch(_SHUT, {"keys": self._rejected})
        found += [f"shut without a rejection: {row['key']}" for row in wrong]
        found += ["the address was not found to be back"] * (not is_back)
        operations = self._site.counters["operations"]
        return OutageVerdict(
            keys=self.keys,
            rejections=self.rejections,
            days=self.days,
            shut_minutes=None if shut is None else shut / 60,
            confirmed_hours=None if confirmed is None else confirmed / HOUR,
            swept=operations.get("statuses", {}).get("total", 0),
            queried=operations.get("status", {}).get("total", 0),
            found_seconds=found_seconds,
            wrong_yes=self._wrong_yes,
            unexplained=tuple(found),
        )


def main(  # noqa: PLR0917  # each is an option
    keys: Annotated[int, typer.Option(min=1000, help="Consents at İYS and here.")] = 1_000_000,
    rejections: Annotated[int, typer.Option(min=1, help="Citizens who reject meanwhile.")] = 2000,
    days: Annotated[float, typer.Option(min=8, help="How long the sinks are down.")] = 10,
    removed: Annotated[
        RemovedClient, typer.Option(help="How İYS answers the address that it takes off its list.")
    ] = RemovedClient.DROP,
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
        removed=removed,
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
        "outage-found": verdict.found_seconds,
        "outage-wrong-yes": verdict.wrong_yes,
    }
    return explained_report("outage", verdict, summary, seconds=seconds, figures=figures)


if __name__ == "__main__":
    start("outage", main)
