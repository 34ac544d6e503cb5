"""`python -m tests.chaos.order.skewed_worker`: the instrumented worker with a clock of its own.

The clock is set before the product is imported, and set again at every SIGUSR1. Only what Python
calls is skewed: librdkafka reads the machine's clock.
"""

import os
import runpy
import signal
import time
from pathlib import Path

import time_machine

CLOCK = "IZIN_CHAOS_CLOCK"
"""Names, in the environment of the worker under test, the file with the seconds that its clock is
ahead."""
SET = signal.SIGUSR1


def follow(clock: Path) -> None:
    """Set this process's clock as the file says, now and at every signal."""
    booted = time.time() - time.monotonic()  # only the wall clock is skewed

    def skewed() -> float:
        return booted + time.monotonic() + float(clock.read_text(encoding="utf-8"))

    coordinates = time_machine.travel(skewed(), tick=True).start()
    signal.signal(SET, lambda *_: coordinates.move_to(skewed()))


if __name__ == "__main__":
    follow(Path(os.environ[CLOCK]))
    runpy.run_module(f"{__package__}.instrumented_worker", run_name="__main__")
