"""The twin's state put together: who may call, what is registered, what is still waiting."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import httpx

from iys_simulator.clock import Clock, wire_text
from iys_simulator.faults import Weather
from iys_simulator.push_delivery import PushOffice
from iys_simulator.rules.fields import Consent
from iys_simulator.settings import Settings
from iys_simulator.store.accounts import Brand, Directory
from iys_simulator.store.batches import BatchQueue, process
from iys_simulator.store.database import Database
from iys_simulator.store.documents import Shelf
from iys_simulator.store.movements import Movement, Origin, Path
from iys_simulator.store.register import Register, Stamp
from iys_simulator.store.reject_links import RejectLink
from iys_simulator.store.retailers import RetailerBook
from iys_simulator.store.tokens import TokenOffice
from iys_simulator.traffic.counters import Counters
from iys_simulator.traffic.error_rate import TrafficQuality
from iys_simulator.traffic.rate_limits import FixedWindow, Limit, RestartingHour, SlidingWindow
from iys_simulator.traffic.request_log import RequestLog


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The counters of İYS's limits."""

    requests: dict[str, Limit] = field(
        default_factory=lambda: {"fixed": FixedWindow(), "sliding": SlidingWindow()}
    )
    tokens: Limit = field(default_factory=RestartingHour)
    statuses: Limit = field(default_factory=FixedWindow)
    histories: Limit = field(default_factory=FixedWindow)
    quality: TrafficQuality = field(default_factory=TrafficQuality)

    def clear(self) -> None:
        """Forget all clients."""
        for limit in (*self.requests.values(), self.tokens, self.statuses, self.histories):
            limit.clear()
        self.quality.clear()


class Twin:
    """İYS in memory. `pause` waits (slow weather, retries of push): an argument for tests.

    What is drawn by chance is drawn from `seed`, so that a run can be repeated.
    """

    def __init__(  # noqa: PLR0913 - each may be another one in a test
        self,
        settings: Settings | None = None,
        clock: Clock | None = None,
        *,
        push_client: httpx.AsyncClient | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: int = 0,
        database: Database | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock or Clock()
        self.pause = pause
        self.chance = Random(seed)  # noqa: S311 - repeatable on purpose
        self.database = database or Database()
        self.directory = Directory(self.database)
        self.tokens = TokenOffice(self.directory, self.database)
        self.retailers = RetailerBook(self.database)
        self.limits = Limits()
        self.batches = BatchQueue(self.database)
        self.weather = Weather(seed, self.clock.seconds)
        self.counters = Counters()
        self.log = RequestLog()
        self.push = PushOffice(
            self.counters,
            self.weather,
            lambda: self.settings,
            client=push_client,
            pause=pause,
            database=self.database,
            milliseconds=self.clock.machine_milliseconds,
        )
        self._registers: dict[int, Register] = {}
        self._calls = itertools.count(1)
        self._links = Shelf(self.database, "reject link", str, RejectLink)
        self._agreed = Shelf(self.database, "agreement", tuple[int, str], bool)
        self._offset = Shelf(self.database, "clock", str, float)
        self.hashes: dict[
            tuple[int, str, bool, str], str
        ] = {}  # of the files of days that are over
        self._set_clock()

    def _set_clock(self) -> None:
        """Go on where the last process stopped: no movement is older than one before it."""
        self.clock.set_offset(self._offset.get("offset", self.clock.offset))
        behind = self.last_second() - self.clock.seconds()
        if behind > 0:
            self.clock.advance(behind)

    def register_of(self, brand_code: int) -> Register:
        """Give the brand's register, with every batch that is due by now processed."""
        self.process_due()
        return self._register(brand_code)

    def process_due(self, most: int | None = None) -> int:
        """Process the batches due by now, at most `most`; how many there were."""
        done = 0
        now = self.clock.seconds()
        for batch in itertools.islice(self.batches.take_due(now), most):
            brand = self.directory.brands.get(batch.brand_code)
            if brand is not None:
                occurred_at = self.clock.machine_milliseconds()
                with self.database.transaction():
                    register = self._register(batch.brand_code)
                    outcomes = process(
                        batch, register, brand, self.settings, occurred_at=occurred_at
                    )
                    self.batches.settle(batch, outcomes)
            done += 1
        return done

    def call_id(self, prefix: str) -> str:
        """Give A name for a call that İYS itself does not name."""
        return f"{prefix}-{next(self._calls)}"

    def save(
        self, brand: Brand, consent: Consent, origin: Origin, citizen_name: str = ""
    ) -> Movement:
        """Save `consent` now, whatever the rules say, and have it pushed if a citizen did it."""
        stamp = Stamp(
            second=int(self.clock.seconds()),
            occurred_at=self.clock.machine_milliseconds(),
            origin=origin,
        )
        movement = self.register_of(brand.code).save(consent, stamp, citizen_name)
        if origin.path is Path.CITIZEN:
            self.push.send(brand.code, brand.iys_code, [movement])
        return movement

    def add_reject_link(self, name: str, link: RejectLink) -> None:
        """Remember what the e-mail reject link `name` stands for."""
        self._links[name] = link

    def reject_link(self, name: str) -> RejectLink | None:
        """Give what the e-mail reject link `name` stands for."""
        return self._links.get(name)

    def agree(self, brand_code: int, day: str) -> None:
        """Remember that the provider agrees with the day's movements."""
        self._agreed[brand_code, day] = True

    def is_agreed(self, brand_code: int, day: str) -> bool:
        """Whether the provider agreed with the day's movements."""
        return (brand_code, day) in self._agreed

    def now_text(self) -> str:
        """Now as a wire text."""
        return wire_text(int(self.clock.seconds()))

    def last_second(self) -> int:
        """Give the creation second of the youngest movement of any brand; 0 if there is none."""
        row = self.database.row("last_movement")
        return row[1] if row else 0

    async def reset(self, *, everything: bool, seed: int | None = None) -> None:
        """Empty registers, batches, counters, log, limits and weather; the clock is the machine's.

        Accounts, brands, tokens and push registrations are kept unless `everything` is to go.
        """
        self.database.empty()
        self._registers.clear()
        self.batches.clear()
        self._links.clear()
        self._agreed.clear()
        self.hashes.clear()
        self.weather.clear()
        if seed is not None:
            self.weather.seed(seed)
            self.chance.seed(seed)
        self.counters.clear()
        self.log.clear()
        self.limits.clear()
        self.clock.set_speed(1.0)
        self.clock.set_offset(0.0)
        if everything:
            await self.push.clear()
            self.tokens.clear()
            self.directory.clear()
            self.retailers.clear()

    async def close(self) -> None:
        """Stop deliveries and close the database."""
        await self.push.close()
        self._offset["offset"] = self.clock.offset
        self.database.close()

    def _register(self, brand_code: int) -> Register:
        register = self._registers.get(brand_code)
        if register is None:
            register = self._registers[brand_code] = Register(self.database, brand_code)
        return register
