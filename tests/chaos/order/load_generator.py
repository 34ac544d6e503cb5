"""Traffic that does not stop for a fault."""

import threading
import time

from tests.streams.traffic import Traffic

_MOST_AT_ONCE = 2000


class Flow(threading.Thread):
    """Publishes at a rate from a thread of its own until it is ended; may be paused."""

    def __init__(self, traffic: Traffic, rate: float) -> None:
        super().__init__(name="flow", daemon=True)
        self._traffic = traffic
        self._rate = rate
        self._ended = threading.Event()
        self._flows = threading.Event()
        self._rests = threading.Event()
        self._flows.set()
        self._failure: BaseException | None = None

    def run(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(0.02):
            if not self._flows.is_set():
                self._rests.set()
                self._flows.wait()
                self._rests.clear()
                last = time.monotonic()
            # After an outage what waited comes at once, within reason.
            count = min(int(self._rate * (time.monotonic() - last)), _MOST_AT_ONCE)
            last = max(last + count / self._rate, time.monotonic() - 1)
            try:
                self._traffic.publish(count)
            except BaseException as error:  # noqa: BLE001  # told to whoever ends the flow
                self._failure = error
                return

    def pause(self) -> None:
        """Return once nothing is published any more."""
        self._flows.clear()
        while self.is_alive() and not self._rests.wait(0.1):
            pass

    def resume(self) -> None:
        self._flows.set()

    def end(self) -> None:
        """Stop; raises what made it stop before, if anything did."""
        self._ended.set()
        self._flows.set()
        self.join(120)
        if self._failure is not None:
            raise self._failure
        assert not self.is_alive(), "the traffic never ended"
