"""End a worker in time after SIGTERM, even if its loop waits for a broker.

The current batch is committed and every partition released. But the loop may be inside a commit to
a broker that does not answer, and would see SIGTERM only after a timeout; the sender (systemd, a
container runtime) would kill the worker meanwhile. So a thread of its own receives the
signal, and ends the process when the time is over, or at a second signal. What was not
committed by then is aborted by the partition's next owner.
"""

import os
import signal
import threading
from collections.abc import Callable

from izin.runtime.observe import get_logger
from izin.streams.engine.watchdog import EXIT_STALLED

WITHIN = 4.5
"""Seconds from the signal to the end: under the five that a worker is given."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = get_logger(__name__)


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
