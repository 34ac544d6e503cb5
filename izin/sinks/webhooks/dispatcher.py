"""Posts the events of one subscriber: those of a recipient one after the other, others at once.

An event that is refused holds its recipient, and nothing else. The next event of a recipient is
posted when the acknowledgement of the one before is stored, so that a crash repeats nothing that
was followed already. Opt-outs go first.

A failure concerns one event, until it is clear that it concerns the subscriber: no reply several
times in a row, or failures of several events without a success between them. Then the subscriber is
down, and one request at a time tries whether it is back. Pauses double up to the longest, and vary,
so that many subscribers of one failed server are not tried at once; they have no end.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from time import monotonic, time

from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger
from izin.sinks.ledger.webhooks.subscriber import LaneName
from izin.sinks.webhooks.lane import PendingDelivery
from izin.sinks.webhooks.posting import Poster, Reply, signed
from izin.sinks.webhooks.resends import HEADER

DOWN_AFTER = 3
"""So many requests in a row without a reply."""
DOWN_AFTER_EVENTS = 5
"""Or failures of so many events without a success."""
_LOOK = 1.0
"""Seconds after which it looks again whether it may send."""

_TOGETHER = 60.0
"""Seconds between two times at which a success sends what was refused before its pause ends: an
event that alone is refused is not posted with every other."""

_log = get_logger(__name__)


@dataclass(slots=True)
class SubscriberHealth:
    """Whether a subscriber is up, and when to try again. Pure: instants are seconds of one clock,
    time and chance are arguments.
    """

    first_pause: timedelta
    longest_pause: timedelta
    closed_until: float = 0.0
    """Nothing is sent before, whatever waits."""
    is_down: bool = False
    _silences: int = 0
    _pauses: int = 0
    _failed: set[str] = field(default_factory=set)

    def took(self) -> bool:
        """Note a success; return whether it was down."""
        was_down, self.is_down = self.is_down, False
        self._silences = self._pauses = 0
        self.closed_until = 0.0
        self._failed.clear()
        return was_down

    def failed(self, webhook_id: str, reply: Reply, now: float, chance: float) -> None:
        """Note a failure; ``chance`` is between 0 and 1."""
        self._silences = self._silences + 1 if reply.status is None else 0
        if len(self._failed) < DOWN_AFTER_EVENTS:
            self._failed.add(webhook_id)
        if self._silences >= DOWN_AFTER or len(self._failed) >= DOWN_AFTER_EVENTS:
            self.is_down = True
        if not self.is_down and not reply.is_of_the_endpoint:
            return
        if now >= self.closed_until:  # else the request was under way when an earlier one failed
            self._pauses += 1
        pause = self.pause(self._pauses, reply, chance)
        self.closed_until = max(self.closed_until, now + pause)

    def pause(self, failures: int, reply: Reply, chance: float) -> float:
        """Return the seconds to wait after so many failures in a row; at least as long as the
        subscriber asked for, and never longer than the longest pause.
        """
        wait = Backoff(self.first_pause, self.longest_pause).after(failures).total_seconds()
        varied = wait * (0.75 + chance / 2)
        longest = self.longest_pause.total_seconds()
        return min(max(varied, reply.retry_after or 0.0), longest)

    def may_send(self, now: float, under_way: int) -> bool:
        """Whether a request may be sent now: to one that is down, one at a time."""
        return now >= self.closed_until and not (self.is_down and under_way)


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
