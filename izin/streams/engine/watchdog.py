"""End a worker whose event loop hangs, or that is out of its group for good.

A commit may block the loop for its bounded time; a loop that hangs longer would keep its partitions
without deciding anything while the consumer's own thread keeps the group believing in it. Another
worker takes over at once when the process is gone, and the transaction left open is aborted by its
successor.

A worker may also lose its place in the group for good. Where a batch waited for its broker longer
than ``max_poll_interval`` when a rebalance began, aiokafka joins again only after the next poll,
and Faust polls only after it has joined (observed). Such a worker looks well and decides nothing.

While the whole process is frozen, nothing in it stalls: it goes on as soon as it is woken, for what
others took over meanwhile it gives up by itself.

End a worker in time after SIGTERM, even if its loop waits for a broker.

The current batch is committed and every partition released. But the loop may be inside a commit to
a broker that does not answer, and would see SIGTERM only after a timeout; the sender (systemd, a
container runtime) would kill the worker meanwhile. So a thread of its own receives the
signal, and ends the process when the time is over, or at a second signal. What was not
committed by then is aborted by the partition's next owner.

Tell the worker that came second under one ``IZIN_INSTANCE_ID``, and end it.

Under static membership whoever joins last replaces the member of its name: a worker that restarts
after a kill has its partitions back at once, though its former session has not ended. The broker
tells the one that was replaced, at its next heartbeat. If that one lives, it joins again, and two
workers of one name would replace each other each second, and each time acquire all partitions.

So who was replaced while its session was alive knows that another worker lives. The one that has
worked for longer stays: it joins again, as its client does, and alerts. The other one, replaced
twice within moments of its start, ends. A restart meets nobody, for the dead do not join again. One
that was frozen for longer than its session has lost its place, and counts as one that starts.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from izin.runtime.logs import EXIT, get_logger

STALLED_AFTER = 20.0
OUTSIDE_FOR = 45.0
"""Longer than the group waits for its slowest member (``max_poll_interval``, 30 s)."""
EXIT_STALLED = 70
_CHECKS = 10
"""Within the limit."""

WITHIN = 4.5
"""Seconds from the signal to the end: under the five that a worker is given."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SESSION = 6.0
"""Seconds without a heartbeat after which the group gives a member up (``create_app``)."""
SETTLED_AFTER = 30.0
"""Seconds of work after which a worker is the one that stays."""
_TWICE = 2
"""Once may also be a coordinator that has forgotten a member."""
_UNKNOWN_MEMBER, _FENCED_INSTANCE = 25, 82
_REMEMBERED = 600.0

_log = get_logger(__name__)


class Watchdog:
    """Watches, from a thread of its own, one event loop and whether it makes progress.

    ``limit`` is in seconds.
    """

    def __init__(
        self,
        *,
        limit: float = STALLED_AFTER,
        what: str = "event loop",
        is_progressing: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._limit = limit
        self._what = what
        self._is_progressing = is_progressing
        self._clock = clock
        self._end = end
        self._beat_at = self._checked_at = clock()
        self._stopped = threading.Event()

    async def beat(self) -> None:
        """Record progress until cancelled; runs on the watched loop."""
        while True:
            if self._is_progressing():
                self._beat_at = self._clock()
            await asyncio.sleep(self._limit / 20)

    def start(self) -> None:
        """Start watching."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def check(self) -> None:
        """End the process if there was no progress for ``limit`` seconds in which it ran: a check
        that comes late shows for how long it did not.
        """
        now = self._clock()
        frozen = max(0.0, now - self._checked_at - self._limit / _CHECKS)
        self._beat_at, self._checked_at = min(now, self._beat_at + frozen), now
        stalled = now - self._beat_at
        if stalled >= self._limit:
            _log.critical("worker stalled", what=self._what, seconds=round(stalled))
            self._end(EXIT_STALLED)

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit / _CHECKS):
            self.check()


class BoundedShutdown:
    """Receives the signals that end this process, and ends it ``within`` seconds.

    Make it before any other thread is started: later threads inherit that these signals are
    blocked.
    """

    def __init__(self, *, within: float = WITHIN, end: Callable[[int], object] = os._exit) -> None:
        self._within = within
        self._end = end
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def watch(self, stop: Callable[[], object]) -> None:
        """Start listening; ``stop`` is called, in the listening thread, when a signal comes."""
        threading.Thread(target=self._listen, args=(stop,), name="ending", daemon=True).start()

    def _listen(self, stop: Callable[[], object]) -> None:
        signal.sigwait(_SIGNALS)
        stop()
        again = signal.sigtimedwait(_SIGNALS, self._within)
        _log.critical(
            "shutdown cut short",
            effect="the next owners of the partitions abort what is open",
            why="second signal" if again else "out of time",
        )
        self._end(EXIT_STALLED)


class StaticMember:
    """One worker's membership under ``name``; ``note`` is called with each answer of the group's
    coordinator.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._name = name
        self._clock = clock
        self._end = end
        self._answered_at = self._begun_at = float("-inf")
        self._replaced_at = float("-inf")
        self._replaced = 0

    @property
    def is_contested(self) -> bool:
        """Whether another worker of this name was seen in the last ten minutes."""
        return self._clock() - self._replaced_at < _REMEMBERED

    def watch(self, coordinator: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
        """Note the answers that aiokafka's ``coordinator`` gets from now on."""
        ask = coordinator._send_req  # noqa: SLF001  # no public way sees them

        async def send(request: Any) -> Any:  # noqa: ANN401  # the same
            response = await ask(request)
            code = getattr(response, "error_code", None)
            if code == _FENCED_INSTANCE:  # aiokafka does not know it: the member joins again
                response.error_code = _UNKNOWN_MEMBER
            self.note(code)
            return response

        coordinator._send_req = send  # noqa: SLF001  # the same

    def note(self, code: int | None) -> None:
        """Note the error code of an answer; 0: the member is known."""
        now = self._clock()
        has_session = now - self._answered_at <= SESSION
        if code == 0:
            if not has_session:
                self._begun_at, self._replaced = now, 0
            self._answered_at = now
        elif code in {_UNKNOWN_MEMBER, _FENCED_INSTANCE} and has_session:
            self._replaced_at = now
            self._replaced += 1
            is_second = now - self._begun_at < SETTLED_AFTER
            if is_second and self._replaced < _TWICE:
                return
            _log.critical(
                "instance id in use already" if is_second else "instance id in use twice",
                instance_id=self._name,
                effect="another order worker of this group has it; this one ends"
                if is_second
                else "this worker was here first and goes on; the other one is ended",
                remedy="give each order worker an IZIN_INSTANCE_ID of its own, or none",
            )
            if is_second:
                self._end(EXIT)
