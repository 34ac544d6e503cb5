"""Posts the events of one subscriber: those of a recipient one after the other, others at once.

An event that is refused holds its recipient, and nothing else. The next event of a recipient is
posted when the acknowledgement of the one before is stored, so that a crash repeats nothing that
was followed already. Opt-outs go first.

A failure concerns one event, until it is clear that it concerns the subscriber: no reply several
times in a row, or failures of several events without a success between them. Then the subscriber is
down, and one request at a time tries whether it is back. Pauses double up to the longest, and vary,
so that many subscribers of one failed server are not tried at once; they have no end.

A subscriber whose secret cannot be decrypted is posted nothing: it fails like one that does not
reply, and the others go on.

While it fails there are alerts: each is more urgent than the one before, and is raised once, also
by the next process that delivers to it.
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

from izin.consent import TURKEY, Calendar, add_business_days
from izin.ledger.record import UndecryptableSecretError
from izin.ledger.webhooks.deliveries import HealthChange
from izin.ledger.webhooks.registry import LaneName, WebhookSubscriber
from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger
from izin.webhooks.partitions import PendingDelivery
from izin.webhooks.posting import Poster, Reply, signed
from izin.webhooks.resends import HEADER

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
_STAGES = (
    ("5 minutes", "warning"),
    ("1 hour", "error"),
    ("24 hours", "critical"),
    ("2 business days", "critical"),
)
"""For how long a subscriber has failed when it is reported, and the level of the log event. One
business day is left after the last until the opt-outs that wait had to be obeyed everywhere."""
_PERIODS = (timedelta(minutes=5), timedelta(hours=1), timedelta(hours=24))
_BUSINESS_DAYS = 2


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
            and any(self._ready)
        ):
            pending = next(queue for queue in self._ready if queue).popleft()
            task = asyncio.create_task(self._deliver(pending))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("delivery failed unexpectedly", error=repr(error))

    async def _deliver(self, pending: PendingDelivery) -> None:
        event, at = pending.event, datetime.now(UTC)
        pending.attempts += 1
        try:
            headers = signed(self.secrets(at), event.webhook_id, at, event.body)
            if pending.lane.resend_id:
                headers.append((HEADER, str(pending.lane.resend_id)))
            reply = await self.poster.post(headers, event.body)
        except UndecryptableSecretError as error:
            reply = Reply(None, f"not posted: {error}")
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


class FailureWatch:
    """What is known of the failures of one subscriber."""

    def __init__(self, subscriber: WebhookSubscriber, calendar: Calendar) -> None:
        self.subscriber = subscriber
        self.calendar = calendar
        self.alerts = subscriber.alerts
        """How many were raised."""
        self._since = self._inherited = subscriber.failing_since
        """As it is stored, and from a process that delivered before."""
        self._latest: tuple[str, datetime] | None = None
        self._stored: tuple[datetime | None, int] | None = (self._since, self.alerts)

    def failed(self, failure: str, at: datetime) -> None:
        """Note a failure."""
        self._latest = failure, at

    def recovered(self) -> None:
        """Note that it has taken something, and all that was open at the start."""
        self._inherited = None

    def seconds(self, now: datetime) -> float:
        """Return for how long it has failed; 0: it does not."""
        return 0.0 if self._since is None else max((now - self._since).total_seconds(), 0.0)

    def change(self, failing_since: float | None, now: datetime) -> HealthChange | None:
        """Return what is to be stored, given since when something is refused (Unix time), and
        raise the alerts that are due; None: nothing has changed.
        """
        found = None if failing_since is None else datetime.fromtimestamp(failing_since, UTC)
        self._since = min((one for one in (found, self._inherited) if one), default=None)
        if self._since is None:
            if self.alerts:
                _log.warning("subscriber takes its events again", subscriber=self.subscriber.name)
            self.alerts = 0
        else:
            self._alert(self._since, now)
        latest, self._latest = self._latest, None
        if self._stored == (self._since, self.alerts) and latest is None:
            return None
        self._stored = self._since, self.alerts
        failure, at = latest or (None, None)
        return HealthChange(self.subscriber.id, self._since, self.alerts, failure, at)

    def not_stored(self) -> None:
        """Note that the last change was not stored."""
        self._stored = None

    def _alert(self, since: datetime, now: datetime) -> None:
        for number in range(self.alerts, reached(since, now, self.calendar)):
            period, level = _STAGES[number]
            getattr(_log, level)(
                "subscriber does not take its events",
                subscriber=self.subscriber.name,
                customer_id=self.subscriber.customer_id,
                since=since.isoformat(),
                longer_than=period,
            )
            self.alerts = number + 1


def reached(failing_since: datetime, now: datetime, calendar: Calendar) -> int:
    """Return how many of the stages are reached.

    The last is the same time of day on the second business day after.

    Raises:
        OutsideCalendarError: a year that the calendar does not cover.
    """
    since = failing_since.astimezone(TURKEY)
    day = add_business_days(since.date(), _BUSINESS_DAYS, calendar)
    last = datetime.combine(day, since.timetz())
    return sum(now >= failing_since + period for period in _PERIODS) + (now >= last)
