"""``python -m tests.support.skewed_process SECONDS MODULE``: run a module under a wrong clock.

The clock is wrong by so many seconds from the start, before the module is imported, and goes on.
SIGUSR1 sets it ten minutes ahead of the machine's, SIGUSR2 ten minutes behind it, SIGWINCH right,
at once, as a time server does. Monotonic clocks are right: no host's jumps.
"""

import runpy
import signal
import sys
import time

import time_machine

MOST_SKEW = 600.0
"""The greatest skew, in seconds."""
JUMPS = {signal.SIGUSR1: MOST_SKEW, signal.SIGUSR2: -MOST_SKEW, signal.SIGWINCH: 0.0}
"""The skew after a signal."""


def main() -> None:
    """Run the module that the command names, as its own main program."""
    skew, module = float(sys.argv[1]), sys.argv[2]
    clock = time_machine.travel(time.time() + skew, tick=True).start()
    true_time = time_machine.escape_hatch.time.time
    for number, its_skew in JUMPS.items():
        signal.signal(number, lambda *_, skew=its_skew: clock.move_to(true_time() + skew))
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
