"""Publish traffic continuously, also during faults."""

import threading
import time

from tests.support.order.traffic import Traffic

_MOST_AT_ONCE = 2000


class LoadGenerator(threading.Thread):
    """Publishes at a rate from a thread of its own until it is ended; may be paused."""

    def __init__(self, traffic: Traffic, rate: float) -> None:
        super().__init__(name="load", daemon=True)
        self._traffic = traffic
        self._rate = rate
        self._ended = threading.Event()
        self._running = threading.Event()
        self._paused = threading.Event()
        self._running.set()
        self._failure: BaseException | None = None

    def run(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(0.02):
            if not self._running.is_set():
                self._paused.set()
                self._running.wait()
                self._paused.clear()
                last = time.monotonic()
            # After an outage the missed events are published at once, up to a limit.
            count = min(int(self._rate * (time.monotonic() - last)), _MOST_AT_ONCE)
            last = max(last + count / self._rate, time.monotonic() - 1)
            try:
                self._traffic.publish(count)
            except BaseException as error:  # noqa: BLE001  # raised in whoever ends the load
                self._failure = error
                return

    def pause(self) -> None:
        """Pause, and return once nothing is published."""
        self._running.clear()
        while self.is_alive() and not self._paused.wait(0.1):
            pass

    def resume(self) -> None:
        self._running.set()

    def end(self) -> None:
        """Stop; raises the error of the thread, if there was one."""
        self._ended.set()
        self._running.set()
        self.join(120)
        if self._failure is not None:
            raise self._failure
        assert not self.is_alive(), "the traffic never ended"
