"""Posts the events of one subscriber: those of a recipient one after the other, others at once.

An event that is refused holds its recipient, and nothing else. The next event of a recipient is
posted when the acknowledgement of the one before is stored, so that a crash repeats nothing that
was followed already. Opt-outs go first.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from time import monotonic, time

from izin.runtime.observe import get_logger
from izin.sinks.ledger.webhooks.subscriber import LaneName
from izin.sinks.webhooks.health import SubscriberHealth
from izin.sinks.webhooks.lane import PendingDelivery
from izin.sinks.webhooks.posting import Poster, Reply, signed
from izin.sinks.webhooks.resends import HEADER

_LOOK = 1.0
"""Seconds after which it looks again whether it may send."""

_TOGETHER = 60.0
"""Seconds between two times at which a success sends what was refused before its pause ends: an
event that alone is refused is not posted with every other."""

_log = get_logger(__name__)


DeliveryResult = Callable[[PendingDelivery, Reply, float], None]
"""Called with what was posted, what came of it, and when (Unix time)."""


@dataclass(slots=True, eq=False)
class EventDispatcher:
    """What is to be posted to one subscriber, and what is under way."""

    poster: Poster
    secrets: Callable[[datetime], tuple[str, ...]]
    health: SubscriberHealth
    taken: DeliveryResult
    refused: DeliveryResult
    parallel: int
    may_send: Callable[[], bool]
    """Whether the subscriber is certainly still this process's."""
    chance: Callable[[], float] = random.random
    is_closing: bool = False
    is_gone: bool = False
    """Whether the subscriber answered that it wants no more."""
    _ready: tuple[deque[PendingDelivery], deque[PendingDelivery]] = field(
        default_factory=lambda: (deque(), deque())
    )
    _keys: dict[str, deque[PendingDelivery]] = field(default_factory=dict)
    _later: list[tuple[float, int, PendingDelivery]] = field(default_factory=list)
    _failing: dict[PendingDelivery, float] = field(default_factory=dict)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Iterator[int] = field(default_factory=count)
    _sent_again_at: float = -_TOGETHER

    @property
    def failing_since(self) -> float | None:
        """Since when something was refused that was not taken since (Unix time)."""
        return min(self._failing.values(), default=None)

    def add(self, pending: PendingDelivery) -> None:
        """Take an event that is to be posted."""
        waiting = self._keys.setdefault(pending.event.key, deque())
        waiting.append(pending)
        if len(waiting) == 1:
            self._make_ready(pending)

    def stored(self, taken: Iterable[PendingDelivery]) -> None:
        """Go on with the recipients of events whose acknowledgements are stored."""
        for pending in taken:
            self._failing.pop(pending, None)
            waiting = self._keys[pending.event.key]
            waiting.popleft()
            if waiting:
                self._make_ready(waiting[0])
            else:
                del self._keys[pending.event.key]
        self._wake.set()

    def _make_ready(self, pending: PendingDelivery) -> None:
        self._queue_of(pending).append(pending)
        self._wake.set()

    def _make_first(self, pending: PendingDelivery) -> None:
        self._queue_of(pending).appendleft(pending)

    def _queue_of(self, pending: PendingDelivery) -> deque[PendingDelivery]:
        return self._ready[0 if pending.lane.name == LaneName.EXPRESS else 1]

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            self._wake.clear()
            self._send()
            try:
                async with asyncio.timeout(self._rest()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _rest(self) -> float:
        """Return the seconds until something may be due."""
        now = monotonic()
        due = [self._later[0][0]] if self._later else []
        if self.health.closed_until > now:
            due.append(self.health.closed_until)
        return min(max(min(due, default=now + _LOOK) - now, 0.005), _LOOK)

    def _send(self) -> None:
        now = monotonic()
        while self._later and self._later[0][0] <= now:
            self._make_first(heapq.heappop(self._later)[2])
        while (
            len(self._under_way) < self.parallel
            and not self.is_closing
            and self.health.may_send(now, len(self._under_way))
            and self.may_send()
            and (pending := self._next()) is not None
        ):
            task = asyncio.create_task(self._deliver(pending))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _next(self) -> PendingDelivery | None:
        for queue in self._ready:
            if queue:
                return queue.popleft()
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("delivery failed unexpectedly", error=repr(error))

    async def _deliver(self, pending: PendingDelivery) -> None:
        event, at = pending.event, datetime.now(UTC)
        pending.attempts += 1
        headers = signed(self.secrets(at), event.webhook_id, at, event.body)
        if pending.lane.resend_id:
            headers.append((HEADER, str(pending.lane.resend_id)))
        try:
            reply = await self.poster.post(headers, event.body)
        except Exception:
            self._retry(pending, Reply(None, "unexpected error"))
            raise
        if reply.is_acknowledgement:
            self._took(pending, reply)
        else:
            self._retry(pending, reply)

    def _took(self, pending: PendingDelivery, reply: Reply) -> None:
        now, was_down = monotonic(), self.health.took()
        if self._later and (was_down or now - self._sent_again_at >= _TOGETHER):
            # It is back: what was refused meanwhile is tried again now, the oldest first.
            self._sent_again_at = now
            for _, _, later in sorted(self._later, reverse=True):
                self._make_first(later)
            self._later.clear()
        self.taken(pending, reply, time())

    def _retry(self, pending: PendingDelivery, reply: Reply) -> None:
        at, now = time(), monotonic()
        self._failing.setdefault(pending, at)
        self.health.failed(pending.event.webhook_id, reply, now, self.chance())
        wait = self.health.pause(pending.attempts, reply, self.chance())
        if self.health.is_down or reply.is_of_the_endpoint:
            wait = max(self.health.closed_until - now, 0.0)
        heapq.heappush(self._later, (now + wait, next(self._numbers), pending))
        self.refused(pending, reply, at)
        if reply.is_gone:
            self.is_closing = self.is_gone = True

    async def close(self, within: float) -> None:
        """Send nothing more; return when what is under way has ended, or after ``within`` s."""
        self.is_closing = True
        tasks = set(self._under_way)
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
