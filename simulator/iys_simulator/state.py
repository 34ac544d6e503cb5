"""The state of one simulator: accounts, registers, waiting batches, limits and injected faults."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import httpx

from iys_simulator.clock import Clock, wire_text
from iys_simulator.faults import FaultInjector
from iys_simulator.push_delivery import PushDelivery
from iys_simulator.rules.consent import Consent
from iys_simulator.settings import Settings
from iys_simulator.store.accounts import Brand, Directory
from iys_simulator.store.batches import BatchQueue, process
from iys_simulator.store.database import Database
from iys_simulator.store.documents import DocumentMap
from iys_simulator.store.movements import Movement, Origin, WritePath
from iys_simulator.store.opt_out_links import OptOutLink
from iys_simulator.store.register import Register, SaveContext
from iys_simulator.store.retailers import RetailerStore
from iys_simulator.store.tokens import TokenStore
from iys_simulator.store.via_requests import ViaRequest
from iys_simulator.timestamp_authority import TimestampAuthority
from iys_simulator.traffic.counters import Counters
from iys_simulator.traffic.error_rate import ErrorRate
from iys_simulator.traffic.rate_limits import FixedWindow, Limit, RestartingHour, SlidingWindow
from iys_simulator.traffic.request_log import RequestLog


@dataclass(frozen=True, kw_only=True)
class Limits:
    """İYS's limits, with what they count."""

    requests: dict[str, Limit] = field(
        default_factory=lambda: {"fixed": FixedWindow(), "sliding": SlidingWindow()}
    )
    tokens: Limit = field(default_factory=RestartingHour)
    statuses: Limit = field(default_factory=FixedWindow)
    histories: Limit = field(default_factory=FixedWindow)
    error_rate: ErrorRate = field(default_factory=ErrorRate)

    def clear(self) -> None:
        """Reset the counts of all clients."""
        for limit in (*self.requests.values(), self.tokens, self.statuses, self.histories):
            limit.clear()
        self.error_rate.clear()


class SimulatorState:
    """Everything a simulator knows.

    `pause` waits (slow faults, push retries): an argument for tests. Random choices follow `seed`,
    so that a run can be repeated.
    """

    def __init__(  # noqa: PLR0913 - tests replace each of them
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
        self.random = Random(seed)  # noqa: S311 - repeatable on purpose
        self.database = database or Database()
        self.directory = Directory(self.database)
        self.tokens = TokenStore(self.directory, self.database)
        self.retailers = RetailerStore(self.database)
        self.limits = Limits()
        self.batches = BatchQueue(self.database)
        self.faults = FaultInjector(seed, self.clock.seconds)
        self.counters = Counters()
        self.log = RequestLog()
        self.timestamps = TimestampAuthority()
        self.push = PushDelivery(
            self.counters,
            self.faults,
            lambda: self.settings,
            client=push_client,
            pause=pause,
            database=self.database,
            seconds=self.clock.seconds,
        )
        self._registers: dict[int, Register] = {}
        self._calls = itertools.count(1)
        self._links = DocumentMap(self.database, "opt-out link", str, OptOutLink)
        self.via_requests = DocumentMap(self.database, "via request", str, ViaRequest)
        self._agreed = DocumentMap(self.database, "agreement", tuple[int, str], bool)
        self._offset = DocumentMap(self.database, "clock", str, float)
        self.hashes: dict[tuple[int, str, bool, str], str] = {}  # of the files of past days
        self._set_clock()

    def _set_clock(self) -> None:
        """Continue where the last process stopped: no movement is older than one before it."""
        self.clock.set_offset(self._offset.get("offset", self.clock.offset))
        behind = self.last_second() - self.clock.seconds()
        if behind > 0:
            self.clock.advance(behind)

    def register_of(self, brand_code: int) -> Register:
        """Return the brand's register, after processing every batch that is due by now."""
        self.process_due()
        return self._register(brand_code)

    def process_due(self, limit: int | None = None) -> int:
        """Process the batches that are due by now, at most `limit`; return their number."""
        done = 0
        now = self.clock.seconds()
        for batch in itertools.islice(self.batches.take_due(now), limit):
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
        """Return an id for a call that has none at İYS."""
        return f"{prefix}-{next(self._calls)}"

    def save(
        self, brand: Brand, consent: Consent, origin: Origin, citizen_name: str = ""
    ) -> Movement:
        """Save `consent` now without applying the rules; push it if a citizen made it."""
        context = SaveContext(
            second=int(self.clock.seconds()),
            occurred_at=self.clock.machine_milliseconds(),
            origin=origin,
        )
        movement = self.register_of(brand.code).save(consent, context, citizen_name)
        if origin.path is WritePath.CITIZEN:
            self.push.send(brand.code, brand.iys_code, [movement])
        return movement

    def add_opt_out_link(self, name: str, link: OptOutLink) -> None:
        """Store what the opt-out link `name` refers to."""
        self._links[name] = link

    def opt_out_link(self, name: str) -> OptOutLink | None:
        """Return what the opt-out link `name` refers to."""
        return self._links.get(name)

    def agree(self, brand_code: int, day: str) -> None:
        """Store that the provider agrees with the day's movements."""
        self._agreed[brand_code, day] = True

    def is_agreed(self, brand_code: int, day: str) -> bool:
        """Return whether the provider agreed with the day's movements."""
        return (brand_code, day) in self._agreed

    def now_text(self) -> str:
        """Return the current time as a wire text."""
        return wire_text(int(self.clock.seconds()))

    def last_second(self) -> int:
        """Return the creation second of the latest movement of any brand; 0 if there is none."""
        row = self.database.row("last_movement")
        return row[1] if row else 0

    async def reset(self, *, everything: bool, seed: int | None = None) -> None:
        """Delete registers, batches, counters, log, limits and fault rules; reset the clock.

        Accounts, brands, tokens and push registrations are deleted only with `everything`.
        """
        self.database.empty()
        self._registers.clear()
        self.batches.clear()
        self._links.clear()
        self.via_requests.clear()
        self._agreed.clear()
        self.hashes.clear()
        self.faults.clear()
        if seed is not None:
            self.faults.seed(seed)
            self.random.seed(seed)
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
