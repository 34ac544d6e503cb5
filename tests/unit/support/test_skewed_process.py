"""A process under a wrong clock, which jumps at a signal."""

import signal
import subprocess
import sys
import time

import pytest

from tests.support.skewed_process import JUMPS, MOST_SKEW

_ROUNDED = 0.001
PROGRAM = "tests.unit.support.show_clock"


@pytest.mark.parametrize("skew", [-MOST_SKEW, 0.0, MOST_SKEW])
def test_clock_is_wrong_from_the_first_import_and_jumps(skew: float) -> None:
    """Wall clocks only: the monotonic one is right, or time-outs would be."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.skewed_process", str(skew), PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, expected in [(None, skew), *JUMPS.items()]:
            if number is not None:
                process.send_signal(signal.Signals(number))
            before = time.time(), time.monotonic()
            process.stdin.write("show\n")
            process.stdin.flush()
            wall, monotonic = map(float, process.stdout.readline().split())
            after = time.time(), time.monotonic()
            assert before[0] - _ROUNDED <= wall - expected <= after[0] + _ROUNDED
            assert before[1] <= monotonic <= after[1]
        process.stdin.close()
