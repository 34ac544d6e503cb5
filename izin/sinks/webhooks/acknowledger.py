"""Stores acknowledgements of all subscribers of a process, one transaction for many.

A transaction waits a moment for others to join it. What could not be stored is stored with the next
one: until then its recipients get nothing more.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Protocol

from izin.runtime.backoff import Backoff
from izin.runtime.observe import get_logger
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import deliveries
from izin.sinks.ledger.webhooks.deliveries import (
    CursorMove,
    DeliveryGroup,
    FailedAttempt,
    HealthChange,
)
from izin.sinks.ledger.webhooks.delivery_rows import DeliveryReceipt
from izin.sinks.record.errors import ConcurrentChangeError, LedgerUnavailableError
from izin.sinks.webhooks.lane import DeliveryLane, PendingDelivery

LINGER = 0.1
"""Seconds for which a transaction waits, unless it has much already."""
_MUCH = 200
_ALSO_READ_EVERY = 5.0
"""Seconds between two writes of how far was read where nothing was for the subscriber."""
_CAUGHT_UP_EVERY = 60.0
_BACKOFF = Backoff(timedelta(milliseconds=200), timedelta(seconds=2))

_log = get_logger(__name__)


class StoredDelivery(Protocol):
    """A subscriber whose acknowledgements are stored."""

    epoch: int

    @property
    def number(self) -> int:
        """Its id."""

    @property
    def lanes(self) -> list[DeliveryLane]:
        """Its lanes."""

    def stored(self, taken: list[PendingDelivery]) -> None:
        """Go on behind what is stored."""

    def fenced(self) -> None:
        """Stop: another process has taken over."""

    def health_change(self) -> HealthChange | None:
        """Return what changed since the last time; None: nothing."""

    def not_stored(self) -> None:
        """Note that what changed could not be stored."""

    def complete_at(self) -> datetime | None:
        """Return when it last had everything; None: it lacks something now."""


@dataclass(slots=True)
class AcknowledgementWriter:
    """Collects what one transaction stores."""

    ledger: Ledger
    clock: Callable[[], datetime]
    _deliveries: dict[int, StoredDelivery] = field(default_factory=dict)
    _taken: dict[int, list[tuple[PendingDelivery, DeliveryReceipt]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _attempts: list[FailedAttempt] = field(default_factory=list)
    _count: int = 0
    _also_read_at: float = 0.0
    _caught_up_at: float = 0.0
    _some: asyncio.Event = field(default_factory=asyncio.Event)
    _much: asyncio.Event = field(default_factory=asyncio.Event)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, delivery: StoredDelivery) -> None:
        """Store for ``delivery`` from now on."""
        self._deliveries[delivery.number] = delivery

    def remove(self, delivery: StoredDelivery) -> None:
        """Store nothing more for ``delivery``."""
        if self._deliveries.get(delivery.number) is delivery:
            del self._deliveries[delivery.number]
            self._taken.pop(delivery.number, None)

    def taken(self, pending: PendingDelivery, row: DeliveryReceipt) -> None:
        """Store an acknowledgement soon."""
        self._taken[row.subscriber_id].append((pending, row))
        self._count += 1
        self._some.set()
        if self._count >= _MUCH:
            self._much.set()

    def refused(self, attempt: FailedAttempt) -> None:
        """Store a failed attempt soon."""
        self._attempts.append(attempt)
        self._some.set()

    async def run(self) -> None:
        """Store until cancelled."""
        failures = 0
        while True:
            await _wait(self._some, _ALSO_READ_EVERY)
            if self._some.is_set():
                await _wait(self._much, LINGER)
            try:
                await self.write()
            except (LedgerUnavailableError, ConcurrentChangeError) as error:
                failures += 1
                wait = _BACKOFF.after(failures).total_seconds()
                _log.warning("acknowledgements not stored yet", error=str(error), after=wait)
                await asyncio.sleep(wait)
            else:
                failures = 0

    async def write(self) -> None:
        """Store what there is.

        Raises:
            LedgerUnavailableError: it is not stored; the next call stores it too.
            ConcurrentChangeError: the same.
        """
        async with self._lock:
            await self._write()

    async def _write(self) -> None:
        now = self.clock()
        taken, attempts = self._swap()
        concerned = dict(self._deliveries)
        group = DeliveryGroup(attempts=attempts)
        for pairs in taken.values():
            for pending, row in pairs:
                pending.lane.close(pending.event.place, pending.event.offset)
                group.acknowledgements.append(row)
        moves = list(self._moves(concerned))
        group.moves = [move for _, move in moves]
        group.health = [
            change for one in concerned.values() if (change := one.health_change()) is not None
        ]
        if monotonic() - self._caught_up_at >= _CAUGHT_UP_EVERY:
            self._caught_up_at = monotonic()
            complete = {number: one.complete_at() for number, one in concerned.items()}
            group.caught_up = {one: at for one, at in complete.items() if at is not None}
        if group.is_empty:
            return
        try:
            epochs = {number: one.epoch for number, one in concerned.items()}
            lost = await deliveries.write(self.ledger, group, epochs, now=now)
        except BaseException:
            self._give_back(taken, attempts, moves)
            for one in concerned.values():
                one.not_stored()
            raise
        for number, one in concerned.items():
            if number in lost:
                one.fenced()
            elif number in taken:
                one.stored([pending for pending, _ in taken[number]])

    def _swap(
        self,
    ) -> tuple[
        dict[int, list[tuple[PendingDelivery, DeliveryReceipt]]],
        list[FailedAttempt],
    ]:
        """Return what was collected, and begin to collect anew."""
        taken, self._taken = self._taken, defaultdict(list)
        attempts, self._attempts = self._attempts, []
        self._count = 0
        self._some.clear()
        self._much.clear()
        return dict(taken), attempts

    def _moves(
        self, concerned: Mapping[int, StoredDelivery]
    ) -> Iterator[tuple[DeliveryLane, CursorMove]]:
        also_read = monotonic() - self._also_read_at >= _ALSO_READ_EVERY
        if also_read:
            self._also_read_at = monotonic()
        for one in concerned.values():
            for lane in one.lanes:
                for move in lane.moves(also_read=also_read):
                    yield lane, move

    def _give_back(
        self,
        taken: Mapping[int, list[tuple[PendingDelivery, DeliveryReceipt]]],
        attempts: list[FailedAttempt],
        moves: list[tuple[DeliveryLane, CursorMove]],
    ) -> None:
        for number, pairs in taken.items():
            if number in self._deliveries:
                self._taken[number][:0] = pairs
                self._count += len(pairs)
        self._attempts[:0] = attempts
        for lane, move in moves:
            lane.restore(move)
        self._some.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Return when ``event`` is set, or after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
