"""The rate limits of one egress address, shared by all processes behind it.

İYS allows ten requests a second over all methods, limits queries by the hour, and expects a share
of successes by the day. A process queues its own calls by class and takes one slot at a time from
the ledger, just before the slot comes, for the most urgent call, so an opt-out overtakes waiting
bulk. A slot that is not used in time is given back. Arrivals and results of calls are written with
the next slot; a process that is killed loses a second of statistics. While the ledger cannot be
reached no call is made, for the rate could not be kept.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from izin.iys.errors import ThrottledError
from izin.iys.rate_limit import (
    HISTORY,
    STATUS,
    CallClass,
    CallQueue,
    HourLimit,
    Pace,
    Reputation,
    ReputationPolicy,
    Slot,
)
from izin.ledger import egress
from izin.ledger.db import ClockOffset, Connection, Ledger, fetch_one, statements
from izin.ledger.egress import AddressAnswer
from izin.runtime.logs import get_logger

HOUR_LIMITS: Mapping[str, HourLimit] = {
    STATUS: HourLimit(calls=1000),
    HISTORY: HourLimit(calls=100, reserved=0.0),
}
"""The hourly limits of İYS on calls of ours (H086, H089); no opt-out waits for a history."""
_WRITTEN_EVERY = 1.0
_SQL = statements("rate_limits")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The limits of an egress address; ``calls`` and ``failures`` are of the last 24 hours."""

    address: str
    factor: float
    paused_until: datetime | None
    """None: it is not paused; the same for the pause of token calls."""
    token_calls: int
    """In the last hour."""
    token_silent_until: datetime | None
    status_calls: int
    history_calls: int
    """In the last hour, as those of the status."""
    calls: int
    failures: int
    delisted_at: datetime | None
    """Since when İYS does not answer it, though it answers others or says that it is forbidden."""

    @property
    def reputation(self) -> Reputation:
        """Its reputation at İYS."""
        return ReputationPolicy().of(self.calls, self.failures)

    @property
    def is_good(self) -> bool:
        """Whether İYS answers it, and will go on to."""
        return self.delisted_at is None and self.reputation is Reputation.GOOD


async def addresses(ledger: Ledger) -> tuple[Address, ...]:
    """Return the limits of every address."""
    return tuple(Address(**row) for row in await ledger.fetch(_SQL["addresses"]))


async def codes(ledger: Ledger, address: str) -> tuple[tuple[str, str, int], ...]:
    """Return the results of an address's calls in 24 hours: operation, code, count."""
    return tuple(
        (row["operation"], row["code"], row["calls"])
        for row in await ledger.fetch(_SQL["codes"], {"address": address})
    )


class LedgerPacer:
    """Implements ``iys.rate_limit.pace.Pacer`` over the ledger."""

    def __init__(  # noqa: PLR0913 - the address, its policies, and clock and counter as arguments
        self,
        ledger: Ledger,
        pace: Pace,
        *,
        address: str,
        policy: ReputationPolicy | None = None,
        hour_limits: Mapping[str, HourLimit] = HOUR_LIMITS,
        counted: Callable[[str, str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._pace = pace
        self._address = address
        self._policy = policy or ReputationPolicy()
        self._hour_limits = hour_limits
        self._counted = counted
        self._clock = clock
        self._turns = CallQueue(longest_waiting_every=pace.longest_waiting_every)
        self._granting: asyncio.Task[None] | None = None
        self._offset = ClockOffset()
        self._there: list[tuple[int, float]] = []
        """Slots, and by when their calls had arrived, by our clock; -inf: they were not used."""
        self._calls: Counter[tuple[str, str]] = Counter()
        self._failures: Counter[tuple[str, str]] = Counter()
        self._answer: AddressAnswer | None = None
        """To the last call since these were written."""
        self._written_at = clock()
        self.reputation = Reputation.GOOD
        """The reputation of the address as last read."""

    async def begin(self) -> None:
        """Add the address to the ledger, and read its reputation."""
        async with self._ledger.transaction() as connection:
            await connection.execute(_SQL["begin"], {"address": self._address})
            await self._read_reputation(connection)

    async def wait(self, call_class: CallClass, operation: str) -> Slot:
        """Return the slot of a call of this class just before it comes.

        Raises:
            ThrottledError: the hour's calls of ``operation`` are spent.
        """
        limit = self._hour_limits.get(operation)
        if limit is not None:
            await self._count_in_hour(operation, limit.room(call_class))
        granted: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._turns.put(call_class, granted)
        if self._granting is None or self._granting.done():
            self._granting = asyncio.create_task(self._grant(), name="ledger-pacer")
        return await granted

    async def until(self, slot: Slot) -> None:
        """Return when ``slot`` has come."""
        await self._sleep_until(slot.opens_at)

    def is_over(self, slot: Slot) -> bool:
        """Whether ``slot`` may no longer be used; if so, it is given back."""
        if not self._pace.is_forfeited(slot.at, self._clock()):
            return False
        self._there.append((slot.number, -inf))
        return True

    def left(self, slot: Slot) -> Slot:
        """Record that the call of ``slot`` has left; return the slot, moved if that was late."""
        late = self._pace.as_left(slot, self._clock())
        if late != slot:
            self._there.append((slot.number, self._pace.arrived_at(late)))
        return late

    def arrived(self, slot: Slot) -> None:
        """Record that the call of ``slot`` has arrived by now."""
        self._there.append((slot.number, self._pace.arrived_at(slot, self._clock())))

    def answered(self, operation: str, code: str, *, failed: bool) -> None:
        """Count the result of a call."""
        self._calls[operation, code] += 1
        self._failures[operation, code] += failed
        self._answer = AddressAnswer.of(code)
        if self._counted is not None:
            self._counted(operation, code)

    async def throttled(self) -> None:
        """Have every process behind the address pause, then continue at half the rate."""
        await self._ledger.execute(
            _SQL["slow-down"],
            {
                "address": self._address,
                "pause": self._pace.pause,
                "slowest": self._pace.slowest,
            },
        )

    async def flush(self) -> None:
        """Write the results of calls so far, and read the reputation of the address."""
        async with self._ledger.transaction() as connection:
            await self._write(connection)

    async def _grant(self) -> None:
        try:
            while self._turns.is_anyone_waiting():
                slot = await self._slot()
                if not self._turns.grant(slot):
                    self._there.append((slot.number, -inf))
        except BaseException as error:
            self._turns.fail(error)
            if not isinstance(error, Exception):
                raise

    async def _slot(self) -> Slot:
        while True:
            slot = await self._take()
            await self._sleep_until(slot.opens_at - self._pace.ahead)
            if not self.is_over(slot):
                return slot

    async def _sleep_until(self, instant: float) -> None:
        while (left := instant - self._clock()) > 0:  # noqa: ASYNC110 - a timer may be early
            await asyncio.sleep(left)

    async def _take(self) -> Slot:
        there, self._there = self._there, []
        values = {
            "slots": [slot for slot, _ in there],
            "there": [self._offset.theirs(at) for _, at in there],
            "span": self._pace.span,
            "arrives_within": self._pace.arrives_within,
            "address": self._address,
            "interval": self._pace.interval,
            "creep": self._pace.recovery,
            "fastest": self._policy.fastest(self.reputation),
        }
        async with self._ledger.transaction() as connection:
            if self._clock() - self._written_at >= _WRITTEN_EVERY:
                await self._write(connection)
            queried_at = self._clock()
            row = await fetch_one(connection, _SQL["next-slot"], values)
            answered_at = self._clock()
        if row is None:
            await self.begin()
            return await self._take()
        self._offset.read(queried_at, row["read_at"], answered_at)
        earliest, latest = self._offset.ours(row["comes_at"])
        return Slot(number=row["slot"], at=earliest, opens_at=latest)

    async def _count_in_hour(self, operation: str, room: int) -> None:
        values = {"address": self._address, "operation": operation, "room": room}
        async with self._ledger.transaction() as connection:
            await connection.execute(_SQL["lock"], values)
            if await fetch_one(connection, _SQL["count-in-hour"], values) is not None:
                return
            frees = await fetch_one(connection, _SQL["hour-frees-in"], values)
            await connection.execute(_SQL["delete-minutes"], values)
        seconds = 60.0 if frees is None else frees["seconds"]
        raise ThrottledError(
            f"the hour's calls of {operation} are spent", retry_after=timedelta(seconds=seconds)
        )

    async def _write(self, connection: Connection) -> None:
        calls, self._calls = self._calls, Counter()
        failures, self._failures = self._failures, Counter()
        answer, self._answer = self._answer, None
        self._written_at = self._clock()
        if calls:
            await connection.execute(
                _SQL["count"],
                {
                    "address": self._address,
                    "operations": [operation for operation, _ in calls],
                    "codes": [code for _, code in calls],
                    "calls": list(calls.values()),
                    "failures": [failures[key] for key in calls],
                },
            )
        if answer is not None:
            await egress.note(connection, self._address, answer)
        await self._read_reputation(connection)

    async def _read_reputation(self, connection: Connection) -> None:
        day = await fetch_one(connection, _SQL["day"], {"address": self._address})
        reputation = (
            Reputation.GOOD if day is None else self._policy.of(day["calls"], day["failures"])
        )
        if reputation is not self.reputation:
            log = _log.info if reputation is Reputation.GOOD else _log.critical
            log("reputation changed", address=self._address, reputation=str(reputation))
        self.reputation = reputation
